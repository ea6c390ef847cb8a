//! What consecutive readings of a series tell: how much it grew, and its mean over time.
//!
//! Readings are taken one by one in the order of the sweep, whichever that is, so what comes out does
//! not depend on how they lie in chunks.

use sensor_model::{Reading, Sum, Value, Values};
use store_wire::message::Order;

/// How much a counter grew between the readings taken so far.
#[derive(Debug, Clone)]
pub(crate) struct Growth {
    order: Order,
    /// The reading taken last.
    edge: Sum,
    grown: Sum,
}

/// The mean over time from the first to the last of the readings taken so far.
#[derive(Debug, Clone)]
pub(crate) struct Level {
    order: Order,
    /// The reading taken last.
    edge: Option<(i64, f64)>,
    held: Weighted,
}

/// A mean of values that count differently.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Weighted {
    weight: f64,
    mean: f64,
}

impl Growth {
    pub(crate) const fn new(order: Order) -> Self {
        Self {
            order,
            edge: Sum::None,
            grown: Sum::None,
        }
    }

    /// Takes the values from `from` (inclusive) to `to` (exclusive).
    pub(crate) fn take(&mut self, values: &Values, from: usize, to: usize) {
        match values {
            Values::F64(values) => values[from..to]
                .iter()
                .for_each(|value| self.push(Sum::F64(*value))),
            Values::I64(values) => values[from..to]
                .iter()
                .for_each(|value| self.push(Sum::I64((*value).into()))),
            Values::Bool(values) => values[from..to]
                .iter()
                .for_each(|value| self.push(Sum::I64((*value).into()))),
            Values::Text(_) => {}
        }
    }

    fn push(&mut self, value: Sum) {
        let grown = match self.order {
            Order::Ascending => growth(self.edge, value),
            Order::Descending => growth(value, self.edge),
        };
        self.grown = self.grown.joined(grown);
        self.edge = value;
    }

    /// All of the growth, with that from the reading `before` to the `first` one.
    pub(crate) fn since(&self, before: Option<&Reading>, first: &Reading) -> Sum {
        let joint = before.map_or(Sum::None, |before| {
            growth(number(&before.value), number(&first.value))
        });
        joint.joined(self.grown)
    }
}

/// How much a counter grew from one value to the next: if it fell, it began again at zero.
fn growth(earlier: Sum, later: Sum) -> Sum {
    match (earlier, later) {
        (Sum::F64(earlier), Sum::F64(later)) if later >= earlier => Sum::F64(later - earlier),
        (Sum::I64(earlier), Sum::I64(later)) if later >= earlier => Sum::I64(later - earlier),
        (Sum::None, _) | (_, Sum::None) => Sum::None,
        (_, later) => later,
    }
}

/// How much a value changed from one reading to another.
pub(crate) fn change(earlier: &Reading, later: &Reading) -> Sum {
    match (number(&earlier.value), number(&later.value)) {
        (Sum::F64(earlier), Sum::F64(later)) => Sum::F64(later - earlier),
        (Sum::I64(earlier), Sum::I64(later)) => Sum::I64(later - earlier),
        _ => Sum::None,
    }
}

fn number(value: &Value) -> Sum {
    match value {
        Value::F64(value) => Sum::F64(*value),
        Value::I64(value) => Sum::I64((*value).into()),
        Value::Bool(value) => Sum::I64((*value).into()),
        Value::Text(_) => Sum::None,
    }
}

impl Level {
    pub(crate) fn new(order: Order) -> Self {
        Self {
            order,
            edge: None,
            held: Weighted::default(),
        }
    }

    pub(crate) fn push(&mut self, time: i64, value: f64) {
        if let Some((edge_time, edge_value)) = self.edge {
            match self.order {
                Order::Ascending => self.held.add(edge_value, span_ns(edge_time, time)),
                Order::Descending => self.held.add(value, span_ns(time, edge_time)),
            }
        }
        self.edge = Some((time, value));
    }

