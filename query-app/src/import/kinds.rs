//! What the series of a file hold, learned from all their values.
//!
//! Of a file with a reading a row, as `export` writes it, a series is
//! - `bool` when all its values are `true` or `false`;
//! - a number when all are numbers: `i64` when all are integers and a float would print one of them
//!   otherwise, else `f64`;
//! - `text` otherwise, so that the values print the same again.
//!
//! A column of a file with a column a series is a number already when at least half of its values are. A
//! word such as `NaN` or `n/a` among numbers is a value that is missing.

use sensor_model::{Kind, Timestamp, Value};

use super::source::{Cell, Place, SeriesEntry, Sink};

/// Words that stand for no value among numbers, in lower case.
const MISSING: [&str; 12] = [
    "nan", "na", "n/a", "null", "none", "nil", "-", "?", "inf", "-inf", "+inf", "infinity",
];
/// The largest integers up to which a float has all, and prints them as they are.
const EXACT_MAX: i64 = 1 << 53;

/// Counts what the values of each series look like.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    tallies: Vec<Tally>,
}

#[derive(Debug, Default, Clone)]
struct Tally {
    flags: u64,
    numbers: u64,
    /// Of these, integers that a float would print otherwise, or that are such by their type.
    integers: u64,
    /// Of these, others than integers.
    fractions: u64,
    others: u64,
}

impl Survey {
    /// Settles the kind of each series that is not settled, as far as its values tell it.
    pub(crate) fn settle(&self, entries: &mut [SeriesEntry], is_wide: bool) {
        for (entry, tally) in entries.iter_mut().zip(&self.tallies) {
            if entry.is_settled {
                continue;
            }
            if let Some(kind) = tally.kind(is_wide) {
                entry.settle(kind);
            }
        }
    }
}

impl Sink for Survey {
    fn cell(&mut self, _: Place<'_>, series: usize, _: Timestamp, cell: Cell<'_>) {
        if self.tallies.len() <= series {
            self.tallies.resize(series + 1, Tally::default());
        }
        self.tallies[series].add(&cell);
    }

    /// Problems are reported when the file is read for its values.
    fn problem(&mut self, _: Place<'_>, _: String) {}
}

impl Tally {
    fn add(&mut self, cell: &Cell<'_>) {
        match cell {
            Cell::Text(text) => self.add_text(text),
            Cell::Value(Value::F64(_)) => {
                self.numbers += 1;
                self.fractions += 1;
            }
            // By its type a column of a Parquet file holds integers whatever their size.
            Cell::Value(Value::I64(_)) => {
                self.numbers += 1;
                self.integers += 1;
            }
            Cell::Value(Value::Bool(_)) => self.flags += 1,
            Cell::Value(Value::Text(_)) => self.others += 1,
        }
    }

    fn add_text(&mut self, text: &str) {
        let trimmed = text.trim();
        if trimmed.is_empty() || MISSING.contains(&trimmed.to_ascii_lowercase().as_str()) {
            // It tells nothing.
        } else if let Ok(integer) = trimmed.parse::<i64>() {
            self.numbers += 1;
            self.integers += u64::from(!is_printed_by_float(integer));
            // An integer has no negative zero.
            self.fractions += u64::from(trimmed.starts_with("-0"));
        } else if trimmed == "true" || trimmed == "false" {
            self.flags += 1;
        } else if trimmed.parse::<f64>().is_ok() {
            self.numbers += 1;
            self.fractions += 1;
        } else {
            self.others += 1;
        }
    }

