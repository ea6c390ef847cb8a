//! Writes a segment: chunks as they come, then the index, then the footer.
//!
//! Nothing is read back and nothing is written twice: the BLAKE3 is computed on the way. Memory holds
//! one buffer, and of each chunk its entry (`index.rs`). The same pushes give the same bytes, always.
//!
//! What it does not do: encode, merge, or give the file its name; `library.rs` takes it over.

mod index;

use std::io;
use std::path::Path;
use std::sync::Arc;

use column_codec::DecodeError;
use segment_log::{Disk, DiskFile, OpenMode};
use sensor_model::{Kind, SeriesId};

pub use super::format::{CHUNKS_MAX, SERIES_MAX, SegmentHead, Written};
use super::format::{FOOTER_HASHED_BYTES, Footer, HEADER_BYTES, Outline};
use super::manifest::SegmentHash;
use index::Index;

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// A segment that is being written.
///
/// Invariant: what is in the file and the buffer is the beginning of exactly one segment, unless a
/// write has failed; then no more is written.
#[derive(Debug)]
pub struct SegmentWriter {
    header: [u8; HEADER_BYTES],
    output: Output,
    index: Index,
}

/// Why a chunk was not taken. But for [`SegmentWriteError::Io`] nothing was written, and the next push
/// may be right.
#[derive(Debug, thiserror::Error)]
pub enum SegmentWriteError {
    /// It is not a chunk.
    #[error("series {}: {source}", series.0)]
    Chunk {
        /// Of this series.
        series: SeriesId,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// Its times are not strictly ascending.
    #[error("series {}: the times of a chunk are not strictly ascending", series.0)]
    Unsorted {
        /// Of this series.
        series: SeriesId,
    },
    /// A series came after one of a higher id.
    #[error("series {} comes after series {}: series must ascend", series.0, before.0)]
    SeriesDescend {
        /// The series of the chunk.
        series: SeriesId,
        /// The series before.
        before: SeriesId,
    },
    /// The chunk begins before the one before it has ended.
    #[error(
        "series {}: a chunk from {first} ns follows one that ends at {before} ns: chunks must ascend and not overlap",
        series.0
    )]
    Overlaps {
        /// Of this series.
        series: SeriesId,
        /// The chunk's earliest time, in ns.
        first: i64,
        /// The latest time of the chunk before, in ns.
        before: i64,
    },
    /// The chunk is of another kind than those before.
    #[error("series {}: a chunk of kind {found} follows one of kind {before}", series.0)]
    OtherKind {
        /// Of this series.
        series: SeriesId,
        /// The chunk's.
        found: Kind,
        /// The series'.
        before: Kind,
    },
    /// The chunk has readings outside the window.
    #[error(
        "series {}: a chunk from {first} to {last} ns lies outside the segment's window",
        series.0
    )]
    OutsideWindow {
        /// Of this series.
        series: SeriesId,
        /// The chunk's earliest time, in ns.
        first: i64,
        /// The chunk's latest time, in ns.
        last: i64,
    },
    /// A segment holds at most [`CHUNKS_MAX`] chunks of a series.
    #[error("series {}: a segment holds at most {CHUNKS_MAX} chunks of a series", series.0)]
    TooManyChunks {
        /// Of this series.
        series: SeriesId,
    },
    /// A segment holds at most [`SERIES_MAX`] series.
    #[error("series {}: a segment holds at most {SERIES_MAX} series", series.0)]
    TooManySeries {
        /// The one too many.
        series: SeriesId,
    },
    /// The file could not be written. Nothing more is written to it: remove it.
    #[error("a segment could not be written: {0}")]
    Io(#[from] io::Error),
}

impl SegmentWriter {
    /// Begins a segment in a new file at `path`; what was there before is lost.
    ///
    /// # Errors
    /// What the disk says.
    pub fn create(disk: &dyn Disk, path: &Path, head: SegmentHead) -> io::Result<Self> {
        let header = head.encode();
        let mut output = Output {
            file: disk.open(path, OpenMode::Create)?,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            written: 0,
            hasher: blake3::Hasher::new(),
            is_failed: false,
        };
        output.put(&header)?;
        Ok(Self {
            header,
            output,
            index: Index::new(head.window),
        })
    }

    /// Appends a chunk of `series`. Series ascend by id; within one series chunks ascend in time,
    /// do not overlap, and are each sorted. Columns are not decoded here: the chunk must be one that
    /// this program has encoded, or has verified.
    ///
    /// # Errors
    /// See [`SegmentWriteError`].
    pub fn push(&mut self, series: SeriesId, chunk: &[u8]) -> Result<(), SegmentWriteError> {
        let view = column_codec::parse(chunk)
            .map_err(|source| SegmentWriteError::Chunk { series, source })?;
        self.index.add(series, chunk, &view)?;
        Ok(self.output.put(chunk)?)
    }

    /// Bytes of the segment so far, without its index.
    pub const fn bytes(&self) -> u64 {
        self.output.position()
    }

    /// Writes index and footer and makes the file durable; its name is not. Blocks until the disk is
    /// done.
    ///
    /// # Errors
    /// What the disk says, now or at an earlier push; `InvalidInput` if nothing was pushed: a segment
    /// holds at least one reading. The file is of no use then: remove it.
    pub fn finish(self) -> io::Result<Written> {
        let Self {
            header,
            mut output,
            index,
        } = self;
        let index = index
            .finish()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an empty segment"))?;
        let entries_offset = output.position();
        output.put(&index.entries)?;
        let directory_offset = output.position();
        output.put(&index.directory)?;
        let outline = Outline {
            entries_offset,
            directory_offset,
            footer_offset: output.position(),
            directory_crc: crc32c::crc32c(&index.directory),
            totals: index.totals,
        };
        output.put(&outline.encode())?;
        let hash = output.hash()?;
        let footer = Footer { outline, hash };
        output.finish(&footer.encode(&header)[FOOTER_HASHED_BYTES..])?;
        Ok(footer.written())
    }
}

/// A file that is written from front to back, and hashed on the way.
#[derive(Debug)]
struct Output {
    file: Arc<dyn DiskFile>,
    /// What is not yet in the file.
    buffer: Vec<u8>,
    /// Bytes in the file.
    written: u64,
    /// Of what is in the file.
    hasher: blake3::Hasher,
    is_failed: bool,
}

impl Output {
    /// Where the next byte goes.
    const fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_failed {
            return Err(io::Error::other("an earlier write to the segment failed"));
        }
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            return self.write(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.write(&buffer);
        buffer.clear();
        self.buffer = buffer;
        outcome
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let outcome = self.file.write_all_at(bytes, self.written);
        self.is_failed = outcome.is_err();
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        outcome
    }

    /// The hash of all that was put.
    fn hash(&mut self) -> io::Result<SegmentHash> {
        self.flush()?;
        Ok(SegmentHash(self.hasher.finalize().into()))
    }

    /// Ends the file with `bytes`, which are not hashed, and makes it durable.
    fn finish(mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes)?;
        self.flush()?;
        self.file.sync_all()
    }
}