    /// The mean with the reading `before` counting from `from` to the `first` one, and the `last` one
    /// to `to`. `None` for text.
    pub(crate) fn over(
        &self,
        (from, to): (i64, i64),
        before: Option<&Reading>,
        first: &Reading,
        last: &Reading,
    ) -> Option<Weighted> {
        let mut held = self.held;
        if let Some(before) = before {
            let weight = span_ns(from, first.timestamp.as_nanos());
            held.add(before.value.as_f64()?, weight);
        }
        held.add(last.value.as_f64()?, span_ns(last.timestamp.as_nanos(), to));
        Some(held)
    }
}

impl Weighted {
    fn add(&mut self, value: f64, weight: f64) {
        if weight > 0.0 {
            self.weight += weight;
            // In steps, so that what never changes has exactly itself as its mean.
            self.mean += (value - self.mean) * (weight / self.weight);
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.add(other.mean, other.weight);
    }

    pub(crate) fn mean(self) -> Option<f64> {
        (self.weight > 0.0).then_some(self.mean)
    }
}

/// The time between two instants, in ns.
#[expect(clippy::cast_precision_loss, reason = "a weight is a float by nature")]
pub(crate) fn span_ns(from: i64, to: i64) -> f64 {
    (i128::from(to) - i128::from(from)) as f64
}

#[cfg(test)]
mod tests {
    use sensor_model::Timestamp;

    use super::*;

    fn reading(time: i64, value: Value) -> Reading {
        Reading {
            timestamp: Timestamp::from_nanos(time),
            value,
        }
    }

    #[test]
    fn a_counter_that_begins_again_at_zero_grows_by_what_it_then_has() {
        let counter = |order, values: Vec<i64>| {
            let mut growth = Growth::new(order);
            let count = values.len();
            growth.take(&Values::I64(values), 0, count);
            growth
        };
        let first = reading(10, Value::I64(5));
        let ascending = counter(Order::Ascending, vec![5, 9, 2, 2, 7]);
        assert_eq!(ascending.since(None, &first), Sum::I64(4 + 2 + 5));
        let before = reading(3, Value::I64(8));
        assert_eq!(ascending.since(Some(&before), &first), Sum::I64(5 + 11));
        let descending = counter(Order::Descending, vec![7, 2, 2, 9, 5]);
        assert_eq!(descending.since(Some(&before), &first), Sum::I64(5 + 11));
        // The whole of an i64 and more.
        let wide = counter(Order::Ascending, vec![i64::MIN, i64::MAX]);
        assert_eq!(wide.since(None, &first), Sum::I64(u64::MAX.into()));
    }

    #[test]
    fn a_value_counts_until_the_next_one_comes() {
        for order in [Order::Ascending, Order::Descending] {
            let mut readings = [(10, 1.0), (14, 5.0), (15, 3.0)];
            if order == Order::Descending {
                readings.reverse();
            }
            let mut level = Level::new(order);
            for (time, value) in readings {
                level.push(time, value);
            }
            let (first, last) = (reading(10, Value::F64(1.0)), reading(15, Value::F64(3.0)));
            let mean = |from, to, before: Option<&Reading>| {
                let held = level.over((from, to), before, &first, &last);
                held.unwrap().mean().unwrap()
            };
            assert_eq!(mean(0, 20, None), (4.0 + 5.0 + 15.0) / 10.0);
            let before = reading(-7, Value::F64(2.0));
            assert_eq!(mean(0, 20, Some(&before)), (20.0 + 4.0 + 5.0 + 15.0) / 20.0);
        }
    }

    #[test]
    fn what_never_changes_has_itself_as_its_mean() {
        let mut level = Level::new(Order::Ascending);
        for time in [0, 3, 10, 11, 29, 1_000_003] {
            level.push(time, 21.1);
        }
        let ends = [0, 1_000_003].map(|time| reading(time, Value::F64(21.1)));
        let held = level.over((0, 2_000_000), None, &ends[0], &ends[1]);
        assert_eq!(held.unwrap().mean(), Some(21.1));
    }
}
