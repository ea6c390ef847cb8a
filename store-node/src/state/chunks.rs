//! The readings of one series that are not sealed: pieces in the order of their commits.
//!
//! A chunk of many readings stays where it is, in the log, and is known here by a reference. Chunks of
//! few readings are decoded when they are applied and gather in the series' *head*, which from time
//! to time is encoded into one chunk kept in memory. So a gateway that sends each reading alone costs a
//! series no more references than one that sends thousands together.

use std::sync::Arc;

use bytes::Bytes;
use column_codec::{ChunkView, Scratch, encode_with};
use sensor_model::{Columns, Kind, Reading, TimeRange, Values};

use super::order::{is_strictly_ascending, sort_keeping_later};
use super::{PayloadError, Payloads};

/// Chunks of fewer readings go into the head. A reference then costs less than a byte a reading.
pub const SMALL_READINGS: usize = 64;
/// A head of so many readings becomes a chunk.
pub const HEAD_READINGS: usize = 1024;
/// A head of so many bytes of text becomes a chunk.
pub const HEAD_TEXT_BYTES: usize = 64 * 1024;

/// How many pieces share one entry of the zone map.
const ZONE_PIECES: usize = 64;

/// A chunk of one series, and what a scan must know to leave it out.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Every reading in it was committed at or before this index of the log.
    pub order: u64,
    /// Where its bytes are.
    pub place: Place,
    /// The earliest time in it.
    pub first: i64,
    /// The latest time in it.
    pub last: i64,
    /// How many readings it has.
    pub count: u32,
    /// Whether its times are strictly ascending.
    pub is_sorted: bool,
}

// A year of one series at 1 Hz in chunks of a thousand is 31,536 of them.
const _: () = assert!(size_of::<Piece>() <= 56);

/// Where a chunk's bytes are.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// In the payload of the entry at the piece's order.
    Log {
        /// The chunk's first byte in the payload.
        offset: u32,
        /// How many bytes.
        length: u32,
        /// CRC32C of them.
        crc: u32,
    },
    /// In memory: a head that was full.
    Memory(Arc<Box<[u8]>>),
}

/// The readings of one series, as far as they are not sealed, and what is known of all of them.
///
/// Invariants:
/// - of two pieces that have a timestamp in common, the one committed later stands later, and the head
///   last of all: where a timestamp is repeated, the later piece counts.
#[derive(Debug, PartialEq)]
pub struct SeriesReadings {
    pub(super) unsealed: Unsealed,
    pub(super) count: u64,
    pub(super) first: Option<i64>,
    pub(super) last: Option<Reading>,
    /// Whether a delete may have taken the first or the last reading.
    pub(super) is_uncertain: bool,
}

/// Pieces and a head.
///
/// Invariant: a zone spans all pieces it stands for.
#[derive(Debug, PartialEq)]
pub struct Unsealed {
    pieces: Vec<Piece>,
    zones: Vec<Span>,
    head: Head,
}

/// What a scan needs of a run of pieces and the head behind them, copied out.
#[derive(Debug, PartialEq)]
pub struct Selected {
    /// Pieces that have, or may have, readings in the range, in the order of their commits.
    pub pieces: Vec<Piece>,
    /// Readings of the head in the range, in the order of their commits; they come after all pieces.
    pub head: Columns,
    /// The order of the head.
    pub head_order: u64,
}

/// The first and the last of some times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: i64,
    pub(super) last: i64,
}

/// Readings that are not yet a chunk, in the order of their commits.
#[derive(Debug, PartialEq)]
struct Head {
    columns: Columns,
    span: Span,
    text_bytes: usize,
    /// Index of the last commit in it.
    order: u64,
}

/// Buffers for encoding heads, shared by all series.
#[derive(Debug, Default)]
pub struct Buffers {
    /// For the codec.
    pub scratch: Scratch,
    encoded: Vec<u8>,
}

impl Span {
    const EMPTY: Self = Self {
        first: i64::MAX,
        last: i64::MIN,
    };

    pub(super) const fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn widen(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    /// The span of a range that is not empty.
    pub(super) const fn of(range: TimeRange) -> Self {
        Self {
            first: range.from.as_nanos(),
            last: range.to.as_nanos() - 1,
        }
    }

    pub(super) const fn holds(self, time: i64) -> bool {
        self.first <= time && time <= self.last
    }
}

impl Head {
    const fn empty(kind: Kind) -> Self {
        Self {
            columns: Columns::empty(kind),
            span: Span::EMPTY,
            text_bytes: 0,
            order: 0,
        }
    }

