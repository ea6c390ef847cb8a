//! The log: entries appended, and everything read back at a start.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::vote::RaftLeaderId;
use segment_log::{Options, OsDisk, SegmentLog};
use store_node::raft::record;
use store_node::raft::recovery::{self, OpenLog};
use store_node::raft::types::{Content, Entry, LeaderId, LogId, OnFatal, Payload};
use tempfile::TempDir;

use crate::Work;
use crate::history::{History, Readings};

const SHARD: u32 = 0;
/// Batches of ten chunks.
const BATCHES: u32 = 100;
/// Series of a gateway that sends one reading of each together: few for so many batches, as opening
/// them is not what counts here.
const GATEWAY: u32 = 100;
const GATEWAY_BATCHES: u32 = 200;

fn batches() -> History {
    History::of(Readings {
        series: BATCHES,
        count: 10_000,
        period: Duration::from_secs(1),
    })
}

fn id(index: u64) -> LogId {
    LogId {
        leader_id: LeaderId::new(1, 1),
        index,
    }
}

fn entry(index: u64, payload: Bytes) -> Entry {
    Entry {
        log_id: id(index),
        payload: Content::Normal(Payload(payload)),
    }
}

fn open(dir: &Path) -> SegmentLog {
    let visit = &mut |_, _: &[u8]| Ok(());
    let opened = SegmentLog::open(Arc::new(OsDisk), dir, Options::default(), visit);
    opened.unwrap().0
}

/// Each entry from consensus to the system's buffers.
pub(crate) fn append() -> Work {
    let history = batches();
    let dir = TempDir::new().unwrap();
    let mut log = open(dir.path());
    Work {
        unit: "batch of ten chunks",
        units: BATCHES as usize,
        once: Box::new(move || {
            // The folder is to live as long as the log.
            let _ = &dir;
            for (index, payload) in history.entries().skip(2) {
                let entry = entry(index, payload.clone());
                log.append_all(&[record::entry(SHARD, &entry)]).unwrap();
                log.flush().unwrap();
            }
        }),
    }
}

/// Each batch of a log in which nothing is sealed.
pub(crate) fn start() -> Work {
    start_of(&batches(), "batch of ten chunks", BATCHES)
}

/// Each reading of such a log, in chunks of one.
pub(crate) fn start_single() -> Work {
    let history = History::of_single(GATEWAY, GATEWAY_BATCHES);
    start_of(&history, "reading", GATEWAY * GATEWAY_BATCHES)
}

fn start_of(history: &History, unit: &'static str, units: u32) -> Work {
    let dir = TempDir::new().unwrap();
    let mut log = open(dir.path());
    // The log of consensus begins with index 0.
    let blank = Entry {
        log_id: id(0),
        payload: Content::Blank,
    };
    log.append_shared(&record::entry(SHARD, &blank)).unwrap();
    for (index, payload) in history.entries() {
        let entry = entry(index, payload.clone());
        log.append_shared(&record::entry(SHARD, &entry)).unwrap();
        let committed = record::committed(SHARD, Some(&id(index)));
        log.append_shared(&committed).unwrap();
    }
    log.close().unwrap();
    let last = history.last();
    Work {
        unit,
        units: units as usize,
        once: Box::new(move || {
            let log = OpenLog {
                disk: Arc::new(OsDisk),
                dir: dir.path().to_owned(),
                shard: SHARD,
                options: Options::default(),
                tail_cache_bytes: 0,
                keep_bytes: 0,
                reserve_bytes: 0,
                on_fatal: OnFatal::new(|line| panic!("{line}")),
            };
            let opened = recovery::open(&log, &Arc::default(), None).unwrap();
            let applied = opened.machine.applied().map(|id| id.index);
            assert_eq!(applied, Some(last));
            opened.writer.shutdown().unwrap();
        }),
    }
}
