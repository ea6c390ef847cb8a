//! The log as its single owner sees it: append, sync, rotate, truncate, purge.
//!
//! Synchronous and without threads; [`GroupWriter`](crate::GroupWriter) puts one behind a queue.
//! Truncating and purging are in `log/shorten.rs`, opening is in `recovery.rs`, reading in `reader.rs`, the bytes in `format.rs`.

mod shorten;

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use tracing::{debug, error, warn};

use crate::{
    disk::{Disk, DiskLock},
    error::{AppendError, OpenError, Poisoned, RotateError},
    format::{self, SEAL_BYTES, SEGMENT_HEADER_BYTES, SegmentId, record_bytes},
    options::{Location, Options},
    pending::Pending,
    reader::LogReader,
    recovery::{self, Recovery, Visit},
    segment::{Room, Segment, SegmentState, StepError},
    shared::Shared,
};

/// Appended bytes are written, though not synced, once this many wait.
const PENDING_BYTES_MAX: usize = 4 << 20;

/// An append-only log in one folder, with a single owner.
///
/// - What [`sync`](Self::sync) returned `Ok` for survives every crash.
/// - Records become durable in order: a crash keeps a prefix of what was appended.
/// - After the first failed write or sync every call that would write returns the same
///   [`Poisoned`]; reading goes on.
/// - Dropping a log without [`close`](Self::close) is safe; what was not synced may be lost.
#[derive(Debug)]
pub struct SegmentLog {
    shared: Arc<Shared>,
    options: Options,
    active: Segment,
    preamble: Vec<Bytes>,
    poisoned: Option<Poisoned>,
    _lock: Box<dyn DiskLock>,
}

