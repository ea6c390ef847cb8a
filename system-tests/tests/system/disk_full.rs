//! Disks fill up: readings are refused, everything else goes on, and no acknowledged reading is lost.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_cluster::{ClusterOptions, SmallDisk, text, until};

use crate::support::{APPLY_TIMEOUT, Readings, TestCluster, refusal, summary};

/// Bytes of the disk of each node at first.
const DISK_BYTES: u64 = 10 << 20;
/// Bytes of it that stay free for what keeps a node going.
const RESERVE_BYTES: u64 = 4 << 20;
/// Rows of a day of the recording, one a second.
const DAY_ROWS: u64 = 80_000;
const DAYS: u64 = 7;
/// So many of them are deleted to make room: enough that whole segments go, which takes no room first.
const DAYS_DELETED: u64 = 3;
const DAY_SECONDS: u64 = 86_400;
/// 2026-01-01, when the recording begins.
const START: u64 = 1_767_225_600;
/// How long a disk may take to fill up, and room to be made.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a node may take to say how it is.
const HTTP_TIMEOUT: Duration = Duration::from_secs(5);

/// Three nodes on small disks, which seal and compact all the time; none where nothing can be mounted.
fn cluster() -> Result<Option<TestCluster>> {
    if let Some(reason) = SmallDisk::unavailable() {
        println!("SKIPPED, as there is no small disk here: {reason}");
        return Ok(None);
    }
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let options = ClusterOptions {
        disk_bytes: Some(DISK_BYTES),
        settings: vec![
            setting("TIDEMARK_DISK_RESERVE", "4MiB"),
            setting("TIDEMARK_SEGMENT_MAX", "512KiB"),
            setting("TIDEMARK_LOG_MAX", "1MiB"),
            setting("TIDEMARK_SEAL_BYTES", "256KiB"),
            setting("TIDEMARK_SEAL_AFTER", "1s"),
        ],
        ..ClusterOptions::default()
    };
    TestCluster::start_with(&options).map(Some)
}

/// Two columns that cannot be made smaller, several days of them; and what is in it.
fn recording(folder: &Path) -> Result<(PathBuf, Readings)> {
    let path = folder.join("noise.csv");
    let mut file = String::from("timestamp,a,b\n");
    let mut readings = BTreeMap::new();
    let mut noise = 0x9E37_79B9_7F4A_7C15_u64;
    for day in 0..DAYS {
        for row in 0..DAY_ROWS {
            let seconds = START + day * DAY_SECONDS + row;
            write!(file, "{seconds}")?;
            for column in ["a", "b"] {
                // xorshift64
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                #[expect(clippy::cast_precision_loss, reason = "any value will do")]
                let value = noise as f64 / 1e19;
                write!(file, ",{value}")?;
                let nanos = i64::try_from(seconds * 1_000_000_000)?;
                readings.insert((format!("noise/{column}"), nanos), value.to_string());
            }
            file.push('\n');
        }
    }
    std::fs::write(&path, file)?;
    Ok((path, readings))
}

/// Waits until the leader refuses readings for want of room and nothing moves any more.
fn wait_full(test: &TestCluster) -> Result<u64> {
    let mut before = None;
    let mut at = std::time::Instant::now();
    until("a full disk", PATIENCE, || {
        let status = test.cluster.status(test.cluster.leader()?)?;
        let now = (status["disk_full"].as_bool(), status["readings"].as_u64());
        if now.0 != Some(true) || before != Some(now) {
            before = Some(now);
            at = std::time::Instant::now();
        }
        ensure!(at.elapsed() >= Duration::from_secs(3), "not yet: {status}");
        Ok(now.1)
    })
}

/// What every node says of itself, for whoever looks into a failure.
fn statuses(test: &TestCluster) -> String {
    let each = (1..=3).map(|node| test.cluster.status(node));
    each.map(|status| format!("{status:?}\n")).collect()
}

/// Writes one reading by hand.
fn put(test: &TestCluster, path: &str) -> Result<std::process::Output> {
    test.query(&["put", path, "1", "--at", "2026-02-01", "--timeout", "10s"])
}

/// Puts so much else on the disk of a node that it has `free` bytes left.
fn fill(test: &TestCluster, node: u64, free: u64) -> Result<PathBuf> {
    let data = &test.cluster.node(node)?.data;
    let path = data.join("filler");
    let left = test.cluster.status(node)?["disk_free_bytes"]
        .as_u64()
        .context("no free bytes")?;
    std::fs::write(&path, vec![1; usize::try_from(left - free)?])?;
    Ok(path)
}

