//! The words of a question: aggregates, consistency, and the token of a write.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration::{format_duration, parse_duration};
use crate::path::shortened;
use crate::statistics::Statistics;
use crate::value::Value;

/// How the readings of a bucket become one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
}

/// A word of a question that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Not an aggregate.
    #[error("{text:?} is not an aggregate: use mean, min, max, sum, count, first or last")]
    UnknownAggregate {
        /// The refused text.
        text: String,
    },
    /// Not a consistency level.
    #[error(
        "{text:?} is not a consistency: use any, max-staleness=DURATION, at-least=TOKEN or linearizable"
    )]
    UnknownConsistency {
        /// The refused text.
        text: String,
    },
    /// Not a token.
    #[error("{text:?} is not a token: pass one as `put` printed it, such as 0-1234")]
    BadToken {
        /// The refused text.
        text: String,
    },
}

impl Aggregate {
    /// Every aggregate, in the order help lists them.
    pub const ALL: [Self; 7] = [
        Self::Mean,
        Self::Min,
        Self::Max,
        Self::Sum,
        Self::Count,
        Self::First,
        Self::Last,
    ];

    /// The aggregate's name on a command line, in a URL and as a column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::First => "first",
            Self::Last => "last",
        }
    }

    /// The aggregate of a run of readings. `None` where text has none.
    ///
    /// Min, max, first and last keep the series' kind; mean is `f64`; a sum of integers is `i64`
    /// while it fits, `f64` beyond.
    pub fn of(self, statistics: &Statistics) -> Option<Value> {
        use crate::statistics::Sum;
        match self {
            Self::Mean => statistics.mean().map(Value::F64),
            Self::Min => statistics.min.clone(),
            Self::Max => statistics.max.clone(),
            Self::Sum => match statistics.sum {
                Sum::I64(sum) => match i64::try_from(sum) {
                    Ok(sum) => Some(Value::I64(sum)),
                    Err(_) => statistics.sum.as_f64().map(Value::F64),
                },
                sum => sum.as_f64().map(Value::F64),
            },
            Self::Count => i64::try_from(statistics.count).ok().map(Value::I64),
            Self::First => Some(statistics.first.value.clone()),
            Self::Last => Some(statistics.last.value.clone()),
        }
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Aggregate {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        Self::ALL
            .into_iter()
            .find(|aggregate| aggregate.as_str() == text)
            .ok_or_else(|| QueryError::UnknownAggregate {
                text: shortened(text),
            })
    }
}

/// Names the position of a committed write: a read at least as late as it sees the write.
///
/// Printed as `SHARD-INDEX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token {
    /// The shard whose log holds the write.
    pub shard: u32,
    /// The write's index in that log.
    pub index: u64,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.shard, self.index)
    }
}

impl FromStr for Token {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        let parts = text.split_once('-');
        parts
            .and_then(|(shard, index)| {
                Some(Self {
                    shard: shard.parse().ok()?,
                    index: index.parse().ok()?,
                })
            })
            .ok_or_else(|| QueryError::BadToken {
                text: shortened(text),
            })
    }
}

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Consistency {
    /// The replica as it stands.
    #[default]
    Any,
    /// The replica must have heard a leader's commit within this time.
    MaxStaleness(Duration),
    /// The replica must have applied the write this token names; it waits, bounded.
    AtLeast(Token),
    /// Everything acknowledged before the question was asked is seen.
    Linearizable,
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::MaxStaleness(bound) => write!(f, "max-staleness={}", format_duration(*bound)),
            Self::AtLeast(token) => write!(f, "at-least={token}"),
            Self::Linearizable => f.write_str("linearizable"),
        }
    }
}

impl FromStr for Consistency {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        let refused = || QueryError::UnknownConsistency {
            text: shortened(text),
        };
        match text.split_once('=') {
            None if text == "any" => Ok(Self::Any),
            None if text == "linearizable" => Ok(Self::Linearizable),
            Some(("max-staleness", bound)) => parse_duration(bound)
                .map(Self::MaxStaleness)
                .map_err(|_| refused()),
            Some(("at-least", token)) => token.parse().map(Self::AtLeast),
            _ => Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_consistency_reads_back_as_printed() {
        for text in ["any", "max-staleness=5s", "at-least=0-42", "linearizable"] {
            assert_eq!(text.parse::<Consistency>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "all",
            "max-staleness",
            "max-staleness=5",
            "at-least=42",
            "any=1",
        ] {
            assert!(bad.parse::<Consistency>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn every_aggregate_reads_back_as_printed() {
        for aggregate in Aggregate::ALL {
            assert_eq!(aggregate.as_str().parse(), Ok(aggregate));
        }
        assert!("median".parse::<Aggregate>().is_err());
    }
}
