//! `cargo xtask bench failover`: how long no reading is taken when leadership changes.
//!
//! An agent writes a reading every 5 ms. Meanwhile every node is asked how many readings it has
//! applied, as often as it answers. The gap is the longest time in which that number grew nowhere: what
//! the agent needs to find the new leader is part of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use local_cluster::{
    ClusterOptions, LocalCluster, Process, Profile, Programs, Signal, json, until, workspace_root,
};

/// How often the agent writes.
const WRITE_EVERY: Duration = Duration::from_millis(5);
/// How long it writes undisturbed before each change.
const STEADY: Duration = Duration::from_secs(2);
/// How long to look for the end of a gap.
const RECOVERY_MAX: Duration = Duration::from_secs(20);
/// How often each node is asked: what a gap is known to.
const POLL_EVERY: Duration = Duration::from_millis(2);
/// A node that is down is asked again after this.
const DOWN_PAUSE: Duration = Duration::from_millis(20);
/// How long the command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);

/// Measures gaps in writing on a cluster of this machine.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask bench failover --rounds 10")]
pub(crate) struct FailoverArguments {
    /// How often leadership changes in each way.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// How many store nodes.
    #[arg(long, default_value_t = 3)]
    nodes: u64,
    /// Folder on the disk to measure.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Build without optimisation, to try the measurement out.
    #[arg(long)]
    debug: bool,
}

/// How leadership changes.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// Not at all: what the measurement itself shows.
    Nothing,
    /// `query-app cluster transfer-leader`.
    Transfer,
    /// The leader gets SIGTERM.
    Stop,
    /// The leader gets SIGKILL.
    Kill,
}

/// Runs the measurement and prints it.
pub(crate) fn run(arguments: &FailoverArguments) -> Result<()> {
    let profile = match arguments.debug {
        true => Profile::Debug,
        false => Profile::Release,
    };
    let programs = Programs::build(&["store-node", "sensor-sim", "query-app"], profile)?;
    let base = arguments
        .dir
        .clone()
        .unwrap_or_else(|| workspace_root().join("target"));
    let dir = tempfile::Builder::new()
        .prefix("bench-failover-")
        .tempdir_in(&base)
        .with_context(|| format!("cannot make a folder in {}", base.display()))?;
    println!(
        "command: cargo xtask bench failover --rounds {} --nodes {}",
        arguments.rounds, arguments.nodes
    );
    let options = ClusterOptions {
        nodes: arguments.nodes,
        ..ClusterOptions::default()
    };
    let cluster = LocalCluster::start(&programs, dir.path(), &options)?;
    let agent = write_steadily(&cluster)?;
    let mut bench = Measurement {
        watch: Watch::begin(&cluster),
        cluster,
    };
    let changes = [
        Change::Nothing,
        Change::Transfer,
        Change::Stop,
        Change::Kill,
    ];
    for change in changes {
        let gaps = (0..arguments.rounds).map(|_| bench.gap(change));
        let mut gaps = gaps.collect::<Result<Vec<_>>>()?;
        gaps.sort_unstable();
        let at = |index: usize| gaps.get(index).map_or(0, Duration::as_millis);
        println!(
            "{}: {} times, longest time without a reading: min {} ms, median {} ms, max {} ms",
            change.name(),
            gaps.len(),
            at(0),
            at(gaps.len() / 2),
            at(gaps.len().saturating_sub(1)),
        );
    }
    drop(agent);
    bench.watch.end();
    bench.cluster.stop()
}

impl Change {
    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no change",
            Self::Transfer => "query-app cluster transfer-leader",
            Self::Stop => "SIGTERM of the leader",
            Self::Kill => "SIGKILL of the leader",
        }
    }
}

fn write_steadily(cluster: &LocalCluster) -> Result<Process> {
    let rate = 1.0 / WRITE_EVERY.as_secs_f64();
    let mut command = cluster.client("sensor-sim", "device", "failover")?;
    command
        .args(["--source", "plant", "--devices", "1", "--linger", "1ms"])
        .args(["--rate", &rate.to_string()]);
    Process::start("agent", command, &cluster.dir().join("agent.log"))
}

