//! Which readings are looked at, by their values: `value > 80 and value <= 95.5`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::columns::{Columns, Values};
use crate::path::shortened;
use crate::statistics::Statistics;
use crate::value::Value;

mod parse;

/// Most comparisons of a filter.
pub const COMPARISONS_MAX: usize = 8;

/// Lets a reading through if all its comparisons hold.
///
/// A number is compared with `f64` and `i64` series, exactly; a flag with `bool`, a text in quotes with
/// `text`. With a series of another kind a comparison never holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filter {
    comparisons: Vec<Comparison>,
}

#[derive(Debug, Clone, PartialEq)]
struct Comparison {
    operator: Operator,
    operand: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    AtMost,
    Equal,
    NotEqual,
    AtLeast,
    Greater,
}

/// Why a text is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a filter: {reason}")]
pub struct FilterError {
    /// The refused text.
    pub text: String,
    /// What is wrong with it and what to write instead.
    pub reason: &'static str,
}

/// What statistics tell of the readings that a filter lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All of them.
    All,
    /// None of them.
    None,
    /// Each must be looked at.
    Unsure,
}

impl Filter {
    /// Whether a reading of this value is let through.
    pub fn matches(&self, value: &Value) -> bool {
        self.comparisons
            .iter()
            .all(|comparison| comparison.holds(value))
    }

    /// The readings of `columns` from `from` (inclusive) to `to` (exclusive) that are let through, in
    /// their order.
    ///
    /// # Panics
    /// When the bounds lie outside the columns.
    pub fn keep(&self, columns: &Columns, from: usize, to: usize) -> Columns {
        let mut kept = Columns::empty(columns.kind());
        let mut at = from;
        while at < to {
            let end = at + self.run(&columns.values, at, to, true);
            kept.extend_from(columns, at, end);
            at = end + self.run(&columns.values, end, to, false);
        }
        kept
    }

    /// How many values from `from` on, at most to `to`, are let through (or not).
    fn run(&self, values: &Values, from: usize, to: usize, wanted: bool) -> usize {
        let is_as_wanted = |at: &usize| match values {
            Values::F64(values) => self.matches(&Value::F64(values[*at])) == wanted,
            Values::I64(values) => self.matches(&Value::I64(values[*at])) == wanted,
            Values::Bool(values) => self.matches(&Value::Bool(values[*at])) == wanted,
            Values::Text(values) => self.lets_text(&values[*at]) == wanted,
        };
        (from..to).take_while(is_as_wanted).count()
    }

    fn lets_text(&self, text: &str) -> bool {
        self.comparisons.iter().all(|comparison| {
            matches!(&comparison.operand, Value::Text(operand)
                if comparison.operator.allows(text.cmp(operand.as_str())))
        })
    }

    /// What `statistics` tell without a look at the readings.
    pub fn verdict(&self, statistics: &Statistics) -> Verdict {
        let (Some(min), Some(max)) = (&statistics.min, &statistics.max) else {
            return Verdict::Unsure;
        };
        let verdicts = self
            .comparisons
            .iter()
            .map(|comparison| comparison.verdict(min, max));
        verdicts.fold(Verdict::All, |all, one| match (all, one) {
            (Verdict::None, _) | (_, Verdict::None) => Verdict::None,
            (Verdict::All, Verdict::All) => Verdict::All,
            _ => Verdict::Unsure,
        })
    }
}

impl Comparison {
    fn holds(&self, value: &Value) -> bool {
        compare(value, &self.operand).is_some_and(|ordering| self.operator.allows(ordering))
    }

    fn verdict(&self, min: &Value, max: &Value) -> Verdict {
        let (Some(low), Some(high)) = (compare(min, &self.operand), compare(max, &self.operand))
        else {
            return Verdict::None;
        };
        // Of the values between the two, some may compare in any way between theirs.
        let between = [Ordering::Less, Ordering::Equal, Ordering::Greater];
        let mut met = between
            .into_iter()
            .filter(|ordering| low <= *ordering && *ordering <= high);
        let allowed: Vec<bool> = met
            .by_ref()
            .map(|ordering| self.operator.allows(ordering))
            .collect();
        match (allowed.contains(&true), allowed.contains(&false)) {
            (true, false) => Verdict::All,
            (false, true) => Verdict::None,
            _ => Verdict::Unsure,
        }
    }
}

impl Operator {
    const ALL: [Self; 6] = [
        Self::AtMost,
        Self::AtLeast,
        Self::NotEqual,
        Self::Less,
        Self::Greater,
        Self::Equal,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::AtLeast => ">=",
            Self::Greater => ">",
        }
    }

    const fn allows(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::AtLeast => ordering.is_ge(),
            Self::Greater => ordering.is_gt(),
        }
    }
}

