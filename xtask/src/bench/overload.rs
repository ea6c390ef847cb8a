//! `cargo xtask bench overload`: a cluster that is offered several times what it can take.
//!
//! Everything is compared with what the same cluster did a minute before: its capacity with as many
//! connections as keep it busy, and a small producer's acknowledgements while nobody else sends.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use local_cluster::{
    ClusterOptions, LocalCluster, Process, Profile, Programs, Signal, workspace_root,
};
use serde_json::Value;

/// The longest one step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(900);
/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
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
    println!(
        "command: cargo xtask bench overload --greedy {} --connections {} --readings {} --nodes {}{}",
        arguments.greedy,
        arguments.connections,
        arguments.readings,
        arguments.nodes,
        if arguments.debug { " --debug" } else { "" },
    );
    let options = ClusterOptions {
        nodes: arguments.nodes,
        ..ClusterOptions::default()
    };
    let bench = Measurement {
        cluster: LocalCluster::start(&programs, dir.path(), &options)?,
    };
    bench.print_memory("idle", &bench.memory()?);
    let capacity = bench.capacity(arguments)?;
    let alone = bench.alone(arguments.alone_seconds)?;
    bench.overloaded(arguments, capacity, &alone)?;
    if arguments.nodes > 2 {
        bench.beside_a_stuck_follower(arguments)?;
    }
    bench.cluster.stop()
}

struct Measurement {
    cluster: LocalCluster,
}

/// Resident memory of each node in bytes, by id.
type Memory = Vec<(u64, u64)>;

impl Measurement {
    /// Readings a second that the cluster acknowledges when kept busy.
    fn capacity(&self, arguments: &OverloadArguments) -> Result<f64> {
        let mut load = self.load("capacity", arguments.readings, CAPACITY_CONNECTIONS)?;
        let (summaries, peak) = self.watch(std::slice::from_mut(&mut load))?;
        let rate = number(&summaries[0], "readings_per_second")?;
        println!(
            "capacity, {CAPACITY_CONNECTIONS} connections: {:.2} million readings/s; ack p50 {} ms",
            rate / 1e6,
            summaries[0]["ack_ms"]["p50"],
        );
        self.print_memory("at capacity, most", &peak);
        Ok(rate)
    }

    /// A small producer's latencies while nobody else sends.
    fn alone(&self, seconds: u64) -> Result<Value> {
        let mut small = self.small("small-alone", Some(seconds))?;
        let (mut summaries, _) = self.watch(std::slice::from_mut(&mut small))?;
        let summary = summaries.remove(0);
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
        let begun = Instant::now();
        let mut small = self.small("small-beside", None)?;
        let mut greedy = Vec::new();
        for number in 1..=arguments.greedy {
            greedy.push(self.load(&format!("greedy-{number}"), each, arguments.connections)?);
        }
        let (summaries, peak) = self.watch(&mut greedy)?;
        let seconds = begun.elapsed().as_secs_f64();
        small.signal(Signal::TERM)?;
        let small = summary_of(&mut small)?;
        let mut acked = number(&small, "acked")?;
        let mut reconnects = 0.0;
        for summary in &summaries {
            acked += number(summary, "acked")?;
            reconnects += number(summary, "reconnects")?;
        }
        let goodput = acked / seconds;
        println!(
            "{} greedy producers with {} connections each, and a small one: {:.2} million readings/s; goodput / capacity {:.2}",
            arguments.greedy,
            arguments.connections,
            goodput / 1e6,
            goodput / capacity,
        );
        for summary in &summaries {
            println!("a greedy producer: {}", latencies(summary));
        }
        println!("told to come back later: {reconnects} times");
        println!("small producer beside them: {}", latencies(&small));
        let ratio = |key: &str| -> Result<f64> {
            Ok(number(&small["ack_ms"], key)? / number(&alone["ack_ms"], key)?.max(0.001))
        };
        println!(
            "small producer, beside / alone: p50 {:.1}, p99 {:.1}",
            ratio("p50")?,
            ratio("p99")?
        );
        self.print_memory("overloaded, most", &peak);
        Ok(())
    }

