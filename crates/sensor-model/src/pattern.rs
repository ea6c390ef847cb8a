//! A pattern that matches series paths: `plant/*/press-*/temperature`, `plant/**`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::path::{SEGMENT_BYTES_MAX, SEGMENTS_MAX, SeriesPath, is_path_byte, shortened};

/// Matches series paths segment by segment.
///
/// `*` stands for one whole segment or, inside a segment, for any run of characters of it; `**`
/// stands for any number of whole segments, including none. Matching works on parsed segments, never
/// on the joined text, so `plant/*` cannot match `plant/a/b`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?} is not valid: {reason}")]
pub struct PatternError {
    /// The refused text.
    pub pattern: String,
    /// What is wrong with it and what to write instead.
    pub reason: &'static str,
}

/// What all paths have in common that a pattern can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning<'a> {
    /// Their first characters.
    pub text: &'a str,
    /// Whether these are whole segments: what follows, if anything, is another one.
    pub is_folder: bool,
}

impl Beginning<'_> {
    /// Whether `path`, the text of a path, begins so.
    pub fn is_of(self, path: &str) -> bool {
        match path.strip_prefix(self.text) {
            Some(rest) => !self.is_folder || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

impl Pattern {
    /// Checks `text` against the rules of a pattern.
    ///
    /// # Errors
    /// A [`PatternError`] that names the pattern and the rule it breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, PatternError> {
        let pattern = text.into();
        match fault(&pattern) {
            None => Ok(Self(pattern)),
            Some(reason) => Err(PatternError {
                pattern: shortened(&pattern),
                reason,
            }),
        }
    }

    /// The pattern that matches every path.
    pub fn everything() -> Self {
        Self("**".to_owned())
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this pattern has no wildcard, and so matches exactly one path.
    pub fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }

    /// What every path that matches begins with.
    pub fn beginning(&self) -> Beginning<'_> {
        let (text, rest) = self.0.split_at(self.0.find('*').unwrap_or(self.0.len()));
        match text.strip_suffix('/') {
            // `a/**` matches `a` too.
            Some(folder) if rest.starts_with("**") => Beginning {
                text: folder,
                is_folder: true,
            },
            _ => Beginning {
                text,
                is_folder: false,
            },
        }
    }

    /// Whether `path` matches.
    pub fn matches(&self, path: &SeriesPath) -> bool {
        self.matches_text(path.as_str())
    }

    /// Whether `path`, the text of a path, matches.
    pub fn matches_text(&self, path: &str) -> bool {
        if !self.0.contains("**") {
            return matches_evenly(self.0.as_bytes(), path.as_bytes());
        }
        let (mut pattern, mut segments) = ([""; SEGMENTS_MAX], [""; SEGMENTS_MAX]);
        wildcard_match(
            segments_of(&self.0, &mut pattern),
            segments_of(path, &mut segments),
            |p| *p == "**",
            |p, s| matches_evenly(p.as_bytes(), s.as_bytes()),
        )
    }
}

fn fault(pattern: &str) -> Option<&'static str> {
    let mut count = 0;
    for segment in pattern.split('/') {
        count += 1;
        if segment.is_empty() {
            return Some(
                "it has an empty segment; write it like `site/*/temperature` or `site/**`",
            );
        }
        if segment.len() > SEGMENT_BYTES_MAX {
            return Some("a segment is longer than 64 characters");
        }
        if segment != "**" && segment.contains("**") {
            return Some("`**` must be a segment of its own");
        }
        if segment == "." || segment == ".." {
            return Some("`.` and `..` are not segments");
        }
        if !segment
            .bytes()
            .all(|byte| byte == b'*' || is_path_byte(byte))
        {
            return Some("use letters, digits, `_`, `-`, `.`, `*` and `**`");
        }
    }
    (count > SEGMENTS_MAX).then_some("it has more than 16 segments")
}

