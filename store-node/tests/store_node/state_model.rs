//! The state and its scans against a model: a map from timestamp to value for each series.

mod aggregates;
pub(crate) mod history;
pub(crate) mod model;
mod questions;

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use proptest::prelude::*;
use segment_log::fake::FakeDisk;
use sensor_model::{
    Aggregate, Bucket, Columns, Grid, Kind, Pattern, SeriesId, SeriesPath, TimeRange, Timestamp,
    Value, Values,
};
use store_node::scan::{
    self, Limits, Memory, Part, ScanError, Source, Totals, rows::PART_BYTES_MAX,
};
use store_node::segments::library::Library;
use store_node::state::{Outcome, Payloads, State};
use store_wire::message::{RangeQuestion, RowsAsked};
use tokio::time::Instant;

use history::{Log, batches};
use model::Model;
pub(crate) use questions::questions;

/// What a scan handed over, put together again.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    series: Vec<Rows>,
    totals: Totals,
}

/// What the rows are of, readings, and buckets.
type Rows = (Head, Columns, Vec<Bucket>);

/// What rows are of.
#[derive(Debug, PartialEq)]
enum Head {
    Series(SeriesPath),
    Group(Vec<Option<String>>, u64),
}

/// Equal but for rounding: a sum depends on its order.
impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        let alike = |(a, b): (&Rows, &Rows)| {
            let rows = a.2.iter().zip(&b.2);
            (&a.0, &a.1, a.2.len()) == (&b.0, &b.1, b.2.len())
                && rows.into_iter().all(|(a, b)| aggregates::alike(a, b))
        };
        let pairs = self.series.iter().zip(&other.series);
        self.totals == other.totals
            && self.series.len() == other.series.len()
            && pairs.into_iter().all(alike)
    }
}

impl Answer {
    /// The rows, by series.
    pub(crate) fn rows(&self) -> Vec<(String, Columns)> {
        let of = |(head, columns, _): &Rows| match head {
            Head::Series(path) => (path.to_string(), columns.clone()),
            Head::Group(key, _) => (format!("{key:?}"), columns.clone()),
        };
        self.series.iter().map(of).collect()
    }
}

pub(crate) fn limits() -> Limits {
    Limits::until(Instant::now() + Duration::from_secs(60))
}

fn ask(
    state: &RwLock<State>,
    payloads: &dyn Payloads,
    question: &RangeQuestion,
) -> Result<Answer, ScanError> {
    ask_within(state, payloads, question, &limits())
}

fn ask_within(
    state: &RwLock<State>,
    payloads: &dyn Payloads,
    question: &RangeQuestion,
    limits: &Limits,
) -> Result<Answer, ScanError> {
    let library = no_segments();
    let source = Source {
        state,
        payloads,
        library: &library,
    };
    answer(source, question, limits)
}

pub(crate) fn answer(
    source: Source<'_>,
    question: &RangeQuestion,
    limits: &Limits,
) -> Result<Answer, ScanError> {
    let mut answer = Answer::default();
    let mut sink = |part| {
        match part {
            Part::Series { series, .. } => {
                let empty = Columns::empty(series.kind);
                let head = Head::Series(series.path.clone());
                answer.series.push((head, empty, Vec::new()));
            }
            Part::Group { key, series } => {
                let empty = Columns::empty(Kind::F64);
                answer
                    .series
                    .push((Head::Group(key, series), empty, Vec::new()));
            }
            Part::Rows(rows) => {
                assert!(!rows.is_empty() && row_bytes(&rows) <= PART_BYTES_MAX);
                let (_, columns, _) = answer.series.last_mut().unwrap();
                columns.extend_from(&rows, 0, rows.len());
            }
            Part::Buckets(buckets) => answer.series.last_mut().unwrap().2.extend(buckets),
        }
        Ok(())
    };
    answer.totals = scan::range(source, question, &|_| true, limits, &mut sink)?;
    Ok(answer)
}

/// Segments of a store in which nothing is sealed.
fn no_segments() -> Library {
    Library::open(Arc::new(FakeDisk::new()), Path::new("segments"), 0).unwrap()
}

fn row_bytes(rows: &Columns) -> usize {
    let texts = match &rows.values {
        Values::Text(texts) => texts.iter().map(String::len).sum(),
        _ => 0,
    };
    rows.len() * 16 + texts
}

pub(crate) fn everything() -> RangeQuestion {
    RangeQuestion::new(Pattern::everything(), TimeRange::EVERYTHING)
}

/// Everything, in buckets so wide.
pub(crate) fn every(width: u64, aggregates: &[Aggregate]) -> RangeQuestion {
    RangeQuestion {
        rows: RowsAsked::Buckets {
            grid: Grid::Every(NonZeroU64::new(width).unwrap()),
            aggregates: aggregates.to_vec(),
            by: None,
        },
        ..everything()
    }
}

