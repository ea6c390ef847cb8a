//! `cargo xtask bench overload`: a cluster that is offered several times what it can take.
//!
//! Everything is compared with what the same cluster did a minute before: its capacity with as many
//! connections as keep it busy, and a small producer's acknowledgements while nobody else sends.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use local_cluster::{
    ClusterOptions, LocalCluster, Process, Profile, Programs, Signal, workspace_root,
};
use serde_json::Value;

use super::load::{self, finish, millions, number};
use super::nodes::print_memory;

/// Connections that keep a cluster busy.
const CAPACITY_CONNECTIONS: u32 = 4;

/// Measures overload on a cluster of this machine.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask bench overload --greedy 2 --connections 32")]
pub(crate) struct OverloadArguments {
    /// Greedy producers.
    #[arg(long, default_value_t = 2)]
    greedy: u32,
    /// Connections of each greedy producer, all of which send as fast as they can.
    #[arg(long, default_value_t = 32)]
    connections: u32,
    /// Readings that measure the capacity; the greedy ones send as many together.
    #[arg(long, default_value_t = 20_000_000)]
    readings: u64,
    /// How long the small producer is measured alone, in seconds.
    #[arg(long, default_value_t = 10)]
    alone_seconds: u64,
    /// How many store nodes.
    #[arg(long, default_value_t = 3)]
    nodes: u64,
    /// Bytes on their way to the log at a time, as for `store-node run`.
    #[arg(long)]
    in_flight_max: Option<String>,
    /// Measures debug builds: to try the measurement out.
    #[arg(long)]
    debug: bool,
    /// Folder on the disk to measure.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Runs the measurement and prints it.
pub(crate) fn run(arguments: &OverloadArguments) -> Result<()> {
    let profile = if arguments.debug {
        Profile::Debug
    } else {
        Profile::Release
    };
    let programs = Programs::build(&["store-node", "sensor-sim"], profile)?;
    let base = arguments
        .dir
        .clone()
        .unwrap_or_else(|| workspace_root().join("target"));
    let dir = tempfile::Builder::new()
        .prefix("bench-overload-")
        .tempdir_in(&base)
        .with_context(|| format!("cannot make a folder in {}", base.display()))?;
    let bytes = arguments.in_flight_max.iter();
    let options = ClusterOptions {
        nodes: arguments.nodes,
        settings: bytes
            .map(|bytes| ("TIDEMARK_IN_FLIGHT_MAX".to_owned(), bytes.clone()))
            .collect(),
        ..ClusterOptions::default()
    };
    let bench = Measurement {
        cluster: LocalCluster::start(&programs, dir.path(), &options)?,
    };
    println!("{arguments:?}");
    print_memory("idle", &bench.cluster)?;
    let capacity = bench.capacity(arguments)?;
    let alone = bench.alone(arguments.alone_seconds)?;
    bench.overloaded(arguments, capacity, &alone)?;
    if arguments.nodes > 2 {
        bench.beside_a_stopped_follower(arguments)?;
    }
    bench.cluster.stop()
}

struct Measurement {
    cluster: LocalCluster,
}

impl Measurement {
    /// Millions of readings a second that the cluster acknowledges when kept busy.
    fn capacity(&self, arguments: &OverloadArguments) -> Result<f64> {
        let load = self.load("capacity", arguments.readings, CAPACITY_CONNECTIONS)?;
        let summary = finish(load)?;
        println!(
            "capacity, {CAPACITY_CONNECTIONS} connections: {:.2} million readings/s; {}",
            millions(&summary),
            latencies(&summary),
        );
        print_memory("at capacity", &self.cluster)?;
        Ok(millions(&summary))
    }

    /// A small producer's latencies while nobody else sends.
    fn alone(&self, seconds: u64) -> Result<Value> {
        let duration = format!("{seconds}s");
        let small = self.small("small-alone", &["--duration", &duration])?;
        let summary = finish(small)?;
        println!("small producer alone: {}", latencies(&summary));
        Ok(summary)
    }

    /// Everything at once.
    fn overloaded(
        &self,
        arguments: &OverloadArguments,
        capacity: f64,
        alone: &Value,
    ) -> Result<()> {
        let each = arguments.readings / u64::from(arguments.greedy.max(1));
        let small = self.small("small-beside", &[])?;
        let begun = Instant::now();
        let greedy = (1..=arguments.greedy)
            .map(|number| self.load(&format!("greedy-{number}"), each, arguments.connections));
        let greedy: Vec<Process> = greedy.collect::<Result<_>>()?;
        let summaries: Vec<Value> = greedy.into_iter().map(finish).collect::<Result<_>>()?;
        let seconds = begun.elapsed().as_secs_f64();
        small.signal(Signal::TERM)?;
        let small = finish(small)?;
        let acked: u64 = summaries
            .iter()
            .map(|summary| number(summary, "acked"))
            .sum::<Result<u64>>()?;
        #[expect(clippy::cast_precision_loss, reason = "for display")]
        let goodput = acked as f64 / seconds / 1e6;
        println!(
            "{} greedy producers with {} connections each: {goodput:.2} million readings/s; goodput / capacity {:.2}",
            arguments.greedy,
            arguments.connections,
            goodput / capacity,
        );
        for summary in &summaries {
            let reconnects = number(summary, "reconnects")?;
            println!(
                "a greedy producer: {}; sent back {reconnects} times",
                latencies(summary)
            );
        }
        println!("small producer beside them: {}", latencies(&small));
        for quantile in ["p50", "p99"] {
            let of = |summary: &Value| summary["ack_ms"][quantile].as_f64().unwrap_or_default();
            let ratio = of(&small) / of(alone).max(0.001);
            println!("small producer's {quantile}, beside them / alone: {ratio:.1}");
        }
        print_memory("overloaded", &self.cluster)
    }

    /// The leader's memory while a follower has stopped and reads nothing.
    fn beside_a_stopped_follower(&self, arguments: &OverloadArguments) -> Result<()> {
        let leader = self.cluster.leader()?;
        let mut followers = self.cluster.nodes().iter().map(|node| node.id);
        let stopped = followers.rfind(|id| *id != leader);
        let stopped = stopped.context("there is no follower")?;
        self.cluster.signal(stopped, Signal::STOP)?;
        let loaded = self
            .load("beside-stopped", arguments.readings, CAPACITY_CONNECTIONS)
            .and_then(finish);
        self.cluster.signal(stopped, Signal::CONT)?;
        println!(
            "with node {stopped} stopped and node {leader} leading: {:.2} million readings/s",
            millions(&loaded?)
        );
        print_memory("beside a stopped follower", &self.cluster)
    }

    fn load(&self, name: &str, readings: u64, connections: u32) -> Result<Process> {
        let (readings, connections) = (readings.to_string(), connections.to_string());
        let arguments = [
            "load",
            "--devices",
            "100",
            "--metrics",
            "10",
            "--readings",
            &readings,
            "--connections",
            &connections,
        ];
        load::start(&self.cluster, name, &arguments)
    }

    fn small(&self, name: &str, more: &[&str]) -> Result<Process> {
        let mut arguments = vec![
            "--source",
            "plant",
            "--devices",
            "5",
            "--rate",
            "20",
            "--prefix",
            name,
            "--linger",
            "10ms",
        ];
        arguments.extend(more);
        load::start(&self.cluster, name, &arguments)
    }
}

fn latencies(summary: &Value) -> String {
    let ack = &summary["ack_ms"];
    format!(
        "{} readings acknowledged, ack p50 {} ms, p99 {} ms, most {} ms",
        summary["acked"], ack["p50"], ack["p99"], ack["max"]
    )
}
