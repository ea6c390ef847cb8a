//! What is known of the readings of one series: what is not sealed, and how many there are, the first
//! and the last, of all of them.

use column_codec::ChunkView;
use sensor_model::{Columns, Kind, Reading, TimeRange};

use super::chunks::{Buffers, Unsealed};
use super::pieces::{Piece, Place, Span};
use crate::segments::manifest::Uncertain;

/// The readings of one series, as far as they are not sealed, and what is known of all of them.
#[derive(Debug, PartialEq)]
pub struct SeriesReadings {
    pub(super) kind: Kind,
    /// In a box, as most series have nothing that is not sealed most of the time; never empty.
    pub(super) unsealed: Option<Box<Unsealed>>,
    pub(super) count: u64,
    pub(super) first: Option<i64>,
    pub(super) last: Option<Reading>,
    pub(super) uncertain: Uncertain,
}

impl SeriesReadings {
    /// No readings, of `kind`.
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            unsealed: None,
            count: 0,
            first: None,
            last: None,
            uncertain: Uncertain {
                first: false,
                last: false,
            },
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
    pub const fn uncertain(&self) -> Uncertain {
        self.uncertain
    }

    /// What is not sealed, if anything.
    pub fn unsealed(&self) -> Option<&Unsealed> {
        self.unsealed.as_deref()
    }

    fn unsealed_mut(&mut self) -> &mut Unsealed {
        let none = || Box::new(Unsealed::new(self.kind));
        self.unsealed.get_or_insert_with(none)
    }

    /// Adds the chunk at `place` of entry `order` by reference: one of at least
    /// [`SMALL_READINGS`](super::chunks::SMALL_READINGS).
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
        if self.is_latest(span.last) {
            self.set_last(Some(chunk.statistics().last));
        }
        self.note(span, chunk.count());
        let piece = Piece {
            order,
            place,
            first: span.first,
            last: span.last,
            count: u32::try_from(chunk.count()).expect("a chunk has at most 65,536 readings"),
            is_sorted: chunk.is_sorted(),
        };
        self.unsealed_mut().add_chunk(piece, buffers);
    }

    /// Adds one reading of entry `order` to the head. It is of the series' kind.
    pub fn add_reading(&mut self, order: u64, reading: Reading, buffers: &mut Buffers) {
        let time = reading.timestamp.as_nanos();
        let span = Span {
            first: time,
            last: time,
        };
        self.note(span, 1);
        if self.is_latest(time) {
            self.set_last(Some(reading.clone()));
        }
        self.unsealed_mut().add_reading(order, reading, buffers);
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
            self.set_last(readings.reading(latest));
        }
        self.note(span, readings.len());
        self.unsealed_mut()
            .add_readings(order, readings, span, buffers);
    }

    /// Notes that what was committed before and lies in `range` is deleted.
    pub(super) fn note_deleted(&mut self, range: TimeRange, buffers: &mut Buffers) {
        let span = Span::of(range);
        if let Some(unsealed) = &mut self.unsealed {
            unsealed.part(span, buffers);
        }
        let takes = |time: Option<i64>| time.is_some_and(|time| span.holds(time));
        let last = self.last.as_ref().map(|last| last.timestamp.as_nanos());
        self.uncertain.first |= takes(self.first);
        self.uncertain.last |= takes(last);
    }

    /// Whether a reading at `time`, committed now, is the latest.
    fn is_latest(&self, time: i64) -> bool {
        self.last
            .as_ref()
            .is_none_or(|last| time >= last.timestamp.as_nanos())
    }

    /// Whatever was deleted before, this is the latest now.
    fn set_last(&mut self, last: Option<Reading>) {
        self.last = last;
        self.uncertain.last = false;
    }

    fn note(&mut self, span: Span, readings: usize) {
        self.count += readings as u64;
        if self.first.is_none_or(|first| span.first <= first) {
            self.first = Some(span.first);
            self.uncertain.first = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use column_codec::{encode, parse};
    use sensor_model::{Timestamp, Value, Values};

    use super::*;

    fn add_one(series: &mut SeriesReadings, time: i64, value: i64) {
        let one = Reading {
            timestamp: Timestamp::from_nanos(time),
            value: Value::I64(value),
        };
        series.add_reading(7, one, &mut Buffers::default());
    }

    /// Values are ten times their times.
    fn add_chunk(series: &mut SeriesReadings, index: u64, times: std::ops::Range<i64>) {
        let columns = Columns {
            times: times.clone().collect(),
            values: Values::I64(times.map(|time| time * 10).collect()),
        };
        let mut bytes = Vec::new();
        encode(&columns, &mut bytes).unwrap();
        let place = Place::Memory(std::sync::Arc::new(bytes.as_slice().into()));
        let chunk = parse(&bytes).unwrap();
        series.add_chunk(index, place, &chunk, &mut Buffers::default());
    }

    fn last(series: &SeriesReadings) -> String {
        series.last().unwrap().value.to_string()
    }

    #[test]
    fn the_last_reading_is_the_latest_and_of_equals_the_one_committed_later() {
        let mut series = SeriesReadings::new(Kind::I64);
        add_one(&mut series, 50, 1);
        add_one(&mut series, 40, 2);
        assert_eq!(last(&series), "1");
        add_one(&mut series, 50, 3);
        assert_eq!(last(&series), "3");
        add_chunk(&mut series, 1, -100..0);
        assert_eq!(last(&series), "3");
        add_chunk(&mut series, 2, -50..51);
        assert_eq!(last(&series), "500");
        assert_eq!((series.first(), series.count()), (Some(-100), 204));
    }

    #[test]
    fn a_delete_makes_uncertain_what_it_may_have_taken_until_something_lies_beyond() {
        let range = |from, to| TimeRange {
            from: sensor_model::Timestamp::from_nanos(from),
            to: sensor_model::Timestamp::from_nanos(to),
        };
        let mut series = SeriesReadings::new(Kind::I64);
        let delete = |series: &mut SeriesReadings, from, to| {
            series.note_deleted(range(from, to), &mut Buffers::default());
            (series.uncertain().first, series.uncertain().last)
        };
        add_chunk(&mut series, 1, 100..200);
        assert_eq!(delete(&mut series, 101, 199), (false, false));
        assert_eq!(delete(&mut series, 0, 101), (true, false));
        assert_eq!(delete(&mut series, 199, 200), (true, true));
        let uncertain =
            |series: &SeriesReadings| (series.uncertain().first, series.uncertain().last);
        add_one(&mut series, 198, 1);
        assert_eq!(uncertain(&series), (true, true));
        add_one(&mut series, 199, 2);
        assert_eq!(uncertain(&series), (true, false));
        assert_eq!(last(&series), "2");
        add_chunk(&mut series, 2, 100..170);
        assert_eq!(uncertain(&series), (false, false));
    }
}
