//! Tidemark: three nodes, asked through `query-app serve`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use local_cluster::{ClusterOptions, LocalCluster, Programs};
use sensor_model::Timestamp;

use super::forms::{device_name, device_number};
use super::peer::{Answers, Facts, LOADERS, Limits, Peer, ask, bytes_below};
use super::question::{Asked, Devices, Question, Row};
use super::workload::{START, Total, Workload};
use crate::bench::query::service::Service;
use crate::bench::{load, nodes};

/// A running cluster.
pub(crate) struct Tidemark {
    cluster: LocalCluster,
    service: Option<Service>,
}

impl Tidemark {
    pub(crate) fn start(programs: &Programs, dir: &Path) -> Result<Self> {
        let cluster =
            LocalCluster::start(programs, &dir.join("tidemark"), &ClusterOptions::default())?;
        Ok(Self {
            cluster,
            service: None,
        })
    }

    /// The service that is asked, which is started when it is first asked.
    fn service(&mut self) -> Result<&Service> {
        if self.service.is_none() {
            self.service = Some(Service::start(&self.cluster)?);
        }
        self.service.as_ref().context("it was started just now")
    }
}

impl Peer for Tidemark {
    fn facts(&self) -> Facts {
        let commit = std::process::Command::new("git")
            .args(["rev-parse", "--short", "HEAD"])
            .output();
        let commit = commit.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
        Facts {
            name: "Tidemark",
            version: format!(
                "{} at {}",
                env!("CARGO_PKG_VERSION"),
                commit.unwrap_or_default()
            ),
            settings: "three nodes and mutual TLS, all settings as they come; two connections of `sensor-sim load`, which makes and encodes the readings meanwhile (the other systems find theirs written out); questions over HTTP through `query-app serve`, answered as CSV, a hundred series named by a pattern. Its memory and CPU are those of three replicas",
            acknowledgement: "synced on a majority of three replicas, and visible",
        }
    }

    fn prepare(&mut self, _workload: &Workload, _files: &Path) -> Result<()> {
        Ok(())
    }

    fn load(&mut self, workload: &Workload) -> Result<Duration> {
        let shape = &workload.shape;
        let numbers = [
            shape.devices.to_string(),
            shape.metrics.to_string(),
            shape.readings.to_string(),
            shape.chunk.to_string(),
            shape.seed.to_string(),
            LOADERS.to_string(),
            format!("{}ms", workload.period_ms),
        ];
        let [devices, metrics, readings, chunk, seed, connections, period] = &numbers;
        let series = [
            "load",
            "--devices",
            devices,
            "--metrics",
            metrics,
            "--readings",
            readings,
            "--chunk",
            chunk,
        ];
        let how = [
            "--seed",
            seed,
            "--connections",
            connections,
            "--period",
            period,
            "--start",
            START,
        ];
        let summary = load::run(&self.cluster, "load", &[&series[..], &how].concat())?;
        ensure!(
            load::number(&summary, "acked")? == shape.readings,
            "not everything was acknowledged: {summary}"
        );
        let seconds = summary["seconds"]
            .as_f64()
            .context("no seconds in the summary")?;
        Ok(Duration::try_from_secs_f64(seconds)?)
    }

    fn settle(&mut self) -> Result<u64> {
        nodes::seal_everything(&mut self.cluster)?;
        self.cluster.set_settings(&[]);
        let (_, sealed) = self.cluster.equal_segments()?;
        let first = self.cluster.nodes().first().context("there are nodes")?;
        let folder = bytes_below(&first.data)?;
        println!(
            "  of one replica's folder, {} MiB, {} MiB are segments: the rest is log",
            folder >> 20,
            sealed >> 20
        );
        Ok(sealed)
    }

    fn total(&mut self, workload: &Workload) -> Result<Total> {
        let to = workload.end_ms();
        let path = format!(
            "/api/v1/range?match=load/**&from={START}&to={to}&every=1d&agg=count,sum&by=all&format=csv"
        );
        let text = self.service()?.http().page(&path)?;
        let (mut count, mut sum) = (0, 0.0);
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let [_, counted, summed] = fields[..] else {
                bail!("{line:?} is no total of a day");
            };
            count += counted.parse::<u64>()?;
            sum += summed.parse::<f64>()?;
        }
        Ok(Total { count, sum })
    }

    fn ask(&mut self, question: &Question, clients: usize, limits: Limits) -> Result<Answers> {
        let (service, path) = (self.service()?, path(question));
        ask(
            clients,
            limits,
            || Ok(service.http()),
            |client| client.page(&path),
        )
    }

    fn rows(&self, question: &Question, text: &str) -> Result<Vec<Row>> {
        let row = |line: &str| -> Result<Row> {
            let mut fields = line.split(',');
            let mut field = || fields.next().context("too few fields");
            let device = match question.asked {
                Asked::Max => 0,
                _ => device_number(field()?.split('/').nth(1).context("no device")?)?,
            };
            let time = Timestamp::parse(field()?, Timestamp::from_nanos(0))?;
            let values = fields.filter(|value| !value.is_empty());
            Ok(Row {
                device,
                time_ms: time.as_nanos() / 1_000_000,
                values: values.map(str::parse).collect::<Result<_, _>>()?,
            })
        };
        let lines = text.lines().skip(1);
        lines
            .map(|line| row(line).with_context(|| format!("{line:?} is no row")))
            .collect()
    }

    fn stop(self: Box<Self>) -> Result<()> {
        drop(self.service);
        self.cluster.stop()
    }
}

fn path(question: &Question) -> String {
    let series = match &question.devices {
        Devices::All => "match=load/*/m01".to_owned(),
        Devices::Listed(devices) => {
            let names = ending(devices).map_or_else(
                || devices.iter().map(|device| device_name(*device)).collect(),
                |pattern| vec![pattern],
            );
            let each = names.iter().map(|name| format!("match=load/{name}/m01"));
            each.collect::<Vec<_>>().join("&")
        }
    };
    let (from, to, every) = (question.from_ms, question.to_ms, question.every_s);
    let buckets = match question.asked {
        Asked::Last => return format!("/api/v1/last?{series}&format=csv"),
        Asked::Raw => String::new(),
        Asked::Max => format!("&every={every}s&agg=max&by=all"),
        Asked::Summary => format!("&every={every}s&agg=mean,min,max"),
        Asked::Means => format!("&every={every}s&agg=mean"),
    };
    format!("/api/v1/range?{series}&from={from}&to={to}{buckets}&format=csv")
}

/// A pattern for a hundred devices, which are all whose numbers end with the digits that the first ends
/// with: a question takes at most 64 patterns.
fn ending(devices: &[u32]) -> Option<String> {
    let [first, second, ..] = devices else {
        return None;
    };
    let digits = (second - first)
        .checked_ilog10()
        .filter(|_| devices.len() == 100)?;
    let digits = usize::try_from(digits).ok()?;
    Some(format!("d*{first:0digits$}"))
}
