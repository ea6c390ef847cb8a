//! What is written as Arrow or Parquet is there again when it is read.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails right there"
)]

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use arrow_array::{Array as _, RecordBatch};
use arrow_ipc::reader::StreamReader;
use columnar::{BucketStream, ParquetStream, ParquetTable, ParquetWriter, ReadingStream};
use proptest::prelude::*;
use segment_log::{Disk as _, OpenMode, OsDisk};
use sensor_model::{
    Aggregate, Bucket, Columns, SeriesDescription, SeriesPath, Timestamp, Unit, Value, Values,
};

type Series = (SeriesDescription, Columns);

fn series(path: &str, times: Vec<i64>, values: Values) -> Series {
    let mut series = SeriesDescription::new(SeriesPath::new(path).unwrap(), values.kind());
    series.unit = Unit::new("Cel").unwrap();
    series.attributes = [("line".to_owned(), path.to_owned())].into();
    (series, Columns { times, values })
}

fn streamed(all: &[Series]) -> Vec<RecordBatch> {
    let mut stream = ReadingStream::new().unwrap();
    let mut out = Vec::new();
    for (series, columns) in all {
        stream.series(series);
        stream.readings(columns, &mut out).unwrap();
    }
    stream.end(&mut out).unwrap();
    let reader = StreamReader::try_new(out.as_slice(), None).unwrap();
    reader.map(Result::unwrap).collect()
}

/// Series, time and value of every row of a stream.
fn rows(batches: &[RecordBatch]) -> Vec<(String, i64, Value)> {
    let mut rows = Vec::new();
    for batch in batches {
        let paths = batch.column(0).as_dictionary::<Int32Type>();
        let paths = paths.downcast_dict::<arrow_array::StringArray>().unwrap();
        let times = batch.column(1).as_primitive::<TimestampNanosecondType>();
        let numbers = batch.column(2).as_primitive::<Float64Type>();
        let integers = batch.column(3).as_primitive::<Int64Type>();
        let (flags, texts) = (
            batch.column(4).as_boolean(),
            batch.column(5).as_string::<i32>(),
        );
        for row in 0..batch.num_rows() {
            let value = if integers.is_valid(row) {
                Value::I64(integers.value(row))
            } else if flags.is_valid(row) {
                Value::Bool(flags.value(row))
            } else if texts.is_valid(row) {
                Value::Text(texts.value(row).to_owned())
            } else {
                Value::F64(numbers.value(row))
            };
            let key = usize::try_from(paths.keys().value(row)).unwrap();
            let path = paths.values().value(key);
            rows.push((path.to_owned(), times.value(row), value));
        }
    }
    rows
}

fn expected(all: &[Series]) -> Vec<(String, i64, Value)> {
    let rows = all.iter().flat_map(|(series, columns)| {
        let path = series.path.as_str().to_owned();
        let readings = columns.readings();
        readings.map(move |reading| (path.clone(), reading.timestamp.as_nanos(), reading.value))
    });
    rows.collect()
}

fn one_of_each() -> Vec<Series> {
    vec![
        series("a/bool", vec![1, 2], Values::Bool(vec![true, false])),
        series(
            "a/f64",
            vec![i64::MIN, i64::MAX],
            Values::F64(vec![-0.0, 5e-324]),
        ),
        series("a/i64", vec![3, 4], Values::I64(vec![i64::MAX, i64::MIN])),
        series(
            "a/text",
            vec![5, 6],
            Values::Text(vec![String::new(), "ü".to_owned()]),
        ),
    ]
}

#[test]
fn a_stream_has_every_kind_in_batches_over_many_series() {
    let all = one_of_each();
    let batches = streamed(&all);
    assert_eq!(batches.len(), 1);
    assert_eq!(rows(&batches), expected(&all));
    let numbers = batches[0].column(2).as_primitive::<Float64Type>();
    assert_eq!(numbers.value(4), 9_223_372_036_854_775_808.0);
    assert!(streamed(&[]).is_empty());
}

