//! Sweeps through the pieces of one series in order of time and joins those that overlap.
//!
//! A piece is read and decoded when the sweep reaches its first time and dropped behind its last, so
//! memory holds what overlaps, not what was asked for. Where one piece stands alone, runs of it are
//! handed over as they are; where several have the same timestamp, the one committed last is seen.
//!
//! Both directions are one algorithm: every time is looked at through a *key* that ascends in the
//! direction of the sweep.

mod lone;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use column_codec::Scratch;
use sensor_model::{Columns, Statistics, TimeRange, Values};
use store_wire::message::Order;

use super::memory::Held;
use super::reader::Reader;
use super::{Flow, Limits, ScanError, Taker};
use crate::segments::manifest::SegmentEntry;
use crate::segments::segment::ChunkEntry;
use crate::state::order::{keep_times, sort_keeping_later};
use crate::state::pieces::Piece;
use crate::state::selection::{Mask, Selection};

/// A sweep through one series.
pub(crate) struct Sweep<'a> {
    reader: Reader<'a>,
    range: TimeRange,
    order: Order,
    masks: Vec<Mask>,
    /// What the sweep has not reached, the next one first.
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// What the sweep is in, the one with the next reading first.
    open: BinaryHeap<Cursor>,
    open_bytes: usize,
    held: Held,
    limits: &'a Limits,
    scratch: Scratch,
    /// Statistics of parts of a chunk.
    parts: Vec<Statistics>,
    /// What the selection refers to stays.
    _hold: Arc<()>,
}

/// A run of readings that is not yet decoded.
struct Waiting {
    start_key: i64,
    end_key: i64,
    /// Its place among the commits.
    commit: usize,
    /// Which tombstones may apply to it: later ones.
    masked_through: u64,
    first: i64,
    last: i64,
    source: Source,
}

enum Source {
    /// Chunks that are not looked up yet.
    Segment(Arc<SegmentEntry>),
    Chunk(Arc<SegmentEntry>, ChunkEntry),
    Piece(Piece),
    Head(Columns),
}

/// A decoded run, its keys strictly ascending, and how far the sweep is in it.
struct Cursor {
    key: i64,
    commit: usize,
    at: usize,
    columns: Columns,
    bytes: usize,
}

impl<'a> Sweep<'a> {
    /// A sweep through what `selection` has in `range`, in `order`.
    pub(crate) fn new(
        reader: Reader<'a>,
        range: TimeRange,
        order: Order,
        selection: Selection,
        limits: &'a Limits,
    ) -> Self {
        let mut sweep = Self {
            reader,
            range,
            order,
            masks: selection.masks,
            waiting: BinaryHeap::new(),
            open: BinaryHeap::new(),
            open_bytes: 0,
            held: Held::of(limits.memory.clone()),
            limits,
            scratch: Scratch::new(),
            parts: Vec::new(),
            _hold: selection.hold,
        };
        let mut commit = 0;
        for entry in selection.segments {
            let (first, last, through) = (entry.first, entry.last, entry.masked_through);
            sweep.wait(first, last, commit, through, Source::Segment(entry));
            commit += 1;
        }
        for run in selection.runs {
            for piece in run.pieces {
                let (first, last, order) = (piece.first, piece.last, piece.order);
                sweep.wait(first, last, commit, order, Source::Piece(piece));
                commit += 1;
            }
            let mut head = run.head;
            sort_keeping_later(&mut head);
            if let (Some(&first), Some(&last)) = (head.times.first(), head.times.last()) {
                sweep.wait(first, last, commit, run.head_order, Source::Head(head));
                commit += 1;
            }
        }
        sweep
    }

