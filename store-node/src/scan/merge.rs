//! Sweeps through the pieces of one series in order of time and joins those that overlap.
//!
//! A piece is read and decoded when the sweep reaches its first time and dropped behind its last, so
//! memory holds what overlaps, not what was asked for. Where one piece stands alone, runs of it are
//! handed over as they are; where several have the same timestamp, the one committed last is seen.
//!
//! Both directions are one algorithm: every time is looked at through a *key* that ascends in the
//! direction of the sweep.

use std::collections::BinaryHeap;

use bytes::Bytes;
use column_codec::Scratch;
use sensor_model::{Columns, SeriesDescription, TimeRange, Values};
use store_wire::message::Order;

use super::{Flow, Limits, RangeQuestion, ScanError, Taker};
use crate::state::chunks::{Piece, Place, Selection};
use crate::state::order::sort_keeping_later;
use crate::state::{PayloadError, Payloads};

/// A sweep through one series.
pub(crate) struct Sweep<'a> {
    reader: Reader<'a>,
    range: TimeRange,
    order: Order,
    /// Pieces that the sweep has not reached, the next one last.
    waiting: Vec<Waiting>,
    /// Pieces that the sweep is in, the one with the next reading first.
    open: BinaryHeap<Cursor>,
    open_bytes: usize,
    limits: &'a Limits,
}

/// A piece that is not yet decoded, or the head.
struct Waiting {
    start_key: i64,
    end_key: i64,
    /// Its place among the commits.
    commit: usize,
    source: Source,
}

enum Source {
    Piece(Piece),
    Head(Columns),
}

/// A decoded piece, its keys strictly ascending, and how far the sweep is in it.
struct Cursor {
    key: i64,
    commit: usize,
    at: usize,
    columns: Columns,
    bytes: usize,
}

/// Reads chunks back. Chunks of one entry often follow each other, so the last payload is kept.
struct Reader<'a> {
    payloads: &'a dyn Payloads,
    series: &'a SeriesDescription,
    last: Option<(u64, Bytes)>,
    scratch: Scratch,
}

impl<'a> Sweep<'a> {
    pub(crate) fn new(
        payloads: &'a dyn Payloads,
        question: &RangeQuestion,
        selection: Selection,
        series: &'a SeriesDescription,
        limits: &'a Limits,
    ) -> Self {
        let mut sweep = Self {
            reader: Reader {
                payloads,
                series,
                last: None,
                scratch: Scratch::new(),
            },
            range: question.range,
            order: question.order,
            waiting: Vec::with_capacity(selection.pieces.len() + 1),
            open: BinaryHeap::new(),
            open_bytes: 0,
            limits,
        };
        for (commit, piece) in selection.pieces.into_iter().enumerate() {
            let (first, last) = (piece.first, piece.last);
            sweep.wait(first, last, commit, Source::Piece(piece));
        }
        let mut head = selection.head;
        sort_keeping_later(&mut head);
        if let (Some(&first), Some(&last)) = (head.times.first(), head.times.last()) {
            sweep.wait(first, last, usize::MAX, Source::Head(head));
        }
        // Stable: usually the pieces stand in order of time already.
        sweep.waiting.sort_by_key(|waiting| waiting.start_key);
        sweep.waiting.reverse();
        sweep
    }

    /// Hands every reading in the range to `taker`, in order, until it has enough.
    pub(crate) fn run(mut self, taker: &mut dyn Taker) -> Result<(), ScanError> {
        loop {
            if let Some(statistics) = self.lone_statistics(taker)? {
                if taker.statistics(statistics)? == Flow::Enough {
                    break;
                }
                continue;
            }
            self.open_reached()?;
            let Some(mut cursor) = self.open.pop() else {
                break;
            };
            self.step_over(cursor.key)?;
            let end = cursor.end_before(self.next_key(), self.order);
            let flow = taker.readings(&cursor.columns, cursor.at, end)?;
            cursor.at = end;
            self.put_back(cursor);
            if flow == Flow::Enough {
                break;
            }
        }
        taker.finish()
    }

