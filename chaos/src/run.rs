//! One run: a scenario on a fresh cluster, from the first start to the verdict.
//!
//! 1. The cluster starts behind the proxy, and the workload on it.
//! 2. The scenario breaks things until the time is over.
//! 3. Everything is mended. Writes must be taken again, and all that was sent be acknowledged.
//! 4. Once every node has applied everything, each is asked for all that it has.
//! 5. The nodes are asked to stop; their files are read through and compared.
//! 6. The checker judges the history.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_cluster::{ClusterOptions, Identities, LocalCluster, Programs};
use tokio::runtime::Runtime;

use crate::check::{Violation, check};
use crate::history::{Event, Recorder};
use crate::network::Network;
use crate::scenario::{Machines, Scenario};
use crate::stage::Stage;
use crate::summary::Summary;
use crate::survey;
use crate::workload::{Rates, Workload, dialer};

/// How long the nodes may take to apply what is committed.
const APPLY_TIMEOUT: Duration = Duration::from_secs(90);
/// What nodes are told beside the usual: so little is sealed at a time, and of the log kept, that
/// sealing, compaction, purging and snapshots happen all the time.
const SETTINGS: [(&str, &str); 4] = [
    ("TIDEMARK_SEAL_BYTES", "256KiB"),
    ("TIDEMARK_SEGMENT_MAX", "256KiB"),
    ("TIDEMARK_LOG_MAX", "1MiB"),
    ("TIDEMARK_DISK_RESERVE", "16MiB"),
];

/// Bytes of a disk that can be filled: a run of a quarter of an hour fits.
const SMALL_DISK_BYTES: u64 = 96 << 20;

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// What chance follows from.
    pub seed: u64,
    /// For how long things are broken.
    pub duration: Duration,
    /// How many nodes it begins with; as the scenario says when `None`.
    pub nodes: Option<u64>,
    /// Where everything is kept: an empty folder, or one that is not there.
    pub dir: PathBuf,
    /// How much goes on.
    pub rates: Rates,
    /// Set to end the scenario early.
    pub interrupted: Arc<AtomicBool>,
}

/// What a run comes to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The numbers.
    pub summary: Summary,
    /// Every broken promise.
    pub violations: Vec<Violation>,
}

/// Runs a scenario.
///
/// # Errors
/// When the harness itself fails: a program is missing, the cluster does not start at all. Whatever
/// goes wrong once the workload runs is a violation.
pub fn run(programs: &Programs, scenario: &Scenario, options: &RunOptions) -> Result<Outcome> {
    let dir = empty_folder(&options.dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("chaos")
        .build()?;
    let nodes = options.nodes.unwrap_or(scenario.nodes);
    let cluster_options = ClusterOptions {
        nodes,
        name: "chaos".to_owned(),
        faults: scenario.machines == Machines::Faulty,
        disk_bytes: (scenario.machines == Machines::Small).then_some(SMALL_DISK_BYTES),
        settings: SETTINGS
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        ..ClusterOptions::default()
    };
    let cluster = LocalCluster::prepare(programs, &dir, &cluster_options)?;
    let identities = cluster.identities().clone();
    let recorder = Recorder::new(&dir.join("history.jsonl"))?;
    let network = Network::new(options.seed, runtime.handle().clone());
    let mut stage = Stage::new(
        cluster,
        network,
        recorder.clone(),
        options.seed,
        Arc::clone(&options.interrupted),
    )?;
    stage.cluster_mut().restart_all()?;
    stage.leader()?;
    if let Err(error) = play(&runtime, scenario, options, &identities, &mut stage) {
        recorder.misbehaved(&format!("{error:#}"));
    }
    close(&dir, &mut stage);
    recorder.flush()?;
    let events = recorder.events();
    let violations = check(&events);
    let minutes = options.duration.as_secs_f64() / 60.0;
    let head = (scenario.name, options.seed, minutes, nodes);
    let summary = Summary::of(head, &events, &violations);
    // Tasks of the network never end by themselves.
    runtime.shutdown_background();
    Ok(Outcome {
        summary,
        violations,
    })
}

/// From the workload's begin to its end.
fn play(
    runtime: &Runtime,
    scenario: &Scenario,
    options: &RunOptions,
    identities: &Identities,
    stage: &mut Stage,
) -> Result<()> {
    let workload = Workload::start(
        runtime.handle(),
        options.rates,
        options.seed,
        identities,
        stage.roster(),
        stage.recorder(),
    )?;
    stage.expect_writes()?;
    stage.begin(options.duration);
    let played = (scenario.run)(stage);
    stage.mend()?;
    played?;
    stage.expect_writes()?;
    workload.finish(runtime.handle())?;
    stage.tell("all is acknowledged");
    let applied = stage.cluster().wait_applied(APPLY_TIMEOUT)?;
    let members = stage.members();
    let same = match survey::wait_quiet(stage.cluster(), &members) {
        true => "the same manifest",
        false => "manifests that differ in age",
    };
    stage.tell(&format!("all nodes have applied {applied}, with {same}"));
    survey(runtime, identities, stage)
}

/// Asks every node for all that it has, stops them, and looks into their folders.
fn survey(runtime: &Runtime, identities: &Identities, stage: &mut Stage) -> Result<()> {
    let identity = identities.issue("reader", "reader", &[])?;
    let dialer = {
        let _entered = runtime.enter();
        dialer(&identity)?
    };
    let mut replicas = Vec::new();
    for seat in stage.roster().seats() {
        let asked = survey::replica(&dialer, seat.id, &seat.address);
        replicas.push(runtime.block_on(asked)?);
    }
    stage.end()?;
    for mut replica in replicas {
        let data = stage.data(replica.node)?;
        verify(stage, &data)?;
        replica.files = survey::files(&data)?;
        stage.recorder().note(Event::Final(replica));
    }
    Ok(())
}

/// Has `store-node verify` read every byte.
fn verify(stage: &Stage, data: &Path) -> Result<()> {
    let mut command = stage.cluster().programs().command("store-node");
    let output = command.args(["verify", "--data"]).arg(data).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = said + &String::from_utf8_lossy(&output.stdout);
        let text = format!(
            "store-node verify finds damage in {}: {said}",
            data.display()
        );
        stage.recorder().misbehaved(&text);
    }
    Ok(())
}

/// Stops what runs still, and looks for panics in the logs.
fn close(dir: &Path, stage: &mut Stage) {
    for id in stage.running() {
        if let Err(error) = stage.cluster_mut().kill(id) {
            stage.recorder().misbehaved(&format!("{error:#}"));
        }
    }
    for node in stage.cluster().nodes() {
        let log = dir.join(format!("node-{}.log", node.id));
        let text = fs::read_to_string(&log).unwrap_or_default();
        if let Some(line) = text.lines().find(|line| line.contains("panicked at")) {
            let text = format!("node {} panicked: {line}", node.id);
            stage.recorder().misbehaved(&text);
        }
    }
}

fn empty_folder(dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let dir = dir.canonicalize()?;
    let is_empty = fs::read_dir(&dir)?.next().is_none();
    ensure!(
        is_empty,
        "{} is not empty: name another folder",
        dir.display()
    );
    Ok(dir)
}
