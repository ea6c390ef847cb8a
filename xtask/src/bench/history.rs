//! `cargo xtask bench history`: what a store with history takes and how fast it starts.
//!
//! Three clusters, one after the other: one with readings in order, to compare with; one with late
//! readings and a year of one series, which is measured; one whose log is never sealed, to see how
//! long a start with much log takes.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use local_cluster::{ClusterOptions, LocalCluster, Programs};

use super::{load, nodes, stage};

/// Series of a device of the load.
const METRICS: u64 = 10;
/// Seconds of a year of 365 days.
const YEAR_S: u64 = 31_536_000;

/// Measures a store with history on a cluster of this machine.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask bench history --readings 10000000 --unsealed 1000000")]
pub(crate) struct HistoryArguments {
    /// How many readings to load, ten seconds apart in each series.
    #[arg(long, default_value_t = 100_000_000)]
    readings: u64,
    /// How many series, a multiple of 10.
    #[arg(long, default_value_t = 1000, value_parser = series)]
    series: u64,
    /// Part of the readings that arrives late.
    #[arg(long, default_value_t = 0.25)]
    late: f64,
    /// How many readings, each a chunk of its own, to leave unsealed for the last start; 0 leaves that
    /// out. With 2^25, whatever is set, they are sealed: that bounds the log that a start reads.
    #[arg(long, default_value_t = 33_000_000)]
    unsealed: u64,
    /// Measures programs of the everyday profile: to try the command.
    #[arg(long)]
    debug: bool,
    /// Folder on the disk to measure.
    #[arg(long)]
    dir: Option<PathBuf>,
}

fn series(text: &str) -> Result<u64, String> {
    let series = text
        .parse()
        .ok()
        .filter(|n: &u64| *n > 0 && n.is_multiple_of(METRICS));
    series.ok_or_else(|| format!("write a multiple of {METRICS}"))
}

/// Runs the measurement and prints it.
pub(crate) fn run(arguments: &HistoryArguments) -> Result<()> {
    println!(
        "command: cargo xtask bench history --readings {} --series {} --late {} --unsealed {}",
        arguments.readings, arguments.series, arguments.late, arguments.unsealed
    );
    let programs = stage::programs(arguments.debug)?;
    let dir = stage::temporary("bench-history-", arguments.dir.as_deref())?;
    let in_order = in_order(arguments, &programs, &dir.path().join("in-order"))?;
    history(arguments, &programs, &dir.path().join("history"), in_order)?;
    if arguments.unsealed > 0 {
        unsealed(arguments, &programs, &dir.path().join("unsealed"))?;
    }
    Ok(())
}

/// Millions of readings a second, and bytes a reading in the log, when all are in order.
fn in_order(arguments: &HistoryArguments, programs: &Programs, dir: &Path) -> Result<(f64, f64)> {
    let cluster = LocalCluster::start(programs, dir, &ClusterOptions::default())?;
    let measured = ingest(&cluster, arguments, 0.0)?;
    cluster.stop()?;
    std::fs::remove_dir_all(dir)?;
    Ok((measured.millions, measured.log_bytes))
}

