//! How wide buckets are: a fixed time, or days, weeks, months and years of a time zone.
//!
//! The store knows no time zones: a calendar becomes a [`Grid`] here, so every replica cuts alike.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use chrono::{
    DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc,
};
use chrono_tz::Tz;
use sensor_model::duration::format_duration;
use sensor_model::{Grid, Stretch, TimeRange, Timestamp};

use crate::failure::UsageError;
use crate::question::parse_span;

/// How wide buckets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// Always so long, aligned to 1970-01-01 UTC. Never zero.
    Fixed(Duration),
    /// So many days, weeks, months or years. Never zero.
    Calendar(u32, Unit),
    /// One bucket, which is the whole range.
    All,
}

/// A unit of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// From midnight to midnight; several are counted from 1970-01-01.
    Day,
    /// From Monday; several are counted from that of 1969-12-29.
    Week,
    /// From the first; several are counted so that they begin with a January.
    Month,
    /// From the first of January; several are counted from the year 0.
    Year,
}

const MONTHS_OF_A_YEAR: i64 = 12;
/// Longest gap that clocks were ever put forward by: a day, on Samoa.
const GAP_MINUTES_MAX: i64 = 26 * 60;

impl Every {
    /// Reads `1d`, `2w`, `1mo`, `1y`, `all`, or a duration. Days are those of `zone`, and without one a fixed
    /// time.
    ///
    /// # Errors
    /// A [`UsageError`] naming `every`, or `tz` where there is a zone and nothing that follows it.
    pub fn parse(text: &str, zone: Option<Tz>) -> Result<Self, UsageError> {
        let text = text.trim();
        if text == "all" {
            return Ok(Self::All);
        }
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let unit = match &text[digits..] {
            "d" if zone.is_some() => Some(Unit::Day),
            "w" => Some(Unit::Week),
            "mo" => Some(Unit::Month),
            "y" => Some(Unit::Year),
            _ => None,
        };
        let Some(unit) = unit else {
            let fixed = parse_span("every", text).map_err(|error| {
                let reason = format!("{}; or 1w, 1mo, 1y, all", error.reason);
                UsageError::new("every", reason)
            })?;
            if zone.is_some() {
                let reason = format!(
                    "only days, weeks, months and years follow a time zone: leave it out, as buckets of \
                     {} are aligned to UTC",
                    format_duration(fixed)
                );
                return Err(UsageError::new("tz", reason));
            }
            return Ok(Self::Fixed(fixed));
        };
        match text[..digits].parse() {
            Ok(count) if (1..=10_000).contains(&count) => Ok(Self::Calendar(count, unit)),
            _ => {
                let reason =
                    format!("{text:?} is not a width: use 1 to 10000 of a unit, such as 1mo");
                Err(UsageError::new("every", reason))
            }
        }
    }

    /// Where the buckets of `range` begin and end, in `zone` (else UTC).
    ///
    /// # Errors
    /// A [`UsageError`] naming `every` when the calendar is too uneven for so long a range.
    pub fn grid(self, zone: Option<Tz>, range: TimeRange) -> Result<Grid, UsageError> {
        let grid = match self {
            Self::Fixed(every) => {
                let nanos = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
                let width = NonZeroU64::new(nanos).unwrap_or(NonZeroU64::MIN);
                Grid::Every(width)
            }
            Self::Calendar(count, unit) => {
                let zone = zone.unwrap_or(Tz::UTC);
                Grid::Stretches(stretches(i64::from(count), unit, zone, range))
            }
            Self::All => {
                let width = range.to.as_nanos().abs_diff(range.from.as_nanos());
                Grid::Stretches(vec![Stretch {
                    from: range.from,
                    width: NonZeroU64::new(width).unwrap_or(NonZeroU64::MIN),
                    buckets: 1,
                }])
            }
        };
        grid.check(range)
            .map_err(|error| UsageError::new("every", error))?;
        Ok(grid)
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self {
            Self::Fixed(every) => return f.write_str(&format_duration(*every)),
            Self::All => return f.write_str("all"),
            Self::Calendar(count, Unit::Day) => (count, "d"),
            Self::Calendar(count, Unit::Week) => (count, "w"),
            Self::Calendar(count, Unit::Month) => (count, "mo"),
            Self::Calendar(count, Unit::Year) => (count, "y"),
        };
        write!(f, "{count}{unit}")
    }
}

