//! The name of a sealed file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The BLAKE3 of a sealed file: its name, and the proof of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentHash(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl fmt::Display for SegmentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is not the hash of a segment: 64 hexadecimal digits, the letters small.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the hash of a segment, which is 64 digits of 0-9 and a-f")]
pub struct NotAHash {
    /// The refused text, cut where it is longer than a hash.
    pub text: String,
}

impl FromStr for SegmentHash {
    type Err = NotAHash;

    /// Reads what [`Display`](fmt::Display) writes, and nothing else: a hash has one spelling.
    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let refused = || NotAHash {
            text: text.chars().take(64).collect(),
        };
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(refused()),
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut hash = [0; 32];
        if pairs.len() != hash.len() || !rest.is_empty() {
            return Err(refused());
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Debug for SegmentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
