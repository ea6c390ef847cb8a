//! Timestamps, ranges of time, and the ways a person writes them.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::duration::parse_duration;
use crate::path::shortened;

/// Nanoseconds since 1970-01-01T00:00:00Z, in UTC, without leap seconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// A half-open range of time, `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// The first instant inside.
    pub from: Timestamp,
    /// The first instant after the range.
    pub to: Timestamp,
}

/// Why a text is not a time, or two times not a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not one of the forms a time can take.
    #[error(
        "{text:?} is not a time: write 2026-11-20T10:00:00Z, 2026-11-20, epoch seconds, ms or ns, `now`, `-15m` or `now-1h`"
    )]
    NotATime {
        /// The refused text.
        text: String,
    },
    /// A time before 1677-09-21 or after 2262-04-11, which 64 bits of nanoseconds cannot hold.
    #[error("{text:?} is outside the years 1678 to 2262 that a timestamp can hold")]
    OutOfRange {
        /// The refused text.
        text: String,
    },
    /// `from` is not before `to`.
    #[error("the range from {from} to {to} is empty or reversed: `from` must be before `to`")]
    Reversed {
        /// The given start.
        from: Timestamp,
        /// The given end.
        to: Timestamp,
    },
}

impl Timestamp {
    /// The earliest timestamp.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest timestamp.
    pub const MAX: Self = Self(i64::MAX);

    /// A timestamp from ns since 1970-01-01 UTC.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970-01-01 UTC.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// This timestamp moved later by `duration`, stopping at [`Timestamp::MAX`].
    pub fn saturating_add(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// This timestamp moved earlier by `duration`, stopping at [`Timestamp::MIN`].
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(nanos))
    }

    /// The start of the bucket of width `every` that holds this timestamp. Buckets are aligned to
    /// 1970-01-01 UTC.
    pub fn bucket_start(self, every: Duration) -> Self {
        let width = i64::try_from(every.as_nanos()).unwrap_or(i64::MAX).max(1);
        Self(self.0.saturating_sub(self.0.rem_euclid(width)))
    }

    /// Reads a time as a person writes it, relative to `now`.
    ///
    /// Forms: RFC 3339 with a zone; `YYYY-MM-DDTHH:MM:SS[.frac]` or with a space, taken as UTC; a
    /// date (its midnight UTC); an epoch number of seconds (up to 11 digits), milliseconds (up to
    /// 14) or nanoseconds (more); `now`; `-15m`, `+5m`; `now-1h`.
    ///
    /// # Errors
    /// [`TimeError::NotATime`] or [`TimeError::OutOfRange`], naming the text.
    pub fn parse(text: &str, now: Self) -> Result<Self, TimeError> {
        let trimmed = text.trim();
        let refused = || TimeError::NotATime {
            text: shortened(text),
        };
        if let Some(offset) = trimmed.strip_prefix("now") {
            return if offset.is_empty() {
                Ok(now)
            } else {
                relative(offset, now).ok_or_else(refused)
            };
        }
        let digits = trimmed.strip_prefix('-').unwrap_or(trimmed);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return epoch(trimmed, digits.len()).ok_or(TimeError::OutOfRange {
                text: shortened(text),
            });
        }
        if let Some(time) = relative(trimmed, now) {
            return Ok(time);
        }
        let utc = calendar(trimmed).ok_or_else(refused)?;
        let nanos = utc.timestamp_nanos_opt();
        nanos.map(Self).ok_or(TimeError::OutOfRange {
            text: shortened(text),
        })
    }
}

/// `-15m` and `+15m`.
fn relative(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(duration) = text.strip_prefix('-') {
        return parse_duration(duration)
            .ok()
            .map(|duration| now.saturating_sub(duration));
    }
    let duration = text.strip_prefix('+')?;
    parse_duration(duration)
        .ok()
        .map(|duration| now.saturating_add(duration))
}

/// An epoch number; its count of digits tells its unit.
fn epoch(text: &str, digits: usize) -> Option<Timestamp> {
    const SECONDS_DIGITS_MAX: usize = 11;
    const MILLIS_DIGITS_MAX: usize = 14;
    let number: i64 = text.parse().ok()?;
    let nanos_per_unit = match digits {
        0..=SECONDS_DIGITS_MAX => 1_000_000_000,
        12..=MILLIS_DIGITS_MAX => 1_000_000,
        _ => 1,
    };
    number.checked_mul(nanos_per_unit).map(Timestamp)
}

