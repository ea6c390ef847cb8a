//! Nodes that cannot hear each other: what is still promised, and that it passes.

use std::time::Duration;

use bytes::Bytes;
use sensor_model::Consistency;
use store_wire::message::{ErrorCode, Role};
use tokio::time::Instant;

use super::{
    Cluster, NEVER, epoch, known_epoch,
    serving::{Client, range},
    until,
    wires::Wires,
    within,
};
use store_node::{command, raft::ProposeError};

/// Longer than any election takes to begin.
const ELECTIONS: Duration = Duration::from_millis(1_500);

async fn wired(size: u64) -> (Cluster, Wires) {
    let mut cluster = Cluster::blank(size);
    let wires = Wires::between(&mut cluster).await;
    cluster.form().await;
    (cluster, wires)
}

/// Waits until one of the nodes but `old` leads, and gives it.
async fn leader_but(cluster: &Cluster, old: u64) -> u64 {
    until(|| {
        let mut others = cluster.nodes.keys().filter(|id| **id != old);
        others.find(|id| cluster.replica(**id).is_leader()).copied()
    })
    .await
}

/// The greatest term that any node knows.
fn term(cluster: &Cluster) -> u64 {
    let terms = cluster
        .nodes
        .keys()
        .map(|id| cluster.replica(*id).status().term);
    terms.max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_cut_off_answers_nothing_that_only_a_leader_may() {
    let (cluster, wires) = wired(3).await;
    cluster.open_producer("device/a").await;
    let old = cluster.leader().await;
    let before = cluster.replica(old);
    wires.isolate(old);
    let new = leader_but(&cluster, old).await;
    // It does not know yet, or hardly: what the others take from now on it must not hide.
    let payload = command::open_producer("device/a");
    let written_from = Instant::now();
    let written = within(async {
        loop {
            if let Ok(proposed) = cluster.replica(new).propose(payload.clone()).await {
                return proposed;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(epoch(&written), 2);
    for _ in 0..20 {
        let soon = Instant::now() + Duration::from_millis(50);
        before.linearizable(soon).await.expect_err("others lead");
        let age = before.age().expect("it was fresh once");
        assert!(
            age >= written_from.elapsed(),
            "it thinks it is fresh: {age:?}"
        );
    }
    assert_eq!(known_epoch(&before, "device/a"), Some(1));

    let operator = Client::operator(&cluster);
    let levels = [
        (Consistency::Any, None),
        (
            Consistency::MaxStaleness(Duration::from_millis(1)),
            Some(ErrorCode::Stale),
        ),
        (Consistency::AtLeast(written.token), Some(ErrorCode::Stale)),
        (Consistency::Linearizable, Some(ErrorCode::NoLeader)),
    ];
    for (level, refused) in levels {
        let mut question = range("**", level);
        if let store_wire::message::Request::Range { timeout_ms, .. } = &mut question {
            *timeout_ms = 300;
        }
        let answer = operator.ask(&cluster, old, &question, Bytes::new()).await;
        assert_eq!(answer.err().map(|error| error.code), refused, "{level}");
    }
    wires.heal();
    before.linearizable(Instant::now() + NEVER).await.unwrap();
    assert_eq!(known_epoch(&before, "device/a"), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_flaps_deposes_nobody_and_catches_up_unasked() {
    let (cluster, wires) = wired(3).await;
    cluster.open_producer("device/a").await;
    let leader = cluster.leader().await;
    let flapping = (1..=3).find(|id| *id != leader).unwrap();
    let other = (1..=3).find(|id| *id != leader && *id != flapping).unwrap();
    let before = term(&cluster);
    let cuts: [&dyn Fn(); 4] = [
        &|| wires.isolate(flapping),
        // It is heard and hears nothing, the worst a voter can be.
        &|| {
            wires.cut_one_way(leader, flapping);
            wires.cut_one_way(other, flapping);
        },
        &|| wires.cut_one_way(leader, flapping),
        &|| {
            wires.cut_one_way(leader, flapping);
            wires.cut_one_way(flapping, leader);
        },
    ];
    for (round, cut) in (2..).zip(cuts) {
        cut();
        tokio::time::sleep(ELECTIONS).await;
        let proposed = cluster.open_producer("device/a").await;
        assert_eq!(epoch(&proposed), round);
        wires.heal();
        // Nothing is written: what it missed comes by itself.
        let replica = cluster.replica(flapping);
        within(replica.wait_applied(proposed.token, Instant::now() + NEVER))
            .await
            .unwrap();
        assert_eq!(
            (term(&cluster), cluster.leader().await),
            (before, leader),
            "round {round}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_reached_is_named_by_everybody_until_it_is_back() {
    let (cluster, wires) = wired(3).await;
    cluster.open_producer("device/a").await;
    let leader = cluster.leader().await;
    let away = (1..=3).find(|id| *id != leader).unwrap();
    let reachable = |of: u64, peer: u64| {
        let peers = cluster.replica(of).status().peers;
        peers.iter().find(|known| known.id == peer).unwrap().clone()
    };
    wires.isolate(away);
    for of in (1..=3).filter(|of| *of != away) {
        until(|| (!reachable(of, away).reachable).then_some(())).await;
        until(|| (!reachable(away, of).reachable).then_some(())).await;
    }
    for _ in 0..5 {
        cluster.open_producer("device/a").await;
    }
    let behind =
        until(|| Some(reachable(leader, away)).filter(|peer| peer.lag_entries >= Some(5))).await;
    assert!(behind.lag_bytes > Some(5 * 10), "{behind:?}");
    wires.heal();
    for of in (1..=3).filter(|of| *of != away) {
        until(|| reachable(of, away).reachable.then_some(())).await;
        until(|| reachable(away, of).reachable.then_some(())).await;
    }
    until(|| (reachable(leader, away).lag_entries == Some(0)).then_some(())).await;
    assert_eq!(reachable(leader, away).lag_bytes, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_jump_change_nothing_of_how_fresh_a_replica_is() {
    let cluster = Cluster::formed(3).await;
    cluster.open_producer("device/a").await;
    let operator = Client::operator(&cluster);
    let fresh = range("**", Consistency::MaxStaleness(Duration::from_secs(20)));
    for ahead in [0, 3_600, 0] {
        let clock = &cluster.clock.ahead_secs;
        clock.store(ahead, std::sync::atomic::Ordering::Relaxed);
        for id in 1..=3 {
            let answer = operator.ask(&cluster, id, &fresh, Bytes::new()).await;
            answer.unwrap();
            let age = cluster.replica(id).age().unwrap();
            assert!(age < Duration::from_secs(20), "node {id} {age:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_take_writes_with_two_lost_and_the_last_serves_what_it_has() {
    let mut cluster = Cluster::formed(5).await;
    assert_eq!(epoch(&cluster.open_producer("device/a").await), 1);
    for lost in [cluster.leader().await, cluster.follower().await] {
        cluster.stop(lost).await;
    }
    let last_written = cluster.open_producer("device/a").await;
    assert_eq!(epoch(&last_written), 2);
    let left: Vec<u64> = cluster.nodes.keys().copied().collect();
    for id in &left {
        let deadline = Instant::now() + NEVER;
        let replica = cluster.replica(*id);
        replica
            .wait_applied(last_written.token, deadline)
            .await
            .unwrap();
    }
    let operator = Client::operator(&cluster);
    for lost in &left[1..] {
        cluster.stop(*lost).await;
        let any = range("**", Consistency::Any);
        operator
            .ask(&cluster, left[0], &any, Bytes::new())
            .await
            .unwrap();
        assert_eq!(known_epoch(&cluster.replica(left[0]), "device/a"), Some(2));
    }
    let replica = cluster.replica(left[0]);
    until(|| (replica.status().role != Role::Leader).then_some(())).await;
    let refused = replica.propose(command::open_producer("device/a")).await;
    assert_eq!(
        refused.err(),
        Some(ProposeError::NotLeader { leader: None })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seven_form_a_cluster_and_go_on_with_four() {
    let mut cluster = Cluster::formed(7).await;
    assert_eq!(epoch(&cluster.open_producer("device/a").await), 1);
    for _ in 0..3 {
        cluster.stop(cluster.leader().await).await;
    }
    assert_eq!(epoch(&cluster.open_producer("device/a").await), 2);
}
