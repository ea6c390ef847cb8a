//! What is seen of the nodes of a measurement from outside: memory, metrics, starts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use local_cluster::LocalCluster;

/// How long sealing and compaction may take to settle.
pub(crate) const SETTLE_TIMEOUT: Duration = Duration::from_secs(1800);
/// Resident memory of each node in MiB: now, and the most there was since its start.
fn memory(cluster: &LocalCluster) -> Result<Vec<(f64, f64)>> {
    let resident = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let mib = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            let kib: Option<f64> =
                line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            kib.map(|kib| kib / 1024.0)
                .with_context(|| format!("no {key} for process {pid}"))
        };
        Ok((mib("VmRSS:")?, mib("VmHWM:")?))
    };
    let pids = cluster.nodes().iter().filter_map(|node| node.pid());
    pids.map(resident).collect()
}

/// A metric, summed over all nodes: `name` is what a line begins with, labels and all.
pub(crate) fn metric(cluster: &LocalCluster, name: &str) -> Result<f64> {
    let lines = metric_lines(cluster, name)?;
    let values = lines
        .iter()
        .filter_map(|rest| rest.trim().parse::<f64>().ok());
    Ok(values.sum())
}

/// What follows `name` in each line of the nodes' metrics that begins with it.
pub(crate) fn metric_lines(cluster: &LocalCluster, name: &str) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for node in cluster.nodes().iter().filter(|node| node.pid().is_some()) {
        let page = local_cluster::page(&node.http, "/metrics", Duration::from_secs(5))?;
        let found = page.lines().filter_map(|line| line.strip_prefix(name));
        lines.extend(found.map(str::to_owned));
    }
    Ok(lines)
}

/// Starts every node again with no file cached; whether that was permitted.
pub(crate) fn restart_cold(cluster: &mut LocalCluster) -> Result<bool> {
    kill_all(cluster)?;
    let is_cold = drop_caches();
    cluster.restart_all()?;
    cluster.leader()?;
    // What the start has read does not count either.
    Ok(is_cold && drop_caches())
}

fn drop_caches() -> bool {
    std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

/// Starts every node again so that it seals at once, and waits until there is nothing left to seal
/// or to compact.
pub(crate) fn seal_everything(cluster: &mut LocalCluster) -> Result<()> {
    cluster.set_settings(&[("TIDEMARK_SEAL_AFTER", "1s")]);
    crash(cluster)?;
    cluster.leader()?;
    cluster.settle(SETTLE_TIMEOUT)
}

/// Kills every node that runs, with SIGKILL.
pub(crate) fn kill_all(cluster: &mut LocalCluster) -> Result<()> {
    let running: Vec<u64> = cluster
        .nodes()
        .iter()
        .filter(|node| node.pid().is_some())
        .map(|node| node.id)
        .collect();
    running.into_iter().try_for_each(|id| cluster.kill(id))
}

/// Kills every node and starts them again; how long it took from the start until all were ready.
pub(crate) fn crash(cluster: &mut LocalCluster) -> Result<Duration> {
    kill_all(cluster)?;
    let begun = Instant::now();
    cluster.restart_all()?;
    Ok(begun.elapsed())
}

/// Prints what every node takes, and the most it took.
pub(crate) fn print_memory(when: &str, cluster: &LocalCluster) -> Result<()> {
    let memory = memory(cluster)?;
    let list = |of: fn(&(f64, f64)) -> f64| {
        let each: Vec<String> = memory.iter().map(|m| format!("{:.0}", of(m))).collect();
        each.join(", ")
    };
    println!(
        "{when}: {} MiB; the most since the start: {} MiB",
        list(|m| m.0),
        list(|m| m.1)
    );
    Ok(())
}