#[test]
fn a_series_goes_on_in_the_next_batch() {
    let times: Vec<i64> = (0..100_000).collect();
    let part = series("a", times.clone(), Values::I64(times));
    let all = vec![
        part.clone(),
        series("b", vec![1], Values::Bool(vec![true])),
        part,
    ];
    let batches = streamed(&all);
    assert!(batches.len() > 1);
    assert_eq!(rows(&batches), expected(&all));
}

#[test]
fn buckets_have_typed_aggregates_and_keys_that_may_be_missing() {
    let heads = ["2".to_owned(), "attr:line".to_owned()];
    let aggregates = [Aggregate::Mean, Aggregate::Count, Aggregate::Last];
    let mut stream = BucketStream::new(&heads, &aggregates).unwrap();
    let mut out = Vec::new();
    let bucket = |start, values| Bucket {
        start: Timestamp::from_nanos(start),
        values,
    };
    stream.open(vec![Some("x".to_owned()), None]);
    let flag = vec![
        Some(Value::F64(0.5)),
        Some(Value::I64(2)),
        Some(Value::Bool(true)),
    ];
    stream.buckets(&[bucket(0, flag)], &mut out).unwrap();
    stream.open(vec![Some("y".to_owned()), Some("7".to_owned())]);
    let text = vec![
        None,
        Some(Value::I64(1)),
        Some(Value::Text("open".to_owned())),
    ];
    stream.buckets(&[bucket(1, text)], &mut out).unwrap();
    stream.open(vec![Some("x".to_owned()), None]);
    let nothing = vec![None, Some(Value::I64(0)), None];
    stream.buckets(&[bucket(2, nothing)], &mut out).unwrap();
    stream.end(&mut out).unwrap();
    let mut reader = StreamReader::try_new(out.as_slice(), None).unwrap();
    let batch = reader.next().unwrap().unwrap();
    let schema = batch.schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(
        names,
        [
            "2",
            "attr:line",
            "bucket_start",
            "mean",
            "count",
            "last",
            "last_text"
        ]
    );
    assert!(batch.column(1).is_null(0) && batch.column(1).is_valid(1));
    let words = batch.column(0).as_dictionary::<Int32Type>();
    assert_eq!(
        words.values().len(),
        2,
        "each word once, though one comes again"
    );
    assert_eq!(words.keys().values(), &[0, 1, 0]);
    assert!(batch.column(3).is_null(1));
    assert_eq!(
        batch.column(4).as_primitive::<Int64Type>().values(),
        &[2, 1, 0]
    );
    assert_eq!(batch.column(5).as_primitive::<Float64Type>().value(0), 1.0);
    assert_eq!(batch.column(6).as_string::<i32>().value(1), "open");
}

