//! What is stored, before it is stored: readings, chunks of them, and the commands of a log.

use std::time::Duration;

use bytes::Bytes;
use column_codec::{Scratch, encode_with};
use load_walk::{LoadShape, Walk};
use sensor_model::{Columns, Kind, SeriesDescription, SeriesId, Timestamp};
use store_node::command::{self, Position};
use store_node::state::{PayloadError, Payloads};
use store_wire::batch::{BatchBuilder, BatchView};

/// 2026-01-01, midnight.
pub(crate) const START: i64 = 1_767_225_600_000_000_000;
pub(crate) const SECOND: i64 = 1_000_000_000;

/// Readings of one chunk, as an agent sends it under load.
pub(crate) const CHUNK: u32 = 1_000;
/// Chunks of one batch.
const BATCH: usize = 10;

/// The made-up readings of some series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Readings {
    pub(crate) series: u32,
    /// Of each series.
    pub(crate) count: u32,
    pub(crate) period: Duration,
}

impl Readings {
    /// The readings of each series, cut into runs of `chunk`.
    pub(crate) fn columns(self, chunk: u32) -> Vec<Vec<Columns>> {
        let shape = LoadShape {
            devices: self.series,
            metrics: 1,
            readings: u64::from(self.series) * u64::from(self.count),
            chunk,
            seed: 7,
            start: Timestamp::from_nanos(START),
            period: self.period,
            late: 0.0,
        };
        let series = (0..shape.series()).map(|index| {
            let mut walk = Walk::new(&shape, index).unwrap();
            let mut runs = Vec::new();
            while !walk.is_done() {
                let mut run = Columns::empty(Kind::F64);
                walk.take(chunk, &mut run);
                runs.push(run);
            }
            runs
        });
        series.collect()
    }
}

/// The chunk of `columns`.
pub(crate) fn chunk_of(columns: &Columns, scratch: &mut Scratch) -> Vec<u8> {
    let mut chunk = Vec::new();
    encode_with(columns, scratch, &mut chunk).unwrap();
    chunk
}

/// The commands of a log, from index 1.
#[derive(Debug, Default)]
pub(crate) struct History {
    entries: Vec<Bytes>,
    sequence: u64,
}

const PRODUCER: &str = "device/counted";

impl History {
    /// A log that opens so many series and a producer.
    pub(crate) fn of_series(series: u32) -> Self {
        let described: Vec<SeriesDescription> = (1..=series)
            .map(|number| {
                let path = format!("plant/line-{}/s{number:04}", number % 8);
                SeriesDescription::new(path.parse().unwrap(), Kind::F64)
            })
            .collect();
        Self {
            entries: vec![
                command::open_series(&described),
                command::open_producer(PRODUCER),
            ],
            sequence: 0,
        }
    }

    /// A log of all `readings`, in batches of ten chunks of [`CHUNK`].
    pub(crate) fn of(readings: Readings) -> Self {
        let mut history = Self::of_series(readings.series);
        let mut scratch = Scratch::new();
        for (series, runs) in (0..).zip(readings.columns(CHUNK)) {
            for batch in runs.chunks(BATCH) {
                let chunks = batch.iter().map(|run| {
                    let chunk = chunk_of(run, &mut scratch);
                    (series, chunk, run.len() as u64)
                });
                history.append(chunks);
            }
        }
        history
    }

    /// A log of `batches` batches, each with one reading of each of `series` series, a chunk each.
    pub(crate) fn of_single(series: u32, batches: u32) -> Self {
        let readings = Readings {
            series,
            count: batches,
            period: Duration::from_secs(1),
        };
        let columns = readings.columns(1);
        let mut history = Self::of_series(series);
        let mut scratch = Scratch::new();
        for batch in 0..batches as usize {
            let chunks = (0..).zip(&columns).map(|(series, runs)| {
                let chunk = chunk_of(&runs[batch], &mut scratch);
                (series, chunk, 1)
            });
            history.append(chunks);
        }
        history
    }

    /// Adds a command.
    pub(crate) fn push(&mut self, payload: Bytes) {
        self.entries.push(payload);
    }

    /// Adds a batch of chunks, each with its series and how many readings it has.
    fn append(&mut self, chunks: impl Iterator<Item = (u64, Vec<u8>, u64)>) {
        let mut builder = BatchBuilder::new();
        for (series, chunk, readings) in chunks {
            builder.add(series, &chunk, readings).unwrap();
        }
        self.sequence += 1;
        let position = Position {
            producer: PRODUCER,
            epoch: 1,
            sequence: self.sequence,
            skipped: 0,
            dropped_readings: 0,
        };
        let mut payload = Vec::new();
        command::append_head(Some(&position), &mut payload).unwrap();
        let batch = BatchView::parse(builder.finish()).unwrap();
        let number = |number| Some(SeriesId(number));
        batch.rewrite_into(&mut payload, number).unwrap();
        self.push(payload.into());
    }

    /// The commands, each with its index.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, &Bytes)> {
        (1..).zip(&self.entries)
    }

    /// The index of the last command.
    pub(crate) fn last(&self) -> u64 {
        self.entries.len() as u64
    }
}

impl Payloads for History {
    fn payload(&self, index: u64) -> Result<Bytes, PayloadError> {
        let at = usize::try_from(index).ok().and_then(|at| at.checked_sub(1));
        let entry = at.and_then(|at| self.entries.get(at));
        entry.cloned().ok_or(PayloadError::Absent { index })
    }
}
