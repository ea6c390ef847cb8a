//! Where buckets begin and end.
//!
//! A grid is plain arithmetic: whoever asks turns days or months of a time zone into stretches of
//! equally wide buckets, so that all who answer cut time alike, whatever they know of time zones.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::time::{TimeRange, Timestamp};

/// Most stretches of a grid: months of 300 years, days of 1,900.
pub const STRETCHES_MAX: usize = 4_096;

/// Cuts time into buckets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grid {
    /// All buckets are so many ns wide, aligned to 1970-01-01 UTC.
    Every(NonZeroU64),
    /// Buckets of different widths. What [`Grid::check`] accepts follows each other without gaps.
    Stretches(Vec<Stretch>),
}

/// Buckets of one width that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// Where the first begins.
    pub from: Timestamp,
    /// How wide each is, in ns.
    pub width: NonZeroU64,
    /// How many there are.
    pub buckets: u32,
}

/// Why stretches are not a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// Too many.
    #[error(
        "a calendar of {stretches} stretches is too uneven: at most {STRETCHES_MAX}, ask for a shorter range"
    )]
    TooUneven {
        /// How many there are.
        stretches: usize,
    },
    /// They have a gap, overlap, or do not reach over the whole range.
    #[error("the buckets do not follow each other over the whole range")]
    NotWhole,
}

impl Stretch {
    /// Where the last bucket ends, as far as a timestamp can say.
    pub fn end(&self) -> Timestamp {
        self.start_of(i128::from(self.buckets))
    }

    fn start_of(&self, bucket: i128) -> Timestamp {
        let nanos = i128::from(self.from.as_nanos()) + bucket * i128::from(self.width.get());
        clamped(nanos)
    }

    fn bucket_of(&self, time: Timestamp) -> TimeRange {
        let offset = i128::from(time.as_nanos()) - i128::from(self.from.as_nanos());
        let last = i128::from(self.buckets).max(1) - 1;
        let bucket = (offset / i128::from(self.width.get())).clamp(0, last);
        TimeRange {
            from: self.start_of(bucket),
            to: self.start_of(bucket + 1),
        }
    }
}

impl Grid {
    /// The bucket that holds `time`.
    ///
    /// Where stretches end, their last bucket stands for what follows, and their first for what comes
    /// before.
    ///
    /// # Panics
    /// Without a single stretch, which [`Grid::check`] refuses.
    pub fn bucket_of(&self, time: Timestamp) -> TimeRange {
        match self {
            Self::Every(width) => {
                let nanos = time.as_nanos();
                within_64_bits(nanos, *width).unwrap_or_else(|| {
                    let (nanos, width) = (i128::from(nanos), i128::from(width.get()));
                    let start = nanos - nanos.rem_euclid(width);
                    TimeRange {
                        from: clamped(start),
                        to: clamped(start + width),
                    }
                })
            }
            Self::Stretches(stretches) => {
                let after = stretches.partition_point(|stretch| stretch.from <= time);
                stretches[after.saturating_sub(1)].bucket_of(time)
            }
        }
    }

    /// The bucket after `bucket`, if that holds `time` and is as wide: [`bucket_of`](Self::bucket_of)
    /// without its division, for times that ascend from bucket to bucket.
    pub fn next_if_holds(&self, bucket: TimeRange, time: Timestamp) -> Option<TimeRange> {
        let Self::Every(width) = self else {
            return None;
        };
        let width = i64::try_from(width.get()).ok()?;
        let to = Timestamp::from_nanos(bucket.to.as_nanos().checked_add(width)?);
        let from = bucket.to;
        (from <= time && time < to).then_some(TimeRange { from, to })
    }

    /// The bucket after the one that begins at `start`; `None` at the end of time.
    pub fn after(&self, start: Timestamp) -> Option<Timestamp> {
        let end = self.bucket_of(start).to;
        (end > start && end < Timestamp::MAX).then_some(end)
    }

    /// Where the bucket before the one that begins at `start` begins; `None` at the beginning of time.
    pub fn before(&self, start: Timestamp) -> Option<Timestamp> {
        let nanos = start.as_nanos().checked_sub(1)?;
        let before = self.bucket_of(Timestamp::from_nanos(nanos)).from;
        (before < start).then_some(before)
    }

    /// Whether this is a grid that reaches over `range`.
    ///
    /// # Errors
    /// [`GridError`], saying what is wrong.
    pub fn check(&self, range: TimeRange) -> Result<(), GridError> {
        let Self::Stretches(stretches) = self else {
            return Ok(());
        };
        if stretches.len() > STRETCHES_MAX {
            return Err(GridError::TooUneven {
                stretches: stretches.len(),
            });
        }
        let follow =
            |pair: &[Stretch]| pair[0].from < pair[1].from && pair[0].end() == pair[1].from;
        let reach = match (stretches.first(), stretches.last()) {
            (Some(first), Some(last)) => {
                first.from <= range.from && range.to <= last.end() && last.from < last.end()
            }
            _ => false,
        };
        if reach && stretches.windows(2).all(follow) {
            Ok(())
        } else {
            Err(GridError::NotWhole)
        }
    }

    /// How many buckets meet `range`.
    pub fn buckets_in(&self, range: TimeRange) -> u128 {
        let nanos = |time: Timestamp| i128::from(time.as_nanos());
        let count = match self {
            Self::Every(width) => {
                let width = i128::from(width.get());
                nanos(range.to).saturating_sub(1).div_euclid(width)
                    - nanos(range.from).div_euclid(width)
                    + 1
            }
            Self::Stretches(stretches) => stretches
                .iter()
                .map(|stretch| i128::from(stretch.buckets))
                .sum(),
        };
        count.unsigned_abs()
    }
}

