//! What is asked about a range of time, beside how fresh the answer must be.

use sensor_model::grid::GridError;
use sensor_model::{Aggregate, Filter, Grid, GroupKey, Pattern, SeriesPath, TimeRange};
use serde::{Deserialize, Serialize};

/// Most patterns of one question.
pub const PATTERNS_MAX: usize = 64;
/// Most aggregates of one question.
pub const AGGREGATES_MAX: usize = 32;
/// Most keys that series are grouped by.
pub const GROUP_KEYS_MAX: usize = 8;

/// In which order of time rows are sent. Series are always in order of their paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Order {
    /// Earliest first.
    #[default]
    Ascending,
    /// Latest first.
    Descending,
}

/// What is asked about a range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RangeQuestion {
    /// Which series: those that any of these matches, each once.
    pub patterns: Vec<Pattern>,
    /// Which time, half-open.
    pub range: TimeRange,
    /// What the rows are.
    pub rows: RowsAsked,
    /// Which readings are looked at; the others are as if they were not there.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// At most so many rows a series, or a group.
    #[serde(default)]
    pub limit: Option<u64>,
    /// Order of rows within a series.
    #[serde(default)]
    pub order: Order,
    /// Where to go on.
    #[serde(default)]
    pub resume: Option<Resume>,
}

/// What the rows of an answer are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RowsAsked {
    /// Readings as they are.
    Readings,
    /// What readings come to in intervals of time.
    Buckets {
        /// Where these begin and end.
        grid: Grid,
        /// One value of a row each.
        aggregates: Vec<Aggregate>,
        /// Rows of groups of series, which share all of these, in place of rows of series.
        by: Option<Vec<GroupKey>>,
    },
}

/// Where an answer goes on that was heard in part before. Groups are not resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Series before this one are left out.
    pub path: SeriesPath,
    /// What is asked of this one.
    pub range: TimeRange,
    /// At most so many rows of this one.
    pub limit: Option<u64>,
}

/// Why a question is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeQuestionError {
    /// None, or too many, of something.
    #[error("a question has 1 to {most} {what}, not {count}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// An aggregate twice.
    #[error("{aggregate} is asked for twice")]
    Twice {
        /// Which.
        aggregate: Aggregate,
    },
    /// The range holds no instant.
    #[error(transparent)]
    Range(#[from] sensor_model::TimeError),
    /// The buckets are none.
    #[error(transparent)]
    Grid(#[from] GridError),
}

impl RangeQuestion {
    /// All readings of the series that `pattern` matches in `range`.
    pub fn new(pattern: Pattern, range: TimeRange) -> Self {
        Self {
            patterns: vec![pattern],
            range,
            rows: RowsAsked::Readings,
            filter: None,
            limit: None,
            order: Order::Ascending,
            resume: None,
        }
    }

    /// Checks what came over the wire and was not made by the types themselves.
    ///
    /// # Errors
    /// [`RangeQuestionError`], saying what breaks a rule.
    pub fn check(&self) -> Result<(), RangeQuestionError> {
        TimeRange::new(self.range.from, self.range.to)?;
        if let Some(resume) = &self.resume {
            TimeRange::new(resume.range.from, resume.range.to)?;
        }
        check_count("patterns", self.patterns.len(), PATTERNS_MAX)?;
        let RowsAsked::Buckets {
            grid,
            aggregates,
            by,
        } = &self.rows
        else {
            return Ok(());
        };
        grid.check(self.range)?;
        if let Some(resume) = &self.resume {
            grid.check(resume.range)?;
        }
        check_count("aggregates", aggregates.len(), AGGREGATES_MAX)?;
        for (position, aggregate) in aggregates.iter().enumerate() {
            if aggregates[..position].contains(aggregate) {
                return Err(RangeQuestionError::Twice {
                    aggregate: *aggregate,
                });
            }
        }
        match by {
            // No key at all makes one group of all series.
            Some(by) if by.len() > GROUP_KEYS_MAX => {
                check_count("keys of groups", by.len(), GROUP_KEYS_MAX)
            }
            _ => Ok(()),
        }
    }
}

fn check_count(what: &'static str, count: usize, most: usize) -> Result<(), RangeQuestionError> {
    if (1..=most).contains(&count) {
        Ok(())
    } else {
        Err(RangeQuestionError::Count { what, count, most })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use sensor_model::{Percentile, SeriesPath, Stretch, Timestamp};

    use super::*;

    fn question() -> RangeQuestion {
        RangeQuestion::new(Pattern::everything(), TimeRange::EVERYTHING)
    }

    fn buckets(aggregates: Vec<Aggregate>, keys: usize) -> RangeQuestion {
        RangeQuestion {
            rows: RowsAsked::Buckets {
                grid: Grid::Every(NonZeroU64::MIN),
                aggregates,
                by: Some(vec![GroupKey::Segment(1); keys]),
            },
            ..question()
        }
    }

    #[test]
    fn every_count_is_bounded() {
        let patterns = |count| RangeQuestion {
            patterns: vec![Pattern::everything(); count],
            ..question()
        };
        let aggregates = |count: usize| {
            let percentile = |n| Aggregate::Percentile(Percentile::new(n).unwrap());
            buckets(
                (0..u32::try_from(count).unwrap()).map(percentile).collect(),
                1,
            )
        };
        let keys = |count| buckets(vec![Aggregate::Mean], count);
        assert!(patterns(1).check().is_ok() && patterns(PATTERNS_MAX).check().is_ok());
        assert!(patterns(0).check().is_err() && patterns(PATTERNS_MAX + 1).check().is_err());
        assert!(aggregates(1).check().is_ok() && aggregates(AGGREGATES_MAX).check().is_ok());
        assert!(aggregates(0).check().is_err() && aggregates(AGGREGATES_MAX + 1).check().is_err());
        assert!(keys(0).check().is_ok() && keys(GROUP_KEYS_MAX).check().is_ok());
        assert!(keys(GROUP_KEYS_MAX + 1).check().is_err());
    }

    #[test]
    fn buckets_reach_over_what_is_gone_on_with() {
        let at = Timestamp::from_nanos;
        let range = |to| TimeRange::new(at(0), at(to)).unwrap();
        let question = |to| RangeQuestion {
            range: range(100),
            rows: RowsAsked::Buckets {
                grid: Grid::Stretches(vec![Stretch {
                    from: at(0),
                    width: NonZeroU64::new(100).unwrap(),
                    buckets: 1,
                }]),
                aggregates: vec![Aggregate::Mean],
                by: None,
            },
            resume: Some(Resume {
                path: SeriesPath::new("a").unwrap(),
                range: range(to),
                limit: None,
            }),
            ..question()
        };
        assert!(question(100).check().is_ok());
        assert!(question(101).check().is_err());
    }

    #[test]
    fn a_reversed_range_and_an_aggregate_twice_are_refused() {
        let at = Timestamp::from_nanos;
        let reversed = TimeRange {
            from: at(5),
            to: at(5),
        };
        let empty = RangeQuestion {
            range: reversed,
            ..question()
        };
        assert!(empty.check().is_err());
        let resumed = RangeQuestion {
            resume: Some(Resume {
                path: SeriesPath::new("a").unwrap(),
                range: reversed,
                limit: None,
            }),
            ..question()
        };
        assert!(resumed.check().is_err());
        let twice = buckets(vec![Aggregate::Min, Aggregate::Max, Aggregate::Min], 0);
        assert!(twice.check().is_err());
    }
}
