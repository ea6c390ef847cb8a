//! What is written is read back, the same pushes give the same bytes, and what is out of order is
//! refused.

use std::io;
use std::path::Path;

use column_codec::READINGS_MAX;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::strategy::Union;
use segment_log::OsDisk;
use segment_log::fake::{FakeDisk, Fault};
use sensor_model::{Columns, Kind, SeriesId, Values};
use store_node::segments::manifest::Window;
use store_node::segments::segment::Segment;
use store_node::segments::writer::{CHUNKS_MAX, SegmentHead, SegmentWriteError, SegmentWriter};

use super::{
    Content, HEAD, SECOND, bools, columns, encoded, expected, f64s, i64s, noise, put, read_all,
    seconds, small_content, texts, write,
};

const PATH: &str = "/segment";

fn check(content: &Content) {
    let disk = FakeDisk::new();
    let path = Path::new(PATH);
    let written = write(&disk, path, content).unwrap();
    let reads = disk.reads();
    let segment = Segment::open(&disk, path).unwrap();
    assert_eq!(disk.reads() - reads, 3, "header, footer, directory");

    assert_eq!(segment.written(), written);
    assert_eq!(segment.verify().unwrap(), written);
    assert_eq!(segment.head(), &HEAD);
    assert_eq!(read_all(&segment).unwrap(), expected(content));

    let readings: usize = content.iter().map(|(_, columns)| columns.len()).sum();
    assert_eq!(written.readings, readings as u64);
    let times = || content.iter().flat_map(|(_, columns)| &columns.times);
    assert_eq!(Some(written.first), times().min().copied());
    assert_eq!(Some(written.last), times().max().copied());
    assert_eq!(written.series, segment.directory().len() as u64);
    for series in segment.directory() {
        let own: Vec<&Columns> = content
            .iter()
            .filter(|(id, _)| *id == series.id)
            .map(|(_, columns)| columns)
            .collect();
        assert_eq!(segment.series(series.id), Some(series));
        assert_eq!(series.chunks as usize, own.len());
        assert!(own.iter().all(|columns| columns.kind() == series.kind));
        let readings: usize = own.iter().map(|columns| columns.len()).sum();
        assert_eq!(series.readings, readings as u64);
        assert_eq!(Some(&series.first), own[0].times.first());
        assert_eq!(Some(&series.last), own[own.len() - 1].times.last());

        let reads = disk.reads();
        let chunks = segment.chunks(series.id).unwrap();
        assert_eq!(disk.reads() - reads, 1, "one read for all entries");
        let chunk = segment.chunk(&chunks[0]).unwrap();
        assert_eq!(disk.reads() - reads, 2, "one read for a chunk");
        assert_eq!(chunk.len(), chunks[0].length() as usize);
        let (first, last) = (chunks[0].first(), chunks[0].last());
        assert_eq!(
            (Some(&first), Some(&last)),
            (own[0].times.first(), own[0].times.last())
        );
    }
}

#[test]
fn all_kinds_read_back() {
    check(&small_content());
}

#[test]
fn one_reading_is_a_segment() {
    check(&vec![(SeriesId(u64::MAX), bools(0, vec![true]))]);
}

#[test]
fn readings_may_stand_at_both_ends_of_the_window() {
    let Window { start, width } = HEAD.window;
    let last = start + i64::try_from(width).unwrap() - 1;
    let values = Values::Bool(vec![true, false]);
    check(&vec![(SeriesId(1), columns(vec![start, last], values))]);
}

#[test]
fn chunks_larger_than_the_buffer_read_back() {
    let times = |from: i64| -> Vec<i64> {
        let times = 0..i64::try_from(READINGS_MAX).unwrap();
        times
            .map(|at| HEAD.window.start + from + at * 1_000 + at % 7)
            .collect()
    };
    let chunk = |from| {
        columns(
            times(from),
            Values::F64((0..READINGS_MAX as u64).map(noise).collect()),
        )
    };
    let content = vec![
        (SeriesId(1), f64s(0, vec![1.0])),
        (SeriesId(2), chunk(0)),
        (SeriesId(2), chunk(SECOND)),
        (SeriesId(3), f64s(0, vec![1.0])),
    ];
    assert!(encoded(&content[1].1).len() > 256 << 10);
    check(&content);
}

#[test]
fn a_real_disk_gives_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("segment");
    let written = write(&OsDisk, &path, &small_content()).unwrap();
    let segment = Segment::open(&OsDisk, &path).unwrap();
    assert_eq!(segment.verify().unwrap(), written);
    assert_eq!(read_all(&segment).unwrap(), expected(&small_content()));
    // Who has it open reads on.
    segment_log::Disk::remove(&OsDisk, &path).unwrap();
    assert_eq!(read_all(&segment).unwrap(), expected(&small_content()));
}

