//! The index of a segment while its chunks are written: what its end will say.

use column_codec::{ChunkView, DecodeError};
use sensor_model::{Kind, SeriesId};

use super::SegmentWriteError as Refused;
use crate::segments::format::directory::{self, Place, SeriesInSegment};
use crate::segments::format::entries::NewChunk;
use crate::segments::format::{CHUNKS_MAX, HEADER_BYTES, SERIES_MAX, Totals, chunk_bytes_max};
use crate::segments::manifest::Window;

/// Entries and directory of the series so far.
#[derive(Debug)]
pub(super) struct Index {
    window: Window,
    /// [`SERIES_MAX`], but for tests.
    series_max: u64,
    /// Blocks of entries, back to back.
    entries: Vec<u8>,
    /// Records of series that are complete.
    directory: Vec<u8>,
    /// Where the chunks of the next series begin.
    chunks_offset: u64,
    /// The series of the last of these records.
    before: Option<SeriesId>,
    /// Of these series; `None` before the first.
    totals: Option<Totals>,
    open: Option<Open>,
}

/// The series whose chunks are being added.
#[derive(Debug)]
struct Open {
    id: SeriesId,
    kind: Kind,
    chunks: u32,
    readings: u64,
    chunks_bytes: u64,
    first: i64,
    /// Where its block begins in the entries.
    block_at: usize,
    /// The latest time of the chunk before the newest.
    before: Option<i64>,
    /// Its entry is written when it is known whether another one follows.
    newest: NewChunk,
}

/// What follows the chunks.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) entries: Vec<u8>,
    pub(super) directory: Vec<u8>,
    pub(super) totals: Totals,
}

impl Index {
    pub(super) const fn new(window: Window) -> Self {
        Self {
            window,
            series_max: SERIES_MAX,
            entries: Vec::new(),
            directory: Vec::new(),
            chunks_offset: HEADER_BYTES as u64,
            before: None,
            totals: None,
            open: None,
        }
    }

    /// Adds the chunk that `bytes` and `view` are, or refuses it and is as it was.
    pub(super) fn add(
        &mut self,
        id: SeriesId,
        bytes: &[u8],
        view: &ChunkView<'_>,
    ) -> Result<(), Refused> {
        self.check(id, view)?;
        match &mut self.open {
            Some(open) if open.id == id => {
                open.check(view)?;
                open.add(NewChunk::of(bytes, view), &mut self.entries);
            }
            _ => {
                self.check_new_series(id)?;
                self.close();
                let newest = NewChunk::of(bytes, view);
                self.open = Some(Open::new(id, view.kind(), newest, self.entries.len()));
            }
        }
        Ok(())
    }

    fn check(&self, series: SeriesId, view: &ChunkView<'_>) -> Result<(), Refused> {
        let (first, last) = (view.first_time().as_nanos(), view.last_time().as_nanos());
        if !view.is_sorted() {
            return Err(Refused::Unsorted { series });
        }
        if first < self.window.start || last > self.window.last() {
            return Err(Refused::OutsideWindow {
                series,
                first,
                last,
            });
        }
        if view.encoded_len() as u64 > chunk_bytes_max(view.kind(), view.count() as u64) {
            let what = "it is longer than any chunk of so many readings";
            let source = DecodeError::Malformed { what };
            return Err(Refused::Chunk { series, source });
        }
        Ok(())
    }

    fn check_new_series(&self, series: SeriesId) -> Result<(), Refused> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        if series < open.id {
            let before = open.id;
            return Err(Refused::SeriesDescend { series, before });
        }
        let complete = self.totals.map_or(0, |totals| totals.series);
        if complete + 1 >= self.series_max {
            return Err(Refused::TooManySeries { series });
        }
        Ok(())
    }

    /// Completes the open series.
    fn close(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let series = open.complete(self.chunks_offset, &mut self.entries);
        self.chunks_offset += series.place.chunks_bytes;
        directory::put(&series, self.before, self.window, &mut self.directory);
        self.before = Some(series.id);
        let sum = self.totals.get_or_insert(Totals {
            series: 0,
            chunks: 0,
            readings: 0,
            first: series.first,
            last: series.last,
        });
        sum.series += 1;
        sum.chunks += u64::from(series.chunks);
        sum.readings += series.readings;
        sum.first = sum.first.min(series.first);
        sum.last = sum.last.max(series.last);
    }

    /// `None` if nothing was added.
    pub(super) fn finish(mut self) -> Option<Finished> {
        self.close();
        Some(Finished {
            entries: self.entries,
            directory: self.directory,
            totals: self.totals?,
        })
    }
}

impl Open {
    fn new(id: SeriesId, kind: Kind, newest: NewChunk, block_at: usize) -> Self {
        Self {
            id,
            kind,
            chunks: 1,
            readings: newest.count as u64,
            chunks_bytes: u64::from(newest.length),
            first: newest.first,
            block_at,
            before: None,
            newest,
        }
    }

    fn check(&self, view: &ChunkView<'_>) -> Result<(), Refused> {
        let series = self.id;
        if view.kind() != self.kind {
            return Err(Refused::OtherKind {
                series,
                found: view.kind(),
                before: self.kind,
            });
        }
        let (first, before) = (view.first_time().as_nanos(), self.newest.last);
        if first <= before {
            return Err(Refused::Overlaps {
                series,
                first,
                before,
            });
        }
        if self.chunks == CHUNKS_MAX {
            return Err(Refused::TooManyChunks { series });
        }
        Ok(())
    }

    fn add(&mut self, chunk: NewChunk, entries: &mut Vec<u8>) {
        self.newest.put(self.before, entries);
        self.before = Some(self.newest.last);
        self.chunks += 1;
        self.readings += chunk.count as u64;
        self.chunks_bytes += u64::from(chunk.length);
        self.newest = chunk;
    }

    /// Completes the block of entries.
    fn complete(self, chunks_offset: u64, entries: &mut Vec<u8>) -> SeriesInSegment {
        self.newest.put_last(self.before, entries);
        let block = &entries[self.block_at..];
        SeriesInSegment {
            id: self.id,
            kind: self.kind,
            chunks: self.chunks,
            readings: self.readings,
            first: self.first,
            last: self.newest.last,
            place: Place {
                chunks_offset,
                chunks_bytes: self.chunks_bytes,
                entries_at: self.block_at as u64,
                entries_bytes: u32::try_from(block.len())
                    .expect("`CHUNKS_MAX` entries are within 32 bits"),
                entries_crc: crc32c::crc32c(block),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use sensor_model::{Columns, Values};

    use super::*;

    #[test]
    fn the_most_series_are_taken_and_one_more_is_not() {
        let mut index = Index::new(Window { start: 0, width: 9 });
        index.series_max = 3;
        let mut chunk = Vec::new();
        let columns = Columns {
            times: vec![5],
            values: Values::Bool(vec![true]),
        };
        column_codec::encode(&columns, &mut chunk).unwrap();
        let view = column_codec::parse(&chunk).unwrap();
        for series in 0..3 {
            index.add(SeriesId(series), &chunk, &view).unwrap();
        }
        let refused = index.add(SeriesId(3), &chunk, &view);
        assert!(matches!(refused, Err(Refused::TooManySeries { .. })));
        assert_eq!(index.finish().unwrap().totals.series, 3);
    }
}
