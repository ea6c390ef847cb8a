//! What of the membership must outlive the log that it was decided in.

use store_node::command::{self, Seal};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_outlive_the_log_and_a_node_joins_without_it() {
    let mut cluster = Cluster::formed(3).await;
    let load = Load::begin(&cluster);
    load.goes_on(100).await;
    cluster.wipe(3).await;
    load.knows(&cluster);
    cluster
        .change(ClusterChange::Remove { id: 3 })
        .await
        .unwrap();
    cluster.join(4).await;
    let mut readings = load.end().await;
    seal(&cluster).await;

    // The log that says who had which id is gone; the manifest knows.
    let mut joining = cluster.config(3);
    joining.bootstrap = None;
    joining.join = Some(vec![cluster.members[&1].clone()]);
    let error = cluster.start_in_vain(joining).await;
    assert!(error.contains("an id is never used again"), "{error}");
    cluster.wipe(4).await;
    let error = cluster.start_in_vain(cluster.config(4)).await;
    assert!(error.contains("id 4 belongs to a node"), "{error}");
    cluster
        .change(ClusterChange::Remove { id: 4 })
        .await
        .unwrap();

    let load = Load::begin(&cluster);
    cluster.join(5).await;
    let context = cluster.nodes[&5].context().unwrap();
    assert!(context.archive.manifest().is_some(), "it took a snapshot");
    load.goes_on(20).await;
    readings += load.end().await;
    cluster.voters_are(&[1, 2, 5]).await;
    cluster.all_have(readings).await;

    // The node that never saw that log knows as well.
    for id in [1, 2, 5] {
        cluster.stop(id).await;
    }
    for id in [1, 2, 5] {
        cluster.start(id).await;
    }
    for id in [1, 2, 5] {
        cluster.ready(id).await;
    }
    cluster
        .change(ClusterChange::TransferLeader { id: 5 })
        .await
        .unwrap();
    for gone in [3, 4] {
        let again = ClusterChange::Add {
            id: gone,
            address: "127.0.0.1:1".to_owned(),
        };
        let error = cluster.change(again).await.unwrap_err().to_string();
        assert!(error.contains("an id is never used again"), "{error}");
    }
    cluster.all_have(readings).await;
}

/// Seals what there is, and waits until every running node has purged the log behind it.
async fn seal(cluster: &Cluster) {
    let leader = cluster.replica(cluster.leader().await);
    let sealed = leader.propose(command::seal(&Seal::default())).await;
    let index = sealed.unwrap().token.index;
    for id in cluster.nodes.keys() {
        cluster.purged(*id, index).await;
    }
}
