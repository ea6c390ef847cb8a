//! Opens the consensus log: one pass over its records rebuilds the index and the replicated state.
//!
//! What the records add up to:
//!
//! - the last vote is the promise in force;
//! - an entry follows the last one that was not taken back;
//! - a truncation takes back what follows its position, which was never committed;
//! - entries up to a `committed` record are applied as it is met, so that memory holds no more than
//!   what was in flight when the record before it was written;
//! - entries after the last `committed` record are kept, not applied: whether they are committed is
//!   for the leader to say.
//!
//! Anything that contradicts itself is damage, and the log is not opened.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use segment_log::{
    Disk, Group, GroupOptions, GroupWriter, Location, OpenError, Options, Recovery, SegmentLog,
    VisitError, WriteObserver, WriterThread,
};
use tracing::info;

use super::{
    index::LogIndex,
    log_store::LogStore,
    record::{self, Record},
    space::Space,
    state_machine::Machine,
    types::{Entry, LogId, OnFatal},
};
use crate::state::State;

/// The writer's queue is so large that no submission ever waits for room in it: proposals are
/// bounded by permits, and a follower has at most 64 requests of 1 MiB on their way to the disk.
const QUEUE_BYTES_MAX: usize = 512 << 20;

/// What opening a log needs.
#[derive(Debug, Clone)]
pub struct OpenLog {
    /// Where.
    pub disk: Arc<dyn Disk>,
    /// The folder of the segments.
    pub dir: PathBuf,
    /// The shard its records carry.
    pub shard: u32,
    /// Sizes of segments, and the salt of their checksums.
    pub options: Options,
    /// Bytes of newest entries kept in memory.
    pub tail_cache_bytes: usize,
    /// Bytes of the disk that stay free.
    pub reserve_bytes: u64,
    /// Told when the log fails.
    pub on_fatal: OnFatal,
}

/// An open log.
#[derive(Debug)]
pub struct OpenedLog {
    /// The log.
    pub store: LogStore,
    /// What was known to be committed, applied.
    pub machine: Machine,
    /// How much room the disk has.
    pub space: Space,
    /// The thread that writes the log; shut it down after consensus.
    pub writer: WriterThread,
    /// What the segment log found.
    pub recovery: Recovery,
}

/// Opens or creates the log, applying what is known to be committed to `state`.
pub fn open(log: &OpenLog, state: &Arc<RwLock<State>>) -> Result<OpenedLog, OpenLogError> {
    let mut replay = Replay::new(log.shard, log.tail_cache_bytes, Arc::clone(state));
    let (segments, recovery) = SegmentLog::open(
        Arc::clone(&log.disk),
        &log.dir,
        log.options.clone(),
        &mut |location, bytes| replay.visit(location, bytes),
    )?;
    let (index, machine) = replay.finish()?;
    info!(
        last = ?index.last().map(|id| id.index),
        applied = ?machine.applied().map(|id| id.index),
        records = recovery.records,
        "consensus log opened"
    );
    let bytes = segments.bytes();
    let group = GroupOptions {
        queue_bytes_max: QUEUE_BYTES_MAX,
        ..GroupOptions::default()
    };
    let (writer, thread) =
        GroupWriter::spawn(segments, group, SyncMetrics).map_err(OpenLogError::Thread)?;
    let space = Space::new(Arc::clone(&log.disk), &log.dir, log.reserve_bytes);
    let on_fatal = log.on_fatal.clone();
    let store = LogStore::new(log.shard, index, writer, space.clone(), on_fatal, bytes);
    Ok(OpenedLog {
        store,
        machine,
        space,
        writer: thread,
        recovery,
    })
}

/// Reads and checks a whole log without changing it, showing every record to `see`.
pub fn inspect(
    disk: &dyn Disk,
    dir: &Path,
    shard: u32,
    see: &mut dyn FnMut(Location, &Record),
) -> Result<Recovery, OpenLogError> {
    let state = Arc::new(RwLock::new(State::new()));
    let mut replay = Replay::new(shard, 0, state);
    let recovery = segment_log::verify(disk, dir, &mut |location, bytes| {
        let record = record::decode(shard, &Bytes::copy_from_slice(bytes))?;
        see(location, &record);
        Ok(replay.take(location, record)?)
    })?;
    replay.finish()?;
    Ok(recovery)
}

