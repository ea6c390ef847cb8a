//! By what series are grouped.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::path::{SEGMENTS_MAX, shortened};
use crate::series::{ATTRIBUTE_BYTES_MAX, SeriesDescription};

/// A property of a series; those that share it are of one group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum GroupKey {
    /// A segment of its path, counted from 1.
    Segment(usize),
    /// One of its attributes.
    Attribute(String),
}

/// Not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not what series can be grouped by: write the number of a segment of their paths, from 1 to {SEGMENTS_MAX}, or attr:NAME"
)]
pub struct GroupKeyError {
    /// The refused text.
    pub text: String,
}

impl GroupKey {
    /// What `series` has there; `None` if its path is shorter, or it has no such attribute.
    pub fn of(&self, series: &SeriesDescription) -> Option<String> {
        match self {
            Self::Segment(number) => series
                .path
                .segments()
                .nth(number.checked_sub(1)?)
                .map(str::to_owned),
            Self::Attribute(name) => series.attributes.get(name).cloned(),
        }
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(number) => number.fmt(f),
            Self::Attribute(name) => write!(f, "attr:{name}"),
        }
    }
}

impl FromStr for GroupKey {
    type Err = GroupKeyError;

    fn from_str(text: &str) -> Result<Self, GroupKeyError> {
        let refused = || GroupKeyError {
            text: shortened(text),
        };
        if let Some(name) = text.strip_prefix("attr:") {
            let is_name = (1..=ATTRIBUTE_BYTES_MAX).contains(&name.len());
            return is_name
                .then(|| Self::Attribute(name.to_owned()))
                .ok_or_else(refused);
        }
        match text.parse() {
            Ok(number) if (1..=SEGMENTS_MAX).contains(&number) => Ok(Self::Segment(number)),
            _ => Err(refused()),
        }
    }
}

impl TryFrom<String> for GroupKey {
    type Error = GroupKeyError;

    fn try_from(text: String) -> Result<Self, GroupKeyError> {
        text.parse()
    }
}

impl From<GroupKey> for String {
    fn from(key: GroupKey) -> Self {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::SeriesPath;
    use crate::value::Kind;

    #[test]
    fn a_key_is_a_segment_or_an_attribute() {
        let path = SeriesPath::new("plant/line-1/press/temp").unwrap();
        let mut series = SeriesDescription::new(path, Kind::F64);
        series.attributes.insert("maker".into(), "A, B".into());
        let of = |key: &str| key.parse::<GroupKey>().unwrap().of(&series);
        assert_eq!(of("2").as_deref(), Some("line-1"));
        assert_eq!(of("4").as_deref(), Some("temp"));
        assert_eq!(of("5"), None);
        assert_eq!(of("attr:maker").as_deref(), Some("A, B"));
        assert_eq!(of("attr:colour"), None);
    }

    #[test]
    fn keys_read_back_as_printed_and_others_are_refused() {
        for text in ["1", "16", "attr:line", "attr:a:b"] {
            assert_eq!(text.parse::<GroupKey>().unwrap().to_string(), text);
        }
        for bad in ["0", "17", "attr:", "line", "", "-1"] {
            assert!(bad.parse::<GroupKey>().is_err(), "{bad:?} was accepted");
        }
    }
}