#[test]
fn full_disks_refuse_readings_and_nothing_else_until_there_is_room() -> Result<()> {
    let Some(mut test) = cluster()? else {
        return Ok(());
    };
    let (file, mut expected) = recording(test.dir.path())?;
    let file = file.to_str().context("the file's name is not UTF-8")?;
    let arguments = [
        "--source", "replay", "--file", file, "--prefix", "noise", "--json",
    ];
    let mut agent = test.agent("noise", &arguments)?;

    let readings = wait_full(&test)?;
    ensure!(
        readings >= DAYS_DELETED * 2 * DAY_ROWS,
        "full after {readings} readings"
    );
    let (code, line) = refusal(&put(&test, "by/hand")?)?;
    ensure!(code == 1 && line.contains("full"), "{line}");
    for node in 1..=3 {
        let http = &test.cluster.node(node)?.http;
        ensure!(
            text(http, "/healthz", HTTP_TIMEOUT)?.0 == 200
                && text(http, "/readyz", HTTP_TIMEOUT)?.0 == 200
        );
        let (_, metrics) = text(http, "/metrics", HTTP_TIMEOUT)?;
        ensure!(metrics.contains("tidemark_disk_free_bytes"), "{metrics}");
        let number = node.to_string();
        let last = test.query(&["last", "noise/**", "--node", &number, "--format", "csv"])?;
        ensure!(String::from_utf8_lossy(&last.stdout).lines().count() == 3);
        let found = test.readings_on(node, "noise/**")?;
        ensure!(found.len() as u64 >= 2 * DAY_ROWS, "{}", found.len());
        for (key, value) in &found {
            ensure!(
                expected.get(key) == Some(value),
                "{key:?} is {value} on node {node}"
            );
        }
    }
    let leader = test.cluster.leader()?;
    let (_, metrics) = text(&test.cluster.node(leader)?.http, "/metrics", HTTP_TIMEOUT)?;
    ensure!(metrics.contains("tidemark_disk_full 1"), "{metrics}");
    let shown = test.query(&["status"])?;
    ensure!(String::from_utf8_lossy(&shown.stdout).contains("disk full"));

    // What makes room is taken: some days go, and the agent goes on by itself.
    let days = [
        "noise/**",
        "--from",
        "2026-01-01",
        "--to",
        "2026-01-04",
        "--yes",
    ];
    // While segments are being written there may be too little room for a moment.
    until("a delete to be taken", PATIENCE, || {
        let deleted = test.query(&[&["delete"], &days[..]].concat())?;
        Ok(deleted.status.success().then_some(()))
    })
    .with_context(|| statuses(&test))?;
    until("room after a delete", PATIENCE, || {
        let status = test.cluster.status(test.cluster.leader()?)?;
        Ok((status["readings"].as_u64() > Some(readings)).then_some(()))
    })?;
    // The rest does not fit: disks grow.
    for node in 1..=3 {
        test.cluster
            .node_mut(node)?
            .disk_mut()?
            .resize(8 * DISK_BYTES)?;
    }
    let ended = summary(&mut agent)?;
    ensure!(ended["dropped"] == 0, "{ended}");
    ensure!(
        ended["acked"].as_u64() == Some(expected.len() as u64),
        "{ended}"
    );
    let kept = i64::try_from((START + DAYS_DELETED * DAY_SECONDS) * 1_000_000_000)?;
    expected.retain(|(_, time), _| *time >= kept);
    until("a write by hand", PATIENCE, || {
        Ok(put(&test, "by/hand")?.status.success().then_some(()))
    })?;
    test.cluster.wait_applied(APPLY_TIMEOUT)?;
    for node in 1..=3 {
        let found = test.readings_on(node, "noise/**")?;
        ensure!(
            found == expected,
            "node {node} has {} of {}",
            found.len(),
            expected.len()
        );
    }
    ensure!(test.cluster.fallen()?.is_none());
    test.same_segments()?;
    test.stop_and_verify()
}

#[test]
fn a_full_disk_of_a_follower_stops_nobody_else() -> Result<()> {
    let Some(mut test) = cluster()? else {
        return Ok(());
    };
    let leader = test.cluster.leader()?;
    let full = (1..=3).find(|id| *id != leader).context("three nodes")?;
    let filler = fill(&test, full, RESERVE_BYTES / 4)?;
    until("a full follower", PATIENCE, || {
        Ok(test.cluster.status(full)?["disk_full"]
            .as_bool()
            .filter(|full| *full))
    })?;
    let load = [
        "load",
        "--devices",
        "10",
        "--metrics",
        "2",
        "--readings",
        "100000",
        "--json",
    ];
    let ended = test.run_agent("load", &load)?;
    ensure!(ended["acked"] == 100_000, "{ended}");
    ensure!(put(&test, "by/hand")?.status.success());
    ensure!(test.cluster.leader()? == leader, "nobody else had to lead");
    // It answers with what it has.
    let number = full.to_string();
    let old = test.query(&["last", "**", "--node", &number, "--consistency", "any"])?;
    let said = String::from_utf8_lossy(&old.stderr);
    ensure!(old.status.success() || said.contains("no series"), "{said}");

    std::fs::remove_file(filler)?;
    test.cluster.wait_applied(PATIENCE)?;
    for node in 1..=3 {
        let found = test.readings_on(node, "load/**")?.len();
        ensure!(found == 100_000, "node {node} has {found}");
    }
    ensure!(test.cluster.fallen()?.is_none());
    test.same_segments()?;
    test.stop_and_verify()
}