/// Why a consensus log was not opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// The segments cannot be opened, or a record is refused; the source says which and why.
    #[error(transparent)]
    Segments(#[from] OpenError),
    /// The records are whole, but what they add up to is not.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
    /// The thread that writes the log could not be started.
    #[error("the log's writer thread could not be started")]
    Thread(#[source] std::io::Error),
}

/// Records that contradict each other: part of the log is missing, or was written wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the consensus log contradicts itself: {reason}")]
pub struct Contradiction {
    reason: String,
}

fn contradiction(reason: String) -> Contradiction {
    Contradiction { reason }
}

/// The state of the log after the records seen so far.
struct Replay {
    shard: u32,
    index: LogIndex,
    machine: Machine,
    /// The entries that are not applied, the newest of the log.
    waiting: VecDeque<Entry>,
}

impl Replay {
    fn new(shard: u32, tail_cache_bytes: usize, state: Arc<RwLock<State>>) -> Self {
        {
            // A fresh pass starts from nothing, whatever an earlier attempt left.
            let mut state = state.write().unwrap_or_else(PoisonError::into_inner);
            *state = State::new();
        }
        Self {
            shard,
            index: LogIndex::new(tail_cache_bytes),
            machine: Machine::new(state),
            waiting: VecDeque::new(),
        }
    }

    fn visit(&mut self, location: Location, bytes: &[u8]) -> Result<(), VisitError> {
        let record = record::decode(self.shard, &Bytes::copy_from_slice(bytes))?;
        Ok(self.take(location, record)?)
    }

    fn take(&mut self, location: Location, record: Record) -> Result<(), Contradiction> {
        match record {
            Record::Vote(vote) => self.index.vote = Some(vote),
            Record::Entry(entry) => {
                self.index
                    .push_location(&entry.log_id, location)
                    .map_err(|gap| contradiction(gap.to_string()))?;
                self.waiting.push_back(entry);
            }
            Record::Truncate(last) => self.truncate_after(last)?,
            Record::Purge(upto) => {
                self.index.purge(&upto);
                self.waiting.retain(|entry| entry.log_id.index > upto.index);
            }
            Record::Committed(None) => {}
            Record::Committed(Some(upto)) => self.commit(&upto)?,
        }
        Ok(())
    }

    fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), Contradiction> {
        let end = last.map_or(0, |last| last.index + 1);
        if let Some(applied) = self.machine.applied().filter(|id| id.index >= end) {
            return Err(contradiction(format!(
                "entry {applied} was committed, and is taken back later"
            )));
        }
        self.index.truncate_after(last.as_ref());
        self.waiting.retain(|entry| entry.log_id.index < end);
        Ok(())
    }

    fn commit(&mut self, upto: &LogId) -> Result<(), Contradiction> {
        if let Some(held) = self.index.id(upto.index).filter(|held| held != upto) {
            return Err(contradiction(format!(
                "entry {upto} was committed, and the log holds {held} in its place"
            )));
        }
        self.index.committed = self.index.committed.max(Some(*upto));
        while let Some(entry) = self.waiting.pop_front_if(|e| e.log_id.index <= upto.index) {
            self.machine.apply(&entry);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(LogIndex, Machine), Contradiction> {
        let first = self.index.first();
        if self.index.purged().is_none() && first.is_some_and(|first| first > 0) {
            return Err(contradiction(format!(
                "it begins with entry {}, those before it are missing",
                first.unwrap_or_default()
            )));
        }
        for entry in self.waiting {
            self.index.cache(entry);
        }
        Ok((self.index, self.machine))
    }
}

/// Feeds the metrics of the log's writer.
struct SyncMetrics;

impl WriteObserver for SyncMetrics {
    fn group_written(&mut self, group: &Group) {
        metrics::counter!("tidemark_log_records_total").increment(group.records);
        metrics::counter!("tidemark_log_bytes_total").increment(group.payload_bytes);
        if let Some(duration) = group.sync_duration.as_ref().map(Duration::as_secs_f64) {
            metrics::histogram!("tidemark_log_sync_seconds").record(duration);
        }
    }
}