    const fn is_full(&self, readings: usize) -> bool {
        readings >= HEAD_READINGS || self.text_bytes >= HEAD_TEXT_BYTES
    }
}

impl SeriesReadings {
    /// No readings, of `kind`.
    pub const fn new(kind: Kind) -> Self {
        Self {
            unsealed: Unsealed::new(kind),
            count: 0,
            first: None,
            last: None,
            is_uncertain: false,
        }
    }

    /// How many readings were applied, repeated timestamps counted each time.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The earliest timestamp.
    pub const fn first(&self) -> Option<i64> {
        self.first
    }

    /// The latest reading.
    pub const fn last(&self) -> Option<&Reading> {
        self.last.as_ref()
    }

    /// Whether a delete may have taken [`first`](Self::first) or [`last`](Self::last): then only a
    /// scan can say what they are.
    pub const fn is_uncertain(&self) -> bool {
        self.is_uncertain
    }

    /// What is not sealed.
    pub const fn unsealed(&self) -> &Unsealed {
        &self.unsealed
    }

    /// Adds the chunk at `place` of entry `order` by reference: one of at least [`SMALL_READINGS`].
    pub fn add_chunk(
        &mut self,
        order: u64,
        place: Place,
        chunk: &ChunkView<'_>,
        buffers: &mut Buffers,
    ) {
        let span = Span {
            first: chunk.first_time().as_nanos(),
            last: chunk.last_time().as_nanos(),
        };
        // What the head holds was committed before; it may stay open unless a timestamp can repeat.
        if span.meets(self.unsealed.head.span) {
            self.unsealed.close_head(buffers);
        }
        if self.is_latest(span.last) {
            self.last = Some(chunk.statistics().last);
        }
        self.note(span, chunk.count());
        self.unsealed.push(Piece {
            order,
            place,
            first: span.first,
            last: span.last,
            count: u32::try_from(chunk.count()).expect("a chunk has at most 65,536 readings"),
            is_sorted: chunk.is_sorted(),
        });
    }

    /// Adds a few readings of entry `order`, in their order, to the head. They are of the series' kind.
    pub fn add_readings(&mut self, order: u64, readings: &Columns, buffers: &mut Buffers) {
        let mut span = Span::EMPTY;
        let mut latest = None;
        for (at, time) in readings.times.iter().enumerate() {
            span.first = span.first.min(*time);
            if *time >= span.last {
                span.last = *time;
                latest = Some(at);
            }
        }
        let Some(latest) = latest else { return };
        if self.is_latest(span.last) {
            self.last = readings.reading(latest);
        }
        self.note(span, readings.len());
        let head = &mut self.unsealed.head;
        head.columns.extend_from(readings, 0, readings.len());
        head.span.widen(span);
        head.order = order;
        if let Values::Text(texts) = &readings.values {
            head.text_bytes += texts.iter().map(String::len).sum::<usize>();
        }
        if head.is_full(head.columns.len()) {
            self.unsealed.close_head(buffers);
        }
    }

    /// Notes that what was committed before and lies in `range` is deleted.
    pub(super) fn note_deleted(&mut self, range: TimeRange, buffers: &mut Buffers) {
        let span = Span::of(range);
        if span.meets(self.unsealed.head.span) {
            // What comes next is not deleted: the head's readings share one fate.
            self.unsealed.close_head(buffers);
        }
        let takes = |time: Option<i64>| time.is_some_and(|time| span.holds(time));
        let last = self.last.as_ref().map(|last| last.timestamp.as_nanos());
        self.is_uncertain |= takes(self.first) || takes(last);
    }

    /// Whether a reading at `time`, committed now, is the latest.
    fn is_latest(&self, time: i64) -> bool {
        self.last
            .as_ref()
            .is_none_or(|last| time >= last.timestamp.as_nanos())
    }

    fn note(&mut self, span: Span, readings: usize) {
        self.count += readings as u64;
        self.first = Some(self.first.map_or(span.first, |first| first.min(span.first)));
    }
}

impl Unsealed {
    /// Nothing, of `kind`.
    pub(super) const fn new(kind: Kind) -> Self {
        Self {
            pieces: Vec::new(),
            zones: Vec::new(),
            head: Head::empty(kind),
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.head.columns.is_empty()
    }

    /// Takes everything out, in no time.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self::new(self.head.columns.kind());
        std::mem::replace(self, empty)
    }

