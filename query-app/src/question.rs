//! Questions: from the texts of a command line or a URL to something checked.
//!
//! Both surfaces build the same questions here, so both refuse the same things in the same words,
//! before anything is sent to a store. How a question is answered is [`crate::client`]'s concern.

pub mod buckets;
pub mod calendar;
pub mod cursor;
pub mod ranked;
pub mod upkeep;

use std::time::Duration;

use chrono_tz::Tz;
use sensor_model::duration::parse_duration;
use sensor_model::{Consistency, Filter, Pattern, TimeRange, Timestamp};
use store_wire::message::{Bounds, Order, PATTERNS_MAX};

pub use buckets::{Buckets, Fill};
pub use cursor::Cursor;
pub use ranked::Ranked;

use crate::failure::UsageError;

/// How long a question may take when nothing else is said.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// A question about a range of time.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeQuestion {
    /// Which series: those that any of these matches, each once. Never empty.
    pub patterns: Vec<Pattern>,
    /// Which time, half-open.
    pub range: TimeRange,
    /// Readings as they are, or buckets of them.
    pub rows: Rows,
    /// Which readings are looked at.
    pub filter: Option<Filter>,
    /// At most so many rows a series, or a group.
    pub limit: Option<u64>,
    /// Order of the rows of a series; series are always in order of their paths.
    pub order: Order,
    /// Only the best rows, in place of all in order.
    pub ranked: Option<Ranked>,
    /// How much of the answer is wanted now.
    pub page: Page,
}

/// What the rows of a range are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// Raw readings.
    Readings,
    /// Aggregates of buckets.
    Buckets(Buckets),
}

/// How much of an answer is wanted now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// At most so many rows in all; then the answer says where to go on.
    pub rows: Option<u64>,
    /// Where to go on.
    pub cursor: Option<Cursor>,
}

/// On which terms a question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How fresh the answer must be.
    pub consistency: Consistency,
    /// The only replica that may answer; any of them when `None`.
    pub node: Option<u64>,
    /// How long the answer may take to begin, and then each of its parts to follow.
    pub timeout: Duration,
    /// What the answer may take of a node.
    pub bounds: Bounds,
}

/// The parameters of a range as they were written. Names in errors are those of the fields, but
/// `patterns`, which is `match`, `filter`, which is `where`, and those with a dash.
#[derive(Debug, Clone, Default)]
pub struct RangeTexts<'a> {
    /// Patterns, at least one.
    pub patterns: Vec<&'a str>,
    /// A time, required.
    pub from: Option<&'a str>,
    /// A time; now when missing.
    pub to: Option<&'a str>,
    /// A duration, days, weeks, months or years, or `all` for one bucket over the whole range; that when
    /// it is missing and something else asks for buckets.
    pub every: Option<&'a str>,
    /// The time zone of a calendar, and of dates and times that name none.
    pub tz: Option<&'a str>,
    /// Aggregates, separated by commas.
    pub agg: Option<&'a str>,
    /// `none`, `null`, `previous` or `linear`.
    pub fill: Option<&'a str>,
    /// A duration.
    pub fill_max: Option<&'a str>,
    /// Keys of groups, separated by commas, or `all`.
    pub by: Option<&'a str>,
    /// Comparisons with `value`.
    pub filter: Option<&'a str>,
    /// A count of at least 1.
    pub limit: Option<&'a str>,
    /// A count of at least 1.
    pub top: Option<&'a str>,
    /// A count of at least 1.
    pub bottom: Option<&'a str>,
    /// A count of at least 1.
    pub page: Option<&'a str>,
    /// As an answer gave it.
    pub cursor: Option<&'a str>,
    /// Whether the latest rows come first.
    pub order: Order,
}

