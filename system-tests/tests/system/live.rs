//! Live data while nodes fail: a subscriber that is killed a hundred times, and goes on at another node
//! each time, sees every reading exactly once.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use local_cluster::Signal;
use serde_json::Value;

use crate::support::{APPLY_TIMEOUT, TestCluster, nanos, summary};

/// How often the subscriber is killed and goes on elsewhere.
const RECONNECTS: u64 = 100;
/// After so many of them a leader is killed, after as many more it is started again.
const RECONNECTS_A_CHANGE: u64 = 8;
/// How long a subscriber may take to get something, also while a leader is elected.
const READING_TIMEOUT: Duration = Duration::from_secs(60);

/// Every reading that was seen, and how often.
#[derive(Default)]
struct Seen {
    readings: BTreeMap<(String, i64), (String, u64)>,
    /// Where to go on.
    position: String,
}

impl Seen {
    fn take(&mut self, line: &str) -> Result<()> {
        let reading: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let text = |key: &str| reading[key].as_str().context(format!("no {key}: {line}"));
        let (path, time) = (text("path")?.to_owned(), nanos(text("timestamp")?)?);
        let value = reading["value"].to_string();
        let seen = self.readings.entry((path, time)).or_insert((value, 0));
        seen.1 += 1;
        text("position")?.clone_into(&mut self.position);
        Ok(())
    }
}

/// A subscriber that is killed when it is dropped.
struct Subscriber {
    child: Child,
    lines: Receiver<String>,
}

impl Subscriber {
    fn start(test: &TestCluster, after: &str, targets: &str) -> Result<Self> {
        let mut command = test.cluster.client("query-app", "operator", "operator")?;
        command
            .args(["tail", "live/**", "--format", "ndjson", "--timeout", "30s"])
            .args(["--after", after, "--target", targets])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().context("no output")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            // What is killed in the middle of a line has not given that reading.
            while stdout.read_line(&mut line).is_ok() && line.ends_with('\n') {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// Takes so many readings.
    fn take(&mut self, seen: &mut Seen, readings: u64) -> Result<()> {
        for _ in 0..readings {
            let Ok(line) = self.lines.recv_timeout(READING_TIMEOUT) else {
                let mut said = String::new();
                self.child.kill()?;
                if let Some(stderr) = &mut self.child.stderr {
                    stderr.read_to_string(&mut said)?;
                }
                bail!("no reading after {}: {said}", seen.position);
            };
            seen.take(&line)?;
        }
        Ok(())
    }

    /// Kills it, and takes what it had written.
    fn kill(mut self, seen: &mut Seen) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        while let Ok(line) = self.lines.recv() {
            seen.take(&line)?;
        }
        Ok(())
    }
}

#[test]
fn a_subscriber_that_reconnects_a_hundred_times_while_leaders_die_sees_each_reading_once()
-> Result<()> {
    let mut test = TestCluster::start()?;
    let addresses: Vec<String> = test
        .cluster
        .targets()
        .split(',')
        .map(str::to_owned)
        .collect();
    let mut agent = test.agent(
        "live",
        &[
            "--source",
            "plant",
            "--prefix",
            "live",
            "--devices",
            "4",
            "--rate",
            "20",
            "--seed",
            "7",
            "--batch-max",
            "20",
            "--linger",
            "20ms",
            "--json",
        ],
    )?;
    let mut seen = Seen {
        position: "0-0".to_owned(),
        ..Seen::default()
    };
    let mut down = None;
    let mut killed = 0;
    for round in 0..RECONNECTS {
        // Another node each time; the others are named in case it is down.
        let mut order = addresses.clone();
        order.rotate_left(usize::try_from(round)? % addresses.len());
        let mut subscriber = Subscriber::start(&test, &seen.position, &order.join(","))?;
        subscriber.take(&mut seen, 1 + round % 5 * 25)?;
        subscriber.kill(&mut seen)?;
        if round % RECONNECTS_A_CHANGE == RECONNECTS_A_CHANGE - 1 {
            match down.take() {
                Some(node) => test.cluster.restart(node)?,
                None => {
                    let leader = test.cluster.leader()?;
                    test.cluster.kill(leader)?;
                    killed += 1;
                    down = Some(leader);
                }
            }
        }
    }
    if let Some(node) = down {
        test.cluster.restart(node)?;
    }
    agent.signal(Signal::TERM)?;
    let sent = summary(&mut agent)?["acked"].as_u64().context("no count")?;
    test.cluster.wait_applied(APPLY_TIMEOUT)?;

    // The rest, in one go.
    let mut subscriber = Subscriber::start(&test, &seen.position, &addresses.join(","))?;
    while (seen.readings.len() as u64) < sent {
        subscriber.take(&mut seen, 1)?;
    }
    subscriber.kill(&mut seen)?;

    let repeated: Vec<_> = seen
        .readings
        .iter()
        .filter(|(_, (_, times))| *times > 1)
        .collect();
    ensure!(
        repeated.is_empty(),
        "{} readings were seen more than once, such as {:?}",
        repeated.len(),
        repeated[0]
    );
    let expected = test.readings_on(1, "live/**")?;
    ensure!(
        expected.len() as u64 == sent && seen.readings.keys().eq(expected.keys()),
        "{} readings were seen of {} that are there and {sent} that were acknowledged",
        seen.readings.len(),
        expected.len()
    );
    println!(
        "{RECONNECTS} reconnects, {killed} leaders killed, {} readings seen once each",
        seen.readings.len()
    );
    test.cluster.stop()
}
