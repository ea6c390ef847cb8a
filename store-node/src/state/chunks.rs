//! The readings of one series that are not sealed: pieces in the order of their commits.
//!
//! A chunk of many readings stays where it is, in the log, and is known here by a reference. Chunks of
//! few readings are decoded when they are applied and gather in the series' *head*, which from time
//! to time is encoded into one chunk kept in memory. So a gateway that sends each reading alone costs a
//! series no more references than one that sends thousands together.
//!
//! A piece itself is in `pieces.rs`. What is known of all readings of a series, sealed or not, is in `readings.rs`.

use std::sync::Arc;

use column_codec::{Scratch, encode_with};
use sensor_model::{Columns, Kind, Reading, TimeRange, Value, Values};

use super::order::{is_strictly_ascending, sort_keeping_later};
use super::pieces::{Piece, Place, Span};

/// Chunks of fewer readings go into the head. A reference then costs less than a byte a reading.
pub const SMALL_READINGS: usize = 64;
/// A head of so many readings becomes a chunk.
pub const HEAD_READINGS: usize = 1024;
/// A head of so many bytes of text becomes a chunk.
pub const HEAD_TEXT_BYTES: usize = 64 * 1024;

/// How many pieces share one entry of the zone map.
const ZONE_PIECES: usize = 64;

/// Pieces and a head.
///
/// Invariants:
/// - of two pieces that have a timestamp in common, the one committed later stands later, and the head
///   last of all: where a timestamp is repeated, the later piece counts;
/// - of the readings of one piece, or of the head, that a delete is of, it takes all or none;
/// - a zone spans all pieces it stands for.
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

impl Head {
    const fn empty(kind: Kind) -> Self {
        Self {
            columns: Columns::empty(kind),
            span: Span::EMPTY,
            text_bytes: 0,
            order: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.columns.len() >= HEAD_READINGS || self.text_bytes >= HEAD_TEXT_BYTES
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

    /// Adds a chunk that stays in the log.
    pub(super) fn add_chunk(&mut self, piece: Piece, buffers: &mut Buffers) {
        // What the head holds was committed before; it may stay open unless a timestamp can repeat.
        self.part(piece.span(), buffers);
        self.push(piece);
    }

    /// Adds one reading of entry `order`, which is of its kind, to the head.
    pub(super) fn add_reading(&mut self, order: u64, reading: Reading, buffers: &mut Buffers) {
        let head = &mut self.head;
        let time = reading.timestamp.as_nanos();
        head.span.widen(Span {
            first: time,
            last: time,
        });
        head.order = order;
        if let Value::Text(text) = &reading.value {
            head.text_bytes += text.len();
        }
        let pushed = head.columns.push(reading.timestamp, reading.value);
        pushed.expect("the reading is of the series' kind");
        if head.is_full() {
            self.close_head(buffers);
        }
    }

    /// Adds a few readings of entry `order`, in their order, to the head. They are of its kind, and
    /// `span` is theirs.
    pub(super) fn add_readings(
        &mut self,
        order: u64,
        readings: &Columns,
        span: Span,
        buffers: &mut Buffers,
    ) {
        let head = &mut self.head;
        head.columns.extend_from(readings, 0, readings.len());
        head.span.widen(span);
        head.order = order;
        if let Values::Text(texts) = &readings.values {
            head.text_bytes += texts.iter().map(String::len).sum::<usize>();
        }
        if head.is_full() {
            self.close_head(buffers);
        }
    }

    /// Makes a piece of the head if it may have readings in `span`: what comes next has not the same
    /// standing there.
    pub(super) fn part(&mut self, span: Span, buffers: &mut Buffers) {
        if span.meets(self.head.span) {
            self.close_head(buffers);
        }
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
    use column_codec::parse;
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

    fn add_chunk(unsealed: &mut Unsealed, order: u64, times: std::ops::Range<i64>) {
        let place = Place::Log {
            offset: 0,
            length: 0,
            crc: 0,
        };
        let piece = Piece {
            order,
            place,
            first: times.start,
            last: times.end - 1,
            count: u32::try_from(times.count()).unwrap(),
            is_sorted: true,
        };
        unsealed.add_chunk(piece, &mut Buffers::default());
    }

    fn add_one(unsealed: &mut Unsealed, order: u64, time: i64) {
        let reading = readings([time]).reading(0).unwrap();
        unsealed.add_reading(order, reading, &mut Buffers::default());
    }

    #[test]
    fn a_full_head_becomes_one_sorted_chunk_in_memory() {
        let mut unsealed = Unsealed::new(Kind::I64);
        for time in (0..1024).rev() {
            add_one(&mut unsealed, 7, time);
        }
        let selection = unsealed.select(range(0, 5000));
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
        let mut unsealed = Unsealed::new(Kind::I64);
        add_one(&mut unsealed, 7, 150);
        add_chunk(&mut unsealed, 7, 100..200);
        let places: Vec<bool> = unsealed
            .select(range(0, 1000))
            .pieces
            .iter()
            .map(|piece| matches!(piece.place, Place::Memory(_)))
            .collect();
        assert_eq!(places, [true, false]);
    }

    #[test]
    fn the_head_stays_open_beside_a_chunk_of_another_time() {
        let mut unsealed = Unsealed::new(Kind::I64);
        add_one(&mut unsealed, 7, 99);
        add_chunk(&mut unsealed, 7, 100..200);
        let selection = unsealed.select(range(0, 1000));
        assert_eq!(selection.pieces.len(), 1);
        assert_eq!(selection.head, readings([99]));
    }

    #[test]
    fn texts_close_a_head_by_their_bytes() {
        let mut unsealed = Unsealed::new(Kind::Text);
        for time in 0..64 {
            assert!(unsealed.select(range(0, 100)).pieces.is_empty());
            let long = Reading {
                timestamp: Timestamp::from_nanos(time),
                value: Value::Text("x".repeat(1024)),
            };
            unsealed.add_reading(7, long, &mut Buffers::default());
        }
        assert_eq!(unsealed.select(range(0, 100)).pieces.len(), 1);
    }

    #[test]
    fn pieces_outside_the_range_are_left_out_in_every_zone() {
        let mut unsealed = Unsealed::new(Kind::I64);
        for index in 0..200 {
            let from = i64::try_from(index).unwrap() * 100;
            add_chunk(&mut unsealed, index, from..from + 64);
        }
        let selected = |from, to| unsealed.select(range(from, to)).pieces.len();
        assert_eq!(selected(0, 20_000), 200);
        assert_eq!(selected(63, 64), 1);
        assert_eq!(selected(64, 100), 0);
        assert_eq!(selected(6_300, 6_501), 3);
        assert_eq!(selected(i64::MIN, i64::MAX), 200);
    }

    #[test]
    fn all_is_counted_and_spanned() {
        let mut unsealed = Unsealed::new(Kind::I64);
        assert!(unsealed.spans().next().is_none());
        add_one(&mut unsealed, 7, 99);
        add_chunk(&mut unsealed, 7, 100..200);
        assert_eq!(unsealed.readings(), 101);
        let spans: Vec<_> = unsealed.spans().collect();
        assert_eq!(spans, [(100, 199), (99, 99)]);
    }
}