    fn kind(&self, is_wide: bool) -> Option<Kind> {
        let number = if self.integers > 0 && self.fractions == 0 {
            Kind::I64
        } else {
            Kind::F64
        };
        let told = self.flags + self.numbers + self.others;
        if is_wide && told == 0 {
            return None;
        }
        if is_wide && self.numbers > 0 && self.numbers * 2 >= told {
            return Some(number);
        }
        Some(match (self.flags, self.numbers, self.others) {
            (0, 1.., 0) => number,
            (1.., 0, 0) => Kind::Bool,
            _ => Kind::Text,
        })
    }
}

/// The value of `cell` for a series of `kind`.
///
/// # Errors
/// Why it is none, for a person.
pub(crate) fn value_of(cell: Cell<'_>, kind: Kind) -> Result<Value, String> {
    let value = match cell {
        Cell::Text(text) => return Value::parse(text, kind).map_err(|error| error.to_string()),
        Cell::Value(value) => value,
    };
    let value = match (value, kind) {
        (value, kind) if value.kind() == kind => value,
        (Value::I64(integer), Kind::F64) if is_exact(integer) => Value::F64(nearest(integer)),
        (Value::Text(text), kind) => {
            return Value::parse(&text, kind).map_err(|error| error.to_string());
        }
        (value, Kind::Text) => Value::Text(value.to_string()),
        (value, kind) => return Err(format!("{value} is not a value of kind {kind}")),
    };
    value.check().map_err(|error| error.to_string())?;
    Ok(value)
}

/// Whether a float with the value of `integer` prints the same digits. From 1e17 on floats are printed
/// with an exponent, so that such digits were an integer's.
fn is_printed_by_float(integer: i64) -> bool {
    (-EXACT_MAX..=EXACT_MAX).contains(&integer)
        || Value::F64(nearest(integer)).to_string() == integer.to_string()
}

/// Whether there is a float with the value of `integer`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a float that comes from 64 bits is whole, and fits twice as many"
)]
fn is_exact(integer: i64) -> bool {
    nearest(integer) as i128 == i128::from(integer)
}

/// The float that is nearest to `integer`.
#[expect(
    clippy::cast_precision_loss,
    reason = "whether digits are lost is asked apart"
)]
fn nearest(integer: i64) -> f64 {
    integer as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(values: &[&str], is_wide: bool) -> Option<Kind> {
        let mut tally = Tally::default();
        for value in values {
            tally.add(&Cell::Text(value));
        }
        tally.kind(is_wide)
    }

    #[test]
    fn a_series_of_readings_gets_the_kind_that_prints_its_values_again() {
        let cases: [(&[&str], Kind); 17] = [
            (&["true", "false"], Kind::Bool),
            (&["1", "2.5"], Kind::F64),
            (&["1", "2"], Kind::F64),
            (&["9007199254740992"], Kind::F64),
            (&["9007199254740993"], Kind::I64),
            (&["9007199254740994"], Kind::F64),
            (&["10000000000000000", "-3"], Kind::F64),
            // The float 99999999999999984, as it prints.
            (&["99999999999999980"], Kind::F64),
            (&["99999999999999984"], Kind::I64),
            (&["100000000000000000"], Kind::I64),
            (&["-9223372036854775808", "7"], Kind::I64),
            (&["9007199254740993", "0.5"], Kind::F64),
            (&["9007199254740993", "-0"], Kind::F64),
            (&["1e300", "NaN"], Kind::F64),
            (&["1", "open"], Kind::Text),
            (&["true", "1"], Kind::Text),
            (&["", ""], Kind::Text),
        ];
        for (values, expected) in cases {
            assert_eq!(kind(values, false), Some(expected), "{values:?}");
        }
    }

    #[test]
    fn a_column_is_a_number_when_half_of_its_values_are() {
        assert_eq!(kind(&["1", "broken"], true), Some(Kind::F64));
        assert_eq!(kind(&["1", "broken", "open"], true), Some(Kind::Text));
        assert_eq!(kind(&["NaN", "n/a"], true), None);
    }

    #[test]
    fn a_value_of_another_kind_is_taken_only_if_nothing_is_lost() {
        let convert = |value, kind| value_of(Cell::Value(value), kind);
        assert_eq!(
            convert(Value::I64(EXACT_MAX), Kind::F64),
            Ok(Value::F64(9_007_199_254_740_992.0))
        );
        assert!(convert(Value::I64(EXACT_MAX + 1), Kind::F64).is_err());
        assert_eq!(
            convert(Value::I64(EXACT_MAX + 2), Kind::F64),
            Ok(Value::F64(9_007_199_254_740_994.0))
        );
        assert!(convert(Value::I64(i64::MAX), Kind::F64).is_err());
        assert!(convert(Value::I64(i64::MIN), Kind::F64).is_ok());
        assert_eq!(
            convert(Value::Bool(true), Kind::Text),
            Ok(Value::Text("true".to_owned()))
        );
        assert_eq!(
            convert(Value::Text("7".to_owned()), Kind::I64),
            Ok(Value::I64(7))
        );
        assert!(convert(Value::F64(1.5), Kind::I64).is_err());
        assert!(convert(Value::F64(f64::NAN), Kind::F64).is_err());
    }

    proptest! {
        #[test]
        fn whole_numbers_of_a_float_series_are_never_taken_for_integers(number in -1e17..1e17_f64) {
            let text = Value::F64(number.round()).to_string();
            prop_assert_eq!(kind(&[&text], false), Some(Kind::F64), "{}", text);
        }
    }
}
