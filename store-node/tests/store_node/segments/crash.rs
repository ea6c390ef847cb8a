//! A fault at every operation: afterwards a segment is whole or absent, and what was promised is there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use segment_log::fake::{FakeDisk, Fault};
use segment_log::{Disk, read_file};
use sensor_model::{SeriesId, Values};
use store_node::segments::library::Library;
use store_node::segments::manifest::SegmentEntry;
use store_node::segments::segment::Segment;

use super::{Content, bytes_of, columns, entry, noise, put, seconds, small_content, write};

const DIR: &str = "/data/segments";
/// Each draws other parts of what was not synced.
const SEEDS: u64 = 12;

fn disk(seed: u64) -> FakeDisk {
    let disk = FakeDisk::with_seed(seed);
    disk.set_sector_bytes([16, 64, 512, 4096][usize::try_from(seed).unwrap() % 4]);
    disk
}

fn library(disk: &FakeDisk) -> io::Result<Library> {
    Library::open(Arc::new(disk.clone()), Path::new(DIR), 1 << 20)
}

/// Larger than the writer's buffer, so that it is written in several pieces.
fn large_content() -> Content {
    let mut content = small_content();
    for series in 0..2 {
        let times = (0..40_000).map(|at| seconds(0, 1)[0] + at).collect();
        let values = Values::F64((0..40_000).map(noise).collect());
        content.push((SeriesId((1 << 41) + series), columns(times, values)));
    }
    content
}

/// What the tests are about: one segment, as it should be.
struct Expected {
    content: Content,
    entry: SegmentEntry,
    bytes: Vec<u8>,
}

impl Expected {
    fn of(content: Content) -> Self {
        let disk = FakeDisk::new();
        let entry = entry(&write(&disk, Path::new("/segment"), &content).unwrap());
        let bytes = bytes_of(&content);
        Self {
            content,
            entry,
            bytes,
        }
    }

    /// Writes it and takes it over.
    fn make(&self, library: &Library, disk: &FakeDisk) -> io::Result<PathBuf> {
        let unfinished = library.incoming("job-42");
        let written = write(disk, &unfinished, &self.content)?;
        assert_eq!(entry(&written), self.entry);
        library.adopt(&unfinished, &self.entry)?;
        Ok(library.path(&self.entry))
    }

    /// Whole, or absent; whether it is there.
    fn is_there(&self, disk: &FakeDisk) -> bool {
        let library = library(disk).unwrap();
        let path = library.path(&self.entry);
        if !disk.exists(&path).unwrap() {
            assert_eq!(library.missing(std::slice::from_ref(&self.entry)).len(), 1);
            return false;
        }
        assert_eq!(library.missing(std::slice::from_ref(&self.entry)), []);
        let segment = library.segment(&self.entry).unwrap();
        assert_eq!(entry(&segment.verify().unwrap()), self.entry);
        assert!(read_file(disk, &path).unwrap() == self.bytes);
        true
    }
}

/// No fault, then each fault at each operation of `work`, on disks prepared by `prepare`.
fn at_every_operation(
    faults: &[Fault],
    prepare: &dyn Fn(&FakeDisk),
    work: &dyn Fn(&FakeDisk) -> io::Result<()>,
    check: &dyn Fn(&FakeDisk, io::Result<()>),
) {
    let mut struck = 0;
    for seed in 0..SEEDS {
        let whole = disk(seed);
        prepare(&whole);
        let before = whole.operations();
        work(&whole).unwrap();
        let operations = whole.operations() - before;
        assert!(operations >= 3, "only {operations} operations");
        check(&whole, Ok(()));
        for fault in faults {
            for at in 1..=operations {
                let disk = disk(seed);
                prepare(&disk);
                disk.inject(*fault, before + at);
                let outcome = work(&disk);
                let is_struck = !disk.fault_pending();
                assert!(outcome.is_err() || !is_struck, "the fault was overlooked");
                struck += u64::from(is_struck);
                let claim = format!("{fault:?} at {at} of {operations}, seed {seed}");
                let checked = std::panic::AssertUnwindSafe(|| check(&disk, outcome));
                if let Err(panicked) = std::panic::catch_unwind(checked) {
                    eprintln!("failed: {claim}");
                    std::panic::resume_unwind(panicked);
                }
            }
        }
    }
    assert!(struck > SEEDS, "only {struck} faults struck");
}

#[test]
fn a_crash_while_a_segment_is_made_leaves_it_whole_or_absent() {
    let expected = Expected::of(large_content());
    at_every_operation(
        &[Fault::Crash, Fault::Tear],
        &|_| {},
        &|disk| expected.make(&library(disk)?, disk).map(|_| ()),
        &|disk, outcome| {
            let after = disk.power_cut();
            let is_there = expected.is_there(&after);
            assert!(is_there || outcome.is_err(), "adopted, then lost");
            // What is left does not stand in the way.
            let again = library(&after).unwrap();
            expected.make(&again, &after).unwrap();
            again.retain(std::slice::from_ref(&expected.entry)).unwrap();
            let incoming = Path::new(DIR).join("incoming");
            assert_eq!(after.list(&incoming).unwrap(), Vec::<String>::new());
            assert!(expected.is_there(&after.power_cut()));
        },
    );
}

