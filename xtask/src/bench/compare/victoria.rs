//! VictoriaMetrics, a single node.

use std::collections::BTreeMap;
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

/// Looks in a row that must find nothing to flush or merge: some seconds.
const IDLE_LOOKS: usize = 100;

/// A running VictoriaMetrics.
pub(crate) struct Victoria {
    process: Process,
    address: String,
    data: PathBuf,
    version: String,
    parts: Vec<PathBuf>,
}

impl Victoria {
    pub(crate) fn start(dir: &Path) -> Result<Result<Self, Missing>> {
        let Some(program) = installed("victoria-metrics") else {
            return Ok(Err(Missing {
                install: "apt-get install victoria-metrics".to_owned(),
            }));
        };
        // Debian's own does not say its version.
        let said = Command::new("dpkg-query")
            .args(["--show", "--showformat=${Version}", "victoria-metrics"])
            .output();
        let version = said.map_or_else(
            |_| "of unknown version".to_owned(),
            |said| String::from_utf8_lossy(&said.stdout).into_owned(),
        );
        let data = dir.join("victoria");
        std::fs::create_dir_all(&data)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new(program);
        command
            .arg(format!("-storageDataPath={}", data.display()))
            .arg(format!("-httpListenAddr={address}"))
            .args(["-retentionPeriod=100y", "-search.maxQueryDuration=30m"])
            // Whom it does not answer at once it answers later.
            .arg("-search.maxQueueDuration=30m")
            // A year at a reading a second is more than the 30 million that it takes as it comes.
            .arg("-search.maxSamplesPerSeries=1000000000");
        let process = Process::start("VictoriaMetrics", command, &dir.join("victoria.log"))?;
        until("VictoriaMetrics being there", TIMEOUT, || {
            Ok(local_cluster::page(&address, "/health", TIMEOUT).ok())
        })?;
        Ok(Ok(Self {
            process,
            address,
            data,
            version,
            parts: Vec::new(),
        }))
    }

    fn client(&self) -> HttpClient {
        HttpClient::new(&self.address, TIMEOUT)
    }

    /// The single value of an instant query.
    fn value(&self, query: &str, at_ms: i64) -> Result<f64> {
        let text = self.client().page(&format!(
            "/api/v1/query?query={}&time={}&nocache=1",
            encoded(query),
            seconds(at_ms)
        ))?;
        let answer: Value = serde_json::from_str(&text)?;
        let value = answer["data"]["result"][0]["value"][1].as_str();
        Ok(value
            .with_context(|| format!("no value in {text}"))?
            .parse()?)
    }
}

impl Peer for Victoria {
    fn facts(&self) -> Facts {
        Facts {
            name: "VictoriaMetrics",
            version: self.version.clone(),
            settings: "one node; /api/v1/import, its JSON with an array of values a series, over two connections; questions as MetricsQL over HTTP, answered as JSON, raw ones by /api/v1/export; its cache of answers is left out (nocache=1), so that every question is answered from the readings, and may wait and take half an hour (maxQueueDuration, maxQueryDuration) and a thousand million readings of a series (maxSamplesPerSeries)",
            acknowledgement: "in memory of one node: no log is written, and up to some seconds are lost in a crash; nothing stronger can be set",
        }
    }

    fn prepare(&mut self, workload: &Workload, files: &Path) -> Result<()> {
        self.parts = Form::Json.write(workload, files)?;
        Ok(())
    }

    fn load(&mut self, _workload: &Workload) -> Result<Duration> {
        load(
            &self.parts,
            || Ok(self.client()),
            |client, part| {
                client
                    .post("/api/v1/import", &std::fs::read_to_string(part)?)
                    .map(|_| ())
            },
        )
    }

    fn settle(&mut self) -> Result<u64> {
        let client = self.client();
        client.page("/internal/force_flush")?;
        client.page("/internal/force_merge")?;
        // A forced merge begins some time after it was asked for.
        let mut idle_looks = 0;
        until("VictoriaMetrics having merged", TIMEOUT, || {
            let page = client.page("/metrics")?;
            let is_busy = |line: &&str| {
                let names = [
                    "vm_active_force_merges",
                    "vm_active_merges{",
                    "vm_pending_rows{",
                ];
                names.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0")
            };
            idle_looks = if page.lines().any(|line| is_busy(&line)) {
                0
            } else {
                idle_looks + 1
            };
            Ok((idle_looks >= IDLE_LOOKS).then_some(()))
        })?;
        // Beside them it keeps caches, which do not count.
        Ok(bytes_below(&self.data.join("data"))? + bytes_below(&self.data.join("indexdb"))?)
    }