    fn wait(&mut self, first: i64, last: i64, commit: usize, source: Source) {
        let first = first.max(self.range.from.as_nanos());
        let last = last.min(self.range.to.as_nanos().saturating_sub(1));
        let (start, end) = match self.order {
            Order::Ascending => (first, last),
            Order::Descending => (last, first),
        };
        self.waiting.push(Waiting {
            start_key: key(start, self.order),
            end_key: key(end, self.order),
            commit,
            source,
        });
    }

    /// The statistics of the next piece, if they stand for all its readings, `taker` takes them, and
    /// nothing else can have a reading among its.
    fn lone_statistics(
        &mut self,
        taker: &dyn Taker,
    ) -> Result<Option<sensor_model::Statistics>, ScanError> {
        let [.., following, next] = &self.waiting[..] else {
            return self.only_statistics(taker);
        };
        if following.start_key <= next.end_key {
            return Ok(None);
        }
        self.only_statistics(taker)
    }

    fn only_statistics(
        &mut self,
        taker: &dyn Taker,
    ) -> Result<Option<sensor_model::Statistics>, ScanError> {
        let is_lone = self.open.is_empty();
        let range = self.range;
        let stands_for_all = |piece: &Piece| {
            let inside = |time| range.from.as_nanos() <= time && time < range.to.as_nanos();
            piece.is_sorted
                && inside(piece.first)
                && inside(piece.last)
                && taker.takes_statistics(piece.first, piece.last)
        };
        let Some(Waiting {
            source: Source::Piece(piece),
            ..
        }) = self.waiting.last()
        else {
            return Ok(None);
        };
        if !is_lone || !stands_for_all(piece) {
            return Ok(None);
        }
        let piece = piece.clone();
        self.waiting.pop();
        self.limits.check_deadline()?;
        let chunk = self.reader.chunk(&piece)?;
        let view = column_codec::parse(&chunk).map_err(|error| self.reader.damaged(error))?;
        Ok(Some(view.statistics()))
    }

    /// Opens every piece that may hold the next reading.
    fn open_reached(&mut self) -> Result<(), ScanError> {
        loop {
            let next = self.open.peek().map(|cursor| cursor.key);
            let reached = self
                .waiting
                .pop_if(|waiting| next.is_none_or(|key| waiting.start_key <= key));
            let Some(waiting) = reached else {
                return Ok(());
            };
            self.open(waiting)?;
        }
    }

    fn open(&mut self, waiting: Waiting) -> Result<(), ScanError> {
        self.limits.check_deadline()?;
        let mut columns = match waiting.source {
            Source::Head(columns) => columns,
            Source::Piece(piece) => {
                let chunk = self.reader.chunk(&piece)?;
                self.decode(&chunk)?
            }
        };
        sort_keeping_later(&mut columns);
        let (from, to) = columns.bounds(self.range);
        if self.order == Order::Descending {
            reverse(&mut columns);
        }
        let at = match self.order {
            Order::Ascending => from,
            Order::Descending => columns.len() - to,
        };
        truncate(&mut columns, at + (to - from));
        let bytes = bytes_of(&columns);
        self.open_bytes += bytes;
        self.put_back(Cursor {
            key: 0,
            commit: waiting.commit,
            at,
            columns,
            bytes,
        });
        Ok(())
    }

    fn decode(&mut self, chunk: &[u8]) -> Result<Columns, ScanError> {
        let view = column_codec::parse(chunk).map_err(|error| self.reader.damaged(error))?;
        let bytes_max = self.limits.decoded_bytes_max;
        if !self.open.is_empty() && self.open_bytes + view.decoded_len() > bytes_max {
            return Err(ScanError::TooMuchOverlap {
                path: self.reader.series.path.clone(),
                bytes_max,
            });
        }
        let mut columns = Columns::empty(view.kind());
        view.decode_into(&mut columns, &mut self.reader.scratch)
            .map_err(|error| self.reader.damaged(error))?;
        Ok(columns)
    }

