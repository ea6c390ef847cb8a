//! Leaders and the agent are killed while readings stream in: at the end every reading is there
//! exactly once on every node.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_cluster::until;

use crate::support::{APPLY_TIMEOUT, TestCluster, summary};

const COLUMNS: u64 = 3;

/// Rows of the recording; `TIDEMARK_TEST_ROWS=2000000` makes a run of 6 million readings of it.
fn rows() -> Result<u64> {
    const USUAL: u64 = 120_000;
    match std::env::var("TIDEMARK_TEST_ROWS") {
        Ok(rows) => rows.parse().context("TIDEMARK_TEST_ROWS is not a number"),
        Err(_) => Ok(USUAL),
    }
}

/// A file whose every value is different, so that a lost, doubled or invented reading shows.
fn numbered_recording(folder: &Path, rows: u64) -> Result<PathBuf> {
    let path = folder.join("numbered.csv");
    let mut text = String::from("timestamp,a,b,c\n");
    for row in 0..rows {
        writeln!(text, "{},{row},{}.5,-{row}", 1_700_000_000 + row, row * 3)?;
    }
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Waits until `node` has applied at least `readings`, which proves that the stream is going on.
fn wait_readings(test: &TestCluster, readings: u64) -> Result<()> {
    until("progress of the replay", Duration::from_secs(120), || {
        let leader = test.cluster.leader()?;
        Ok((test.applied_readings(leader)? >= readings).then_some(()))
    })
}

#[test]
fn killing_leaders_and_the_agent_loses_nothing_and_doubles_nothing() -> Result<()> {
    let mut test = TestCluster::start()?;
    let rows = rows()?;
    let file = numbered_recording(test.dir.path(), rows)?;
    let file = file.to_str().context("the folder's name is not UTF-8")?;
    let spool = test.dir.path().join("spool");
    let spool = spool
        .to_str()
        .context("the folder's name is not UTF-8")?
        .to_owned();
    // A hundred times real time would last too long, and as fast as possible would be over before
    // the second kill: paced, so that every kill falls into the stream of some 15 s.
    let speed = (rows / 15).to_string();
    let arguments = [
        "--source", "replay", "--file", file, "--prefix", "numbered", "--spool", &spool, "--speed",
        &speed, "--json",
    ];
    let total = rows * COLUMNS;
    let mut agent = test.agent("replay", &arguments)?;

    wait_readings(&test, total / 10)?;
    let first = test.cluster.leader()?;
    test.cluster.kill(first)?;
    wait_readings(&test, total * 3 / 10)?;
    test.cluster.restart(first)?;

    let second = test.cluster.leader()?;
    test.cluster.kill(second)?;
    wait_readings(&test, total * 5 / 10)?;

    agent.kill()?;
    let mut agent = test.agent("replay", &arguments)?;
    test.cluster.restart(second)?;
    summary(&mut agent)?;

    test.cluster.wait_applied(APPLY_TIMEOUT)?;
    for node in 1..=3 {
        let found = test.readings_on(node, "numbered/**")?;
        ensure!(
            found.len() as u64 == total,
            "node {node} has {} of {total}",
            found.len()
        );
        for row in 0..rows {
            let time = i64::try_from(1_700_000_000 + row)? * 1_000_000_000;
            for (column, expected) in [
                ("a", row as f64),
                ("b", (row * 3) as f64 + 0.5),
                ("c", -(row as f64)),
            ] {
                let value = found.get(&(format!("numbered/{column}"), time));
                let value: f64 = value
                    .with_context(|| format!("row {row} is lost"))?
                    .parse()?;
                ensure!(
                    value == expected,
                    "node {node}, row {row}, {column}: {value}"
                );
            }
        }
        // Rows of equal series and time replace each other, so only the count of what was applied
        // tells a batch that was applied twice.
        let applied = test.applied_readings(node)?;
        ensure!(
            applied == total,
            "node {node} applied {applied} readings of {total}"
        );
    }
    test.cluster.stop()
}

#[test]
fn all_nodes_killed_at_once_lose_no_acknowledged_reading() -> Result<()> {
    let mut test = TestCluster::start()?;
    let ended = test.run_agent(
        "load",
        &[
            "load",
            "--devices",
            "10",
            "--metrics",
            "4",
            "--readings",
            "200000",
            "--json",
        ],
    )?;
    let acked = ended["acked"]
        .as_u64()
        .context("no count of acknowledged readings")?;
    for node in 1..=3 {
        test.cluster.kill(node)?;
    }
    test.cluster.restart_all()?;
    test.cluster.wait_applied(APPLY_TIMEOUT)?;
    for node in 1..=3 {
        let found = test.readings_on(node, "load/**")?.len() as u64;
        ensure!(
            found == acked,
            "node {node} has {found} of {acked} acknowledged readings"
        );
    }
    test.cluster.stop()
}