/// What statistics tell, so that nothing must be decoded for it.
pub(crate) const BASIC: [Aggregate; 4] = [
    Aggregate::Count,
    Aggregate::Min,
    Aggregate::Last,
    Aggregate::Sum,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn answers_are_those_of_the_model(
        batches in batches(),
        questions in proptest::collection::vec(questions(), 1..12),
    ) {
        let log = Log::of(&batches);
        let (mut state, mut model) = (State::new(), Model::default());
        for (index, payload) in log.entries() {
            let outcome = state.apply(index, payload);
            prop_assert_eq!(outcome, model.apply(index, log.meaning(index)));
        }
        let again = log.applied();
        prop_assert!(state == again, "applying the same entries gave another state");

        prop_assert_eq!(state.summary().readings, model.readings_applied());
        for (id, series) in model.series() {
            let readings = state.readings(SeriesId(id)).unwrap();
            prop_assert_eq!(readings.last().cloned(), series.last());
            prop_assert_eq!(readings.first(), series.first());
        }
        let state = RwLock::new(state);
        for question in &questions {
            let answer = ask(&state, &log, question).unwrap();
            prop_assert_eq!(&answer, &model.answer(question), "{:?}", question);
        }
    }
}

#[test]
fn an_unknown_path_is_named_and_an_unknown_pattern_is_empty() {
    let log = Log::of(&[]);
    let state = RwLock::new(log.applied());
    let question = |pattern: &str| RangeQuestion {
        patterns: vec![Pattern::new(pattern).unwrap()],
        ..everything()
    };
    let error = ask(&state, &log, &question("line/none")).unwrap_err();
    assert!(error.to_string().contains("line/none"), "{error}");
    assert_eq!(
        ask(&state, &log, &question("none/**")).unwrap(),
        Answer::default()
    );
    // A path that exists and has nothing is an answer too.
    assert_eq!(
        ask(&state, &log, &question("line/f"))
            .unwrap()
            .totals
            .series,
        1
    );
}

#[test]
fn a_reversed_range_is_refused() {
    let log = Log::of(&[]);
    let state = RwLock::new(log.applied());
    let (from, to) = (Timestamp::from_nanos(5), Timestamp::from_nanos(5));
    let question = RangeQuestion {
        range: TimeRange { from, to },
        ..everything()
    };
    let refused = ask(&state, &log, &question);
    assert!(
        matches!(refused, Err(ScanError::Question(_))),
        "{refused:?}"
    );
}

#[test]
fn an_answer_may_have_as_many_rows_as_allowed_and_not_one_more() {
    let log = Log::with_one_chunk(1_000);
    let state = RwLock::new(log.applied());
    let rows_max = |rows_max| Limits {
        rows_max,
        ..limits()
    };
    assert!(ask_within(&state, &log, &everything(), &rows_max(1_000)).is_ok());
    let refused = ask_within(&state, &log, &everything(), &rows_max(999));
    assert!(
        matches!(refused, Err(ScanError::TooManyRows { rows_max: 999 })),
        "{refused:?}"
    );
}

#[test]
fn what_overlaps_is_bounded_and_what_follows_each_other_is_not() {
    let in_turn = Log::with_chunks((0..50).map(|chunk| chunk * 100..chunk * 100 + 100));
    let overlapping = Log::with_chunks((0..50).map(|chunk| chunk..chunk + 1_000));
    // Room for two chunks of a thousand readings, sixteen bytes each.
    let limits = Limits {
        decoded_bytes_max: 40_000,
        ..limits()
    };
    let ask = |log: &Log| {
        let state = RwLock::new(log.applied());
        ask_within(&state, log, &everything(), &limits)
    };
    assert_eq!(ask(&in_turn).unwrap().totals.rows, 5_000);
    let refused = ask(&overlapping);
    assert!(
        matches!(refused, Err(ScanError::TooMuchOverlap { .. })),
        "{refused:?}"
    );
}

#[test]
fn scans_that_hold_all_memory_together_make_others_come_again() {
    let log = Log::with_chunks((0..50).map(|chunk| chunk..chunk + 1_000));
    let state = RwLock::new(log.applied());
    let within = |bytes| {
        let memory = Memory::new(bytes);
        let limits = Limits {
            memory: Some(Arc::clone(&memory)),
            ..limits()
        };
        let answer = ask_within(&state, &log, &everything(), &limits);
        assert_eq!(memory.taken(), 0, "all is given back");
        answer
    };
    assert_eq!(within(50 * 16_000).unwrap().totals.rows, 1_049);
    let refused = within(40_000);
    assert!(matches!(refused, Err(ScanError::Crowded)), "{refused:?}");
}