impl RangeQuestion {
    /// Checks every parameter and how they go together. `now` is what relative times refer to.
    ///
    /// # Errors
    /// A [`UsageError`] naming the first parameter at fault.
    pub fn parse(texts: &RangeTexts<'_>, now: Timestamp) -> Result<Self, UsageError> {
        let patterns = parse_patterns(&texts.patterns)?;
        let cursor = texts.cursor.map(Cursor::parse).transpose()?;
        let zone = texts.tz.map(calendar::parse_zone).transpose()?;
        let from = texts.from.ok_or_else(|| {
            UsageError::new("from", "missing: say where the range begins, such as -1h")
        })?;
        let from = parse_time_in("from", from, now, zone)?;
        let to = parse_time_in("to", texts.to.unwrap_or("now"), now, zone)?;
        let range = TimeRange::new(from, to).map_err(|error| UsageError::new("from", error))?;
        // A page goes on with the very range of the one before, however that was written.
        let range = cursor.as_ref().map_or(range, |cursor| cursor.range);
        let filter = texts.filter.map(str::parse).transpose();
        let question = Self {
            patterns,
            range,
            rows: Buckets::parse(texts, range)?.map_or(Rows::Readings, Rows::Buckets),
            filter: filter.map_err(|error| UsageError::new("where", error))?,
            limit: texts
                .limit
                .map(|text| parse_count("limit", text))
                .transpose()?,
            order: texts.order,
            ranked: Ranked::parse(texts)?,
            page: Page {
                rows: texts
                    .page
                    .map(|text| parse_count("page", text))
                    .transpose()?,
                cursor,
            },
        };
        if let Some(cursor) = &question.page.cursor {
            cursor.check(&question)?;
        }
        Ok(question)
    }
}

impl Page {
    /// The terms on which the page is asked for: nothing older than the page before.
    pub fn terms(&self, terms: &Terms) -> Terms {
        let consistency = match (&self.cursor, terms.consistency) {
            (Some(cursor), Consistency::Any) => Consistency::AtLeast(cursor.token),
            (Some(cursor), Consistency::AtLeast(token)) => {
                Consistency::AtLeast(token.max(cursor.token))
            }
            // Fresh enough and no older than the page before: what sees everything is both.
            (Some(_), Consistency::MaxStaleness(_)) => Consistency::Linearizable,
            (_, asked) => asked,
        };
        Terms {
            consistency,
            ..*terms
        }
    }
}

impl Default for Terms {
    /// Any replica, as it stands, within 10 s.
    fn default() -> Self {
        Self {
            consistency: Consistency::Any,
            node: None,
            timeout: TIMEOUT_DEFAULT,
            bounds: Bounds::default(),
        }
    }
}

/// Reads the pattern of a question; a missing one is refused.
///
/// # Errors
/// A [`UsageError`] naming `match`.
pub fn parse_pattern(text: Option<&str>) -> Result<Pattern, UsageError> {
    let text = text.ok_or_else(|| {
        UsageError::new(
            "match",
            "missing: give a path or a pattern, such as plant/**",
        )
    })?;
    Pattern::new(text).map_err(|error| UsageError::new("match", error))
}

/// Reads a time given as parameter `name`.
///
/// # Errors
/// A [`UsageError`] naming the parameter.
pub fn parse_time(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, UsageError> {
    Timestamp::parse(text, now).map_err(|error| UsageError::new(name, error))
}

/// Reads a duration that is longer than nothing, given as parameter `name`.
///
/// # Errors
/// A [`UsageError`] naming the parameter.
pub fn parse_span(name: &str, text: &str) -> Result<Duration, UsageError> {
    let span = parse_duration(text).map_err(|error| UsageError::new(name, error))?;
    if span.is_zero() {
        return Err(UsageError::new(name, "must be longer than nothing"));
    }
    Ok(span)
}

/// Reads a count of at least 1, given as parameter `name`.
///
/// # Errors
/// A [`UsageError`] naming the parameter.
pub fn parse_count(name: &str, text: &str) -> Result<u64, UsageError> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(UsageError::new(
            name,
            format!("{text:?} is not a count of at least 1"),
        )),
    }
}

fn parse_patterns(texts: &[&str]) -> Result<Vec<Pattern>, UsageError> {
    if texts.len() > PATTERNS_MAX {
        let reason = format!("at most {PATTERNS_MAX} patterns in one question");
        return Err(UsageError::new("match", reason));
    }
    if texts.is_empty() {
        parse_pattern(None)?;
    }
    texts.iter().map(|text| parse_pattern(Some(text))).collect()
}

/// A date or time that names no zone is one on the clocks of `zone`, if there is one.
fn parse_time_in(
    name: &str,
    text: &str,
    now: Timestamp,
    zone: Option<Tz>,
) -> Result<Timestamp, UsageError> {
    let local = zone.zip(sensor_model::time::without_zone(text.trim()));
    match local.and_then(|(zone, local)| calendar::instant(local, zone)) {
        Some(time) => Ok(time),
        None => parse_time(name, text, now),
    }
}

#[cfg(test)]
mod tests;
