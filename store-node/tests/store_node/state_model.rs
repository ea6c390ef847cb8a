//! The state and its scans against a model: a map from timestamp to value for each series.

pub(crate) mod history;
pub(crate) mod model;

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use proptest::prelude::*;
use segment_log::fake::FakeDisk;
use sensor_model::{Bucket, Columns, Pattern, SeriesId, SeriesPath, TimeRange, Timestamp, Values};
use store_node::scan::{
    self, Limits, Memory, Part, RangeQuestion, ScanError, Source, Totals, rows::PART_BYTES_MAX,
};
use store_node::segments::library::Library;
use store_node::state::{Outcome, Payloads, State};
use store_wire::message::Order;
use tokio::time::Instant;

use history::{Log, SPAN, batches};
use model::Model;

/// What a scan handed over, put together again.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    series: Vec<(SeriesPath, Columns, Vec<Bucket>)>,
    totals: Totals,
}

impl Answer {
    /// The rows, by series.
    pub(crate) fn rows(&self) -> Vec<(String, Columns)> {
        let of = |(path, columns, _): &(SeriesPath, Columns, Vec<Bucket>)| {
            (path.to_string(), columns.clone())
        };
        self.series.iter().map(of).collect()
    }
}

pub(crate) fn limits() -> Limits {
    Limits {
        rows_max: u64::MAX,
        decoded_bytes_max: usize::MAX,
        memory: None,
        deadline: Instant::now() + Duration::from_secs(60),
    }
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
            Part::Series(series) => {
                let empty = Columns::empty(series.kind);
                answer.series.push((series.path.clone(), empty, Vec::new()));
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
    RangeQuestion {
        pattern: Pattern::everything(),
        range: TimeRange::EVERYTHING,
        every: None,
        limit: None,
        order: Order::Ascending,
    }
}

pub(crate) fn questions() -> impl Strategy<Value = RangeQuestion> {
    let edge = -10..SPAN + 10;
    let range = prop_oneof![
        1 => Just(TimeRange::EVERYTHING),
        3 => (edge, 1..SPAN).prop_map(|(from, width)| TimeRange {
            from: Timestamp::from_nanos(from),
            to: Timestamp::from_nanos(from + width),
        }),
    ];
    let every = prop_oneof![
        2 => Just(None),
        3 => prop_oneof![Just(1), 2_u64..40, 300_u64..3_000, Just(u64::MAX)].prop_map(NonZeroU64::new),
    ];
    let limit = prop_oneof![3 => Just(None), 2 => (0_u64..30).prop_map(Some)];
    let order = prop_oneof![Just(Order::Ascending), Just(Order::Descending)];
    let pattern = prop_oneof![Just("**"), Just("line/*"), Just("line/f"), Just("other/t")];
    let pattern = pattern.prop_map(|text| Pattern::new(text).unwrap());
    (pattern, range, every, limit, order).prop_map(|(pattern, range, every, limit, order)| {
        RangeQuestion {
            pattern,
            range,
            every,
            limit,
            order,
        }
    })
}

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
            prop_assert_eq!(outcome, model.apply(log.meaning(index)));
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
        pattern: Pattern::new(pattern).unwrap(),
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
    assert!(matches!(refused, Err(ScanError::EmptyRange)), "{refused:?}");
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
    let buckets = RangeQuestion {
        every: NonZeroU64::new(1_000),
        ..everything()
    };
    let answer = ask(&state, &log, &buckets).unwrap();
    let counts: Vec<u64> = answer.series[0]
        .2
        .iter()
        .map(|bucket| bucket.statistics.count)
        .collect();
    assert_eq!(counts, [500; 10]);
    // The same chunks cannot be decoded: readings, or narrower buckets, are refused, not made up.
    let narrower = RangeQuestion {
        every: NonZeroU64::new(100),
        ..everything()
    };
    for question in [everything(), narrower] {
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
    let buckets = RangeQuestion {
        every: NonZeroU64::new(1_000),
        ..everything()
    };
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
