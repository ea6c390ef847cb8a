//! One bit wrong at every byte of every file: what is read is right, or the file is named.

use std::error::Error;
use std::path::Path;

use segment_log::fake::FakeDisk;
use store_node::archive::JobError;
use store_node::command::Seal;
use store_wire::message::RangeQuestion;

use super::replica::Replica;
use super::script::{append, delete, model};
use crate::state_model::history::Log;
use crate::state_model::{BASIC, every, everything};

/// Two segments of one window, one of another; all kinds; statistics of some chunks stand apart.
fn small_log() -> Log {
    let seal = Seal {
        window: 1_000,
        chunk_readings: 20,
    };
    let mut log = Log::opened();
    append(&mut log, 0, 0..50);
    append(&mut log, 1, (990..1_010).rev());
    log.seal(seal);
    append(&mut log, 0, 40..45);
    append(&mut log, 2, 300..330);
    append(&mut log, 3, 300..303);
    delete(&mut log, "line/i", 1_000, 1_003);
    log.seal(seal);
    log
}

fn questions() -> [RangeQuestion; 2] {
    [everything(), every(1_000, &BASIC)]
}

/// The error and what caused it.
fn chain(error: &dyn Error) -> String {
    let cause = error.source().map(chain);
    format!("{error}: {}", cause.unwrap_or_default())
}

/// Calls `see` with a disk for each byte of each file, in which one bit of it is wrong.
fn with_every_byte_wrong(image: &FakeDisk, replica: &Replica, see: impl Fn(FakeDisk, &Path)) {
    let mut flips = 0;
    for (path, bytes) in replica.files() {
        for offset in 0..bytes.len() {
            let disk = image.restart();
            disk.flip_bit(&path, offset, u8::try_from(offset % 8).unwrap());
            see(disk, &path);
            flips += 1;
        }
    }
    assert!(flips > 2_000, "only {flips}");
}

#[test]
fn no_bit_makes_an_answer_wrong() {
    let log = small_log();
    let replica = Replica::new();
    replica.catch_up(&log);
    replica.settle(&log).unwrap();
    let image = replica.disk.power_cut();
    let replica = Replica::open(image.restart()).unwrap();
    assert_eq!(replica.archive.manifest().unwrap().segments.len(), 3);
    let model = model(&log, log.last());
    let asked = questions();
    let expected = asked.each_ref().map(|question| model.answer(question));
    with_every_byte_wrong(&image, &replica, |disk, path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let replica = match Replica::open(disk) {
            Ok(replica) => replica,
            Err(error) => {
                let told = chain(&error);
                assert!(told.contains(name), "{told}");
                return;
            }
        };
        assert!(name.ends_with(".seg"), "a manifest was taken for whole");
        for (question, expected) in asked.iter().zip(&expected) {
            match replica.ask(&log, question) {
                Ok(answer) => assert!(answer == *expected, "{name}: {question:?}"),
                Err(error) => {
                    let told = chain(&error);
                    assert!(told.contains(name), "{told}");
                }
            }
        }
    });
}

#[test]
fn no_bit_makes_a_compaction_wrong() {
    let mut log = small_log();
    let replica = Replica::new();
    replica.catch_up(&log);
    replica.settle(&log).unwrap();
    let image = replica.disk.power_cut();
    let mut segments = replica.state().segments().to_vec();
    let replica = Replica::open(image.restart()).unwrap();
    segments.retain(|entry| entry.window.start == 0);
    let mut named: Vec<_> = segments.iter().map(|entry| entry.id()).collect();
    named.sort();
    log.compact(&named);
    replica.catch_up(&log);
    replica.settle(&log).unwrap();
    let expected = replica.files();
    let model = model(&log, log.last()).answer(&everything());
    let before = Replica::open(image.restart()).unwrap();
    with_every_byte_wrong(&image, &before, |disk, path| {
        if path.extension().unwrap() != "seg" {
            return;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let replica = Replica::open(disk).unwrap();
        replica.catch_up(&log);
        match replica.settle(&log) {
            Ok(()) => {
                // What was damaged had no part in it, or no effect on it.
                let files = replica.files();
                let is_same =
                    |(file, bytes): (&_, &_)| file == path || expected.get(file) == Some(bytes);
                assert!(files.iter().all(is_same), "{name}");
            }
            Err(error) => {
                assert!(!error.is_fatal() && !error.is_no_space());
                assert!(matches!(error, JobError::Segment(_)), "{error:?}");
                let told = chain(&error);
                assert!(told.contains(name), "{told}");
                // With a whole copy in its place the job is done as ever.
                let entry = segments
                    .iter()
                    .find(|entry| name.starts_with(&entry.hash.to_string()));
                let entry = entry.expect("only what is compacted can be in its way");
                repair(&replica, &before, entry);
                replica.settle(&log).unwrap();
                assert!(replica.files() == expected, "{name}");
                assert!(replica.ask(&log, &everything()).unwrap() == model);
            }
        }
    });
}

/// Puts a whole copy of a segment in its place, as a repair does.
fn repair(
    replica: &Replica,
    whole: &Replica,
    entry: &store_node::segments::manifest::SegmentEntry,
) {
    use segment_log::{Disk, OpenMode, read_file};
    let bytes = read_file(&whole.disk, &whole.archive.library().path(entry)).unwrap();
    let library = replica.archive.library();
    library.set_aside(entry).unwrap();
    let part = library.incoming(entry.hash);
    let file = replica.disk.open(&part, OpenMode::Create).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    file.sync_all().unwrap();
    library.adopt(&part, entry).unwrap();
}
