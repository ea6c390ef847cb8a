//! Statistics of parts of a chunk are those of their readings.

use column_codec::{PARTS_MAX, Scratch, encode, parse};
use proptest::prelude::*;
use sensor_model::{Columns, Kind, Statistics, Sum, Timestamp, Values};

use crate::generators;

/// Cuts a chunk of `columns` wherever `end_of` says, and compares each part with its readings.
fn check(columns: &Columns, scratch: &mut Scratch, end_of: impl Fn(i64) -> i64) {
    let mut bytes = Vec::new();
    encode(columns, &mut bytes).unwrap();
    let view = parse(&bytes).unwrap();
    let mut parts = Vec::new();
    let mut end = |first: Timestamp| Timestamp::from_nanos(end_of(first.as_nanos()));
    let cut = view.parts(scratch, &mut end, &mut parts).unwrap();
    assert_eq!(
        cut,
        columns.len() == 1 || view.is_sorted() && view.kind() != Kind::Text
    );
    if !cut {
        return;
    }
    let mut at = 0;
    for part in parts {
        let end = end_of(columns.times[at]);
        let rest = &columns.times[at..];
        let readings = rest.iter().take_while(|time| **time < end).count().max(1);
        let mut expected = Columns::empty(columns.kind());
        expected.extend_from(columns, at, at + readings);
        check_part(&part, &expected);
        at += readings;
    }
    assert_eq!(at, columns.len());
}

fn check_part(part: &Statistics, readings: &Columns) {
    let expected = Statistics::of_columns(readings).unwrap();
    let same_sum = Statistics {
        sum: expected.sum,
        ..part.clone()
    };
    assert_eq!(same_sum, expected);
    let (Sum::F64(sum), Sum::F64(expected), Values::F64(values)) =
        (part.sum, expected.sum, &readings.values)
    else {
        assert_eq!(part.sum, expected.sum);
        return;
    };
    let size: f64 = values.iter().map(|value| value.abs()).sum();
    let is_near = (sum - expected).abs() <= size * 1e-12;
    assert!(
        is_near || sum.to_bits() == expected.to_bits(),
        "{sum}, not {expected}"
    );
}

fn sorted(columns: Columns) -> Columns {
    let mut times = columns.times.clone();
    times.sort_unstable();
    times.dedup();
    let mut sorted = Columns::empty(columns.kind());
    sorted.values.extend_from(&columns.values, 0, times.len());
    Columns { times, ..sorted }
}

#[test]
fn steps_of_more_than_half_of_all_time_are_cut() {
    for times in [vec![i64::MIN, i64::MAX], vec![i64::MIN, 0, i64::MAX]] {
        let values = Values::F64(vec![0.5; times.len()]);
        let columns = Columns { times, values };
        for end in [i64::MIN, -1, 0, 1, i64::MAX] {
            check(&columns, &mut Scratch::new(), |_| end);
        }
    }
}

#[test]
fn a_chunk_of_more_parts_than_there_may_be_is_not_cut() {
    for (count, is_cut) in [(PARTS_MAX, true), (PARTS_MAX + 1, false)] {
        let columns = Columns {
            times: (0..count as i64).collect(),
            values: Values::F64(vec![0.5; count]),
        };
        let mut bytes = Vec::new();
        encode(&columns, &mut bytes).unwrap();
        let view = parse(&bytes).unwrap();
        let mut parts = Vec::new();
        let mut end = |first: Timestamp| Timestamp::from_nanos(first.as_nanos() + 1);
        let cut = view
            .parts(&mut Scratch::new(), &mut end, &mut parts)
            .unwrap();
        assert_eq!((cut, parts.len()), (is_cut, if is_cut { count } else { 0 }));
    }
}

#[test]
fn digits_too_large_to_be_added_in_64_bits_are_added() {
    let values: Vec<f64> = (0..1_000_i32).map(|at| 1e15 + f64::from(at)).collect();
    let times: Vec<i64> = (0..1_000).collect();
    let huge = Values::F64(values.iter().map(|value| value * 4_000.0).collect());
    let values = Values::F64(values);
    for values in [values, huge] {
        let columns = Columns {
            times: times.clone(),
            values,
        };
        check(&columns, &mut Scratch::new(), |_| i64::MAX);
        check(&columns, &mut Scratch::new(), |first| first + 300);
    }
}

proptest! {
    #[test]
    fn parts_are_what_their_readings_come_to(
        columns in generators::columns(),
        bits in 0_u32..63,
        is_sorted in any::<bool>(),
    ) {
        let columns = if is_sorted { sorted(columns) } else { columns };
        let width = 1_i64 << bits;
        let end_of = |first: i64| first.saturating_sub(first.rem_euclid(width)).saturating_add(width);
        check(&columns, &mut Scratch::new(), end_of);
    }
}
