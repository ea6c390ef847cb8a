//! `cargo xtask bench ingest`: how fast three replicas acknowledge readings, and how soon.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use local_cluster::{ClusterOptions, LocalCluster, Process, Profile, Programs, workspace_root};
use serde_json::Value;

use crate::bench::{disk, ms};

/// The light load is one batch each so often.
const LIGHT_PAUSE: Duration = Duration::from_millis(50);
/// The longest a load may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// Measures ingest on a cluster of this machine.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask bench ingest --readings 20000000")]
pub(crate) struct IngestArguments {
    /// How many readings to load in chunks of 1,000.
    #[arg(long, default_value_t = 20_000_000)]
    readings: u64,
    /// How many readings to load in chunks of one.
    #[arg(long, default_value_t = 3_000_000)]
    small_readings: u64,
    /// How long the light load lasts, in seconds.
    #[arg(long, default_value_t = 10)]
    light_seconds: u64,
    /// How many store nodes.
    #[arg(long, default_value_t = 3)]
    nodes: u64,
    /// Connections of the load.
    #[arg(long, default_value_t = 1)]
    connections: u32,
    /// Folder on the disk to measure.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Runs the measurement and prints it.
pub(crate) fn run(arguments: &IngestArguments) -> Result<()> {
    let programs = Programs::build(&["store-node", "sensor-sim"], Profile::Release)?;
    let base = arguments
        .dir
        .clone()
        .unwrap_or_else(|| workspace_root().join("target"));
    let dir = tempfile::Builder::new()
        .prefix("bench-ingest-")
        .tempdir_in(&base)
        .with_context(|| format!("cannot make a folder in {}", base.display()))?;
    println!(
        "command: cargo xtask bench ingest --readings {} --small-readings {} --nodes {} --connections {}",
        arguments.readings, arguments.small_readings, arguments.nodes, arguments.connections
    );
    print_sync("one after the other", dir.path(), Duration::ZERO)?;

    let options = ClusterOptions {
        nodes: arguments.nodes,
        ..ClusterOptions::default()
    };
    let cluster = LocalCluster::start(&programs, dir.path(), &options)?;
    let bench = Measurement {
        cluster,
        connections: arguments.connections,
    };
    bench.load("chunks of 1,000 readings", arguments.readings, 1000)?;
    bench.load("chunks of one reading", arguments.small_readings, 1)?;

    let light = bench.light(arguments.light_seconds)?;
    let sync = print_sync("at the light load's pace", dir.path(), LIGHT_PAUSE)?;
    println!(
        "acknowledgement p50 at light load / fdatasync p50 at its pace: {:.2}",
        light / ms(sync.p50)
    );
    bench.cluster.stop()
}

/// Measures and prints what an fdatasync takes with `pause` before it.
fn print_sync(name: &str, dir: &Path, pause: Duration) -> Result<disk::Latency> {
    let sync = disk::fdatasync(dir, pause)?;
    println!(
        "fdatasync of this disk (4 KiB append), {name}: p50 {:.3} ms, p99 {:.3} ms",
        ms(sync.p50),
        ms(sync.p99)
    );
    Ok(sync)
}

struct Measurement {
    cluster: LocalCluster,
    connections: u32,
}

impl Measurement {
    /// Loads `readings` in chunks of `chunk` and prints how that went.
    fn load(&self, name: &str, readings: u64, chunk: u32) -> Result<()> {
        let leader = self.cluster.leader()?;
        let before = self.log_bytes(leader)?;
        let mut command = self
            .cluster
            .client("sensor-sim", "device", &format!("load-{chunk}"))?;
        // A gateway of 1,000 series: 100 devices with 10 metrics each.
        command
            .args(["load", "--devices", "100", "--metrics", "10"])
            .args([
                "--readings",
                &readings.to_string(),
                "--chunk",
                &chunk.to_string(),
            ])
            .args(["--connections", &self.connections.to_string(), "--json"]);
        let summary = self.summary(name, command)?;
        let acked = number(&summary, "acked")?;
        if acked < readings {
            bail!("{name}: only {acked} of {readings} readings were acknowledged");
        }
        let written = self.log_bytes(leader)?.saturating_sub(before);
        #[expect(clippy::cast_precision_loss, reason = "for display")]
        let bytes_per_reading = written as f64 / readings as f64;
        println!(
            "{name}: {acked} readings acknowledged, {:.2} million/s; ack p50 {} ms, p99 {} ms; {bytes_per_reading:.2} bytes a reading in the log",
            summary["readings_per_second"].as_f64().unwrap_or_default() / 1e6,
            summary["ack_ms"]["p50"],
            summary["ack_ms"]["p99"],
        );
        Ok(())
    }

    /// Sends a batch each [`LIGHT_PAUSE`] for `seconds`; prints and gives the acknowledgement's p50 in ms.
    fn light(&self, seconds: u64) -> Result<f64> {
        let mut command = self.cluster.client("sensor-sim", "device", "light")?;
        command
            .args([
                "--source",
                "plant",
                "--devices",
                "5",
                "--rate",
                &(1.0 / LIGHT_PAUSE.as_secs_f64()).to_string(),
                "--linger",
                "10ms",
            ])
            .args(["--duration", &format!("{seconds}s"), "--json"]);
        let summary = self.summary("light load", command)?;
        let ack = &summary["ack_ms"];
        println!(
            "light load: ack p50 {} ms, p99 {} ms",
            ack["p50"], ack["p99"]
        );
        ack["p50"].as_f64().context("no p50 in the summary")
    }

    fn summary(&self, name: &str, command: Command) -> Result<Value> {
        let log = self.cluster.dir().join("load.log");
        let mut process = Process::start(name, command, &log)?;
        let (status, lines) = process.wait(LOAD_TIMEOUT)?;
        if !status.success() {
            bail!("{name} ended with {status}\n{}", process.log_tail());
        }
        let line = lines
            .last()
            .with_context(|| format!("{name} printed no summary"))?;
        serde_json::from_str(line).with_context(|| format!("{name} printed {line:?}"))
    }

    fn log_bytes(&self, node: u64) -> Result<u64> {
        number(&self.cluster.status(node)?, "disk_bytes")
    }
}

fn number(document: &Value, key: &str) -> Result<u64> {
    document[key]
        .as_u64()
        .with_context(|| format!("no {key} in {document}"))
}
