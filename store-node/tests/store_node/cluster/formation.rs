//! How a cluster comes to be, and who is kept out of it.

use std::{collections::BTreeMap, path::Path};

use segment_log::{Disk, fake::FakeDisk};
use store_node::raft::message::{FromPeer, Refusal, ToPeer};
use store_wire::endpoint::Protocol;
use uuid::Uuid;

use super::{Cluster, epoch, stranger, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_started_with_the_same_list_form_one_cluster() {
    let cluster = Cluster::formed(3).await;
    let ids: Vec<String> = cluster
        .nodes
        .values()
        .map(|node| node.status().expect("it runs").cluster_id)
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let leader = cluster.leader().await;
    for node in cluster.nodes.values() {
        let named = until(|| node.status().expect("it runs").leader).await;
        assert_eq!(named, leader);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starting_again_with_another_list_or_id_is_refused() {
    let mut cluster = Cluster::formed(1).await;
    cluster.stop(1).await;
    let mut other = cluster.config(1);
    let list = other.bootstrap.get_or_insert_default();
    list.insert(2, "127.0.0.1:1".to_owned());
    let error = cluster.try_start(other).await.expect_err("another list");
    assert!(error.to_string().contains("--bootstrap"), "{error}");

    let mut other = cluster.config(1);
    other.id = 2;
    cluster.disks.insert(2, cluster.disks[&1].clone());
    let error = cluster.try_start(other).await.expect_err("another id");
    assert!(error.to_string().contains("belongs to node 1"), "{error}");

    let mut without = cluster.config(1);
    without.bootstrap = None;
    cluster
        .try_start(without)
        .await
        .expect("the list is no longer needed");
    cluster.ready(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_lists_never_form_a_cluster() {
    let mut cluster = Cluster::blank(2);
    cluster.start(1).await;
    let mut other = cluster.config(2);
    let list = other.bootstrap.get_or_insert_default();
    list.insert(3, "127.0.0.1:1".to_owned());
    cluster
        .try_start(other)
        .await
        .expect("the list is fine by itself");
    let error = within(cluster.nodes[&1].ready())
        .await
        .expect_err("node 2 has another list");
    assert!(
        error.to_string().contains("another --bootstrap list"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_does_not_come_back_under_its_old_id() {
    let mut cluster = Cluster::formed(3).await;
    cluster.open_producer("device/a").await;
    for id in [1, 3] {
        // Node 1 is the founder: it must not found a second cluster either.
        cluster.stop(id).await;
        let kept = cluster
            .disks
            .insert(id, FakeDisk::new())
            .expect("it had one");
        cluster.start(id).await;
        let error = within(cluster.nodes[&id].ready())
            .await
            .expect_err("it was wiped");
        assert!(error.to_string().contains("must not vote"), "{error}");
        let node = cluster.nodes.remove(&id).expect("it runs");
        within(node.shutdown()).await.expect_err("it says so again");
        cluster.disks.insert(id, kept);
        cluster.start(id).await;
        cluster.ready(id).await;
    }
    assert_eq!(epoch(&cluster.open_producer("device/a").await), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_log_or_its_charter_does_not_start() {
    let mut cluster = Cluster::formed(1).await;
    cluster.open_producer("device/a").await;
    cluster.stop(1).await;
    let disk = cluster.disks[&1].clone();

    let charter = segment_log::read_file(&disk, Path::new("/data/node.toml")).expect("it is there");
    disk.remove(Path::new("/data/node.toml"))
        .expect("a healthy disk");
    cluster.start(1).await;
    let error = within(cluster.nodes[&1].ready())
        .await
        .expect_err("no charter");
    assert!(error.to_string().contains("node.toml"), "{error}");
    drop(cluster.nodes.remove(&1).expect("it runs").shutdown().await);

    segment_log::write_file_atomically(&disk, Path::new("/data/node.toml"), &charter)
        .expect("a healthy disk");
    disk.remove_dir_all(Path::new("/data/log"))
        .expect("a healthy disk");
    cluster.disks.insert(1, disk.restart());
    cluster.start(1).await;
    let error = within(cluster.nodes[&1].ready()).await.expect_err("no log");
    assert!(error.to_string().contains("must not vote"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_means_another_cluster_or_node_is_refused() {
    let cluster = Cluster::formed(1).await;
    let status = cluster.nodes[&1].status().expect("it runs");
    let own: Uuid = status.cluster_id.parse().expect("a UUID");
    let foreign = Uuid::from_u128(7);
    let hello = |cluster, from, to| ToPeer::Hello {
        cluster,
        from,
        to,
        http: String::new(),
    };
    let cases = [
        (
            hello(foreign, 2, 1),
            Refusal::OtherCluster {
                id: 1,
                cluster: own,
            },
        ),
        (hello(own, 2, 9), Refusal::OtherNode { id: 1 }),
    ];
    let endpoint = stranger(&cluster);
    let connection = within(endpoint.connect(cluster.address(1), Protocol::Raft))
        .await
        .expect("the identity is a node's");
    for (greeting, expected) in cases {
        let (mut sender, mut receiver) = connection.open().await.expect("a stream");
        sender.send(&greeting, &[]).await.expect("it is sent");
        let answer = within(receiver.receive::<FromPeer>())
            .await
            .expect("an answer");
        assert_eq!(
            answer.map(|(answer, _)| answer),
            Some(FromPeer::Refused(expected))
        );
    }
    let found = ToPeer::Found {
        from: 2,
        to: 1,
        cluster: foreign,
        founders: BTreeMap::new(),
    };
    let (mut sender, mut receiver) = connection.open().await.expect("a stream");
    sender.send(&found, &[]).await.expect("it is sent");
    let answer = within(receiver.receive::<FromPeer>())
        .await
        .expect("an answer");
    let expected = FromPeer::Refused(Refusal::OtherCluster {
        id: 1,
        cluster: own,
    });
    assert_eq!(answer.map(|(answer, _)| answer), Some(expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_stops_half_way_goes_on_where_it_was() {
    let mut cluster = Cluster::blank(3);
    cluster.start(1).await;
    cluster.start(2).await;
    // Without node 3 nothing is founded, and stopping is still clean.
    cluster.stop(1).await;
    cluster.start(1).await;
    cluster.start(3).await;
    for id in 1..=3 {
        cluster.ready(id).await;
    }
    assert_eq!(epoch(&cluster.open_producer("device/a").await), 1);
}
