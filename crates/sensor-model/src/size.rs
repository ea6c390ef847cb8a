//! Sizes in bytes as they are written in flags and configuration: `64MiB`, `1GiB`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::path::shortened;

/// A number of bytes that prints and reads as `64MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a size: write a number and a unit, such as 512KiB, 64MiB or 1GiB")]
pub struct SizeError {
    /// The refused text.
    pub text: String,
}

const UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let trimmed = text.trim();
        UNITS
            .iter()
            .find_map(|(unit, size)| Some((trimmed.strip_suffix(unit)?, size)))
            .and_then(|(number, size)| number.parse::<u64>().ok()?.checked_mul(*size))
            .map(Self)
            .ok_or_else(|| SizeError {
                text: shortened(text),
            })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fitting = UNITS
            .iter()
            .find(|(_, size)| self.0 != 0 && self.0.is_multiple_of(*size));
        let (unit, size) = fitting.unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / size)
    }
}

impl TryFrom<String> for ByteSize {
    type Error = SizeError;

    fn try_from(text: String) -> Result<Self, SizeError> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_as_printed() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("1GiB", 1 << 30),
            ("1500B", 1500),
            ("0B", 0),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    #[test]
    fn a_bare_number_is_refused() {
        for bad in ["", "64", "MiB", "-1B", "64MB", "99999999999TiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad:?} was accepted");
        }
    }
}
