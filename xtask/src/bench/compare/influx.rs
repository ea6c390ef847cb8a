//! InfluxDB 1, a single node.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use local_cluster::{HttpClient, Process, until};
use serde_json::Value;

use super::forms::{Form, device_name, device_number};
use super::peer::{
    Answers, Facts, Limits, Missing, Peer, TIMEOUT, ask, bytes_below, encoded, free_port,
    installed, load,
};
use super::question::{Asked, Devices, Question, Row};
use super::workload::{Total, Workload};

/// Lines of one request, as its documentation recommends.
const LINES: usize = 5_000;
/// Looks in a row that must find nothing to compact.
const IDLE_LOOKS: usize = 25;

/// A running InfluxDB.
pub(crate) struct Influx {
    process: Process,
    address: String,
    data: PathBuf,
    version: String,
    parts: Vec<PathBuf>,
}

impl Influx {
    pub(crate) fn start(dir: &Path) -> Result<Result<Self, Missing>> {
        let Some(program) = installed("influxd") else {
            return Ok(Err(Missing {
                install: "apt-get install influxdb".to_owned(),
            }));
        };
        let said = Command::new(&program).arg("version").output()?;
        let version = String::from_utf8_lossy(&said.stdout)
            .trim_start_matches("InfluxDB v")
            .trim()
            .to_owned();
        let folder = dir.join("influx");
        std::fs::create_dir_all(&folder)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let file = folder.join("influxdb.conf");
        std::fs::write(&file, configuration(&folder, &address, free_port()?))?;
        let mut command = Command::new(program);
        command.arg("-config").arg(&file);
        let process = Process::start("InfluxDB", command, &dir.join("influx.log"))?;
        until("InfluxDB being there", TIMEOUT, || {
            Ok(local_cluster::page(&address, "/ping", TIMEOUT).ok())
        })?;
        let influx = Self {
            process,
            address,
            data: folder.join("data"),
            version,
            parts: Vec::new(),
        };
        influx
            .client()
            .post(&format!("/query?q={}", encoded("CREATE DATABASE load")), "")?;
        Ok(Ok(influx))
    }

    fn client(&self) -> HttpClient {
        HttpClient::new(&self.address, TIMEOUT)
    }
}

fn configuration(folder: &Path, address: &str, rpc_port: u16) -> String {
    let folder = folder.display();
    format!(
        r#"reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
wal-fsync-delay = "0s"
index-version = "tsi1"
cache-max-memory-size = "4g"
cache-snapshot-write-cold-duration = "10s"
compact-full-write-cold-duration = "10s"
max-series-per-database = 0
max-values-per-tag = 0
query-log-enabled = false
[http]
bind-address = "{address}"
log-enabled = false
max-body-size = 0
[monitor]
store-enabled = false
"#
    )
}

impl Peer for Influx {
    fn facts(&self) -> Facts {
        Facts {
            name: "InfluxDB",
            version: self.version.clone(),
            settings: "one node; line protocol, 5,000 lines a request over two connections, a line a device and time with a field a metric; each write is synced (wal-fsync-delay 0), series are indexed on disk (tsi1, as for many series), the cache may have 4 GB, bounds on series are lifted; it compacts 10 s after the last write in place of hours, so that one need not wait; questions as InfluxQL over HTTP, answered as JSON",
            acknowledgement: "synced to the log of one node",
        }
    }

    fn prepare(&mut self, workload: &Workload, files: &Path) -> Result<()> {
        self.parts = Form::Lines.write(workload, files)?;
        Ok(())
    }

    fn load(&mut self, _workload: &Workload) -> Result<Duration> {
        load(
            &self.parts,
            || Ok(self.client()),
            |client, part| {
                let text = std::fs::read_to_string(part)?;
                let mut rest = text.as_str();
                while !rest.is_empty() {
                    let end = rest
                        .match_indices('\n')
                        .nth(LINES - 1)
                        .map_or(rest.len(), |(at, _)| at + 1);
                    client.post("/write?db=load&precision=ms", &rest[..end])?;
                    rest = &rest[end..];
                }
                Ok(())
            },
        )
    }

