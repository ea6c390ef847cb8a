//! A follower is lost with its disk while readings stream in, a quarter of them late, and a new member
//! takes its place: at the end every node has every reading, and the same segments byte for byte.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_cluster::{ClusterOptions, until};

use crate::support::{APPLY_TIMEOUT, TestCluster, summary};

const READINGS: u64 = 240_000;
const SERIES: u64 = 40;
/// How long a step may take on a loaded machine.
const STEP_TIMEOUT: Duration = Duration::from_secs(240);

/// Waits until the cluster has applied `readings`, which proves that the stream is going on.
fn wait_readings(test: &TestCluster, readings: u64) -> Result<()> {
    until("progress of the load", STEP_TIMEOUT, || {
        let leader = test.cluster.leader()?;
        Ok((test.applied_readings(leader)? >= readings).then_some(()))
    })
}

#[test]
fn a_follower_that_lost_its_disk_is_replaced_under_load_and_segments_are_equal() -> Result<()> {
    // So little log is kept that the new member must fetch segments.
    let settings = [
        ("TIDEMARK_SEAL_BYTES", "64KiB"),
        ("TIDEMARK_SEAL_AFTER", "1s"),
        ("TIDEMARK_SEGMENT_MAX", "1MiB"),
        ("TIDEMARK_LOG_MAX", "1MiB"),
    ];
    let mut test = TestCluster::start_with(&ClusterOptions {
        settings: settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        ..ClusterOptions::default()
    })?;
    let readings = READINGS.to_string();
    let mut load = test.agent(
        "load",
        &[
            "load",
            "--devices",
            "10",
            "--metrics",
            "4",
            "--readings",
            &readings,
            "--chunk",
            "20",
            "--late",
            "0.25",
            "--period",
            "10s",
            // Slow enough that all that follows falls into the stream of some 20 s.
            "--rate",
            "12000",
            "--patience",
            "120s",
            "--json",
        ],
    )?;
    wait_readings(&test, READINGS / 10)?;

    let leader = test.cluster.leader()?;
    let lost = (1..=3).find(|id| *id != leader).context("no follower")?;
    test.cluster.kill(lost)?;
    test.cluster.wipe(lost)?;
    wait_readings(&test, READINGS / 5)?;
    let lost = lost.to_string();
    let removed = test.query(&["cluster", "remove", &lost])?;
    ensure!(
        removed.status.success(),
        "{}",
        String::from_utf8_lossy(&removed.stderr)
    );
    let joined = test.cluster.join()?;
    until("the new member's vote", STEP_TIMEOUT, || {
        let status = test.cluster.status(test.cluster.leader()?)?;
        let members = status["members"].as_array().context("no members")?;
        let votes = |member: &serde_json::Value| member["id"] == joined && member["voter"] == true;
        Ok(members.iter().any(votes).then_some(()))
    })?;

    let ended = summary(&mut load)?;
    let acked = ended["acked"].as_u64().context("no count")?;
    ensure!(acked > READINGS, "no reading was corrected: {ended}");
    ensure!(ended["ack_gap_ms"].is_number(), "{ended}");
    test.cluster.wait_applied(APPLY_TIMEOUT)?;
    test.cluster.settle(STEP_TIMEOUT)?;
    let (segments, _) = test.cluster.equal_segments()?;
    ensure!(segments > 0, "nothing was sealed");
    let nodes: Vec<u64> = test.cluster.nodes().iter().map(|node| node.id).collect();
    ensure!(nodes.len() == 3 && nodes.contains(&joined));
    let mut first = None;
    for node in nodes {
        let found = test.readings_on(node, "load/**")?;
        ensure!(
            found.len() as u64 == READINGS,
            "node {node} has {} of {READINGS}",
            found.len()
        );
        let series = found.keys().map(|(series, _)| series);
        let series: std::collections::BTreeSet<&String> = series.collect();
        ensure!(series.len() as u64 == SERIES);
        let applied = test.applied_readings(node)?;
        ensure!(applied == acked, "node {node} applied {applied} of {acked}");
        ensure!(
            *first.get_or_insert_with(|| found.clone()) == found,
            "node {node} has other values"
        );
    }
    test.cluster.stop()
}
