//! Groups readings by series, encodes each run as a chunk, and closes batches.
//!
//! A batch closes when it holds `batch_max` readings, when its bytes near the bound of the wire, or
//! when the caller finds it old enough. What was sampled together stays together unless it is
//! larger than a batch: so a batch usually ends at a place where its source can go on.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use column_codec::{Scratch, encode_with};
use sensor_model::{Columns, SeriesDescription, Timestamp, Value, Values};
use store_wire::batch::{BATCH_READINGS_MAX, BatchBuilder, BatchError};
use tracing::warn;

use crate::source::{Nature, Samples, SourceSeries};
use crate::spool::writer::Submission;
use crate::spool::{ClosedBatch, Purpose};

/// Bytes of unencoded readings at which a batch is closed: their encoding stays below a batch's
/// bound, with room for the directory.
const PENDING_BYTES_MAX: usize = 900 << 10;
/// What a reading costs before encoding: time, value and its part in the directory.
const READING_BYTES: usize = 14;
/// What a chunk costs at most besides its readings.
const CHUNK_EXTRA_BYTES: usize = 64;

/// Readings on their way into a batch.
#[derive(Debug)]
pub struct Batcher {
    batch_max: usize,
    nature: Nature,
    series: SeriesTable,
    /// The numbers of the source's series, by the source's own.
    numbers: Vec<u32>,
    /// Readings not yet in a batch, by number.
    pending: HashMap<u32, Columns>,
    pending_readings: usize,
    pending_bytes: usize,
    position: Option<Bytes>,
    refused: u64,
    refused_series: BTreeSet<u32>,
    builder: BatchBuilder,
    scratch: Scratch,
    chunk: Vec<u8>,
}

/// The numbers under which series are declared to the store.
#[derive(Debug, Default)]
struct SeriesTable {
    numbers: HashMap<Arc<SeriesDescription>, u32>,
    by_number: Vec<Arc<SeriesDescription>>,
    /// How many the spool knows.
    declared: usize,
}

impl Batcher {
    /// Closes batches of `batch_max` readings. `known` are the series that the spool has declared
    /// before, by number.
    pub fn new(batch_max: u32, nature: Nature, known: &[SeriesDescription]) -> Self {
        let bound = usize::try_from(BATCH_READINGS_MAX).unwrap_or(usize::MAX);
        let mut series = SeriesTable::default();
        for description in known {
            series.add(description);
        }
        series.declared = known.len();
        Self {
            batch_max: (batch_max as usize).clamp(1, bound),
            nature,
            series,
            numbers: Vec::new(),
            pending: HashMap::new(),
            pending_readings: 0,
            pending_bytes: 0,
            position: None,
            refused: 0,
            refused_series: BTreeSet::new(),
            builder: BatchBuilder::new(),
            scratch: Scratch::new(),
            chunk: Vec::new(),
        }
    }

    /// Whether nothing is waiting for a batch to close.
    pub const fn is_empty(&self) -> bool {
        self.pending_readings == 0
    }

    /// Readings refused here because they were no legal values of their series.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes what was sampled together, and where the source can go on after it. Batches that
    /// close on the way are appended to `closed`.
    pub fn add(
        &mut self,
        samples: &mut Samples,
        position: Option<Bytes>,
        closed: &mut Vec<Submission>,
    ) {
        for description in &samples.series()[self.numbers.len()..] {
            self.numbers.push(self.series.add(description));
        }
        let together = samples.readings().len();
        if self.pending_readings + together > self.batch_max {
            self.close(closed);
        }
        for sample in samples.drain() {
            let bytes = reading_bytes(&sample.value);
            let is_full = self.pending_readings >= self.batch_max
                || self.pending_bytes + bytes > PENDING_BYTES_MAX;
            if is_full {
                // Inside of what belongs together: nowhere to go on from.
                self.position = None;
                self.close(closed);
            }
            self.push(sample, bytes);
        }
        self.position = position;
        if self.pending_readings >= self.batch_max {
            self.close(closed);
        }
    }