    /// The leader's memory while a follower has stopped and does not read.
    fn beside_a_stuck_follower(&self, arguments: &OverloadArguments) -> Result<()> {
        let leader = self.cluster.leader()?;
        let stuck = self.cluster.nodes().iter().map(|node| node.id);
        let stuck = stuck
            .filter(|id| *id != leader)
            .last()
            .context("there is no follower")?;
        self.cluster.signal(stuck, Signal::STOP)?;
        let mut load = self.load("beside-stuck", arguments.readings, CAPACITY_CONNECTIONS)?;
        let watched = self.watch(std::slice::from_mut(&mut load));
        self.cluster.signal(stuck, Signal::CONT)?;
        let (summaries, peak) = watched?;
        println!(
            "with node {stuck} stopped and leader {leader}: {:.2} million readings/s",
            number(&summaries[0], "readings_per_second")? / 1e6
        );
        self.print_memory("beside a stopped follower, most", &peak);
        Ok(())
    }

    fn load(&self, name: &str, readings: u64, connections: u32) -> Result<Process> {
        let mut command = self.cluster.client("sensor-sim", "device", name)?;
        command
            .args(["load", "--devices", "100", "--metrics", "10"])
            .args(["--readings", &readings.to_string()])
            .args(["--connections", &connections.to_string(), "--json"]);
        self.start(name, command)
    }

    fn small(&self, name: &str, seconds: Option<u64>) -> Result<Process> {
        let mut command = self.cluster.client("sensor-sim", "device", name)?;
        command
            .args(["--source", "plant", "--devices", "5", "--rate", "20"])
            .args(["--prefix", name, "--linger", "10ms", "--json"]);
        if let Some(seconds) = seconds {
            command.args(["--duration", &format!("{seconds}s")]);
        }
        self.start(name, command)
    }

    fn start(&self, name: &str, command: Command) -> Result<Process> {
        let log = self.cluster.dir().join(format!("{name}.log"));
        Process::start(name, command, &log)
    }

    /// Waits for all of these, and gives what they say and the most memory that each node had.
    fn watch(&self, processes: &mut [Process]) -> Result<(Vec<Value>, Memory)> {
        let mut peak = self.memory()?;
        let begun = Instant::now();
        loop {
            let mut is_over = true;
            for process in processes.iter_mut() {
                is_over &= process.exited()?.is_some();
            }
            for ((_, most), (_, now)) in peak.iter_mut().zip(self.memory()?) {
                *most = (*most).max(now);
            }
            if is_over {
                break;
            }
            if begun.elapsed() > STEP_TIMEOUT {
                bail!("it takes longer than {STEP_TIMEOUT:?}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let summaries = processes.iter_mut().map(summary_of);
        Ok((summaries.collect::<Result<_>>()?, peak))
    }

    fn memory(&self) -> Result<Memory> {
        let nodes = self.cluster.nodes().iter();
        let running = nodes.filter_map(|node| Some((node.id, node.pid()?)));
        running
            .map(|(id, pid)| Ok((id, resident_bytes(pid)?)))
            .collect()
    }

    fn print_memory(&self, when: &str, memory: &Memory) {
        let leader = self.cluster.leader().ok();
        let each = memory.iter().map(|(id, bytes)| {
            let role = if leader == Some(*id) { " (leader)" } else { "" };
            format!("node {id}{role} {} MiB", bytes >> 20)
        });
        println!("memory {when}: {}", each.collect::<Vec<_>>().join(", "));
    }
}

fn summary_of(process: &mut Process) -> Result<Value> {
    let name = process.name().to_owned();
    let (status, lines) = process.wait(STEP_TIMEOUT)?;
    if !status.success() {
        bail!("{name} ended with {status}\n{}", process.log_tail());
    }
    let line = lines
        .last()
        .with_context(|| format!("{name} printed no summary"))?;
    serde_json::from_str(line).with_context(|| format!("{name} printed {line:?}"))
}

fn resident_bytes(pid: u32) -> Result<u64> {
    let file = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
    let kib: u64 = kib.with_context(|| format!("{file} says nothing of VmRSS"))?;
    Ok(kib << 10)
}

fn latencies(summary: &Value) -> String {
    let ack = &summary["ack_ms"];
    format!(
        "{} readings acknowledged, ack p50 {} ms, p99 {} ms, most {} ms",
        summary["acked"], ack["p50"], ack["p99"], ack["max"]
    )
}

fn number(document: &Value, key: &str) -> Result<f64> {
    document[key]
        .as_f64()
        .with_context(|| format!("no {key} in {document}"))
}
