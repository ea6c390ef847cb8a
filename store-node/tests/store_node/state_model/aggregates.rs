//! Buckets, computed from all readings of a series at once, each aggregate by its definition.

#![expect(
    clippy::cast_possible_truncation,
    reason = "sums and places among values are small whole numbers here"
)]

use std::collections::BTreeMap;

use sensor_model::{Aggregate, Bucket, Grid, Reading, TimeRange, Timestamp, Value};
use store_node::scan::quantiles::EXACT_VALUES_MAX;

/// Stands for a percentile of so many values that the store keeps a sketch of them: a NaN that nobody
/// computes.
const SKETCHED: f64 = f64::from_bits(0x7ff8_0000_7364_6b63);

/// Readings of one series, by time.
pub(super) type Readings = Vec<Reading>;

/// What one series has in a bucket.
struct Part<'a> {
    /// The reading before those.
    before: Option<&'a Reading>,
    /// At least one.
    readings: &'a [Reading],
    /// The bucket, as far as it lies in the range.
    window: (i64, i64),
}

/// The buckets of several series together, in order of time. Each has all of its readings before the
/// end of the range.
pub(super) fn buckets(
    series: &[Readings],
    grid: &Grid,
    range: TimeRange,
    aggregates: &[Aggregate],
) -> Vec<Bucket> {
    let mut parts: BTreeMap<Timestamp, Vec<Part<'_>>> = BTreeMap::new();
    for all in series {
        let mut at = all.partition_point(|reading| reading.timestamp < range.from);
        while at < all.len() {
            let bucket = grid.bucket_of(all[at].timestamp);
            let end = all.partition_point(|reading| reading.timestamp < bucket.to);
            let part = Part {
                before: at.checked_sub(1).map(|before| &all[before]),
                readings: &all[at..end],
                window: (
                    bucket.from.max(range.from).as_nanos(),
                    bucket.to.min(range.to).as_nanos(),
                ),
            };
            parts.entry(bucket.from).or_default().push(part);
            at = end;
        }
    }
    let rows = parts.into_iter().map(|(start, parts)| {
        let values = aggregates.iter().map(|aggregate| value(*aggregate, &parts));
        Bucket {
            start,
            values: values.collect(),
        }
    });
    rows.collect()
}

