//! Following the log from a position on: what subscribers are sent.
//!
//! Consensus purges an entry once it is sealed, and then it is gone for whoever follows the log, too,
//! but for the newest of them, which are kept for those who were away for a while. They are read back
//! from the disk, as all entries are that are not in memory any more.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use segment_log::Location;

use super::{LogStore, READ_BYTES_MAX};
use crate::raft::{
    index::content_bytes,
    record::{self, HEADER_BYTES, Record},
    types::{Content, Entry},
};

/// Some entries that follow each other.
#[derive(Debug)]
pub struct Run {
    /// The commands among them, with their indexes.
    pub commands: Vec<(u64, Bytes)>,
    /// The index of the last entry.
    pub through: u64,
}

/// Why the log cannot be followed from a position on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// It begins after the position.
    #[error("the log of this node begins with entry {first}")]
    Gone {
        /// The first entry that is there.
        first: u64,
    },
    /// It cannot be read.
    #[error("the log cannot be read")]
    Unreadable(#[source] io::Error),
}

impl LogStore {
    /// Bytes of entries that were purged and are kept for those who follow the log.
    pub fn kept_bytes(&self) -> u64 {
        self.index().kept_bytes()
    }

    /// The index of the first entry that can be followed.
    pub fn first_kept(&self) -> u64 {
        let jumped = self.shared.jumped.load(Ordering::Acquire);
        self.index().first_kept().max(jumped + 1)
    }

    /// Where it is told up to which index entries were not applied one by one, before whoever follows
    /// hears that they have been applied.
    pub fn jumps(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.jumped)
    }

    /// The entries from the one after `after` on, up to `through`, which has been applied: a frame's
    /// worth of them at most, one at least.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub async fn follow(&self, after: u64, through: u64) -> Result<Run, FollowError> {
        let found = self.found(after + 1, through)?;
        if found.iter().all(Result::is_ok) {
            return self.run(after, found);
        }
        let this = self.clone();
        let run = tokio::task::spawn_blocking(move || this.run(after, found));
        run.await
            .map_err(|panic| FollowError::Unreadable(io::Error::other(panic)))?
    }

    fn found(&self, from: u64, through: u64) -> Result<Vec<Result<Entry, Location>>, FollowError> {
        let first = self.first_kept();
        if from < first {
            return Err(FollowError::Gone { first });
        }
        let index = self.index();
        let mut found = Vec::new();
        let mut bytes = 0;
        for at in from..=through {
            let Some(next) = index.find_kept(at) else {
                break;
            };
            bytes += match &next {
                Ok(entry) => content_bytes(&entry.payload),
                Err(location) => (location.len as usize).saturating_sub(HEADER_BYTES),
            };
            if bytes > READ_BYTES_MAX && !found.is_empty() {
                break;
            }
            found.push(next);
        }
        if found.is_empty() {
            // It was purged meanwhile.
            return Err(FollowError::Gone { first: through + 1 });
        }
        Ok(found)
    }

    fn run(&self, after: u64, found: Vec<Result<Entry, Location>>) -> Result<Run, FollowError> {
        let mut run = Run {
            commands: Vec::new(),
            through: after,
        };
        for found in found {
            run.through += 1;
            let content = match found {
                Ok(entry) => entry.payload,
                Err(location) => self.content(run.through, location)?,
            };
            if let Content::Normal(payload) = content {
                run.commands.push((run.through, payload.0));
            }
        }
        Ok(run)
    }

    /// Reads the content of entry `index` back, which was at `location`.
    fn content(&self, index: u64, location: Location) -> Result<Content, FollowError> {
        let shared = &self.shared;
        let bytes = match shared.writer.reader().read(location) {
            Ok(bytes) => bytes,
            // It went while it was to be read.
            Err(_) if index < self.first_kept() => {
                let first = self.first_kept();
                return Err(FollowError::Gone { first });
            }
            Err(error) => return Err(FollowError::Unreadable(io::Error::other(error))),
        };
        match record::decode(shared.shard, &bytes) {
            Ok(Record::Entry(entry)) if entry.log_id.index == index => Ok(entry.payload),
            Ok(_) => {
                let reason = format!("the record at {location} is not entry {index}");
                Err(FollowError::Unreadable(io::Error::other(reason)))
            }
            Err(error) => Err(FollowError::Unreadable(io::Error::other(error))),
        }
    }
}
