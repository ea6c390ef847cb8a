//! Cuts a sweep of readings into chunks, and chunks into segments by their windows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use column_codec::{Scratch, encode_with};
use segment_log::Disk;
use sensor_model::{Columns, Kind, SeriesId, Statistics};

use super::JobError;
use crate::scan::{Flow, ScanError, Taker};
use crate::segments::library::Library;
use crate::segments::manifest::{SegmentEntry, Window};
use crate::segments::writer::{SegmentHead, SegmentWriteError, SegmentWriter};

/// Segments that are being written, one a window.
pub(super) struct Files<'a> {
    pub(super) disk: &'a Arc<dyn Disk>,
    pub(super) library: &'a Library,
    pub(super) shard: u32,
    /// Index of the command that asks for them.
    pub(super) created: u64,
    pub(super) writers: BTreeMap<Window, (PathBuf, SegmentWriter)>,
    /// Set when the work is to be given up.
    pub(super) is_stopping: &'a AtomicBool,
}

/// What the entries of the segments say beside what is in them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) order: u64,
    pub(super) masked_through: u64,
}

impl Files<'_> {
    fn push(
        &mut self,
        window: Window,
        id: SeriesId,
        chunk: &[u8],
    ) -> Result<(), SegmentWriteError> {
        let writer = match self.writers.entry(window) {
            Entry::Occupied(entry) => &mut entry.into_mut().1,
            Entry::Vacant(entry) => {
                let name = format_args!("{}-{}", self.created, window.start);
                let path = self.library.incoming(name);
                let head = SegmentHead {
                    shard: self.shard,
                    created: self.created,
                    window,
                };
                let writer = SegmentWriter::create(&**self.disk, &path, head)
                    .map_err(SegmentWriteError::Io)?;
                &mut entry.insert((path, writer)).1
            }
        };
        writer.push(id, chunk)
    }

    /// Makes the files durable, puts them in their places, and says what they are.
    pub(super) fn finish(mut self, standing: Standing) -> Result<Vec<SegmentEntry>, JobError> {
        let mut entries = Vec::with_capacity(self.writers.len());
        while let Some((window, (path, writer))) = self.writers.pop_first() {
            let finished = self.put_in_place(window, &path, writer, standing);
            if finished.is_err() {
                // The next try begins anew; what cannot be removed now is removed at the next start.
                drop(self.library.discard(&path));
            }
            entries.push(finished?);
        }
        Ok(entries)
    }

    fn put_in_place(
        &self,
        window: Window,
        path: &std::path::Path,
        writer: SegmentWriter,
        standing: Standing,
    ) -> io::Result<SegmentEntry> {
        let written = writer.finish()?;
        let entry = SegmentEntry {
            hash: written.hash,
            bytes: written.bytes,
            created: self.created,
            order: standing.order,
            masked_through: standing.masked_through,
            window,
            readings: written.readings,
            series: written.series,
            first: written.first,
            last: written.last,
        };
        self.library.adopt(path, &entry)?;
        Ok(entry)
    }
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        for (path, _) in self.writers.values() {
            // Only what could not be finished is left.
            drop(self.library.discard(path));
        }
    }
}

/// Takes the readings of one series, ascending.
pub(super) struct Cutter<'a, 'b> {
    files: &'a mut Files<'b>,
    id: SeriesId,
    width: u64,
    chunk_readings: usize,
    window: Option<Window>,
    chunk: Columns,
    encoded: Vec<u8>,
    scratch: Scratch,
    /// What stopped it, if the disk did.
    pub(super) failed: Option<SegmentWriteError>,
}

impl<'a, 'b> Cutter<'a, 'b> {
    pub(super) fn new(
        files: &'a mut Files<'b>,
        id: SeriesId,
        kind: Kind,
        width: u64,
        chunk_readings: u32,
    ) -> Self {
        Self {
            files,
            id,
            width,
            chunk_readings: chunk_readings as usize,
            window: None,
            chunk: Columns::empty(kind),
            encoded: Vec::new(),
            scratch: Scratch::new(),
            failed: None,
        }
    }

    fn flush(&mut self) -> Result<(), ScanError> {
        let Some(window) = self.window.filter(|_| !self.chunk.is_empty()) else {
            return Ok(());
        };
        self.encoded.clear();
        encode_with(&self.chunk, &mut self.scratch, &mut self.encoded)
            .expect("what was decoded from valid chunks, and fits one, can be encoded");
        self.chunk = Columns::empty(self.chunk.kind());
        self.files
            .push(window, self.id, &self.encoded)
            .map_err(|error| {
                self.failed = Some(error);
                ScanError::Closed
            })
    }
}

impl Taker for Cutter<'_, '_> {
    fn takes_statistics(&self, _first: i64, _last: i64) -> bool {
        false
    }

    fn readings(&mut self, columns: &Columns, from: usize, to: usize) -> Result<Flow, ScanError> {
        if self.files.is_stopping.load(Ordering::Relaxed) {
            return Err(ScanError::Closed);
        }
        let mut at = from;
        while at < to {
            let window = Window::of(columns.times[at], self.width);
            if self.window != Some(window) {
                self.flush()?;
                self.window = Some(window);
            }
            let last = window.last();
            let room = self.chunk_readings - self.chunk.len();
            let rest = &columns.times[at..to.min(at + room)];
            let end = at + rest.partition_point(|time| *time <= last);
            self.chunk.extend_from(columns, at, end);
            if self.chunk.len() == self.chunk_readings {
                self.flush()?;
            }
            at = end;
        }
        Ok(Flow::More)
    }

    fn statistics(&mut self, _statistics: Statistics) -> Result<Flow, ScanError> {
        unreachable!("readings are never made of statistics")
    }

    fn finish(&mut self) -> Result<(), ScanError> {
        self.flush()
    }
}
