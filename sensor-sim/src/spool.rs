//! The spool: batches on the edge's own disk until the store has acknowledged them.
//!
//! One [`SegmentLog`] in one folder, locked against a second agent. Every segment begins with what
//! is needed to understand it alone (the spool's state, and what its series numbers stand for), so
//! any number of segments can go at the front.
//!
//! Invariants:
//! - sequences count up by one for ever, over restarts and over batches that had to be dropped;
//! - what [`Spool::sync`] returned `Ok` for is there after every crash, until acknowledged or dropped;
//! - a batch that was not synced was never shown to anybody, so its sequence may be used again;
//! - the spool takes at most [`SpoolOptions::bytes_max`] bytes; the oldest segment makes way.
//!
//! Synchronous, without threads: `spool/writer.rs` runs one on a thread of its own. The records are
//! in `spool/record.rs` and `docs/formats.md`, reading them back in `spool/recovery.rs`.

mod dead_letters;
mod record;
mod recovery;
pub mod writer;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use segment_log::{
    AppendError, Disk, Location, LogReader, Options, Poisoned, RECORD_HEADER_BYTES, RotateError,
    SEGMENT_HEADER_BYTES, SegmentLog,
};
use sensor_model::SeriesDescription;
use store_wire::batch::{BATCH_BYTES_MAX, BATCH_READINGS_MAX};

pub use self::dead_letters::{DEAD_LETTER_BYTES_MAX, DEAD_LETTERS_DIR, DeadLetter, SetAsideError};
pub(crate) use self::record::described_bytes;
pub use self::record::{BatchHead, POSITION_BYTES_MAX};
use self::record::{Record, State};
pub use self::recovery::{OpenError, Recovered};

/// Largest segment; a small spool has smaller ones, so that dropping one drops little.
const SEGMENT_BYTES_MAX: u64 = 32 << 20;
/// Smallest segment: the largest batch and a preamble fit.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// How many segments a full spool has, roughly.
const SEGMENTS: u64 = 8;
/// What a record costs besides its payload, at most: header and padding.
const RECORD_EXTRA_BYTES: u64 = RECORD_HEADER_BYTES as u64 + 8;

/// Smallest spool that makes sense: some batches of the largest size.
pub const SPOOL_BYTES_MIN: u64 = 4 << 20;

/// Sizes of a spool.
#[derive(Debug, Clone, Copy)]
pub struct SpoolOptions {
    /// Most bytes of all its segments. What is allocated ahead for the active segment, up to 1 MiB,
    /// comes on top.
    pub bytes_max: u64,
    /// Mixed into the checksums of new segments.
    pub salt: u64,
}

/// Whose batches a spool holds. The store counts sequences for exactly this producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The cluster's name, as in the identity.
    pub cluster: String,
    /// `role/name`, and `#instance` where there is one.
    pub producer: String,
}

/// A batch that is ready for the spool.
#[derive(Debug, Clone)]
pub struct ClosedBatch {
    /// The batch's bytes.
    pub bytes: Bytes,
    /// How many readings are in it; at least one.
    pub readings: u32,
    /// Where its source can go on after it.
    pub position: Option<Bytes>,
    /// What for.
    pub purpose: Purpose,
}

/// What a batch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It brings what a source gave.
    Readings,
    /// It says how the agent itself is. A run does not count it in what it sent.
    Report,
}

/// What the store has acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// The last sequence.
    pub through: u64,
    /// Readings of all sequences up to there.
    pub readings: u64,
    /// Of those, the ones that had to be dropped: the store was told how many they were.
    pub dropped: u64,
}

/// A batch in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledBatch {
    /// Its sequence, readings and place in the count of readings.
    pub head: BatchHead,
    /// How many series were declared when it was spooled: its numbers are below.
    pub series: u32,
    /// Where its record is.
    pub location: Location,
    /// Where the batch's bytes begin in the record.
    pub offset: u32,
    /// What it is for.
    pub purpose: Purpose,
}

