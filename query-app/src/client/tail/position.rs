//! Where live data goes on: after an entry of the log, or after some readings of one.

use std::fmt;
use std::str::FromStr;

use sensor_model::Token;

/// A place in what is committed, as it is sent to one who asked for some series: the same on every node.
///
/// Written as a token, `0-17`: everything up to that entry is known. Or as a token and a number,
/// `0-17+200`: everything before that entry, and the first 200 of the readings asked for in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The entry.
    pub token: Token,
    /// How many of its readings are known; 0 for all of them.
    pub readings: u64,
}

/// A text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a position, such as 0-17 or 0-17+200")]
pub struct NotAPosition {
    /// The refused text, shortened.
    pub text: String,
}

impl Position {
    /// After all of the entry at `token`.
    pub const fn after(token: Token) -> Self {
        Self { token, readings: 0 }
    }

    /// The last entry of which all is known.
    pub(crate) const fn whole(&self) -> Token {
        match self.readings {
            0 => self.token,
            _ => Token {
                index: self.token.index.saturating_sub(1),
                ..self.token
            },
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.readings {
            0 => write!(f, "{}", self.token),
            readings => write!(f, "{}+{readings}", self.token),
        }
    }
}

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let parsed = match text.split_once('+') {
            None => text.parse().ok().map(Self::after),
            Some((token, readings)) => token
                .parse()
                .ok()
                .zip(readings.parse().ok().filter(|readings| *readings > 0))
                .map(|(token, readings)| Self { token, readings }),
        };
        parsed.ok_or_else(|| NotAPosition {
            text: text.chars().take(64).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_as_it_is_written() {
        let token = Token {
            shard: 0,
            index: 17,
        };
        for (text, readings) in [("0-17", 0), ("0-17+200", 200)] {
            let position = Position { token, readings };
            assert_eq!(position.to_string(), text);
            assert_eq!(text.parse(), Ok(position));
        }
        for text in ["", "17", "0-17+", "0-17+0", "0-17+x", "x+1"] {
            assert!(text.parse::<Position>().is_err(), "{text:?}");
        }
    }
}
