//! The words of a question: consistency, and the token of a write.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration::{format_duration, parse_duration};
use crate::path::shortened;

/// A word of a question that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
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
}
