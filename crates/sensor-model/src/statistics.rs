//! What is known of a run of readings without looking at each: count, first, last, min, max, sum.

use serde::{Deserialize, Serialize};

use crate::columns::Columns;
use crate::time::Timestamp;
use crate::value::{Reading, Value};

/// The sum of a run of values, exact for integers and flags.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Sum {
    /// Sum of floats, whose last bits depend on the order in which they were added; may overflow to infinity.
    F64(f64),
    /// Sum of integers, or the number of `true` flags. 65,536 chunks of 65,536 readings cannot overflow it.
    I64(i128),
    /// Text has no sum.
    None,
}

/// Statistics of a run of at least one reading of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// How many readings.
    pub count: u64,
    /// The earliest reading.
    pub first: Reading,
    /// The latest reading.
    pub last: Reading,
    /// The smallest value; `None` for text.
    pub min: Option<Value>,
    /// The largest value; `None` for text.
    pub max: Option<Value>,
    /// The sum of the values.
    pub sum: Sum,
}

/// What was asked of an interval of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Where the interval starts. One without readings is not made.
    pub start: Timestamp,
    /// One value for each aggregate asked for; `None` where there is none.
    pub values: Vec<Option<Value>>,
}

impl Sum {
    /// The sum as a float. `None` for text.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a sum beyond 2^53 is rounded once, here"
    )]
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Self::F64(sum) => Some(sum),
            Self::I64(sum) => Some(sum as f64),
            Self::None => None,
        }
    }

    /// The sum as a value: an integer while it fits, a float beyond. `None` for text.
    pub fn value(self) -> Option<Value> {
        match self {
            Self::I64(sum) => match i64::try_from(sum) {
                Ok(sum) => Some(Value::I64(sum)),
                Err(_) => self.as_f64().map(Value::F64),
            },
            sum => sum.as_f64().map(Value::F64),
        }
    }

    /// Both sums in one, of any kinds: what text has not adds nothing.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        match (self, other) {
            (Self::I64(a), Self::I64(b)) => Self::I64(a + b),
            (Self::None, sum) | (sum, Self::None) => sum,
            (a, b) => match (a.as_f64(), b.as_f64()) {
                (Some(a), Some(b)) => Self::F64(a + b),
                _ => Self::None,
            },
        }
    }

    /// The sum with `value` added.
    fn plus(self, value: &Value) -> Self {
        match (self, value) {
            (Self::F64(sum), Value::F64(value)) => Self::F64(sum + value),
            (Self::I64(sum), Value::I64(value)) => Self::I64(sum + i128::from(*value)),
            (Self::I64(sum), Value::Bool(value)) => Self::I64(sum + i128::from(*value)),
            _ => Self::None,
        }
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::F64(value) => Self::F64(*value),
            Value::I64(value) => Self::I64(i128::from(*value)),
            Value::Bool(value) => Self::I64(i128::from(*value)),
            Value::Text(_) => Self::None,
        }
    }
}

impl Statistics {
    /// Statistics of one reading.
    pub fn of(reading: &Reading) -> Self {
        let ordered = match &reading.value {
            Value::Text(_) => None,
            value => Some(value.clone()),
        };
        Self {
            count: 1,
            first: reading.clone(),
            last: reading.clone(),
            min: ordered.clone(),
            max: ordered,
            sum: Sum::of(&reading.value),
        }
    }

    /// Statistics of all readings of `columns`, which need no order; `None` when there are none.
    ///
    /// Of readings with equal times the first stands as `first` and the last as `last`.
    pub fn of_columns(columns: &Columns) -> Option<Self> {
        let mut readings = columns.readings();
        let mut statistics = Self::of(&readings.next()?);
        for reading in readings {
            statistics.add(&reading);
        }
        Some(statistics)
    }

    /// Counts one more reading in.
    pub fn add(&mut self, reading: &Reading) {
        self.count += 1;
        if reading.timestamp < self.first.timestamp {
            self.first = reading.clone();
        }
        if reading.timestamp >= self.last.timestamp {
            self.last = reading.clone();
        }
        keep(&mut self.min, &reading.value, std::cmp::Ordering::Less);
        keep(&mut self.max, &reading.value, std::cmp::Ordering::Greater);
        self.sum = self.sum.plus(&reading.value);
    }

    /// Counts the readings of `later` in: a run of the same series whose readings do not repeat a
    /// timestamp of this one.
    pub fn merge(&mut self, later: &Self) {
        self.count += later.count;
        if later.first.timestamp < self.first.timestamp {
            self.first = later.first.clone();
        }
        if later.last.timestamp >= self.last.timestamp {
            self.last = later.last.clone();
        }
        if let Some(value) = &later.min {
            keep(&mut self.min, value, std::cmp::Ordering::Less);
        }
        if let Some(value) = &later.max {
            keep(&mut self.max, value, std::cmp::Ordering::Greater);
        }
        self.sum = match (self.sum, later.sum) {
            (Sum::F64(a), Sum::F64(b)) => Sum::F64(a + b),
            (Sum::I64(a), Sum::I64(b)) => Sum::I64(a + b),
            _ => Sum::None,
        };
    }

