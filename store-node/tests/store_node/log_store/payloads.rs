//! What jobs and queries ask of the log.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use openraft::{
    storage::{IOFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
    vote::RaftLeaderId,
};
use segment_log::fake::FakeDisk;
use store_node::{
    raft::{
        log_store::LogStore,
        recovery::OpenedLog,
        types::{Content, Entry, LeaderId, LogId, OnFatal, Payload, Types},
    },
    state::{PayloadError, Payloads},
};

use super::open;

fn entry(index: u64, payload: &Bytes) -> Entry {
    Entry {
        log_id: LogId {
            leader_id: LeaderId::new(1, 1),
            index,
        },
        payload: Content::Normal(Payload(payload.clone())),
    }
}

fn fresh(disk: &FakeDisk) -> OpenedLog {
    open(Arc::new(disk.clone()), OnFatal::new(|_| {}), None).expect("an empty disk opens")
}

async fn append(store: &mut LogStore, entry: Entry) {
    let (tx, synced) = Types::oneshot();
    let appended = store.append([entry], IOFlushed::signal(tx)).await;
    appended.expect("it follows");
    synced.await.expect("an answer").expect("it is synced");
}

/// Waits for an entry on a thread of its own.
fn wait(store: &LogStore, index: u64) -> Receiver<bool> {
    let (sender, told) = sync_channel(1);
    let store = store.clone();
    thread::spawn(move || sender.send(store.wait_synced(index)));
    told
}

/// What whoever waited was told.
fn told(waiting: &Receiver<bool>) -> bool {
    let told = waiting.recv_timeout(Duration::from_secs(30));
    told.expect("it is told before the test calls it never")
}

#[tokio::test]
async fn a_chunk_is_read_alone_and_within_its_entry() {
    let disk = FakeDisk::new();
    let mut log = fresh(&disk);
    let payload: Bytes = (0..3000_u32).map(|at| at.to_le_bytes()[0]).collect();
    // Without a cache it is on disk alone once it is synced.
    append(&mut log.store, entry(0, &payload)).await;
    for (offset, length) in [(0, 3000), (100, 64), (2999, 1), (3000, 0)] {
        let reads = disk.reads();
        let chunk = log.store.chunk(0, offset, length).expect("it is there");
        assert_eq!(chunk, payload[offset as usize..(offset + length) as usize]);
        assert!(disk.reads() <= reads + 1, "one read and no more");
    }
    for (offset, length) in [(0, 3001), (3000, 1), (u32::MAX, 1), (1, u32::MAX)] {
        let outside = log.store.chunk(0, offset, length);
        assert!(matches!(outside, Err(PayloadError::Absent { index: 0 })));
    }
    let absent = log.store.chunk(1, 0, 1);
    assert!(matches!(absent, Err(PayloadError::Absent { index: 1 })));
    log.writer.shutdown().expect("a healthy disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_an_entry_is_told_when_it_is_synced() {
    let disk = FakeDisk::new();
    let mut log = fresh(&disk);
    let waiting = wait(&log.store, 2);
    for index in 0..=2 {
        assert_eq!(
            waiting.try_recv(),
            Err(TryRecvError::Empty),
            "not before entry 2"
        );
        append(&mut log.store, entry(index, &Bytes::from_static(b"x"))).await;
    }
    assert!(told(&waiting));
    assert!(told(&wait(&log.store, 1)));
    log.writer.shutdown().expect("a healthy disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_is_let_go_when_the_log_fails_or_is_closed() {
    let disk = FakeDisk::new();
    let mut log = fresh(&disk);
    append(&mut log.store, entry(0, &Bytes::from_static(b"x"))).await;
    let waiting = wait(&log.store, 1);
    disk.power_cut();
    let lost = log
        .store
        .clone()
        .append([entry(1, &Bytes::from_static(b"x"))], IOFlushed::noop())
        .await;
    lost.expect("it is taken, and lost");
    assert!(!told(&waiting));
    assert!(told(&wait(&log.store, 0)), "what was synced before is");
    drop(log.writer.shutdown());

    let log = fresh(&FakeDisk::new());
    let waiting = wait(&log.store, 0);
    log.store.close();
    assert!(!told(&waiting));
    log.writer.shutdown().expect("a healthy disk");
}
