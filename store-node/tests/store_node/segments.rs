//! Sealed segments: written, read back, damaged in every bit, cut off at every operation.

mod crash;
mod damage;
mod fixture;
mod library;
mod round_trip;
mod served;
mod world;

use std::path::Path;

use segment_log::fake::FakeDisk;
use segment_log::{Disk, OpenMode, read_file};
use sensor_model::{Columns, SeriesId, Statistics, Values};
use store_node::segments::manifest::{SegmentEntry, SegmentHash, Window};
use store_node::segments::segment::{Segment, SegmentError};
use store_node::segments::writer::{SegmentHead, SegmentWriter, Written};

/// Chunks of series, in the order in which they are pushed.
type Content = Vec<(SeriesId, Columns)>;

const SECOND: i64 = 1_000_000_000;
const HOUR: u64 = 3_600_000_000_000;

/// 2026-11-20T10:00:00Z, one hour.
const HEAD: SegmentHead = SegmentHead {
    shard: 0,
    created: 42,
    window: Window {
        start: 1_795_168_800 * SECOND,
        width: HOUR,
    },
};

/// `count` times of the window, one a second, from the second `from` on.
fn seconds(from: i64, count: i64) -> Vec<i64> {
    let times = from..from + count;
    times.map(|at| HEAD.window.start + at * SECOND).collect()
}

fn columns(times: Vec<i64>, values: Values) -> Columns {
    assert_eq!(times.len(), values.len());
    Columns { times, values }
}

fn f64s(from: i64, values: Vec<f64>) -> Columns {
    let count = i64::try_from(values.len()).unwrap();
    columns(seconds(from, count), Values::F64(values))
}

fn i64s(from: i64, values: Vec<i64>) -> Columns {
    let count = i64::try_from(values.len()).unwrap();
    columns(seconds(from, count), Values::I64(values))
}

fn bools(from: i64, values: Vec<bool>) -> Columns {
    let count = i64::try_from(values.len()).unwrap();
    columns(seconds(from, count), Values::Bool(values))
}

fn texts(from: i64, values: &[&str]) -> Columns {
    let count = i64::try_from(values.len()).unwrap();
    let values = values.iter().map(|text| (*text).to_owned()).collect();
    columns(seconds(from, count), Values::Text(values))
}

/// All four kinds; one chunk and several; one reading, few and many; small ids and large ones.
fn small_content() -> Content {
    let walk = |count: i32| {
        (0..count)
            .map(|at| f64::from(at % 7) / 10.0 + 20.0)
            .collect()
    };
    vec![
        (SeriesId(0), f64s(5, vec![21.7])),
        (SeriesId(3), f64s(0, walk(40))),
        (SeriesId(3), f64s(40, walk(9))),
        (SeriesId(3), f64s(3_000, vec![-0.0, 0.0, 1.0 / 3.0])),
        (
            SeriesId(4),
            i64s(0, (0..20).map(|at| at * at - 9).collect()),
        ),
        (SeriesId(4), i64s(20, vec![i64::MIN, i64::MAX])),
        (
            SeriesId(900),
            bools(1, (0..30).map(|at| at % 3 == 0).collect()),
        ),
        (SeriesId(1 << 40), texts(0, &["on", "", "überhitzt"])),
        (SeriesId(1 << 40), texts(3, &["off"; 18])),
    ]
}

/// Floats that no encoding makes short: one is made from `at`.
fn noise(at: u64) -> f64 {
    let mixed = (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    f64::from_bits((mixed ^ mixed >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 3)
}

fn encoded(columns: &Columns) -> Vec<u8> {
    let mut chunk = Vec::new();
    column_codec::encode(columns, &mut chunk).unwrap();
    chunk
}

/// Writes a segment of [`HEAD`].
fn write(disk: &dyn Disk, path: &Path, content: &Content) -> std::io::Result<Written> {
    let mut writer = SegmentWriter::create(disk, path, HEAD)?;
    for (series, columns) in content {
        writer
            .push(*series, &encoded(columns))
            .map_err(std::io::Error::other)?;
    }
    writer.finish()
}

fn entry(written: &Written) -> SegmentEntry {
    entry_of(written, HEAD)
}

fn entry_of(written: &Written, head: SegmentHead) -> SegmentEntry {
    SegmentEntry {
        hash: written.hash,
        bytes: written.bytes,
        created: head.created,
        order: head.created,
        masked_through: head.created,
        window: head.window,
        readings: written.readings,
        series: written.series,
        first: written.first,
        last: written.last,
    }
}

/// Everything that a segment gives, chunk by chunk.
fn read_all(segment: &Segment) -> Result<Vec<(SeriesId, Statistics, Vec<u8>)>, SegmentError> {
    let mut all = Vec::new();
    for series in segment.directory() {
        for entry in segment.chunks(series.id)? {
            let chunk = segment.chunk(&entry)?;
            all.push((series.id, entry.statistics, chunk.to_vec()));
        }
    }
    Ok(all)
}

/// What [`read_all`] should give.
fn expected(content: &Content) -> Vec<(SeriesId, Statistics, Vec<u8>)> {
    let chunks = content.iter().map(|(series, columns)| {
        let statistics = Statistics::of_columns(columns).unwrap();
        (*series, statistics, encoded(columns))
    });
    chunks.collect()
}

/// The bytes of a segment, which is written on a disk of its own.
fn bytes_of(content: &Content) -> Vec<u8> {
    let disk = FakeDisk::new();
    let path = Path::new("/segment");
    write(&disk, path, content).unwrap();
    read_file(&disk, path).unwrap()
}

/// A file of these bytes, durable.
fn put(disk: &dyn Disk, path: &Path, bytes: &[u8]) {
    let file = disk.open(path, OpenMode::Create).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync_all().unwrap();
    disk.sync_dir(path.parent().unwrap()).unwrap();
}

#[test]
fn a_hash_reads_back_from_its_only_spelling() {
    let hash = SegmentHash(std::array::from_fn(|at| u8::try_from(at * 7).unwrap()));
    let text = hash.to_string();
    assert_eq!(text.len(), 64);
    assert_eq!(text.parse(), Ok(hash));
    for bad in [
        "",
        &text[1..],
        &format!("{text}0"),
        &text.to_uppercase(),
        &text.replace('0', "g"),
        &"é".repeat(32),
    ] {
        let refused = bad.parse::<SegmentHash>();
        assert!(refused.is_err(), "{bad}");
    }
}
