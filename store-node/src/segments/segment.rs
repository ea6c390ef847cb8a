//! Reads a segment: what it holds, the entries of one series, one chunk.
//!
//! Nothing is believed before its checksum holds, and what a checksum covers is read whole: the header
//! and the footer with the directory when the file is opened, a series' entries when they are asked
//! for, a chunk when it is. Limits are checked before memory is taken. `segment/verify.rs` reads
//! everything.
//!
//! What it does not do: keep anything but the directory (`library.rs` does), or decode a chunk.

mod error;
mod verify;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use segment_log::{Disk, DiskFile, OpenMode};
use sensor_model::SeriesId;

use super::damage::Watch;
use super::format::{FOOTER_BYTES, Footer, FormatError, HEADER_BYTES, directory, entries};
pub use super::format::{
    SegmentHead, UNHASHED_BYTES, Written, directory::SeriesInSegment, entries::ChunkEntry,
};
pub use error::SegmentError;
use verify::Ended;

/// An open segment. It may be read after its file was removed or replaced; then it still reads the old
/// one.
#[derive(Debug)]
pub struct Segment {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    head: SegmentHead,
    footer: Footer,
    directory: Vec<SeriesInSegment>,
    /// Of the library that opened it.
    watch: Option<Watch>,
}

impl Segment {
    /// Opens the segment at `path`: reads header, footer and directory.
    ///
    /// # Errors
    /// See [`SegmentError`].
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, SegmentError> {
        let file = disk
            .open(path, OpenMode::Read)
            .map_err(|source| SegmentError::of_open(path, source))?;
        let reader = Reader { file: &*file, path };
        let bytes = file
            .len()
            .map_err(|source| reader.unreadable(0..0, source))?;

        // The version decides what else a file must be.
        let header: [u8; HEADER_BYTES] = reader.read_array(0)?;
        let head = SegmentHead::decode(&header)
            .map_err(|error| reader.refused(0..HEADER_BYTES as u64, &error))?;
        let footer_offset = bytes
            .checked_sub(FOOTER_BYTES as u64)
            .ok_or_else(|| reader.damaged(0..bytes, "it is shorter than its footer"))?;
        let footer: [u8; FOOTER_BYTES] = reader.read_array(footer_offset)?;
        let footer = Footer::decode(&footer, &header, bytes)
            .map_err(|error| reader.refused(footer_offset..bytes, &error))?;

        let range = footer.outline.directory_offset..footer_offset;
        let directory =
            reader.read(range.clone(), footer.outline.directory_crc, "the directory")?;
        let directory = directory::read(&directory, &footer.outline, head.window)
            .map_err(|error| reader.refused(range, &error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            head,
            footer,
            directory,
            watch: None,
        })
    }

    /// As [`Segment::open`], and reports damage that it finds, then or later.
    pub(super) fn open_watched(
        disk: &dyn Disk,
        path: &Path,
        watch: &Watch,
    ) -> Result<Self, SegmentError> {
        let opened = Self::open(disk, path).inspect_err(|error| error.report_to(watch))?;
        Ok(Self {
            watch: Some(watch.clone()),
            ..opened
        })
    }

    /// Where its file was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Shard, window, and the command that made it.
    pub const fn head(&self) -> &SegmentHead {
        &self.head
    }

    /// Its hash, its size, and what it holds, as its footer says.
    pub const fn written(&self) -> Written {
        self.footer.written()
    }

    /// All its series, ascending by id.
    pub fn directory(&self) -> &[SeriesInSegment] {
        &self.directory
    }

    /// What it has of one series; `None` for nothing.
    pub fn series(&self, id: SeriesId) -> Option<&SeriesInSegment> {
        let found = self.directory.binary_search_by_key(&id, |series| series.id);
        self.directory.get(found.ok()?)
    }

    /// The chunks of a series, ascending and disjoint in time; none if it has nothing of that series.
    /// One read.
    ///
    /// # Errors
    /// See [`SegmentError`].
    pub fn chunks(&self, id: SeriesId) -> Result<Vec<ChunkEntry>, SegmentError> {
        self.check_undamaged()?;
        let Some(series) = self.series(id) else {
            return Ok(Vec::new());
        };
        self.noticed(self.read_chunks(series))
    }

    /// The bytes of a chunk, which must be one of this segment's [`Segment::chunks`]. One read.
    ///
    /// # Errors
    /// See [`SegmentError`].
    pub fn chunk(&self, entry: &ChunkEntry) -> Result<Bytes, SegmentError> {
        self.check_undamaged()?;
        self.noticed(self.read_chunk(entry))
    }

