//! `export` and `import`: what goes out comes in again, whatever happens meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sensor_model::{Columns, Kind, SeriesDescription, SeriesPath, Value, Values};
use store_wire::message::{ErrorCode, Request};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::answers::{SECOND, START, failed, node, plant, series, written};
use crate::store::{Cluster, FakeStore, Run, Step, finish};

const EVERYTHING: [&str; 4] = ["--from", "1970-01-01", "--to", "2200-01-01"];

/// What is kept of a series.
type Kept = (SeriesDescription, BTreeMap<i64, Value>);

/// A store that keeps what is written.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    series: Arc<Mutex<BTreeMap<SeriesPath, Kept>>>,
    /// How many readings each write had.
    writes: Arc<Mutex<Vec<usize>>>,
}

impl Ledger {
    fn with(data: Vec<(SeriesDescription, Columns)>) -> Self {
        let ledger = Self::default();
        for (description, columns) in data {
            let readings = columns.readings();
            let readings = readings.map(|reading| (reading.timestamp.as_nanos(), reading.value));
            let entry = (description.clone(), readings.collect());
            ledger
                .series
                .lock()
                .unwrap()
                .insert(description.path, entry);
        }
        ledger
    }

    fn keep(&self, request: &Request, body: &Bytes) {
        if let Request::Write { series, .. } = request {
            let batch = written(body);
            let readings = batch.iter().map(|(_, readings)| readings.len()).sum();
            self.writes.lock().unwrap().push(readings);
            for (number, readings) in batch {
                let description = &series[usize::try_from(number).unwrap()];
                let mut all = self.series.lock().unwrap();
                let (_, known) = all
                    .entry(description.path.clone())
                    .or_insert_with(|| (description.clone(), BTreeMap::new()));
                known.extend(readings);
            }
        }
    }

    fn data(&self) -> Vec<(SeriesDescription, Columns)> {
        let all = self.series.lock().unwrap();
        let data = all.values().map(|(description, readings)| {
            let mut columns = Columns::empty(description.kind);
            for (time, value) in readings {
                let time = sensor_model::Timestamp::from_nanos(*time);
                columns.push(time, value.clone()).unwrap();
            }
            (description.clone(), columns)
        });
        data.collect()
    }

    pub(crate) fn respond(&self, request: &Request, body: &Bytes) -> Vec<Step> {
        self.keep(request, body);
        node(self.data())(request, body)
    }

    pub(crate) fn start(&self, cluster: &Cluster) -> FakeStore {
        let ledger = self.clone();
        cluster.store(move |request, body| ledger.respond(request, body))
    }

    pub(crate) fn writes(&self) -> Vec<usize> {
        self.writes.lock().unwrap().clone()
    }

    /// The readings of a series.
    pub(crate) fn of(&self, path: &str) -> (Kind, Vec<(i64, Value)>) {
        let path = SeriesPath::new(path).unwrap();
        let (description, readings) = self.series.lock().unwrap()[&path].clone();
        (description.kind, readings.into_iter().collect())
    }
}

pub(crate) async fn export(cluster: &Cluster, store: &FakeStore, out: &Path, more: &[&str]) -> Run {
    let mut command = cluster.command(store.address());
    command.args(["export", "**"]).args(EVERYTHING).args(more);
    command.arg("--out").arg(out);
    finish(command).await
}

pub(crate) async fn import(
    cluster: &Cluster,
    store: &FakeStore,
    file: &Path,
    more: &[&str],
) -> Run {
    let mut command = cluster.command(store.address());
    command.arg("import").arg(file).args(more);
    finish(command).await
}