/// How two values of comparable kinds compare, as numbers: 0 is -0. `None` for other kinds.
fn compare(value: &Value, operand: &Value) -> Option<Ordering> {
    match (value, operand) {
        (Value::F64(a), Value::F64(b)) => a.partial_cmp(b),
        (Value::I64(a), Value::I64(b)) => Some(a.cmp(b)),
        (Value::I64(a), Value::F64(b)) => integer_with_float(*a, *b),
        (Value::F64(a), Value::I64(b)) => integer_with_float(*b, *a).map(Ordering::reverse),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Exact also where a float cannot say the integer.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what has no 64 bits is looked at before"
)]
fn integer_with_float(integer: i64, float: f64) -> Option<Ordering> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        return None;
    }
    if float >= BEYOND {
        return Some(Ordering::Less);
    }
    if float < -BEYOND {
        return Some(Ordering::Greater);
    }
    let whole = float.trunc();
    let by_whole = integer.cmp(&(whole as i64));
    Some(by_whole.then_with(|| {
        let fraction = 0.0_f64.partial_cmp(&(float - whole));
        fraction.unwrap_or(Ordering::Equal)
    }))
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, comparison) in self.comparisons.iter().enumerate() {
            if position > 0 {
                f.write_str(" and ")?;
            }
            write!(f, "value {} ", comparison.operator.as_str())?;
            match &comparison.operand {
                Value::Text(text) => write!(f, "'{}'", text.replace('\'', "''"))?,
                // Kept apart from an integer, which compares alike but is another filter.
                Value::F64(number) if number.fract() == 0.0 && number.abs() < 1e16 => {
                    write!(f, "{number:.1}")?;
                }
                operand => write!(f, "{operand}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        parse::filter(text).map_err(|reason| FilterError {
            text: shortened(text),
            reason,
        })
    }
}

impl TryFrom<String> for Filter {
    type Error = FilterError;

    fn try_from(text: String) -> Result<Self, FilterError> {
        text.parse()
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        filter.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(text: &str) -> Filter {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_compared_exactly_whatever_their_kind() {
        let above = filter("value > 9007199254740992");
        assert!(above.matches(&Value::I64(9_007_199_254_740_993)));
        assert!(!above.matches(&Value::F64(9_007_199_254_740_992.0)));
        let half = filter("value >= 0.5");
        assert!(half.matches(&Value::I64(1)) && !half.matches(&Value::I64(0)));
        assert!(half.matches(&Value::F64(0.5)));
        let beyond = filter("value < 1e300 and value > -1e300");
        assert!(beyond.matches(&Value::I64(i64::MAX)) && beyond.matches(&Value::I64(i64::MIN)));
        assert!(filter("value = 0").matches(&Value::F64(-0.0)));
        let negative = filter("value > -1.5");
        assert!(negative.matches(&Value::I64(-1)) && !negative.matches(&Value::I64(-2)));
    }

    #[test]
    fn a_series_of_another_kind_has_nothing_that_matches() {
        for text in ["value != 1", "value != true", "value != 'a'"] {
            let matching = [
                Value::F64(7.0),
                Value::I64(7),
                Value::Bool(false),
                Value::Text("b".into()),
            ]
            .iter()
            .filter(|value| filter(text).matches(value))
            .count();
            assert_eq!(matching, if text.ends_with("1") { 2 } else { 1 }, "{text}");
        }
    }

    fn operand() -> impl Strategy<Value = String> {
        prop_oneof![
            (-5_i64..5).prop_map(|n| n.to_string()),
            (-10_i32..10).prop_map(|n| format!("{:?}", f64::from(n) / 4.0)),
            any::<i64>().prop_map(|n| n.to_string()),
        ]
    }

    proptest! {
        #[test]
        fn what_statistics_tell_is_what_a_look_at_each_gives(
            values in prop::collection::vec(-5_i64..5, 1..8),
            operator in prop::sample::select(vec!["<", "<=", "=", "!=", ">=", ">"]),
            operand in operand(),
            as_floats in any::<bool>(),
        ) {
            let filter = filter(&format!("value {operator} {operand}"));
            let times = (0..).take(values.len()).collect();
            let values = if as_floats {
                Values::F64(values.iter().map(|value| *value as f64).collect())
            } else {
                Values::I64(values)
            };
            let columns = Columns { times, values };
            let kept = filter.keep(&columns, 0, columns.len());
            let expected = columns.readings().filter(|reading| filter.matches(&reading.value));
            prop_assert!(kept.readings().eq(expected));
            match filter.verdict(&Statistics::of_columns(&columns).unwrap()) {
                Verdict::All => prop_assert_eq!(kept.len(), columns.len()),
                Verdict::None => prop_assert!(kept.is_empty()),
                Verdict::Unsure => {}
            }
        }
    }
}
