//! What queries and jobs ask of the log: bytes of commands, and word that they are durable.
//!
//! All of it may wait for the disk, so it is for threads that may block.

use std::sync::{PoisonError, atomic::Ordering};

use bytes::Bytes;
use segment_log::{Location, ReadError};

use super::LogStore;
use crate::{
    raft::{
        index::Found,
        record::{self, HEADER_BYTES, Record},
        types::{Content, Entry},
    },
    state::{PayloadError, Payloads},
};

/// Where a command's bytes are to be had.
enum Source {
    Memory(Bytes),
    Disk(Location),
}

impl LogStore {
    fn source(&self, index: u64) -> Result<Source, PayloadError> {
        match self.index().find(index) {
            Some(Found::Cached(Entry {
                payload: Content::Normal(payload),
                ..
            })) => Ok(Source::Memory(payload.0)),
            Some(Found::Written { location, .. }) => Ok(Source::Disk(location)),
            Some(Found::Cached(_)) | None => Err(PayloadError::Absent { index }),
        }
    }
}

impl Payloads for LogStore {
    fn payload(&self, index: u64) -> Result<Bytes, PayloadError> {
        let location = match self.source(index)? {
            Source::Memory(payload) => return Ok(payload),
            Source::Disk(location) => location,
        };
        let read = self.shared.writer.reader().read(location);
        let record = read.map_err(|source| PayloadError::Log { index, source })?;
        match record::decode(self.shared.shard, &record) {
            Ok(Record::Entry(Entry {
                log_id,
                payload: Content::Normal(payload),
            })) if log_id.index == index => Ok(payload.0),
            _ => Err(PayloadError::Absent { index }),
        }
    }

    fn chunk(&self, index: u64, offset: u32, length: u32) -> Result<Bytes, PayloadError> {
        let absent = PayloadError::Absent { index };
        let location = match self.source(index)? {
            Source::Memory(payload) => {
                let from = offset as usize;
                let to = from.saturating_add(length as usize);
                return match payload.len() {
                    len if to <= len => Ok(payload.slice(from..to)),
                    _ => Err(absent),
                };
            }
            Source::Disk(location) => location,
        };
        let header = u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX);
        let Some(from) = offset.checked_add(header) else {
            return Err(absent);
        };
        let part = self
            .shared
            .writer
            .reader()
            .read_part(location, from, length);
        part.map_err(|source| match source {
            ReadError::Outside { .. } => absent,
            source => PayloadError::Log { index, source },
        })
    }

    fn wait_synced(&self, index: u64) -> bool {
        let mut held = self.index();
        loop {
            if held.is_written(index) {
                return true;
            }
            if self.shared.is_closed.load(Ordering::Relaxed) {
                return false;
            }
            let woken = self.shared.written.wait(held);
            held = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}
