//! What a store is, without chunks, pieces or merging: a map from timestamp to value a series.

use std::collections::BTreeMap;

use sensor_model::{
    BoardName, Columns, GroupKey, Kind, Reading, SeriesDescription, SeriesId, SeriesPath,
    TimeRange, Timestamp, Value,
};
use store_node::state::Outcome;
use store_wire::message::{Order, RangeQuestion, RowsAsked};

use super::history::{Meaning, SERIES};
use super::{Answer, Head, aggregates};

#[derive(Debug, Clone)]
pub(crate) struct Model {
    series: [Series; 4],
    next: u64,
    readings: u64,
    /// Revision and content, by name.
    boards: BTreeMap<BoardName, (u64, &'static str)>,
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
            boards: BTreeMap::new(),
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
    pub(crate) fn apply(&mut self, index: u64, meaning: &Meaning) -> Outcome {
        let (sequence, chunks) = match meaning {
            Meaning::OpenSeries => {
                let results = (0..4).map(|id| Ok(SeriesId(id))).collect();
                return Outcome::SeriesOpened { results };
            }
            Meaning::OpenProducer => return Outcome::ProducerOpened { epoch: 1 },
            Meaning::Seal => return Outcome::Sealed,
            Meaning::Compact => return Outcome::Compacting,
            Meaning::SetRetention => return Outcome::RetentionSet,
            Meaning::SetBoard {
                name,
                expected,
                content,
            } => {
                let revision = self.boards.get(name).map_or(0, |(revision, _)| *revision);
                if revision != *expected {
                    return Outcome::BoardConflict { revision };
                }
                match content {
                    Some(content) => self.boards.insert(name.clone(), (index, content)),
                    None => self.boards.remove(name),
                };
                return Outcome::BoardSet;
            }
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

    pub(crate) fn boards(&self) -> &BTreeMap<BoardName, (u64, &'static str)> {
        &self.boards
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
        let is_asked = |path: &SeriesPath| {
            let mut patterns = question.patterns.iter();
            patterns.any(|pattern| pattern.matches(path))
        };
        let mut named: Vec<(SeriesPath, Kind, &Series)> = SERIES
            .iter()
            .zip(&self.series)
            .map(|((path, kind), series)| (SeriesPath::new(*path).unwrap(), *kind, series))
            .filter(|(path, ..)| is_asked(path))
            .collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        if let RowsAsked::Buckets { by: Some(keys), .. } = &question.rows {
            self.group(&named, keys, question, &mut answer);
            return answer;
        }
        for (path, kind, series) in named {
            let (range, limit) = match &question.resume {
                Some(resume) if path < resume.path => continue,
                // It was given to its last reading.
                Some(resume)
                    if path == resume.path
                        && resume.limit == Some(0)
                        && resume.range == question.range =>
                {
                    continue;
                }
                Some(resume) if path == resume.path => (resume.range, resume.limit),
                _ => (question.range, question.limit),
            };
            let all = until(series, range, question);
            let (rows, buckets) = match &question.rows {
                RowsAsked::Readings => {
                    let inside = all.into_iter();
                    let inside = inside.filter(|reading| range.contains(reading.timestamp));
                    (in_order(inside.collect(), question.order), Vec::new())
                }
                RowsAsked::Buckets {
                    grid, aggregates, ..
                } => {
                    let buckets = aggregates::buckets(&[all], grid, range, aggregates);
                    (Vec::new(), in_order(buckets, question.order))
                }
            };
            let (rows, cut_rows) = limited(rows, limit);
            let (buckets, cut_buckets) = limited(buckets, limit);
            answer.totals.truncated |= cut_rows || cut_buckets;
            let is_named = question
                .patterns
                .iter()
                .any(|pattern| pattern.as_str() == path.as_str());
            if rows.is_empty() && buckets.is_empty() && !is_named {
                continue;
            }
            answer.totals.series += 1;
            answer.totals.rows += (rows.len() + buckets.len()) as u64;
            let head = Head::Series(path);
            answer.series.push((head, columns(kind, &rows), buckets));
        }
        answer
    }

    fn group(
        &self,
        named: &[(SeriesPath, Kind, &Series)],
        keys: &[GroupKey],
        question: &RangeQuestion,
        answer: &mut Answer,
    ) {
        let RowsAsked::Buckets {
            grid, aggregates, ..
        } = &question.rows
        else {
            return;
        };
        let mut groups: BTreeMap<Vec<Option<String>>, Vec<Vec<Reading>>> = BTreeMap::new();
        for (path, kind, series) in named {
            let all = until(series, question.range, question);
            if all
                .iter()
                .any(|reading| question.range.contains(reading.timestamp))
            {
                let description = SeriesDescription::new(path.clone(), *kind);
                let key = keys.iter().map(|key| key.of(&description)).collect();
                groups.entry(key).or_default().push(all);
            }
        }
        for (key, members) in groups {
            let buckets = aggregates::buckets(&members, grid, question.range, aggregates);
            let (buckets, is_cut) = limited(in_order(buckets, question.order), question.limit);
            answer.totals.truncated |= is_cut;
            if buckets.is_empty() {
                continue;
            }
            answer.totals.series += 1;
            answer.totals.rows += buckets.len() as u64;
            let head = Head::Group(key, members.len() as u64);
            answer
                .series
                .push((head, Columns::empty(Kind::F64), buckets));
        }
    }
}

/// Readings before the end of `range` that the filter lets through.
fn until(series: &Series, range: TimeRange, question: &RangeQuestion) -> Vec<Reading> {
    let rows = series.readings.range(..range.to.as_nanos());
    let rows = rows.map(|(time, value)| reading(*time, value));
    let filter = question.filter.as_ref();
    rows.filter(|row| filter.is_none_or(|filter| filter.matches(&row.value)))
        .collect()
}

fn in_order<T>(mut rows: Vec<T>, order: Order) -> Vec<T> {
    if order == Order::Descending {
        rows.reverse();
    }
    rows
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