#[test]
fn a_series_that_is_not_there_has_no_chunks() {
    let disk = FakeDisk::new();
    write(&disk, Path::new(PATH), &small_content()).unwrap();
    let segment = Segment::open(&disk, Path::new(PATH)).unwrap();
    for id in [1, 5, u64::MAX] {
        assert_eq!(segment.series(SeriesId(id)), None);
        assert_eq!(segment.chunks(SeriesId(id)).unwrap(), []);
    }
}

#[test]
fn a_segment_without_readings_is_not_written() {
    let writer = SegmentWriter::create(&FakeDisk::new(), Path::new(PATH), HEAD).unwrap();
    let error = writer.finish().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn what_is_out_of_order_is_refused_and_changes_nothing() {
    let disk = FakeDisk::new();
    let mut writer = SegmentWriter::create(&disk, Path::new(PATH), HEAD).unwrap();
    let mut refused = |series: u64, chunk: &[u8]| {
        let error = writer.push(SeriesId(series), chunk).unwrap_err();
        assert!(
            error.to_string().contains(&format!("series {series}")),
            "{error}"
        );
        error
    };
    let outside = |from: i64| {
        let times = vec![HEAD.window.start + from];
        encoded(&columns(times, Values::Bool(vec![true])))
    };
    let width = i64::try_from(HEAD.window.width).unwrap();
    for from in [-1, width] {
        let error = refused(0, &outside(from));
        assert!(matches!(error, SegmentWriteError::OutsideWindow { .. }));
    }
    let mut unsorted = seconds(0, 2);
    unsorted.reverse();
    let repeated = vec![unsorted[0]; 2];
    for times in [unsorted, repeated] {
        let chunk = encoded(&columns(times, Values::Bool(vec![true, false])));
        assert!(matches!(
            refused(0, &chunk),
            SegmentWriteError::Unsorted { .. }
        ));
    }
    assert!(matches!(
        refused(0, b"no chunk"),
        SegmentWriteError::Chunk { .. }
    ));

    writer
        .push(SeriesId(7), &encoded(&f64s(0, vec![1.0; 5])))
        .unwrap();
    let mut refused = |series: u64, chunk: &[u8]| writer.push(SeriesId(series), chunk).unwrap_err();
    let error = refused(6, &encoded(&f64s(9, vec![1.0])));
    assert!(matches!(error, SegmentWriteError::SeriesDescend { .. }));
    let error = refused(7, &encoded(&f64s(4, vec![1.0])));
    assert!(matches!(error, SegmentWriteError::Overlaps { .. }));
    let error = refused(7, &encoded(&i64s(5, vec![1])));
    assert!(matches!(error, SegmentWriteError::OtherKind { .. }));

    writer
        .push(SeriesId(7), &encoded(&f64s(5, vec![2.0])))
        .unwrap();
    writer
        .push(SeriesId(8), &encoded(&i64s(0, vec![3])))
        .unwrap();
    let written = writer.finish().unwrap();
    let content = vec![
        (SeriesId(7), f64s(0, vec![1.0; 5])),
        (SeriesId(7), f64s(5, vec![2.0])),
        (SeriesId(8), i64s(0, vec![3])),
    ];
    assert_eq!(
        written,
        write(&disk, Path::new("/other"), &content).unwrap()
    );
}

#[test]
fn the_most_chunks_of_a_series_are_taken_and_one_more_is_not() {
    let disk = FakeDisk::new();
    let head = SegmentHead {
        window: Window {
            start: 0,
            width: u64::MAX,
        },
        ..HEAD
    };
    let mut writer = SegmentWriter::create(&disk, Path::new(PATH), head).unwrap();
    let chunk = |at: i64| encoded(&columns(vec![at], Values::Bool(vec![true])));
    for at in 0..i64::from(CHUNKS_MAX) {
        writer.push(SeriesId(1), &chunk(at)).unwrap();
    }
    let one_more = writer.push(SeriesId(1), &chunk(i64::MAX)).unwrap_err();
    assert!(matches!(one_more, SegmentWriteError::TooManyChunks { .. }));
    writer.push(SeriesId(2), &chunk(0)).unwrap();
    writer.finish().unwrap();
    let segment = Segment::open(&disk, Path::new(PATH)).unwrap();
    let chunks = segment.chunks(SeriesId(1)).unwrap();
    assert_eq!(chunks.len(), CHUNKS_MAX as usize);
    assert_eq!(segment.chunks(SeriesId(2)).unwrap().len(), 1);
    segment.verify().unwrap();
}

/// Writes twenty series; the first failure, if there is one. After it nothing succeeds.
fn write_twenty(disk: &FakeDisk, chunk: &[u8]) -> Option<io::Error> {
    let mut writer = match SegmentWriter::create(disk, Path::new(PATH), HEAD) {
        Ok(writer) => writer,
        Err(error) => return Some(error),
    };
    let mut failed = None;
    for series in 0..20 {
        match writer.push(SeriesId(series), chunk) {
            Ok(()) => assert!(failed.is_none(), "went on after {failed:?}"),
            Err(SegmentWriteError::Io(error)) => failed = failed.or(Some(error)),
            Err(other) => panic!("{other}"),
        }
    }
    let finished = writer.finish();
    assert!(
        failed.is_none() || finished.is_err(),
        "finished after {failed:?}"
    );
    failed.or(finished.err())
}

#[test]
fn a_write_that_fails_fails_the_segment_for_good() {
    let chunk = encoded(&f64s(0, (0..3_000).map(noise).collect()));
    let whole = FakeDisk::new();
    assert!(write_twenty(&whole, &chunk).is_none());
    assert!(whole.operations() > 4, "not all at the end");
    for fault in [Fault::FailWrite, Fault::NoSpace, Fault::FailSync] {
        let mut failures = 0;
        for at in 1..=whole.operations() {
            let disk = FakeDisk::new();
            disk.inject(fault, at);
            let failed = write_twenty(&disk, &chunk);
            assert_eq!(failed.is_none(), disk.fault_pending(), "{fault:?} at {at}");
            if let Some(error) = failed {
                let is_full = error.kind() == io::ErrorKind::StorageFull;
                assert_eq!(is_full, fault == Fault::NoSpace);
                failures += 1;
            }
        }
        assert!(failures > 0, "{fault:?} never struck");
    }
}

fn values(kind: Kind, count: usize) -> BoxedStrategy<Values> {
    let finite = any::<f64>().prop_filter("finite", |value| value.is_finite());
    match kind {
        Kind::F64 => {
            let decimal = (-9_999_i32..9_999).prop_map(|digits| f64::from(digits) / 10.0);
            vec(Union::new([finite.boxed(), decimal.boxed()]), count)
                .prop_map(Values::F64)
                .boxed()
        }
        Kind::I64 => vec(any::<i64>(), count).prop_map(Values::I64).boxed(),
        Kind::Bool => vec(any::<bool>(), count).prop_map(Values::Bool).boxed(),
        Kind::Text => vec(".{0,12}", count).prop_map(Values::Text).boxed(),
    }
}

/// The chunks of one series: distinct times of the window, cut into runs.
fn series() -> impl Strategy<Value = Vec<Columns>> {
    let kinds = prop::sample::select(vec![Kind::F64, Kind::I64, Kind::Bool, Kind::Text]);
    let width = i64::try_from(HEAD.window.width).unwrap();
    let offsets = prop_oneof![btree_set(0..width, 1..60), btree_set(0..100_i64, 1..60)];
    (kinds, offsets, vec(1_usize..30, 60)).prop_flat_map(|(kind, offsets, runs)| {
        let times: Vec<i64> = offsets.iter().map(|at| HEAD.window.start + at).collect();
        values(kind, times.len()).prop_map(move |values| {
            let all = Columns {
                times: times.clone(),
                values,
            };
            let mut from = 0;
            let mut chunks = Vec::new();
            for run in &runs {
                let to = all.len().min(from + run);
                if from < to {
                    let mut chunk = Columns::empty(kind);
                    chunk.extend_from(&all, from, to);
                    chunks.push(chunk);
                }
                from = to;
            }
            chunks
        })
    })
}

fn content() -> impl Strategy<Value = Content> {
    let id = prop_oneof![0_u64..20, any::<u64>()];
    proptest::collection::btree_map(id, series(), 1..8).prop_map(|all| {
        let all = all.into_iter();
        all.flat_map(|(id, chunks)| chunks.into_iter().map(move |chunk| (SeriesId(id), chunk)))
            .collect()
    })
}

proptest! {
    #[test]
    fn whatever_is_pushed_is_read_back(content in content()) {
        check(&content);
    }

    #[test]
    fn the_same_pushes_give_the_same_bytes(content in content()) {
        prop_assert_eq!(super::bytes_of(&content), super::bytes_of(&content));
    }

    #[test]
    fn bytes_that_are_no_segment_are_refused(bytes in vec(any::<u8>(), 0..400), keep in any::<bool>()) {
        let disk = FakeDisk::new();
        let mut file = super::bytes_of(&vec![(SeriesId(1), texts(0, &["a", "b"]))]);
        // Noise alone, or behind a good header and before a good footer.
        let bytes = if keep {
            let footer = file.split_off(file.len() - 104);
            [&file[..44], &bytes, &footer].concat()
        } else {
            bytes
        };
        put(&disk, Path::new(PATH), &bytes);
        prop_assert!(Segment::open(&disk, Path::new(PATH)).is_err());
    }
}
