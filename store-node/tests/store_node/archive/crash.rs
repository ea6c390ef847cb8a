//! A fault at every operation of every job: nothing is lost, and the job is done again to the same bytes.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

use segment_log::fake::{FakeDisk, Fault};
use store_node::archive::{JobError, plan::plan};
use store_wire::message::{Order, RangeQuestion};

use super::replica::{Replica, check_catalogue};
use super::script::{SEAL, append, append_all, delete, model, range};
use crate::state_model::history::Log;
use crate::state_model::model::Model;
use crate::state_model::{BASIC, every, everything};

/// Each draws other parts of what was not synced.
const SEEDS: u64 = 3;

/// Work that is to be done on a disk, and what it comes to.
struct Scenario {
    image: FakeDisk,
    /// What the image was made of.
    before: Replica,
    /// How much of the log is applied when the work begins.
    begins: u64,
    /// Its last entry is a seal, for later.
    log: Log,
    /// What the log is when the work begins.
    model_before: Model,
    model: Model,
    work: fn(&Self, &Replica) -> Result<(), JobError>,
    /// Every file once all is done.
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Scenario {
    /// `log` up to `sealed` is settled before the work begins.
    fn new(
        mut log: Log,
        sealed: u64,
        begins: u64,
        work: fn(&Self, &Replica) -> Result<(), JobError>,
    ) -> Self {
        log.seal(SEAL);
        let before = Replica::new();
        before.catch_up_to(&log, sealed);
        before.settle(&log).unwrap();
        let whole = Replica::new();
        whole.catch_up(&log);
        whole.settle(&log).unwrap();
        Self {
            image: before.disk.power_cut(),
            before,
            begins,
            model_before: model(&log, begins),
            model: model(&log, log.last()),
            log,
            work,
            files: whole.files(),
        }
    }

    /// A replica before the work.
    fn begin(&self, seed: u64) -> Replica {
        let disk = self.image.restart();
        disk.set_sector_bytes([16, 64, 512, 4096][usize::try_from(seed).unwrap() % 4]);
        let replica = self.before.reopened(disk, &self.log);
        replica.catch_up_to(&self.log, self.begins);
        replica
    }

    fn work(&self, replica: &Replica) -> Result<(), JobError> {
        (self.work)(self, replica)
    }

    /// It answers right before its jobs are done and after, and ends with the same files.
    fn check(&self, replica: &Replica) {
        replica.catch_up_to(&self.log, self.log.last() - 1);
        self.check_answers(replica, &self.model);
        replica.settle(&self.log).unwrap();
        replica.catch_up(&self.log);
        replica.settle(&self.log).unwrap();
        replica.assert_tidy();
        assert!(replica.files() == self.files, "other bytes than before");
        self.check_answers(replica, &self.model);
    }

    fn check_answers(&self, replica: &Replica, model: &Model) {
        for question in asked() {
            let found = replica.ask(&self.log, &question).unwrap();
            assert!(found == model.answer(&question), "{question:?}");
        }
        let catalogue = replica.catalogue(&self.log).unwrap();
        check_catalogue(&catalogue, model);
    }

    /// Lets each of `faults` strike at each operation of the work, then calls `check`.
    fn at_every_operation(
        &self,
        faults: &[Fault],
        check: impl Fn(Replica, Result<(), JobError>, bool),
    ) {
        let mut struck = 0;
        for seed in 0..SEEDS {
            let whole = self.begin(seed);
            let before = whole.disk.operations();
            self.work(&whole).unwrap();
            let operations = whole.disk.operations() - before;
            assert!(operations >= 5, "only {operations} operations");
            for fault in faults {
                for at in 1..=operations {
                    let replica = self.begin(seed);
                    let before = replica.disk.operations();
                    replica.disk.inject(*fault, before + at);
                    let outcome = self.work(&replica);
                    let is_struck = !replica.disk.fault_pending();
                    struck += u64::from(is_struck);
                    let claim =
                        format!("{fault:?} at {at} of {operations}, seed {seed}: {outcome:?}");
                    let checked = AssertUnwindSafe(|| check(replica, outcome, is_struck));
                    if let Err(panicked) = catch_unwind(checked) {
                        eprintln!("failed: {claim}");
                        resume_unwind(panicked);
                    }
                }
            }
        }
        assert!(struck >= SEEDS * 3, "only {struck} faults struck");
    }

    /// The machine stops, or only the process does; everything is found again, durably.
    fn survives_crashes(&self) {
        self.at_every_operation(&[Fault::Crash, Fault::Tear], |replica, _, _| {
            let after = replica.disk.power_cut();
            self.check(&replica.reopened(after, &self.log));
        });
        self.at_every_operation(&[Fault::Crash, Fault::Tear], |replica, _, _| {
            let after = replica.disk.restart();
            let replica = replica.reopened(after, &self.log);
            // What was found is relied on: the log is purged.
            replica.purged();
            let after = replica.disk.power_cut();
            self.check(&replica.reopened(after, &self.log));
        });
        self.at_every_operation(&[Fault::Crash, Fault::Tear], |replica, _, _| {
            let after = replica.disk.restart();
            let replica = replica.reopened(after, &self.log);
            // What is found of the work is not done again, and is relied on.
            self.work(&replica).unwrap();
            replica.purged();
            let after = replica.disk.power_cut();
            self.check(&replica.reopened(after, &self.log));
        });
    }

    /// A write or a sync that fails ends the node, which finds everything when it is started again.
    fn stops_at_failures(&self) {
        let faults = [Fault::FailWrite, Fault::FailSync];
        self.at_every_operation(&faults, |replica, outcome, is_struck| {
            let is_told = outcome.as_ref().is_err_and(JobError::is_fatal);
            assert_eq!(is_struck, is_told, "{outcome:?}");
            let after = replica.disk.restart();
            let replica = replica.reopened(after, &self.log);
            replica.purged();
            let after = replica.disk.power_cut();
            self.check(&replica.reopened(after, &self.log));
        });
    }

    /// A full disk lets the job wait, and nothing else.
    fn waits_for_room(&self) {
        self.at_every_operation(&[Fault::NoSpace], |replica, outcome, is_struck| {
            let is_told = outcome.as_ref().is_err_and(JobError::is_no_space);
            assert_eq!(is_struck, is_told, "{outcome:?}");
            if let Err(refused) = outcome {
                assert!(!refused.is_fatal());
                self.check_answers(&replica, &self.model_before);
            }
            self.work(&replica).unwrap();
            self.check(&replica);
        });
    }

    /// What a job that found no room has written does not take the room that the next try needs.
    fn needs_no_more_room_the_second_time(&self) {
        let is_enough = |bytes: u64| {
            let replica = self.begin(0);
            replica.disk.set_capacity(Some(bytes));
            self.work(&replica).is_ok()
        };
        let (mut least, mut most) = (self.begin(0).disk.used_bytes(), 1 << 20);
        assert!(is_enough(most) && !is_enough(least));
        while most - least > 1 {
            let middle = least.midpoint(most);
            if is_enough(middle) {
                most = middle;
            } else {
                least = middle;
            }
        }
        let replica = self.begin(0);
        replica.disk.set_capacity(Some(least));
        for _ in 0..3 {
            let refused = self.work(&replica).unwrap_err();
            assert!(refused.is_no_space(), "{refused}");
        }
        replica.disk.set_capacity(Some(most));
        self.work(&replica).unwrap();
        replica.disk.set_capacity(None);
        self.check(&replica);
    }
}

fn asked() -> [RangeQuestion; 3] {
    [
        RangeQuestion {
            order: Order::Descending,
            ..everything()
        },
        every(350, &BASIC),
        RangeQuestion {
            range: range(900, 2_100),
            ..every(1_000, &BASIC)
        },
    ]
}

fn do_jobs(scenario: &Scenario, replica: &Replica) -> Result<(), JobError> {
    replica.settle(&scenario.log)
}

/// Three windows, in order and late, sealed twice.
fn sealed_twice() -> Log {
    let mut log = Log::opened();
    append_all(&mut log, 0..2_500);
    log.seal(SEAL);
    append_all(&mut log, 2_000..3_200);
    append(&mut log, 0, 500..600);
    log.seal(SEAL);
    log
}

fn seal() -> Scenario {
    let mut log = sealed_twice();
    let sealed = log.last();
    append_all(&mut log, 1_500..3_000);
    delete(&mut log, "line/*", 1_700, 2_200);
    append(&mut log, 1, (1_900..2_000).rev());
    append(&mut log, 3, [100]);
    log.seal(SEAL);
    append_all(&mut log, 2_900..3_300);
    let begins = log.last();
    Scenario::new(log, sealed, begins, do_jobs)
}

fn compaction() -> Scenario {
    let mut log = sealed_twice();
    append(&mut log, 2, 400..700);
    log.seal(SEAL);
    append(&mut log, 0, 450..550);
    log.seal(SEAL);
    delete(&mut log, "line/f", 520, 560);
    let sealed = log.last();
    let replica = Replica::new();
    replica.catch_up(&log);
    replica.settle(&log).unwrap();
    let planned = plan(replica.state().segments());
    log.compact(&planned.expect("four segments of a window are enough"));
    append_all(&mut log, 2_900..3_300);
    let begins = log.last();
    Scenario::new(log, sealed, begins, do_jobs)
}

fn reclaim() -> Scenario {
    let mut log = sealed_twice();
    let sealed = log.last();
    // Nothing is left of the first window, something of the second, and the third is not touched.
    delete(&mut log, "**", i64::MIN, 1_000);
    delete(&mut log, "other/*", 1_000, 1_200);
    delete(&mut log, "none/*", 1_000, 4_000);
    let begins = log.last();
    Scenario::new(log, sealed, begins, do_jobs)
}

fn install() -> Scenario {
    let mut log = sealed_twice();
    let sealed = log.last();
    append_all(&mut log, 1_500..3_000);
    delete(&mut log, "**", i64::MIN, 1_000);
    log.seal(SEAL);
    let take_over = |scenario: &Scenario, replica: &Replica| {
        let leader = Replica::new();
        leader.catch_up_to(&scenario.log, scenario.log.last() - 1);
        leader.settle(&scenario.log)?;
        Ok(replica.install(&leader)?)
    };
    Scenario::new(log, sealed, sealed, take_over)
}

fn takeover() -> Scenario {
    let mut log = sealed_twice();
    let sealed = log.last();
    append_all(&mut log, 1_500..3_000);
    delete(&mut log, "**", i64::MIN, 1_000);
    log.seal(SEAL);
    append_all(&mut log, 2_900..3_300);
    let begins = log.last();
    let take_over = |scenario: &Scenario, replica: &Replica| {
        let leader = Replica::new();
        leader.catch_up_to(&scenario.log, scenario.begins);
        leader.settle(&scenario.log)?;
        replica.take_over(&leader, &scenario.log)?;
        replica.settle(&scenario.log)
    };
    Scenario::new(log, sealed, begins, take_over)
}

#[test]
fn a_crash_while_sealing() {
    seal().survives_crashes();
}

#[test]
fn a_crash_while_compacting() {
    compaction().survives_crashes();
}

#[test]
fn a_crash_while_reclaiming() {
    reclaim().survives_crashes();
}

#[test]
fn a_crash_while_a_manifest_is_installed() {
    install().survives_crashes();
}

#[test]
fn a_crash_while_jobs_are_taken_over() {
    takeover().survives_crashes();
}

#[test]
fn a_failed_write_or_sync_while_jobs_are_taken_over_ends_the_node() {
    takeover().stops_at_failures();
}

#[test]
fn a_full_disk_lets_taking_jobs_over_wait() {
    takeover().waits_for_room();
}

#[test]
fn jobs_are_taken_over_with_all_segments_or_not_at_all() {
    let scenario = takeover();
    let other = Replica::new();
    other.catch_up_to(&scenario.log, scenario.begins);
    other.settle(&scenario.log).unwrap();
    let replica = scenario.begin(0);
    let own = replica.archive.manifest();
    let manifest = other.archive.manifest().unwrap();
    let payloads = replica.payloads(&scenario.log);
    let taken_over = replica.archive.take_over(&manifest, &payloads);
    assert!(!taken_over.unwrap(), "not a segment of it is here");
    assert_eq!(replica.archive.manifest(), own);
    scenario.check_answers(&replica, &scenario.model_before);
    assert!(replica.take_over(&other, &scenario.log).unwrap());
    scenario.work(&replica).unwrap();
    scenario.check(&replica);
}

#[test]
fn a_failed_write_or_sync_while_sealing_ends_the_node() {
    seal().stops_at_failures();
}

#[test]
fn a_failed_write_or_sync_while_compacting_ends_the_node() {
    compaction().stops_at_failures();
}

#[test]
fn a_failed_write_or_sync_while_reclaiming_ends_the_node() {
    reclaim().stops_at_failures();
}

#[test]
fn a_failed_write_or_sync_while_a_manifest_is_installed_ends_the_node() {
    install().stops_at_failures();
}

#[test]
fn a_full_disk_lets_sealing_wait() {
    seal().waits_for_room();
    seal().needs_no_more_room_the_second_time();
}

#[test]
fn a_full_disk_lets_compaction_wait() {
    compaction().waits_for_room();
    compaction().needs_no_more_room_the_second_time();
}

#[test]
fn a_full_disk_lets_reclaiming_wait() {
    reclaim().waits_for_room();
}

#[test]
fn a_full_disk_lets_installing_wait() {
    install().waits_for_room();
}