struct Ingest {
    readings: u64,
    millions: f64,
    /// A reading, on one replica.
    log_bytes: f64,
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn ingest(cluster: &LocalCluster, arguments: &HistoryArguments, late: f64) -> Result<Ingest> {
    let devices = (arguments.series / METRICS).to_string();
    let summary = load::run(
        cluster,
        "load",
        &[
            "load",
            "--devices",
            &devices,
            "--metrics",
            &METRICS.to_string(),
            "--readings",
            &arguments.readings.to_string(),
            "--late",
            &late.to_string(),
            "--period",
            "10s",
            "--start",
            "2026-01-01T00:00:00Z",
        ],
    )?;
    let readings = load::number(&summary, "acked")?;
    let nodes = cluster.nodes().len() as f64;
    let bytes = nodes::metric(cluster, "tidemark_log_bytes_total ")? / nodes;
    Ok(Ingest {
        readings,
        millions: load::millions(&summary),
        log_bytes: bytes / readings as f64,
    })
}

/// The main part.
#[expect(clippy::cast_precision_loss, reason = "for display")]
fn history(
    arguments: &HistoryArguments,
    programs: &Programs,
    dir: &Path,
    (millions_in_order, log_bytes_in_order): (f64, f64),
) -> Result<()> {
    let mut cluster = LocalCluster::start(programs, dir, &ClusterOptions::default())?;
    let loaded = ingest(&cluster, arguments, arguments.late)?;
    println!(
        "ingest: {} readings of {} series acknowledged, {} of them late: {:.2} million/s; \
         as many in order: {millions_in_order:.2}",
        loaded.readings, arguments.series, arguments.late, loaded.millions
    );
    nodes::print_memory("resident at the end of the load", &cluster)?;
    let ready = nodes::crash(&mut cluster)?;
    println!(
        "ready after SIGKILL of all nodes: {:.2} s",
        ready.as_secs_f64()
    );

    nodes::seal_everything(&mut cluster)?;
    let (files, bytes) = cluster.equal_segments()?;
    println!(
        "bytes a reading on one replica: log {:.3} (in order {log_bytes_in_order:.3}), sealed and compacted {:.3}; \
         {files} segments, the same on all nodes",
        loaded.log_bytes,
        bytes as f64 / arguments.readings as f64,
    );
    nodes::print_memory("resident after sealing", &cluster)?;

    let year = year(&cluster, arguments.late)?;
    cluster.settle(nodes::SETTLE_TIMEOUT)?;
    let (files, all_bytes) = cluster.equal_segments()?;
    println!(
        "one year at 1 Hz of one series: {year:.2} million/s, sealed and compacted {:.3} bytes a reading; \
         {files} segments in all, the same on all nodes",
        all_bytes.saturating_sub(bytes) as f64 / YEAR_S as f64,
    );

    cluster.set_settings(&[]);
    let ready = nodes::crash(&mut cluster)?;
    println!(
        "ready after SIGKILL with everything sealed: {:.2} s",
        ready.as_secs_f64()
    );
    nodes::print_memory("resident, idle after that start", &cluster)?;
    cluster.stop()?;
    std::fs::remove_dir_all(dir).context("cannot remove what was measured")
}

/// Millions of readings a second, of a year of one series.
fn year(cluster: &LocalCluster, late: f64) -> Result<f64> {
    let summary = load::run(
        cluster,
        "year",
        &[
            "load",
            "--devices",
            "1",
            "--metrics",
            "1",
            "--readings",
            &YEAR_S.to_string(),
            "--late",
            &late.to_string(),
            "--start",
            "2024-01-01T00:00:00Z",
            "--instance",
            "year",
        ],
    )?;
    Ok(load::millions(&summary))
}

/// How long a start takes with as much unsealed log as there can be.
fn unsealed(arguments: &HistoryArguments, programs: &Programs, dir: &Path) -> Result<()> {
    let settings = [
        ("TIDEMARK_SEAL_BYTES", "1GiB"),
        ("TIDEMARK_SEAL_AFTER", "1d"),
    ];
    let options = stage::with_settings(3, &settings);
    let mut cluster = LocalCluster::start(programs, dir, &options)?;
    let readings = arguments.unsealed.to_string();
    let shape = [
        "load",
        "--devices",
        "100",
        "--metrics",
        "10",
        "--chunk",
        "1",
    ];
    let summary = load::run(
        &cluster,
        "unsealed",
        &[&shape[..], &["--readings", &readings]].concat(),
    )?;
    println!(
        "chunks of one reading, to be left unsealed: {:.2} million/s",
        load::millions(&summary)
    );
    let status = cluster.status(1)?;
    let held = load::number(&status, "log_bytes")?;
    let unsealed = load::number(&status, "unsealed_bytes")?;
    nodes::print_memory("resident with all of them unsealed", &cluster)?;
    cluster.kill(3)?;
    let begun = Instant::now();
    cluster.restart(3)?;
    let alone = begun.elapsed();
    let ready = nodes::crash(&mut cluster)?;
    println!(
        "ready after SIGKILL with {} MiB of log, {} MiB of it unsealed: {:.2} s for all nodes, which \
         share the processors, {:.2} s for one (bar: 5 s)",
        held >> 20,
        unsealed >> 20,
        ready.as_secs_f64(),
        alone.as_secs_f64(),
    );
    nodes::print_memory("resident then", &cluster)?;
    nodes::kill_all(&mut cluster)?;
    std::fs::remove_dir_all(dir).context("cannot remove what was measured")
}