    /// Closes a batch of one reading of each of these series at `now`: what the agent says about
    /// itself. It stands behind what closed before, and the batch in the making goes on.
    pub fn report(
        &mut self,
        report: Vec<(SeriesDescription, i64)>,
        now: Timestamp,
        closed: &mut Vec<Submission>,
    ) {
        for (series, value) in report {
            let number = self.series.add(&series);
            let columns = Columns {
                times: vec![now.as_nanos()],
                values: Values::I64(vec![value]),
            };
            self.chunk.clear();
            encode_with(&columns, &mut self.scratch, &mut self.chunk)
                .expect("one whole number is encoded");
            self.builder
                .add(number.into(), &self.chunk, 1)
                .expect("a report is smaller than a batch");
        }
        self.finish(None, Purpose::Report, closed);
    }

    /// Closes the batch, if there is anything in it.
    pub fn close(&mut self, closed: &mut Vec<Submission>) {
        let mut numbers: Vec<u32> = self.pending.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            let Some(columns) = self
                .pending
                .get(&number)
                .filter(|columns| !columns.is_empty())
            else {
                continue;
            };
            let readings = columns.len() as u64;
            self.chunk.clear();
            if let Err(error) = encode_with(columns, &mut self.scratch, &mut self.chunk) {
                self.refuse(number, readings, &error);
                continue;
            }
            let mut added = self.builder.add(number.into(), &self.chunk, readings);
            if let Err(BatchError::TooManyBytes { .. } | BatchError::TooManyReadings { .. }) = added
            {
                // More than the estimate said: the rest goes into another batch.
                self.finish(None, Purpose::Readings, closed);
                added = self.builder.add(number.into(), &self.chunk, readings);
            }
            if let Err(error) = added {
                self.refuse(number, readings, &error);
            }
        }
        self.forget_pending();
        let position = self.position.take();
        self.finish(position, Purpose::Readings, closed);
    }

    fn finish(&mut self, position: Option<Bytes>, purpose: Purpose, closed: &mut Vec<Submission>) {
        if self.builder.is_empty() {
            return;
        }
        let readings = u32::try_from(self.builder.readings()).expect("bounded by the builder");
        closed.push(Submission {
            batch: ClosedBatch {
                bytes: self.builder.finish(),
                readings,
                position,
                purpose,
            },
            declared: self.series.take_undeclared(),
            nature: self.nature,
        });
    }

    fn push(&mut self, sample: crate::source::Sample, bytes: usize) {
        let number = self.number(sample.series);
        let checked = sample.value.check();
        let kind = self.series.by_number[number as usize].kind;
        let columns = self
            .pending
            .entry(number)
            .or_insert_with(|| Columns::empty(kind));
        let is_first = columns.is_empty();
        let pushed = checked.and_then(|()| columns.push(sample.timestamp, sample.value));
        match pushed {
            Ok(()) => {
                self.pending_readings += 1;
                self.pending_bytes += bytes + if is_first { CHUNK_EXTRA_BYTES } else { 0 };
            }
            Err(error) => self.refuse(number, 1, &error),
        }
    }

    fn number(&self, series: SourceSeries) -> u32 {
        self.numbers[series.0 as usize]
    }

    /// Counts readings that can never be stored; says so once a series.
    fn refuse(&mut self, number: u32, readings: u64, error: &dyn std::error::Error) {
        self.refused += readings;
        if self.refused_series.insert(number) {
            let path = &self.series.by_number[number as usize].path;
            warn!("reading of {path} refused: {error}; further ones are only counted");
        }
    }

    /// Forgets the readings, keeping the room they took for the series that go on.
    fn forget_pending(&mut self) {
        for columns in self.pending.values_mut() {
            columns.times.clear();
            match &mut columns.values {
                Values::F64(values) => values.clear(),
                Values::I64(values) => values.clear(),
                Values::Bool(values) => values.clear(),
                Values::Text(values) => values.clear(),
            }
        }
        self.pending_readings = 0;
        self.pending_bytes = 0;
    }
}