    /// Reads every byte, from the disk and not from memory where the system allows, decodes every chunk
    /// and compares everything that is said twice. Takes as long as that takes.
    ///
    /// # Errors
    /// See [`SegmentError`]: the first thing that is wrong.
    pub fn verify(&self) -> Result<Written, SegmentError> {
        let verified = self.verify_while(&mut |_| true)?;
        Ok(verified.unwrap_or_else(|| self.written()))
    }

    /// As [`Segment::verify`], and tells `goes_on` of every so many bytes that were read. `None` as soon
    /// as it says no: nothing is known then.
    ///
    /// # Errors
    /// See [`SegmentError`]: the first thing that is wrong.
    pub fn verify_while(
        &self,
        goes_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<Written>, SegmentError> {
        self.check_undamaged()?;
        match verify::verify(self, goes_on) {
            Ok(written) => Ok(Some(written)),
            Err(Ended::GivenUp) => Ok(None),
            Err(Ended::Wrong(error)) => self.noticed(Err(error)),
        }
    }

    /// Bytes of memory it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.directory.capacity() * size_of::<SeriesInSegment>()
    }

    fn read_chunks(&self, series: &SeriesInSegment) -> Result<Vec<ChunkEntry>, SegmentError> {
        let from = self.footer.outline.entries_offset + series.place.entries_at;
        let range = from..from + u64::from(series.place.entries_bytes);
        let crc = series.place.entries_crc;
        let block = self
            .reader()
            .read(range.clone(), crc, "a series' entries")?;
        entries::read(&block, series).map_err(|error| self.reader().refused(range, &error))
    }

    fn read_chunk(&self, entry: &ChunkEntry) -> Result<Bytes, SegmentError> {
        let range = entry.offset..entry.offset + u64::from(entry.length);
        let bytes = self.reader().read(range, entry.crc, "a chunk")?;
        Ok(Bytes::from(bytes))
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            file: &*self.file,
            path: &self.path,
        }
    }

    /// What is known to be damaged is not read again.
    fn check_undamaged(&self) -> Result<(), SegmentError> {
        match self.watch.as_ref().and_then(Watch::damage) {
            None => Ok(()),
            Some(damage) => Err(SegmentError::known(&self.path, damage)),
        }
    }

    fn noticed<T>(&self, outcome: Result<T, SegmentError>) -> Result<T, SegmentError> {
        if let (Err(error), Some(watch)) = (&outcome, &self.watch) {
            error.report_to(watch);
        }
        outcome
    }
}

/// Reads of one file, with errors that name it.
struct Reader<'a> {
    file: &'a dyn DiskFile,
    path: &'a Path,
}

impl Reader<'_> {
    /// The bytes of `range`, which are `what`, if their checksum is `crc`. Whoever asks has checked
    /// that the range lies within the file, or within what its parts may be.
    fn read(&self, range: Range<u64>, crc: u32, what: &str) -> Result<Vec<u8>, SegmentError> {
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        self.fill(&mut bytes, range.start)?;
        if crc32c::crc32c(&bytes) == crc {
            Ok(bytes)
        } else {
            Err(self.damaged(range, &format!("the checksum of {what} does not hold")))
        }
    }

    fn read_array<const N: usize>(&self, offset: u64) -> Result<[u8; N], SegmentError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn fill(&self, bytes: &mut [u8], offset: u64) -> Result<(), SegmentError> {
        let range = offset..offset + bytes.len() as u64;
        let outcome = self.file.read_exact_at(bytes, offset);
        outcome.map_err(|source| self.unreadable(range, source))
    }

    fn unreadable(&self, range: Range<u64>, source: std::io::Error) -> SegmentError {
        SegmentError::of_read(self.path, range, source)
    }

    fn damaged(&self, range: Range<u64>, reason: &str) -> SegmentError {
        SegmentError::Damaged {
            file: self.path.to_owned(),
            range,
            reason: reason.to_owned(),
        }
    }

    fn refused(&self, range: Range<u64>, error: &FormatError) -> SegmentError {
        match error {
            FormatError::NewerVersion { found } => SegmentError::NewerVersion {
                file: self.path.to_owned(),
                found: *found,
            },
            FormatError::Malformed { .. } | FormatError::Statistics(_) => {
                self.damaged(range, &error.to_string())
            }
        }
    }
}
