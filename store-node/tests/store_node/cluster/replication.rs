//! What is proposed is applied everywhere, whoever leads and whatever restarts.

use sensor_model::Token;
use store_node::raft::ProposeError;
use tokio::time::Instant;

use super::{Cluster, NEVER, epoch, known_epoch, until, within};
use store_node::command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_node_is_a_cluster() {
    let mut cluster = Cluster::formed(1).await;
    assert_eq!(epoch(&cluster.open_producer("device/a").await), 1);
    cluster.stop(1).await;
    cluster.start(1).await;
    cluster.ready(1).await;
    assert_eq!(epoch(&cluster.open_producer("device/a").await), 2);
    cluster.stop(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_is_applied_on_all_three() {
    let cluster = Cluster::formed(3).await;
    let proposed = cluster.open_producer("device/a").await;
    for id in 1..=3 {
        let replica = cluster.replica(id);
        let deadline = Instant::now() + NEVER;
        replica
            .wait_applied(proposed.token, deadline)
            .await
            .expect("it arrives");
        assert_eq!(known_epoch(&replica, "device/a"), Some(1), "on node {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_enter_the_log_in_the_order_of_calls() {
    let cluster = Cluster::formed(3).await;
    cluster.open_producer("device/first").await;
    let replica = cluster.replica(cluster.leader().await);
    let payload = command::open_producer("device/a");
    let mut outcomes: Vec<_> = (0..500).map(|_| replica.propose(payload.clone())).collect();
    // Awaiting them backwards changes nothing.
    let mut epochs = Vec::new();
    while let Some(outcome) = outcomes.pop() {
        epochs.push(epoch(&within(outcome).await.expect("the leader stays")));
    }
    epochs.reverse();
    assert_eq!(epochs, (1..=500).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_all_continues_where_it_was() {
    let mut cluster = Cluster::formed(3).await;
    for expected in 1..=20 {
        assert_eq!(epoch(&cluster.open_producer("device/a").await), expected);
    }
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    for id in 1..=3 {
        cluster.start(id).await;
    }
    for id in 1..=3 {
        cluster.ready(id).await;
    }
    assert_eq!(epoch(&cluster.open_producer("device/a").await), 21);
    let fatal = cluster.fatal.lock().expect("nobody panics with it");
    assert!(fatal.is_empty(), "{fatal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_of_all_loses_nothing_acknowledged() {
    let mut cluster = Cluster::formed(3).await;
    let replica = cluster.replica(cluster.leader().await);
    let payload = command::open_producer("device/a");
    let outcomes: Vec<_> = (0..50).map(|_| replica.propose(payload.clone())).collect();
    let mut acknowledged = 0;
    for outcome in outcomes.into_iter().take(30) {
        acknowledged = epoch(&within(outcome).await.expect("the leader stays"));
    }
    let after: Vec<_> = (1..=3)
        .map(|id| (id, cluster.disks[&id].power_cut()))
        .collect();
    for id in 1..=3 {
        // Its disk is dead, so it cannot end cleanly.
        let node = cluster.nodes.remove(&id).expect("it runs");
        within(node.shutdown())
            .await
            .expect_err("the power is gone");
    }
    cluster.disks.extend(after);
    for id in 1..=3 {
        cluster.start(id).await;
    }
    for id in 1..=3 {
        cluster.ready(id).await;
        let known = known_epoch(&cluster.replica(id), "device/a");
        assert!(
            known >= Some(acknowledged),
            "node {id} knows {known:?} of {acknowledged}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_stops_another_leads_and_nothing_is_lost() {
    let mut cluster = Cluster::formed(3).await;
    assert_eq!(epoch(&cluster.open_producer("device/a").await), 1);
    let first = cluster.leader().await;
    cluster.stop(first).await;
    let second = cluster.leader().await;
    assert_ne!(first, second);
    assert_eq!(epoch(&cluster.open_producer("device/a").await), 2);
    cluster.start(first).await;
    cluster.ready(first).await;
    let replica = cluster.replica(first);
    until(|| (known_epoch(&replica, "device/a") == Some(2)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_refuses_proposals_and_names_the_leader() {
    let cluster = Cluster::formed(3).await;
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|id| *id != leader).expect("there are three");
    let replica = cluster.replica(follower);
    let refused = replica.propose(command::open_producer("device/a")).await;
    let Err(ProposeError::NotLeader {
        leader: Some(named),
    }) = refused
    else {
        panic!("a follower names the leader: {refused:?}");
    };
    assert_eq!(
        (named.id, &named.address),
        (leader, &cluster.members[&leader])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_linearizable_read_on_any_replica_sees_what_was_acknowledged_before() {
    let cluster = Cluster::formed(3).await;
    for expected in 1..=20 {
        assert_eq!(epoch(&cluster.open_producer("device/a").await), expected);
        for id in 1..=3 {
            let replica = cluster.replica(id);
            replica
                .linearizable(Instant::now() + NEVER)
                .await
                .expect("there is a leader");
            assert_eq!(
                known_epoch(&replica, "device/a"),
                Some(expected),
                "on node {id}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lost_the_others_serves_on_and_shows_its_age() {
    let mut cluster = Cluster::formed(3).await;
    let proposed = cluster.open_producer("device/a").await;
    let last = cluster.replica(3);
    let deadline = Instant::now() + NEVER;
    last.wait_applied(proposed.token, deadline)
        .await
        .expect("it arrives");
    cluster.stop(1).await;
    cluster.stop(2).await;
    let age = until(|| last.age().filter(|age| age.as_millis() > 1_000)).await;
    assert!(age < NEVER, "{age:?}");
    assert_eq!(known_epoch(&last, "device/a"), Some(1));
    let soon = Instant::now() + std::time::Duration::from_millis(300);
    last.linearizable(soon)
        .await
        .expect_err("there is no quorum");
    let later = Token {
        index: proposed.token.index + 1_000,
        ..proposed.token
    };
    last.wait_applied(later, soon)
        .await
        .expect_err("nothing is written any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_while_reads_go_on() {
    let cluster = Cluster::formed(1).await;
    assert_eq!(epoch(&cluster.open_producer("device/a").await), 1);
    let disk = &cluster.disks[&1];
    disk.set_capacity(Some(disk.used_bytes() + (200 << 20)));
    let replica = cluster.replica(1);
    until(|| (replica.load() == store_wire::message::Load::Overloaded).then_some(())).await;
    let refused = replica.propose(command::open_producer("device/a")).await;
    assert_eq!(refused.err(), Some(ProposeError::NoSpace));
    assert_eq!(known_epoch(&replica, "device/a"), Some(1));
    assert!(replica.status().disk_full);

    // What makes room is taken, as long as there is some.
    let all = sensor_model::Pattern::everything();
    let delete = command::delete(&all, sensor_model::TimeRange::EVERYTHING);
    for free in [200 << 20, 100 << 20, 33 << 20] {
        disk.set_capacity(Some(disk.used_bytes() + free));
        until(|| (replica.status().disk_free_bytes <= free).then_some(())).await;
        within(replica.propose(delete.clone()))
            .await
            .expect("there is room for a delete");
    }
    disk.set_capacity(Some(disk.used_bytes() + (31 << 20)));
    until(|| (replica.status().disk_free_bytes < 32 << 20).then_some(())).await;
    let refused = replica.propose(delete).await;
    assert_eq!(refused.err(), Some(ProposeError::NoSpace));
    disk.set_capacity(None);
    until(|| (replica.load() == store_wire::message::Load::Active).then_some(())).await;
    assert!(!replica.status().disk_full);
    assert_eq!(epoch(&cluster.open_producer("device/a").await), 2);
}
