//! Random histories: batches as they may come, and the log they make.

use bytes::Bytes;
use proptest::prelude::*;
use sensor_model::{
    BoardName, Columns, Kind, Pattern, SeriesDescription, SeriesId, SeriesPath, TimeRange, Values,
};
use store_node::command::{self, Position, Seal};
use store_node::segments::manifest::{RetentionRule, SegmentId};
use store_node::state::boards::BoardText;
use store_node::state::{PayloadError, Payloads, State};
use store_wire::batch::{BatchBuilder, BatchView};

/// Times lie in about this range.
pub(crate) const SPAN: i64 = 6_000;

/// The series every history opens, in order of their ids.
pub(crate) const SERIES: [(&str, Kind); 4] = [
    ("line/f", Kind::F64),
    ("line/i", Kind::I64),
    ("line/b", Kind::Bool),
    ("other/t", Kind::Text),
];

const PRODUCER: &str = "device/a";

/// What comes next in a history.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    place: Place,
    chunks: Vec<Chunk>,
}

#[derive(Debug, Clone)]
enum Place {
    Next,
    /// After sequences that the spool dropped.
    AfterSkipped(u64),
    /// The same batch as one before, so many steps back.
    Repeated(usize),
    BehindGap(u64),
    /// A write by hand.
    Unnamed,
}

#[derive(Debug, Clone)]
struct Chunk {
    series: u64,
    first: i64,
    step: i64,
    count: i64,
    shape: Shape,
    seed: i64,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Ascending,
    Descending,
    /// Out of order, with repeated times.
    Shuffled,
}

/// An entry, in terms that a model understands.
#[derive(Debug, Clone)]
pub(crate) enum Meaning {
    OpenSeries,
    OpenProducer,
    Append {
        sequence: Option<(u64, u64)>,
        chunks: Vec<(u64, Columns)>,
    },
    Seal,
    Compact,
    Delete {
        pattern: Pattern,
        range: TimeRange,
    },
    SetRetention,
    SetBoard {
        name: BoardName,
        expected: u64,
        content: Option<&'static str>,
    },
}

/// The entries of a history, from index 1.
pub(crate) struct Log {
    entries: Vec<(Bytes, Meaning)>,
    /// The producer's next sequence.
    next: u64,
}

pub(super) fn batches() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 0..60)
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let place = prop_oneof![
        12 => Just(Place::Next),
        1 => (1_u64..4).prop_map(Place::AfterSkipped),
        3 => (0_usize..6).prop_map(Place::Repeated),
        1 => (1_u64..4).prop_map(Place::BehindGap),
        1 => Just(Place::Unnamed),
    ];
    (place, proptest::collection::vec(chunk(), 0..5))
        .prop_map(|(place, chunks)| Step { place, chunks })
}

fn chunk() -> impl Strategy<Value = Chunk> {
    let count = prop_oneof![4 => 1_i64..4, 3 => 17_i64..64, 2 => 64_i64..400];
    let shape = prop_oneof![
        4 => Just(Shape::Ascending),
        1 => Just(Shape::Descending),
        1 => Just(Shape::Shuffled),
    ];
    // Series 0 gets most, so that its head fills.
    let series = prop_oneof![3 => Just(0_u64), 2 => 0_u64..4];
    (series, 0..SPAN, 1_i64..12, count, shape, -1_000_i64..1_000).prop_map(
        |(series, first, step, count, shape, seed)| Chunk {
            series,
            first,
            step,
            count,
            shape,
            seed,
        },
    )
}

