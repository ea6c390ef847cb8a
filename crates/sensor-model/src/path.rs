//! A series' name: a path of segments such as `plant/line-1/press-3/temperature`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most segments in a path.
pub const SEGMENTS_MAX: usize = 16;
/// Longest segment, in bytes.
pub const SEGMENT_BYTES_MAX: usize = 64;

/// The name of one series: 1 to 16 segments of 1 to 64 characters, joined by `/`.
///
/// Invariants, checked by [`SeriesPath::new`] and by deserialisation:
/// - each segment consists of `A-Z a-z 0-9 _ - .` and is neither `.` nor `..`;
/// - no empty segment, so no leading, trailing or doubled slash.
///
/// Paths order by segment, so that a tree listed in order is listed depth first.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SeriesPath(String);

/// Why a text is not a series path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path has no segment, or an empty one (a leading, trailing or doubled slash).
    #[error("path {path:?} has an empty segment: write it as `site/line/device/metric`")]
    EmptySegment {
        /// The refused text.
        path: String,
    },
    /// More than [`SEGMENTS_MAX`] segments.
    #[error("path {path:?} has {segments} segments: at most {SEGMENTS_MAX} are allowed")]
    TooManySegments {
        /// The refused text.
        path: String,
        /// How many segments it has.
        segments: usize,
    },
    /// A segment longer than [`SEGMENT_BYTES_MAX`].
    #[error(
        "segment {segment:?} of path {path:?} is too long: at most {SEGMENT_BYTES_MAX} characters are allowed"
    )]
    SegmentTooLong {
        /// The refused text.
        path: String,
        /// The segment at fault.
        segment: String,
    },
    /// A character outside the alphabet, or a segment `.` or `..`.
    #[error(
        "segment {segment:?} of path {path:?} is not allowed: use letters, digits, `_`, `-` and `.` (but not `.` or `..` alone)"
    )]
    BadSegment {
        /// The refused text.
        path: String,
        /// The segment at fault.
        segment: String,
    },
}

impl SeriesPath {
    /// Checks `text` against the rules of a path.
    ///
    /// # Errors
    /// A [`PathError`] that names the segment at fault.
    pub fn new(text: impl Into<String>) -> Result<Self, PathError> {
        let path = text.into();
        let segments = path.split('/').count();
        if segments > SEGMENTS_MAX {
            return Err(PathError::TooManySegments {
                path: shortened(&path),
                segments,
            });
        }
        for segment in path.split('/') {
            if segment.is_empty() {
                return Err(PathError::EmptySegment {
                    path: shortened(&path),
                });
            }
            if segment.len() > SEGMENT_BYTES_MAX {
                return Err(PathError::SegmentTooLong {
                    path: shortened(&path),
                    segment: shortened(segment),
                });
            }
            let reserved = segment == "." || segment == "..";
            if reserved || !segment.bytes().all(is_path_byte) {
                return Err(PathError::BadSegment {
                    path: shortened(&path),
                    segment: segment.to_owned(),
                });
            }
        }
        Ok(Self(path))
    }

    /// The path as text, segments joined by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, from the root down.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// Turns any text into a legal segment: characters outside the alphabet become `-`.
    ///
    /// Used where names come from outside, such as CSV columns and a host's sensors.
    pub fn segment_from(text: &str) -> String {
        let mut segment: String = text
            .trim()
            .chars()
            .take(SEGMENT_BYTES_MAX)
            .map(|c| {
                if c.is_ascii() && is_path_byte(c as u8) {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        if segment.is_empty() || segment == "." || segment == ".." {
            segment = "unnamed".to_owned();
        }
        segment
    }
}

pub(crate) fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Error texts quote what was refused, but never megabytes of it.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl PartialOrd for SeriesPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SeriesPath {
    /// By segments, from the root down, and these by their bytes.
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

/// The order of paths, of their texts; those that begin alike stand together.
pub fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    // A segment that ends comes before every longer one that begins like it.
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
    match one.iter().zip(other).find(|(one, other)| one != other) {
        Some((one, other)) => rank(*one).cmp(&rank(*other)),
        None => one.len().cmp(&other.len()),
    }
}

impl fmt::Display for SeriesPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SeriesPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for SeriesPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::new(text)
    }
}

impl TryFrom<String> for SeriesPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        Self::new(text)
    }
}

impl From<SeriesPath> for String {
    fn from(path: SeriesPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sixteen_segments_are_allowed_and_seventeen_are_not() {
        let path = vec!["a"; SEGMENTS_MAX].join("/");
        assert_eq!(
            SeriesPath::new(path.clone()).unwrap().segments().count(),
            SEGMENTS_MAX
        );
        let refused = SeriesPath::new(format!("{path}/a")).unwrap_err();
        assert!(matches!(
            refused,
            PathError::TooManySegments { segments: 17, .. }
        ));
    }

    #[test]
    fn a_segment_of_64_characters_is_allowed_and_of_65_is_not() {
        let segment = "x".repeat(SEGMENT_BYTES_MAX);
        assert!(SeriesPath::new(format!("site/{segment}")).is_ok());
        let refused = SeriesPath::new(format!("site/{segment}x")).unwrap_err();
        assert!(matches!(refused, PathError::SegmentTooLong { .. }));
    }

    #[test]
    fn bad_segments_are_named() {
        for bad in [
            "", "/", "a//b", "/a", "a/", "a/./b", "..", "a b", "ä", "a\nb", "a*",
        ] {
            assert!(SeriesPath::new(bad).is_err(), "{bad:?} was accepted");
        }
        let refused = SeriesPath::new("site/line 1/temp").unwrap_err().to_string();
        assert!(refused.contains("\"line 1\""), "{refused}");
    }

    #[test]
    fn paths_order_by_segment() {
        let mut paths: Vec<SeriesPath> = ["a-b/x", "a/z", "a/b/c"]
            .iter()
            .map(|text| SeriesPath::new(*text).unwrap())
            .collect();
        paths.sort();
        let texts: Vec<&str> = paths.iter().map(SeriesPath::as_str).collect();
        assert_eq!(texts, ["a/b/c", "a/z", "a-b/x"]);
    }

    proptest! {
        #[test]
        fn their_order_is_that_of_their_segments(
            one in "[a-]{1,2}(/[a-]{1,2}){0,2}",
            other in "[a-]{1,2}(/[a-]{1,2}){0,2}",
        ) {
            let (one, other) = (SeriesPath::new(one).unwrap(), SeriesPath::new(other).unwrap());
            prop_assert_eq!(one.cmp(&other), one.segments().cmp(other.segments()));
        }
    }

    #[test]
    fn any_text_becomes_a_legal_segment() {
        for text in ["", "..", "Core 0 (°C)", &"y".repeat(200)] {
            let segment = SeriesPath::segment_from(text);
            assert!(SeriesPath::new(segment.clone()).is_ok(), "{segment:?}");
        }
    }
}