/// Why the spool does not take a batch, or does not go on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpoolError {
    /// The disk is full. The spool is as before: try again once there is space.
    #[error("no space left for the spool: free some, or give --spool another disk")]
    NoSpace,
    /// A batch over the bounds of the wire; a mistake of the caller.
    #[error("a batch of {bytes} bytes and {readings} readings is over the bounds of a batch")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// Its readings.
        readings: u32,
    },
    /// More series than a spool of this size can declare at the start of each segment.
    #[error("{series} series are too many for a spool of this size: raise --spool-max")]
    TooManySeries {
        /// How many.
        series: usize,
    },
    /// A write or sync failed; nothing more is written. What was synced is safe.
    #[error("the spool's disk failed: {0}")]
    Failed(#[from] Poisoned),
}

/// The batches of one producer that the store has not acknowledged.
#[derive(Debug)]
pub struct Spool {
    log: SegmentLog,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: SpoolOptions,
    state: State,
    series: Vec<SeriesDescription>,
    /// About how long all declarations are, at most.
    series_bytes: u64,
    /// How many series the log's active segment knows.
    series_written: usize,
    /// Where the active segment ends, at most.
    active_end: u64,
    segments: VecDeque<SegmentUse>,
    /// The acknowledgement last written to the log.
    acked_written: u64,
}

/// The batches of one segment.
#[derive(Debug, Clone, Copy)]
struct SegmentUse {
    number: u64,
    /// The last sequence in it; that of the segment before if it has none.
    last_sequence: u64,
}

