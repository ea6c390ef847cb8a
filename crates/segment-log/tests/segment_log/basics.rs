//! One claim after the other, on a disk where nothing fails.

use bytes::Bytes;
use segment_log::{AppendError, OpenError, Options, ReadError, TruncateError, fake::FakeDisk};

use crate::segment_log::support::{open, small};

#[test]
fn synced_records_are_read_back_and_visited_in_order() {
    let disk = FakeDisk::new();
    let mut log = open(&disk, small()).unwrap().log;
    let first = log.append(&[b"one", b"", b" record"]).unwrap();
    let second = log
        .append_shared(&[Bytes::from_static(b"another")])
        .unwrap();
    let empty = log.append(&[]).unwrap();
    assert!(first < second && second < empty);
    let reader = log.reader();
    assert!(matches!(
        reader.read(first),
        Err(ReadError::NotWritten { .. })
    ));
    log.sync().unwrap();
    assert_eq!(reader.read(first).unwrap(), "one record");
    assert_eq!(reader.read(second).unwrap(), "another");
    assert_eq!(reader.read(empty).unwrap(), "");
    drop(log);

    let opened = open(&disk.power_cut(), small()).unwrap();
    assert_eq!(
        opened.payloads(),
        [b"one record".to_vec(), b"another".to_vec(), vec![]]
    );
    assert_eq!(opened.records[1].0, second);
    assert_eq!(opened.recovery.records, 3);
    assert_eq!(opened.recovery.payload_bytes, 17);
    assert_eq!(opened.recovery.torn, None);
}

#[test]
fn record_of_the_largest_size_is_taken_and_one_byte_more_is_not() {
    let disk = FakeDisk::new();
    let mut log = open(&disk, small()).unwrap().log;
    log.append(&[&[7; 200]]).unwrap();
    let refused = log.append(&[&[7; 200], &[7]]);
    assert!(matches!(
        refused,
        Err(AppendError::TooLarge { len: 201, max: 200 })
    ));
    log.append(&[b"goes on"]).unwrap();
    log.close().unwrap();
    let payloads = open(&disk, small()).unwrap().payloads();
    assert_eq!(payloads, [vec![7; 200], b"goes on".to_vec()]);
}

#[test]
fn record_larger_than_a_segment_has_one_to_itself() {
    let options = Options {
        record_bytes_max: 3000,
        ..small()
    };
    let disk = FakeDisk::new();
    let mut log = open(&disk, options.clone()).unwrap().log;
    let locations: Vec<_> = [10, 3000, 10]
        .map(|len| log.append(&[&vec![3; len]]).unwrap().segment)
        .into();
    assert_eq!(locations, [1, 2, 3]);
    log.close().unwrap();
    assert_eq!(open(&disk, options).unwrap().recovery.records, 3);
}

#[test]
fn full_segments_are_sealed_and_trimmed() {
    let disk = FakeDisk::new();
    let mut log = open(&disk, small()).unwrap().log;
    for index in 0..40_u8 {
        log.append(&[&[index; 50]]).unwrap();
    }
    log.sync().unwrap();
    assert_eq!((log.first_segment(), log.last_segment()), (1, 7));
    let reader = log.reader();
    drop(log);
    let opened = open(&disk, small()).unwrap();
    assert_eq!(opened.recovery.segments, 7);
    for (index, (location, payload)) in opened.records.iter().enumerate() {
        assert_eq!(payload, &[u8::try_from(index).unwrap(); 50]);
        assert_eq!(reader.read(*location).unwrap(), payload);
    }
}

#[test]
fn preamble_begins_every_new_segment() {
    let disk = FakeDisk::new();
    let mut log = open(&disk, small()).unwrap().log;
    log.append(&[b"in the first"]).unwrap();
    log.set_segment_preamble(vec![Bytes::from_static(b"P1"), Bytes::from_static(b"P2")])
        .unwrap();
    assert_eq!(log.rotate().unwrap(), 2);
    log.append(&[b"in the second"]).unwrap();
    assert_eq!(log.rotate().unwrap(), 3);
    assert_eq!(log.purge_before(3).unwrap(), 2);
    drop(log);
    assert_eq!(
        open(&disk.power_cut(), small()).unwrap().payloads(),
        [b"P1", b"P2"]
    );
}

#[test]
fn preamble_that_fits_no_segment_is_refused() {
    let mut log = open(&FakeDisk::new(), small()).unwrap().log;
    let refused = log.set_segment_preamble(vec![Bytes::from(vec![1; 200]); 3]);
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
    log.rotate().unwrap();
}

#[test]
fn truncation_within_and_across_segments_is_durable() {
    let disk = FakeDisk::new();
    let mut log = open(&disk, small()).unwrap().log;
    let locations: Vec<_> = (0..30_u8)
        .map(|index| log.append(&[&[index; 50]]).unwrap())
        .collect();
    for keep in [28, 20, 6, 1] {
        let reader = log.reader();
        log.truncate_after(locations[keep - 1]).unwrap();
        assert_eq!(reader.read(locations[keep - 1]).unwrap().len(), 50);
        assert!(matches!(
            reader.read(locations[keep]),
            Err(ReadError::Gone { .. } | ReadError::NotWritten { .. })
        ));
        drop(log);
        let opened = open(&disk, small()).unwrap();
        assert_eq!(opened.records.len(), keep);
        log = opened.log;
    }
    log.append(&[b"new"]).unwrap();
    log.sync().unwrap();
    log.truncate_from(locations[0]).unwrap();
    log.append(&[b"only"]).unwrap();
    log.sync().unwrap();
    drop(log);
    assert_eq!(
        open(&disk.power_cut(), small()).unwrap().payloads(),
        [b"only"]
    );
}

