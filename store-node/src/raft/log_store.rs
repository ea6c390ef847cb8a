//! The consensus log over the segment log, which is the store's only write-ahead log.
//!
//! Every change is one record of one stream, submitted in the order of the calls to the segment
//! log's writer thread. Nothing here waits for the disk but [`save_vote`](RaftLogStorage::save_vote),
//! whose promise must be durable before it is given.
//!
//! - An entry is readable as soon as `append` returns, from memory, and stays there until it is
//!   written; after that it may have to be read back from the disk, off the runtime's threads.
//! - `committed` is written after its entries and never synced on its own: losing the last few
//!   such records only means that a restarted node learns from the leader what it knew before.
//! - A truncation is a record as well, and needs no sync of its own: if it is lost, the entries it
//!   took back are uncommitted still, and are taken back again.
//! - Purged entries leave the index at once, and the disk a log segment at a time: `log_store/purge.rs`.
//! - Subscribers follow the log, also a little behind what was purged: `log_store/following.rs`.
//! - Queries read chunks back, jobs wait until what they write about is synced: `log_store/payloads.rs`.
//! - After a failed write or sync this node must not go on: [`OnFatal`] is told, once and clearly.

pub mod following;
mod payloads;
mod purge;

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds, RangeInclusive},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{Stream, stream};
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use segment_log::{Durability, GroupWriter, Location, WriteError};
use tokio::sync::oneshot;

use super::{
    index::{Found, LogIndex, content_bytes},
    record::{self, HEADER_BYTES, Record},
    space::{Room, Space},
    types::{Entry, LogId, OnFatal, Types, Vote},
};

/// Entries are handed out in runs of about so many bytes, for replication and for applying: as much
/// as one frame carries.
pub const READ_BYTES_MAX: usize = 1 << 20;

/// The log of one shard. Clones share it: the library's readers are clones.
#[derive(Debug, Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    shard: u32,
    index: Mutex<LogIndex>,
    /// Signalled when entries were written, and when no more will be.
    written: Condvar,
    /// Whether no more entries will be written: the log has failed, or the node stops.
    is_closed: AtomicBool,
    writer: GroupWriter,
    space: Space,
    on_fatal: OnFatal,
    /// Entries up to this index were not applied one by one: a manifest of the leader was taken over,
    /// and what the log has before it may be of another branch.
    jumped: Arc<AtomicU64>,
}

impl LogStore {
    /// A log over `writer`, with what opening it found.
    pub(super) fn new(
        shard: u32,
        index: LogIndex,
        writer: GroupWriter,
        space: Space,
        on_fatal: OnFatal,
    ) -> Self {
        let shared = Shared {
            shard,
            index: Mutex::new(index),
            written: Condvar::new(),
            is_closed: AtomicBool::new(false),
            writer,
            space,
            on_fatal,
            jumped: Arc::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The shard it is the log of.
    pub fn shard(&self) -> u32 {
        self.shared.shard
    }

    /// Bytes of the log on disk.
    pub fn bytes(&self) -> u64 {
        self.shared.writer.reader().bytes()
    }

    /// Bytes of the entries after `index`, as they stand in the log.
    pub fn bytes_after(&self, index: u64) -> u64 {
        self.index().bytes_after(index)
    }

    /// The indexes of the first and the last entry that the log holds.
    pub fn held(&self) -> Option<(u64, u64)> {
        let index = self.index();
        Some((index.first()?, index.last()?.index))
    }

    /// Lets go whoever waits for entries to be written: none will be any more.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether the log holds an entry, or held one that was purged.
    pub fn is_empty(&self) -> bool {
        self.index().last().is_none()
    }

    /// Whether nothing was ever promised or taken here.
    pub fn is_blank(&self) -> bool {
        let index = self.index();
        index.last().is_none() && index.vote.is_none()
    }

    fn index(&self) -> MutexGuard<'_, LogIndex> {
        self.shared.lock()
    }

    /// Submits the record of a truncation.
    pub(super) fn submit_truncation(&self, last: Option<&LogId>) {
        self.submit_buffered(record::truncate(self.shared.shard, last));
    }

    /// Submits records whose completion nobody waits for.
    fn submit_buffered(&self, parts: Vec<Bytes>) {
        let shared = Arc::clone(&self.shared);
        self.shared.count(std::slice::from_ref(&parts));
        let done = move |result: Result<Vec<Location>, WriteError>| {
            if let Err(error) = result {
                shared.failed(&error);
            }
        };
        let writer = &self.shared.writer;
        writer.submit(vec![parts], Durability::Buffered, Box::new(done));
    }

    /// The entries from `start`, at most up to `end`, and about `bytes_max` bytes of them; one at
    /// least, if there is one.
    async fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let found = self.collect(start, end, bytes_max);
        if found.iter().all(|found| matches!(found, Found::Cached(_))) {
            return found.into_iter().map(|found| self.resolve(found)).collect();
        }
        let this = self.clone();
        let read = move || found.into_iter().map(|found| this.resolve(found)).collect();
        tokio::task::spawn_blocking(read)
            .await
            .map_err(io::Error::other)?
    }

