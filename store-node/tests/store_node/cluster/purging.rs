//! How far the log is purged behind a manifest: entries that another member lacks stay while the log is
//! small.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use segment_log::Disk;
use store_node::raft::{ProposeError, network::UNANSWERED_BYTES_MAX};

use super::{
    Cluster, epoch, known_epoch,
    puppet::{Manner, Puppet},
    until, within,
};

/// Room below half of what a node keeps free, so that it takes no entries.
const EXHAUSTED_BYTES: u64 = 100 << 20;

/// Lets a follower's disk be full, so that it is connected and behind; returns its id.
async fn fill_one(cluster: &Cluster) -> u64 {
    let full = cluster.follower().await;
    let disk = &cluster.disks[&full];
    disk.set_capacity(Some(disk.used_bytes() + EXHAUSTED_BYTES));
    // Its own word for it comes when it looks, once a second.
    let replica = cluster.replica(full);
    until(|| (replica.load() == store_wire::message::Load::Overloaded).then_some(())).await;
    full
}

/// Seals what the nodes but `behind` have applied. They hold the manifest, `behind` does not.
async fn seal_without(cluster: &mut Cluster, behind: u64) -> u64 {
    let node = cluster.nodes.remove(&behind).expect("it runs");
    let manifest = cluster.manifest(&[]).await;
    cluster.seal(&manifest).await;
    cluster.nodes.insert(behind, node);
    manifest.position.index
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_manifest_the_log_goes_from_memory_and_disk() {
    let cluster = Cluster::formed(3).await;
    let replica = cluster.replica(cluster.leader().await);
    for _ in 0..8 {
        // Not a command, which does not keep it out of the log.
        let proposed = replica.propose(Bytes::from(vec![0xff; 1 << 20])).await;
        proposed.expect("the leader stays");
    }
    let segments = |id: u64| {
        let names = cluster.disks[&id].list(Path::new("/data/log"));
        names.expect("a healthy disk").len()
    };
    assert!(segments(1) > 8);
    let manifest = cluster.manifest(&[]).await;
    cluster.seal(&manifest).await;
    for id in 1..=3 {
        cluster.purged(id, manifest.position.index).await;
        until(|| (segments(id) <= 3).then_some(())).await;
        let status = cluster.nodes[&id].status().expect("it runs");
        assert_eq!(status.last_snapshot, Some(manifest.position.index));
        assert!(status.log_bytes < 3 << 20, "{}", status.log_bytes);
    }
    cluster.open_producer("device/a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_log_keeps_what_a_connected_member_lacks() {
    let mut cluster = Cluster::formed(3).await;
    assert_eq!(epoch(&cluster.open_producer("device/a").await), 1);
    let full = fill_one(&cluster).await;
    let had = cluster.replica(full).applied().index;
    for _ in 0..20 {
        cluster.open_producer("device/a").await;
    }
    let position = seal_without(&mut cluster, full).await;
    let leader = cluster.leader().await;
    // It has decided: what the other has too is gone, and nothing else.
    cluster.purged(leader, had.saturating_sub(1)).await;
    let first = cluster.nodes[&leader].status().expect("it runs").log_first;
    assert!(first.is_some_and(|first| first <= position), "{first:?}");
    cluster.disks[&full].set_capacity(None);
    cluster.purged(leader, position).await;
    let context = cluster.nodes[&full].context().expect("it runs");
    assert_eq!(context.archive.manifest(), None, "it needed no snapshot");
    let replica = cluster.replica(full);
    until(|| (known_epoch(&replica, "device/a") == Some(21)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_log_is_purged_all_the_same_and_the_member_gets_a_snapshot() {
    let mut cluster = Cluster::blank(3);
    cluster.log_bytes_max = 0;
    cluster.form().await;
    cluster.open_producer("device/a").await;
    let full = fill_one(&cluster).await;
    for _ in 0..20 {
        cluster.open_producer("device/a").await;
    }
    let position = seal_without(&mut cluster, full).await;
    let leader = cluster.leader().await;
    cluster.purged(leader, position).await;
    let context = cluster.nodes[&full].context().expect("it runs");
    assert_eq!(context.archive.manifest(), None, "its disk is full");
    cluster.disks[&full].set_capacity(None);
    until(|| context.archive.manifest()).await;
    assert_eq!(epoch(&cluster.open_producer("device/b").await), 1);
    let replica = cluster.replica(full);
    until(|| (known_epoch(&replica, "device/b") == Some(1)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_member_does_not_hold_a_large_log() {
    let mut cluster = Cluster::blank(3);
    cluster.log_bytes_max = 8 << 20;
    cluster.form().await;
    let slow = cluster.follower().await;
    cluster.stop(slow).await;
    let puppet = Puppet::of(&cluster, slow, Manner::Slow(Duration::from_millis(700))).await;
    cluster.open_producer("device/a").await;
    until(|| (puppet.last() > 0).then_some(())).await;
    let replica = cluster.replica(cluster.leader().await);
    for _ in 0..40 {
        let outcome = within(replica.propose(Bytes::from(vec![0xff; 1 << 20]))).await;
        match outcome {
            Ok(_) | Err(ProposeError::Overloaded { .. }) => {}
            Err(error) => panic!("a healthy cluster takes proposals: {error}"),
        }
    }
    let manifest = cluster.manifest(&[]).await;
    cluster.seal(&manifest).await;
    let install = puppet.offered().await;
    assert!(puppet.last() < manifest.position.index, "it was slow");
    assert_eq!(install.jobs_through, manifest.jobs_through);
    cluster.purged(replica.id(), manifest.position.index).await;
}

/// What a member that does not keep up costs the leader is bounded, however it fails to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_never_answers_is_sent_no_more_than_the_bound() {
    let bytes = propose_beside(Manner::Mute, 24).await.stream_bytes_max();
    let bound = UNANSWERED_BYTES_MAX as u64;
    assert!(bytes <= bound, "{bytes} bytes without an answer");
    assert!(
        bytes + (4 << 20) > bound,
        "only {bytes} bytes: not the bound held it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_never_reads_holds_nobody_up() {
    let puppet = propose_beside(Manner::Deaf, 40).await;
    assert!(puppet.streams() > 0, "nobody talked to it");
    assert_eq!(puppet.last(), 0);
}

/// Has `count` entries of 1 MiB acknowledged by a cluster of three of which one is such a puppet.
async fn propose_beside(manner: Manner, count: usize) -> Puppet {
    let mut cluster = Cluster::blank(3);
    cluster.form().await;
    let odd = cluster.follower().await;
    cluster.stop(odd).await;
    let puppet = Puppet::of(&cluster, odd, manner).await;
    until(|| (puppet.streams() > 0).then_some(())).await;
    let replica = cluster.replica(cluster.leader().await);
    for _ in 0..count {
        let proposed = within(replica.propose(Bytes::from(vec![0xff; 1 << 20]))).await;
        proposed.expect("two of three go on");
    }
    // Nothing is kept for the third.
    until(|| (replica.proposal_bytes() == (0, 0)).then_some(())).await;
    if manner == Manner::Mute {
        // All that is sent without an answer arrives.
        until(|| (puppet.stream_bytes_max() > 12 << 20).then_some(())).await;
    }
    puppet
}
