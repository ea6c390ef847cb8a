//! Answers a question about a range from this replica: index → chunks → merge → rows or buckets.
//!
//! For each series, in order of paths: under a short lock the references to what may lie in the range
//! are copied out ([`crate::state::selection::Selection`]): segments, and what is not sealed; outside it [`merge`] reads the chunks back,
//! decodes them as the sweep through time reaches them, and joins what overlaps, so that of readings
//! with the same timestamp the one committed later is seen. What comes out is made into rows
//! ([`rows`]) or buckets ([`buckets`]) and handed over in bounded parts.
//!
//! Nothing is held but what overlaps at one moment of the sweep. Each series is as it was when the scan
//! came to it: at least as fresh as when the scan began.
//!
//! It reads the disk and decodes: run it off the runtime's threads. Freshness, permissions of whole
//! connections and the wire are [`crate::query`]'s.

pub mod buckets;
pub mod catalogue;
mod memory;
pub mod merge;
pub(crate) mod reader;
pub mod rows;
pub mod tally;

use std::num::NonZeroU64;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use column_codec::DecodeError;
use sensor_model::{
    Bucket, Columns, Pattern, SeriesDescription, SeriesId, SeriesPath, Statistics, TimeRange,
};
use store_wire::message::Order;
use tokio::time::Instant;

use crate::segments::library::Library;
use crate::segments::segment::SegmentError;
use crate::state::selection::Selection;
use crate::state::{PayloadError, Payloads, State};

use buckets::Buckets;
use catalogue::matching;
pub use memory::Memory;
use merge::Sweep;
use reader::Reader;
use rows::Rows;

/// What is asked about a range.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeQuestion {
    /// Which series.
    pub pattern: Pattern,
    /// Which time, half-open; [`ScanError::EmptyRange`] unless it holds an instant.
    pub range: TimeRange,
    /// Width of a bucket in ns; `None` asks for the readings themselves.
    pub every: Option<NonZeroU64>,
    /// At most so many rows, or buckets, a series.
    pub limit: Option<u64>,
    /// In which order of time.
    pub order: Order,
}

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

/// What one scan may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most rows, or buckets, in all.
    pub rows_max: u64,
    /// Most bytes of decoded chunks at one moment, which overlap in time; one chunk is always allowed.
    pub decoded_bytes_max: usize,
    /// What it shares with other scans for them; nothing when `None`.
    pub memory: Option<Arc<Memory>>,
    /// When it must be done.
    pub deadline: Instant,
}

/// A part of an answer, of bounded size.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// What follows is of this series.
    Series(Arc<SeriesDescription>),
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
    /// How many series.
    pub series: u64,
    /// How many rows, or buckets.
    pub rows: u64,
    /// Whether `limit` left any out.
    pub truncated: bool,
}