    fn collect(&self, start: u64, end: u64, bytes_max: usize) -> Vec<Found> {
        let index = self.index();
        let mut found = Vec::new();
        let mut bytes = 0;
        for at in start..end.min(index.end()) {
            let Some(next) = index.find(at) else { break };
            bytes += match &next {
                Found::Cached(entry) => content_bytes(&entry.payload),
                Found::Written { location, .. } => location.len as usize - HEADER_BYTES,
            };
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(next);
        }
        found
    }

    /// Reads an entry back if it is not in memory, and checks that it is the one it should be.
    fn resolve(&self, found: Found) -> io::Result<Entry> {
        let (id, location) = match found {
            Found::Cached(entry) => return Ok(entry),
            Found::Written { id, location } => (id, location),
        };
        let bytes = self
            .shared
            .writer
            .reader()
            .read(location)
            .map_err(io::Error::other)?;
        match record::decode(self.shared.shard, &bytes) {
            Ok(Record::Entry(entry)) if entry.log_id == id => Ok(entry),
            Ok(_) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the record at {location} is not entry {id}"),
            )),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, LogIndex> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, records: &[Vec<Bytes>]) {
        let bytes: usize = records.iter().flatten().map(Bytes::len).sum();
        self.space.note_written(bytes as u64);
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        // Whoever looked before this and waits after it would wait for ever.
        drop(self.lock());
        self.written.notify_all();
    }

    /// Says that this node must not go on, unless it is stopping anyway.
    fn failed(&self, error: &WriteError) {
        self.close();
        let line = match error {
            WriteError::Stopped => return,
            WriteError::Poisoned(poisoned) => {
                let (file, source) = (poisoned.file.display(), &poisoned.source);
                let what = format!("{} of {file} failed ({source})", poisoned.operation);
                return self.on_fatal.report_disk(&what);
            }
            WriteError::NoSpace { file } => format!(
                "the disk is full: no space to write {}; free some and start the node again",
                file.display()
            ),
            WriteError::TooLarge { .. } => format!("the consensus log refused a record: {error}"),
        };
        self.on_fatal.report(&line);
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let index = self.index();
        Ok(LogState {
            last_purged_log_id: index.purged(),
            last_log_id: index.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let records = vec![record::vote(self.shared.shard, vote)];
        self.shared.count(&records);
        let (done, synced) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let vote = *vote;
        let complete = move |result: Result<Vec<Location>, WriteError>| {
            match &result {
                Ok(_) => shared.lock().vote = Some(vote),
                Err(error) => shared.failed(error),
            }
            drop(done.send(result));
        };
        let writer = &self.shared.writer;
        writer.submit(records, Durability::Synced, Box::new(complete));
        match synced.await {
            Ok(result) => result.map(drop).map_err(io::Error::other),
            Err(_) => Err(io::Error::other("the log's writer dropped a vote")),
        }
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.index().committed = committed;
        self.submit_buffered(record::committed(self.shared.shard, committed.as_ref()));
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.index().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut ids = Vec::new();
        let mut records = Vec::new();
        {
            let mut index = self.index();
            for entry in entries {
                index.push(&entry).map_err(io::Error::other)?;
                records.push(record::entry(self.shared.shard, &entry));
                ids.push(entry.log_id);
            }
        }
        self.shared.count(&records);
        let shared = Arc::clone(&self.shared);
        let complete = move |result: Result<Vec<Location>, WriteError>| {
            let result = match result {
                Ok(locations) => {
                    shared.lock().written(&ids, &locations);
                    shared.written.notify_all();
                    Ok(())
                }
                Err(error) => {
                    shared.failed(&error);
                    Err(io::Error::other(error))
                }
            };
            callback.io_completed(result);
        };
        let writer = &self.shared.writer;
        writer.submit(records, Durability::Synced, Box::new(complete));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.index().truncate_after(last.as_ref());
        self.submit_truncation(last.as_ref());
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        {
            let mut index = self.index();
            index.purge(&upto);
            if self.shared.space.room() != Room::Plenty {
                index.forget_kept();
            }
        }
        self.submit_purge(&upto);
        Ok(())
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let start = start.max(self.index().first().unwrap_or(0));
        self.read(start, end, usize::MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.index().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES_MAX).await
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let start = start.max(self.index().first().unwrap_or(0));
        let runs = stream::unfold((self.clone(), start), move |(log, next)| async move {
            if next >= end {
                return None;
            }
            match log.read(next, end, READ_BYTES_MAX).await {
                Ok(entries) if entries.is_empty() => None,
                Ok(entries) => {
                    let next = next + entries.len() as u64;
                    let items: Vec<io::Result<Entry>> = entries.into_iter().map(Ok).collect();
                    Some((stream::iter(items), (log, next)))
                }
                Err(error) => Some((stream::iter(vec![Err(error)]), (log, end))),
            }
        });
        futures::StreamExt::flatten(runs)
    }

    /// The library's text speaks of the first position of each leader; its code, and its suite, mean
    /// the last.
    async fn get_key_log_ids(&mut self, range: RangeInclusive<LogId>) -> io::Result<Vec<LogId>> {
        let (from, to) = (range.start().index, range.end().index);
        Ok(self.index().last_of_each_leader(from, to))
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}