    /// Steps over readings at `key` in other pieces: they were committed earlier.
    fn step_over(&mut self, key: i64) -> Result<(), ScanError> {
        while self.open.peek().is_some_and(|cursor| cursor.key == key) {
            if let Some(mut earlier) = self.open.pop() {
                earlier.at += 1;
                self.put_back(earlier);
            }
        }
        Ok(())
    }

    /// The first key at which another piece has, or may have, a reading.
    fn next_key(&self) -> Option<i64> {
        let open = self.open.peek().map(|cursor| cursor.key);
        let waiting = self.waiting.last().map(|waiting| waiting.start_key);
        match (open, waiting) {
            (Some(open), Some(waiting)) => Some(open.min(waiting)),
            (one, other) => one.or(other),
        }
    }

    fn put_back(&mut self, mut cursor: Cursor) {
        match cursor.columns.times.get(cursor.at) {
            Some(time) => {
                cursor.key = key(*time, self.order);
                self.open.push(cursor);
            }
            None => self.open_bytes -= cursor.bytes,
        }
    }
}

impl Cursor {
    /// Where the readings before `bound` end.
    fn end_before(&self, bound: Option<i64>, order: Order) -> usize {
        let Some(bound) = bound else {
            return self.columns.len();
        };
        let rest = &self.columns.times[self.at..];
        self.at + rest.partition_point(|time| key(*time, order) < bound)
    }
}

/// The greatest cursor is the one with the next reading; of equal ones the one committed last.
impl Ord for Cursor {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_key = other.key.cmp(&self.key);
        by_key.then(self.commit.cmp(&other.commit))
    }
}

impl PartialOrd for Cursor {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cursor {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Cursor {}

impl Reader<'_> {
    /// The bytes of a chunk.
    fn chunk(&mut self, piece: &Piece) -> Result<Bytes, ScanError> {
        let (index, offset, length) = match &piece.place {
            Place::Memory(bytes) => return Ok(Bytes::from_owner(std::sync::Arc::clone(bytes))),
            Place::Log {
                index,
                offset,
                length,
            } => (*index, *offset as usize, *length as usize),
        };
        let payload = match &self.last {
            Some((last, payload)) if *last == index => payload.clone(),
            _ => self
                .payloads
                .payload(index)
                .map_err(|source| self.unreadable(source))?,
        };
        self.last = Some((index, payload.clone()));
        let end = offset.saturating_add(length);
        if end > payload.len() {
            return Err(self.unreadable(PayloadError::Absent { index }));
        }
        Ok(payload.slice(offset..end))
    }

    fn unreadable(&self, source: PayloadError) -> ScanError {
        ScanError::Payload {
            path: self.series.path.clone(),
            source,
        }
    }

    fn damaged(&self, source: column_codec::DecodeError) -> ScanError {
        ScanError::Chunk {
            path: self.series.path.clone(),
            source,
        }
    }
}

/// Ascends in the direction of the sweep.
const fn key(time: i64, order: Order) -> i64 {
    match order {
        Order::Ascending => time,
        Order::Descending => !time,
    }
}

fn reverse(columns: &mut Columns) {
    columns.times.reverse();
    match &mut columns.values {
        Values::F64(values) => values.reverse(),
        Values::I64(values) => values.reverse(),
        Values::Bool(values) => values.reverse(),
        Values::Text(values) => values.reverse(),
    }
}

fn truncate(columns: &mut Columns, len: usize) {
    columns.times.truncate(len);
    match &mut columns.values {
        Values::F64(values) => values.truncate(len),
        Values::I64(values) => values.truncate(len),
        Values::Bool(values) => values.truncate(len),
        Values::Text(values) => values.truncate(len),
    }
}

/// About how much memory `columns` take.
fn bytes_of(columns: &Columns) -> usize {
    let times = columns.len() * 8;
    times
        + match &columns.values {
            Values::F64(_) | Values::I64(_) => times,
            Values::Bool(values) => values.len(),
            Values::Text(values) => values
                .iter()
                .map(|text| size_of::<String>() + text.len())
                .sum(),
        }
}
