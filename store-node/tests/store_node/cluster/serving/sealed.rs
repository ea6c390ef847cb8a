//! What is sealed, on whole nodes: deleted, kept for a time, damaged and repaired.

mod boards;
mod deletes;
mod describe;
mod flips;
mod folder;
mod repair;
mod retention;
mod shown;
mod tail;

use std::path::PathBuf;
use std::sync::Arc;

use segment_log::{Disk, read_file};
use sensor_model::{Reading, Timestamp};
use store_node::command::{self, Seal};
use store_node::segments::manifest::{Manifest, SegmentEntry};
use store_wire::message::Intent;

use super::*;
use crate::cluster::until;

impl Cluster {
    /// A cluster of `size` with other settings than usual.
    async fn adjusted(size: u64, adjust: fn(&mut store_node::config::Config)) -> Self {
        let mut cluster = Self::blank(size);
        cluster.adjust = adjust;
        cluster.form().await;
        cluster
    }

    /// Commits a command, whoever leads.
    async fn commit(&self, payload: Bytes) -> Token {
        let leader = self.replica(self.leader().await);
        within(leader.propose(payload)).await.unwrap().token
    }

    /// Seals everything there is, and waits until all running nodes have done all jobs.
    async fn sealed(&self) -> Arc<Manifest> {
        let token = self.commit(command::seal(&Seal::default())).await;
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        let mut manifests = Vec::new();
        for id in ids {
            manifests.push(self.jobs_done(id, token).await);
        }
        assert!(manifests.iter().all(|manifest| *manifest == manifests[0]));
        manifests.swap_remove(0)
    }

    /// Waits until a node has done all jobs, that of `token` among them.
    async fn jobs_done(&self, id: u64, token: Token) -> Arc<Manifest> {
        let context = self.nodes[&id].context().unwrap();
        let done = until(|| {
            let manifest = context.archive.manifest()?;
            let is_settled = context.state.read().unwrap().is_settled();
            let is_done = is_settled && context.replica.applied() >= token;
            (is_done && manifest.position.index > 0).then_some(manifest)
        });
        done.await
    }

    fn segment_file(&self, id: u64, entry: &SegmentEntry) -> PathBuf {
        let context = self.nodes[&id].context().unwrap();
        context.archive.library().path(entry)
    }

    fn bytes_of(&self, id: u64, file: &std::path::Path) -> Option<Vec<u8>> {
        read_file(&self.disks[&id], file).ok()
    }
}

impl Client {
    /// Writes readings to whoever leads.
    async fn write(&self, cluster: &Cluster, written: &[(&str, &Columns)]) -> Token {
        let series = written
            .iter()
            .map(|(path, columns)| description(path, columns.kind()));
        let write = Request::Write {
            series: series.collect(),
            timeout_ms: TIMEOUT_MS,
        };
        let chunks: Vec<(u64, &Columns)> = (0..)
            .zip(written.iter().map(|(_, columns)| *columns))
            .collect();
        let leader = cluster.leader().await;
        let answer = self.ask(cluster, leader, &write, batch(&chunks)).await;
        token(answer).unwrap()
    }
}

fn token(answer: Result<Vec<(Response, Bytes)>, WireError>) -> Result<Token, WireError> {
    match answer?.pop() {
        Some((Response::Written { token }, _)) => Ok(token),
        other => panic!("{other:?} instead of a token"),
    }
}

fn delete(pattern: &str, from: i64, to: i64, intent: Intent) -> Request {
    Request::Delete {
        pattern: Pattern::new(pattern).unwrap(),
        range: TimeRange {
            from: Timestamp::from_nanos(from),
            to: Timestamp::from_nanos(to),
        },
        intent,
        timeout_ms: TIMEOUT_MS,
    }
}

/// Those of `columns` outside of a range.
fn without(columns: &Columns, from: i64, to: i64) -> Columns {
    let mut kept = Columns::empty(columns.kind());
    let is_kept = |reading: &Reading| {
        let time = reading.timestamp.as_nanos();
        time < from || to <= time
    };
    for reading in columns.readings().filter(is_kept) {
        kept.push(reading.timestamp, reading.value).unwrap();
    }
    kept
}
