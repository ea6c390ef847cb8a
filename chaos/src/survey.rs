//! What every node has at the end: all readings, held against what was written, and the files that
//! depend on the log alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use local_cluster::{LocalCluster, until};
use sensor_model::{Consistency, Kind, Pattern, TimeRange, Timestamp, Values};
use store_wire::client::{Dialer, request};
use store_wire::columns::decode_columns;
use store_wire::endpoint::Protocol;
use store_wire::message::{Bounds, RangeQuestion, Request, Response};
use tokio::time::Instant;

use crate::history::{Replica, ReplicaSeries};
use crate::readings::{Script, Tally};
use crate::workload::put::{put_number, writer_of};

/// How long one node may take to give everything.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(180);
/// How long nodes may take to be done with the same jobs.
const QUIET_TIMEOUT: Duration = Duration::from_secs(60);
/// Everything the workload wrote.
const EVERYTHING: &str = "chaos/**";

/// Waits until no node has a job left and all stand at the same manifest, so that their files can be
/// compared. Says whether it came to that.
pub fn wait_quiet(cluster: &LocalCluster, ids: &[u64]) -> bool {
    let quiet = until("the end of all jobs", QUIET_TIMEOUT, || {
        let mut stands = Vec::new();
        for id in ids {
            let status = cluster.status(*id)?;
            if status["jobs_waiting"].as_u64() != Some(0) {
                return Ok(None);
            }
            stands.push(status["last_snapshot"].as_u64());
        }
        Ok(stands
            .windows(2)
            .all(|pair| pair[0] == pair[1])
            .then_some(()))
    });
    quiet.is_ok()
}

/// Everything that the node at `address` has, as it stands.
///
/// # Errors
/// When it does not give all of it.
pub async fn replica(dialer: &Dialer, node: u64, address: &str) -> Result<Replica> {
    let mut series = counts(dialer, address).await?;
    let range = TimeRange::new(Timestamp::from_nanos(0), Timestamp::from_nanos(i64::MAX))?;
    let request = Request::Range {
        question: Box::new(RangeQuestion::new(Pattern::new(EVERYTHING)?, range)),
        bounds: Bounds::default(),
        consistency: Consistency::Any,
        timeout_ms: u64::try_from(EXPORT_TIMEOUT.as_millis())?,
    };
    let mut open: Option<(String, Contents)> = None;
    ask(dialer, address, &request, |response, body| {
        match response {
            Response::SeriesHead { series: next, .. } => {
                close(open.take(), &mut series);
                let path = next.path.as_str().to_owned();
                let contents = Contents::of(&path)
                    .with_context(|| format!("{path} is no series of the workload"))?;
                open = Some((path, contents));
            }
            Response::Rows { count } => {
                let columns = decode_columns(Kind::I64, count, body)?;
                let (Values::I64(values), Some((_, contents))) = (columns.values, &mut open) else {
                    bail!("rows of another kind, or of no series");
                };
                let rows = columns.times.into_iter().zip(values);
                rows.for_each(|(time, value)| contents.add(time, value));
            }
            _ => {}
        }
        Ok(())
    })
    .await
    .with_context(|| format!("node {node} does not give its readings"))?;
    close(open.take(), &mut series);
    Ok(Replica {
        node,
        series,
        files: BTreeMap::new(),
    })
}

/// How many readings the node says it applied, by path.
async fn counts(dialer: &Dialer, address: &str) -> Result<BTreeMap<String, ReplicaSeries>> {
    let request = Request::Series {
        pattern: Pattern::new(EVERYTHING)?,
        consistency: Consistency::Any,
        timeout_ms: u64::try_from(EXPORT_TIMEOUT.as_millis())?,
    };
    let mut counts = BTreeMap::new();
    ask(dialer, address, &request, |response, _| {
        if let Response::SeriesList { series } = response {
            for info in series {
                let known = ReplicaSeries {
                    count: info.count,
                    ..ReplicaSeries::default()
                };
                counts.insert(info.description.path.as_str().to_owned(), known);
            }
        }
        Ok(())
    })
    .await?;
    Ok(counts)
}

/// Asks, and hands over each frame.
async fn ask(
    dialer: &Dialer,
    address: &str,
    question: &Request,
    mut hear: impl FnMut(Response, Bytes) -> Result<()>,
) -> Result<()> {
    let connection = dialer.connect(address, Protocol::Query).await?;
    let deadline = Instant::now() + EXPORT_TIMEOUT;
    let mut answer = request(&connection, question, Bytes::new(), deadline).await?;
    while let Some((response, body)) = answer.next().await? {
        hear(response, body)?;
    }
    Ok(())
}

/// The readings of one series.
enum Contents {
    Producer(Box<Tally>),
    Writer {
        writer: u32,
        puts: Vec<u64>,
        rows: u64,
        oddity: Option<String>,
    },
}

impl Contents {
    fn of(path: &str) -> Option<Self> {
        if let Some((script, track)) = Script::of_path(path) {
            return Some(Self::Producer(Box::new(Tally::new(script, track, 1))));
        }
        Some(Self::Writer {
            writer: writer_of(path)?,
            puts: Vec::new(),
            rows: 0,
            oddity: None,
        })
    }

    fn add(&mut self, time: i64, value: i64) {
        match self {
            Self::Producer(tally) => tally.add(time, value),
            Self::Writer {
                writer,
                puts,
                rows,
                oddity,
            } => {
                *rows += 1;
                match put_number(*writer, time, value) {
                    Some(number) => puts.push(number),
                    None => {
                        *oddity = Some(format!("has {value:#x} at {time}, which was never written"))
                    }
                }
            }
        }
    }
}

fn close(open: Option<(String, Contents)>, series: &mut BTreeMap<String, ReplicaSeries>) {
    let Some((path, contents)) = open else {
        return;
    };
    let known = series.entry(path).or_default();
    match contents {
        Contents::Producer(tally) => {
            let found = tally.found();
            known.rows = found.rows;
            known.through = found.through;
            known.oddity = found.oddity;
        }
        Contents::Writer {
            puts, rows, oddity, ..
        } => {
            known.rows = rows;
            known.puts = puts;
            known.oddity = oddity;
        }
    }
}

/// The manifests in a node's data folder, by name, with the hash of their bytes: where two nodes have
/// one of the same name, it stands at the same position, and must be the same.
///
/// # Errors
/// When the folder cannot be read.
pub fn files(data: &Path) -> Result<BTreeMap<String, String>> {
    let folder = data.join("shards/0/manifests");
    let mut files = BTreeMap::new();
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.ends_with(".manifest") {
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.insert(name.to_owned(), blake3::hash(&bytes).to_hex().to_string());
        }
    }
    Ok(files)
}
