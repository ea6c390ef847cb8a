//! The segment being written: where its records end, how far they are written and durable, and
//! how much room the disk has already promised.
//!
//! Decides nothing: `log.rs` says when to extend, flush, sync and seal. Each step that can fail
//! says what was attempted, so that the caller can name it.

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;

use crate::{
    disk::{Disk, DiskFile, OpenMode},
    format::{
        self, Kind, RecordHeader, RecordSeed, SEAL_BYTES, SEGMENT_HEADER_BYTES, SegmentId,
        record_bytes,
    },
    pending::{Pending, PendingMark},
};

/// Invariants: `synced <= written <= end`, `written` plus the pending bytes is `end`, and
/// `end + SEAL_BYTES <= allocated` unless nothing was appended since the segment was opened.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) seed: RecordSeed,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) state: SegmentState,
    /// Where the next record goes.
    pub(crate) end: u64,
    /// Up to here handed to the operating system.
    pub(crate) written: u64,
    /// Up to here durable.
    pub(crate) synced: u64,
    /// Up to here zero-filled, or written.
    pub(crate) allocated: u64,
    /// Where the records that every segment of the log repeats end.
    pub(crate) preamble_end: u64,
    /// Where the last mark ended, to write no two in a row; 0 if there was none.
    pub(crate) marked: u64,
    pub(crate) pending: Pending,
}

/// Whether records may still be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentState {
    Open,
    Sealed,
}

/// What a failed step was doing, and to which file.
#[derive(Debug)]
pub(crate) struct StepError {
    pub(crate) operation: &'static str,
    pub(crate) file: PathBuf,
    pub(crate) source: io::Error,
}

impl StepError {
    pub(crate) fn is_no_space(&self) -> bool {
        self.source.kind() == io::ErrorKind::StorageFull
    }
}

/// A moment to which [`Segment::rewind`] can go back while nothing has been written since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentMark {
    pub(crate) number: u64,
    pub(crate) end: u64,
    pub(crate) written: u64,
    pending: PendingMark,
}

impl Segment {
    /// A segment as recovery found it: durable up to `end`.
    pub(crate) fn recovered(
        number: u64,
        path: PathBuf,
        seed: RecordSeed,
        file: Arc<dyn DiskFile>,
        end: u64,
        allocated: u64,
        state: SegmentState,
    ) -> Self {
        Self {
            number,
            path,
            seed,
            file,
            state,
            end,
            written: end,
            synced: end,
            allocated,
            preamble_end: u64::from(SEGMENT_HEADER_BYTES),
            marked: 0,
            pending: Pending::default(),
        }
    }

    /// Creates a segment under its unfinished name, with `preamble` and room for `bytes` more,
    /// all of it durable. It becomes part of the log with [`Segment::publish`].
    pub(crate) fn create_unfinished(
        disk: &dyn Disk,
        path: PathBuf,
        id: SegmentId,
        preamble: &[Bytes],
        room: Room,
    ) -> Result<Self, StepError> {
        let unfinished = path.with_file_name(format::unfinished_name(id.number));
        let failed = |operation| {
            let file = unfinished.clone();
            move |source| StepError {
                operation,
                file,
                source,
            }
        };
        let file = disk
            .open(&unfinished, OpenMode::Create)
            .map_err(failed("creation"))?;
        let start = u64::from(SEGMENT_HEADER_BYTES);
        let mut segment = Self::recovered(
            id.number,
            path,
            id.seed(),
            file,
            start,
            0,
            SegmentState::Open,
        );
        let preamble_bytes: u64 = preamble
            .iter()
            .map(|record| record_bytes(preamble_len(record)))
            .sum();
        segment.end = 0;
        segment
            .allocate(Room {
                needed: start + preamble_bytes + room.needed,
                ..room
            })
            .map_err(|source| failed("allocation")(source))?;
        segment.end = start;
        segment.written = 0;
        segment.pending.push(&id.encode());
        for record in preamble {
            segment.push(preamble_len(record), crc32c::crc32c(record), |pending| {
                pending.push_shared(record);
            });
        }
        segment.preamble_end = segment.end;
        segment.write().map_err(failed("write"))?;
        segment.file.sync_all().map_err(failed("sync"))?;
        segment.synced = segment.written;
        Ok(segment)
    }

    /// Gives a segment made by [`Segment::create_unfinished`] its final name, durably.
    pub(crate) fn publish(&self, disk: &dyn Disk) -> Result<(), StepError> {
        let unfinished = self
            .path
            .with_file_name(format::unfinished_name(self.number));
        let dir = self.path.parent().unwrap_or(&self.path);
        disk.rename(&unfinished, &self.path)
            .map_err(|source| StepError {
                operation: "rename",
                file: unfinished,
                source,
            })?;
        disk.sync_dir(dir).map_err(|source| StepError {
            operation: "sync",
            file: dir.to_owned(),
            source,
        })
    }

    /// Makes sure of `room.needed` bytes after `end`, and of room for a seal after them.
    /// On [`io::ErrorKind::StorageFull`] the segment is as it was.
    pub(crate) fn extend(&mut self, room: Room) -> Result<(), StepError> {
        self.allocate(room)
            .map_err(|source| self.failed("allocation", source))
    }

