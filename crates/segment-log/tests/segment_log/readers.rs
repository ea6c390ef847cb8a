//! Readers beside a writer that appends, truncates and purges.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use segment_log::{Location, LogReader, Options, OsDisk, ReadError, SegmentLog};

/// Every payload that ever stood at a place.
type History = Mutex<BTreeMap<Location, BTreeSet<Vec<u8>>>>;

fn options() -> Options {
    Options {
        segment_bytes_max: 8 << 10,
        preallocate_bytes: 2 << 10,
        ..Options::default()
    }
}

#[test]
fn readers_see_whole_records_or_none_whatever_the_writer_takes_back() {
    let dir = tempfile::tempdir().unwrap();
    let visit = &mut |_, _: &[u8]| Ok(());
    let (log, _) = SegmentLog::open(Arc::new(OsDisk), dir.path(), options(), visit).unwrap();
    let (reader, history) = (log.reader(), History::default());
    let (stop, found) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // A last time after the writer has stopped, however late this thread got its turn.
                let mut last = false;
                while !last {
                    last = stop.load(Ordering::Relaxed);
                    found.fetch_add(read_all(&reader, &history), Ordering::Relaxed);
                }
            });
        }
        write(log, &history);
        stop.store(true, Ordering::Relaxed);
    });
    assert!(found.into_inner() > 50);
}

fn write(mut log: SegmentLog, history: &History) {
    let mut locations: Vec<Location> = Vec::new();
    for round in 0..60_usize {
        for index in 0..20_u8 {
            let mut payload = vec![index; 300];
            payload[..8].copy_from_slice(&round.to_le_bytes());
            let location = log.append(&[&payload]).unwrap();
            history
                .lock()
                .unwrap()
                .entry(location)
                .or_default()
                .insert(payload);
            locations.push(location);
        }
        log.sync().unwrap();
        match round % 3 {
            0 => {
                let keep = locations.len() - 5 - round % 40;
                log.truncate_after(locations[keep - 1]).unwrap();
                locations.truncate(keep);
            }
            1 => {
                let segment = log.last_segment().saturating_sub(4);
                log.purge_before(segment).unwrap();
                locations.retain(|location| location.segment >= segment);
            }
            _ => {}
        }
    }
}

/// Reads every place there ever was a record; returns how many there are.
fn read_all(reader: &LogReader, history: &History) -> u64 {
    let locations: Vec<_> = history.lock().unwrap().keys().copied().collect();
    let mut found = 0;
    for location in locations {
        match reader.read(location) {
            Ok(payload) => {
                assert!(history.lock().unwrap()[&location].contains(&payload[..]));
                found += 1;
            }
            Err(ReadError::Gone { .. } | ReadError::NotWritten { .. }) => {}
            Err(error) => panic!("{location}: {error}"),
        }
    }
    found
}
