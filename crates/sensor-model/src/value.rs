//! A reading's value and its kind.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Longest text value, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;

/// What a series' values are. Fixed at the series' first use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A finite 64-bit float.
    F64,
    /// A signed 64-bit integer.
    I64,
    /// True or false.
    Bool,
    /// UTF-8 text of at most [`TEXT_BYTES_MAX`] bytes.
    Text,
}

impl Kind {
    /// The kind as it is written everywhere: `f64`, `i64`, `bool` or `text`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::I64 => "i64",
            Self::Bool => "bool",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "f64" => Ok(Self::F64),
            "i64" => Ok(Self::I64),
            "bool" => Ok(Self::Bool),
            "text" => Ok(Self::Text),
            other => Err(ValueError::UnknownKind {
                text: crate::path::shortened(other),
            }),
        }
    }
}

/// One value of a reading. Two values are equal when their bits are: `0.0` is not `-0.0`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A signed 64-bit integer.
    I64(i64),
    /// A finite 64-bit float.
    F64(f64),
    /// UTF-8 text.
    Text(String),
}

/// Why a value was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// NaN or an infinity.
    #[error("{text} is not a finite number: NaN and infinities are not stored")]
    NotFinite {
        /// The value as text.
        text: String,
    },
    /// Text longer than [`TEXT_BYTES_MAX`].
    #[error("text of {bytes} bytes is too long: at most {TEXT_BYTES_MAX} are allowed")]
    TextTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The text cannot be read as the kind asked for.
    #[error("{text:?} is not a value of kind {kind}")]
    NotOfKind {
        /// The refused text.
        text: String,
        /// The kind asked for.
        kind: Kind,
    },
    /// Not one of the four kinds.
    #[error("{text:?} is not a kind: use f64, i64, bool or text")]
    UnknownKind {
        /// The refused text.
        text: String,
    },
}

impl Value {
    /// The value's kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Bool(_) => Kind::Bool,
            Self::I64(_) => Kind::I64,
            Self::F64(_) => Kind::F64,
            Self::Text(_) => Kind::Text,
        }
    }

    /// Checks what every stored value must satisfy: finite, and text not too long.
    ///
    /// # Errors
    /// [`ValueError::NotFinite`] or [`ValueError::TextTooLong`].
    pub fn check(&self) -> Result<(), ValueError> {
        match self {
            Self::F64(number) if !number.is_finite() => Err(ValueError::NotFinite {
                text: number.to_string(),
            }),
            Self::Text(text) if text.len() > TEXT_BYTES_MAX => {
                Err(ValueError::TextTooLong { bytes: text.len() })
            }
            _ => Ok(()),
        }
    }

    /// Reads `text` as a value of `kind`.
    ///
    /// # Errors
    /// [`ValueError`] when it is not of that kind, not finite or too long.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, ValueError> {
        let refused = || ValueError::NotOfKind {
            text: crate::path::shortened(text),
            kind,
        };
        let value = match kind {
            Kind::F64 => Self::F64(text.trim().parse().map_err(|_| refused())?),
            Kind::I64 => Self::I64(text.trim().parse().map_err(|_| refused())?),
            Kind::Bool => match text.trim() {
                "true" => Self::Bool(true),
                "false" => Self::Bool(false),
                _ => return Err(refused()),
            },
            Kind::Text => Self::Text(text.to_owned()),
        };
        value.check()?;
        Ok(value)
    }

    /// The value as a number for arithmetic: `true` is 1. `None` for text.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a mean of large integers is a float by nature"
    )]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::F64(number) => Some(*number),
            Self::I64(number) => Some(*number as f64),
            Self::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Self::Text(_) => None,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::F64(a), Self::F64(b)) => a.to_bits() == b.to_bits(),
            (Self::I64(a), Self::I64(b)) => a == b,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Value {
    /// Writes the shortest text that reads back to the same bits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F64(number) => fmt_f64(*number, f),
            Self::I64(number) => write!(f, "{number}"),
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Plain digits for everyday magnitudes, an exponent for the rest; always the shortest that reads
/// back to the same bits.
fn fmt_f64(number: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-7..1e17).contains(&magnitude) {
        write!(f, "{number:e}")
    } else {
        write!(f, "{number}")
    }
}

/// One value of one series at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// When it was taken.
    pub timestamp: Timestamp,
    /// What was read.
    pub value: Value,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nan_and_infinities_are_refused() {
        for text in ["NaN", "inf", "-inf"] {
            let refused = Value::parse(text, Kind::F64).unwrap_err();
            assert!(matches!(refused, ValueError::NotFinite { .. }), "{refused}");
        }
    }

    #[test]
    fn text_of_1024_bytes_is_allowed_and_of_1025_is_not() {
        assert!(Value::Text("x".repeat(TEXT_BYTES_MAX)).check().is_ok());
        assert!(Value::Text("x".repeat(TEXT_BYTES_MAX + 1)).check().is_err());
    }

    proptest! {
        #[test]
        fn floats_print_so_that_they_read_back_to_the_same_bits(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            let text = Value::F64(number).to_string();
            prop_assert_eq!(Value::parse(&text, Kind::F64).unwrap(), Value::F64(number));
        }
    }
}