impl SeriesTable {
    fn add(&mut self, description: &SeriesDescription) -> u32 {
        if let Some(known) = self.numbers.get(description) {
            return *known;
        }
        let number = u32::try_from(self.by_number.len()).expect("fewer than 2^32 series");
        let description = Arc::new(description.clone());
        self.by_number.push(Arc::clone(&description));
        self.numbers.insert(description, number);
        number
    }

    fn take_undeclared(&mut self) -> Vec<SeriesDescription> {
        let undeclared = &self.by_number[self.declared..];
        let undeclared = undeclared.iter().map(|series| (**series).clone()).collect();
        self.declared = self.by_number.len();
        undeclared
    }
}

fn reading_bytes(value: &Value) -> usize {
    READING_BYTES
        + match value {
            Value::Text(text) => text.len() + 4,
            _ => 8,
        }
}

#[cfg(test)]
mod tests {
    use sensor_model::{Kind, SeriesPath};
    use store_wire::batch::{BATCH_BYTES_MAX, BatchView};

    use super::*;

    fn series(name: &str, kind: Kind) -> SeriesDescription {
        SeriesDescription::new(SeriesPath::new(name).unwrap(), kind)
    }

    fn contents(submission: &Submission) -> Vec<(u64, Columns)> {
        let view = BatchView::parse(submission.batch.bytes.clone()).unwrap();
        view.chunks()
            .map(|(number, chunk)| {
                (
                    number,
                    column_codec::parse(&chunk).unwrap().decode().unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn readings_of_a_series_become_one_chunk_in_their_order() {
        let mut batcher = Batcher::new(6, Nature::Live, &[]);
        let mut samples = Samples::default();
        let a = samples.declare(series("a", Kind::F64));
        let b = samples.declare(series("b", Kind::Text));
        let mut closed = Vec::new();
        for step in 0..3 {
            let at = Timestamp::from_nanos(step);
            samples.push(a, at, Value::F64(0.5));
            samples.push(b, at, Value::Text("on".to_owned()));
            batcher.add(&mut samples, None, &mut closed);
        }
        assert_eq!(closed.len(), 1);
        let chunks = contents(&closed[0]);
        assert_eq!(chunks.len(), 2);
        assert_eq!(chunks[0].0, 0);
        assert_eq!(chunks[0].1.times, [0, 1, 2]);
        assert_eq!(chunks[1].1.len(), 3);
        assert_eq!(closed[0].declared.len(), 2);
        assert!(batcher.is_empty());
    }

    #[test]
    fn rows_are_not_split_and_each_batch_says_where_its_source_goes_on() {
        let mut batcher = Batcher::new(10, Nature::Recorded, &[]);
        let mut samples = Samples::default();
        let columns: Vec<_> = (0..3)
            .map(|i| samples.declare(series(&format!("c{i}"), Kind::F64)))
            .collect();
        let mut closed = Vec::new();
        for row in 0..8_u8 {
            for column in &columns {
                samples.push(*column, Timestamp::from_nanos(row.into()), Value::F64(1.0));
            }
            batcher.add(&mut samples, Some(Bytes::from(vec![row])), &mut closed);
        }
        batcher.close(&mut closed);
        let found: Vec<(u32, u8)> = closed
            .iter()
            .map(|c| (c.batch.readings, c.batch.position.as_ref().unwrap()[0]))
            .collect();
        assert_eq!(found, [(9, 2), (9, 5), (6, 7)]);
    }

    #[test]
    fn a_sampling_larger_than_a_batch_is_split_and_only_its_end_is_a_place_to_go_on() {
        let mut batcher = Batcher::new(4, Nature::Live, &[]);
        let mut samples = Samples::default();
        let a = samples.declare(series("a", Kind::I64));
        for step in 0..10 {
            samples.push(a, Timestamp::from_nanos(step), Value::I64(step));
        }
        let mut closed = Vec::new();
        batcher.add(&mut samples, Some(Bytes::from_static(b"end")), &mut closed);
        batcher.close(&mut closed);
        let found: Vec<(u32, bool)> = closed
            .iter()
            .map(|c| (c.batch.readings, c.batch.position.is_some()))
            .collect();
        assert_eq!(found, [(4, false), (4, false), (2, true)]);
    }

    #[test]
    fn values_that_are_not_finite_are_refused_and_counted_and_the_rest_goes_on() {
        let mut batcher = Batcher::new(100, Nature::Live, &[]);
        let mut samples = Samples::default();
        let a = samples.declare(series("a", Kind::F64));
        for value in [1.0, f64::NAN, f64::INFINITY, 2.0] {
            samples.push(a, Timestamp::from_nanos(1), Value::F64(value));
        }
        samples.push(a, Timestamp::from_nanos(1), Value::Bool(true));
        let mut closed = Vec::new();
        batcher.add(&mut samples, None, &mut closed);
        batcher.close(&mut closed);
        assert_eq!(batcher.refused(), 3);
        assert_eq!(contents(&closed[0])[0].1.len(), 2);
    }

    #[test]
    fn long_texts_close_a_batch_before_it_breaks_the_bound() {
        let mut batcher = Batcher::new(65_536, Nature::Live, &[]);
        let mut samples = Samples::default();
        let a = samples.declare(series("a", Kind::Text));
        let mut closed = Vec::new();
        for step in 0..5_000_i64 {
            // Every text another one, so that none can be left out by the encoding.
            let text: String = (0..1000_i64)
                .map(|i| char::from(b'!' + ((step * 31 + i * i * 7) % 90) as u8))
                .collect();
            samples.push(a, Timestamp::from_nanos(step), Value::Text(text));
            batcher.add(&mut samples, None, &mut closed);
        }
        batcher.close(&mut closed);
        assert!(closed.len() >= 5);
        assert!(
            closed
                .iter()
                .all(|c| c.batch.bytes.len() <= BATCH_BYTES_MAX)
        );
        assert_eq!(closed.iter().map(|c| c.batch.readings).sum::<u32>(), 5_000);
        assert_eq!(batcher.refused(), 0);
    }

    #[test]
    fn a_report_is_a_batch_of_its_own_and_leaves_the_batch_in_the_making_alone() {
        let mut batcher = Batcher::new(10, Nature::Live, &[]);
        let mut samples = Samples::default();
        let a = samples.declare(series("a", Kind::F64));
        let mut closed = Vec::new();
        samples.push(a, Timestamp::from_nanos(1), Value::F64(1.0));
        batcher.add(&mut samples, None, &mut closed);
        let report = vec![(series("_tidemark/x", Kind::I64), 7)];
        batcher.report(report.clone(), Timestamp::from_nanos(5), &mut closed);
        batcher.close(&mut closed);
        batcher.report(report, Timestamp::from_nanos(6), &mut closed);
        let purposes: Vec<Purpose> = closed.iter().map(|closed| closed.batch.purpose).collect();
        use Purpose::{Readings, Report};
        assert_eq!(purposes, [Report, Readings, Report]);
        let [(number, ref columns)] = contents(&closed[0])[..] else {
            panic!("not one chunk");
        };
        assert_eq!((number, &columns.times[..]), (1, &[5][..]));
        assert_eq!(columns.values, Values::I64(vec![7]));
        // A number is declared before it is used, in whatever order batches close.
        let declared: Vec<usize> = closed.iter().map(|closed| closed.declared.len()).collect();
        assert_eq!(declared, [2, 0, 0]);
    }

    #[test]
    fn series_known_to_the_spool_keep_their_numbers_and_are_not_declared_again() {
        let known = [series("x", Kind::F64), series("a", Kind::F64)];
        let mut batcher = Batcher::new(10, Nature::Live, &known);
        let mut samples = Samples::default();
        let a = samples.declare(series("a", Kind::F64));
        let b = samples.declare(series("b", Kind::F64));
        samples.push(a, Timestamp::from_nanos(1), Value::F64(1.0));
        samples.push(b, Timestamp::from_nanos(1), Value::F64(2.0));
        let mut closed = Vec::new();
        batcher.add(&mut samples, None, &mut closed);
        batcher.close(&mut closed);
        let numbers: Vec<u64> = contents(&closed[0]).iter().map(|(n, _)| *n).collect();
        assert_eq!(numbers, [1, 2]);
        assert_eq!(closed[0].declared, [series("b", Kind::F64)]);
    }
}