#[test]
fn a_scan_ends_when_nobody_listens_or_time_is_over() {
    let log = Log::with_one_chunk(100_000 / 2);
    let state = RwLock::new(log.applied());
    let mut parts = 0;
    let library = no_segments();
    let source = Source {
        state: &state,
        payloads: &log,
        library: &library,
    };
    let ended = scan::range(source, &everything(), &|_| true, &limits(), &mut |_| {
        parts += 1;
        if parts == 2 {
            Err(scan::Closed)
        } else {
            Ok(())
        }
    });
    assert!(matches!(ended, Err(ScanError::Closed)), "{ended:?}");
    assert_eq!(parts, 2);

    let over = Limits {
        deadline: Instant::now(),
        ..limits()
    };
    let ended = ask_within(&state, &log, &everything(), &over);
    assert!(matches!(ended, Err(ScanError::Deadline)), "{ended:?}");
}

#[test]
fn buckets_of_whole_chunks_are_answered_without_decoding() {
    // Damage behind the header, where only decoding looks.
    let log = Log::with_broken_chunks((0..10).map(|chunk| chunk * 1_000..chunk * 1_000 + 500));
    let state = RwLock::new(log.applied());
    let buckets = every(1_000, &BASIC);
    let answer = ask(&state, &log, &buckets).unwrap();
    let counts = answer.series[0].2.iter().map(|bucket| &bucket.values[0]);
    assert!(counts.eq(&vec![Some(Value::I64(500)); 10]));
    // A filter that all of them pass, or none, is no reason to look at readings either.
    let filtered = |text: &str| RangeQuestion {
        filter: Some(text.parse().unwrap()),
        ..buckets.clone()
    };
    assert!(ask(&state, &log, &filtered("value >= 0")).unwrap() == answer);
    let none = ask(&state, &log, &filtered("value < 0")).unwrap();
    assert_eq!(none.totals, Totals::default());
    // The same chunks cannot be decoded: readings, or narrower buckets, are refused, not made up.
    let narrower = every(100, &BASIC);
    let deeper = every(1_000, &[Aggregate::Stddev]);
    for question in [everything(), narrower, deeper] {
        let refused = ask(&state, &log, &question);
        assert!(
            matches!(refused, Err(ScanError::Chunk { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_chunk_that_was_damaged_after_it_was_applied_is_not_served() {
    let mut log = Log::with_one_chunk(1_000);
    let state = RwLock::new(log.applied());
    log.damage_columns();
    let buckets = every(1_000, &BASIC);
    for question in [everything(), buckets] {
        let refused = ask(&state, &log, &question);
        assert!(
            matches!(refused, Err(ScanError::Payload { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn applied_twice_without_a_name_counts_twice() {
    let log = Log::with_one_chunk(10);
    let mut state = log.applied();
    let (index, payload) = log.entries().last().unwrap();
    assert_eq!(
        state.apply(index + 1, payload),
        Outcome::Applied { readings: 10 }
    );
    assert_eq!(state.summary().readings, 20);
}

#[test]
fn a_scan_that_has_found_nothing_yet_ends_when_nobody_wants_it() {
    let log = Log::with_chunks((0..50).map(|chunk| chunk * 100..chunk * 100 + 100));
    let state = RwLock::new(log.applied());
    let never = RangeQuestion {
        filter: Some("value = 0.005".parse().unwrap()),
        ..everything()
    };
    assert_eq!(ask(&state, &log, &never).unwrap().totals.rows, 0);
    let unwanted = limits();
    unwanted.stop.cancel();
    let ended = ask_within(&state, &log, &never, &unwanted);
    assert!(matches!(ended, Err(ScanError::Closed)), "{ended:?}");
    assert_eq!(unwanted.read_bytes.get(), 0);
}

#[test]
fn groups_are_held_within_their_bound() {
    let log = Log::with_one_chunk(1_000);
    let state = RwLock::new(log.applied());
    let grouped = |width| {
        let mut question = every(width, &[Aggregate::Mean]);
        if let RowsAsked::Buckets { by, .. } = &mut question.rows {
            *by = Some(Vec::new());
        }
        question
    };
    let within = |width, groups_bytes_max| {
        let limits = Limits {
            groups_bytes_max,
            ..limits()
        };
        ask_within(&state, &log, &grouped(width), &limits)
    };
    // What a hundred buckets fit into, a thousand do not.
    let mut sizes = (0..).map(|step| step * 1_000);
    let enough = sizes.find(|bytes| within(10, *bytes).is_ok()).unwrap();
    assert_eq!(within(10, enough).unwrap().totals.rows, 100);
    for refused in [within(10, enough - 1_000), within(1, enough)] {
        assert!(
            matches!(refused, Err(ScanError::TooManyGroups { .. })),
            "{refused:?}"
        );
    }
}
