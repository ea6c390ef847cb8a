//! DuckDB and ClickHouse (as chdb), each within a Python of its own, as they come from PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_cluster::{Programs, workspace_root};
use serde_json::{Value, json};

use super::dialogue::Dialogue;
use super::forms::Form;
use super::peer::{Answers, Facts, Limits, Missing, Peer, csv_rows};
use super::question::{Question, Row};
use super::sql::Dialect;
use super::workload::{Total, Workload};

/// One of the two.
pub(crate) struct Kind {
    name: &'static str,
    script: &'static str,
    device: &'static str,
    ts: &'static str,
    metric: &'static str,
    dialect: Dialect,
    settings: &'static str,
    acknowledgement: &'static str,
}

/// DuckDB.
pub(crate) const DUCKDB: Kind = Kind {
    name: "DuckDB",
    script: "duckdb_peer.py",
    device: "INTEGER",
    ts: "TIMESTAMP_MS",
    metric: "DOUBLE",
    dialect: Dialect {
        ms: "epoch_ms(ts)",
        bucket_ms: |every_s| {
            format!(
                "epoch_ms(time_bucket(INTERVAL '{every_s} seconds', ts, TIMESTAMP '1970-01-01'))"
            )
        },
        time: |ms| format!("make_timestamp_ms({ms})"),
        last_of_each: |_| {
            "SELECT device, epoch_ms(max(ts)), arg_max(m01, ts) FROM load GROUP BY device"
                .to_owned()
        },
    },
    settings: "in the process that asks, so without a server, a network or TLS; a database in a file, a row a device and time with a column a metric (DOUBLE), the device as a number; COPY from Parquet, a million readings a transaction; CHECKPOINT before it is asked; a connection a client, answers as Arrow tables",
    acknowledgement: "committed: synced to one file on one machine, by one process that has it to itself",
};

/// ClickHouse.
pub(crate) const CLICKHOUSE: Kind = Kind {
    name: "ClickHouse (chdb)",
    script: "chdb_peer.py",
    device: "UInt32 CODEC(ZSTD(1))",
    ts: "DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1))",
    metric: "Float64 CODEC(ZSTD(1))",
    dialect: Dialect {
        ms: "toUnixTimestamp64Milli(ts)",
        bucket_ms: |every_s| {
            format!("toUnixTimestamp(toStartOfInterval(ts, INTERVAL {every_s} SECOND)) * 1000")
        },
        time: |ms| format!("fromUnixTimestamp64Milli({ms}, 'UTC')"),
        last_of_each: |_| {
            "SELECT device, toUnixTimestamp64Milli(max(ts)), argMax(m01, ts) FROM load GROUP BY device".to_owned()
        },
    },
    settings: "in the process that asks, so without a server, a network or TLS; MergeTree ordered by (device, ts), a row a device and time with a column a metric, DoubleDelta and ZSTD for times, ZSTD for values (smaller here than Gorilla and ZSTD); an INSERT a million readings from its Native form, each synced (fsync_after_insert, fsync_part_directory); OPTIMIZE FINAL before it is asked; one session that all clients share, as chdb has no more, answers as Arrow streams",
    acknowledgement: "synced to a part on one machine, by one process that has it to itself",
};

/// A running one.
pub(crate) struct Embedded {
    kind: Kind,
    python: Dialogue,
    version: String,
    columns: String,
    devices: u32,
}

impl Embedded {
    /// Starts `kind` in an environment beside `programs`, which is made where it is not there.
    pub(crate) fn start(
        kind: Kind,
        programs: &Programs,
        workload: &Workload,
        dir: &Path,
    ) -> Result<Result<Self, Missing>> {
        let folder = workspace_root().join("xtask/src/bench/compare/python");
        let python = match environment(programs, &folder) {
            Ok(python) => python,
            Err(why) => {
                println!("{}: {why:#}", kind.name);
                let install = format!(
                    "pip install -r {}",
                    folder.join("requirements.txt").display()
                );
                return Ok(Err(Missing {
                    install: format!("apt-get install python3-venv; {install}"),
                }));
            }
        };
        let data = dir.join(kind.script.trim_end_matches(".py"));
        let mut command = Command::new(python);
        command.arg(folder.join(kind.script)).arg(&data);
        let mut python = Dialogue::start(command, &data.with_extension("log"))?;
        let columns = Dialect::columns(kind.device, kind.ts, kind.metric, workload.shape.metrics);
        let said = tell(&mut python, &json!({"do": "create", "columns": columns}))?;
        let version = said["version"].as_str().context("no version")?.to_owned();
        Ok(Ok(Self {
            kind,
            python,
            version,
            columns,
            devices: workload.shape.devices,
        }))
    }