    fn total(&mut self, workload: &Workload) -> Result<Total> {
        let end_ms = workload.end_ms();
        let window_ms = workload.period_ms * i64::try_from(workload.each())?;
        let query = |of: &str| {
            self.value(
                &format!("sum({of}({{__name__=~\"m.+\"}}[{window_ms}ms]))"),
                end_ms - 1,
            )
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        let count = query("count_over_time")? as u64;
        Ok(Total {
            count,
            sum: query("sum_over_time")?,
        })
    }

    fn ask(&mut self, question: &Question, clients: usize, limits: Limits) -> Result<Answers> {
        let path = path(question);
        ask(
            clients,
            limits,
            || Ok(self.client()),
            |client| client.page(&path),
        )
    }

    fn rows(&self, question: &Question, text: &str) -> Result<Vec<Row>> {
        if question.asked == Asked::Raw {
            return exported(text);
        }
        let answer: Value = serde_json::from_str(text)?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        // Values by device and time, and by the name of what they are.
        let mut found = BTreeMap::<(u32, i64), BTreeMap<String, f64>>::new();
        for series in list(&answer["data"]["result"]) {
            let device = series["metric"]["device"]
                .as_str()
                .map(device_number)
                .transpose()?;
            let name = series["metric"]["__name__"].as_str().unwrap_or_default();
            let single = list(&series["value"]);
            let points = if single.is_empty() {
                list(&series["values"])
            } else {
                vec![Value::Array(single)]
            };
            for point in points {
                let (Some(at), Some(value)) = (point[0].as_f64(), point[1].as_str()) else {
                    anyhow::bail!("{point} is no point");
                };
                #[expect(clippy::cast_possible_truncation, reason = "ms since 1970")]
                let at_ms = (at * 1000.0).round() as i64;
                let time_ms = if question.asked == Asked::Last {
                    0
                } else {
                    at_ms + 1 - question.every_ms()
                };
                let values = found
                    .entry((device.unwrap_or_default(), time_ms))
                    .or_default();
                values.insert(name.to_owned(), value.parse()?);
            }
        }
        let row = |((device, time_ms), values): ((u32, i64), BTreeMap<String, f64>)| {
            let value = |name: &str| values.get(name).copied();
            let (time_ms, values) = match question.asked {
                #[expect(clippy::cast_possible_truncation, reason = "ms since 1970")]
                Asked::Last => (
                    value("t").map_or(0, |at| (at * 1000.0).round() as i64),
                    vec![value("v")],
                ),
                Asked::Summary => (time_ms, vec![value("mean"), value("min"), value("max")]),
                _ => (time_ms, values.values().copied().map(Some).collect()),
            };
            Row {
                device,
                time_ms,
                values: values.into_iter().flatten().collect(),
            }
        };
        Ok(found.into_iter().map(row).collect())
    }

    fn stop(mut self: Box<Self>) -> Result<()> {
        self.process.stop(TIMEOUT).map(|_| ())
    }
}

/// Windows of MetricsQL end where they are evaluated, that instant with them: a bucket is the window
/// that ends 1 ms before the next bucket.
fn path(question: &Question) -> String {
    let series = match &question.devices {
        Devices::All => "m01".to_owned(),
        Devices::Listed(devices) => {
            let names: Vec<String> = devices.iter().map(|device| device_name(*device)).collect();
            format!("m01{{device=~\"{}\"}}", names.join("|"))
        }
    };
    let every = question.every_s;
    let last = format!("[{}ms]", question.to_ms - question.from_ms);
    let (from_ms, to_ms) = (question.from_ms, question.to_ms);
    let query = match question.asked {
        Asked::Last => format!(
            "(alias(last_over_time({series}{last}),\"v\"),alias(tlast_over_time({series}{last}),\"t\"))"
        ),
        Asked::Raw => {
            let (from, to) = (seconds(from_ms), seconds(to_ms - 1));
            return format!(
                "/api/v1/export?match[]={}&start={from}&end={to}",
                encoded(&series)
            );
        }
        Asked::Max => format!("max(max_over_time({series}[{every}s]))"),
        Asked::Means => format!("avg_over_time({series}[{every}s])"),
        Asked::Summary => {
            let each = [("mean", "avg"), ("min", "min"), ("max", "max")];
            let each = each
                .map(|(name, of)| format!("alias({of}_over_time({series}[{every}s]),\"{name}\")"));
            format!("({})", each.join(","))
        }
    };
    let query = encoded(&query);
    if question.asked == Asked::Last {
        return format!(
            "/api/v1/query?query={query}&time={}&nocache=1",
            seconds(to_ms - 1)
        );
    }
    let (from, to) = (
        seconds(from_ms + question.every_ms() - 1),
        seconds(to_ms - 1),
    );
    format!("/api/v1/query_range?query={query}&start={from}&end={to}&step={every}s&nocache=1")
}

/// Readings as /api/v1/export gives them.
fn exported(text: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line)?;
        let device = device_number(line["metric"]["device"].as_str().context("no device")?)?;
        let list = |key: &str| line[key].as_array().cloned().unwrap_or_default();
        for (time, value) in list("timestamps").iter().zip(list("values")) {
            let (Some(time_ms), Some(value)) = (time.as_i64(), value.as_f64()) else {
                anyhow::bail!("{time} {value} is no reading");
            };
            rows.push(Row {
                device,
                time_ms,
                values: vec![value],
            });
        }
    }
    Ok(rows)
}

/// Ms as the API takes them.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}
