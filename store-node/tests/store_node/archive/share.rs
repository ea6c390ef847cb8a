//! Compaction within its share of the time, and jobs that are given up.

use std::time::Duration;

use store_node::archive::{JobError, Share};
use store_node::command::Seal;

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
