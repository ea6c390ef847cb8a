//! What a series is besides its readings: unit, attributes, and its short name in a cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::attributes::Attributes;
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

/// What a series is. Path and kind are fixed at its first use; unit and attributes are filled in later
/// where they lack, and changed by [`DescriptionChange`].
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

/// A change of what a series is besides its path and kind: a merge patch (RFC 7396).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescriptionChange {
    /// Its unit from now on, empty for none; `None` leaves it as it is.
    #[serde(default)]
    pub unit: Option<Unit>,
    /// Attributes that get a value, or none any more; others stay.
    #[serde(default)]
    pub attributes: BTreeMap<String, Option<String>>,
}

impl DescriptionChange {
    /// What `series` is after this change.
    ///
    /// # Errors
    /// [`UnitError::BadAttribute`] if it would break a bound.
    pub fn applied_to(&self, series: &SeriesDescription) -> Result<SeriesDescription, UnitError> {
        let mut changed = series.clone();
        if let Some(unit) = &self.unit {
            changed.unit = unit.clone();
        }
        for (key, value) in &self.attributes {
            match value {
                Some(value) => changed.attributes.insert(key.clone(), value.clone()),
                None => changed.attributes.remove(key),
            };
        }
        changed.check()?;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_sets_and_unsets_what_it_names_and_leaves_the_rest() {
        let mut series = SeriesDescription::new(SeriesPath::new("a").unwrap(), Kind::F64);
        series.attributes = [("line", "1"), ("floor", "2")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let change = DescriptionChange {
            unit: Some(Unit::new("Cel").unwrap()),
            attributes: [
                ("line".to_owned(), None),
                ("hall".to_owned(), Some("3".to_owned())),
                ("absent".to_owned(), None),
            ]
            .into(),
        };
        let changed = change.applied_to(&series).unwrap();
        assert_eq!(changed.unit.as_str(), "Cel");
        let keys: Vec<&str> = changed.attributes.keys().map(String::as_str).collect();
        assert_eq!(keys, ["floor", "hall"]);
        let none = DescriptionChange::default();
        assert_eq!(none.applied_to(&changed), Ok(changed));
    }

    #[test]
    fn the_last_attribute_that_fits_is_set_and_one_more_refused() {
        let series = SeriesDescription::new(SeriesPath::new("a").unwrap(), Kind::F64);
        let of = |count: usize| DescriptionChange {
            unit: None,
            attributes: (0..count)
                .map(|n| (format!("k{n:02}"), Some("v".to_owned())))
                .collect(),
        };
        assert!(of(ATTRIBUTES_MAX).applied_to(&series).is_ok());
        assert!(of(ATTRIBUTES_MAX + 1).applied_to(&series).is_err());
    }

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
