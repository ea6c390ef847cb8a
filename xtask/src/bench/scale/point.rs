//! One cluster, loaded, asked and started again.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use local_cluster::{LocalCluster, Process, Programs};

use crate::bench::compare::peer::{Limits, ask};
use crate::bench::compare::usage::Usage;
use crate::bench::query::service::Service;
use crate::bench::{load, ms, nodes, stage};

/// The first reading: 2026-01-01, in s since 1970.
const START_S: u64 = 1_767_225_600;
/// Metrics of each device.
const METRICS: u64 = 10;
/// Most connections of one `sensor-sim load`.
const CONNECTIONS_MAX: u64 = 64;
/// No question is asked any more after this.
const LONGEST: Duration = Duration::from_secs(20);

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) nodes: u64,
    pub(crate) series: u64,
    /// Of all series together, a second apart in each.
    pub(crate) readings: u64,
    /// Connections that share the readings.
    pub(crate) producers: u64,
    /// How often each question is asked.
    pub(crate) questions: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) million_readings_per_second: f64,
    pub(crate) last_ms: f64,
    pub(crate) buckets_ms: f64,
    /// Most memory of all nodes at once, of which this is one node's part.
    pub(crate) node_mib: f64,
    pub(crate) start_s: f64,
}

/// Measures one point with a cluster below `dir`.
pub(crate) fn measure(programs: &Programs, dir: &Path, setup: Setup) -> Result<Point> {
    let usage = Usage::watch();
    let mut cluster = LocalCluster::start(programs, dir, &stage::with_settings(setup.nodes, &[]))?;
    let million_readings_per_second = fill(&cluster, setup)?;
    nodes::seal_everything(&mut cluster)?;
    cluster.set_settings(&[]);
    let start_s = nodes::crash(&mut cluster)?.as_secs_f64();
    cluster.leader()?;
    let service = Service::start(&cluster)?;
    let span_s = (setup.readings / setup.series).max(1);
    let every_s = span_s.div_ceil(1_000);
    let to_s = START_S + span_s;
    let last = "/api/v1/last?match=load/d0001/m01".to_owned();
    let buckets = format!(
        "/api/v1/range?match=load/d0001/m01&from={START_S}&to={to_s}&every={every_s}s&agg=mean,min,max"
    );
    let limits = Limits {
        times: setup.questions,
        longest: LONGEST,
    };
    let median = |path: &str| -> Result<f64> {
        let answers = ask(1, limits, || Ok(service.http()), |client| client.page(path))?;
        Ok(ms(answers.median().context("nothing was asked")?))
    };
    let (last_ms, buckets_ms) = (median(&last)?, median(&buckets)?);
    let taken = usage.take();
    let kib = taken
        .peak_kib_by_name
        .get("store-node")
        .copied()
        .unwrap_or_default();
    drop(service);
    cluster.stop()?;
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let node_mib = kib as f64 / 1024.0 / setup.nodes as f64;
    Ok(Point {
        million_readings_per_second,
        last_ms,
        buckets_ms,
        node_mib,
        start_s,
    })
}

/// Loads everything, by as many programs as the connections need, and gives millions of readings a
/// second.
fn fill(cluster: &LocalCluster, setup: Setup) -> Result<f64> {
    let programs = setup.producers.div_ceil(CONNECTIONS_MAX);
    let devices = setup.series / METRICS;
    let running = (0..programs).map(|program| {
        // Programs share the series: each has a stretch of time of its own.
        let share = |all: u64| all * (program + 1) / programs - all * program / programs;
        let each_s = setup.readings.div_ceil(programs) / setup.series + 1;
        let start_s = (START_S + program * each_s).to_string();
        let numbers = [
            devices,
            METRICS,
            share(setup.readings),
            share(setup.producers),
        ];
        let [devices, metrics, readings, connections] = numbers.map(|number| number.to_string());
        let name = format!("load-{program}");
        let series = [
            "load",
            "--devices",
            &devices,
            "--metrics",
            &metrics,
            "--readings",
            &readings,
        ];
        let how = [
            "--connections",
            &connections,
            "--start",
            &start_s,
            "--period",
            "1s",
            // Ten thousand connections at once take longer than a load waits by itself.
            "--patience",
            "10m",
        ];
        load::start(cluster, &name, &[&series[..], &how].concat())
    });
    let running: Vec<Process> = running.collect::<Result<_>>()?;
    let mut longest_s = f64::MIN_POSITIVE;
    for process in running {
        let summary = load::finish(process)?;
        longest_s = longest_s.max(
            summary["seconds"]
                .as_f64()
                .context("no seconds in the summary")?,
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let readings = setup.readings as f64;
    Ok(readings / 1e6 / longest_s)
}
