//! What a series is besides its readings: unit, attributes, and its short name in a cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::path::{SeriesPath, shortened};
use crate::value::Kind;

/// A series' number in one cluster, assigned in order by the replicated state. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeriesId(pub u64);

/// Longest unit, in bytes.
pub const UNIT_BYTES_MAX: usize = 32;
/// Most attributes of one series.
pub const ATTRIBUTES_MAX: usize = 32;
/// Longest attribute key or value, in bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 256;

/// A unit of measure in UCUM notation, such as `Cel`, `Pa` or `%`. Empty when unknown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Unit(String);

/// Free `key=value` pairs that describe a series, ordered by key.
pub type Attributes = BTreeMap<String, String>;

/// Why a unit or an attribute was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The unit has a space or a control character, is not ASCII or is too long.
    #[error(
        "unit {text:?} is not valid: write a UCUM code such as Cel, Pa or %, at most {UNIT_BYTES_MAX} characters without spaces"
    )]
    BadUnit {
        /// The refused text.
        text: String,
    },
    /// Too many attributes, or one that is empty or too long.
    #[error(
        "attribute {key:?} is not valid: at most {ATTRIBUTES_MAX} attributes, each key and value 1 to {ATTRIBUTE_BYTES_MAX} bytes"
    )]
    BadAttribute {
        /// The key at fault.
        key: String,
    },
}

impl Unit {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`UnitError::BadUnit`] naming the text.
    pub fn new(text: impl Into<String>) -> Result<Self, UnitError> {
        let text = text.into();
        if text.len() <= UNIT_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text))
        } else {
            Err(UnitError::BadUnit {
                text: shortened(&text),
            })
        }
    }

    /// The unit as text; empty when unknown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Unit {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Unit {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, UnitError> {
        Self::new(text)
    }
}

impl From<Unit> for String {
    fn from(unit: Unit) -> Self {
        unit.0
    }
}

/// What a series is: fixed at its first use, but for attributes and unit, which may be filled in later.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesDescription {
    /// Its name.
    pub path: SeriesPath,
    /// The kind of all its values.
    pub kind: Kind,
    /// Its unit; empty when unknown.
    #[serde(default)]
    pub unit: Unit,
    /// Free attributes.
    #[serde(default)]
    pub attributes: Attributes,
}

impl SeriesDescription {
    /// A series of `kind` at `path`, without unit or attributes.
    pub fn new(path: SeriesPath, kind: Kind) -> Self {
        Self {
            path,
            kind,
            unit: Unit::default(),
            attributes: Attributes::new(),
        }
    }

    /// Checks the bounds on attributes; the other fields check themselves.
    ///
    /// # Errors
    /// [`UnitError::BadAttribute`] naming the key.
    pub fn check(&self) -> Result<(), UnitError> {
        let sized = |text: &str| (1..=ATTRIBUTE_BYTES_MAX).contains(&text.len());
        for (position, (key, value)) in self.attributes.iter().enumerate() {
            if position >= ATTRIBUTES_MAX || !sized(key) || !sized(value) {
                return Err(UnitError::BadAttribute {
                    key: shortened(key),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_of_32_characters_is_allowed_and_of_33_is_not() {
        assert!(Unit::new("x".repeat(UNIT_BYTES_MAX)).is_ok());
        assert!(Unit::new("x".repeat(UNIT_BYTES_MAX + 1)).is_err());
        assert!(Unit::new("m s").is_err());
        assert!(Unit::new("").is_ok());
    }

    #[test]
    fn thirty_two_attributes_are_allowed_and_thirty_three_are_not() {
        let mut series = SeriesDescription::new(SeriesPath::new("a").unwrap(), Kind::F64);
        series.attributes = (0..ATTRIBUTES_MAX)
            .map(|n| (format!("k{n:02}"), "v".into()))
            .collect();
        assert!(series.check().is_ok());
        series.attributes.insert("one-more".into(), "v".into());
        assert!(series.check().is_err());
    }
}
