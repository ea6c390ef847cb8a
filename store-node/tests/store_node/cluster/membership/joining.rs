//! Nodes that come to a running cluster.

use std::path::Path;

use segment_log::Disk;
use store_node::raft::{
    joining::{Folder, Newcomer},
    link::Links,
    message::{FromPeer, Refusal, ToPeer},
};
use store_wire::endpoint::{Connection, Protocol};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{super::http::get, super::stranger, *};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_node_joins_under_load_and_ends_up_equal() {
    let mut cluster = Cluster::formed(3).await;
    let load = Load::begin(&cluster);
    load.goes_on(200).await;
    // It asks a follower, which sends it on.
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    cluster.newcomer(4);
    let mut config = cluster.config(4);
    config.join = Some(vec![cluster.members[&follower].clone()]);
    cluster.try_start(config).await.unwrap();
    cluster.ready(4).await;
    cluster.voters_are(&[1, 2, 3, 4]).await;
    load.goes_on(200).await;
    let readings = load.end().await;
    cluster.all_have(readings).await;

    let status = until(|| {
        let status = cluster.nodes[&4].status().unwrap();
        (status.role == Role::Follower).then_some(status)
    })
    .await;
    assert!(
        status.members.iter().all(|member| member.voter),
        "{status:?}"
    );
    assert_eq!(status.members.len(), 4);

    // Starting again with --join changes nothing, also while nobody is there to ask. A file that a
    // power cut left behind goes.
    let left_behind = Path::new("/data/joining.toml");
    assert!(!cluster.disks[&4].exists(left_behind).unwrap());
    for id in [4, 1, 2, 3] {
        cluster.stop(id).await;
    }
    segment_log::write_file_atomically(&cluster.disks[&4], left_behind, b"").unwrap();
    cluster.start(4).await;
    within(cluster.nodes[&4].running()).await.unwrap();
    assert!(!cluster.disks[&4].exists(left_behind).unwrap());
    let operator = Client::operator(&cluster);
    assert_eq!(read(&cluster, &operator, 4).await, Ok(()));
    for id in 1..=3 {
        cluster.start(id).await;
    }
    cluster.ready(4).await;
    cluster.voters_are(&[1, 2, 3, 4]).await;
    cluster.all_have(readings).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_is_replaced_while_writes_go_on() {
    let mut cluster = Cluster::formed(3).await;
    let load = Load::begin(&cluster);
    load.goes_on(100).await;
    cluster.wipe(3).await;
    load.knows(&cluster);
    load.goes_on(100).await;

    // Under its old id it does not come back, whichever way it asks.
    let error = cluster.start_in_vain(cluster.config(3)).await;
    assert!(error.contains("must not vote under its old id"), "{error}");
    assert!(error.contains("cluster remove 3"), "{error}");
    let mut joining = cluster.config(3);
    joining.join = joining
        .bootstrap
        .take()
        .map(|list| list.into_values().collect());
    let error = cluster.start_in_vain(joining.clone()).await;
    assert!(error.contains("must not vote under its old id"), "{error}");
    assert!(error.contains("cluster remove 3"), "{error}");

    cluster
        .change(ClusterChange::Remove { id: 3 })
        .await
        .unwrap();
    load.goes_on(100).await;
    let error = cluster.start_in_vain(joining).await;
    assert!(error.contains("an id is never used again"), "{error}");
    assert!(error.contains("such as 4"), "{error}");

    cluster.join(4).await;
    load.knows(&cluster);
    cluster.voters_are(&[1, 2, 4]).await;
    load.goes_on(100).await;
    let readings = load.end().await;
    cluster.all_have(readings).await;

    // All of it is still so after a restart of everything, and the new node carries its share.
    for id in [1, 2, 4] {
        cluster.stop(id).await;
    }
    for id in [1, 2, 4] {
        cluster.start(id).await;
    }
    for id in [1, 2, 4] {
        cluster.ready(id).await;
    }
    cluster.voters_are(&[1, 2, 4]).await;
    cluster.all_have(readings).await;
    cluster.stop(1).await;
    let load = Load::begin(&cluster);
    load.goes_on(20).await;
    let more = load.end().await;
    cluster.all_have(readings + more).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_the_first_folders_that_claims_it() {
    let mut cluster = Cluster::formed(1).await;
    let endpoint = stranger(&cluster);
    let dialled = endpoint.connect(cluster.address(1), Protocol::Raft);
    let connection = within(dialled).await.unwrap();
    let first = Newcomer {
        id: 4,
        address: "127.0.0.1:1".to_owned(),
        folder: Folder::Blank {
            incarnation: Uuid::from_u128(4),
        },
    };
    let own = cluster.nodes[&1].status().unwrap().cluster_id;
    let own: Uuid = own.parse().unwrap();
    // An answer that was lost is given again.
    for _ in 0..2 {
        let answer = ask(&connection, first.clone()).await;
        assert_eq!(answer, FromPeer::Admitted { cluster: own });
    }
    // It never caught up, so it got no vote, and what it was given does not let it have another id.
    let membership = cluster.replica(1).membership();
    assert_eq!(membership.voters, [BTreeSet::from([1])]);
    assert_eq!(membership.learners, BTreeSet::from([4]));
    cluster.newcomer(4);
    let error = cluster.start_in_vain(cluster.config(4)).await;
    assert!(error.contains("id 4 belongs to a node"), "{error}");
    assert!(error.contains("such as 5"), "{error}");

    let elsewhere = Newcomer {
        address: "127.0.0.1:2".to_owned(),
        ..first
    };
    let answer = ask(&connection, elsewhere).await;
    let FromPeer::Refused(Refusal::NotAdmitted { reason }) = answer else {
        panic!("it moved: {answer:?}");
    };
    assert!(reason.contains("expected at 127.0.0.1:1"), "{reason}");
    let in_the_way = Newcomer {
        id: 5,
        address: cluster.members[&1].clone(),
        folder: Folder::Blank {
            incarnation: Uuid::from_u128(5),
        },
    };
    let answer = ask(&connection, in_the_way).await;
    let FromPeer::Refused(Refusal::NotAdmitted { reason }) = answer else {
        panic!("node 1 is there: {answer:?}");
    };
    assert!(reason.contains("the address of node 1"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_expected_comes_and_gets_its_vote() {
    let mut cluster = Cluster::formed(1).await;
    cluster.newcomer(2);
    let expected = ClusterChange::Add {
        id: 2,
        address: cluster.members[&2].clone(),
    };
    cluster.change(expected.clone()).await.unwrap();
    cluster.change(expected).await.unwrap();
    let status = cluster.nodes[&1].status().unwrap();
    let member = status.members.iter().find(|member| member.id == 2).unwrap();
    assert!(!member.voter, "{status:?}");
    let early = cluster.change(ClusterChange::Promote { id: 2 }).await;
    let early = early.expect_err("it has nothing yet").to_string();
    assert!(early.contains("has not caught up"), "{early}");
    cluster.start(2).await;
    cluster.ready(2).await;
    cluster.voters_are(&[1, 2]).await;
    let again = ClusterChange::Promote { id: 2 };
    cluster.change(again).await.expect("it has its vote");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_joins_serves_no_reads_before_it_is_a_member() {
    let mut cluster = Cluster::formed(1).await;
    let load = Load::begin(&cluster);
    load.goes_on(20).await;
    let readings = load.end().await;
    // Its disk has room for its charter and for no entries.
    cluster.newcomer(2);
    cluster.disks[&2].set_capacity(Some(64 << 20));
    cluster.start(2).await;
    within(cluster.nodes[&2].running()).await.unwrap();
    let operator = Client::operator(&cluster);
    assert_eq!(read(&cluster, &operator, 2).await, Err(ErrorCode::Stale));
    let http = cluster.nodes[&2].http_address();
    let (code, body) = get(http, "/readyz").await;
    assert_eq!(code, 503);
    assert!(body.contains("joining"), "{body}");
    assert_eq!(cluster.voters_of(1), BTreeSet::from([1]));
    cluster.disks[&2].set_capacity(None);
    cluster.voters_are(&[1, 2]).await;
    cluster.all_have(readings).await;
    assert_eq!(read(&cluster, &operator, 2).await, Ok(()));
    assert_eq!(get(http, "/readyz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_bootstrap_and_another_cluster_are_refused_by_name() {
    let mut cluster = Cluster::blank(2);
    // Two clusters of one, with the same authority and name.
    for id in 1..=2 {
        let mut alone = cluster.config(id);
        alone
            .bootstrap
            .as_mut()
            .unwrap()
            .retain(|member, _| *member == id);
        cluster.try_start(alone).await.unwrap();
        cluster.ready(id).await;
    }
    let id_of = |id: u64| cluster.nodes[&id].status().unwrap().cluster_id;
    let (first, second) = (id_of(1), id_of(2));
    cluster.stop(2).await;
    let mut config = cluster.config(2);
    config.bootstrap = None;
    config.join = Some(vec![cluster.members[&1].clone()]);
    let error = cluster.start_in_vain(config).await;
    assert!(error.contains(&first) && error.contains(&second), "{error}");
    assert!(error.contains("to cluster"), "{error}");

    // A blank node with a list that names a member of a cluster.
    cluster.outfit(3);
    let mut config = cluster.config(3);
    config.bootstrap.as_mut().unwrap().remove(&2);
    let error = cluster.start_in_vain(config).await;
    assert!(
        error.contains("node 1 already belongs to cluster"),
        "{error}"
    );

    // A node that joined is given a list.
    cluster.join(4).await;
    cluster.stop(4).await;
    let mut config = cluster.config(4);
    config.join = None;
    config.bootstrap = Some(cluster.members.clone());
    let error = cluster.start_in_vain(config).await;
    assert!(error.contains("joined its cluster later"), "{error}");

    // A node with an identity of another cluster.
    let other = Cluster::blank(5);
    let mut config = cluster.config(4);
    config.identity = other.identities.path().join("5");
    config.id = 5;
    cluster.disks.insert(5, FakeDisk::new());
    config.listen = ([127, 0, 0, 1], 0).into();
    let error = cluster.start_in_vain(config).await;
    assert!(
        error.contains("is not to be trusted") || error.contains("does not accept"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_missed_who_joined_still_helps_to_elect_them() {
    let mut cluster = Cluster::formed(3).await;
    cluster.stop(3).await;
    cluster.join(4).await;
    cluster.join(5).await;
    // Of the five voters, two go that node 3 knows, and two stay that it never heard of.
    cluster.stop(1).await;
    cluster.stop(2).await;
    cluster.start(3).await;
    cluster.ready(3).await;
    cluster.voters_are(&[1, 2, 3, 4, 5]).await;
    let load = Load::begin(&cluster);
    load.goes_on(20).await;
    let readings = load.end().await;
    cluster.all_have(readings).await;
}

async fn ask(connection: &Connection, newcomer: Newcomer) -> FromPeer {
    let (mut sender, mut receiver) = connection.open().await.unwrap();
    sender.send(&ToPeer::Join(newcomer), &[]).await.unwrap();
    let (answer, _) = within(receiver.receive()).await.unwrap().unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_held_outlives_a_membership_without_its_node() {
    let cluster = Cluster::formed(1).await;
    let stop = CancellationToken::new();
    let links = Links::new(stranger(&cluster), stop.clone());
    let held = links.link(1, &cluster.members[&1]);
    links.retain(|_| false);
    assert!(links.get(1).is_none());
    // Whoever looks at the membership may see it later than consensus, which holds the link.
    held.open(NEVER).await.expect("it is dialled");
    drop(held);
    // Without a holder the dialling ends by itself: nothing is cancelled here.
    within(links.stopped()).await;
    assert!(!stop.is_cancelled());
}
