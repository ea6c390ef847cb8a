//! Reads that began before a job was done: what they refer to stays until they end.

use std::sync::atomic::{AtomicBool, Ordering};

use sensor_model::{Columns, Pattern};
use store_node::archive::plan::plan;
use store_node::scan::{self, Part, catalogue};
use store_wire::message::RangeQuestion;

use super::replica::{Replica, check_catalogue};
use super::script::{SEAL, append, append_all, delete, model};
use crate::state_model::history::Log;
use crate::state_model::{BASIC, every, everything, limits};

/// All readings of series 0: more than one part of an answer.
fn question() -> RangeQuestion {
    RangeQuestion {
        patterns: vec![Pattern::new("line/f").unwrap()],
        ..everything()
    }
}

/// Asks, calls `meanwhile` after the first part of the answer, and gives all of it.
fn scan(replica: &Replica, log: &Log, mut meanwhile: impl FnMut()) -> Columns {
    let mut found: Option<Columns> = None;
    let mut parts = 0;
    let payloads = replica.payloads(log);
    scan::range(
        replica.source(&payloads),
        &question(),
        &|_| true,
        &limits(),
        &mut |part| {
            if let Part::Rows(rows) = part {
                let all = found.get_or_insert_with(|| Columns::empty(rows.kind()));
                all.extend_from(&rows, 0, rows.len());
                parts += 1;
                if parts == 1 {
                    meanwhile();
                }
            }
            Ok(())
        },
    )
    .unwrap();
    assert!(parts > 1, "nothing was left to be read");
    found.unwrap()
}

/// Forty windows of series 0, in pieces that stay in the log.
fn long_log() -> Log {
    let mut log = Log::opened();
    for window in 0..40 {
        append(&mut log, 0, window * 1_000..window * 1_000 + 800);
    }
    log
}

/// A replica that has applied `log` and settled up to entry `sealed`.
fn settled(log: &Log, sealed: u64) -> Replica {
    let replica = Replica::new();
    replica.catch_up_to(log, sealed);
    replica.settle(log).unwrap();
    replica
}

/// Does `meanwhile` in the midst of a scan. The scan finds what it would have found, and only when it
/// is over anything is let go.
fn holds(replica: &Replica, log: &Log, meanwhile: impl Fn()) {
    let purgeable = || *replica.archive.purgeable().borrow();
    let expected = scan(replica, log, || {});
    let (purgeable_before, files_before) = (purgeable(), replica.names());
    let found = scan(replica, log, || {
        meanwhile();
        assert_eq!(purgeable(), purgeable_before, "the log was let go");
        for path in &files_before {
            let is_segment = path.extension().unwrap() == "seg";
            assert!(
                !is_segment || replica.names().contains(path),
                "{}",
                path.display()
            );
        }
    });
    assert!(found == expected);
    replica.settle(log).unwrap();
    replica.assert_tidy();
    let manifest = replica.archive.manifest().map(|manifest| manifest.id());
    assert_ne!(manifest, purgeable_before, "nothing was done meanwhile");
    assert_eq!(purgeable(), manifest);
    let answer = replica.ask(log, &question()).unwrap();
    assert!(answer == model(log, log.last()).answer(&question()));
}

#[test]
fn a_scan_of_the_log_goes_on_while_it_is_sealed() {
    let mut log = long_log();
    let replica = settled(&log, log.last());
    log.seal(SEAL);
    holds(&replica, &log, || {
        replica.catch_up(&log);
        replica.settle(&log).unwrap();
    });
}

#[test]
fn a_scan_of_a_generation_goes_on_while_its_segments_are_made() {
    let mut log = long_log();
    log.seal(SEAL);
    let replica = Replica::new();
    replica.catch_up(&log);
    holds(&replica, &log, || replica.settle(&log).unwrap());
}

#[test]
fn a_scan_of_segments_goes_on_while_they_are_compacted_and_deleted() {
    let mut log = long_log();
    log.seal(SEAL);
    append(&mut log, 0, 30_000..38_000);
    log.seal(SEAL);
    let replica = settled(&log, log.last());
    let segments = replica.state().segments().to_vec();
    for start in [31_000, 35_000] {
        let of_window = segments.iter().filter(|entry| entry.window.start == start);
        let mut named: Vec<_> = of_window.map(|entry| entry.id()).collect();
        named.sort();
        assert_eq!(named.len(), 2);
        log.compact(&named);
    }
    delete(&mut log, "**", 20_000, 30_000);
    holds(&replica, &log, || {
        replica.catch_up(&log);
        replica.settle(&log).unwrap();
    });
}

#[test]
fn a_scan_goes_on_while_a_snapshot_takes_the_place_of_what_it_reads() {
    let mut log = long_log();
    log.seal(SEAL);
    let first = log.last();
    append(&mut log, 0, 30_000..38_000);
    delete(&mut log, "**", 20_000, 30_000);
    log.seal(SEAL);
    let leader = settled(&log, log.last());
    let behind = settled(&log, first);
    holds(&behind, &log, || behind.install(&leader).unwrap());
}

#[test]
fn while_jobs_are_done_every_answer_is_right() {
    let mut log = Log::opened();
    for round in 0..12_i64 {
        append_all(&mut log, round * 300..round * 300 + 900);
        append(&mut log, 0, 500..700);
        if round % 3 == 2 {
            delete(&mut log, "line/*", round * 200, round * 200 + 300);
        }
        log.seal(SEAL);
    }
    let whole = settled(&log, log.last());
    log.compact(&plan(whole.state().segments()).unwrap());
    let model = model(&log, log.last());
    let replica = Replica::new();
    replica.catch_up(&log);
    let questions = [everything(), every(250, &BASIC)];
    let expected = questions.each_ref().map(|question| model.answer(question));
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            replica.settle(&log).unwrap();
            is_done.store(true, Ordering::SeqCst);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                // Once more when all is done.
                let mut is_last = false;
                while !is_last {
                    is_last = is_done.load(Ordering::SeqCst);
                    for (question, expected) in questions.iter().zip(&expected) {
                        assert!(replica.ask(&log, question).unwrap() == *expected);
                    }
                    check_catalogue(&replica.catalogue(&log).unwrap(), &model);
                }
            });
        }
    });
    replica.settle(&log).unwrap();
    replica.assert_tidy();
}

#[test]
fn the_last_reading_is_known_without_a_look_though_older_ones_were_deleted() {
    let mut log = long_log();
    log.seal(SEAL);
    delete(&mut log, "**", i64::MIN, 20_000);
    let replica = settled(&log, log.last());
    let payloads = replica.payloads(&log);
    let before = replica.disk.reads();
    let last = |replica: &Replica| {
        let mut last = Vec::new();
        let (source, all) = (replica.source(&payloads), Pattern::everything());
        catalogue::last(source, &all, &|_| true, &limits(), &mut |some| {
            last.extend(some);
            Ok(())
        })
        .unwrap();
        last
    };
    assert_eq!(last(&replica).len(), 1);
    assert_eq!(replica.disk.reads(), before);
    // Once it may be gone itself, segments must say.
    delete(&mut log, "**", 39_000, 40_000);
    replica.catch_up(&log);
    let model = model(&log, log.last());
    check_catalogue(&replica.catalogue(&log).unwrap(), &model);
    assert!(replica.disk.reads() > before);
}