    fn allocate(&mut self, room: Room) -> io::Result<()> {
        let needed = self.end + room.needed + SEAL_BYTES;
        if needed <= self.allocated {
            return Ok(());
        }
        let wanted = (self.allocated + room.step)
            .min(room.segment_bytes_max)
            .max(needed);
        match self.file.allocate(self.allocated, wanted - self.allocated) {
            Ok(()) => self.allocated = wanted,
            // Less than a step may be left, and still be enough.
            Err(error) if error.kind() == io::ErrorKind::StorageFull && wanted > needed => {
                self.file
                    .allocate(self.allocated, needed - self.allocated)?;
                self.allocated = needed;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Adds a record of `len` bytes, which `payload` pushes; room must have been made for it.
    /// Returns its offset.
    pub(crate) fn push(
        &mut self,
        len: u32,
        payload_crc: u32,
        payload: impl FnOnce(&mut Pending),
    ) -> u32 {
        let synced = offset_u32(self.synced);
        let offset = self.push_header(RecordHeader {
            kind: Kind::Payload,
            len,
            payload_crc,
            synced,
        });
        let before = self.pending.bytes();
        payload(&mut self.pending);
        debug_assert_eq!(self.pending.bytes() - before, len as usize);
        let padding = record_bytes(len) - record_bytes(0) - u64::from(len);
        self.pending
            .push_padding(usize::try_from(padding).expect("less than eight"));
        self.end = u64::from(offset) + record_bytes(len);
        offset
    }

    /// Adds a mark; room must have been made for it.
    pub(crate) fn push_mark(&mut self) {
        self.push_header(RecordHeader::bare(Kind::Mark, offset_u32(self.synced)));
        self.end += record_bytes(0);
        self.marked = self.end;
    }

    fn push_header(&mut self, header: RecordHeader) -> u32 {
        let offset = offset_u32(self.end);
        self.pending.push(&header.encode(self.seed, offset));
        offset
    }

    /// Hands what is pending to the operating system.
    pub(crate) fn flush(&mut self) -> Result<(), StepError> {
        self.write().map_err(|source| self.failed("write", source))
    }

    fn write(&mut self) -> io::Result<()> {
        if self.pending.bytes() > 0 {
            self.pending.write(&*self.file, self.written)?;
            self.pending.clear();
            self.written = self.end;
        }
        Ok(())
    }

    /// Makes what is written durable.
    pub(crate) fn sync(&mut self) -> Result<(), StepError> {
        if self.synced < self.written {
            self.sync_data()?;
            self.synced = self.written;
        }
        Ok(())
    }

    /// Makes room that was taken durable, so that the next sync finds nothing left to do for it.
    pub(crate) fn sync_room(&self) -> Result<(), StepError> {
        self.sync_data()
    }

    fn sync_data(&self) -> Result<(), StepError> {
        self.file
            .sync_data()
            .map_err(|source| self.failed("sync", source))
    }

    /// Ends the segment: writes what is pending and a seal, cuts off unused room and makes all of
    /// it durable. Room for the seal must have been made.
    pub(crate) fn seal(&mut self) -> Result<(), StepError> {
        // What comes before the seal may be pending still, so the seal testifies to no more than
        // any record of its group; the next segment's existence is what proves that it is whole.
        self.push_header(RecordHeader::bare(Kind::Seal, offset_u32(self.synced)));
        self.end += SEAL_BYTES;
        self.flush()?;
        self.state = SegmentState::Sealed;
        self.trim()
    }

    /// Ends the file where the records end, and makes all of it durable. Nothing may be pending.
    pub(crate) fn trim(&mut self) -> Result<(), StepError> {
        debug_assert_eq!(self.pending.bytes(), 0);
        self.file
            .set_len(self.end)
            .map_err(|source| self.failed("truncation", source))?;
        // For a cut: before anything is written where the old records were, because after a crash
        // they must not come back behind new ones.
        self.file
            .sync_all()
            .map_err(|source| self.failed("sync", source))?;
        self.synced = self.end;
        self.allocated = self.end;
        Ok(())
    }

    /// Takes back everything from `end` on, durably. Nothing may be pending.
    pub(crate) fn cut(&mut self, end: u64) -> Result<(), StepError> {
        (self.end, self.written) = (end, end);
        self.marked = 0;
        self.preamble_end = self.preamble_end.min(end);
        self.state = SegmentState::Open;
        self.trim()
    }

    pub(crate) fn mark(&self) -> SegmentMark {
        SegmentMark {
            number: self.number,
            end: self.end,
            written: self.written,
            pending: self.pending.mark(),
        }
    }

    /// Forgets what was pushed since `mark`, of which nothing may have been written.
    pub(crate) fn rewind(&mut self, mark: SegmentMark) {
        debug_assert_eq!((mark.number, mark.written), (self.number, self.written));
        self.pending.rewind(mark.pending);
        self.end = mark.end;
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> StepError {
        StepError {
            operation,
            file: self.path.clone(),
            source,
        }
    }
}

/// How much room to ask the disk for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Bytes that must fit.
    pub(crate) needed: u64,
    /// Bytes to take at once, if there are as many.
    pub(crate) step: u64,
    /// Beyond this only what is needed.
    pub(crate) segment_bytes_max: u64,
}

fn offset_u32(offset: u64) -> u32 {
    u32::try_from(offset).expect("options keep offsets within 32 bits")
}

fn preamble_len(record: &Bytes) -> u32 {
    u32::try_from(record.len()).expect("checked when the preamble was set")
}