    /// Copies out what may have readings in `range`, which is not empty.
    pub fn select(&self, range: TimeRange) -> Selected {
        let wanted = Span::of(range);
        let zones = self.pieces.chunks(ZONE_PIECES).zip(&self.zones);
        let pieces = zones
            .filter(|(_, zone)| zone.meets(wanted))
            .flat_map(|(pieces, _)| pieces)
            .filter(|piece| piece.span().meets(wanted))
            .cloned()
            .collect();
        let mut head = Columns::empty(self.head.columns.kind());
        if self.head.span.meets(wanted) {
            for_each_run_inside(&self.head.columns.times, range, |from, to| {
                head.extend_from(&self.head.columns, from, to);
            });
        }
        Selected {
            pieces,
            head,
            head_order: self.head.order,
        }
    }

    /// How many readings, repeated timestamps counted each time.
    pub(crate) fn readings(&self) -> u64 {
        let pieces = self.pieces.iter().map(|piece| u64::from(piece.count));
        pieces.sum::<u64>() + self.head.columns.len() as u64
    }

    /// The spans of the pieces and the head, each the first and last time of a run of readings.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (i64, i64)> {
        let head = (!self.head.columns.is_empty()).then_some(self.head.span);
        let pieces = self.pieces.iter().map(Piece::span);
        pieces.chain(head).map(|span| (span.first, span.last))
    }

    fn close_head(&mut self, buffers: &mut Buffers) {
        if self.head.columns.is_empty() {
            return;
        }
        let columns = &mut self.head.columns;
        sort_keeping_later(columns);
        debug_assert!(is_strictly_ascending(&columns.times));
        buffers.encoded.clear();
        encode_with(columns, &mut buffers.scratch, &mut buffers.encoded)
            .expect("what was decoded from valid chunks, and is fewer than 65,536, can be encoded");
        let piece = Piece {
            order: self.head.order,
            place: Place::Memory(Arc::new(buffers.encoded.as_slice().into())),
            first: self.head.span.first,
            last: self.head.span.last,
            count: u32::try_from(columns.len()).expect("a head has fewer than 65,536 readings"),
            is_sorted: true,
        };
        clear(columns);
        self.head.span = Span::EMPTY;
        self.head.text_bytes = 0;
        self.push(piece);
    }

    fn push(&mut self, piece: Piece) {
        if self.pieces.len().is_multiple_of(ZONE_PIECES) {
            self.zones.push(Span::EMPTY);
        }
        if let Some(zone) = self.zones.last_mut() {
            zone.widen(piece.span());
        }
        self.pieces.push(piece);
    }
}

impl Piece {
    const fn span(&self) -> Span {
        Span {
            first: self.first,
            last: self.last,
        }
    }

    /// Its bytes, checked.
    ///
    /// # Errors
    /// See [`PayloadError`].
    pub(crate) fn read(&self, payloads: &dyn Payloads) -> Result<Bytes, PayloadError> {
        match &self.place {
            Place::Memory(bytes) => Ok(Bytes::from_owner(SharedBytes(Arc::clone(bytes)))),
            Place::Log {
                offset,
                length,
                crc,
            } => {
                let bytes = payloads.chunk(self.order, *offset, *length)?;
                if crc32c::crc32c(&bytes) == *crc {
                    Ok(bytes)
                } else {
                    Err(PayloadError::Damaged { index: self.order })
                }
            }
        }
    }
}

