//! A power cut at every operation around purges: the vote and the entries that were not purged are
//! there afterwards, and the log is accepted above whatever manifest is.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use bytes::Bytes;
use openraft::{
    RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
    vote::RaftLeaderId,
};
use segment_log::{
    Disk,
    fake::{FakeDisk, Fault},
};
use store_node::{
    raft::{
        log_store::LogStore,
        position::Place,
        types::{Content, Entry, LeaderId, LogId, OnFatal, Payload, StoredMembers, Types, Vote},
    },
    segments::manifest::Manifest,
    state::voids::Voids,
};

use super::{LOG, open};

const MANIFESTS: &str = "/data/shards/0/manifests";
/// Entries of one round: more than fit a log segment.
const ROUND: u64 = 24;

fn id(term: u64, index: u64) -> LogId {
    LogId {
        leader_id: LeaderId::new(term, 1),
        index,
    }
}

fn entry(term: u64, index: u64) -> Entry {
    let content = format!("entry {term}-{index} {}", "x".repeat(200));
    Entry {
        log_id: id(term, index),
        payload: Content::Normal(Payload(Bytes::from(content))),
    }
}

fn manifest(at: LogId) -> Manifest {
    let place = Place {
        id: at,
        members: StoredMembers::default(),
    };
    Manifest {
        position: place.to_position(0),
        jobs_through: at.index,
        total: 0,
        series: Vec::new(),
        producers: Vec::new(),
        nodes: Vec::new(),
        boards: Vec::new(),
        tombstones: Vec::new(),
        retention: Vec::new(),
        voids: Some(Voids::default()),
        segments: Vec::new(),
    }
}

/// What was promised before the power went.
#[derive(Debug, Default)]
struct Promised {
    entries: BTreeMap<u64, Entry>,
    vote: Option<Vote>,
    /// Where the last manifest that was stored stands.
    manifest: Option<u64>,
}

/// Votes, appends, and purges behind a manifest, round after round; stops at the first failure.
async fn work(
    disk: &FakeDisk,
    store: &mut LogStore,
    promised: &mut Promised,
) -> std::io::Result<()> {
    let mut next = 0;
    for term in 1..=3 {
        let vote = Vote {
            leader_id: LeaderId::new(term, 1),
            committed: true,
        };
        store.save_vote(&vote).await?;
        promised.vote = Some(vote);
        append(store, promised, term, next..=next + ROUND - 1).await?;
        next += ROUND;
        store.save_committed(Some(id(term, next - 2))).await?;
        let at = id(term, next - 4);
        manifest(at)
            .store(disk, Path::new(MANIFESTS))
            .map_err(std::io::Error::other)?;
        promised.manifest = Some(at.index);
        store.purge(at).await?;
    }
    Ok(())
}

/// Takes a manifest of another term over, in the steps of the consensus library: over a log that ends
/// before it, or one that goes on beyond it on another branch. Then goes on after it.
async fn install(
    branch: u64,
    disk: &FakeDisk,
    store: &mut LogStore,
    promised: &mut Promised,
) -> std::io::Result<()> {
    let vote = Vote {
        leader_id: LeaderId::new(5, 1),
        committed: true,
    };
    store.save_vote(&vote).await?;
    promised.vote = Some(vote);
    append(store, promised, 1, 0..=branch).await?;
    store.save_committed(Some(id(1, 10))).await?;
    let at = id(4, 40);
    if branch >= at.index {
        promised.entries.split_off(&11);
        store.truncate_after(Some(id(1, 10))).await?;
    }
    manifest(at)
        .store(disk, Path::new(MANIFESTS))
        .map_err(std::io::Error::other)?;
    promised.manifest = Some(at.index);
    store.purge(at).await?;
    append(store, promised, 5, 41..=60).await
}

async fn append(
    store: &mut LogStore,
    promised: &mut Promised,
    term: u64,
    indexes: std::ops::RangeInclusive<u64>,
) -> std::io::Result<()> {
    let entries: Vec<Entry> = indexes.map(|index| entry(term, index)).collect();
    for entries in entries.chunks(4) {
        let (tx, synced) = Types::oneshot();
        store
            .append(entries.to_vec(), IOFlushed::signal(tx))
            .await?;
        synced.await.map_err(std::io::Error::other)??;
        let acknowledged = entries
            .iter()
            .map(|entry| (entry.log_id.index, entry.clone()));
        promised.entries.extend(acknowledged);
    }
    Ok(())
}