/// The bucket of `width` that holds `nanos`, where all of it can be said in 64 bits: far quicker than in
/// 128, and nearly always.
fn within_64_bits(nanos: i64, width: NonZeroU64) -> Option<TimeRange> {
    let width = i64::try_from(width.get()).ok()?;
    let start = nanos.checked_sub(nanos.rem_euclid(width))?;
    Some(TimeRange {
        from: Timestamp::from_nanos(start),
        to: Timestamp::from_nanos(start.checked_add(width)?),
    })
}

/// A timestamp as near to `nanos` as one can be.
fn clamped(nanos: i128) -> Timestamp {
    let clamped = nanos.clamp(i64::MIN.into(), i64::MAX.into());
    Timestamp::from_nanos(i64::try_from(clamped).expect("it was clamped"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn stretch(from: i64, width: u64, buckets: u32) -> Stretch {
        Stretch {
            from: Timestamp::from_nanos(from),
            width: NonZeroU64::new(width).unwrap(),
            buckets,
        }
    }

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange {
            from: Timestamp::from_nanos(from),
            to: Timestamp::from_nanos(to),
        }
    }

    fn bucket(grid: &Grid, time: i64) -> (i64, i64) {
        let bucket = grid.bucket_of(Timestamp::from_nanos(time));
        (bucket.from.as_nanos(), bucket.to.as_nanos())
    }

    #[test]
    fn stretches_are_looked_up_and_walked_through() {
        let grid = Grid::Stretches(vec![
            stretch(0, 24, 2),
            stretch(48, 23, 1),
            stretch(71, 24, 2),
        ]);
        assert_eq!(grid.check(range(0, 119)), Ok(()));
        for (time, expected) in [
            (0, (0, 24)),
            (23, (0, 24)),
            (47, (24, 48)),
            (48, (48, 71)),
            (70, (48, 71)),
            (71, (71, 95)),
            (118, (95, 119)),
        ] {
            assert_eq!(bucket(&grid, time), expected);
        }
        let mut starts = vec![0];
        while let Some(next) = grid.after(Timestamp::from_nanos(*starts.last().unwrap())) {
            if next.as_nanos() >= 119 {
                break;
            }
            starts.push(next.as_nanos());
        }
        assert_eq!(starts, [0, 24, 48, 71, 95]);
        let before: Vec<i64> = starts[1..]
            .iter()
            .map(|start| {
                grid.before(Timestamp::from_nanos(*start))
                    .unwrap()
                    .as_nanos()
            })
            .collect();
        assert_eq!(before, starts[..4]);
        assert_eq!(grid.buckets_in(range(0, 119)), 5);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let whole = range(0, 48);
        for bad in [
            vec![],
            vec![stretch(1, 48, 1)],
            vec![stretch(0, 47, 1)],
            vec![stretch(0, 24, 1), stretch(25, 24, 1)],
            vec![stretch(0, 24, 2), stretch(24, 24, 1)],
            vec![stretch(0, 48, 0)],
        ] {
            let grid = Grid::Stretches(bad);
            assert_eq!(grid.check(whole), Err(GridError::NotWhole), "{grid:?}");
        }
        let uneven = |count: usize| {
            let at = |n: usize| stretch(i64::try_from(n).unwrap(), 1, 1);
            Grid::Stretches((0..count).map(at).collect()).check(range(0, 100))
        };
        assert_eq!(uneven(STRETCHES_MAX), Ok(()));
        assert!(matches!(
            uneven(STRETCHES_MAX + 1),
            Err(GridError::TooUneven { .. })
        ));
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_time_and_begins_where_buckets_do(
            time in any::<i64>(),
            width in prop_oneof![1_u64..5_000, 1_000_000_000_u64..i64::MAX as u64],
        ) {
            let grid = Grid::Every(NonZeroU64::new(width).unwrap());
            let time = Timestamp::from_nanos(time);
            let bucket = grid.bucket_of(time);
            prop_assert!(bucket.contains(time) || time == Timestamp::MAX);
            prop_assert_eq!(bucket.from, time.bucket_start(Duration::from_nanos(width)));
        }

        #[test]
        fn the_next_bucket_is_the_one_that_holds_the_time(
            time in any::<i64>(),
            width in prop_oneof![1_u64..5_000, 1_000_000_000_u64..u64::MAX],
            later in prop_oneof![0_u64..15_000, any::<u64>()],
        ) {
            let grid = Grid::Every(NonZeroU64::new(width).unwrap());
            let bucket = grid.bucket_of(Timestamp::from_nanos(time));
            let edges = [bucket.from, bucket.to, grid.bucket_of(bucket.to).to];
            let beside = |edge: i64| [edge.saturating_sub(1), edge];
            let times = edges.map(Timestamp::as_nanos).into_iter().flat_map(beside);
            for later in times.chain([time.saturating_add_unsigned(later)]) {
                let later = Timestamp::from_nanos(later);
                let found = grid.bucket_of(later);
                let is_next = found.from == bucket.to && found.to != Timestamp::MAX;
                let next = grid.next_if_holds(bucket, later);
                prop_assert!(next.is_none_or(|next| next == found));
                prop_assert!(next.is_some() || !is_next || found == bucket, "{bucket:?} {later:?}");
            }
        }

        #[test]
        fn as_many_buckets_are_walked_through_as_are_counted(
            from in -1_000_i64..1_000, span in 1_i64..500, width in 1_u64..60,
        ) {
            let grid = Grid::Every(NonZeroU64::new(width).unwrap());
            let range = range(from, from + span);
            let mut start = grid.bucket_of(range.from).from;
            let mut walked = 0_u128;
            while start < range.to {
                walked += 1;
                start = grid.after(start).unwrap();
            }
            prop_assert_eq!(grid.buckets_in(range), walked);
        }
    }
}