/// Why a scan ended before its answer was whole.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// There is no series at the path asked for.
    #[error("series {path} does not exist")]
    UnknownSeries {
        /// The path.
        path: SeriesPath,
    },
    /// The range holds no instant.
    #[error("the range is empty or reversed: `from` must be before `to`")]
    EmptyRange,
    /// The answer has more rows than one may have.
    #[error(
        "the answer has more than {rows_max} rows: ask for a shorter range, for buckets, or set a limit"
    )]
    TooManyRows {
        /// The bound.
        rows_max: u64,
    },
    /// More overlaps at one moment than may be held in memory.
    #[error(
        "chunks of series {path} that overlap in time take more than {bytes_max} bytes: ask for a shorter range"
    )]
    TooMuchOverlap {
        /// The series.
        path: SeriesPath,
        /// The bound.
        bytes_max: usize,
    },
    /// All scans together hold as much decoded as they may.
    #[error("reads hold all the memory there is for them: ask another node, or again later")]
    Crowded,
    /// The time allowed ran out.
    #[error("the scan did not end in the time allowed: ask for less, or allow more")]
    Deadline,
    /// Nobody wants the rest.
    #[error("the answer is not wanted any more")]
    Closed,
    /// An entry could not be read back.
    #[error("readings of series {path} cannot be read back")]
    Payload {
        /// The series.
        path: SeriesPath,
        /// Why.
        source: PayloadError,
    },
    /// A segment could not be read: another replica may have it whole.
    #[error("sealed readings of series {path} cannot be read")]
    Segment {
        /// The series.
        path: SeriesPath,
        /// Why.
        source: SegmentError,
    },
    /// A chunk is not what was applied.
    #[error("a chunk of series {path} is damaged")]
    Chunk {
        /// The series.
        path: SeriesPath,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// Where what a scan finds in one series goes, in the order asked for.
pub(crate) trait Taker {
    /// Whether statistics will do in place of readings, for readings between these times (inclusive).
    fn takes_statistics(&self, first: i64, last: i64) -> bool;
    /// Takes the readings from `from` (inclusive) to `to` (exclusive).
    fn readings(&mut self, columns: &Columns, from: usize, to: usize) -> Result<Flow, ScanError>;
    /// Takes readings that all lie in one bucket.
    fn statistics(&mut self, statistics: Statistics) -> Result<Flow, ScanError>;
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
    if question.range.from >= question.range.to {
        return Err(ScanError::EmptyRange);
    }
    let mut output = Output {
        sink,
        limits,
        totals: Totals::default(),
        unannounced: None,
    };
    let is_literal = question.pattern.is_literal();
    let state = source.state;
    matching(state, &question.pattern, visible, limits, &mut |series| {
        for (id, description) in series {
            let selection = read(state).select(id, question.range);
            output.unannounced = Some(Arc::clone(&description));
            if is_literal {
                output.announce()?;
            }
            if let Some(selection) = selection {
                let reader = Reader {
                    payloads: source.payloads,
                    library: source.library,
                    id,
                    series: &description,
                };
                scan_series(reader, question, selection, &mut output)?;
            }
        }
        Ok(())
    })?;
    Ok(output.totals)
}

fn scan_series(
    reader: Reader<'_>,
    question: &RangeQuestion,
    selection: Selection,
    output: &mut Output<'_>,
) -> Result<(), ScanError> {
    let kind = reader.series.kind;
    let (range, order, limits) = (question.range, question.order, output.limits);
    let sweep = Sweep::new(reader, range, order, selection, limits);
    match question.every {
        None => sweep.run(&mut Rows::new(kind, question.limit, output)),
        Some(every) => sweep.run(&mut Buckets::new(every, question, output)),
    }
}

/// The way out: counts, bounds, and opens a series before its first part.
pub(crate) struct Output<'a> {
    sink: &'a mut dyn FnMut(Part) -> Result<(), Closed>,
    limits: &'a Limits,
    totals: Totals,
    unannounced: Option<Arc<SeriesDescription>>,
}

impl Output<'_> {
    /// Hands over `rows` rows or buckets.
    pub(crate) fn part(&mut self, part: Part, rows: usize) -> Result<(), ScanError> {
        self.limits.check_deadline()?;
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
        if let Some(series) = self.unannounced.take() {
            self.totals.series += 1;
            (self.sink)(Part::Series(series)).map_err(|Closed| ScanError::Closed)?;
        }
        Ok(())
    }
}

impl Limits {
    pub(crate) fn check_deadline(&self) -> Result<(), ScanError> {
        if Instant::now() < self.deadline {
            Ok(())
        } else {
            Err(ScanError::Deadline)
        }
    }
}

/// Locks the state for a short look. A panic elsewhere leaves it whole: a command is applied or not.
pub(crate) fn read(state: &RwLock<State>) -> RwLockReadGuard<'_, State> {
    state.read().unwrap_or_else(PoisonError::into_inner)
}

/// A series of an answer.
pub(crate) type Matched = (SeriesId, Arc<SeriesDescription>);