    /// Counts the readings of another series in: their times may be the same as those of this one,
    /// and their kind another. Of readings with equal times this one's stands as `first` and the
    /// other's as `last`; of equal values, this one's stays.
    pub fn join(&mut self, other: &Self) {
        self.count += other.count;
        if other.first.timestamp < self.first.timestamp {
            self.first = other.first.clone();
        }
        if other.last.timestamp >= self.last.timestamp {
            self.last = other.last.clone();
        }
        join_extreme(&mut self.min, &other.min, std::cmp::Ordering::Less);
        join_extreme(&mut self.max, &other.max, std::cmp::Ordering::Greater);
        self.sum = self.sum.joined(other.sum);
    }

    /// The mean of the values. `None` for text.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count beyond 2^53 is not reached"
    )]
    pub fn mean(&self) -> Option<f64> {
        self.sum.as_f64().map(|sum| sum / self.count as f64)
    }
}

/// Replaces `kept` by `other` where that compares to it as `wanted`. Of two kinds both are numbers, a
/// flag 0 or 1.
fn join_extreme(kept: &mut Option<Value>, other: &Option<Value>, wanted: std::cmp::Ordering) {
    let (Some(current), Some(value)) = (&mut *kept, other) else {
        if kept.is_none() {
            kept.clone_from(other);
        }
        return;
    };
    if current.kind() == value.kind() {
        return keep(kept, value, wanted);
    }
    let number = |value: &Value| match value {
        Value::Bool(flag) => Value::I64(i64::from(*flag)),
        other => other.clone(),
    };
    let (low, high) = (number(value), number(current));
    let is_wanted = match (low.as_f64(), high.as_f64()) {
        (Some(value), Some(current)) => value.total_cmp(&current) == wanted,
        _ => false,
    };
    *kept = Some(if is_wanted { low } else { high });
}

/// Replaces `kept` by `value` where `value` compares to it as `wanted`.
fn keep(kept: &mut Option<Value>, value: &Value, wanted: std::cmp::Ordering) {
    let Some(current) = kept else { return };
    let ordering = match (value, &*current) {
        (Value::F64(a), Value::F64(b)) => a.total_cmp(b),
        (Value::I64(a), Value::I64(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => return,
    };
    if ordering == wanted {
        *current = value.clone();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::columns::Values;

    fn integers(readings: &[(i64, i64)]) -> Columns {
        Columns {
            times: readings.iter().map(|(time, _)| *time).collect(),
            values: Values::I64(readings.iter().map(|(_, value)| *value).collect()),
        }
    }

    #[test]
    fn text_counts_but_has_no_order_and_no_sum() {
        let columns = Columns {
            times: vec![1, 2],
            values: Values::Text(vec!["b".into(), "a".into()]),
        };
        let statistics = Statistics::of_columns(&columns).unwrap();
        assert_eq!(
            (statistics.count, statistics.min, statistics.sum),
            (2, None, Sum::None)
        );
        assert_eq!(statistics.last.value, Value::Text("a".into()));
    }

    #[test]
    fn the_sum_of_the_largest_integers_is_exact() {
        let columns = integers(&[(1, i64::MAX), (2, i64::MAX), (3, i64::MAX)]);
        let statistics = Statistics::of_columns(&columns).unwrap();
        assert_eq!(statistics.sum, Sum::I64(3 * i128::from(i64::MAX)));
    }

    #[test]
    fn series_of_other_kinds_are_joined_as_numbers() {
        let of = |value: Value| {
            Statistics::of(&Reading {
                timestamp: Timestamp::from_nanos(1),
                value,
            })
        };
        let mut joined = of(Value::Text("run".into()));
        joined.join(&of(Value::Bool(true)));
        assert_eq!(joined.max, Some(Value::Bool(true)));
        joined.join(&of(Value::Bool(false)));
        assert_eq!((joined.count, joined.sum), (3, Sum::I64(1)));
        joined.join(&of(Value::F64(0.5)));
        assert_eq!(joined.min, Some(Value::I64(0)));
        assert_eq!(joined.max, Some(Value::I64(1)));
        assert_eq!(joined.sum, Sum::F64(1.5));
        assert_eq!(joined.first.value, Value::Text("run".into()));
        assert_eq!(joined.last.value, Value::F64(0.5));
    }

    proptest! {
        #[test]
        fn merging_parts_equals_counting_the_whole(
            readings in proptest::collection::btree_map(any::<i64>(), any::<i64>(), 2..50),
            cut in any::<proptest::sample::Index>(),
        ) {
            let readings: Vec<(i64, i64)> = readings.into_iter().collect();
            let (left, right) = readings.split_at(1 + cut.index(readings.len() - 1));
            let mut merged = Statistics::of_columns(&integers(left)).unwrap();
            if let Some(right) = Statistics::of_columns(&integers(right)) {
                merged.merge(&right);
            }
            prop_assert_eq!(merged, Statistics::of_columns(&integers(&readings)).unwrap());
        }
    }
}