impl SegmentLog {
    /// Opens the log in `dir`, creating it if there is none, and visits every record in order.
    ///
    /// Reads everything once, in large reads, with memory for one block or one record. A tail that
    /// was being written when the process or the machine stopped is cut and reported in
    /// [`Recovery::torn`]. Anything else that is not as it was written is refused, and left as it
    /// is. All that was visited is durable when this returns.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        visit: &mut Visit<'_>,
    ) -> Result<(Self, Recovery), OpenError> {
        recovery::open(disk, dir, options, visit)
    }

    pub(crate) fn new(
        shared: Arc<Shared>,
        options: Options,
        active: Segment,
        lock: Box<dyn DiskLock>,
    ) -> Self {
        Self {
            shared,
            options,
            active,
            preamble: Vec::new(),
            poisoned: None,
            _lock: lock,
        }
    }

    /// A handle that reads records from any thread, also while the log is written.
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared))
    }

    /// The number of the segment that is written now, the highest.
    pub fn last_segment(&self) -> u64 {
        self.active.number
    }

    /// The lowest segment number.
    pub fn first_segment(&self) -> u64 {
        self.shared
            .bounds()
            .map_or(self.active.number, |(first, _)| first)
    }

    /// Bytes of all segments, without room that is allocated and not yet used.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes()
    }

    /// Bytes appended and not yet handed to the operating system.
    pub fn pending_bytes(&self) -> usize {
        self.active.pending.bytes()
    }

    /// Why the log takes no more writes, if it does not.
    pub fn poisoned(&self) -> Option<&Poisoned> {
        self.poisoned.as_ref()
    }

    /// Records that every segment created from now on begins with, so that purging older segments
    /// never loses them. They are ordinary records: visited, counted and readable like any other.
    ///
    /// They must fit a segment together, else [`AppendError::TooLarge`].
    pub fn set_segment_preamble(&mut self, records: Vec<Bytes>) -> Result<(), AppendError> {
        for record in &records {
            self.check_len(record.len())?;
        }
        let bytes: u64 = records
            .iter()
            .map(|record| record_bytes(len_u32(record.len())))
            .sum();
        let needed = u64::from(SEGMENT_HEADER_BYTES) + bytes + SEAL_BYTES;
        if needed > self.options.segment_bytes_max {
            let max = u32::try_from(self.options.segment_bytes_max).unwrap_or(u32::MAX);
            return Err(AppendError::TooLarge { len: needed, max });
        }
        self.preamble = records;
        Ok(())
    }

    /// Appends one record made of `parts`, copying them. The record is not durable, nor readable,
    /// before the next [`sync`](Self::sync).
    ///
    /// May write, and may begin a new segment, when much is pending or the segment is full.
    pub fn append(&mut self, parts: &[&[u8]]) -> Result<Location, AppendError> {
        self.append_record(parts, |part| part, |pending, part| pending.push(part))
    }

    /// As [`append`](Self::append), but keeps large parts by reference until they are written.
    pub fn append_shared(&mut self, parts: &[Bytes]) -> Result<Location, AppendError> {
        self.append_record(parts, |part| part, Pending::push_shared)
    }

    /// Appends several records, each made of parts, or none of them.
    ///
    /// If one is too large, or space runs out part of the way, those before it are taken back.
    pub fn append_all(&mut self, records: &[Vec<Bytes>]) -> Result<Vec<Location>, AppendError> {
        let before = self.active.mark();
        let mut locations = Vec::with_capacity(records.len());
        for record in records {
            match self.append_shared(record) {
                Ok(location) => locations.push(location),
                Err(AppendError::Poisoned(poisoned)) => return Err(poisoned.into()),
                Err(refused) => {
                    if (before.number, before.written) == (self.active.number, self.active.written)
                    {
                        self.active.rewind(before);
                    } else {
                        self.truncate_to(before.number, before.end)?;
                    }
                    return Err(refused);
                }
            }
        }
        Ok(locations)
    }

    /// Hands what is pending to the operating system. It survives the process, not the machine,
    /// and can be read.
    pub fn flush(&mut self) -> Result<(), Poisoned> {
        self.check_poison()?;
        self.step(|segment| segment.flush())?;
        self.publish_end();
        Ok(())
    }

    /// Makes everything appended so far durable, with one `fdatasync`; none if there is nothing.
    pub fn sync(&mut self) -> Result<(), Poisoned> {
        self.flush()?;
        self.step(|segment| segment.sync())
    }

    /// Leaves a mark that everything so far was synced, so that damage to the last records can be
    /// told from an interrupted write. Costs a write of 16 bytes and no sync; worth it whenever
    /// the log goes idle. Does nothing if something is unsynced, or marked already, or if there is
    /// no space.
    pub fn mark_synced(&mut self) -> Result<(), Poisoned> {
        self.check_poison()?;
        let segment = &self.active;
        if segment.synced != segment.end
            || segment.marked == segment.end
            || segment.state == SegmentState::Sealed
        {
            return Ok(());
        }
        match self.active.extend(self.room(record_bytes(0))) {
            Ok(()) => {}
            // Without a mark the log is as durable as with one.
            Err(full) if full.is_no_space() => return Ok(()),
            Err(failed) => return Err(self.poison(failed)),
        }
        self.active.push_mark();
        self.flush()
    }

    /// Takes more room from the disk if less than half a step is left, and syncs it, so that the
    /// appends to come need not. Running out of space is left for them to find.
    pub fn extend_ahead(&mut self) -> Result<(), Poisoned> {
        self.check_poison()?;
        let needed = self.options.preallocate_bytes / 2;
        let segment = &self.active;
        if segment.end + needed + SEAL_BYTES <= segment.allocated
            || segment.end + needed + SEAL_BYTES > self.options.segment_bytes_max
            || segment.state == SegmentState::Sealed
        {
            return Ok(());
        }
        match self.active.extend(self.room(needed)) {
            Err(full) if full.is_no_space() => Ok(()),
            Err(failed) => Err(self.poison(failed)),
            Ok(()) => self.step(|segment| segment.sync_room()),
        }
    }

    /// Seals the active segment and begins the next, which starts with the preamble. Returns the
    /// new segment's number. Everything appended before is durable afterwards.
    pub fn rotate(&mut self) -> Result<u64, RotateError> {
        self.rotate_with_room(0)
    }

    /// Syncs everything and leaves a durable mark, so that any later damage to the last records is
    /// recognised as such.
    pub fn close(mut self) -> Result<(), Poisoned> {
        self.sync()?;
        self.mark_synced()?;
        self.sync()
    }

    fn append_record<P>(
        &mut self,
        parts: &[P],
        slice: impl Fn(&P) -> &[u8],
        push: impl Fn(&mut Pending, &P),
    ) -> Result<Location, AppendError> {
        self.check_poison()?;
        let len = self.check_len(parts.iter().map(|part| slice(part).len()).sum())?;
        let crc = parts
            .iter()
            .fold(0, |crc, part| crc32c::crc32c_append(crc, slice(part)));
        self.make_room(record_bytes(len))?;
        let offset = self.active.push(len, crc, |pending| {
            for part in parts {
                push(pending, part);
            }
        });
        if self.active.pending.bytes() >= PENDING_BYTES_MAX {
            self.flush()?;
        }
        Ok(Location {
            segment: self.active.number,
            offset,
            len,
        })
    }

    fn check_len(&self, len: usize) -> Result<u32, AppendError> {
        let max = self.options.record_bytes_max;
        match u32::try_from(len) {
            Ok(len) if len <= max => Ok(len),
            _ => Err(AppendError::TooLarge {
                len: len as u64,
                max,
            }),
        }
    }

    /// Makes sure that the active segment has room for a record of `bytes` bytes, in a new segment
    /// if this one is full. Nothing is written to the log before the room is certain.
    fn make_room(&mut self, bytes: u64) -> Result<(), AppendError> {
        let segment = &self.active;
        let full = segment.end + bytes + SEAL_BYTES > self.options.segment_bytes_max
            && segment.end > segment.preamble_end;
        if full || segment.state == SegmentState::Sealed {
            return Ok(self.rotate_with_room(bytes).map(|_| ())?);
        }
        match self.active.extend(self.room(bytes)) {
            Ok(()) => Ok(()),
            Err(full) if full.is_no_space() => Err(AppendError::NoSpace { file: full.file }),
            Err(failed) => Err(self.poison(failed).into()),
        }
    }

    fn rotate_with_room(&mut self, bytes: u64) -> Result<u64, RotateError> {
        self.check_poison()?;
        let next = self.create_next(bytes)?;
        if self.active.state == SegmentState::Open {
            self.step(|segment| segment.seal())?;
            self.publish_end();
        }
        // From here on the next segment is part of the log: all before it is durable.
        next.publish(&*self.shared.disk)
            .map_err(|failed| self.poison(failed))?;
        self.active = next;
        self.publish_end();
        debug!(segment = self.active.number, "segment begun");
        Ok(self.active.number)
    }

    /// Takes all the room that a rotation needs, so that a full disk stops it before it begins.
    fn create_next(&mut self, bytes: u64) -> Result<Segment, RotateError> {
        if self.active.state == SegmentState::Open
            && let Err(failed) = self.active.extend(self.room(0))
        {
            return Err(self.rotation_refused(failed));
        }
        let id = SegmentId {
            number: self.active.number + 1,
            salt: self.options.salt,
        };
        let path = self.shared.path(id.number);
        let disk = Arc::clone(&self.shared.disk);
        match Segment::create_unfinished(&*disk, path, id, &self.preamble, self.room(bytes)) {
            Ok(next) => Ok(next),
            Err(failed) if failed.is_no_space() => {
                let unfinished = self.shared.dir.join(format::unfinished_name(id.number));
                // The next attempt, or the next opening, replaces what cannot be removed now.
                if let Err(error) = disk.remove(&unfinished)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    warn!(file = %unfinished.display(), %error, "unfinished segment left behind");
                }
                Err(self.rotation_refused(failed))
            }
            Err(failed) => Err(self.rotation_refused(failed)),
        }
    }

    fn rotation_refused(&mut self, failed: StepError) -> RotateError {
        if failed.is_no_space() {
            RotateError::NoSpace { file: failed.file }
        } else {
            self.poison(failed).into()
        }
    }

    fn room(&self, needed: u64) -> Room {
        Room {
            needed,
            step: self.options.preallocate_bytes,
            segment_bytes_max: self.options.segment_bytes_max,
        }
    }

    /// Lets readers see what has been written.
    fn publish_end(&self) {
        self.shared
            .publish(self.active.number, self.active.seed, self.active.written);
    }

    fn check_poison(&self) -> Result<(), Poisoned> {
        self.poisoned.clone().map_or(Ok(()), Err)
    }

    /// Does one step on the active segment; its failure is final.
    fn step(
        &mut self,
        step: impl FnOnce(&mut Segment) -> Result<(), StepError>,
    ) -> Result<(), Poisoned> {
        step(&mut self.active).map_err(|failed| self.poison(failed))
    }

    fn poison(&mut self, failed: StepError) -> Poisoned {
        let StepError {
            operation,
            file,
            source,
        } = failed;
        error!(operation, file = %file.display(), error = %source, "the log takes no more writes");
        let poisoned = Poisoned {
            operation,
            file,
            source: Arc::new(source),
        };
        self.poisoned = Some(poisoned.clone());
        poisoned
    }
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("checked against the largest record")
}