fn calendar(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    without_zone(text).map(|time| time.and_utc())
}

/// Reads a date, or a date and a time, that name no zone.
pub fn without_zone(text: &str) -> Option<NaiveDateTime> {
    for format in [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
    ] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some(time);
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_time(NaiveTime::MIN))
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with 9 decimals: `2026-11-20T10:00:00.000000000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::from_timestamp_nanos(self.0);
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Nanos, true))
    }
}

impl TimeRange {
    /// The range `[from, to)`.
    ///
    /// # Errors
    /// [`TimeError::Reversed`] unless `from` is before `to`.
    pub fn new(from: Timestamp, to: Timestamp) -> Result<Self, TimeError> {
        if from < to {
            Ok(Self { from, to })
        } else {
            Err(TimeError::Reversed { from, to })
        }
    }

    /// All of time (but its very last nanosecond).
    pub const EVERYTHING: Self = Self {
        from: Timestamp::MIN,
        to: Timestamp::MAX,
    };

    /// Whether `timestamp` lies inside.
    pub fn contains(&self, timestamp: Timestamp) -> bool {
        self.from <= timestamp && timestamp < self.to
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_763_632_800_000_000_000); // 2025-11-20T10:00:00Z

    fn parsed(text: &str) -> String {
        Timestamp::parse(text, NOW).unwrap().to_string()
    }

    #[test]
    fn every_form_of_the_contract_is_read() {
        assert_eq!(
            parsed("2026-11-20T10:00:00Z"),
            "2026-11-20T10:00:00.000000000Z"
        );
        assert_eq!(
            parsed("2026-11-20T10:00:00.25+02:00"),
            "2026-11-20T08:00:00.250000000Z"
        );
        assert_eq!(
            parsed("2026-11-20 10:00:00"),
            "2026-11-20T10:00:00.000000000Z"
        );
        assert_eq!(parsed("2026-11-20"), "2026-11-20T00:00:00.000000000Z");
        assert_eq!(parsed("1763632800"), "2025-11-20T10:00:00.000000000Z");
        assert_eq!(parsed("1763632800000"), "2025-11-20T10:00:00.000000000Z");
        assert_eq!(
            parsed("1763632800000000000"),
            "2025-11-20T10:00:00.000000000Z"
        );
        assert_eq!(parsed("now"), "2025-11-20T10:00:00.000000000Z");
        assert_eq!(parsed("-15m"), "2025-11-20T09:45:00.000000000Z");
        assert_eq!(parsed("now-1h"), "2025-11-20T09:00:00.000000000Z");
        assert_eq!(parsed("now+1s"), "2025-11-20T10:00:01.000000000Z");
    }

    #[test]
    fn anything_else_is_named_in_the_error() {
        for bad in [
            "",
            "yesterday",
            "2026-13-01",
            "now-",
            "-15",
            "1h",
            "9999-01-01",
            "--5m",
        ] {
            let outcome = Timestamp::parse(bad, NOW);
            // `-15` is an epoch number of seconds.
            assert_eq!(outcome.is_ok(), bad == "-15", "{bad:?} gave {outcome:?}");
        }
    }

    #[test]
    fn an_empty_or_reversed_range_is_refused() {
        assert!(TimeRange::new(Timestamp(5), Timestamp(5)).is_err());
        assert!(TimeRange::new(Timestamp(6), Timestamp(5)).is_err());
        assert!(TimeRange::new(Timestamp(5), Timestamp(6)).is_ok());
    }

    #[test]
    fn buckets_before_1970_are_aligned_too() {
        let every = Duration::from_nanos(10);
        assert_eq!(Timestamp(-1).bucket_start(every), Timestamp(-10));
        assert_eq!(Timestamp(19).bucket_start(every), Timestamp(10));
    }

    proptest! {
        #[test]
        fn a_timestamp_prints_so_that_it_reads_back(nanos in any::<i64>()) {
            let text = Timestamp(nanos).to_string();
            prop_assert_eq!(Timestamp::parse(&text, NOW), Ok(Timestamp(nanos)));
        }
    }
}