struct SharedBytes(Arc<Box<[u8]>>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Empties `columns` and keeps their memory: a series that filled one head will fill another.
fn clear(columns: &mut Columns) {
    columns.times.clear();
    match &mut columns.values {
        Values::F64(values) => values.clear(),
        Values::I64(values) => values.clear(),
        Values::Bool(values) => values.clear(),
        Values::Text(values) => values.clear(),
    }
}

/// Calls `run` with the bounds of each longest run of times inside `range`.
fn for_each_run_inside(times: &[i64], range: TimeRange, mut run: impl FnMut(usize, usize)) {
    let wanted = Span::of(range);
    let inside = |time: &i64| wanted.first <= *time && *time <= wanted.last;
    let mut at = 0;
    while at < times.len() {
        let outside = times[at..].iter().take_while(|time| !inside(time)).count();
        let from = at + outside;
        let to = from + times[from..].iter().take_while(|time| inside(time)).count();
        if from < to {
            run(from, to);
        }
        at = to;
    }
}

#[cfg(test)]
mod tests {
    use column_codec::{encode, parse};
    use sensor_model::Timestamp;

    use super::*;

    fn readings(times: impl IntoIterator<Item = i64>) -> Columns {
        let times: Vec<i64> = times.into_iter().collect();
        let values = times.iter().map(|time| time * 10).collect();
        Columns {
            times,
            values: Values::I64(values),
        }
    }

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(to)).unwrap()
    }

    fn add_chunk(series: &mut SeriesReadings, index: u64, columns: &Columns) {
        let mut bytes = Vec::new();
        encode(columns, &mut bytes).unwrap();
        let place = Place::Log {
            offset: 0,
            length: u32::try_from(bytes.len()).unwrap(),
            crc: crc32c::crc32c(&bytes),
        };
        let chunk = parse(&bytes).unwrap();
        series.add_chunk(index, place, &chunk, &mut Buffers::default());
    }

    #[test]
    fn a_full_head_becomes_one_sorted_chunk_in_memory() {
        let mut series = SeriesReadings::new(Kind::I64);
        let mut buffers = Buffers::default();
        for time in (0..1024).rev() {
            series.add_readings(7, &readings([time]), &mut buffers);
        }
        let selection = series.unsealed().select(range(0, 5000));
        assert!(selection.head.is_empty());
        let [piece] = &selection.pieces[..] else {
            panic!("{:?}", selection.pieces)
        };
        let Place::Memory(bytes) = &piece.place else {
            panic!("{piece:?}")
        };
        let columns = parse(bytes).unwrap().decode().unwrap();
        assert_eq!(columns, readings(0..1024));
        assert!(piece.is_sorted);
    }

    #[test]
    fn the_head_is_closed_before_a_chunk_that_may_repeat_its_times() {
        let mut series = SeriesReadings::new(Kind::I64);
        series.add_readings(7, &readings([150]), &mut Buffers::default());
        add_chunk(&mut series, 7, &readings(100..200));
        let places: Vec<bool> = series
            .unsealed()
            .select(range(0, 1000))
            .pieces
            .iter()
            .map(|piece| matches!(piece.place, Place::Memory(_)))
            .collect();
        assert_eq!(places, [true, false]);
    }

    #[test]
    fn the_head_stays_open_beside_a_chunk_of_another_time() {
        let mut series = SeriesReadings::new(Kind::I64);
        series.add_readings(7, &readings([99]), &mut Buffers::default());
        add_chunk(&mut series, 7, &readings(100..200));
        let selection = series.unsealed().select(range(0, 1000));
        assert_eq!(selection.pieces.len(), 1);
        assert_eq!(selection.head, readings([99]));
    }

    #[test]
    fn texts_close_a_head_by_their_bytes() {
        let mut series = SeriesReadings::new(Kind::Text);
        let long = |time| Columns {
            times: vec![time],
            values: Values::Text(vec!["x".repeat(1024)]),
        };
        for time in 0..64 {
            assert!(series.unsealed().select(range(0, 100)).pieces.is_empty());
            series.add_readings(7, &long(time), &mut Buffers::default());
        }
        assert_eq!(series.unsealed().select(range(0, 100)).pieces.len(), 1);
    }

    #[test]
    fn the_last_reading_is_the_latest_and_of_equals_the_one_committed_later() {
        let mut series = SeriesReadings::new(Kind::I64);
        let mut buffers = Buffers::default();
        let one = |time, value| Columns {
            times: vec![time],
            values: Values::I64(vec![value]),
        };
        let value = |series: &SeriesReadings| series.last().unwrap().value.to_string();
        series.add_readings(7, &one(50, 1), &mut buffers);
        series.add_readings(7, &one(40, 2), &mut buffers);
        assert_eq!(value(&series), "1");
        series.add_readings(7, &one(50, 3), &mut buffers);
        assert_eq!(value(&series), "3");
        add_chunk(&mut series, 1, &readings(-100..0));
        assert_eq!(value(&series), "3");
        add_chunk(&mut series, 2, &readings(-50..51));
        assert_eq!(value(&series), "500");
        assert_eq!((series.first(), series.count()), (Some(-100), 204));
    }

    #[test]
    fn pieces_outside_the_range_are_left_out_in_every_zone() {
        let mut series = SeriesReadings::new(Kind::I64);
        for index in 0..200 {
            let from = i64::try_from(index).unwrap() * 100;
            add_chunk(&mut series, index, &readings(from..from + 64));
        }
        let selected = |from, to| series.unsealed().select(range(from, to)).pieces.len();
        assert_eq!(selected(0, 20_000), 200);
        assert_eq!(selected(63, 64), 1);
        assert_eq!(selected(64, 100), 0);
        assert_eq!(selected(6_300, 6_501), 3);
        assert_eq!(selected(i64::MIN, i64::MAX), 200);
    }
}