/// The segments of a pattern or path, put into `room`: there are never more.
fn segments_of<'a, 'b>(text: &'a str, room: &'b mut [&'a str; SEGMENTS_MAX]) -> &'b [&'a str] {
    let mut count = 0;
    for (place, segment) in room.iter_mut().zip(text.split('/')) {
        *place = segment;
        count += 1;
    }
    &room[..count]
}

/// Whether a pattern without `**` matches: then segments stand opposite each other, and no wildcard
/// reaches beyond its own.
fn matches_evenly(pattern: &[u8], path: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(byte) = path.get(t) {
        match (pattern.get(p), retry) {
            (Some(b'*'), _) => {
                p += 1;
                retry = Some((p, t));
            }
            (Some(wanted), _) if wanted == byte => {
                (p, t) = (p + 1, t + 1);
                if *byte == b'/' {
                    retry = None;
                }
            }
            (_, Some((after, from))) if path[from] != b'/' => {
                (p, t) = (after, from + 1);
                retry = Some((after, t));
            }
            _ => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Greedy wildcard matching that remembers only the last wildcard, so its cost is at most
/// `pattern.len() * text.len()` whatever the pattern.
fn wildcard_match<P, T>(
    pattern: &[P],
    text: &[T],
    is_wildcard: impl Fn(&P) -> bool,
    matches: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && is_wildcard(&pattern[p]) {
            retry = Some((p + 1, t));
            p += 1;
        } else if p < pattern.len() && matches(&pattern[p], &text[t]) {
            p += 1;
            t += 1;
        } else if let Some((after, from)) = retry {
            p = after;
            t = from + 1;
            retry = Some((after, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(is_wildcard)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::new(text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl From<&SeriesPath> for Pattern {
    fn from(path: &SeriesPath) -> Self {
        Self(path.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern)
            .unwrap()
            .matches(&SeriesPath::new(path).unwrap())
    }

    #[test]
    fn one_star_is_one_segment_or_part_of_one() {
        assert!(matches("plant/*/temp", "plant/a/temp"));
        assert!(!matches("plant/*", "plant/a/temp"));
        assert!(matches("plant/press-*/t*p", "plant/press-12/temp"));
        assert!(!matches("plant/press-*", "plant/oven-1"));
        assert!(matches("*", "a") && !matches("*", "a/b"));
    }

    #[test]
    fn two_stars_are_any_number_of_segments() {
        assert!(matches("**", "a/b/c"));
        assert!(matches("a/**", "a"));
        assert!(matches("a/**/z", "a/z") && matches("a/**/z", "a/b/c/z"));
        assert!(!matches("a/**/z", "a/b/c"));
        assert!(matches("**/temp", "temp"));
    }

    #[test]
    fn patterns_begin_with_what_stands_before_the_first_star() {
        let begins = |pattern, path| Pattern::new(pattern).unwrap().beginning().is_of(path);
        assert!(begins("a/b*/c", "a/bx/d") && !begins("a/b*/c", "a/c"));
        assert!(begins("a/**", "a") && begins("a/**", "a/b") && !begins("a/**", "ab"));
        assert!(begins("**", "a") && begins("*/b", "a"));
        assert!(begins("a/b", "a/b") && !begins("a/b", "a"));
    }

    #[test]
    fn bad_patterns_are_named() {
        for bad in ["", "a//b", "a/***", "a**", "a b", "..", "a/?"] {
            assert!(Pattern::new(bad).is_err(), "{bad:?} was accepted");
        }
    }

    /// The obvious recursive definition, exponential but plainly right.
    fn model(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern.first(), path.first()) {
            (None, None) => true,
            (Some(&"**"), _) => {
                model(&pattern[1..], path) || (!path.is_empty() && model(pattern, &path[1..]))
            }
            (Some(p), Some(s)) => {
                let chars = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
                segment_model(&chars(p), &chars(s)) && model(&pattern[1..], &path[1..])
            }
            _ => false,
        }
    }

    fn segment_model(pattern: &[String], text: &[String]) -> bool {
        match (pattern.first().map(String::as_str), text.first()) {
            (None, None) => true,
            (Some("*"), _) => {
                segment_model(&pattern[1..], text)
                    || (!text.is_empty() && segment_model(pattern, &text[1..]))
            }
            (Some(p), Some(t)) => p == t && segment_model(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_its_definition(
            pattern in proptest::collection::vec("(\\*\\*|[ab]{0,2}\\*?[ab]|\\*)", 1..6),
            path in proptest::collection::vec("[ab]{1,4}", 1..6),
        ) {
            let expected = model(
                &pattern.iter().map(String::as_str).collect::<Vec<_>>(),
                &path.iter().map(String::as_str).collect::<Vec<_>>(),
            );
            let (pattern, path) = (pattern.join("/"), path.join("/"));
            prop_assert_eq!(matches(&pattern, &path), expected);
            let pattern = Pattern::new(pattern).unwrap();
            prop_assert!(!expected || pattern.beginning().is_of(&path), "{path} is passed over");
        }
    }
}