/// What is done on a disk that fails at some operation.
#[derive(Debug, Clone, Copy)]
enum Workload {
    Rounds,
    Install { branch: u64 },
}

async fn run(workload: Workload, disk: &FakeDisk) -> Promised {
    let mut promised = Promised::default();
    let on_fatal = OnFatal::new(|_| {});
    if let Ok(mut opened) = open(Arc::new(disk.clone()), on_fatal, None) {
        let store = &mut opened.store;
        let done = match workload {
            Workload::Rounds => work(disk, store, &mut promised).await,
            Workload::Install { branch } => install(branch, disk, store, &mut promised).await,
        };
        drop(done);
        drop(opened.writer.shutdown());
    }
    promised
}

/// Runs the workload on disks that fail at each operation in turn.
async fn fail_everywhere(workload: Workload, operations: u64) {
    for at in 1..=operations {
        for fault in [Fault::Crash, Fault::Tear, Fault::FailWrite, Fault::FailSync] {
            let disk = FakeDisk::with_seed(at);
            disk.inject(fault, at);
            let promised = run(workload, &disk).await;
            check(disk.power_cut(), &promised, at).await;
        }
    }
}

/// Opens what is left, checks it, writes to it, and opens it again.
async fn check(disk: FakeDisk, promised: &Promised, at: u64) {
    let found = Manifest::load(&disk, Path::new(MANIFESTS))
        .unwrap_or_else(|error| panic!("power cut at operation {at}: {error}"));
    let base = found.as_ref().map(|manifest| &manifest.position);
    assert!(
        base.map(|base| base.index) >= promised.manifest,
        "power cut at operation {at}: the manifest is lost"
    );
    let on_fatal = || OnFatal::new(|line| panic!("{line}"));
    let mut opened = open(Arc::new(disk.clone()), on_fatal(), base)
        .unwrap_or_else(|error| panic!("power cut at operation {at}: {error}"));
    let store = &mut opened.store;
    let vote = store.read_vote().await.expect("in memory");
    assert!(
        vote >= promised.vote,
        "power cut at operation {at}: of {:?} is left {vote:?}",
        promised.vote
    );
    let found = store.try_get_log_entries(..).await;
    let found: BTreeMap<u64, Entry> = found
        .expect("entries are readable")
        .into_iter()
        .map(|entry| (entry.log_id.index, entry))
        .collect();
    let kept = base.map_or(0, |base| base.index + 1);
    for (index, given) in promised.entries.range(kept..) {
        assert_eq!(found.get(index), Some(given), "power cut at operation {at}");
    }
    assert_eq!(
        found.range(..kept).next(),
        None,
        "power cut at operation {at}"
    );
    let state = store.get_log_state().await.expect("in memory");
    let next = state.last_log_id.map_or(0, |last| last.index + 1);
    let appended = store.append([entry(9, next)], IOFlushed::noop()).await;
    appended.expect("it follows");
    opened.writer.shutdown().expect("a healthy disk");
    let mut again = open(Arc::new(disk.restart()), on_fatal(), base)
        .unwrap_or_else(|error| panic!("after a power cut at operation {at}: {error}"));
    let kept = again.store.read_vote().await.expect("in memory");
    assert_eq!(kept, vote, "power cut at operation {at}");
    again.writer.shutdown().expect("a healthy disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vote_and_entries_survive_a_power_cut_at_every_operation_around_a_purge() {
    let whole = FakeDisk::new();
    let promised = run(Workload::Rounds, &whole).await;
    assert_eq!(promised.manifest, Some(3 * ROUND - 4), "it runs through");
    let segments = whole.list(Path::new(LOG)).expect("a healthy disk");
    assert!(segments.len() <= 4, "nothing was removed: {segments:?}");
    fail_everywhere(Workload::Rounds, whole.operations()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_every_operation_of_an_installation_leaves_a_log_to_go_on_from() {
    for branch in [20, 50] {
        let workload = Workload::Install { branch };
        let whole = FakeDisk::new();
        let promised = run(workload, &whole).await;
        assert_eq!(promised.entries.keys().last(), Some(&60), "it runs through");
        fail_everywhere(workload, whole.operations()).await;
    }
}
