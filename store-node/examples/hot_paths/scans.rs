//! Questions about history that is sealed, from the index to the parts of an answer.

use std::hint::black_box;
use std::num::NonZeroU64;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use segment_log::OsDisk;
use sensor_model::{Aggregate, Grid, GroupKey, Pattern, TimeRange, Timestamp};
use store_node::archive::{Archive, ArchiveOptions};
use store_node::command::{self, Seal};
use store_node::scan::{self, Limits, Part, Source};
use store_node::segments::manifest::Position;
use store_node::state::{Outcome, State};
use store_wire::columns::encode_columns;
use store_wire::message::{RangeQuestion, RowsAsked};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::Work;
use crate::history::{History, Readings, SECOND, START};

const HOUR_S: u32 = 3_600;
const DAY_S: u32 = 24 * HOUR_S;

/// A replica with everything sealed.
struct Sealed {
    history: History,
    state: Arc<RwLock<State>>,
    archive: Archive,
    _dir: TempDir,
}

impl Sealed {
    fn of(readings: Readings) -> Self {
        let mut history = History::of(readings);
        history.push(command::seal(&Seal::default()));
        let dir = TempDir::new().unwrap();
        let state = Arc::new(RwLock::new(State::new()));
        let options = ArchiveOptions {
            disk: Arc::new(OsDisk),
            dir: dir.path().to_owned(),
            shard: 0,
            cache_bytes: 64 << 20,
        };
        let archive = Archive::open(options, Arc::clone(&state)).unwrap();
        {
            let mut state = state.write().unwrap();
            for (index, payload) in history.entries() {
                if state.apply(index, payload) == Outcome::Sealed {
                    state.place_generation(Position {
                        index,
                        ..Position::default()
                    });
                }
            }
        }
        while archive.do_next(&history).unwrap() {}
        Self {
            history,
            state,
            archive,
            _dir: dir,
        }
    }

    /// Answers `question`, as far as what is sent; how many rows that is.
    fn answer(&self, question: &RangeQuestion) -> u64 {
        let source = Source {
            state: &self.state,
            payloads: &self.history,
            library: self.archive.library(),
        };
        let limits = Limits::until(Instant::now() + Duration::from_secs(3_600));
        let mut sink = |part| {
            match part {
                Part::Rows(columns) => drop(black_box(encode_columns(&columns).unwrap())),
                part => drop(black_box(part)),
            }
            Ok(())
        };
        let totals = scan::range(source, question, &|_| true, &limits, &mut sink);
        totals.unwrap().rows
    }
}

/// Asks for `rows` in `seconds` of `readings`, which must come to so many.
fn asked(readings: Readings, seconds: u32, rows: RowsAsked, expected: u64) -> Work {
    let sealed = Sealed::of(readings);
    let until = START + i64::from(seconds) * SECOND;
    let range = TimeRange::new(Timestamp::from_nanos(START), Timestamp::from_nanos(until));
    let question = RangeQuestion {
        rows,
        ..RangeQuestion::new(Pattern::everything(), range.unwrap())
    };
    let period_s = u32::try_from(readings.period.as_secs()).unwrap();
    Work {
        unit: "reading",
        units: (readings.series * (seconds / period_s)) as usize,
        once: Box::new(move || assert_eq!(sealed.answer(&question), expected)),
    }
}

fn buckets(seconds: u32, aggregates: &[Aggregate], by: Option<Vec<GroupKey>>) -> RowsAsked {
    let width = u64::from(seconds) * SECOND.unsigned_abs();
    RowsAsked::Buckets {
        grid: Grid::Every(NonZeroU64::new(width).unwrap()),
        aggregates: aggregates.to_vec(),
        by,
    }
}

const fn each_second(count: u32) -> Readings {
    Readings {
        series: 1,
        count,
        period: Duration::from_secs(1),
    }
}

/// An hour as it is.
pub(crate) fn rows() -> Work {
    let rows = RowsAsked::Readings;
    asked(each_second(4 * HOUR_S), HOUR_S, rows, u64::from(HOUR_S))
}

/// A day in means of a minute.
pub(crate) fn minutes() -> Work {
    let means = buckets(60, &[Aggregate::Mean], None);
    asked(each_second(DAY_S), DAY_S, means, 24 * 60)
}

/// The hundredth part of a year in a thousand buckets, with what a chart shows of each.
pub(crate) fn year() -> Work {
    const BUCKETS: u32 = 10;
    const BUCKET_S: u32 = 365 * DAY_S / 1_000;
    let shown = [Aggregate::Mean, Aggregate::Min, Aggregate::Max];
    let seconds = BUCKETS * BUCKET_S;
    // Buckets begin at multiples of their width, which midnight is none of.
    let rows = u64::from(BUCKETS) + 1;
    asked(
        each_second(seconds),
        seconds,
        buckets(BUCKET_S, &shown, None),
        rows,
    )
}

/// Twelve hours of several series together, by minute.
pub(crate) fn group() -> Work {
    let readings = Readings {
        series: 16,
        count: 12 * HOUR_S / 10,
        period: Duration::from_secs(10),
    };
    let together = buckets(60, &[Aggregate::Max], Some(Vec::new()));
    asked(readings, 12 * HOUR_S, together, 12 * 60)
}