#[test]
fn a_stream_of_buckets_is_turned_into_a_file_piece_by_piece() {
    let aggregates = [Aggregate::Max, Aggregate::Count];
    let mut stream = BucketStream::new(&["path".to_owned()], &aggregates).unwrap();
    let (mut arrow, mut file, mut bytes) = (Vec::new(), ParquetStream::default(), Vec::new());
    for path in ["a", "b"] {
        stream.open(vec![Some(path.to_owned())]);
        // More than a batch, so that the stream has several with dictionaries of their own.
        let rows: Vec<Bucket> = (0..40_000)
            .map(|start| Bucket {
                start: Timestamp::from_nanos(start),
                values: vec![Some(Value::F64(0.5)), Some(Value::I64(start))],
            })
            .collect();
        stream.buckets(&rows, &mut arrow).unwrap();
        // Cut anywhere.
        let rest = arrow.split_off(arrow.len() / 3);
        file.take(std::mem::replace(&mut arrow, rest), &mut bytes)
            .unwrap();
    }
    stream.end(&mut arrow).unwrap();
    file.take(arrow, &mut bytes).unwrap();
    file.end(&mut bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let table = table_of(&bytes, &folder);
    assert_eq!(table.rows(), 80_000);
    let names: Vec<String> = table
        .columns()
        .into_iter()
        .map(|column| column.name)
        .collect();
    assert_eq!(names, ["path", "bucket_start", "max", "count"]);
}

#[test]
fn the_pieces_that_are_handed_out_are_the_file() {
    let all = one_of_each();
    let folder = tempfile::tempdir().unwrap();
    let mut writer = ParquetWriter::new(Vec::new()).unwrap();
    let mut bytes = Vec::new();
    for (series, columns) in &all {
        writer.series(series);
        writer.readings(columns).unwrap();
        writer.hand_out(&mut bytes);
    }
    bytes.append(&mut writer.end().unwrap());
    assert_eq!(read(&table_of(&bytes, &folder), 0), expected(&all));
}

fn file_of(all: &[Series], folder: &tempfile::TempDir) -> ParquetTable {
    let mut writer = ParquetWriter::new(Vec::new()).unwrap();
    for (series, columns) in all {
        writer.series(series);
        writer.readings(columns).unwrap();
    }
    table_of(&writer.end().unwrap(), folder)
}

fn table_of(bytes: &[u8], folder: &tempfile::TempDir) -> ParquetTable {
    let path = folder.path().join("a.parquet");
    let file = OsDisk.open(&path, OpenMode::Create).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    ParquetTable::open(Arc::clone(&file)).unwrap()
}

/// Series, time and value of every row of a file from `first` on.
fn read(table: &ParquetTable, first: u64) -> Vec<(String, i64, Value)> {
    let columns = table.columns();
    let at = |name: &str| {
        columns
            .iter()
            .position(|column| column.name == name)
            .unwrap()
    };
    let values = ["value_i64", "value_bool", "value_text", "value"].map(at);
    let mut blocks = table.blocks(first, 1000).unwrap();
    let mut rows = Vec::new();
    while let Some(block) = blocks.next_block().unwrap() {
        assert!(block.rows <= 1000);
        for row in 0..block.rows {
            let path = block.columns[at("path")].text(row).unwrap().to_owned();
            let attributes = block.columns[at("attributes")].text(row).unwrap();
            assert_eq!(attributes, format!("{{\"line\":\"{path}\"}}"));
            let time = block.columns[at("timestamp")].timestamp(row).unwrap();
            let value = values.iter().find_map(|at| block.columns[*at].value(row));
            rows.push((path, time.as_nanos(), value.unwrap()));
        }
    }
    rows
}

#[test]
fn a_file_is_read_from_any_row() {
    let folder = tempfile::tempdir().unwrap();
    let times: Vec<i64> = (0..300_000).collect();
    let mut all = one_of_each();
    all.push(series("b", times.clone(), Values::I64(times)));
    let table = file_of(&all, &folder);
    assert_eq!(table.rows(), 300_008);
    let expected = expected(&all);
    for first in [0, 5, 262_143, 262_144, 300_007, 300_008, 400_000] {
        let rest = usize::try_from(first).unwrap().min(expected.len());
        assert!(read(&table, first) == expected[rest..], "from {first}");
    }
}

fn values() -> impl Strategy<Value = Values> {
    let finite = any::<f64>().prop_filter("finite", |number| number.is_finite());
    prop_oneof![
        prop::collection::vec(finite, 1..50).prop_map(Values::F64),
        prop::collection::vec(any::<i64>(), 1..50).prop_map(Values::I64),
        prop::collection::vec(any::<bool>(), 1..50).prop_map(Values::Bool),
        prop::collection::vec(any::<String>(), 1..50).prop_map(Values::Text),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_values_come_back_bit_for_bit(all in prop::collection::vec((values(), any::<i64>()), 0..6)) {
        let all: Vec<Series> = all
            .into_iter()
            .enumerate()
            .map(|(number, (values, time))| {
                let times = (0..values.len()).map(|_| time).collect();
                series(&format!("s/{number}"), times, values)
            })
            .collect();
        prop_assert_eq!(rows(&streamed(&all)), expected(&all));
        let folder = tempfile::tempdir().unwrap();
        prop_assert_eq!(read(&file_of(&all, &folder), 0), expected(&all));
    }
}
