//! A disk fails a sync: that node stops and says why, the others go on, and nothing acknowledged is
//! lost. Once the disk is well the node starts again and catches up.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_cluster::{ClusterOptions, until};

use crate::support::{APPLY_TIMEOUT, TestCluster, summary};

/// How long a node may take to meet a failing sync and to end.
const PATIENCE: Duration = Duration::from_secs(60);
const READINGS: u64 = 200_000;

fn cluster() -> Result<TestCluster> {
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let options = ClusterOptions {
        faults: true,
        settings: vec![
            setting("TIDEMARK_SEAL_BYTES", "128KiB"),
            setting("TIDEMARK_SEAL_AFTER", "1s"),
        ],
        ..ClusterOptions::default()
    };
    TestCluster::start_with(&options)
}

/// The leader, and another.
fn roles(test: &TestCluster) -> Result<(u64, u64)> {
    let leader = test.cluster.leader()?;
    let other = (1..=3).find(|id| *id != leader).context("three nodes")?;
    Ok((leader, other))
}

/// Lets syncs of files with `part` in their path fail on node `ill` while readings stream in.
fn survives(mut test: TestCluster, ill: u64, part: &str) -> Result<()> {
    let readings = READINGS.to_string();
    let load = [
        "load",
        "--devices",
        "10",
        "--metrics",
        "2",
        "--readings",
        &readings,
        "--json",
    ];
    let mut agent = test.agent("load", &load)?;
    until("the first readings", PATIENCE, || {
        Ok((test.applied_readings(ill)? > 0).then_some(()))
    })?;
    test.cluster.node(ill)?.faults()?.fail_syncs(part)?;
    let (status, story) = test.cluster.wait_fallen(ill, PATIENCE)?;
    ensure!(status.code() == Some(1), "{status}\n{story}");
    let line = story.lines().rfind(|line| line.starts_with("store-node: "));
    let line = line.with_context(|| story.clone())?;
    ensure!(line.contains(part), "no file: {line}");
    ensure!(line.contains("Input/output error"), "no reason: {line}");
    ensure!(line.contains("start the node again"), "no remedy: {line}");
    ensure!(
        test.cluster.node(ill)?.faults()?.syncs_failed()? == 1,
        "a failed sync was tried again"
    );

    let ended = summary(&mut agent)?;
    ensure!(ended["acked"].as_u64() == Some(READINGS), "{ended}");
    ensure!(test.query(&["put", "by/hand", "1"])?.status.success());
    test.cluster.node(ill)?.faults()?.lift()?;
    test.cluster.restart(ill)?;
    test.cluster.wait_applied(APPLY_TIMEOUT)?;
    for node in 1..=3 {
        let found = test.readings_on(node, "load/**")?.len() as u64;
        ensure!(found == READINGS, "node {node} has {found}");
    }
    test.same_segments()?;
    test.stop_and_verify()
}

#[test]
fn a_follower_whose_log_cannot_be_synced_stops_and_comes_back() -> Result<()> {
    let test = cluster()?;
    let (_, follower) = roles(&test)?;
    survives(test, follower, "/log/")
}

#[test]
fn a_leader_whose_log_cannot_be_synced_stops_and_another_leads() -> Result<()> {
    let test = cluster()?;
    let (leader, _) = roles(&test)?;
    survives(test, leader, "/log/")
}

#[test]
fn a_node_that_cannot_sync_a_segment_stops_and_comes_back() -> Result<()> {
    let test = cluster()?;
    let (_, follower) = roles(&test)?;
    survives(test, follower, "/segments/incoming/")
}

#[test]
fn a_node_that_cannot_sync_a_manifest_stops_and_comes_back() -> Result<()> {
    let test = cluster()?;
    let (leader, _) = roles(&test)?;
    survives(test, leader, "/manifests/")
}
