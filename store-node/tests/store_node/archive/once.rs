//! What a manifest says was done is not done again, though the log still has the commands.

use super::replica::Replica;
use super::script::{SEAL, append, delete, model};
use crate::state_model::everything;
use crate::state_model::history::Log;

#[test]
fn jobs_that_a_manifest_has_wait_no_more_after_a_restart() {
    let mut log = Log::opened();
    for round in 0..2 {
        append(&mut log, 0, round * 100..round * 100 + 50);
        log.seal(SEAL);
    }
    let replica = Replica::new();
    replica.catch_up(&log);
    replica.settle(&log).unwrap();
    let mut named: Vec<_> = replica.state().segments().iter().map(|s| s.id()).collect();
    named.sort_unstable();
    assert_eq!(named.len(), 2);
    // Both are above the position of the manifest, which only a seal moves.
    log.compact(&named);
    delete(&mut log, "line/f", 0, 20);
    replica.catch_up(&log);
    replica.settle(&log).unwrap();
    let made = replica.state().segments().to_vec();
    assert_eq!(made.len(), 1);

    let replica = replica.reopened(replica.disk.power_cut(), &log);
    let compacted = replica.archive.manifest().unwrap().jobs_through;
    // The delete changed no segment, so its job is in no manifest; the compaction is.
    assert_eq!(replica.state().jobs_through(), compacted);
    assert_eq!(replica.state().jobs_waiting(), 1, "only the delete's");
    replica.settle(&log).unwrap();
    assert_eq!(replica.state().segments(), made);
    let answer = replica.ask(&log, &everything()).unwrap();
    assert!(answer == model(&log, log.last()).answer(&everything()));
}

#[test]
fn a_delete_whose_segments_are_gone_is_not_looked_into_again() {
    let mut log = Log::opened();
    append(&mut log, 0, 0..50);
    log.seal(SEAL);
    delete(&mut log, "**", 0, 50);
    let replica = Replica::new();
    replica.catch_up(&log);
    replica.settle(&log).unwrap();
    assert!(replica.state().segments().is_empty());
    let replica = replica.reopened(replica.disk.power_cut(), &log);
    assert_eq!(replica.state().jobs_waiting(), 0);
    assert!(replica.state().segments().is_empty());
}