#[test]
fn truncation_is_refused_where_no_record_starts() {
    let mut log = open(&FakeDisk::new(), small()).unwrap().log;
    let location = log.append(&[&[1; 60]]).unwrap();
    let elsewhere = [
        segment_log::Location {
            offset: location.offset + 8,
            len: 8,
            ..location
        },
        segment_log::Location {
            len: 59,
            ..location
        },
        segment_log::Location {
            segment: 2,
            ..location
        },
    ];
    for location in elsewhere {
        let refused = log.truncate_after(location);
        assert!(
            matches!(refused, Err(TruncateError::NoSuchRecord { .. })),
            "{location}"
        );
    }
    assert_eq!(log.reader().read(location).unwrap(), [1; 60][..]);
}

#[test]
fn purge_keeps_the_active_segment_and_what_is_above() {
    let disk = FakeDisk::new();
    let mut log = open(&disk, small()).unwrap().log;
    let locations: Vec<_> = (0..20_u8)
        .map(|index| log.append(&[&[index; 50]]).unwrap())
        .collect();
    log.sync().unwrap();
    let reader = log.reader();
    assert_eq!(log.purge_before(2).unwrap(), 1);
    assert!(matches!(
        reader.read(locations[0]),
        Err(ReadError::Gone { .. })
    ));
    let kept = locations
        .iter()
        .filter(|location| location.segment >= 2)
        .count();
    assert_eq!(
        open(&disk.restart(), small()).unwrap().recovery.records,
        kept as u64
    );
}

#[test]
fn second_owner_is_refused_while_the_first_lives() {
    let disk = FakeDisk::new();
    let first = open(&disk, small()).unwrap();
    assert!(matches!(open(&disk, small()), Err(OpenError::InUse { .. })));
    drop(first);
    open(&disk, small()).unwrap();
}

#[test]
fn options_without_sense_are_refused() {
    for options in [
        Options {
            record_bytes_max: 1 << 28,
            ..small()
        },
        Options {
            segment_bytes_max: 3 << 30,
            ..small()
        },
        Options {
            segment_bytes_max: 63,
            ..small()
        },
        Options {
            preallocate_bytes: 0,
            ..small()
        },
    ] {
        assert!(matches!(
            open(&FakeDisk::new(), options),
            Err(OpenError::Options { .. })
        ));
    }
}

#[test]
fn visitor_that_fails_stops_the_opening_and_names_the_record() {
    let disk = FakeDisk::new();
    let mut log = open(&disk, small()).unwrap().log;
    let location = log.append(&[b"unwelcome"]).unwrap();
    log.close().unwrap();
    let refused = segment_log::SegmentLog::open(
        std::sync::Arc::new(disk),
        std::path::Path::new(crate::segment_log::support::DIR),
        small(),
        &mut |_, _| Err("no thanks".into()),
    );
    let Err(OpenError::Visit {
        location: named,
        source,
        ..
    }) = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (named, source.to_string().as_str()),
        (location, "no thanks")
    );
}

#[test]
fn part_of_a_record_is_read_alone_within_its_bounds() {
    let disk = FakeDisk::new();
    let mut log = open(&disk, small()).unwrap().log;
    let payload: Vec<u8> = (0..100).collect();
    let location = log.append(&[&payload]).unwrap();
    let reader = log.reader();
    let early = reader.read_part(location, 0, 1);
    assert!(matches!(early, Err(ReadError::NotWritten { .. })));
    log.sync().unwrap();
    for (offset, len) in [(0, 100), (10, 20), (99, 1), (100, 0), (0, 0)] {
        let part = reader.read_part(location, offset, len).unwrap();
        assert_eq!(part, payload[offset as usize..(offset + len) as usize]);
    }
    for (offset, len) in [(0, 101), (100, 1), (101, 0), (1, u32::MAX), (u32::MAX, 1)] {
        let outside = reader.read_part(location, offset, len);
        assert!(matches!(outside, Err(ReadError::Outside { .. })));
    }
    let reads = disk.reads();
    reader.read_part(location, 10, 20).unwrap();
    assert_eq!(disk.reads(), reads + 1);
    log.rotate().unwrap();
    log.purge_before(2).unwrap();
    let gone = reader.read_part(location, 10, 20);
    assert!(matches!(gone, Err(ReadError::Gone { .. })));
}

#[test]
fn bytes_of_purged_segments_are_not_counted() {
    let disk = FakeDisk::new();
    let mut log = open(&disk, small()).unwrap().log;
    for _ in 0..20 {
        log.append(&[&[7; 100]]).unwrap();
    }
    log.sync().unwrap();
    let (reader, before) = (log.reader(), log.bytes());
    assert_eq!(reader.bytes(), before);
    log.purge_before(log.last_segment()).unwrap();
    assert!(
        reader.bytes() < before / 2,
        "{} of {before}",
        reader.bytes()
    );
}