    fn settle(&mut self) -> Result<u64> {
        let client = self.client();
        let mut idle_looks = 0;
        until("InfluxDB having compacted", TIMEOUT, || {
            let document: Value = serde_json::from_str(&client.page("/debug/vars")?)?;
            let mut busy = 0.0;
            for part in document
                .as_object()
                .into_iter()
                .flat_map(|all| all.values())
            {
                let values = part["values"].as_object();
                for (name, value) in values.into_iter().flatten() {
                    let counts =
                        name.ends_with("CompactionsActive") || name.ends_with("CompactionsQueue");
                    let is_cached = part["name"] == "tsm1_cache"
                        && (name == "memBytes" || name == "snapshotCount");
                    if counts || is_cached {
                        busy += value.as_f64().unwrap_or_default();
                    }
                }
            }
            idle_looks = if busy == 0.0 { idle_looks + 1 } else { 0 };
            Ok((idle_looks >= IDLE_LOOKS).then_some(()))
        })?;
        bytes_below(&self.data)
    }

    fn total(&mut self, _workload: &Workload) -> Result<Total> {
        let sums = |of: &str| -> Result<f64> {
            let text = self.client().page(&format!(
                "/query?db=load&q={}",
                encoded(&format!("SELECT {of}(*) FROM load"))
            ))?;
            let answer: Value = serde_json::from_str(&text)?;
            let row = answer["results"][0]["series"][0]["values"][0].as_array();
            let row = row.with_context(|| format!("no row in {text}"))?;
            Ok(row.iter().skip(1).filter_map(Value::as_f64).sum())
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        let count = sums("count")? as u64;
        Ok(Total {
            count,
            sum: sums("sum")?,
        })
    }

    fn ask(&mut self, question: &Question, clients: usize, limits: Limits) -> Result<Answers> {
        let path = format!("/query?db=load&epoch=ms&q={}", encoded(&query(question)));
        ask(
            clients,
            limits,
            || Ok(self.client()),
            |client| client.page(&path),
        )
    }

    fn rows(&self, question: &Question, text: &str) -> Result<Vec<Row>> {
        let answer: Value = serde_json::from_str(text)?;
        if let Some(error) = answer["results"][0]["error"].as_str() {
            anyhow::bail!("{error}");
        }
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut rows = Vec::new();
        for series in list(&answer["results"][0]["series"]) {
            let device = match (&question.devices, series["tags"]["device"].as_str()) {
                (_, Some(name)) => device_number(name)?,
                (Devices::Listed(devices), None)
                    if devices.len() == 1 && question.asked != Asked::Max =>
                {
                    devices[0]
                }
                _ => 0,
            };
            for values in list(&series["values"]) {
                let values = list(&values);
                rows.push(Row {
                    device,
                    time_ms: values.first().and_then(Value::as_i64).context("no time")?,
                    values: values.iter().skip(1).filter_map(Value::as_f64).collect(),
                });
            }
        }
        Ok(rows)
    }

    fn stop(mut self: Box<Self>) -> Result<()> {
        self.process.stop(TIMEOUT).map(|_| ())
    }
}

fn query(question: &Question) -> String {
    let (from, to, every) = (question.from_ms, question.to_ms, question.every_s);
    let range = format!("time >= {from}ms AND time < {to}ms");
    let devices = match &question.devices {
        Devices::All => String::new(),
        Devices::Listed(devices) => {
            let each = devices
                .iter()
                .map(|device| format!("device = '{}'", device_name(*device)));
            format!("({}) AND ", each.collect::<Vec<_>>().join(" OR "))
        }
    };
    let filter = format!("FROM load WHERE {devices}{range}");
    match question.asked {
        // As is recommended: last() would look through all of them.
        Asked::Last => {
            let devices = devices.replace(" AND ", "");
            let devices = if devices.is_empty() {
                devices
            } else {
                format!("WHERE {devices} ")
            };
            format!("SELECT m01 FROM load {devices}GROUP BY device ORDER BY time DESC LIMIT 1")
        }
        Asked::Raw => format!("SELECT m01 {filter}"),
        Asked::Max => format!("SELECT max(m01) {filter} GROUP BY time({every}s) fill(none)"),
        Asked::Summary => format!(
            "SELECT mean(m01), min(m01), max(m01) {filter} GROUP BY time({every}s) fill(none)"
        ),
        Asked::Means => {
            format!("SELECT mean(m01) {filter} GROUP BY time({every}s), device fill(none)")
        }
    }
}