/// Reads the name of a time zone.
///
/// # Errors
/// A [`UsageError`] naming `tz`.
pub fn parse_zone(text: &str) -> Result<Tz, UsageError> {
    text.parse().map_err(|_| {
        let reason = format!("{text:?} is not a time zone: use a name of the IANA database, such as Europe/Berlin or UTC");
        UsageError::new("tz", reason)
    })
}

/// The instant of a time on the clocks of `zone`: the first of two, and where clocks skip it the
/// first after that. `None` where no timestamp can say it.
pub fn instant(local: NaiveDateTime, zone: Tz) -> Option<Timestamp> {
    let minutes = (0..=GAP_MINUTES_MAX).map(TimeDelta::minutes);
    let found = minutes
        .filter_map(|minutes| local.checked_add_signed(minutes))
        .filter_map(|local| zone.from_local_datetime(&local).earliest())
        .next();
    found?.timestamp_nanos_opt().map(Timestamp::from_nanos)
}

/// The periods that meet `range`, as stretches of equal width.
fn stretches(count: i64, unit: Unit, zone: Tz, range: TimeRange) -> Vec<Stretch> {
    let local = zone.from_utc_datetime(&utc(range.from).naive_utc());
    let mut number = number_of(local.date_naive(), unit).div_euclid(count);
    let mut start = start_of(number * count, unit, zone);
    let mut stretches: Vec<Stretch> = Vec::new();
    while start < range.to {
        number += 1;
        let end = start_of(number * count, unit, zone);
        let width = i128::from(end.as_nanos()) - i128::from(start.as_nanos());
        // A period that clocks skipped as a whole is none.
        if let Some(width) = u64::try_from(width).ok().and_then(NonZeroU64::new) {
            match stretches.last_mut() {
                Some(last) if last.width == width => last.buckets += 1,
                _ => stretches.push(Stretch {
                    from: start,
                    width,
                    buckets: 1,
                }),
            }
        } else if end == Timestamp::MAX {
            break;
        }
        start = end;
    }
    stretches
}

fn utc(time: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(time.as_nanos())
}

const fn epoch() -> NaiveDate {
    DateTime::UNIX_EPOCH.naive_utc().date()
}

/// 1970-01-01 was a Thursday.
const DAYS_TO_MONDAY: i64 = 3;

/// Which period of one unit holds `date`.
fn number_of(date: NaiveDate, unit: Unit) -> i64 {
    let days = date.signed_duration_since(epoch()).num_days();
    match unit {
        Unit::Day => days,
        Unit::Week => (days + DAYS_TO_MONDAY).div_euclid(7),
        Unit::Month => i64::from(date.year()) * MONTHS_OF_A_YEAR + i64::from(date.month0()),
        Unit::Year => i64::from(date.year()),
    }
}