impl Chunk {
    fn columns(&self) -> Columns {
        let time = |at: i64| {
            let place = match self.shape {
                Shape::Ascending => at,
                Shape::Descending => self.count - at,
                Shape::Shuffled => (at * 7_919 + self.seed).rem_euclid(self.count) / 2,
            };
            self.first + place * self.step
        };
        let value = |at: i64| self.seed + at * at % 97;
        let values = (0..self.count).map(value);
        let kind = SERIES[usize::try_from(self.series).unwrap()].1;
        Columns {
            times: (0..self.count).map(time).collect(),
            values: match kind {
                // Whole numbers, so that a sum does not depend on the order.
                Kind::F64 => Values::F64(values.map(|value| value as f64).collect()),
                Kind::I64 => Values::I64(values.collect()),
                Kind::Bool => Values::Bool(values.map(|value| value % 3 == 0).collect()),
                Kind::Text => Values::Text(values.map(|value| format!("t{value}")).collect()),
            },
        }
    }
}

impl Log {
    pub(super) fn of(steps: &[Step]) -> Self {
        let mut log = Self::opened();
        for step in steps {
            log.take(step);
        }
        log
    }

    /// Appends what a step says.
    pub(crate) fn take(&mut self, step: &Step) {
        let next = self.next;
        let sequence = match step.place {
            Place::Next => Some((next, 0)),
            Place::AfterSkipped(skipped) => Some((next + skipped, skipped)),
            Place::BehindGap(missing) => Some((next + missing, 0)),
            Place::Unnamed => None,
            Place::Repeated(back) => {
                let is_append =
                    |entry: &&(Bytes, Meaning)| matches!(entry.1, Meaning::Append { .. });
                let appends = self.entries.iter().filter(is_append);
                let appends: Vec<_> = appends.collect();
                if let Some(last) = appends.len().checked_sub(1) {
                    let again = appends[last - back % appends.len()].clone();
                    self.entries.push(again);
                }
                return;
            }
        };
        if let (Some((sequence, _)), false) = (sequence, matches!(step.place, Place::BehindGap(_)))
        {
            self.next = sequence + 1;
        }
        let chunks = step
            .chunks
            .iter()
            .map(|chunk| (chunk.series, chunk.columns()));
        self.append(sequence, chunks.collect());
    }

    pub(crate) fn seal(&mut self, seal: Seal) {
        self.entries.push((command::seal(&seal), Meaning::Seal));
    }

    pub(crate) fn compact(&mut self, segments: &[SegmentId]) {
        let payload = command::compact(segments);
        self.entries.push((payload, Meaning::Compact));
    }

    pub(crate) fn delete(&mut self, pattern: Pattern, range: TimeRange) {
        let payload = command::delete(&pattern, range);
        let meaning = Meaning::Delete { pattern, range };
        self.entries.push((payload, meaning));
    }

    pub(crate) fn set_retention(&mut self, rules: &[RetentionRule]) {
        let payload = command::set_retention(rules);
        self.entries.push((payload, Meaning::SetRetention));
    }

    /// Writes a board, or removes it.
    pub(crate) fn set_board(
        &mut self,
        name: BoardName,
        expected: u64,
        content: Option<&'static str>,
    ) {
        let text = content.map(|content| BoardText {
            title: name.to_string(),
            content: Bytes::from_static(content.as_bytes()),
        });
        let payload = command::set_board(&name, expected, text.as_ref());
        let meaning = Meaning::SetBoard {
            name,
            expected,
            content,
        };
        self.entries.push((payload, meaning));
    }

    /// One chunk of readings at 0, 1, 2, … of series 0, in a batch without a name.
    pub(super) fn with_one_chunk(count: i64) -> Self {
        Self::with_chunks(std::iter::once(0..count))
    }

    /// A batch for each range of times, of series 0.
    pub(super) fn with_chunks(chunks: impl IntoIterator<Item = std::ops::Range<i64>>) -> Self {
        let mut log = Self::opened();
        for times in chunks {
            // Noise, so that columns are much longer than their header.
            let noise = |time: i64| (time * 7_919 % 10_007) as f64 * 0.01;
            let values = Values::F64(times.clone().map(noise).collect());
            let times = times.collect();
            log.append(None, vec![(0, Columns { times, values })]);
        }
        log
    }

