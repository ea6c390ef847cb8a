//! Nodes that are taken out, by the leader, dead or alive.

use store_wire::message::Load as NodeLoad;

use super::*;

/// Longer than an election takes, so that a node that wants one has begun it by then.
const ELECTIONS: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_removed_hands_over_first_and_then_serves_nobody() {
    let mut cluster = Cluster::formed(3).await;
    let load = Load::begin(&cluster);
    load.goes_on(50).await;
    let leader = cluster.leader().await;
    let remove = ClusterChange::Remove { id: leader };
    let deadline = Instant::now() + NEVER;
    let handed = cluster.replica(leader).change(&remove, deadline).await;
    let Err(ChangeError::NotLeader {
        leader: Some(successor),
    }) = handed
    else {
        panic!("the next leader removes it: {handed:?}");
    };
    assert_ne!(successor.id, leader);
    cluster.change(remove.clone()).await.unwrap();
    cluster.change(remove).await.expect("it is removed already");
    load.goes_on(50).await;

    // It finds out by itself, serves nobody, and leaves the others alone.
    let removed = cluster.replica(leader);
    until(|| removed.is_removed().then_some(())).await;
    let operator = Client::operator(&cluster);
    assert_eq!(
        read(&cluster, &operator, leader).await,
        Err(ErrorCode::Stale)
    );
    assert_eq!(cluster.nodes[&leader].status().unwrap().role, Role::Removed);
    let rest: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    let term = cluster.nodes[&rest[0]].status().unwrap().term;
    tokio::time::sleep(ELECTIONS).await;
    assert_eq!(cluster.nodes[&rest[0]].status().unwrap().term, term);

    cluster.stop(leader).await;
    load.knows(&cluster);
    cluster.voters_are(&rest).await;
    let error = cluster.start_in_vain(cluster.config(leader)).await;
    assert!(error.contains("was removed from cluster"), "{error}");
    let readings = load.end().await;
    cluster.all_have(readings).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_removed_and_finds_out_when_it_comes_back() {
    let mut cluster = Cluster::formed(3).await;
    let load = Load::begin(&cluster);
    load.goes_on(50).await;
    cluster.stop(3).await;
    load.knows(&cluster);
    load.goes_on(20).await;
    cluster
        .change(ClusterChange::Remove { id: 3 })
        .await
        .unwrap();
    cluster.voters_are(&[1, 2]).await;
    let term = cluster.nodes[&1].status().unwrap().term;

    cluster.start(3).await;
    within(cluster.nodes[&3].running()).await.unwrap();
    let returned = cluster.replica(3);
    until(|| returned.is_removed().then_some(())).await;
    let operator = Client::operator(&cluster);
    assert_eq!(read(&cluster, &operator, 3).await, Err(ErrorCode::Stale));
    tokio::time::sleep(ELECTIONS).await;
    assert_eq!(cluster.nodes[&1].status().unwrap().term, term);
    load.goes_on(20).await;
    cluster.stop(3).await;
    let error = cluster.start_in_vain(cluster.config(3)).await;
    assert!(error.contains("was removed from cluster"), "{error}");
    let readings = load.end().await;
    cluster.all_have(readings).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_leave_no_majority_is_refused() {
    let mut cluster = Cluster::formed(3).await;
    cluster.stop(3).await;
    let leader = cluster.leader().await;
    let other = 3 - leader;
    for id in [leader, other] {
        let error = cluster.change(ClusterChange::Remove { id }).await;
        let error = error.expect_err("node 3 is dead").to_string();
        assert!(error.contains("no majority of them could go on"), "{error}");
        assert!(error.contains("as 3 cannot be reached"), "{error}");
    }
    cluster.voters_are(&[1, 2, 3]).await;
    cluster
        .change(ClusterChange::Remove { id: 3 })
        .await
        .unwrap();
    cluster
        .change(ClusterChange::Remove { id: other })
        .await
        .unwrap();
    cluster.stop(other).await;
    cluster.voters_are(&[leader]).await;
    let error = cluster.change(ClusterChange::Remove { id: leader }).await;
    let error = error.expect_err("it is the last").to_string();
    assert!(error.contains("the only voter"), "{error}");
    let nobody = cluster.change(ClusterChange::Remove { id: 9 }).await;
    let nobody = nobody.expect_err("there is no such node").to_string();
    assert!(nobody.contains("node 9 is not a member"), "{nobody}");
    let load = Load::begin(&cluster);
    load.goes_on(20).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_leader_died_half_way_is_gone_on_with() {
    let mut cluster = Cluster::formed(3).await;
    let load = Load::begin(&cluster);
    load.goes_on(50).await;
    let readings = load.end().await;
    cluster.all_have(readings).await;
    let leader = cluster.leader().await;
    let rest: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    let (stays, goes) = (rest[0], rest[1]);
    // Nobody but the leader has room for any entry, so that what it begins is not committed.
    for id in &rest {
        let disk = &cluster.disks[id];
        disk.set_capacity(Some(disk.used_bytes() + (16 << 20)));
        let replica = cluster.replica(*id);
        until(|| (replica.load() == NodeLoad::Overloaded).then_some(())).await;
    }
    let replica = cluster.replica(leader);
    let change = tokio::spawn(async move {
        let remove = ClusterChange::Remove { id: goes };
        replica.change(&remove, Instant::now() + NEVER).await
    });
    until(|| (cluster.replica(leader).membership().voters.len() == 2).then_some(())).await;
    for id in &rest {
        cluster.stop(*id).await;
        cluster.disks[id].set_capacity(None);
    }
    change.abort();
    let after = cluster.disks[&leader].power_cut();
    let node = cluster.nodes.remove(&leader).unwrap();
    drop(within(node.shutdown()).await);
    cluster.disks.insert(leader, after);

    // Only these two come back. The one that led has the longer log, so that the change is not undone.
    cluster.start(leader).await;
    cluster.start(stays).await;
    cluster.ready(leader).await;
    cluster.ready(stays).await;
    let mut left = vec![leader, stays];
    left.sort_unstable();
    cluster.voters_are(&left).await;
    cluster.all_have(readings).await;

    // Node by node it was left: the one that was to go finds out.
    cluster.start(goes).await;
    within(cluster.nodes[&goes].running()).await.unwrap();
    let gone = cluster.replica(goes);
    until(|| gone.is_removed().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_leader_dies_in_a_change_the_others_settle_it() {
    let mut cluster = Cluster::formed(3).await;
    cluster.join(4).await;
    cluster.join(5).await;
    let load = Load::begin(&cluster);
    load.goes_on(50).await;
    let leader = cluster.leader().await;
    let goes = if leader == 5 { 4 } else { 5 };
    let watched = cluster.replica((1..=5).find(|id| *id != leader && *id != goes).unwrap());
    let replica = cluster.replica(leader);
    let change = tokio::spawn(async move {
        let remove = ClusterChange::Remove { id: goes };
        replica.change(&remove, Instant::now() + NEVER).await
    });
    // As soon as anything of the change is seen, the leader's power goes.
    let before = watched.membership();
    until(|| (watched.membership() != before).then_some(())).await;
    let after = cluster.disks[&leader].power_cut();
    change.abort();
    let node = cluster.nodes.remove(&leader).unwrap();
    drop(within(node.shutdown()).await);
    load.knows(&cluster);
    load.goes_on(50).await;
    until(|| (watched.membership().voters.len() == 1).then_some(())).await;

    cluster.disks.insert(leader, after);
    cluster.start(leader).await;
    cluster.ready(leader).await;
    let settled = watched.membership().voters[0].clone();
    if settled.contains(&goes) {
        cluster
            .change(ClusterChange::Remove { id: goes })
            .await
            .unwrap();
    }
    let gone = cluster.replica(goes);
    until(|| gone.is_removed().then_some(())).await;
    cluster.stop(goes).await;
    load.knows(&cluster);
    let rest: Vec<u64> = (1..=5).filter(|id| *id != goes).collect();
    cluster.voters_are(&rest).await;
    let readings = load.end().await;
    cluster.all_have(readings).await;
}