/// Where a period of one unit begins, as near as a timestamp can say it.
fn start_of(number: i64, unit: Unit, zone: Tz) -> Timestamp {
    let beyond = if number < number_of(epoch(), unit) {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    let date = date_of(number, unit);
    let start = date.and_then(|date| instant(date.and_time(NaiveTime::MIN), zone));
    start.unwrap_or(beyond)
}

fn date_of(number: i64, unit: Unit) -> Option<NaiveDate> {
    let day = |days: i64| {
        let distance = Days::new(days.unsigned_abs());
        if days < 0 {
            epoch().checked_sub_days(distance)
        } else {
            epoch().checked_add_days(distance)
        }
    };
    let month = |months: i64| {
        let year = i32::try_from(months.div_euclid(MONTHS_OF_A_YEAR)).ok()?;
        let month = u32::try_from(months.rem_euclid(MONTHS_OF_A_YEAR)).ok()?;
        NaiveDate::from_ymd_opt(year, month + 1, 1)
    };
    match unit {
        Unit::Day => day(number),
        Unit::Week => day(number.checked_mul(7)?.checked_sub(DAYS_TO_MONDAY)?),
        Unit::Month => month(number),
        Unit::Year => month(number.checked_mul(MONTHS_OF_A_YEAR)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp::from_nanos(0)).unwrap()
    }

    /// Where the buckets of a range begin.
    fn starts(every: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
        let zone = Some(parse_zone(zone).unwrap());
        let range = TimeRange::new(at(from), at(to)).unwrap();
        let grid = Every::parse(every, zone)
            .unwrap()
            .grid(zone, range)
            .unwrap();
        let mut start = grid.bucket_of(range.from).from;
        let mut starts = Vec::new();
        while start < range.to {
            starts.push(start.to_string().replace(":00.000000000Z", ""));
            start = grid.after(start).unwrap();
        }
        assert_eq!(starts.len() as u128, grid.buckets_in(range));
        starts
    }

    #[test]
    fn a_day_of_berlin_has_23_or_25_hours_when_clocks_change() {
        assert_eq!(
            starts(
                "1d",
                "Europe/Berlin",
                "2026-03-28T12:00:00Z",
                "2026-03-30T23:00:00Z"
            ),
            [
                "2026-03-27T23:00",
                "2026-03-28T23:00",
                "2026-03-29T22:00",
                "2026-03-30T22:00"
            ]
        );
        assert_eq!(
            starts(
                "1d",
                "Europe/Berlin",
                "2026-10-24T22:00:00Z",
                "2026-10-26T00:00:00Z"
            ),
            ["2026-10-24T22:00", "2026-10-25T23:00"]
        );
    }

    #[test]
    fn weeks_begin_on_mondays_months_on_the_first_and_quarters_with_january() {
        assert_eq!(
            starts("1w", "UTC", "2026-01-01", "2026-01-13"),
            ["2025-12-29T00:00", "2026-01-05T00:00", "2026-01-12T00:00"]
        );
        assert_eq!(
            starts("1mo", "America/New_York", "2026-02-10", "2026-04-02"),
            ["2026-02-01T05:00", "2026-03-01T05:00", "2026-04-01T04:00"]
        );
        assert_eq!(
            starts("3mo", "UTC", "2025-11-01", "2026-04-02"),
            ["2025-10-01T00:00", "2026-01-01T00:00", "2026-04-01T00:00"]
        );
        assert_eq!(
            starts("1y", "Asia/Kolkata", "2024-12-31T18:00:00Z", "2025-01-02"),
            ["2023-12-31T18:30", "2024-12-31T18:30"]
        );
    }

    #[test]
    fn a_midnight_that_clocks_skip_is_the_first_instant_after() {
        // Clocks went from 24:00 to 01:00.
        assert_eq!(
            starts(
                "1d",
                "America/Sao_Paulo",
                "2018-11-03T12:00:00Z",
                "2018-11-05T12:00:00Z"
            ),
            ["2018-11-03T03:00", "2018-11-04T03:00", "2018-11-05T02:00"]
        );
        // A whole day was skipped.
        assert_eq!(
            starts(
                "1d",
                "Pacific/Apia",
                "2011-12-29T12:00:00Z",
                "2011-12-31T12:00:00Z"
            ),
            ["2011-12-29T10:00", "2011-12-30T10:00", "2011-12-31T10:00"]
        );
    }

    #[test]
    fn the_last_time_of_the_calendar_is_no_instant() {
        let zone = Tz::America__New_York;
        for local in [NaiveDateTime::MAX, NaiveDateTime::MIN] {
            assert_eq!(instant(local, zone), None, "{local}");
        }
    }

    #[test]
    fn all_of_time_has_a_calendar() {
        for (every, zone) in [
            ("1y", "UTC"),
            ("1mo", "UTC"),
            ("1w", "Europe/Berlin"),
            ("1d", "UTC"),
        ] {
            let zone = Some(parse_zone(zone).unwrap());
            let every = Every::parse(every, zone).unwrap();
            let grid = every.grid(zone, TimeRange::EVERYTHING);
            // Months change their length too often; years and weeks do not.
            assert_eq!(
                grid.is_ok(),
                every != Every::Calendar(1, Unit::Month),
                "{every}"
            );
        }
        let long = TimeRange::new(at("1900-01-01"), at("2200-01-01")).unwrap();
        assert!(Every::Calendar(1, Unit::Month).grid(None, long).is_ok());
        assert!(
            Every::Calendar(1, Unit::Day)
                .grid(Some(Tz::Europe__Berlin), long)
                .is_ok()
        );
    }

    #[test]
    fn widths_read_back_as_printed_and_others_are_refused() {
        for text in ["1d", "2w", "1mo", "12mo", "100y"] {
            assert_eq!(Every::parse(text, Some(Tz::UTC)).unwrap().to_string(), text);
        }
        assert_eq!(
            Every::parse("1d", None),
            Ok(Every::Fixed(Duration::from_secs(86_400)))
        );
        for bad in ["0d", "mo", "1.5mo", "10001y", "1mo2w", "-1y"] {
            assert!(
                Every::parse(bad, Some(Tz::UTC)).is_err(),
                "{bad:?} was accepted"
            );
        }
        let refused = Every::parse("6h", Some(Tz::Europe__Berlin)).unwrap_err();
        assert_eq!(refused.name, "tz");
        assert!(parse_zone("Berlin").is_err());
    }
}