#[test]
fn the_end_of_the_process_alone_loses_no_segment_whose_name_was_synced_after() {
    let expected = Expected::of(small_content());
    at_every_operation(
        &[Fault::Crash, Fault::Tear],
        &|_| {},
        &|disk| expected.make(&library(disk)?, disk).map(|_| ()),
        &|disk, _| {
            // The machine lives on, and a new process finds what the old one had done.
            let found = disk.restart();
            if expected.is_there(&found) {
                let library = library(&found).unwrap();
                let entries = std::slice::from_ref(&expected.entry);
                library.sync_names(entries).unwrap();
                let operations = found.operations();
                library.sync_names(entries).unwrap();
                assert_eq!(found.operations(), operations, "once is enough");
                assert!(expected.is_there(&found.power_cut()));
            }
        },
    );
}

#[test]
fn a_fault_while_a_segment_is_made_is_told_and_can_be_cleared_away() {
    let expected = Expected::of(large_content());
    at_every_operation(
        &[Fault::FailWrite, Fault::FailSync, Fault::NoSpace],
        &|_| {},
        &|disk| expected.make(&library(disk)?, disk).map(|_| ()),
        &|disk, outcome| {
            if outcome.is_ok() {
                assert!(expected.is_there(&disk.power_cut()));
                return;
            }
            let library = library(disk).unwrap();
            let unfinished = library.incoming("job-42");
            library.discard(&unfinished).unwrap();
            assert!(!disk.exists(&unfinished).unwrap());
            expected.is_there(disk);
            expected.is_there(&disk.power_cut());
        },
    );
}

#[test]
fn a_full_disk_is_told_and_clearing_away_gives_the_room_back() {
    let expected = Expected::of(large_content());
    let disk = FakeDisk::new();
    let library = library(&disk).unwrap();
    let bytes = expected.bytes.len() as u64;
    disk.set_capacity(Some(bytes - 1));
    let error = expected.make(&library, &disk).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    library.discard(&library.incoming("job-42")).unwrap();
    assert_eq!(disk.used_bytes(), 0);
    disk.set_capacity(Some(bytes));
    expected.make(&library, &disk).unwrap();
}

#[test]
fn names_that_a_failed_sync_left_open_are_synced_before_they_are_counted_on() {
    let first = Expected::of(small_content());
    let second = Expected::of(small_content()[..5].to_vec());
    let prepare = |disk: &FakeDisk| {
        let library = library(disk).unwrap();
        first.make(&library, disk).unwrap();
        library
    };
    let whole = FakeDisk::new();
    let library = prepare(&whole);
    let before = whole.operations();
    second.make(&library, &whole).unwrap();
    let mut failures = 0;
    for at in before + 1..=whole.operations() {
        let disk = FakeDisk::new();
        let library = prepare(&disk);
        disk.inject(Fault::FailSync, at);
        let is_failed = second.make(&library, &disk).is_err();
        if is_failed && disk.exists(&library.path(&second.entry)).unwrap() {
            library
                .sync_names(std::slice::from_ref(&second.entry))
                .unwrap();
            for _ in 0..SEEDS {
                assert!(second.is_there(&disk.power_cut()));
            }
            failures += 1;
        }
    }
    assert!(failures > 0, "no sync failed after the rename");
}

#[test]
fn a_crash_while_a_segment_is_replaced_leaves_the_old_copy_or_the_new() {
    let expected = Expected::of(small_content());
    let prepare = |disk: &FakeDisk| {
        let library = library(disk).unwrap();
        let path = expected.make(&library, disk).unwrap();
        let mut damaged = expected.bytes.clone();
        damaged[100] ^= 1;
        put(disk, &path, &damaged);
    };
    at_every_operation(
        &[Fault::Crash, Fault::Tear],
        &prepare,
        &|disk| expected.make(&library(disk)?, disk).map(|_| ()),
        &|disk, outcome| {
            let after = disk.power_cut();
            let path = library(&after).unwrap().path(&expected.entry);
            let verified = Segment::open(&after, &path).unwrap().verify();
            assert!(verified.is_ok() || outcome.is_err(), "replaced, then back");
        },
    );
}

#[test]
fn a_crash_while_a_segment_is_set_aside_leaves_it_in_one_place_or_the_other() {
    let expected = Expected::of(small_content());
    at_every_operation(
        &[Fault::Crash, Fault::Tear],
        &|disk| {
            let library = library(disk).unwrap();
            expected.make(&library, disk).unwrap();
        },
        &|disk| library(disk)?.set_aside(&expected.entry),
        &|disk, outcome| {
            let after = disk.power_cut();
            let is_there = expected.is_there(&after);
            assert!(!is_there || outcome.is_err(), "set aside, then back");
            let aside = Path::new(DIR).join(format!("damaged/{}.seg", expected.entry.hash));
            assert_ne!(is_there, after.exists(&aside).unwrap());
            let again = library(&after).unwrap();
            expected.make(&again, &after).unwrap();
            let after = after.power_cut();
            assert!(expected.is_there(&after) && !after.exists(&aside).unwrap());
        },
    );
}

#[test]
fn a_crash_while_others_are_removed_leaves_what_is_kept() {
    let kept = Expected::of(small_content());
    let others: Vec<Expected> = (2..5)
        .map(|count| Expected::of(small_content()[..count].to_vec()))
        .collect();
    at_every_operation(
        &[Fault::Crash, Fault::Tear],
        &|disk| {
            let library = library(disk).unwrap();
            kept.make(&library, disk).unwrap();
            for other in &others {
                other.make(&library, disk).unwrap();
            }
            put(disk, &library.incoming("left-over"), b"abc");
        },
        &|disk| {
            library(disk)?
                .retain(std::slice::from_ref(&kept.entry))
                .map(|_| ())
        },
        &|disk, outcome| {
            let after = disk.power_cut();
            assert!(kept.is_there(&after));
            for other in &others {
                let is_there = other.is_there(&after);
                assert!(!is_there || outcome.is_err(), "removed, then back");
            }
        },
    );
}
