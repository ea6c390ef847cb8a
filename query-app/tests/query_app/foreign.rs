//! Files that are not what they are taken for, that others wrote, and that others write meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::types::{ArrowPrimitiveType, Float16Type};
use arrow_array::{
    ArrayRef, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float16Array, RecordBatch,
    TimestampNanosecondArray,
};
use parquet::arrow::ArrowWriter;
use segment_log::{Disk as _, OpenMode, OsDisk};
use sensor_model::{Kind, Value};
use store_wire::message::{ErrorCode, Request};
use tempfile::TempDir;

use crate::answers::{SECOND, START, failed, node, plant};
use crate::files::{Ledger, export, import, long_file, read, write};
use crate::store::Cluster;

type Half = <Float16Type as ArrowPrimitiveType>::Native;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_progress_is_named_and_left_as_it_is() {
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let [january, february] = ["jan.csv", "feb.csv"].map(|name| folder.path().join(name));
    write(&february, &long_file(10));
    let ledger = Ledger::default();
    let store = ledger.start(&cluster);
    // What it is, and whether all of it is read, makes no difference.
    for text in [&long_file(10), &long_file(10_000), "{}"] {
        write(&january, text);
        let told = ["--progress", january.to_str().unwrap()];
        let refusal = import(&cluster, &store, &february, &told).await.failure(2);
        assert!(refusal.contains("jan.csv is not the progress"), "{refusal}");
        assert_eq!(read(&january), text);
        assert!(ledger.writes().is_empty());
    }
    write(&january, "");
    let told = ["--progress", january.to_str().unwrap()];
    let run = import(&cluster, &store, &february, &told).await;
    assert!(run.success().contains("10 readings"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_renamed_over_the_one_that_is_imported_is_another_file() {
    const ROWS: usize = 70_000;
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let [file, next] = ["a.csv", "next.csv"].map(|name| folder.path().join(name));
    let text = long_file(ROWS.try_into().unwrap());
    write(&file, &text);
    write(&next, &text.replace(".5\n", ".25\n"));
    let ledger = Ledger::default();
    let (kept, writes) = (ledger.clone(), AtomicUsize::new(0));
    let (from, to) = (next.clone(), file.clone());
    let store = cluster.store(move |request, body| match request {
        // It is asked for once the file is open. Later there is nothing to rename any more.
        Request::Status => {
            let _ = OsDisk.rename(&from, &to);
            kept.respond(request, body)
        }
        Request::Write { .. } if writes.fetch_add(1, Ordering::Relaxed) == 1 => {
            failed(ErrorCode::Forbidden)
        }
        _ => kept.respond(request, body),
    });
    let run = import(&cluster, &store, &file, &[]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(ledger.writes().len(), 1);
    let run = import(&cluster, &store, &file, &[]).await;
    assert!(run.stderr.contains("beginning anew"), "{run:?}");
    assert!(
        run.success()
            .contains(&format!("{ROWS} readings of 2 series in"))
    );
    let (_, readings) = ledger.of("site/1");
    assert_eq!(readings[0].1, Value::F64(1.25));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_appears_while_it_is_exported_to_is_kept() {
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.csv");
    let (appearing, answers) = (file.clone(), node(plant()));
    let store = cluster.store(move |request, body| {
        if matches!(request, Request::Range { .. }) {
            write(&appearing, "precious");
        }
        answers(request, body)
    });
    let refusal = export(&cluster, &store, &file, &[]).await.failure(1);
    assert!(refusal.contains("a.csv exists"), "{refusal}");
    assert_eq!(read(&file), "precious");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    export(&cluster, &store, &file, &["--force"])
        .await
        .success();
    assert!(read(&file).starts_with("series,timestamp,value\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_which_nothing_can_be_used_is_a_failure_and_an_empty_one_is_not() {
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let ledger = Ledger::default();
    let store = ledger.start(&cluster);
    let file = folder.path().join("a.csv");
    for (text, reason) in [
        (
            "time,a,b\nsoon,1,2\nlater,3,4\n",
            "2 of its lines and values",
        ),
        ("time,a,b\n2026-01-01,NaN,\n", "0 of its lines and values"),
        (
            "series,time,value\n../x,2026-01-01,1\n",
            "1 of its lines and values",
        ),
    ] {
        write(&file, text);
        let run = import(&cluster, &store, &file, &["--time-column", "time"]).await;
        assert_eq!(run.code, Some(1), "{run:?}");
        let told = run.stderr.lines().last().unwrap();
        assert!(
            told.contains("there is no reading in") && told.contains(reason),
            "{told}"
        );
        assert_eq!(run.stdout, "");
    }
    write(&file, "series,timestamp,value\n");
    let run = import(&cluster, &store, &file, &[]).await;
    assert!(run.success().contains("0 readings of 0 series"));
}

fn parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    let bytes = writer.into_inner().unwrap();
    let file = OsDisk.open(path, OpenMode::Create).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
}

fn times() -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from(vec![START, START + SECOND]))
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_a_parquet_file_are_taken_or_it_is_said_why_not() {
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("erp.parquet");
    let decimal = |values: Vec<i128>, scale| -> ArrayRef {
        let array = Decimal128Array::from(values);
        Arc::new(array.with_precision_and_scale(20, scale).unwrap())
    };
    let halves = Float16Array::from([0x3C00, 0xC100].map(Half::from_bits).to_vec());
    let day: ArrayRef = Arc::new(Date32Array::from(vec![20_000, 20_001]));
    let bytes = [[1_u8; 4], [2; 4]];
    let bytes = FixedSizeBinaryArray::try_from_iter(bytes.iter()).unwrap();
    let columns = vec![
        ("time", times()),
        ("price", decimal(vec![1_999, -5], 2)),
        ("order", decimal(vec![i128::from(i64::MAX), 7], 0)),
        ("half", Arc::new(halves)),
        ("day", Arc::clone(&day)),
        ("key", Arc::new(bytes)),
    ];
    parquet(&file, columns);
    let ledger = Ledger::default();
    let store = ledger.start(&cluster);
    let run = import(&cluster, &store, &file, &[]).await;
    let told: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("column \"day\" holds Date32"), "{told:?}");
    assert!(
        told[1].contains("column \"key\" holds FixedSizeBinary"),
        "{told:?}"
    );
    assert!(run.success().contains("6 readings of 3 series"));
    let values = |path: &str| {
        let (kind, readings) = ledger.of(path);
        (
            kind,
            readings
                .into_iter()
                .map(|(_, value)| value)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        values("erp/price"),
        (Kind::F64, vec![Value::F64(19.99), Value::F64(-0.05)])
    );
    assert_eq!(
        values("erp/order"),
        (Kind::I64, vec![Value::I64(i64::MAX), Value::I64(7)])
    );
    assert_eq!(
        values("erp/half"),
        (Kind::F64, vec![Value::F64(1.0), Value::F64(-2.5)])
    );
    for (columns, more) in [
        (vec![("time", times()), ("day", Arc::clone(&day))], &[][..]),
        (
            vec![("path", times()), ("time", times()), ("value", day)],
            &[],
        ),
    ] {
        parquet(&file, columns);
        let refusal = import(&cluster, &store, &file, more).await.failure(1);
        assert!(refusal.contains("holds Date32"), "{refusal}");
    }
}