impl Spool {
    /// Opens the spool in `dir`, creating it if there is none.
    ///
    /// # Errors
    /// [`OpenError`]: in use, damaged, or somebody else's.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        owner: &Owner,
        options: SpoolOptions,
    ) -> Result<(Self, Recovered), OpenError> {
        recovery::open(disk, dir, owner, options)
    }

    /// The epoch the store assigned to this spool, if it has.
    pub const fn epoch(&self) -> Option<u64> {
        self.state.epoch
    }

    /// Every series declared, in the order of their numbers.
    pub fn series(&self) -> &[SeriesDescription] {
        &self.series
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.log.bytes() + self.log.pending_bytes() as u64
    }

    /// Reads spooled batches back from any thread.
    pub fn reader(&self) -> LogReader {
        self.log.reader()
    }

    /// Gives a series its number. Durable with the next sync, and before any batch that uses it.
    ///
    /// # Errors
    /// [`SpoolError::TooManySeries`] when the declarations alone would fill a segment.
    pub fn declare(&mut self, series: SeriesDescription) -> Result<u32, SpoolError> {
        let number = self.series_count();
        let bytes = record::described_bytes(&series) as u64;
        if self.preamble_bytes() + bytes > self.segment_bytes() / 2 {
            let series = self.series.len() + 1;
            return Err(SpoolError::TooManySeries { series });
        }
        self.series_bytes += bytes;
        self.series.push(series);
        Ok(number)
    }

    /// Whether a batch of `bytes` bytes fits without dropping anything, purging what is acknowledged
    /// if need be.
    ///
    /// # Errors
    /// [`SpoolError::Failed`].
    pub fn make_room(&mut self, bytes: usize) -> Result<bool, SpoolError> {
        while !self.fits(bytes) {
            let Some(oldest) = self.segments.front().copied() else {
                return Ok(true);
            };
            if oldest.last_sequence > self.state.acked_through || !self.remove_oldest()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Drops the oldest segment whatever is in it. Returns the last sequence that went.
    ///
    /// # Errors
    /// [`SpoolError::NoSpace`] when not even that is possible, [`SpoolError::Failed`].
    pub fn drop_oldest(&mut self) -> Result<u64, SpoolError> {
        let oldest = self.segments.front().copied();
        let last_sequence = oldest.map_or(0, |oldest| oldest.last_sequence);
        if self.remove_oldest()? {
            Ok(last_sequence)
        } else {
            Err(SpoolError::NoSpace)
        }
    }

    /// Adds a batch under the next sequence. Not durable, and not to be sent, before the next
    /// [`Spool::sync`]. The spool's bound is the caller's to keep, with [`Spool::make_room`] and
    /// [`Spool::drop_oldest`].
    ///
    /// # Errors
    /// [`SpoolError`]; the spool is as before, unless it failed for good.
    pub fn append(&mut self, batch: &ClosedBatch) -> Result<SpooledBatch, SpoolError> {
        let too_many = u64::from(batch.readings) > BATCH_READINGS_MAX;
        if batch.bytes.len() > BATCH_BYTES_MAX || too_many || batch.readings == 0 {
            return Err(SpoolError::TooLarge {
                bytes: batch.bytes.len(),
                readings: batch.readings,
            });
        }
        let position = batch.position.clone().unwrap_or_default();
        let head = BatchHead {
            sequence: self.state.next_sequence,
            readings: batch.readings,
            readings_before: self.state.readings,
        };
        let prefix = record::batch_prefix(&head, &position);
        if self.is_full(prefix.len() + batch.bytes.len()) {
            self.rotate()?;
        }
        self.declare_in_segment()?;
        let location = self.write(&[prefix.clone(), batch.bytes.clone()])?;
        self.state.next_sequence += 1;
        self.state.readings += u64::from(batch.readings);
        if batch.position.is_some() {
            self.state.position = position;
        }
        self.note_use(location.segment, head.sequence);
        Ok(SpooledBatch {
            head,
            series: self.series_count(),
            location,
            offset: u32::try_from(prefix.len()).expect("a prefix is short"),
            purpose: batch.purpose,
        })
    }

    /// Makes everything appended durable, and remembers on the way what was acknowledged.
    ///
    /// # Errors
    /// [`SpoolError::Failed`]: final.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        self.write_acked()?;
        Ok(self.log.sync()?)
    }

    /// The store has applied everything up to there; purges what is no longer needed. Forgetting
    /// this in a crash only sends batches again.
    ///
    /// # Errors
    /// [`SpoolError::Failed`].
    pub fn acknowledge(&mut self, acknowledged: Acknowledged) -> Result<(), SpoolError> {
        let through = acknowledged.through;
        if through <= self.state.acked_through {
            return Ok(());
        }
        self.state.acked_through = through;
        self.state.acked_readings = acknowledged.readings;
        self.state.dropped_readings = acknowledged.dropped;
        while let Some(oldest) = self.segments.front().copied() {
            let is_active = oldest.number == self.log.last_segment();
            if is_active || oldest.last_sequence > through {
                break;
            }
            self.remove_oldest()?;
        }
        Ok(())
    }

    /// The last sequence of the oldest segment that could be purged once acknowledged.
    pub fn purgeable_at(&self) -> u64 {
        match self.segments.front() {
            Some(oldest) if oldest.number != self.log.last_segment() => oldest.last_sequence,
            _ => u64::MAX,
        }
    }

    /// Keeps the epoch the store assigned, durably.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn set_epoch(&mut self, epoch: u64) -> Result<(), SpoolError> {
        self.state.epoch = Some(epoch);
        self.write_state()
    }

    /// Forgets where the source could go on: it has come to its end. Durable when this returns.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn forget_position(&mut self) -> Result<(), SpoolError> {
        self.state.position = Bytes::new();
        self.write_state()
    }

    /// Syncs and closes the spool.
    ///
    /// # Errors
    /// [`SpoolError::Failed`].
    pub fn close(mut self) -> Result<(), SpoolError> {
        self.write_acked()?;
        Ok(self.log.close()?)
    }

    fn series_count(&self) -> u32 {
        u32::try_from(self.series.len()).expect("the preamble bounds the series")
    }

    fn segment_bytes(&self) -> u64 {
        (self.options.bytes_max / SEGMENTS).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
    }

    /// Whether the active segment has no room for a record of `bytes` bytes, besides its preamble.
    fn is_full(&self, bytes: usize) -> bool {
        let active = self.log.last_segment();
        let has_batches = self
            .segments
            .back()
            .is_some_and(|last| last.number == active);
        let end = self.active_end + bytes as u64 + RECORD_EXTRA_BYTES;
        has_batches && end > self.segment_bytes()
    }

    fn fits(&self, bytes: usize) -> bool {
        let record = bytes as u64 + POSITION_BYTES_MAX as u64 + RECORD_EXTRA_BYTES;
        let rotation = if self.is_full(bytes + POSITION_BYTES_MAX) {
            self.preamble_bytes()
        } else {
            0
        };
        self.bytes() + record + rotation <= self.options.bytes_max
    }

    fn preamble_bytes(&self) -> u64 {
        let state = (record::STATE_BYTES_MAX + self.state.position.len()) as u64;
        u64::from(SEGMENT_HEADER_BYTES) + state + self.series_bytes + RECORD_EXTRA_BYTES
    }

    fn note_use(&mut self, number: u64, last_sequence: u64) {
        match self.segments.back_mut() {
            Some(last) if last.number == number => last.last_sequence = last_sequence,
            _ => self.segments.push_back(SegmentUse {
                number,
                last_sequence,
            }),
        }
    }

    /// Begins a new segment, which can be understood alone.
    fn rotate(&mut self) -> Result<(), SpoolError> {
        let mut preamble = vec![Record::State(self.state.clone()).encode()];
        let series = record::series_records(&self.series, 0);
        preamble.extend(series.into_iter().map(|record| record.bytes));
        self.log.set_segment_preamble(preamble)?;
        self.log.rotate()?;
        self.active_end = self.preamble_bytes();
        self.series_written = self.series.len();
        self.acked_written = self.state.acked_through;
        Ok(())
    }

    /// Writes the declarations that the active segment does not have yet.
    fn declare_in_segment(&mut self) -> Result<(), SpoolError> {
        for record in record::series_records(&self.series, self.series_written) {
            self.write(&[record.bytes])?;
            self.series_written += record.count;
        }
        Ok(())
    }

    /// Appends one record.
    fn write(&mut self, parts: &[Bytes]) -> Result<Location, SpoolError> {
        let location = self.log.append_shared(parts)?;
        self.active_end = u64::from(location.offset) + u64::from(location.len) + RECORD_EXTRA_BYTES;
        Ok(location)
    }

    fn write_state(&mut self) -> Result<(), SpoolError> {
        self.write(&[Record::State(self.state.clone()).encode()])?;
        self.acked_written = self.state.acked_through;
        Ok(self.log.sync()?)
    }

    fn write_acked(&mut self) -> Result<(), SpoolError> {
        if self.acked_written == self.state.acked_through {
            return Ok(());
        }
        let acked = Record::Acked {
            through: self.state.acked_through,
            readings: self.state.acked_readings,
            dropped: Some(self.state.dropped_readings),
        };
        match self.write(&[acked.encode()]) {
            Ok(_) => self.acked_written = self.state.acked_through,
            // Not worth stopping for: the batches are sent again and change nothing.
            Err(SpoolError::NoSpace) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Removes the oldest segment. False when there is none that could go.
    fn remove_oldest(&mut self) -> Result<bool, SpoolError> {
        let Some(oldest) = self.segments.front().copied() else {
            return Ok(false);
        };
        if oldest.number == self.log.last_segment() {
            self.rotate()?;
        }
        self.write_acked()?;
        self.log.purge_before(oldest.number + 1)?;
        self.segments.pop_front();
        Ok(true)
    }
}

impl From<AppendError> for SpoolError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::NoSpace { .. } => Self::NoSpace,
            AppendError::Poisoned(poisoned) => Self::Failed(poisoned),
            AppendError::TooLarge { len, .. } => Self::TooLarge {
                bytes: usize::try_from(len).unwrap_or(usize::MAX),
                readings: 0,
            },
        }
    }
}

impl From<RotateError> for SpoolError {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::NoSpace { .. } => Self::NoSpace,
            RotateError::Poisoned(poisoned) => Self::Failed(poisoned),
        }
    }
}

/// How the log underneath is kept.
fn log_options(options: &SpoolOptions) -> Options {
    Options {
        // The spool begins segments itself, with its own preamble: the log must never do so first.
        segment_bytes_max: 2 * SEGMENT_BYTES_MAX + 2 * BATCH_BYTES_MAX as u64,
        preallocate_bytes: (options.bytes_max / 64).clamp(16 << 10, 1 << 20),
        salt: options.salt,
        ..Options::default()
    }
}
