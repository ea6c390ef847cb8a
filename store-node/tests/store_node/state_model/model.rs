//! What a store is, without chunks, pieces or merging: a map from timestamp to value a series.

use std::collections::BTreeMap;
use std::time::Duration;

use sensor_model::{
    Bucket, Columns, Kind, Reading, SeriesId, SeriesPath, Statistics, Timestamp, Value,
};
use store_node::scan::RangeQuestion;
use store_node::state::Outcome;
use store_wire::message::Order;

use super::Answer;
use super::history::{Meaning, SERIES};

#[derive(Debug, Clone)]
pub(crate) struct Model {
    series: [Series; 4],
    next: u64,
    readings: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    readings: BTreeMap<i64, Value>,
    applied: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            series: Default::default(),
            next: 1,
            readings: 0,
        }
    }
}

impl Series {
    pub(crate) const fn applied(&self) -> u64 {
        self.applied
    }

    pub(crate) fn first(&self) -> Option<i64> {
        self.readings.keys().next().copied()
    }

    pub(crate) fn last(&self) -> Option<Reading> {
        let (time, value) = self.readings.last_key_value()?;
        Some(reading(*time, value))
    }
}

impl Model {
    pub(crate) fn apply(&mut self, meaning: &Meaning) -> Outcome {
        let (sequence, chunks) = match meaning {
            Meaning::OpenSeries => {
                let results = (0..4).map(|id| Ok(SeriesId(id))).collect();
                return Outcome::SeriesOpened { results };
            }
            Meaning::OpenProducer => return Outcome::ProducerOpened { epoch: 1 },
            Meaning::Seal => return Outcome::Sealed,
            Meaning::Compact => return Outcome::Compacting,
            Meaning::SetRetention => return Outcome::RetentionSet,
            Meaning::Delete { pattern, range } => {
                for ((path, _), series) in SERIES.iter().zip(&mut self.series) {
                    if pattern.matches(&SeriesPath::new(*path).unwrap()) {
                        let is_inside = |time| range.contains(Timestamp::from_nanos(time));
                        series.readings.retain(|time, _| !is_inside(*time));
                    }
                }
                return Outcome::Deleted;
            }
            Meaning::Append { sequence, chunks } => (sequence, chunks),
        };
        if let Some((sequence, skipped)) = sequence {
            if *sequence < self.next {
                return Outcome::Duplicate { next: self.next };
            }
            if sequence - skipped > self.next {
                return Outcome::Gap {
                    expected: self.next,
                };
            }
            self.next = sequence + 1;
        }
        let mut readings = 0;
        for (id, columns) in chunks {
            let series = &mut self.series[usize::try_from(*id).unwrap()];
            for reading in columns.readings() {
                let time = reading.timestamp.as_nanos();
                series.readings.insert(time, reading.value);
                series.applied += 1;
                readings += 1;
            }
        }
        self.readings += readings;
        Outcome::Applied { readings }
    }

    pub(crate) fn readings_applied(&self) -> u64 {
        self.readings
    }

    pub(crate) fn named(&self) -> impl Iterator<Item = (String, &Series)> {
        let paths = SERIES.iter().map(|(path, _)| (*path).to_owned());
        paths.zip(&self.series)
    }

    pub(crate) fn series(&self) -> impl Iterator<Item = (u64, &Series)> {
        (0..).zip(&self.series)
    }

    pub(crate) fn answer(&self, question: &RangeQuestion) -> Answer {
        let mut answer = Answer::default();
        let mut named: Vec<(SeriesPath, Kind, &Series)> = SERIES
            .iter()
            .zip(&self.series)
            .map(|((path, kind), series)| (SeriesPath::new(*path).unwrap(), *kind, series))
            .filter(|(path, ..)| question.pattern.matches(path))
            .collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        for (path, kind, series) in named {
            let rows = within(series, question);
            let (rows, buckets) = match question.every {
                None => (rows, Vec::new()),
                Some(every) => {
                    let every = Duration::from_nanos(every.get());
                    (Vec::new(), buckets(&rows, every, question.order))
                }
            };
            let (rows, cut_rows) = limited(rows, question.limit);
            let (buckets, cut_buckets) = limited(buckets, question.limit);
            answer.totals.truncated |= cut_rows || cut_buckets;
            if rows.is_empty() && buckets.is_empty() && !question.pattern.is_literal() {
                continue;
            }
            answer.totals.series += 1;
            answer.totals.rows += (rows.len() + buckets.len()) as u64;
            answer.series.push((path, columns(kind, &rows), buckets));
        }
        answer
    }
}

/// Readings in the range, in the order asked for.
fn within(series: &Series, question: &RangeQuestion) -> Vec<Reading> {
    let (from, to) = (question.range.from.as_nanos(), question.range.to.as_nanos());
    let rows = series
        .readings
        .range(from..to)
        .map(|(time, value)| reading(*time, value));
    match question.order {
        Order::Ascending => rows.collect(),
        Order::Descending => rows.rev().collect(),
    }
}

fn buckets(rows: &[Reading], every: Duration, order: Order) -> Vec<Bucket> {
    let mut by_start: BTreeMap<Timestamp, Statistics> = BTreeMap::new();
    for row in rows {
        let start = row.timestamp.bucket_start(every);
        by_start
            .entry(start)
            .and_modify(|statistics| statistics.add(row))
            .or_insert_with(|| Statistics::of(row));
    }
    let buckets = by_start
        .into_iter()
        .map(|(start, statistics)| Bucket { start, statistics });
    match order {
        Order::Ascending => buckets.collect(),
        Order::Descending => buckets.rev().collect(),
    }
}

fn limited<T>(mut rows: Vec<T>, limit: Option<u64>) -> (Vec<T>, bool) {
    let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
    let is_cut = rows.len() > most;
    rows.truncate(most);
    (rows, is_cut)
}

fn columns(kind: Kind, rows: &[Reading]) -> Columns {
    let mut columns = Columns::empty(kind);
    for row in rows {
        columns.push(row.timestamp, row.value.clone()).unwrap();
    }
    columns
}

fn reading(time: i64, value: &Value) -> Reading {
    Reading {
        timestamp: Timestamp::from_nanos(time),
        value: value.clone(),
    }
}
