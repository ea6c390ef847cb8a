//! A power cut at every operation of a workload: what was acknowledged is there afterwards.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use openraft::{
    RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
    vote::RaftLeaderId,
};
use segment_log::fake::{FakeDisk, Fault};
use store_node::raft::{
    log_store::LogStore,
    types::{Content, Entry, LeaderId, LogId, OnFatal, Payload, Types, Vote},
};

use super::open;

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

/// What the log promised before the power went.
#[derive(Debug, Default)]
struct Promised {
    /// Entries whose append was acknowledged and that were not taken back.
    entries: BTreeMap<u64, Entry>,
    vote: Option<Vote>,
    /// The most that was ever said to be committed, and that the log was told.
    committed: Option<LogId>,
}

/// Appends, promises and truncates; stops at the first failure.
async fn work(store: &mut LogStore, promised: &mut Promised) -> std::io::Result<()> {
    let mut next = 0;
    for term in 1..=4 {
        let vote = Vote {
            leader_id: LeaderId::new(term, 1),
            committed: true,
        };
        store.save_vote(&vote).await?;
        promised.vote = Some(vote);
        for _ in 0..4 {
            let entries: Vec<Entry> = (next..next + 3).map(|index| entry(term, index)).collect();
            let (tx, synced) = Types::oneshot();
            store.append(entries.clone(), IOFlushed::signal(tx)).await?;
            synced.await.map_err(std::io::Error::other)??;
            let acknowledged = entries.into_iter().map(|entry| (entry.log_id.index, entry));
            promised.entries.extend(acknowledged);
            next += 3;
        }
        let committed = id(term, next - 3);
        store.save_committed(Some(committed)).await?;
        promised.committed = Some(committed);
        let kept = id(term, next - 2);
        promised.entries.split_off(&(kept.index + 1));
        store.truncate_after(Some(kept)).await?;
        next = kept.index + 1;
    }
    Ok(())
}

/// Runs the workload on a disk that fails at its `at`-th operation.
async fn run(disk: &FakeDisk) -> Promised {
    let mut promised = Promised::default();
    let failed = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&failed);
    let on_fatal = OnFatal::new(move |line| {
        note.lock()
            .expect("nobody panics with it")
            .push(line.to_owned());
    });
    if let Ok(mut opened) = open(Arc::new(disk.clone()), on_fatal, None) {
        let outcome = work(&mut opened.store, &mut promised).await;
        drop(opened.writer.shutdown());
        if outcome.is_err() {
            let lines = failed.lock().expect("nobody panics with it").len();
            assert!(lines > 0, "a failing log says so: {outcome:?}");
        }
    }
    promised
}

async fn check(disk: FakeDisk, promised: &Promised, at: u64) {
    let on_fatal = OnFatal::new(|line| panic!("{line}"));
    let mut opened = open(Arc::new(disk), on_fatal, None)
        .unwrap_or_else(|error| panic!("power cut at operation {at}: {error}"));
    let store = &mut opened.store;
    let vote = store.read_vote().await.expect("kept in memory");
    assert!(
        vote >= promised.vote,
        "power cut at operation {at}: the vote {vote:?} is forgotten"
    );
    let found = store
        .try_get_log_entries(..)
        .await
        .expect("entries are readable");
    let found: BTreeMap<u64, Entry> = found.into_iter().map(|e| (e.log_id.index, e)).collect();
    for (index, given) in &promised.entries {
        assert_eq!(found.get(index), Some(given), "power cut at operation {at}");
    }
    let applied = opened.machine.applied();
    assert!(
        applied <= promised.committed,
        "power cut at operation {at}: {applied:?} was applied"
    );
    let last = store
        .get_log_state()
        .await
        .expect("kept in memory")
        .last_log_id;
    assert!(applied <= last, "power cut at operation {at}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_power_cut_at_every_operation() {
    let whole = FakeDisk::new();
    let promised = run(&whole).await;
    assert_eq!(
        promised.committed,
        Some(id(4, 42)),
        "the workload runs through"
    );
    let operations = whole.operations();
    assert!(
        operations > 60,
        "only {operations} operations: the workload is too small"
    );
    for at in 1..=operations {
        for fault in [Fault::Crash, Fault::Tear] {
            let disk = FakeDisk::with_seed(at);
            disk.inject(fault, at);
            let promised = run(&disk).await;
            check(disk.power_cut(), &promised, at).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_or_sync_is_reported_and_nothing_acknowledged_is_lost() {
    let whole = FakeDisk::new();
    run(&whole).await;
    for at in 1..=whole.operations() {
        for fault in [Fault::FailWrite, Fault::FailSync, Fault::NoSpace] {
            let disk = FakeDisk::with_seed(at);
            disk.inject(fault, at);
            let promised = run(&disk).await;
            check(disk.power_cut(), &promised, at).await;
        }
    }
}
