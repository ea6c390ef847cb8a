//! A board: what is on it, and its rules.
//!
//! The store keeps name, title and revision of a board, and its content as bytes that it does not look
//! into: a JSON document of the tiles. This is where that document is read, checked and written.

use std::time::Duration;

use bytes::Bytes;
use sensor_model::board::{BOARD_CONTENT_BYTES_MAX, BOARD_TITLE_BYTES_MAX};
use sensor_model::duration::parse_duration;
use sensor_model::{Pattern, Unit};
use serde::{Deserialize, Serialize};
use store_wire::message::ErrorCode;

use crate::failure::{Failure, UsageError};

/// Most tiles of a board.
pub const TILES_MAX: usize = 64;
/// Longest label of a tile, in bytes.
pub const LABEL_BYTES_MAX: usize = 128;
/// How long a trend reaches back unless its tile says otherwise.
pub const TREND_DEFAULT: Duration = Duration::from_secs(3_600);
/// The shortest trend.
pub const TREND_MIN: Duration = Duration::from_secs(60);
/// The longest trend.
pub const TREND_MAX: Duration = Duration::from_secs(31 * 86_400);

/// What people compose of tiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// What people call it.
    pub title: String,
    /// What is on it, in this order.
    #[serde(default)]
    pub tiles: Vec<Tile>,
}

/// The latest value of a series, or of each that a pattern matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tile {
    /// Which series.
    #[serde(rename = "match")]
    pub pattern: Pattern,
    /// What people call it; unless given, the path says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The unit that is shown in place of the series' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// A value below this is out of range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// A value above this is out of range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// How long its trend reaches back, such as `1h`; [`TREND_DEFAULT`] unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trend: Option<String>,
}

/// How a value lies to the limits of its tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The tile has no limits.
    Free,
    /// Within them; a limit itself is.
    Within,
    /// Below the low one.
    Low,
    /// Above the high one.
    High,
}

/// What a store keeps of a board as its content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    tiles: Vec<Tile>,
}

impl Board {
    /// A board without tiles.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            tiles: Vec::new(),
        }
    }

    /// Whether the board follows the rules.
    ///
    /// # Errors
    /// [`UsageError`] that names what does not: `title`, or `tile N`, counted from 1.
    pub fn check(&self) -> Result<(), UsageError> {
        let refused = |reason: String| Err(UsageError::new("title", reason));
        if self.title.trim().is_empty() {
            return refused("it is empty: give the board a title".to_owned());
        }
        if self.title.len() > BOARD_TITLE_BYTES_MAX {
            let bytes = self.title.len();
            return refused(format!("{bytes} bytes: at most {BOARD_TITLE_BYTES_MAX}"));
        }
        if self.title.chars().any(char::is_control) {
            return refused("it has a control character".to_owned());
        }
        let count = self.tiles.len();
        if count > TILES_MAX {
            let reason = format!("{count} are too many: at most {TILES_MAX}");
            return Err(UsageError::new("tiles", reason));
        }
        for (number, tile) in (1..).zip(&self.tiles) {
            tile.check()
                .map_err(|reason| UsageError::new(format!("tile {number}"), reason))?;
        }
        Ok(())
    }

    /// The board that a store keeps as `title` and `content`, if it follows the rules: it may have been
    /// written by others.
    pub(crate) fn from_content(title: String, content: &[u8]) -> Result<Self, String> {
        let Content { tiles } =
            serde_json::from_slice(content).map_err(|error| error.to_string())?;
        let board = Self { title, tiles };
        board.check().map_err(|error| error.to_string())?;
        Ok(board)
    }

    /// The content that a store keeps.
    pub(crate) fn to_content(&self) -> Result<Bytes, Failure> {
        let content = Content {
            tiles: self.tiles.clone(),
        };
        let content = serde_json::to_vec(&content)
            .map_err(|error| Failure::new(ErrorCode::BadRequest, error.to_string()))?;
        let bytes = content.len();
        if bytes > BOARD_CONTENT_BYTES_MAX {
            let message = format!(
                "the board takes {bytes} bytes: at most {BOARD_CONTENT_BYTES_MAX}; put fewer tiles on it"
            );
            return Err(Failure::new(ErrorCode::TooLarge, message));
        }
        Ok(content.into())
    }
}

