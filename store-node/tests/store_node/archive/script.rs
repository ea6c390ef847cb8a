//! Short histories written by hand.

use sensor_model::{Columns, Kind, Pattern, TimeRange, Timestamp, Values};
use store_node::command::Seal;

use crate::state_model::history::{Log, SERIES};
use crate::state_model::model::Model;

/// Windows of a thousand ns, so that a few readings fill some.
pub(super) const SEAL: Seal = Seal {
    window: 1_000,
    chunk_readings: 50,
};

/// Readings of a series at `times`, their values made from `seed`.
pub(super) fn readings(series: u64, times: impl IntoIterator<Item = i64>, seed: i64) -> Columns {
    let times: Vec<i64> = times.into_iter().collect();
    let mixed = |time: &i64| time.wrapping_mul(31).wrapping_add(seed) % 1_009;
    let values = times.iter().map(mixed);
    let values = match SERIES[usize::try_from(series).unwrap()].1 {
        Kind::F64 => Values::F64(values.map(|value| value as f64).collect()),
        Kind::I64 => Values::I64(values.collect()),
        Kind::Bool => Values::Bool(values.map(|value| value % 3 == 0).collect()),
        Kind::Text => Values::Text(values.map(|value| format!("t{value}")).collect()),
    };
    Columns { times, values }
}

/// Appends readings of one series.
pub(super) fn append(log: &mut Log, series: u64, times: impl IntoIterator<Item = i64>) {
    let seed = i64::try_from(log.last()).unwrap();
    let readings = readings(series, times, seed);
    if !readings.is_empty() {
        log.append(None, vec![(series, readings)]);
    }
}

/// Appends readings of every series: in chunks that the log keeps, and in chunks that memory keeps.
pub(super) fn append_all(log: &mut Log, times: std::ops::Range<i64>) {
    for series in 0..SERIES.len() as u64 {
        append(log, series, times.clone().step_by(7));
    }
    append(log, 0, times.clone().step_by(times.count() / 4));
}

pub(super) fn delete(log: &mut Log, pattern: &str, from: i64, to: i64) {
    log.delete(Pattern::new(pattern).unwrap(), range(from, to));
}

pub(super) fn range(from: i64, to: i64) -> TimeRange {
    TimeRange {
        from: Timestamp::from_nanos(from),
        to: Timestamp::from_nanos(to),
    }
}

/// What the log adds up to, up to entry `last`.
pub(super) fn model(log: &Log, last: u64) -> Model {
    let mut model = Model::default();
    for index in 1..=last {
        model.apply(index, log.meaning(index));
    }
    model
}
