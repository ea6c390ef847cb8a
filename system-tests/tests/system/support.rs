//! A cluster for one test, and what the tests ask of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_cluster::{ClusterOptions, LocalCluster, Process, Programs, until};
use tempfile::TempDir;

/// How long an agent may take to have everything acknowledged.
pub(crate) const AGENT_TIMEOUT: Duration = Duration::from_secs(240);
/// How long a follower may take to apply what the leader has committed.
pub(crate) const APPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// Readings by series and time (ns), each with the text of its value.
pub(crate) type Readings = BTreeMap<(String, i64), String>;

/// Three nodes in a temporary folder. The folder goes when the test ends.
pub(crate) struct TestCluster {
    pub(crate) cluster: LocalCluster,
    pub(crate) dir: TempDir,
}

impl TestCluster {
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(&ClusterOptions::default())
    }

    pub(crate) fn start_with(options: &ClusterOptions) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let cluster = LocalCluster::start(&Programs::built()?, dir.path(), options)?;
        Ok(Self { cluster, dir })
    }

    /// Waits until every job is done on every node, and all have the same segments, by their hashes;
    /// there must be some.
    pub(crate) fn same_segments(&self) -> Result<()> {
        until("the same segments on every node", APPLY_TIMEOUT, || {
            let mut same = None;
            for node in self.cluster.nodes() {
                let status = self.cluster.status(node.id)?;
                let found = segments(&node.data)?;
                let is_done = status["jobs_waiting"] == 0 && status["unsealed_bytes"] == 0;
                ensure!(is_done && !found.is_empty(), "node {}: {status}", node.id);
                let first = same.get_or_insert_with(|| found.clone());
                ensure!(*first == found, "node {} differs", node.id);
            }
            Ok(Some(()))
        })
    }

    /// Stops every node; each folder must be whole, every byte of it.
    pub(crate) fn stop_and_verify(mut self) -> Result<()> {
        let ids: Vec<u64> = self.cluster.nodes().iter().map(|node| node.id).collect();
        for id in ids {
            self.cluster.stop_node(id)?;
        }
        for node in self.cluster.nodes() {
            let mut command = self.cluster.programs().command("store-node");
            let found = run(command.args(["verify", "--data"]).arg(&node.data))?;
            let said = String::from_utf8_lossy(&found.stdout);
            ensure!(found.status.success(), "node {}: {said}", node.id);
        }
        Ok(())
    }

    /// Starts an agent with identity `device/NAME`, its stderr in `NAME.log`.
    pub(crate) fn agent(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        let mut command = self.cluster.client("sensor-sim", "device", name)?;
        command.args(arguments);
        Process::start(name, command, &self.dir.path().join(format!("{name}.log")))
    }

    /// Runs an agent to its end and gives its JSON summary.
    pub(crate) fn run_agent(&self, name: &str, arguments: &[&str]) -> Result<serde_json::Value> {
        summary(&mut self.agent(name, arguments)?)
    }

    /// Runs `query-app` as the operator.
    pub(crate) fn query(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.cluster.client("query-app", "operator", "operator")?;
        run(command.args(arguments))
    }

    /// Everything that matches `pattern`, as node `node` has it.
    pub(crate) fn readings_on(&self, node: u64, pattern: &str) -> Result<Readings> {
        let node = node.to_string();
        let output = self.query(&[
            "range",
            pattern,
            "--from",
            "1970-01-01",
            "--to",
            "2200-01-01",
            "--format",
            "csv",
            "--node",
            &node,
            "--timeout",
            "120s",
        ])?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let mut readings = Readings::new();
        let mut reader = csv::Reader::from_reader(output.stdout.as_slice());
        ensure!(
            reader
                .headers()?
                .iter()
                .eq(["series", "timestamp", "value"])
        );
        for row in reader.records() {
            let row = row?;
            let time = nanos(&row[1])?;
            let repeated = readings.insert((row[0].to_owned(), time), row[2].to_owned());
            ensure!(
                repeated.is_none(),
                "{} has two rows at {}",
                &row[0],
                &row[1]
            );
        }
        Ok(readings)
    }

    /// How many readings of producers node `node` has applied since the cluster was formed, each
    /// repetition counted. What agents say about themselves is left out.
    pub(crate) fn applied_readings(&self, node: u64) -> Result<u64> {
        let node = node.to_string();
        let output = self.query(&["series", "**", "--format", "csv", "--node", &node])?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let mut reader = csv::Reader::from_reader(output.stdout.as_slice());
        ensure!(reader.headers()?.get(3) == Some("count"));
        let mut applied = 0;
        for row in reader.records() {
            let row = row?;
            if !row[0].starts_with("_tidemark/") {
                applied += row[3].parse::<u64>()?;
            }
        }
        Ok(applied)
    }
}

/// Runs a command that must succeed, and gives what it printed.
pub(crate) fn passes(command: &mut Command) -> Result<String> {
    let output = run(command)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

/// The names of the segments in a data folder, which are hashes of what is in them.
fn segments(data: &Path) -> Result<BTreeSet<OsString>> {
    let mut found = BTreeSet::new();
    for folder in std::fs::read_dir(data.join("shards/0/segments"))? {
        let folder = folder?.path();
        if folder.ends_with("incoming") || folder.ends_with("damaged") {
            continue;
        }
        for segment in std::fs::read_dir(folder)? {
            found.insert(segment?.file_name());
        }
    }
    Ok(found)
}

/// Waits for an agent's end, which must be a success, and reads its JSON summary.
pub(crate) fn summary(agent: &mut Process) -> Result<serde_json::Value> {
    let (status, lines) = agent.wait(AGENT_TIMEOUT)?;
    ensure!(
        status.success(),
        "{} ended with {status}\n{}",
        agent.name(),
        agent.log_tail()
    );
    let line = lines.last().context("the agent printed no summary")?;
    Ok(serde_json::from_str(line)?)
}

/// Runs `command` to its end.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    command
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))
}

/// The exit code and the single line of stderr of a command that must fail without output.
pub(crate) fn refusal(output: &Output) -> Result<(i32, String)> {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    ensure!(
        !stderr.contains("panicked") && !stderr.contains("backtrace"),
        "{stderr}"
    );
    Ok((output.status.code().context("killed by a signal")?, stderr))
}

pub(crate) fn nanos(text: &str) -> Result<i64> {
    let zero = sensor_model::Timestamp::from_nanos(0);
    Ok(sensor_model::Timestamp::parse(text, zero)?.as_nanos())
}
