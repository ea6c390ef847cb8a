//! A segment that is not what was written never gives a wrong byte.

use std::path::Path;

use segment_log::fake::{FakeDisk, Fault};
use segment_log::{Disk, OpenMode, read_file};
use sensor_model::{SeriesId, Statistics};
use store_node::segments::segment::{Segment, SegmentError};
use store_node::segments::writer::{SegmentHead, SegmentWriter};

use super::{bytes_of, expected, f64s, noise, put, read_all, small_content};

const PATH: &str = "/segment";

fn open(disk: &FakeDisk) -> Result<Segment, SegmentError> {
    Segment::open(disk, Path::new(PATH))
}

/// Damage is named: the file, and the bytes in which it lies.
fn check_error(error: &SegmentError, at: u64) {
    match error {
        SegmentError::Damaged { file, range, .. } => {
            assert_eq!(file, Path::new(PATH));
            assert!(range.contains(&at), "{at} is not in {error}");
        }
        other => panic!("byte {at}: {other}"),
    }
}

#[test]
fn any_flipped_bit_is_found_by_verify_and_no_read_gives_other_bytes() {
    let disk = FakeDisk::new();
    let mut content = small_content();
    for from in [0, 200] {
        let values = (0..120).map(|at| noise(at + from)).collect();
        let from = i64::try_from(from).unwrap();
        content.push((SeriesId(1 << 41), f64s(from, values)));
    }
    let bytes = bytes_of(&content);
    assert!((2_000..4_000).contains(&bytes.len()), "{}", bytes.len());
    put(&disk, Path::new(PATH), &bytes);
    let whole = open(&disk).unwrap();
    whole.verify().unwrap();
    let expected = expected(&content);
    let ids: Vec<SeriesId> = whole.directory().iter().map(|series| series.id).collect();

    let (mut at_open, mut at_read) = (0, 0);
    for offset in 0..bytes.len() {
        let at = offset as u64;
        for bit in 0..8 {
            disk.flip_bit(Path::new(PATH), offset, bit);
            // Damage that comes while the segment is open is found too.
            assert!(whole.verify().is_err(), "byte {offset}, bit {bit}");
            match open(&disk) {
                Err(error) => {
                    check_error(&error, at);
                    at_open += 1;
                }
                Ok(segment) => {
                    check_error(&segment.verify().unwrap_err(), at);
                    at_read += u32::from(read_all(&segment).is_err());
                    for id in &ids {
                        check_series(&segment, *id, &expected, &|error| check_error(error, at));
                    }
                }
            }
            disk.flip_bit(Path::new(PATH), offset, bit);
        }
    }
    whole.verify().unwrap();
    // Header, footer and directory at opening; entries and chunks when they are read: nothing else.
    assert_eq!((at_open + at_read) as usize, bytes.len() * 8);
    assert!(at_open > 148 * 8 && at_read > 1_500 * 8);
}

/// A series is given as it was written, or not at all.
fn check_series(
    segment: &Segment,
    id: SeriesId,
    expected: &[(SeriesId, Statistics, Vec<u8>)],
    check_error: &dyn Fn(&SegmentError),
) {
    let chunks = match segment.chunks(id) {
        Ok(chunks) => chunks,
        Err(error) => return check_error(&error),
    };
    let expected: Vec<_> = expected.iter().filter(|(own, ..)| *own == id).collect();
    assert_eq!(chunks.len(), expected.len());
    for (entry, (_, statistics, bytes)) in chunks.iter().zip(expected) {
        assert_eq!(&entry.statistics, statistics);
        match segment.chunk(entry) {
            Ok(chunk) => assert_eq!(&chunk[..], bytes),
            Err(error) => check_error(&error),
        }
    }
}

