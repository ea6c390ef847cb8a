//! Answers a question about a range from this replica: index → chunks → merge → rows or buckets.
//!
//! For each series, in order of paths: under a short lock the references to what may lie in the range
//! are copied out ([`crate::state::selection::Selection`]): segments, and what is not sealed; outside it [`merge`] reads the chunks back,
//! decodes them as the sweep through time reaches them, and joins what overlaps, so that of readings
//! with the same timestamp the one committed later is seen. What comes out is made into rows
//! ([`rows`]) or buckets (`buckets`) and handed over in bounded parts; buckets of groups of series are
//! gathered first (`groups`).
//!
//! Nothing is held but what overlaps at one moment of the sweep. Each series is as it was when the scan
//! came to it: at least as fresh as when the scan began.
//!
//! It reads the disk and decodes: run it off the runtime's threads. Freshness, permissions of whole
//! connections and the wire are [`crate::query`]'s.

mod buckets;
pub mod catalogue;
mod cell;
mod error;
mod groups;
mod limits;
mod lookback;
mod memory;
pub mod merge;
mod pairs;
pub mod quantiles;
pub(crate) mod reader;
pub mod rows;
pub mod tally;

use std::cmp::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use sensor_model::{
    Bucket, Columns, SeriesDescription, SeriesId, SeriesPath, Statistics, TimeRange, Timestamp,
};
use store_wire::message::{Order, RangeQuestion, RowsAsked};

pub use error::ScanError;
pub use limits::Limits;

use crate::segments::library::Library;
use crate::state::selection::Selection;
use crate::state::{Payloads, State};

use buckets::{Asked, Buckets, Gatherer, Parts};
use catalogue::matching;
use cell::Needs;
use groups::Groups;
use lookback::Lookback;
pub use memory::Memory;
use merge::Sweep;
use reader::Reader;
use rows::Rows;

/// What is scanned: the state, and where the bytes are that it refers to.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Locked for moments only.
    pub state: &'a RwLock<State>,
    /// The log.
    pub payloads: &'a dyn Payloads,
    /// The segments.
    pub library: &'a Library,
}

/// A part of an answer, of bounded size.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// What follows is of this series.
    Series {
        /// Which.
        series: Arc<SeriesDescription>,
        /// Its readings are as they were when this index had been applied and no later one; not said
        /// of buckets.
        seen: Option<u64>,
    },
    /// What follows is of these series together: what they share, and how many they are.
    Group {
        /// A text for each key asked for, if they have one.
        key: Vec<Option<String>>,
        /// How many have readings in the range.
        series: u64,
    },
    /// Readings in the order asked for, without a repeated timestamp.
    Rows(Columns),
    /// Buckets in the order asked for.
    Buckets(Vec<Bucket>),
}

/// Nobody wants the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// How much an answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// How many series, or groups.
    pub series: u64,
    /// How many rows, or buckets.
    pub rows: u64,
    /// Whether `limit` left any out.
    pub truncated: bool,
}

/// Where what a scan finds in one series goes, in the order asked for.
pub(crate) trait Taker {
    /// Whether statistics may do in place of readings, for readings between these times (inclusive).
    fn takes_statistics(&self, first: i64, last: i64) -> bool;
    /// Takes the readings from `from` (inclusive) to `to` (exclusive).
    fn readings(&mut self, columns: &Columns, from: usize, to: usize) -> Result<Flow, ScanError>;
    /// Takes readings by their statistics; `None` if they must be looked at after all.
    fn statistics(&mut self, statistics: &Statistics) -> Result<Option<Flow>, ScanError>;
    /// Whether statistics will do for parts of a run of readings, which end where
    /// [`Taker::part_end`] says.
    fn takes_parts(&self) -> bool {
        false
    }
    /// Before which time the part ends whose first reading is at `first`.
    fn part_end(&self, _first: Timestamp) -> Timestamp {
        Timestamp::MAX
    }
    /// Hands over what is left.
    fn finish(&mut self) -> Result<(), ScanError>;
}

