//! What names a board, and how large one may be. What is on it is of no concern to the store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name of a board, in bytes.
pub const BOARD_NAME_BYTES_MAX: usize = 64;
/// Longest title of a board, in bytes.
pub const BOARD_TITLE_BYTES_MAX: usize = 256;
/// Longest content of a board, in bytes.
pub const BOARD_CONTENT_BYTES_MAX: usize = 64 * 1024;
/// Most boards of a store.
pub const BOARDS_MAX: usize = 256;

/// The name of a board: 1 to 64 of `a-z 0-9 -`. It never changes, as it is what links hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BoardName(String);

/// A text that names no board.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not the name of a board: use 1 to {BOARD_NAME_BYTES_MAX} of a-z, 0-9 and `-`, such as press-3"
)]
pub struct BoardNameError {
    /// The refused text, cut where it is long.
    pub text: String,
}

impl BoardName {
    /// Checks `text` against the rules of a name.
    ///
    /// # Errors
    /// [`BoardNameError`] with the text.
    pub fn new(text: impl Into<String>) -> Result<Self, BoardNameError> {
        let text = text.into();
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if (1..=BOARD_NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain) {
            return Ok(Self(text));
        }
        let text = text.chars().take(BOARD_NAME_BYTES_MAX).collect();
        Err(BoardNameError { text })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BoardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BoardName {
    type Err = BoardNameError;

    fn from_str(text: &str) -> Result<Self, BoardNameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for BoardName {
    type Error = BoardNameError;

    fn try_from(text: String) -> Result<Self, BoardNameError> {
        Self::new(text)
    }
}

impl From<BoardName> for String {
    fn from(name: BoardName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_letters_and_its_length() {
        let longest = "x".repeat(BOARD_NAME_BYTES_MAX);
        for name in ["a", "press-3", "0", "-", longest.as_str()] {
            assert_eq!(BoardName::new(name).unwrap().as_str(), name);
        }
        let longer = "x".repeat(BOARD_NAME_BYTES_MAX + 1);
        for text in ["", "Press", "a_b", "a/b", "a b", "é", "..", longer.as_str()] {
            let error = BoardName::new(text).unwrap_err();
            assert!(error.text.len() <= BOARD_NAME_BYTES_MAX, "{error}");
        }
    }
}
