//! What is asked of buckets.

use std::time::Duration;

use chrono_tz::Tz;
use sensor_model::{Aggregate, Grid, GroupKey, TimeRange};

use crate::failure::UsageError;
use crate::question::calendar::{Every, parse_zone};
use crate::question::{RangeTexts, parse_span};

/// Most rows that filling empty buckets may make of one series.
pub const FILLED_BUCKETS_MAX: u64 = 1_000_000;

/// What rows of buckets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    /// How wide a bucket is.
    pub every: Every,
    /// The time zone whose calendar it follows.
    pub zone: Option<Tz>,
    /// Where buckets begin and end.
    pub grid: Grid,
    /// One column each; never empty, none twice.
    pub aggregates: Vec<Aggregate>,
    /// What stands for a bucket without readings.
    pub fill: Fill,
    /// The longest gap that is filled; any when `None`.
    pub fill_max: Option<Duration>,
    /// Rows of groups of series in place of rows of series; without a key, of all series together.
    pub by: Option<Vec<GroupKey>>,
}

/// What stands for a bucket without readings. Its `count` is 0 whichever is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fill {
    /// No row at all.
    #[default]
    None,
    /// A row without values.
    Null,
    /// The values of the bucket before it in time, if that begins no longer before than allowed.
    Previous,
    /// A line between the buckets on both sides, if these begin no further apart than allowed; no value
    /// where there is only one.
    Linear,
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

impl Buckets {
    /// Checks what was written; `None` when it asks for readings.
    ///
    /// # Errors
    /// A [`UsageError`] naming the first parameter at fault.
    pub(super) fn parse(
        texts: &RangeTexts<'_>,
        range: TimeRange,
    ) -> Result<Option<Self>, UsageError> {
        for (name, given) in [("fill", texts.fill), ("fill-max", texts.fill_max)] {
            if given.is_some() && texts.every.is_none() {
                let reason = "only buckets have it: give `every` too, such as 1m";
                return Err(UsageError::new(name, reason));
            }
        }
        let asked = [texts.agg, texts.by, texts.top, texts.bottom];
        let is_one = asked.iter().any(Option::is_some).then_some("all");
        let Some(every) = texts.every.or(is_one) else {
            return Ok(None);
        };
        let zone = texts.tz.map(parse_zone).transpose()?;
        let every = Every::parse(every, zone)?;
        let grid = every.grid(zone, range)?;
        let fill = texts.fill.unwrap_or("none").parse()?;
        let fill_max = texts.fill_max.map(|text| parse_span("fill-max", text));
        let fill_max = fill_max.transpose()?;
        if fill_max.is_some() && !matches!(fill, Fill::Previous | Fill::Linear) {
            let reason = "only fills that make up values have it: previous and linear";
            return Err(UsageError::new("fill-max", reason));
        }
        if fill != Fill::None {
            check_filled_count(&grid, every, range)?;
        }
        Ok(Some(Self {
            every,
            zone,
            grid,
            aggregates: parse_aggregates(texts.agg.unwrap_or("mean"))?,
            fill,
            fill_max,
            by: texts.by.map(parse_keys).transpose()?,
        }))
    }
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

/// `all` is one group of everything.
fn parse_keys(text: &str) -> Result<Vec<GroupKey>, UsageError> {
    if text.trim() == "all" {
        return Ok(Vec::new());
    }
    let keys = text.split(',').map(|key| key.trim().parse());
    keys.collect::<Result<_, _>>()
        .map_err(|error| UsageError::new("by", format!("{error}; or all, for one group")))
}

fn check_filled_count(grid: &Grid, every: Every, range: TimeRange) -> Result<(), UsageError> {
    if grid.buckets_in(range) <= u128::from(FILLED_BUCKETS_MAX) {
        return Ok(());
    }
    let reason = format!(
        "filling buckets of {every} over this range makes more than {FILLED_BUCKETS_MAX} rows a series: \
         choose a wider `every` or a shorter range",
    );
    Err(UsageError::new("fill", reason))
}