impl Tile {
    /// A tile of `pattern` alone.
    pub const fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            label: None,
            unit: None,
            low: None,
            high: None,
            trend: None,
        }
    }

    /// How long its trend reaches back.
    pub fn trend(&self) -> Duration {
        let told = self.trend.as_deref();
        told.and_then(|text| parse_duration(text).ok())
            .unwrap_or(TREND_DEFAULT)
    }

    /// How `value` lies to its limits.
    pub fn standing(&self, value: f64) -> Standing {
        match (self.low, self.high) {
            (None, None) => Standing::Free,
            (Some(low), _) if value < low => Standing::Low,
            (_, Some(high)) if value > high => Standing::High,
            _ => Standing::Within,
        }
    }

    fn check(&self) -> Result<(), String> {
        if let Some(label) = &self.label {
            if label.len() > LABEL_BYTES_MAX {
                let bytes = label.len();
                return Err(format!(
                    "label: {bytes} bytes are too many: at most {LABEL_BYTES_MAX}"
                ));
            }
            if label.chars().any(char::is_control) {
                return Err("label: it has a control character".to_owned());
            }
        }
        let limits = [("low", self.low), ("high", self.high)];
        for (name, limit) in limits {
            if limit.is_some_and(|limit| !limit.is_finite()) {
                return Err(format!("{name}: it is not a number"));
            }
        }
        if let (Some(low), Some(high)) = (self.low, self.high)
            && low >= high
        {
            return Err(format!("low {low} is not below high {high}"));
        }
        let Some(trend) = &self.trend else {
            return Ok(());
        };
        let length = parse_duration(trend).map_err(|error| format!("trend: {error}"))?;
        if !(TREND_MIN..=TREND_MAX).contains(&length) {
            return Err(format!("trend: {trend} is not between 1m and 31d"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile() -> Tile {
        Tile::new(Pattern::new("plant/*/temperature").unwrap())
    }

    fn refused(change: impl FnOnce(&mut Board)) -> Option<String> {
        let mut board = Board::new("Hall 1");
        board.tiles = vec![tile(), tile()];
        change(&mut board);
        board.check().err().map(|error| error.to_string())
    }

    #[test]
    fn each_limit_is_held_at_its_last_value_and_not_beyond() {
        let text = |bytes: usize| "x".repeat(bytes);
        assert_eq!(refused(|_| {}), None);
        assert_eq!(
            refused(|board| board.title = text(BOARD_TITLE_BYTES_MAX)),
            None
        );
        assert!(refused(|board| board.title = text(BOARD_TITLE_BYTES_MAX + 1)).is_some());
        assert_eq!(refused(|board| board.tiles = vec![tile(); TILES_MAX]), None);
        assert!(refused(|board| board.tiles = vec![tile(); TILES_MAX + 1]).is_some());
        let label = |bytes| refused(|board| board.tiles[1].label = Some(text(bytes)));
        assert_eq!(label(LABEL_BYTES_MAX), None);
        assert!(
            label(LABEL_BYTES_MAX + 1)
                .unwrap()
                .starts_with("tile 2: label")
        );
        let trend = |text: &str| refused(|board| board.tiles[0].trend = Some(text.to_owned()));
        assert_eq!((trend("1m"), trend("31d")), (None, None));
        for bad in ["59s", "32d", "soon", ""] {
            assert!(trend(bad).unwrap().starts_with("tile 1: trend"), "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for title in ["", "  ", "a\nb"] {
            let error = refused(|board| board.title = title.to_owned()).unwrap();
            assert!(error.starts_with("title"), "{error}");
        }
        let limits = |low, high| {
            refused(|board| {
                (board.tiles[1].low, board.tiles[1].high) = (low, high);
            })
        };
        assert_eq!(limits(Some(1.0), Some(2.0)), None);
        for high in [1.0, 0.0] {
            let error = limits(Some(1.0), Some(high)).unwrap();
            assert!(
                error.contains("tile 2") && error.contains("not below"),
                "{error}"
            );
        }
        assert!(limits(Some(f64::NAN), None).is_some());
        assert!(limits(None, Some(f64::INFINITY)).is_some());
    }

    #[test]
    fn a_limit_itself_is_within() {
        let tile = |low, high| Tile {
            low,
            high,
            ..tile()
        };
        let both = tile(Some(1.0), Some(2.0));
        let standing = |value| both.standing(value);
        assert_eq!(standing(1.0), Standing::Within);
        assert_eq!(standing(2.0), Standing::Within);
        assert_eq!(standing(0.999), Standing::Low);
        assert_eq!(standing(2.001), Standing::High);
        assert_eq!(tile(None, None).standing(7.0), Standing::Free);
        assert_eq!(tile(Some(1.0), None).standing(7.0), Standing::Within);
    }

    #[test]
    fn a_board_that_does_not_fit_the_store_is_refused() {
        let path = vec!["x".repeat(64); 15].join("/");
        let mut board = Board::new("Hall 1");
        let long = Tile::new(Pattern::new(path).unwrap());
        board.tiles = vec![long; TILES_MAX];
        let content = board.to_content().unwrap();
        let back = Board::from_content(board.title.clone(), &content).unwrap();
        assert_eq!(back, board);
        for tile in &mut board.tiles {
            tile.label = Some("x".repeat(LABEL_BYTES_MAX));
        }
        assert_eq!(board.check(), Ok(()));
        assert_eq!(board.to_content().unwrap_err().code, ErrorCode::TooLarge);
    }
}