/// Values that only an exact form keeps.
fn awkward() -> Vec<(SeriesDescription, Columns)> {
    let mut data = plant();
    let texts = ["", "true", " two\nlines ", "1.50", "ünïcode, \"quoted\""];
    data.push(series(
        "site/text",
        "",
        Values::Text(texts.map(str::to_owned).into()),
    ));
    let numbers = vec![
        f64::MIN_POSITIVE,
        f64::MAX,
        -0.0,
        5e-324,
        1.0 / 3.0,
        9_007_199_254_740_994.0,
    ];
    data.push(series("site/f64", "Cel", Values::F64(numbers)));
    data.push(series("site/whole", "", Values::F64(vec![1.0, 1e16, -7.0])));
    data.push(series(
        "site/i64",
        "%",
        Values::I64(vec![i64::MIN, i64::MAX, 0, (1 << 53) + 1]),
    ));
    let (mut described, columns) = series("site/described", "Pa", Values::F64(vec![1.5]));
    described.attributes = [("line", "7"), ("note", "say \"hi\"")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    data.push((described, columns));
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_that_was_exported_and_imported_exports_to_the_same_bytes() {
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let (first, second) = (folder.path().join("a.csv"), folder.path().join("b.csv"));
    let store = Ledger::with(awkward()).start(&cluster);
    let run = export(&cluster, &store, &first, &[]).await;
    assert!(run.success().contains("29 readings of 9 series"));
    let other = Ledger::default();
    let other_store = other.start(&cluster);
    let run = import(&cluster, &other_store, &first, &[]).await;
    assert_eq!(run.stderr, "");
    assert!(run.success().contains("29 readings of 9 series"));
    export(&cluster, &other_store, &second, &[]).await.success();
    let (first, second) = (read(&first), read(&second));
    assert!(first.starts_with("series,timestamp,value\n"));
    assert_eq!(first, second);
    assert_eq!(other.of("site/i64").0, Kind::I64);
    assert_eq!(other.of("site/whole").0, Kind::F64);
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_keeps_kinds_bits_units_and_attributes() {
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.parquet");
    let store = Ledger::with(awkward()).start(&cluster);
    export(&cluster, &store, &file, &[]).await.success();
    let other = Ledger::default();
    let other_store = other.start(&cluster);
    let run = import(&cluster, &other_store, &file, &["--format", "json"]).await;
    let summary: serde_json::Value = serde_json::from_str(&run.success()).unwrap();
    assert_eq!(summary["readings"], 29);
    let expected = Ledger::with(awkward()).data();
    for ((series, columns), (known, expected)) in other.data().iter().zip(&expected) {
        assert_eq!(series, known);
        assert_eq!(columns.times, expected.times);
        for at in 0..expected.len() {
            assert_eq!(
                columns.values.value(at),
                expected.values.value(at),
                "{}",
                series.path
            );
        }
    }
    assert_eq!(other.data().len(), expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_file_is_replaced_only_when_that_is_meant() {
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.csv");
    write(&file, "precious");
    let store = Ledger::with(plant()).start(&cluster);
    let refusal = export(&cluster, &store, &file, &[]).await.failure(1);
    assert!(refusal.contains("--force"), "{refusal}");
    assert_eq!(read(&file), "precious");
    export(&cluster, &store, &file, &["--force"])
        .await
        .success();
    assert!(read(&file).starts_with("series,timestamp,value\n"));
    let wrong = folder.path().join("a.xlsx");
    let refusal = export(&cluster, &store, &wrong, &[]).await.failure(2);
    assert!(refusal.contains("--out"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_leaves_no_file() {
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.csv");
    let store = cluster.store(|request, body| {
        let mut steps = node(plant())(request, body);
        steps.truncate(4);
        steps.push(Step::Cut);
        steps
    });
    export(&cluster, &store, &file, &[]).await.failure(1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_a_series_is_imported_and_what_cannot_be_used_is_told_by_line() {
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("office air.csv");
    let text = "\u{feff}when;room 1;note;on\n\
                2026-01-01 00:00:00;20.5;calm;true\n\
                2026-01-01 00:00:01;broken;loud;false\n\
                soon;21;loud;false\n\
                2026-01-01 00:00:02;;;\n\
                2026-01-01 00:00:03;22\n\
                2026-01-01 00:00:04;23;calm;true\n";
    write(&file, text);
    let ledger = Ledger::default();
    let store = ledger.start(&cluster);
    let run = import(&cluster, &store, &file, &["--time-column", "when"]).await;
    let told: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].contains("line 3, column \"room 1\": \"broken\""),
        "{told:?}"
    );
    assert!(
        told[1].contains("line 4: \"soon\" is not a time"),
        "{told:?}"
    );
    assert!(
        told[2].contains("line 6: the line has 2 fields where 4"),
        "{told:?}"
    );
    let summary = run.success();
    assert!(
        summary.contains("8 readings of 3 series") && summary.contains("3 could not"),
        "{summary}"
    );
    let (kind, readings) = ledger.of("office-air/room-1");
    assert_eq!(kind, Kind::F64);
    let expected = [(START, 20.5), (START + 4 * SECOND, 23.0)];
    assert_eq!(
        readings,
        expected.map(|(time, value)| (time, Value::F64(value)))
    );
    assert_eq!(ledger.of("office-air/on").0, Kind::Bool);
    assert_eq!(ledger.of("office-air/note").0, Kind::Text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_that_exists_keeps_its_kind() {
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("more.csv");
    write(
        &file,
        "path,timestamp,value\nplant/b/parts,2026-01-02,7\nplant/b/parts,2026-01-03,7.5\n",
    );
    let ledger = Ledger::with(plant());
    let store = ledger.start(&cluster);
    let run = import(&cluster, &store, &file, &[]).await;
    assert!(run.stderr.contains("line 3"), "{run:?}");
    assert!(run.success().contains("1 readings"));
    assert_eq!(ledger.of("plant/b/parts").1.len(), 3);
}

/// A file of `rows` readings of two series.
pub(crate) fn long_file(rows: i64) -> String {
    let mut text = "series,timestamp,value\n".to_owned();
    for row in 0..rows {
        let time = START / 1_000_000 + row;
        text += &format!("site/{},{time},{}.5\n", row % 2, row);
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_killed_goes_on_where_it_was_and_doubles_nothing() {
    const ROWS: i64 = 200_000;
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("long.csv");
    write(&file, &long_file(ROWS));
    let ledger = Ledger::default();
    // Writes are answered as long as there are permits.
    let gate = Arc::new(Semaphore::new(3));
    let (kept, waiting) = (ledger.clone(), Arc::clone(&gate));
    let store = cluster.store(move |request, body| {
        if !matches!(request, Request::Write { .. }) {
            return kept.respond(request, body);
        }
        let Ok(permit) = waiting.try_acquire() else {
            return vec![Step::Hang];
        };
        permit.forget();
        kept.respond(request, body)
    });
    let mut command = cluster.command(store.address());
    command.arg("import").arg(&file).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let progress = folder.path().join("long.csv.import-progress");
    let written = || ledger.writes().iter().sum::<usize>();
    let is_noted = || {
        let noted = std::fs::read_to_string(&progress).unwrap_or_default();
        noted.contains(&format!("\"readings\":{},", written()))
    };
    let writes = |request: &Request| matches!(request, Request::Write { .. });
    // The fourth is asked for once the third is noted.
    while store.count(writes) < 4 || !is_noted() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = written();
    assert!(before > 0 && before < usize::try_from(ROWS).unwrap());
    gate.add_permits(1_000);
    let run = import(&cluster, &store, &file, &[]).await;
    assert!(
        run.stderr.contains(&format!("behind {before} readings")),
        "{run:?}"
    );
    assert!(run.success().contains(&format!(
        "{ROWS} readings of 2 series ({before} in an earlier run)"
    )));
    // Each reading was written once.
    assert_eq!(written(), usize::try_from(ROWS).unwrap());
    let (_, readings) = ledger.of("site/1");
    assert_eq!(readings.len(), 100_000);
    let last = (START + (ROWS - 1) * 1_000_000, Value::F64(199_999.5));
    assert_eq!(readings.last(), Some(&last));
    assert!(!progress.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_progress_of_another_file_is_not_taken_up() {
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.csv");
    write(&file, &long_file(10));
    let other = r#"{"of":{"version":1,"bytes":3,"modified_ns":0,"head":"","options":"","cluster":""},"position":{"offset":9,"line":2},"readings":7,"unusable":0}"#;
    write(&folder.path().join("a.csv.import-progress"), other);
    let ledger = Ledger::default();
    let store = ledger.start(&cluster);
    let run = import(&cluster, &store, &file, &[]).await;
    assert!(run.stderr.contains("beginning anew"), "{run:?}");
    assert!(run.success().contains("10 readings"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_waits_for_a_store_that_takes_nothing_and_gives_up_in_the_end() {
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.csv");
    write(&file, &long_file(10));
    let ledger = Ledger::default();
    let refusals = Arc::new(Mutex::new(vec![ErrorCode::Overloaded, ErrorCode::Unknown]));
    let kept = ledger.clone();
    let store = cluster.store(move |request, body| {
        let refusal = match request {
            Request::Write { .. } => refusals.lock().unwrap().pop(),
            _ => None,
        };
        match refusal {
            Some(code) => failed(code),
            None => kept.respond(request, body),
        }
    });
    let run = import(&cluster, &store, &file, &[]).await;
    assert!(run.success().contains("10 readings"));
    assert_eq!(ledger.writes(), [10]);
    let never = cluster.store(|request, body| match request {
        Request::Write { .. } => failed(ErrorCode::Overloaded),
        request => node(plant())(request, body),
    });
    let run = import(&cluster, &never, &file, &["--patience", "300ms"]).await;
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("the same command goes on from there"),
        "{run:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_table_is_refused_saying_why() {
    let cluster = Cluster::new();
    let folder = TempDir::new().unwrap();
    let store = cluster.store(node(plant()));
    for (name, text, reason) in [
        ("none.csv", None, "cannot read"),
        ("empty.csv", Some(""), "it is empty"),
        ("plain.csv", Some("a,b\n1,2\n"), "--time-column"),
        ("not.parquet", Some("PAR1 or so"), "cannot import"),
    ] {
        let file = folder.path().join(name);
        if let Some(text) = text {
            write(&file, text);
        }
        let refusal = import(&cluster, &store, &file, &[]).await.failure(1);
        assert!(refusal.contains(reason), "{name}: {refusal}");
    }
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a file for the program to read")]
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