/// Whether more is wanted of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    More,
    Enough,
}

/// Answers `question` about the series that `visible` lets through, into `sink`.
///
/// A series that matches and has nothing in the range is left out, unless it was asked for by its
/// path.
///
/// # Errors
/// See [`ScanError`]. What was handed over before is to be thrown away.
pub fn range(
    source: Source<'_>,
    question: &RangeQuestion,
    visible: &dyn Fn(&SeriesPath) -> bool,
    limits: &Limits,
    sink: &mut dyn FnMut(Part) -> Result<(), Closed>,
) -> Result<Totals, ScanError> {
    question.check()?;
    let mut output = Output {
        sink,
        limits,
        totals: Totals::default(),
        unannounced: None,
    };
    let mut groups = match &question.rows {
        RowsAsked::Buckets { by: Some(keys), .. } => Some(Groups::new(keys, limits)),
        _ => None,
    };
    let patterns = &question.patterns;
    matching(source.state, patterns, visible, limits, &mut |series| {
        for (id, series) in series {
            let Some(scope) = Scope::of(question, &series.path) else {
                continue;
            };
            let one = OneSeries { id, series, scope };
            match &mut groups {
                None => one.scan(source, question, &mut output)?,
                Some(groups) => one.gather(source, question, limits, groups)?,
            }
        }
        Ok(())
    })?;
    if let (Some(groups), RowsAsked::Buckets { aggregates, .. }) = (groups, &question.rows) {
        groups.hand_over(aggregates, question.order, question.limit, &mut output)?;
    }
    Ok(output.totals)
}

/// How much of a series is asked for.
#[derive(Clone, Copy)]
struct Scope {
    range: TimeRange,
    limit: Option<u64>,
}

impl Scope {
    /// `None` for a series before the one at which the answer goes on.
    fn of(question: &RangeQuestion, path: &SeriesPath) -> Option<Self> {
        let whole = Self {
            range: question.range,
            limit: question.limit,
        };
        let Some(resume) = &question.resume else {
            return Some(whole);
        };
        // What ended with its last reading: nothing is left of it, and so nothing is cut off.
        let is_whole = resume.limit == Some(0) && resume.range == question.range;
        match path.cmp(&resume.path) {
            Ordering::Less => None,
            Ordering::Equal if is_whole => None,
            Ordering::Equal => Some(Self {
                range: resume.range,
                limit: resume.limit,
            }),
            Ordering::Greater => Some(whole),
        }
    }
}

/// A series of an answer.
struct OneSeries {
    id: SeriesId,
    series: Arc<SeriesDescription>,
    scope: Scope,
}

impl OneSeries {
    /// Makes rows or buckets of the series itself.
    fn scan(
        self,
        source: Source<'_>,
        question: &RangeQuestion,
        output: &mut Output<'_>,
    ) -> Result<(), ScanError> {
        match &question.rows {
            RowsAsked::Readings => {
                let (selection, seen) = {
                    let state = read(source.state);
                    let selection = state.select(self.id, self.scope.range);
                    (selection, state.trail().last())
                };
                self.open(seen, question, output)?;
                let filter = question.filter.as_ref();
                let (limits, kind, limit) = (output.limits, self.series.kind, self.scope.limit);
                let mut rows = Rows::new(kind, limit, filter, output);
                self.sweep(source, question.order, selection, limits, &mut rows)
            }
            RowsAsked::Buckets { aggregates, .. } => {
                self.open(None, question, output)?;
                let limits = output.limits;
                let mut parts = Parts::new(aggregates, output);
                self.cut(source, question, question.order, limits, &mut parts)
            }
        }
    }

    /// Begins the series; one that was asked for by its path comes even without a reading.
    fn open(
        &self,
        seen: Option<u64>,
        question: &RangeQuestion,
        output: &mut Output<'_>,
    ) -> Result<(), ScanError> {
        let series = Arc::clone(&self.series);
        output.open(Part::Series { series, seen });
        let path = self.series.path.as_str();
        let mut patterns = question.patterns.iter();
        if patterns.any(|pattern| pattern.as_str() == path) {
            output.announce()?;
        }
        Ok(())
    }

