//! Segments of version 1 as they rest on disks: they must be read for ever, and written the same for as
//! long as replicas of two releases may stand side by side.

use std::path::PathBuf;

use segment_log::{OsDisk, read_file};
use sensor_model::{Columns, SeriesId, Statistics, Values};
use store_node::segments::segment::Segment;
use store_node::segments::writer::{SegmentHead, SegmentWriter};

use super::{HEAD, SECOND, bools, columns, f64s, i64s, texts};

fn fixture() -> PathBuf {
    [
        env!("CARGO_MANIFEST_DIR"),
        "tests",
        "fixtures",
        "segment-v1.seg",
    ]
    .iter()
    .collect()
}

/// The chunks in the fixture, and what is in them. Their bytes are kept too, because an encoder may learn
/// to write other ones.
fn content() -> Vec<(SeriesId, &'static str, Columns)> {
    let walk = (0..20).map(|at| f64::from(at % 7) / 10.0 + 20.0).collect();
    let squares = (0..20).map(|at| at * at - 9).collect();
    let thirds = (0..30).map(|at| at % 3 == 0).collect();
    let late = vec![HEAD.window.start + 3_599 * SECOND + 999_999_999];
    vec![
        (SeriesId(0), "7c251a006b0001b203", f64s(5, vec![21.7])),
        (
            SeriesId(3),
            "7814201a006b00130190030a000c34333333335b7940030b01000201029003800202060d0d0d",
            f64s(0, walk),
        ),
        (
            SeriesId(3),
            "7803d825006b0001000240020240010000000000000000abaaaaaaaaaaaa7f",
            f64s(3_000, vec![-0.0, 0.0, 1.0 / 3.0]),
        ),
        (
            SeriesId(4),
            "7914201a006b001311d20500e902e42303130100020211060280401888c23890445998c679a04802",
            i64s(0, squares),
        ),
        (
            SeriesId(4),
            "7902341a006b0001000202ffffffffffffffffff010001",
            i64s(20, vec![i64::MIN, i64::MAX]),
        ),
        (
            SeriesId(900),
            "7a1e211a006b001d010a03050100020249922409",
            bools(1, thirds),
        ),
        (
            SeriesId(1 << 40),
            "7b03201a006b000100020002040403c06f6ec3bc6265726869747a74",
            texts(0, &["on", "", "überhitzt"]),
        ),
        (
            SeriesId(1 << 40),
            "7b12231a006b001136036f6666036f66660309010002010100066f66660000",
            texts(3, &["off"; 18]),
        ),
        (
            SeriesId(u64::MAX),
            "4cffdf955cc9bbe918ff9c7500883ce437fe",
            columns(late, Values::F64(vec![-1e300])),
        ),
    ]
}

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

#[test]
fn a_segment_of_version_1_is_read_for_ever() {
    let segment = Segment::open(&OsDisk, &fixture()).unwrap();
    let written = segment.verify().unwrap();
    assert_eq!(
        written.hash.to_string(),
        "69942b76270b625974a0c984f8794dc21acffc03aed44b9e58851a3766439ad3"
    );
    assert_eq!(segment.head(), &SegmentHead { shard: 2, ..HEAD });
    assert_eq!((written.readings, written.series), (98, 6));

    let content = content();
    let mut rest = &content[..];
    for series in segment.directory() {
        for entry in segment.chunks(series.id).unwrap() {
            let (id, chunk, columns) = rest.split_off_first().unwrap();
            assert_eq!(*id, series.id);
            assert_eq!(segment.chunk(&entry).unwrap(), bytes(chunk));
            assert_eq!(entry.statistics, Statistics::of_columns(columns).unwrap());
            let decoded = column_codec::parse(&bytes(chunk)).unwrap().decode();
            assert_eq!(&decoded.unwrap(), columns);
        }
    }
    assert!(rest.is_empty());
}

#[test]
fn the_same_chunks_still_make_the_same_segment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("segment");
    let head = SegmentHead { shard: 2, ..HEAD };
    let mut writer = SegmentWriter::create(&OsDisk, &path, head).unwrap();
    for (series, chunk, _) in content() {
        writer.push(series, &bytes(chunk)).unwrap();
    }
    writer.finish().unwrap();
    let same = read_file(&OsDisk, &path).unwrap() == read_file(&OsDisk, &fixture()).unwrap();
    assert!(
        same,
        "replicas that seal with this program would differ from those that do not yet"
    );
}
