//! `cargo xtask bench rejoin`: a follower is lost with its disk and replaced by a new member, while a
//! steady load goes on.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use local_cluster::{LocalCluster, until};

use super::{load, nodes, stage};

/// How long the new member may take to get its vote.
const VOTE_TIMEOUT: Duration = Duration::from_secs(600);
/// Before the follower is lost, and after the new member has its vote, the load goes on for so many
/// readings, as a part of the steady load's.
const AROUND: u64 = 10;

/// Replaces a follower under load.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask bench rejoin --history 10000000 --seconds 30")]
pub(crate) struct RejoinArguments {
    /// How many readings there are before, for the new member to fetch.
    #[arg(long, default_value_t = 100_000_000)]
    history: u64,
    /// Readings a second of the steady load.
    #[arg(long, default_value_t = 200_000)]
    rate: u64,
    /// How long the steady load lasts.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Measures programs of the everyday profile: to try the command.
    #[arg(long)]
    debug: bool,
    /// Folder on the disk to measure.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Runs the measurement and prints it.
pub(crate) fn run(arguments: &RejoinArguments) -> Result<()> {
    println!(
        "command: cargo xtask bench rejoin --history {} --rate {} --seconds {}",
        arguments.history, arguments.rate, arguments.seconds
    );
    let programs = stage::programs(arguments.debug)?;
    let dir = stage::temporary("bench-rejoin-", arguments.dir.as_deref())?;
    // Little log is kept, so that the new member needs segments.
    let settings = [("TIDEMARK_LOG_MAX", "64MiB"), ("TIDEMARK_SEAL_AFTER", "5s")];
    let options = stage::with_settings(3, &settings);
    let mut cluster = LocalCluster::start(&programs, dir.path(), &options)?;
    let shape = [
        "load",
        "--devices",
        "100",
        "--metrics",
        "10",
        "--late",
        "0.25",
    ];
    let fill = arguments.history.to_string();
    load::run(
        &cluster,
        "history",
        &[&shape[..], &["--readings", &fill, "--period", "10s"]].concat(),
    )?;
    cluster.settle(nodes::SETTLE_TIMEOUT)?;
    let (_, bytes) = cluster.equal_segments()?;

    let total = arguments.rate * arguments.seconds;
    let (readings, rate) = (total.to_string(), arguments.rate.to_string());
    let steady = ["--readings", &readings, "--rate", &rate, "--chunk", "20"];
    let later = ["--start", "2027-01-01T00:00:00Z", "--instance", "steady"];
    let steady = load::start(&cluster, "steady", &[&shape[..], &steady, &later].concat())?;
    let goes_on = |cluster: &LocalCluster, more: u64| {
        let leader = cluster.leader()?;
        let from = load::number(&cluster.status(leader)?, "readings")?;
        until("the load going on", VOTE_TIMEOUT, || {
            let readings = load::number(&cluster.status(leader)?, "readings")?;
            Ok((readings >= from + more).then_some(()))
        })
    };
    goes_on(&cluster, total / AROUND)?;

    let leader = cluster.leader()?;
    let lost = cluster
        .nodes()
        .iter()
        .map(|node| node.id)
        .find(|id| *id != leader);
    let lost = lost.context("there is no follower")?;
    cluster.kill(lost)?;
    cluster.wipe(lost)?;
    goes_on(&cluster, total / AROUND)?;
    let mut remove = cluster.client("query-app", "operator", "operator")?;
    let removed = remove
        .args(["cluster", "remove", &lost.to_string()])
        .output()?;
    anyhow::ensure!(
        removed.status.success(),
        "{}",
        String::from_utf8_lossy(&removed.stderr)
    );
    let begun = Instant::now();
    let joined = cluster.join()?;
    until("the new member's vote", VOTE_TIMEOUT, || {
        let status = cluster.status(cluster.leader()?)?;
        let members = status["members"].as_array().context("no members")?;
        let votes = |member: &serde_json::Value| member["id"] == joined && member["voter"] == true;
        Ok(members.iter().any(votes).then_some(()))
    })?;
    let took = begun.elapsed();
    goes_on(&cluster, total / AROUND)
        .context("the load ended before the new member had its vote")?;
    let summary = load::finish(steady)?;
    cluster.settle(nodes::SETTLE_TIMEOUT)?;
    let (files, _) = cluster.equal_segments()?;

    println!(
        "steady load: {} readings at {:.0} a second; acknowledgement p50 {} ms, p99 {} ms",
        summary["acked"],
        summary["readings_per_second"].as_f64().unwrap_or_default(),
        summary["ack_ms"]["p50"],
        summary["ack_ms"]["p99"],
    );
    println!(
        "longest time without an acknowledgement: {:.0} ms (bar: 1000 ms)",
        summary["ack_gap_ms"].as_f64().unwrap_or(f64::NAN)
    );
    println!(
        "node {joined} in place of node {lost}: its vote {:.1} s after its start, {} MiB of segments there before; \
         {files} segments at the end, the same on all nodes",
        took.as_secs_f64(),
        bytes >> 20,
    );
    nodes::print_memory("resident at the end", &cluster)?;
    cluster.stop()
}