struct Measurement {
    cluster: LocalCluster,
    watch: Watch,
}

impl Measurement {
    /// The gap around one change.
    fn gap(&mut self, change: Change) -> Result<Duration> {
        let leader = self.cluster.leader()?;
        self.cluster.wait_applied(RECOVERY_MAX)?;
        self.watch.restart();
        std::thread::sleep(STEADY);
        let changed = Instant::now();
        match change {
            Change::Nothing => {}
            Change::Transfer => self.transfer(leader)?,
            Change::Stop => self.cluster.signal(leader, Signal::TERM)?,
            Change::Kill => self.cluster.kill(leader)?,
        }
        // Readings come again, and for a while: the gap has ended.
        until("readings being taken again", RECOVERY_MAX, || {
            let since = self.watch.grown_since(changed + STEADY / 2);
            Ok((since > 20).then_some(()))
        })?;
        let gap = self.watch.longest();
        match change {
            Change::Nothing | Change::Transfer => {}
            // The signal was sent; this waits for its end.
            Change::Stop => self.cluster.stop_node(leader)?,
            Change::Kill => {}
        }
        self.cluster.restart_all()?;
        Ok(gap)
    }

    fn transfer(&self, leader: u64) -> Result<()> {
        let mut others = self.cluster.nodes().iter().map(|node| node.id);
        let successor = others.find(|id| *id != leader);
        let successor = successor.context("leadership needs somebody to go to")?;
        let mut command = self.cluster.client("query-app", "operator", "failover")?;
        command.args(["cluster", "transfer-leader", &successor.to_string()]);
        let log = self.cluster.dir().join("transfer.log");
        let mut process = Process::start("transfer-leader", command, &log)?;
        let (status, _) = process.wait(COMMAND_TIMEOUT)?;
        if !status.success() {
            bail!(
                "transfer-leader ended with {status}\n{}",
                process.log_tail()
            );
        }
        Ok(())
    }
}

/// Asks every node how many readings it has applied, again and again.
struct Watch {
    growth: Arc<Growth>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Growth {
    stop: AtomicBool,
    seen: Mutex<Seen>,
}

/// When the number of readings grew, and how large it is.
#[derive(Default)]
struct Seen {
    readings: u64,
    grown: Vec<Instant>,
}

impl Watch {
    fn begin(cluster: &LocalCluster) -> Self {
        let growth = Arc::new(Growth::default());
        let ask = |http: String| {
            let growth = Arc::clone(&growth);
            std::thread::spawn(move || {
                while !growth.stop.load(Ordering::Relaxed) {
                    let pause = match json(&http, "/status") {
                        Ok(status) => {
                            growth.note(status["readings"].as_u64().unwrap_or(0));
                            POLL_EVERY
                        }
                        Err(_) => DOWN_PAUSE,
                    };
                    std::thread::sleep(pause);
                }
            })
        };
        let nodes = cluster.nodes().iter();
        let threads = nodes.map(|node| ask(node.http.clone())).collect();
        Self { growth, threads }
    }

    /// Forgets what was seen.
    fn restart(&self) {
        let mut seen = self.growth.seen();
        seen.grown = vec![Instant::now()];
    }

    /// How often it grew since then.
    fn grown_since(&self, since: Instant) -> usize {
        let seen = self.growth.seen();
        seen.grown.iter().filter(|at| **at >= since).count()
    }

    /// The longest time in which it did not grow.
    fn longest(&self) -> Duration {
        let seen = self.growth.seen();
        let gaps = seen.grown.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }

    fn end(self) {
        self.growth.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // It ends by itself, and has nothing to say.
            drop(thread.join());
        }
    }
}

impl Growth {
    fn note(&self, readings: u64) {
        let mut seen = self.seen();
        if readings > seen.readings {
            seen.readings = readings;
            seen.grown.push(Instant::now());
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
