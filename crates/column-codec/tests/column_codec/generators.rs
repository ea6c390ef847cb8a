//! Columns of every shape that an encoding was made for, and of none.

use proptest::collection::vec;
use proptest::prelude::*;
use sensor_model::{Columns, Values};

/// Counts around the forms a chunk has (one, few, many) and the size of a block.
fn counts() -> impl Strategy<Value = usize> {
    prop_oneof![
        Just(1),
        Just(2),
        15_usize..=18,
        1_usize..40,
        127_usize..=130,
        1_usize..600
    ]
}

/// Any columns.
pub(crate) fn columns() -> impl Strategy<Value = Columns> {
    counts().prop_flat_map(|count| {
        (times(count), values(count)).prop_map(|(times, values)| Columns { times, values })
    })
}

fn times(count: usize) -> BoxedStrategy<Vec<i64>> {
    let units = prop_oneof![
        Just(1_i64),
        Just(1_000),
        Just(1_000_000),
        Just(1_000_000_000)
    ];
    let start = -5_000_000_000_i64..5_000_000_000;
    let constant_step =
        (units.clone(), start.clone(), -5_i64..100).prop_map(move |(unit, start, step)| {
            ramp(count, start.wrapping_mul(unit), step.wrapping_mul(unit))
        });
    let jitter = (units, start, vec(0_i64..4, count)).prop_map(move |(unit, start, jitter)| {
        let steps = jitter.iter().scan(start, |time, jitter| {
            *time += 58 + jitter;
            Some(time.wrapping_mul(unit))
        });
        steps.collect::<Vec<_>>()
    });
    let speeding_up = (1_i64..1_000_000, vec(0_i64..9, count)).prop_map(|(growth, noise)| {
        let at = noise.iter().zip(1_i64..);
        at.map(|(noise, at)| growth * at * at + noise).collect()
    });
    let anything = vec(any::<i64>(), count);
    let repeating = vec(0_i64..5, count);
    let with_gap = (any::<prop::sample::Index>(), 0_i64..1 << 50).prop_map(move |(at, gap)| {
        let mut times = ramp(count, 1_700_000_000_000_000_000, 1_000_000);
        let at = at.index(count);
        times[at..].iter_mut().for_each(|time| *time += gap);
        times
    });
    prop_oneof![
        constant_step,
        jitter,
        speeding_up,
        anything,
        repeating,
        with_gap
    ]
    .boxed()
}

fn ramp(count: usize, start: i64, step: i64) -> Vec<i64> {
    (0_i64..)
        .take(count)
        .map(|at| start.wrapping_add(at.wrapping_mul(step)))
        .collect()
}

fn values(count: usize) -> BoxedStrategy<Values> {
    prop_oneof![
        3 => floats(count).prop_map(Values::F64),
        2 => integers(count).prop_map(Values::I64),
        1 => flags(count).prop_map(Values::Bool),
        1 => texts(count).prop_map(Values::Text),
    ]
    .boxed()
}

#[expect(clippy::cast_precision_loss, reason = "any float will do")]
fn floats(count: usize) -> BoxedStrategy<Vec<f64>> {
    let walk = (integers(count), 0_i32..19).prop_map(|(digits, exponent)| {
        let power = 10_f64.powi(exponent);
        digits.iter().map(|digits| *digits as f64 / power).collect()
    });
    let drifting = (1_i32..1_000).prop_map(move |step| {
        let steps = std::iter::successors(Some(20.0), |value| Some(value + f64::from(step) / 1e3));
        steps.take(count).collect()
    });
    let noise = vec(-1.0..1.0, count);
    let thirds = vec(0_i32..8, count).prop_map(|thirds| {
        thirds
            .into_iter()
            .map(|third| f64::from(third) / 3.0)
            .collect()
    });
    let single = vec(any::<u32>().prop_map(finite_single), count);
    let anything = vec(any::<u64>().prop_map(finite), count);
    let special = vec(
        prop_oneof![
            Just(0.0),
            Just(-0.0),
            Just(f64::MIN_POSITIVE),
            Just(-5e-324),
            Just(f64::MAX),
            Just(73.967_322),
            Just(74.935_881_999_999_98),
            Just(0.004_764_163_024_164_14),
        ],
        count,
    );
    let with_sentinel = any::<prop::sample::Index>().prop_map(move |at| {
        let mut values: Vec<f64> = (0..count).map(|at| (200 + at % 7) as f64 / 10.0).collect();
        values[at.index(count)] = -9e99;
        values
    });
    let constant = any::<u64>().prop_map(move |bits| vec![finite(bits); count]);
    prop_oneof![
        3 => walk,
        1 => drifting,
        1 => noise,
        1 => thirds,
        1 => single,
        1 => anything,
        1 => special,
        1 => with_sentinel,
        1 => constant,
    ]
    .boxed()
}

fn finite(bits: u64) -> f64 {
    let value = f64::from_bits(bits);
    if value.is_finite() { value } else { 1.5 }
}

fn finite_single(bits: u32) -> f64 {
    let value = f32::from_bits(bits);
    f64::from(if value.is_finite() { value } else { 1.5 })
}

fn integers(count: usize) -> BoxedStrategy<Vec<i64>> {
    let walk = (any::<i32>(), vec(-9_i64..9, count)).prop_map(|(start, steps)| {
        let walk = steps.iter().scan(i64::from(start), |value, step| {
            *value += step;
            Some(*value)
        });
        walk.collect::<Vec<_>>()
    });
    let of_width = (0_u32..64)
        .prop_flat_map(move |shift| vec(any::<i64>().prop_map(move |value| value >> shift), count));
    let constant = any::<i64>().prop_map(move |value| vec![value; count]);
    let ramp = (any::<i64>(), any::<i64>()).prop_map(move |(start, step)| ramp(count, start, step));
    prop_oneof![walk, of_width, constant, ramp].boxed()
}

fn flags(count: usize) -> BoxedStrategy<Vec<bool>> {
    let runs = vec(0_u8..20, count).prop_map(|turns| {
        let flags = turns.iter().scan(false, |flag, turn| {
            *flag ^= *turn == 0;
            Some(*flag)
        });
        flags.collect::<Vec<_>>()
    });
    prop_oneof![vec(any::<bool>(), count), runs].boxed()
}

fn texts(count: usize) -> BoxedStrategy<Vec<String>> {
    let states = vec(
        prop::sample::select(vec!["", "running", "stopped", "überhitzt"]),
        count,
    )
    .prop_map(|states| states.into_iter().map(str::to_owned).collect());
    prop_oneof![states, vec(".{0,12}", count)].boxed()
}
