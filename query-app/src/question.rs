//! Questions: from the texts of a command line or a URL to something checked.
//!
//! Both surfaces build the same questions here, so both refuse the same things in the same words,
//! before anything is sent to a store. How a question is answered is [`crate::client`]'s concern.

pub mod upkeep;

use std::time::Duration;

use sensor_model::duration::{format_duration, parse_duration};
use sensor_model::{Aggregate, Consistency, Pattern, TimeRange, Timestamp};
use store_wire::message::Order;

use crate::failure::UsageError;

/// Most rows that filling empty buckets may make of one series.
pub const FILLED_BUCKETS_MAX: u64 = 1_000_000;

/// How long a question may take when nothing else is said.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// A question about a range of time.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeQuestion {
    /// Which series.
    pub pattern: Pattern,
    /// Which time, half-open.
    pub range: TimeRange,
    /// Readings as they are, or buckets of them.
    pub rows: Rows,
    /// At most so many rows a series.
    pub limit: Option<u64>,
    /// Order of the rows of a series; series are always in order of their paths.
    pub order: Order,
}

/// What the rows of a range are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// Raw readings.
    Readings,
    /// Aggregates of buckets aligned to 1970-01-01 UTC.
    Buckets {
        /// Width of a bucket; never zero.
        every: Duration,
        /// One column each; never empty, none twice.
        aggregates: Vec<Aggregate>,
        /// What stands for a bucket without readings.
        fill: Fill,
    },
}

/// What stands for a bucket without readings. Its `count` is 0 whichever is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fill {
    /// No row at all.
    #[default]
    None,
    /// A row without values.
    Null,
    /// The values of the bucket before it in time.
    Previous,
    /// A line between the buckets on both sides; no value where there is only one.
    Linear,
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
}

/// The parameters of a range as they were written. Names in errors are those of the fields, but
/// `pattern`, which is `match`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RangeTexts<'a> {
    /// A pattern, required.
    pub pattern: Option<&'a str>,
    /// A time, required.
    pub from: Option<&'a str>,
    /// A time; now when missing.
    pub to: Option<&'a str>,
    /// A duration.
    pub every: Option<&'a str>,
    /// Aggregates, separated by commas.
    pub agg: Option<&'a str>,
    /// `none`, `null`, `previous` or `linear`.
    pub fill: Option<&'a str>,
    /// A count of at least 1.
    pub limit: Option<&'a str>,
    /// Whether the latest rows come first.
    pub order: Order,
}

impl RangeQuestion {
    /// Checks every parameter and how they go together. `now` is what relative times refer to.
    ///
    /// # Errors
    /// A [`UsageError`] naming the first parameter at fault.
    pub fn parse(texts: &RangeTexts<'_>, now: Timestamp) -> Result<Self, UsageError> {
        let pattern = parse_pattern(texts.pattern)?;
        let from = texts.from.ok_or_else(|| {
            UsageError::new("from", "missing: say where the range begins, such as -1h")
        })?;
        let from = parse_time("from", from, now)?;
        let to = parse_time("to", texts.to.unwrap_or("now"), now)?;
        let range = TimeRange::new(from, to).map_err(|error| UsageError::new("from", error))?;
        Ok(Self {
            pattern,
            range,
            rows: parse_rows(texts, range)?,
            limit: texts.limit.map(parse_limit).transpose()?,
            order: texts.order,
        })
    }
}

impl Default for Terms {
    /// Any replica, as it stands, within 10 s.
    fn default() -> Self {
        Self {
            consistency: Consistency::Any,
            node: None,
            timeout: TIMEOUT_DEFAULT,
        }
    }
}

impl std::str::FromStr for Fill {
    type Err = UsageError;