    /// Hands every reading in the range to `taker`, in order, until it has enough.
    pub(crate) fn run(mut self, taker: &mut dyn Taker) -> Result<(), ScanError> {
        loop {
            if let Some(waiting) = self.lone(taker)? {
                match self.without_readings(&waiting, taker)? {
                    Some(Flow::Enough) => break,
                    Some(Flow::More) => continue,
                    // Its readings are wanted after all.
                    None => self.waiting.push(Reverse(waiting)),
                }
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

    /// Lets a run of readings wait for the sweep, unless nothing of it is wanted.
    fn wait(&mut self, first: i64, last: i64, commit: usize, masked_through: u64, source: Source) {
        let is_gone =
            |mask: &Mask| mask.index > masked_through && mask.first <= first && last <= mask.last;
        let from = first.max(self.range.from.as_nanos());
        let to = last.min(self.range.to.as_nanos().saturating_sub(1));
        if from > to || self.masks.iter().any(is_gone) {
            return;
        }
        let (start, end) = match self.order {
            Order::Ascending => (from, to),
            Order::Descending => (to, from),
        };
        self.waiting.push(Reverse(Waiting {
            start_key: key(start, self.order),
            end_key: key(end, self.order),
            commit,
            masked_through,
            first,
            last,
            source,
        }));
    }

    /// Looks up the chunks that a segment has of the series, and lets these wait in its place.
    fn expand(&mut self, entry: &Arc<SegmentEntry>, commit: usize) -> Result<(), ScanError> {
        self.limits.check()?;
        for chunk in &*self.reader.chunks(entry)? {
            let (first, last, through) = (chunk.first(), chunk.last(), entry.masked_through);
            let source = Source::Chunk(Arc::clone(entry), chunk.clone());
            self.wait(first, last, commit, through, source);
        }
        Ok(())
    }

    /// The masks that may take readings of `waiting`.
    fn masks_of(&self, waiting: &Waiting) -> impl Iterator<Item = &Mask> {
        let (first, last, through) = (waiting.first, waiting.last, waiting.masked_through);
        self.masks
            .iter()
            .filter(move |mask| mask.index > through && mask.first <= last && first <= mask.last)
    }

    /// Opens everything that may hold the next reading.
    fn open_reached(&mut self) -> Result<(), ScanError> {
        loop {
            let next = self.open.peek().map(|cursor| cursor.key);
            let is_reached = |waiting: &Waiting| next.is_none_or(|key| waiting.start_key <= key);
            match self.waiting.peek() {
                Some(Reverse(waiting)) if is_reached(waiting) => {}
                _ => return Ok(()),
            }
            let Some(Reverse(waiting)) = self.waiting.pop() else {
                return Ok(());
            };
            match &waiting.source {
                Source::Segment(entry) => self.expand(entry, waiting.commit)?,
                _ => self.open(waiting)?,
            }
        }
    }

    fn open(&mut self, waiting: Waiting) -> Result<(), ScanError> {
        self.limits.check()?;
        let masks: Vec<Mask> = self.masks_of(&waiting).copied().collect();
        let (mut columns, is_sorted) = match waiting.source {
            Source::Head(columns) => (columns, false),
            Source::Piece(piece) => {
                let chunk = self.reader.piece(&piece)?;
                self.decode(&chunk)?
            }
            Source::Chunk(entry, chunk) => {
                let chunk = self.reader.chunk(&entry, &chunk)?;
                self.decode(&chunk)?
            }
            Source::Segment(_) => unreachable!("segments are looked up before"),
        };
        for mask in masks {
            keep_times(&mut columns, |time| time < mask.first || mask.last < time);
        }
        if !is_sorted {
            sort_keeping_later(&mut columns);
        }
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

    /// The readings of a chunk, and whether their times are strictly ascending.
    fn decode(&mut self, chunk: &[u8]) -> Result<(Columns, bool), ScanError> {
        let view = self.reader.view(chunk)?;
        let bytes_max = self.limits.decoded_bytes_max;
        if !self.open.is_empty() && self.open_bytes + view.decoded_len() > bytes_max {
            return Err(ScanError::TooMuchOverlap {
                path: self.reader.series.path.clone(),
                bytes_max,
            });
        }
        self.limits.note_read(view.decoded_len())?;
        let open_bytes = self.open_bytes + view.decoded_len();
        if !self.open.is_empty() && !self.held.reach(open_bytes) {
            return Err(ScanError::Crowded);
        }
        let mut columns = Columns::empty(view.kind());
        view.decode_into(&mut columns, &mut self.scratch)
            .map_err(|error| self.reader.damaged(error))?;
        Ok((columns, view.is_sorted()))
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
        let waiting = self.waiting.peek();
        let waiting = waiting.map(|Reverse(waiting)| waiting.start_key);
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

/// Ordered by where they start, and of those that start alike by their commits.
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_start = self.start_key.cmp(&other.start_key);
        by_start.then(self.commit.cmp(&other.commit))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

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
