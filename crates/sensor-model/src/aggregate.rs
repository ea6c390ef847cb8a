//! How the readings of a bucket become one value.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::path::shortened;
use crate::statistics::{Statistics, Sum};
use crate::value::Value;

/// How the readings of a bucket become one value. A flag counts as 0 or 1.
///
/// [`Rate`](Self::Rate), [`Increase`](Self::Increase) and [`Delta`](Self::Delta) look at pairs of
/// consecutive readings of one series; a pair belongs to the bucket of its later reading, and the
/// reading before the range makes a pair too. They are missing where a bucket has no pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Aggregate {
    /// Arithmetic mean of the values.
    Mean,
    /// Smallest value.
    Min,
    /// Largest value.
    Max,
    /// Sum of the values.
    Sum,
    /// Number of readings.
    Count,
    /// Value of the earliest reading.
    First,
    /// Value of the latest reading.
    Last,
    /// Standard deviation of a sample (divided by one less than the count); missing for one value.
    Stddev,
    /// The value that so much of all values are at most, between two values on the line between them.
    Percentile(Percentile),
    /// [`Increase`](Self::Increase) a second, over the time from the first reading of the first pair to
    /// the last of the last.
    Rate,
    /// How much a counter grew. Where it fell it began again at zero.
    Increase,
    /// How much a value changed, up or down.
    Delta,
    /// Mean weighted by time: a value counts until the next one comes.
    TimeWeightedMean,
}

/// A share of all values, in thousandths of a percent: at most 100,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percentile(u32);

/// Not an aggregate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an aggregate: use mean, min, max, sum, count, first, last, stddev, pNN (such as p95 or p99.9), rate, increase, delta or twa"
)]
pub struct AggregateError {
    /// The refused text.
    pub text: String,
}

const PERCENT: u32 = 1_000;

impl Percentile {
    /// The percentile of so many thousandths of a percent; `None` above 100 %.
    pub const fn new(thousandths: u32) -> Option<Self> {
        if thousandths <= 100 * PERCENT {
            Some(Self(thousandths))
        } else {
            None
        }
    }

    /// The share, from 0 to 1.
    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(100 * PERCENT)
    }

    /// Reads `95` or `99.9`: at most three decimals.
    fn parse(text: &str) -> Option<Self> {
        const DECIMALS_MAX: usize = 3;
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) || decimals.len() > DECIMALS_MAX {
            return None;
        }
        let whole: u32 = whole.parse().ok()?;
        let thousandths: u32 = format!("{decimals:0<DECIMALS_MAX$}").parse().ok()?;
        Self::new(whole.checked_mul(PERCENT)?.checked_add(thousandths)?)
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / PERCENT, self.0 % PERCENT);
        if decimals == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{decimals:03}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

impl Aggregate {
    /// Every aggregate that has a name of its own, in the order help lists them.
    pub const NAMED: [Self; 12] = [
        Self::Mean,
        Self::Min,
        Self::Max,
        Self::Sum,
        Self::Count,
        Self::First,
        Self::Last,
        Self::Stddev,
        Self::Rate,
        Self::Increase,
        Self::Delta,
        Self::TimeWeightedMean,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::First => "first",
            Self::Last => "last",
            Self::Stddev => "stddev",
            Self::Percentile(_) => "p",
            Self::Rate => "rate",
            Self::Increase => "increase",
            Self::Delta => "delta",
            Self::TimeWeightedMean => "twa",
        }
    }

    /// The aggregate of a run of readings as far as statistics tell it: `None` for those that need
    /// the readings themselves, and where text has none.
    ///
    /// Min, max, first and last keep the series' kind; mean is `f64`; a sum of integers is `i64`
    /// while it fits, `f64` beyond.
    pub fn of(self, statistics: &Statistics) -> Option<Value> {
        match self {
            Self::Mean => statistics.mean().map(Value::F64),
            Self::Min => statistics.min.clone(),
            Self::Max => statistics.max.clone(),
            Self::Sum => statistics.sum.value(),
            Self::Count => Sum::I64(statistics.count.into()).value(),
            Self::First => Some(statistics.first.value.clone()),
            Self::Last => Some(statistics.last.value.clone()),
            Self::Stddev
            | Self::Percentile(_)
            | Self::Rate
            | Self::Increase
            | Self::Delta
            | Self::TimeWeightedMean => None,
        }
    }
}

impl fmt::Display for Aggregate {
    /// The aggregate's name on a command line, in a URL and as a column.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Percentile(percentile) => percentile.fmt(f),
            _ => Ok(()),
        }
    }
}

impl FromStr for Aggregate {
    type Err = AggregateError;

    fn from_str(text: &str) -> Result<Self, AggregateError> {
        let named = Self::NAMED.into_iter().find(|known| known.name() == text);
        let percentile = || text.strip_prefix('p').and_then(Percentile::parse);
        named
            .or_else(|| percentile().map(Self::Percentile))
            .ok_or_else(|| AggregateError {
                text: shortened(text),
            })
    }
}

impl TryFrom<String> for Aggregate {
    type Error = AggregateError;

    fn try_from(text: String) -> Result<Self, AggregateError> {
        text.parse()
    }
}

impl From<Aggregate> for String {
    fn from(aggregate: Aggregate) -> Self {
        aggregate.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_aggregate_reads_back_as_printed() {
        for aggregate in Aggregate::NAMED {
            assert_eq!(aggregate.to_string().parse(), Ok(aggregate));
        }
        for text in ["p0", "p5", "p50", "p99.9", "p99.999", "p100"] {
            assert_eq!(text.parse::<Aggregate>().unwrap().to_string(), text);
        }
        assert_eq!("p99.90".parse::<Aggregate>(), "p99.9".parse());
    }

    #[test]
    fn what_is_no_aggregate_is_refused() {
        for bad in [
            "median",
            "p",
            "P50",
            "p101",
            "p100.001",
            "p50.",
            "p.5",
            "p1.2345",
            "p-1",
            "p5%",
            "",
            "p99999999999",
        ] {
            assert!(bad.parse::<Aggregate>().is_err(), "{bad:?} was accepted");
        }
    }
}