    fn tell(&mut self, request: &Value) -> Result<Value> {
        tell(&mut self.python, request)
    }
}

/// Says one request, and gives the answer.
fn tell(python: &mut Dialogue, request: &Value) -> Result<Value> {
    python.say(&format!("{request}\n"))?;
    let line = python.line()?;
    let answer: Value =
        serde_json::from_str(&line).with_context(|| format!("{line:?} is no answer"))?;
    ensure!(answer["error"].is_null(), "{}", answer["error"]);
    Ok(answer)
}

/// The Python of an environment that has what is pinned.
fn environment(programs: &Programs, folder: &Path) -> Result<PathBuf> {
    let environment = programs.folder().join("compare-venv");
    let python = environment.join("bin/python");
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&environment);
    let mut install = Command::new(&python);
    install
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(folder.join("requirements.txt"));
    for mut step in [make, install] {
        let said = step
            .output()
            .with_context(|| format!("cannot run {}", step.get_program().display()))?;
        ensure!(
            said.status.success(),
            "{}",
            String::from_utf8_lossy(&said.stderr).trim()
        );
    }
    Ok(python)
}

/// A duration, from the ns that a script has counted.
fn nanos(value: &Value) -> Result<Duration> {
    Ok(Duration::from_nanos(
        value
            .as_u64()
            .with_context(|| format!("{value} are no ns"))?,
    ))
}

impl Peer for Embedded {
    fn facts(&self) -> Facts {
        Facts {
            name: self.kind.name,
            version: self.version.clone(),
            settings: self.kind.settings,
            acknowledgement: self.kind.acknowledgement,
        }
    }

    fn prepare(&mut self, workload: &Workload, files: &Path) -> Result<()> {
        let parts = Form::Csv.write(workload, files)?;
        let folder = files.join(self.kind.script);
        std::fs::create_dir_all(&folder)?;
        let columns = self.columns.clone();
        self.tell(&json!({"do": "prepare", "files": parts, "columns": columns, "folder": folder}))
            .map(|_| ())
    }

    fn load(&mut self, _workload: &Workload) -> Result<Duration> {
        nanos(&self.tell(&json!({"do": "load"}))?["ns"])
    }

    fn settle(&mut self) -> Result<u64> {
        self.tell(&json!({"do": "settle"}))?["bytes"]
            .as_u64()
            .context("no bytes")
    }

    fn total(&mut self, workload: &Workload) -> Result<Total> {
        let total = Dialect::total(workload.shape.metrics);
        let said = self
            .tell(&json!({"do": "ask", "sql": total, "clients": 1, "times": 0, "longest_s": 0}))?;
        let text = said["text"].as_str().context("no text")?.trim();
        let (count, sum) = text
            .split_once(',')
            .with_context(|| format!("{text:?} is no total"))?;
        Ok(Total {
            count: count.parse()?,
            sum: sum.parse()?,
        })
    }

    fn ask(&mut self, question: &Question, clients: usize, limits: Limits) -> Result<Answers> {
        let sql = self.kind.dialect.question(question, self.devices);
        let (times, longest_s) = (limits.times, limits.longest.as_secs_f64());
        let said = self.tell(&json!({"do": "ask", "sql": sql, "clients": clients, "times": times, "longest_s": longest_s}))?;
        Ok(Answers {
            times: said["times_ns"]
                .as_array()
                .into_iter()
                .flatten()
                .map(nanos)
                .collect::<Result<_>>()?,
            text: said["text"].as_str().context("no text")?.to_owned(),
        })
    }

    fn rows(&self, _question: &Question, text: &str) -> Result<Vec<Row>> {
        csv_rows(text)
    }

    fn stop(mut self: Box<Self>) -> Result<()> {
        self.tell(&json!({"do": "stop"})).map(|_| ())
    }
}
