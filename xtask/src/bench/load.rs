//! Agents and loads of a measurement: started, waited for, and what they say at their end.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use local_cluster::{LocalCluster, Process};
use serde_json::Value;

/// The longest a load may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(1800);

/// Runs `sensor-sim` with `arguments` and `--json` as identity `device/NAME` and gives its summary.
/// Everything must have been acknowledged.
pub(crate) fn run(cluster: &LocalCluster, name: &str, arguments: &[&str]) -> Result<Value> {
    finish(start(cluster, name, arguments)?)
}

/// Starts what [`run`] runs.
pub(crate) fn start(cluster: &LocalCluster, name: &str, arguments: &[&str]) -> Result<Process> {
    let mut command = cluster.client("sensor-sim", "device", name)?;
    command.args(arguments).arg("--json");
    begin(cluster, name, command)
}

/// Starts a program of the measurement, its stderr in `NAME.log`.
pub(crate) fn begin(cluster: &LocalCluster, name: &str, command: Command) -> Result<Process> {
    Process::start(name, command, &cluster.dir().join(format!("{name}.log")))
}

/// Waits for the end of a load and gives its summary.
pub(crate) fn finish(mut process: Process) -> Result<Value> {
    let (status, lines) = process.wait(LOAD_TIMEOUT)?;
    let name = process.name();
    if !status.success() {
        bail!("{name} ended with {status}\n{}", process.log_tail());
    }
    let line = lines
        .last()
        .with_context(|| format!("{name} printed no summary"))?;
    let summary: Value =
        serde_json::from_str(line).with_context(|| format!("{name} printed {line:?}"))?;
    if number(&summary, "acked")? != number(&summary, "sent")? {
        bail!("{name}: not everything was acknowledged: {summary}");
    }
    Ok(summary)
}

/// A whole number of a document.
pub(crate) fn number(document: &Value, key: &str) -> Result<u64> {
    document[key]
        .as_u64()
        .with_context(|| format!("no {key} in {document}"))
}

/// Millions of acknowledged readings a second.
pub(crate) fn millions(summary: &Value) -> f64 {
    summary["readings_per_second"].as_f64().unwrap_or_default() / 1e6
}
