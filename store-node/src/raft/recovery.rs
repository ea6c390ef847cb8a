//! Opens the consensus log: one pass over its records rebuilds the index and, above the newest
//! manifest, the replicated state.
//!
//! What the records add up to:
//!
//! - the greatest vote is the promise in force;
//! - an entry follows the last one that was not taken back;
//! - a truncation takes back what follows its position, which was never committed;
//! - a purge, or the manifest itself, says that entries up to its position are no longer needed; where
//!   the log ended before it, a manifest was installed, and the log goes on after it;
//! - entries above the manifest and up to a `committed` record are applied as it is met, so that memory
//!   holds no more than what was in flight when the record before it was written;
//! - entries after the last `committed` record are kept, not applied: whether they are committed is
//!   for the leader to say.
//!
//! Anything that contradicts itself is damage, and so is an entry that neither the log nor the manifest
//! holds; the log is not opened. What a machine that stopped half way can have left is put right: entries
//! that the manifest holds too are passed over, entries of another branch than the manifest's, which
//! were never committed, are taken back.

mod replay;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::Duration,
};

use bytes::Bytes;
use replay::{Applying, Replay, Replayed, Settle};
use segment_log::{
    Disk, Group, GroupOptions, GroupWriter, Location, OpenError, Options, Recovery, SegmentLog,
    WriteObserver, WriterThread,
};
use tracing::info;

use super::{
    index::LogIndex,
    log_store::LogStore,
    position::Place,
    record::{self, Record, RecordError},
    space::Space,
    state_machine::Machine,
    types::OnFatal,
};
use crate::{segments::manifest::Position, state::State};

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
    /// Bytes of purged entries kept for those who follow the log.
    pub keep_bytes: u64,
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

/// Opens or creates the log, applying what is known to be committed to `state`, which is as of the
/// newest manifest, at `base`; empty if there is none.
///
/// # Errors
/// See [`OpenLogError`]; the log is as it was, and `state` is of no use.
pub fn open(
    log: &OpenLog,
    state: &Arc<RwLock<State>>,
    base: Option<&Position>,
) -> Result<OpenedLog, OpenLogError> {
    let base = place(log.shard, base)?;
    let at = base.as_ref().map(|base| base.id);
    let mut replay = Replay::new(
        log.shard,
        base,
        LogIndex::new(log.tail_cache_bytes, log.keep_bytes),
        Arc::clone(state),
        Applying::Committed,
    );
    let (segments, recovery) = SegmentLog::open(
        Arc::clone(&log.disk),
        &log.dir,
        log.options.clone(),
        &mut |location, bytes| {
            let record = record::decode(log.shard, &Bytes::copy_from_slice(bytes))?;
            Ok(replay.take(location, record)?)
        },
    )?;
    let Replayed {
        index,
        machine,
        settle,
    } = replay.finish()?;
    info!(
        manifest = ?at.map(|id| id.index),
        last = ?index.last().map(|id| id.index),
        applied = ?machine.applied().map(|id| id.index),
        records = recovery.records,
        "consensus log opened"
    );
    let group = GroupOptions {
        queue_bytes_max: QUEUE_BYTES_MAX,
        ..GroupOptions::default()
    };
    let (writer, thread) =
        GroupWriter::spawn(segments, group, SyncMetrics).map_err(OpenLogError::Thread)?;
    let space = Space::new(Arc::clone(&log.disk), &log.dir, log.reserve_bytes);
    let on_fatal = log.on_fatal.clone();
    let store = LogStore::new(log.shard, index, writer, space.clone(), on_fatal);
    if let Settle::TakeBack(last) = settle {
        store.submit_truncation(last.as_ref());
    }
    if let Some(at) = at {
        store.settle_above(&at, &recovery, settle != Settle::Nothing);
    }
    Ok(OpenedLog {
        store,
        machine,
        space,
        writer: thread,
        recovery,
    })
}

/// Reads and checks a whole log above the newest manifest, at `base`, without changing or applying
/// anything, and shows every record to `see`.
///
/// # Errors
/// As [`open`].
pub fn inspect(
    disk: &dyn Disk,
    dir: &Path,
    shard: u32,
    base: Option<&Position>,
    see: &mut dyn FnMut(Location, &Record),
) -> Result<Recovery, OpenLogError> {
    let unused = Arc::new(RwLock::new(State::new()));
    let base = place(shard, base)?;
    let mut replay = Replay::new(shard, base, LogIndex::new(0, 0), unused, Applying::Nothing);
    let recovery = segment_log::verify(disk, dir, &mut |location, bytes| {
        let record = record::decode(shard, &Bytes::copy_from_slice(bytes))?;
        see(location, &record);
        Ok(replay.take(location, record)?)
    })?;
    replay.finish()?;
    Ok(recovery)
}

fn place(shard: u32, base: Option<&Position>) -> Result<Option<Place>, OpenLogError> {
    let place = base.map(|base| Place::of(shard, base)).transpose();
    place.map_err(OpenLogError::Base)
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
    /// The position of the manifest is not one.
    #[error("the position in the manifest is malformed")]
    Base(#[source] RecordError),
    /// The thread that writes the log could not be started.
    #[error("the log's writer thread could not be started")]
    Thread(#[source] std::io::Error),
}

impl OpenLogError {
    /// Whether what is on the disk is not what was written.
    pub const fn is_damage(&self) -> bool {
        match self {
            Self::Segments(error) => matches!(
                error,
                OpenError::Corrupt { .. } | OpenError::Missing { .. } | OpenError::Visit { .. }
            ),
            Self::Contradiction(_) | Self::Base(_) => true,
            Self::Thread(_) => false,
        }
    }
}

/// Records that contradict each other: part of the log is missing, or was written wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the consensus log contradicts itself: {reason}")]
pub struct Contradiction {
    reason: String,
}

impl Contradiction {
    fn new(reason: String) -> Self {
        Self { reason }
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
