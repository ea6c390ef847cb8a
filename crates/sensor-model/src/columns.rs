//! A run of readings as two columns, the form in which they are encoded, scanned and sent.

use crate::time::{TimeRange, Timestamp};
use crate::value::{Kind, Reading, Value, ValueError};

/// The value column of a run of readings: all of one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Finite floats.
    F64(Vec<f64>),
    /// Integers.
    I64(Vec<i64>),
    /// Flags.
    Bool(Vec<bool>),
    /// Texts.
    Text(Vec<String>),
}

/// A run of readings of one series: times (ns since 1970-01-01 UTC) and values, of equal length.
///
/// The columns themselves promise no order. Where an order is needed, the place that needs it says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Columns {
    /// Timestamps in ns since 1970-01-01 UTC.
    pub times: Vec<i64>,
    /// One value for each time.
    pub values: Values,
}

impl Values {
    /// An empty column of `kind`.
    pub const fn empty(kind: Kind) -> Self {
        match kind {
            Kind::F64 => Self::F64(Vec::new()),
            Kind::I64 => Self::I64(Vec::new()),
            Kind::Bool => Self::Bool(Vec::new()),
            Kind::Text => Self::Text(Vec::new()),
        }
    }

    /// The kind of every value in the column.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::F64(_) => Kind::F64,
            Self::I64(_) => Kind::I64,
            Self::Bool(_) => Kind::Bool,
            Self::Text(_) => Kind::Text,
        }
    }

    /// How many values the column has.
    pub fn len(&self) -> usize {
        match self {
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    /// Whether the column is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at `index`, or `None` past the end.
    pub fn value(&self, index: usize) -> Option<Value> {
        match self {
            Self::F64(values) => values.get(index).copied().map(Value::F64),
            Self::I64(values) => values.get(index).copied().map(Value::I64),
            Self::Bool(values) => values.get(index).copied().map(Value::Bool),
            Self::Text(values) => values.get(index).cloned().map(Value::Text),
        }
    }

    /// Appends `value`.
    ///
    /// # Errors
    /// [`ValueError::NotOfKind`] when its kind is not the column's; the column is unchanged.
    pub fn push(&mut self, value: Value) -> Result<(), ValueError> {
        match (self, value) {
            (Self::F64(values), Value::F64(value)) => values.push(value),
            (Self::I64(values), Value::I64(value)) => values.push(value),
            (Self::Bool(values), Value::Bool(value)) => values.push(value),
            (Self::Text(values), Value::Text(value)) => values.push(value),
            (column, value) => {
                return Err(ValueError::NotOfKind {
                    text: value.to_string(),
                    kind: column.kind(),
                });
            }
        }
        Ok(())
    }

    /// Appends the values of `other` from `from` (inclusive) to `to` (exclusive).
    ///
    /// # Panics
    /// When the kinds differ or the bounds lie outside `other`: both are the caller's to check.
    pub fn extend_from(&mut self, other: &Self, from: usize, to: usize) {
        match (self, other) {
            (Self::F64(values), Self::F64(more)) => values.extend_from_slice(&more[from..to]),
            (Self::I64(values), Self::I64(more)) => values.extend_from_slice(&more[from..to]),
            (Self::Bool(values), Self::Bool(more)) => values.extend_from_slice(&more[from..to]),
            (Self::Text(values), Self::Text(more)) => values.extend_from_slice(&more[from..to]),
            (column, more) => {
                panic!(
                    "a {} column cannot take {} values",
                    column.kind(),
                    more.kind()
                )
            }
        }
    }
}

impl Columns {
    /// No readings, of `kind`.
    pub const fn empty(kind: Kind) -> Self {
        Self {
            times: Vec::new(),
            values: Values::empty(kind),
        }
    }

    /// The kind of the values.
    pub const fn kind(&self) -> Kind {
        self.values.kind()
    }

    /// How many readings there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Appends one reading.
    ///
    /// # Errors
    /// [`ValueError::NotOfKind`] when the value's kind is not the columns'; nothing is changed.
    pub fn push(&mut self, timestamp: Timestamp, value: Value) -> Result<(), ValueError> {
        self.values.push(value)?;
        self.times.push(timestamp.as_nanos());
        Ok(())
    }

    /// The reading at `index`, or `None` past the end.
    pub fn reading(&self, index: usize) -> Option<Reading> {
        let timestamp = Timestamp::from_nanos(*self.times.get(index)?);
        Some(Reading {
            timestamp,
            value: self.values.value(index)?,
        })
    }

    /// All readings, in the columns' order.
    pub fn readings(&self) -> impl Iterator<Item = Reading> + '_ {
        (0..self.len()).filter_map(|index| self.reading(index))
    }

    /// Appends the readings of `other` from `from` (inclusive) to `to` (exclusive).
    ///
    /// # Panics
    /// When the kinds differ or the bounds lie outside `other`: both are the caller's to check.
    pub fn extend_from(&mut self, other: &Self, from: usize, to: usize) {
        self.times.extend_from_slice(&other.times[from..to]);
        self.values.extend_from(&other.values, from, to);
    }

    /// Where the readings inside `range` begin and end, for times in ascending order.
    pub fn bounds(&self, range: TimeRange) -> (usize, usize) {
        let from = self
            .times
            .partition_point(|time| *time < range.from.as_nanos());
        let to = self
            .times
            .partition_point(|time| *time < range.to.as_nanos());
        (from, to.max(from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_kind_is_refused_and_changes_nothing() {
        let mut columns = Columns::empty(Kind::I64);
        columns
            .push(Timestamp::from_nanos(1), Value::I64(7))
            .unwrap();
        assert!(
            columns
                .push(Timestamp::from_nanos(2), Value::Bool(true))
                .is_err()
        );
        assert_eq!((columns.len(), columns.values.len()), (1, 1));
    }

    #[test]
    fn bounds_are_half_open() {
        let columns = Columns {
            times: vec![10, 20, 30],
            values: Values::Bool(vec![true, false, true]),
        };
        let range = |from, to| TimeRange {
            from: Timestamp::from_nanos(from),
            to: Timestamp::from_nanos(to),
        };
        assert_eq!(columns.bounds(range(10, 30)), (0, 2));
        assert_eq!(columns.bounds(range(11, 31)), (1, 3));
        assert_eq!(columns.bounds(range(40, 50)), (3, 3));
    }
}