    pub(crate) fn opened() -> Self {
        let series: Vec<SeriesDescription> = SERIES
            .iter()
            .map(|(path, kind)| SeriesDescription::new(SeriesPath::new(*path).unwrap(), *kind))
            .collect();
        Self {
            entries: vec![
                (command::open_series(&series), Meaning::OpenSeries),
                (command::open_producer(PRODUCER), Meaning::OpenProducer),
            ],
            next: 1,
        }
    }

    /// As [`with_chunks`](Self::with_chunks), with chunks whose columns were broken before they came
    /// into a batch: what only decoding notices.
    pub(super) fn with_broken_chunks(
        chunks: impl IntoIterator<Item = std::ops::Range<i64>>,
    ) -> Self {
        let mut log = Self::with_chunks(chunks);
        let entries = log.entries.split_off(2);
        for (_, meaning) in entries {
            let Meaning::Append { sequence, chunks } = meaning else {
                unreachable!("chunks come in batches");
            };
            log.append_changed(sequence, chunks, |chunk| {
                let half = chunk.len() / 2;
                chunk[half..].fill(0xff);
            });
        }
        log
    }

    pub(crate) fn append(&mut self, sequence: Option<(u64, u64)>, chunks: Vec<(u64, Columns)>) {
        self.append_changed(sequence, chunks, |_| {});
    }

    fn append_changed(
        &mut self,
        sequence: Option<(u64, u64)>,
        chunks: Vec<(u64, Columns)>,
        change: impl Fn(&mut [u8]),
    ) {
        let mut builder = BatchBuilder::new();
        for (series, columns) in &chunks {
            let mut chunk = Vec::new();
            column_codec::encode(columns, &mut chunk).unwrap();
            change(&mut chunk);
            builder.add(*series, &chunk, columns.len() as u64).unwrap();
        }
        let position = sequence.map(|(sequence, skipped)| Position {
            producer: PRODUCER,
            epoch: 1,
            sequence,
            skipped,
            dropped_readings: skipped,
        });
        let mut payload = Vec::new();
        command::append_head(position.as_ref(), &mut payload).unwrap();
        BatchView::parse(builder.finish())
            .unwrap()
            .rewrite_into(&mut payload, |number| Some(SeriesId(number)))
            .unwrap();
        let meaning = Meaning::Append { sequence, chunks };
        self.entries.push((payload.into(), meaning));
    }

    /// The index of the last entry.
    pub(crate) const fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn entry(&self, index: u64) -> Option<(u64, &Bytes)> {
        let at = usize::try_from(index.checked_sub(1)?).ok()?;
        let (payload, _) = self.entries.get(at)?;
        Some((index, payload))
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, &Bytes)> {
        (1..).zip(self.entries.iter().map(|(payload, _)| payload))
    }

    pub(crate) fn meaning(&self, index: u64) -> &Meaning {
        &self.entries[usize::try_from(index - 1).unwrap()].1
    }

    /// The state that applying all entries makes.
    pub(super) fn applied(&self) -> State {
        let mut state = State::new();
        for (index, payload) in self.entries() {
            state.apply(index, payload);
        }
        state
    }

    /// Breaks the second half of every batch, which is within its last chunk's columns, and leaves the
    /// chunk's header as it is.
    pub(super) fn damage_columns(&mut self) {
        for (payload, _) in &mut self.entries[2..] {
            let mut bytes = payload.to_vec();
            let half = bytes.len() / 2;
            bytes[half..].fill(0xff);
            *payload = bytes.into();
        }
    }
}

impl Payloads for Log {
    fn payload(&self, index: u64) -> Result<Bytes, PayloadError> {
        let entry = usize::try_from(index - 1)
            .ok()
            .and_then(|at| self.entries.get(at));
        entry
            .map(|(payload, _)| payload.clone())
            .ok_or(PayloadError::Absent { index })
    }
}