fn value(aggregate: Aggregate, parts: &[Part<'_>]) -> Option<Value> {
    let readings = || parts.iter().flat_map(|part| part.readings);
    let numbers: Vec<f64> = readings()
        .filter_map(|reading| reading.value.as_f64())
        .collect();
    let count = numbers.len() as f64;
    let is_whole = readings()
        .filter(|reading| reading.value.as_f64().is_some())
        .all(|reading| !matches!(reading.value, Value::F64(_)));
    // All sums here are far below 2^53, so a float says a whole number exactly.
    let sum_of = |sums: Vec<f64>| {
        let sum: f64 = sums.iter().sum();
        let value = if is_whole {
            Value::I64(sum as i64)
        } else {
            Value::F64(sum)
        };
        (!sums.is_empty()).then_some(value)
    };
    let extreme = |wanted: std::cmp::Ordering| {
        let mut found: Option<&Value> = None;
        for reading in readings() {
            let Some(number) = reading.value.as_f64() else {
                continue;
            };
            let known = found.and_then(Value::as_f64);
            if known.is_none_or(|known| number.total_cmp(&known) == wanted) {
                found = Some(&reading.value);
            }
        }
        found.cloned()
    };
    match aggregate {
        Aggregate::Count => Some(Value::I64(readings().count() as i64)),
        Aggregate::Sum => sum_of(numbers),
        Aggregate::Mean => (count > 0.0).then(|| Value::F64(numbers.iter().sum::<f64>() / count)),
        Aggregate::Min => extreme(std::cmp::Ordering::Less),
        Aggregate::Max => extreme(std::cmp::Ordering::Greater),
        Aggregate::First => {
            let firsts = parts.iter().map(|part| &part.readings[0]);
            let first = firsts.reduce(|a, b| if b.timestamp < a.timestamp { b } else { a });
            first.map(|reading| reading.value.clone())
        }
        Aggregate::Last => {
            let lasts = parts.iter().filter_map(|part| part.readings.last());
            let last = lasts.reduce(|a, b| if b.timestamp >= a.timestamp { b } else { a });
            last.map(|reading| reading.value.clone())
        }
        Aggregate::Stddev => {
            let mean = numbers.iter().sum::<f64>() / count;
            let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
            (count > 1.0).then(|| Value::F64((squares / (count - 1.0)).sqrt()))
        }
        // How far a sketch may be off is tested where it is made.
        Aggregate::Percentile(_) if numbers.len() > EXACT_VALUES_MAX => Some(Value::F64(SKETCHED)),
        Aggregate::Percentile(percentile) => {
            let mut sorted = numbers;
            sorted.sort_by(f64::total_cmp);
            let place = percentile.share() * (count - 1.0);
            let low = sorted.get(place as usize)?;
            let high = sorted.get(place as usize + 1).unwrap_or(low);
            Some(Value::F64(low + (high - low) * place.fract()))
        }
        Aggregate::Increase => sum_of(changes(parts, increase)),
        Aggregate::Delta => sum_of(changes(parts, |a, b| b - a)),
        Aggregate::Rate => {
            let rates = parts.iter().filter_map(|part| {
                let grown: Vec<f64> = changes(std::slice::from_ref(part), increase);
                let pairs = pairs(part);
                let (earliest, latest) = (pairs.first()?.0, pairs.last()?.1);
                let span = latest.timestamp.as_nanos() - earliest.timestamp.as_nanos();
                (!grown.is_empty()).then(|| grown.iter().sum::<f64>() * 1e9 / span as f64)
            });
            let rates: Vec<f64> = rates.collect();
            (!rates.is_empty()).then(|| Value::F64(rates.iter().sum()))
        }
        Aggregate::TimeWeightedMean => {
            let (mut area, mut width) = (0.0, 0.0);
            for part in parts {
                let mut held = part
                    .before
                    .map(|before| (part.window.0, before.value.as_f64()));
                let ends = part.readings.iter();
                let ends =
                    ends.map(|reading| (reading.timestamp.as_nanos(), reading.value.as_f64()));
                for (time, value) in ends.chain([(part.window.1, None)]) {
                    if let Some((since, Some(value))) = held {
                        area += value * (time - since) as f64;
                        width += (time - since) as f64;
                    }
                    held = Some((time, value));
                }
            }
            (width > 0.0).then(|| Value::F64(area / width))
        }
    }
}

fn increase(earlier: f64, later: f64) -> f64 {
    if later < earlier {
        later
    } else {
        later - earlier
    }
}

fn pairs<'a>(part: &Part<'a>) -> Vec<(&'a Reading, &'a Reading)> {
    let all: Vec<&Reading> = part.before.into_iter().chain(part.readings).collect();
    all.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

fn changes(parts: &[Part<'_>], change: fn(f64, f64) -> f64) -> Vec<f64> {
    let pairs = parts.iter().flat_map(pairs);
    pairs
        .filter_map(|(earlier, later)| Some(change(earlier.value.as_f64()?, later.value.as_f64()?)))
        .collect()
}

/// Whether two rows are the same, but for rounding and for what comes from a sketch.
pub(super) fn alike(a: &Bucket, b: &Bucket) -> bool {
    let alike = |pair: (&Option<Value>, &Option<Value>)| match pair {
        (Some(a), Some(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) if is_sketched(a) || is_sketched(b) => true,
            (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0),
            _ => a == b,
        },
        (a, b) => a == b,
    };
    a.start == b.start
        && a.values.len() == b.values.len()
        && a.values.iter().zip(&b.values).all(alike)
}

fn is_sketched(value: f64) -> bool {
    value.to_bits() == SKETCHED.to_bits()
}