    /// Adds buckets of the series to those of its group.
    fn gather(
        self,
        source: Source<'_>,
        question: &RangeQuestion,
        limits: &Limits,
        groups: &mut Groups<'_>,
    ) -> Result<(), ScanError> {
        let mut member = groups.member(&self.series);
        // All of each series, in one order, so that groups are the same whatever is asked of them.
        let whole = Self {
            scope: Scope {
                limit: None,
                ..self.scope
            },
            ..self
        };
        whole.cut(source, question, Order::Ascending, limits, &mut member)
    }

    /// Cuts the series into buckets.
    fn cut(
        &self,
        source: Source<'_>,
        question: &RangeQuestion,
        order: Order,
        limits: &Limits,
        gatherer: &mut dyn Gatherer,
    ) -> Result<(), ScanError> {
        let RowsAsked::Buckets {
            grid, aggregates, ..
        } = &question.rows
        else {
            return Ok(());
        };
        let Scope { range, limit } = self.scope;
        let (needs, filter) = (Needs::of(aggregates), question.filter.as_ref());
        let earlier = lookback::before(range.from);
        let is_wanted = needs.before && earlier.from < earlier.to;
        let (selection, before) = {
            let state = read(source.state);
            let before = is_wanted.then(|| state.select(self.id, earlier));
            (state.select(self.id, range), before.flatten())
        };
        let lookback = Lookback::new(self.reader(source), range.from, filter, limits, before);
        let asked = Asked {
            grid,
            needs,
            range,
            order,
            limit,
            filter,
        };
        let mut buckets = Buckets::new(asked, lookback, gatherer);
        self.sweep(source, order, selection, limits, &mut buckets)
    }

    fn sweep(
        &self,
        source: Source<'_>,
        order: Order,
        selection: Option<Selection>,
        limits: &Limits,
        taker: &mut dyn Taker,
    ) -> Result<(), ScanError> {
        let Some(selection) = selection else {
            return Ok(());
        };
        let range = self.scope.range;
        Sweep::new(self.reader(source), range, order, selection, limits).run(taker)
    }

    fn reader<'a>(&'a self, source: Source<'a>) -> Reader<'a> {
        Reader {
            payloads: source.payloads,
            library: source.library,
            id: self.id,
            series: &self.series,
        }
    }
}

/// The way out: counts, bounds, and opens a series before its first part.
pub(crate) struct Output<'a> {
    sink: &'a mut dyn FnMut(Part) -> Result<(), Closed>,
    limits: &'a Limits,
    totals: Totals,
    unannounced: Option<Part>,
}

impl Output<'_> {
    /// Begins a series or a group, which is handed over before its first part.
    pub(crate) fn open(&mut self, head: Part) {
        self.unannounced = Some(head);
    }

    /// Hands over `rows` rows or buckets.
    pub(crate) fn part(&mut self, part: Part, rows: usize) -> Result<(), ScanError> {
        self.limits.check()?;
        self.announce()?;
        self.totals.rows += rows as u64;
        if self.totals.rows > self.limits.rows_max {
            return Err(ScanError::TooManyRows {
                rows_max: self.limits.rows_max,
            });
        }
        (self.sink)(part).map_err(|Closed| ScanError::Closed)
    }

    pub(crate) const fn note_truncated(&mut self) {
        self.totals.truncated = true;
    }

    fn announce(&mut self) -> Result<(), ScanError> {
        if let Some(head) = self.unannounced.take() {
            self.totals.series += 1;
            (self.sink)(head).map_err(|Closed| ScanError::Closed)?;
        }
        Ok(())
    }
}

/// Locks the state for a short look. A panic elsewhere leaves it whole: a command is applied or not.
pub(crate) fn read(state: &RwLock<State>) -> RwLockReadGuard<'_, State> {
    state.read().unwrap_or_else(PoisonError::into_inner)
}

/// A series of an answer.
pub(crate) type Matched = (SeriesId, Arc<SeriesDescription>);
