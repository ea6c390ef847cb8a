//! Cuts a sweep of readings into chunks, and chunks into segments by their windows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::{Path, PathBuf};

use column_codec::{Scratch, encode_with};
use sensor_model::{Columns, Kind, SeriesId, Statistics};
use tokio::time::Instant;

use super::pace::Breath;
use super::{Archive, JobError};
use crate::scan::{Flow, ScanError, Taker, read};
use crate::segments::manifest::{SegmentEntry, Window};
use crate::segments::writer::{SegmentHead, SegmentWriteError, SegmentWriter};

/// Segments that are being made, one a window. Unless they are finished nothing is left of them.
pub(super) struct Files<'a> {
    archive: &'a Archive,
    /// Index of the command that asks for them.
    created: u64,
    writers: BTreeMap<Window, (PathBuf, SegmentWriter)>,
    /// Finished and in place.
    made: Vec<SegmentEntry>,
    /// Of work that is to rest.
    breath: Option<Breath>,
    /// Bytes written since it was last looked how much room there is.
    unseen_bytes: u64,
}

/// How many bytes may be written before it is looked again how much room there is.
const LOOK_BYTES: u64 = 1 << 20;

/// What the entries of the segments say beside what is in them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) order: u64,
    pub(super) masked_through: u64,
}

impl<'a> Files<'a> {
    /// None yet, for the command at `created`.
    pub(super) const fn new(archive: &'a Archive, created: u64) -> Self {
        Self {
            archive,
            created,
            writers: BTreeMap::new(),
            made: Vec::new(),
            breath: None,
            unseen_bytes: LOOK_BYTES,
        }
    }

    /// The same, made within the share of compaction.
    pub(super) fn resting(mut self) -> Self {
        self.breath = Some(Breath::new(self.archive.share, Instant::now()));
        self
    }

    fn push(&mut self, window: Window, id: SeriesId, chunk: &[u8]) -> Result<(), JobError> {
        self.check_room(chunk.len() as u64)?;
        let writer = match self.writers.entry(window) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let name = format_args!("{}-{}", self.created, window.start);
                let path = self.archive.library.incoming(name);
                let head = SegmentHead {
                    shard: self.archive.shard,
                    created: self.created,
                    window,
                };
                let writer = SegmentWriter::create(&*self.archive.disk, &path, head);
                let writer = writer.map_err(|error| named(&path, &error))?;
                entry.insert((path, writer))
            }
        };
        let path = &writer.0;
        writer.1.push(id, chunk).map_err(|error| match error {
            SegmentWriteError::Io(error) => SegmentWriteError::Io(named(path, &error)),
            error => error,
        })?;
        self.rest()
    }

    /// Leaves the log the room that it needs to go on.
    fn check_room(&mut self, bytes: u64) -> Result<(), JobError> {
        self.unseen_bytes += bytes;
        if self.unseen_bytes < LOOK_BYTES {
            return Ok(());
        }
        self.unseen_bytes = 0;
        let archive = self.archive;
        // Where the system does not tell, writing will.
        let free = archive.disk.free_bytes(&archive.dir).unwrap_or(u64::MAX);
        if free < archive.keep_free {
            let full = format!("{}: only {free} bytes are free", archive.dir.display());
            return Err(io::Error::new(io::ErrorKind::StorageFull, full).into());
        }
        Ok(())
    }

    /// Rests, if it is time to and no other job waits for this one to end.
    fn rest(&mut self) -> Result<(), JobError> {
        let Some(breath) = &mut self.breath else {
            return Ok(());
        };
        let Some(rest) = breath.due(Instant::now()) else {
            return Ok(());
        };
        if read(&self.archive.state).jobs_waiting() <= 1 {
            self.archive.pace.rest(rest)?;
        }
        breath.resume(Instant::now());
        Ok(())
    }

    /// Makes the files durable, puts them in their places, and says what they are.
    pub(super) fn finish(mut self, standing: Standing) -> Result<Vec<SegmentEntry>, JobError> {
        while let Some((window, (path, writer))) = self.writers.pop_first() {
            let finished = self.put_in_place(window, &path, writer, standing);
            if finished.is_err() {
                // The next try begins anew; what cannot be removed now is removed at the next start.
                drop(self.archive.library.discard(&path));
            }
            finished?;
        }
        Ok(std::mem::take(&mut self.made))
    }

    fn put_in_place(
        &mut self,
        window: Window,
        path: &Path,
        writer: SegmentWriter,
        standing: Standing,
    ) -> io::Result<()> {
        let written = writer.finish().map_err(|error| named(path, &error))?;
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
        self.made.push(entry.clone());
        let library = &self.archive.library;
        let place = library.path(&entry);
        let adopted = library.adopt(path, &entry);
        adopted.map_err(|error| named(&place, &error))
    }
}

/// The error with the file that it is about.
fn named(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

/// A job that is done again must not need the room twice.
impl Drop for Files<'_> {
    fn drop(&mut self) {
        let library = &self.archive.library;
        let unfinished = self.writers.values().map(|(path, _)| path.clone());
        let made = self.made.iter().map(|entry| library.path(entry));
        for path in unfinished.chain(made) {
            // What cannot be removed now is removed behind a later job.
            drop(library.discard(&path));
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
    /// What stopped it.
    pub(super) failed: Option<JobError>,
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
        let pushed = self.files.push(window, self.id, &self.encoded);
        pushed.map_err(|failed| self.give_up(failed))
    }

    fn give_up(&mut self, failed: JobError) -> ScanError {
        self.failed = Some(failed);
        ScanError::Closed
    }
}

impl Taker for Cutter<'_, '_> {
    fn takes_statistics(&self, _first: i64, _last: i64) -> bool {
        false
    }

    fn readings(&mut self, columns: &Columns, from: usize, to: usize) -> Result<Flow, ScanError> {
        if let Err(failed) = self.files.archive.pace.check() {
            return Err(self.give_up(failed));
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
