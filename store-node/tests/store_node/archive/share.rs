//! Compaction within its share of the time, jobs that are given up, and what a job waits for.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use store_node::archive::{JobError, Share};
use store_node::command::Seal;
use store_node::state::{PayloadError, Payloads};

use super::replica::Replica;
use super::script::{SEAL, append};
use crate::state_model::history::Log;

/// Two segments of a window, and a compaction that takes a while: many chunks.
fn compaction() -> (Log, u64) {
    let seal = Seal {
        window: 1 << 40,
        chunk_readings: 50,
    };
    let mut log = Log::opened();
    for offset in 0..2 {
        append(&mut log, 0, (0..50_000).map(|at| at * 2 + offset));
        log.seal(seal);
    }
    let replica = Replica::new();
    replica.catch_up(&log);
    replica.settle(&log).unwrap();
    let mut named: Vec<_> = replica
        .state()
        .segments()
        .iter()
        .map(|entry| entry.id())
        .collect();
    named.sort();
    let sealed = log.last();
    log.compact(&named);
    (log, sealed)
}

/// A replica whose next job is the compaction, to be done in so much of the time.
fn before_compaction(log: &Log, sealed: u64, percent: u32) -> Replica {
    let replica = Replica::new();
    replica.catch_up_to(log, sealed);
    replica.settle(log).unwrap();
    let compacted = sealed + 1;
    let replica = replica.with_share(Share::of_percent(percent).unwrap());
    replica.catch_up_to(log, compacted);
    replica
}

#[test]
fn compaction_rests_and_sealing_does_not() {
    let (log, sealed) = compaction();
    let replica = before_compaction(&log, sealed, 50);
    assert_eq!(
        replica.archive.rested(),
        Duration::ZERO,
        "only seals so far"
    );
    replica.settle(&log).unwrap();
    assert!(replica.archive.rested() > Duration::ZERO);
    let unhindered = before_compaction(&log, sealed, 100);
    unhindered.settle(&log).unwrap();
    assert_eq!(unhindered.archive.rested(), Duration::ZERO);
    assert!(replica.files() == unhindered.files());
}

#[test]
fn compaction_makes_haste_while_another_job_waits() {
    let (mut log, sealed) = compaction();
    log.seal(SEAL);
    // In so small a share it would take minutes.
    let replica = before_compaction(&log, sealed, 1);
    replica.catch_up(&log);
    replica.settle(&log).unwrap();
    assert_eq!(replica.archive.rested(), Duration::ZERO);
}

/// Waits until compaction rests, which it does for a second at least.
fn until_it_rests(replica: &Replica) {
    while replica.archive.rested() == Duration::ZERO {
        std::thread::yield_now();
    }
}

#[test]
fn a_job_that_rests_is_given_up_when_the_node_stops() {
    let (log, sealed) = compaction();
    let replica = before_compaction(&log, sealed, 1);
    let before = replica.names();
    std::thread::scope(|scope| {
        let job = scope.spawn(|| replica.do_next(&log));
        until_it_rests(&replica);
        replica.archive.stop();
        let outcome = job.join().unwrap();
        assert!(matches!(outcome, Err(JobError::Stopping)), "{outcome:?}");
    });
    assert_eq!(replica.names(), before, "something of the job was left");
}

#[test]
fn a_job_that_rests_gives_way_to_a_snapshot() {
    let (mut log, sealed) = compaction();
    log.seal(SEAL);
    let leader = Replica::new();
    leader.catch_up(&log);
    leader.settle(&log).unwrap();
    let replica = before_compaction(&log, sealed, 1);
    std::thread::scope(|scope| {
        let job = scope.spawn(|| replica.do_next(&log));
        until_it_rests(&replica);
        replica.install(&leader).unwrap();
        let outcome = job.join().unwrap();
        assert!(matches!(outcome, Err(JobError::Superseded)), "{outcome:?}");
    });
    replica.settle(&log).unwrap();
    replica.assert_tidy();
    assert!(replica.files() == leader.files());
}

/// A log that calls back.
struct Observed<'a, R, W> {
    log: &'a Log,
    on_read: R,
    on_wait: W,
}

impl<R: Fn() + Send + Sync, W: Fn(u64) -> bool + Send + Sync> Payloads for Observed<'_, R, W> {
    fn payload(&self, index: u64) -> Result<Bytes, PayloadError> {
        (self.on_read)();
        self.log.payload(index)
    }

    fn wait_synced(&self, index: u64) -> bool {
        (self.on_wait)(index)
    }
}

/// A replica before its first seal, in pieces that stay in the log.
fn before_sealing() -> (Log, Replica) {
    let mut log = Log::opened();
    append(&mut log, 0, 0..1_000);
    append(&mut log, 1, 0..1_000);
    log.seal(SEAL);
    let replica = Replica::new();
    replica.catch_up(&log);
    (log, replica)
}

#[test]
fn sealing_is_given_up_when_the_node_stops() {
    let (log, replica) = before_sealing();
    let before = replica.names();
    let outcome = replica.do_next_with(&Observed {
        log: &log,
        on_read: || replica.archive.stop(),
        on_wait: |_| true,
    });
    assert!(matches!(outcome, Err(JobError::Stopping)), "{outcome:?}");
    assert_eq!(replica.names(), before, "something of the job was left");
}

fn is_manifest(name: &Path) -> bool {
    name.extension().unwrap() == "manifest"
}

#[test]
fn a_manifest_is_stored_when_the_log_is_durable_up_to_it_and_segments_are_in_place() {
    let (log, replica) = &before_sealing();
    let observed = |is_synced| Observed {
        log,
        on_read: || (),
        on_wait: move |index| {
            assert_eq!(index, log.last());
            let names = replica.names();
            assert!(!names.is_empty(), "segments come first");
            assert!(
                !names.iter().any(|name| is_manifest(name)),
                "the manifest came too early"
            );
            is_synced
        },
    };
    // The log is closed before it was durable.
    let outcome = replica.do_next_with(&observed(false));
    assert!(matches!(outcome, Err(JobError::Stopping)), "{outcome:?}");
    assert!(!replica.names().iter().any(|name| is_manifest(name)));
    assert!(replica.do_next_with(&observed(true)).unwrap());
    assert!(replica.names().iter().any(|name| is_manifest(name)));
}