    fn from_str(text: &str) -> Result<Self, UsageError> {
        match text {
            "none" => Ok(Self::None),
            "null" => Ok(Self::Null),
            "previous" => Ok(Self::Previous),
            "linear" => Ok(Self::Linear),
            other => Err(UsageError::new(
                "fill",
                format!("{other:?} is not a fill: use none, null, previous or linear"),
            )),
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

fn parse_rows(texts: &RangeTexts<'_>, range: TimeRange) -> Result<Rows, UsageError> {
    let Some(every) = texts.every else {
        for (name, given) in [("agg", texts.agg), ("fill", texts.fill)] {
            if given.is_some() {
                let reason = "only buckets have it: give `every` too, such as 1m";
                return Err(UsageError::new(name, reason));
            }
        }
        return Ok(Rows::Readings);
    };
    let every = parse_span("every", every)?;
    let fill = texts.fill.unwrap_or("none").parse()?;
    if fill != Fill::None {
        check_filled_count(range, every)?;
    }
    Ok(Rows::Buckets {
        every,
        aggregates: parse_aggregates(texts.agg.unwrap_or("mean"))?,
        fill,
    })
}

fn parse_aggregates(text: &str) -> Result<Vec<Aggregate>, UsageError> {
    let mut aggregates = Vec::new();
    for name in text.split(',') {
        let aggregate = name
            .trim()
            .parse()
            .map_err(|error| UsageError::new("agg", error))?;
        if aggregates.contains(&aggregate) {
            return Err(UsageError::new(
                "agg",
                format!("{aggregate} is named twice"),
            ));
        }
        aggregates.push(aggregate);
    }
    Ok(aggregates)
}

fn parse_limit(text: &str) -> Result<u64, UsageError> {
    match text.parse() {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err(UsageError::new(
            "limit",
            format!("{text:?} is not a count of at least 1"),
        )),
    }
}

fn check_filled_count(range: TimeRange, every: Duration) -> Result<(), UsageError> {
    let width = i128::from(range.to.as_nanos()) - i128::from(range.from.as_nanos());
    let every_ns = i128::try_from(every.as_nanos()).unwrap_or(i128::MAX);
    let buckets = width / every_ns + 1;
    if buckets <= i128::from(FILLED_BUCKETS_MAX) {
        return Ok(());
    }
    let reason = format!(
        "filling buckets of {} over this range makes more than {FILLED_BUCKETS_MAX} rows a series: \
         choose a wider `every` or a shorter range",
        format_duration(every)
    );
    Err(UsageError::new("fill", reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_nanos(1_763_632_800_000_000_000);

    fn texts<'a>() -> RangeTexts<'a> {
        RangeTexts {
            pattern: Some("plant/**"),
            from: Some("-1h"),
            ..RangeTexts::default()
        }
    }

    fn fault(texts: &RangeTexts<'_>) -> String {
        RangeQuestion::parse(texts, NOW).unwrap_err().to_string()
    }

    #[test]
    fn a_range_ends_now_unless_told_otherwise() {
        let question = RangeQuestion::parse(&texts(), NOW).unwrap();
        assert_eq!(question.range.to, NOW);
        assert_eq!(question.rows, Rows::Readings);
    }

    #[test]
    fn buckets_have_the_mean_unless_told_otherwise() {
        let question = RangeQuestion::parse(
            &RangeTexts {
                every: Some("5m"),
                ..texts()
            },
            NOW,
        );
        assert_eq!(
            question.unwrap().rows,
            Rows::Buckets {
                every: Duration::from_secs(300),
                aggregates: vec![Aggregate::Mean],
                fill: Fill::None,
            }
        );
    }

    #[test]
    fn each_fault_names_its_parameter() {
        let cases = [
            (
                "match: ",
                RangeTexts {
                    pattern: Some("a//b"),
                    ..texts()
                },
            ),
            (
                "match: ",
                RangeTexts {
                    pattern: None,
                    ..texts()
                },
            ),
            (
                "from: ",
                RangeTexts {
                    from: None,
                    ..texts()
                },
            ),
            (
                "from: ",
                RangeTexts {
                    from: Some("soon"),
                    ..texts()
                },
            ),
            (
                "from: ",
                RangeTexts {
                    to: Some("-2h"),
                    ..texts()
                },
            ),
            (
                "to: ",
                RangeTexts {
                    to: Some("2026-13-01"),
                    ..texts()
                },
            ),
            (
                "every: ",
                RangeTexts {
                    every: Some("5"),
                    ..texts()
                },
            ),
            (
                "every: ",
                RangeTexts {
                    every: Some("0s"),
                    ..texts()
                },
            ),
            (
                "agg: ",
                RangeTexts {
                    agg: Some("mean"),
                    ..texts()
                },
            ),
            (
                "agg: ",
                RangeTexts {
                    every: Some("1m"),
                    agg: Some("median"),
                    ..texts()
                },
            ),
            (
                "agg: ",
                RangeTexts {
                    every: Some("1m"),
                    agg: Some("min,min"),
                    ..texts()
                },
            ),
            (
                "fill: ",
                RangeTexts {
                    every: Some("1m"),
                    fill: Some("zero"),
                    ..texts()
                },
            ),
            (
                "fill: ",
                RangeTexts {
                    every: Some("1us"),
                    fill: Some("null"),
                    ..texts()
                },
            ),
            (
                "limit: ",
                RangeTexts {
                    limit: Some("0"),
                    ..texts()
                },
            ),
            (
                "limit: ",
                RangeTexts {
                    limit: Some("-1"),
                    ..texts()
                },
            ),
        ];
        for (name, texts) in cases {
            let message = fault(&texts);
            assert!(message.starts_with(name), "{texts:?} gave {message}");
        }
    }

    #[test]
    fn a_reversed_range_shows_both_ends() {
        let message = fault(&RangeTexts {
            from: Some("2026-01-02"),
            to: Some("2026-01-01"),
            ..texts()
        });
        assert!(
            message.contains("2026-01-02T00:00:00.000000000Z"),
            "{message}"
        );
        assert!(message.contains("reversed"), "{message}");
    }
}