#[test]
fn a_segment_cut_off_anywhere_or_grown_does_not_open() {
    let bytes = bytes_of(&small_content());
    for length in 0..bytes.len() {
        let disk = FakeDisk::new();
        put(&disk, Path::new(PATH), &bytes[..length]);
        let error = open(&disk).unwrap_err();
        assert!(
            matches!(error, SegmentError::Damaged { .. }),
            "{length}: {error}"
        );
    }
    for more in [&[0][..], &[0; 104], &bytes] {
        let disk = FakeDisk::new();
        // Grown while it is open.
        put(&disk, Path::new(PATH), &bytes);
        let segment = open(&disk).unwrap();
        put(&disk, Path::new(PATH), &[&bytes, more].concat());
        let error = open(&disk).unwrap_err();
        assert!(matches!(error, SegmentError::Damaged { .. }), "{error}");
        let error = segment.verify().unwrap_err();
        assert!(error.to_string().contains("length"), "{error}");
    }
}

#[test]
fn a_segment_cut_off_while_it_is_open_gives_nothing_wrong() {
    let content = small_content();
    let expected = expected(&content);
    let bytes = bytes_of(&content);
    for length in 0..bytes.len() {
        let disk = FakeDisk::new();
        put(&disk, Path::new(PATH), &bytes);
        let segment = open(&disk).unwrap();
        let file = disk.open(Path::new(PATH), OpenMode::ReadWrite);
        file.unwrap().set_len(length as u64).unwrap();
        let is_damaged = |error: &SegmentError| {
            assert!(
                matches!(error, SegmentError::Damaged { .. }),
                "{length}: {error}"
            );
        };
        is_damaged(&segment.verify().unwrap_err());
        for series in segment.directory() {
            check_series(&segment, series.id, &expected, &is_damaged);
        }
    }
}

#[test]
fn the_ends_of_two_segments_do_not_make_one() {
    let bytes = bytes_of(&small_content());
    let disk = FakeDisk::new();
    let head = SegmentHead {
        created: 43,
        ..super::HEAD
    };
    let other = [&head_bytes(head)[..], &bytes[44..]].concat();
    put(&disk, Path::new(PATH), &other);
    let error = open(&disk).unwrap_err();
    assert!(error.to_string().contains("footer"), "{error}");
}

/// A valid header.
fn head_bytes(head: SegmentHead) -> Vec<u8> {
    let disk = FakeDisk::new();
    let path = Path::new(PATH);
    let mut writer = SegmentWriter::create(&disk, path, head).unwrap();
    let chunk = super::encoded(&super::bools(0, vec![true]));
    writer.push(SeriesId(0), &chunk).unwrap();
    writer.finish().unwrap();
    read_file(&disk, path).unwrap()[..44].to_vec()
}

#[test]
fn a_newer_version_is_refused_by_name_whatever_follows_the_header() {
    let mut bytes = bytes_of(&small_content());
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..44]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    for length in [44, 45, 200, bytes.len()] {
        let disk = FakeDisk::new();
        put(&disk, Path::new(PATH), &bytes[..length]);
        let error = open(&disk).unwrap_err();
        assert!(
            matches!(error, SegmentError::NewerVersion { found: 2, .. }),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains("newer version") && text.contains(PATH),
            "{text}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_missing_and_one_the_disk_refuses_is_damaged() {
    let disk = FakeDisk::new();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, SegmentError::Missing { .. }), "{error}");

    let bytes = bytes_of(&small_content());
    put(&disk, Path::new(PATH), &bytes);
    let segment = open(&disk).unwrap();
    disk.inject(Fault::FailRead, disk.reads() + 1);
    let error = segment.chunks(SeriesId(3)).unwrap_err();
    assert!(matches!(error, SegmentError::Damaged { .. }), "{error}");
    segment.chunks(SeriesId(3)).unwrap();

    // A reason that says nothing of the file.
    let later = disk.power_cut();
    let error = segment.chunks(SeriesId(3)).unwrap_err();
    assert!(matches!(error, SegmentError::Io { .. }), "{error}");
    open(&later).unwrap();
}
