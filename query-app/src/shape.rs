//! Buckets as the store sends them to rows as a person asked for them: chosen aggregates, filled
//! gaps, a limit.
//!
//! Filling happens here and not in the store, so that empty intervals never travel. Nothing is
//! gathered: a gap of any width is filled piece by piece as the rows are taken.

use std::collections::VecDeque;
use std::time::Duration;

use sensor_model::{Aggregate, Bucket, Kind, TimeRange, Timestamp, Value};
use store_wire::message::Order;

use crate::question::{Buckets, Fill};

/// Most rows given out in one piece.
const PIECE_ROWS_MAX: usize = 4_096;

/// Shapes the buckets of one series after another. Invariants:
/// - rows leave in the order asked for, each start at most once;
/// - with a fill, the starts inside the range form a sequence without gaps;
/// - never more than `limit` rows a series leave.
pub struct Shaper {
    buckets: Buckets,
    order: Order,
    limit: Option<u64>,
    /// Where the first and the last bucket of the range start, in order of time.
    first: Timestamp,
    last: Timestamp,
    series: SeriesProgress,
    /// Whether the limit has cut rows off any series.
    cut: bool,
}

#[derive(Default)]
struct SeriesProgress {
    /// The last row that had readings. Without one a series has no row at all.
    seen: Option<Bucket>,
    /// The start the next row has when every bucket has one; `None` when past the end.
    expected: Option<Timestamp>,
    waiting: VecDeque<Bucket>,
    ended: bool,
    rows: u64,
    /// Rows up to this one were given before.
    given: Option<Timestamp>,
}

impl Shaper {
    /// A shaper for `range` cut into `buckets`.
    pub fn new(range: TimeRange, buckets: Buckets, order: Order) -> Self {
        let inside = range.to.saturating_sub(Duration::from_nanos(1));
        Self {
            order,
            limit: None,
            first: buckets.grid.bucket_of(range.from).from,
            last: buckets.grid.bucket_of(inside).from,
            buckets,
            series: SeriesProgress::default(),
            cut: false,
        }
    }

    /// The same shaper that gives out at most `limit` rows a series.
    pub fn with_limit(mut self, limit: Option<u64>) -> Self {
        self.limit = limit;
        self
    }

    /// Begins the next series. What was not taken of the one before is dropped.
    pub fn begin_series(&mut self) {
        let expected = match self.order {
            Order::Ascending => self.first,
            Order::Descending => self.last,
        };
        self.series = SeriesProgress {
            expected: Some(expected),
            ..SeriesProgress::default()
        };
    }

    /// Passes over the rows of the series up to the one at `through`: they were given before, `rows` in
    /// all.
    pub fn pass_over(&mut self, through: Timestamp, rows: u64) {
        self.series.given = Some(through);
        self.series.rows = rows;
    }

    /// Adds buckets of the series, in the order asked for.
    pub fn push(&mut self, buckets: &[Bucket]) {
        self.series.waiting.extend(buckets.iter().cloned());
    }

    /// Says that no more buckets of the series come.
    pub fn end_series(&mut self) {
        self.series.ended = true;
    }

    /// Whether the limit has cut rows off any series.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The next rows that are ready; empty when more buckets are needed or none are left.
    pub fn take(&mut self) -> Vec<Bucket> {
        let mut rows = Vec::new();
        while rows.len() < PIECE_ROWS_MAX {
            let Some(row) = self.next_row() else { break };
            let given = self.series.given;
            if given.is_some_and(|given| !self.is_before(given, row.start)) {
                continue;
            }
            if self.limit.is_some_and(|limit| self.series.rows >= limit) {
                self.cut = true;
                self.series.expected = None;
                self.series.waiting.clear();
                break;
            }
            self.series.rows += 1;
            rows.push(row);
        }
        rows
    }

    fn next_row(&mut self) -> Option<Bucket> {
        if self.buckets.fill == Fill::None {
            return self.series.waiting.pop_front();
        }
        let next = self.series.waiting.front().map(|row| row.start);
        let gap = match (next, self.series.expected) {
            (Some(next), Some(expected)) if self.is_before(expected, next) => Some(expected),
            (Some(_), _) => None,
            // Only the end of the series tells that no bucket follows; a series without a single
            // reading stays empty.
            (None, expected) if self.series.ended && self.series.seen.is_some() => Some(expected?),
            (None, _) => return None,
        };
        if let Some(start) = gap {
            let row = self.filled(start);
            self.advance(start);
            return Some(row);
        }
        // What the store sent is shown, wherever it lies.
        let row = self.series.waiting.pop_front()?;
        self.advance(row.start);
        self.series.seen = Some(row.clone());
        Some(row)
    }

    /// Whether the row at `start` comes before the one at `other` in the order asked for.
    fn is_before(&self, start: Timestamp, other: Timestamp) -> bool {
        match self.order {
            Order::Ascending => start < other,
            Order::Descending => start > other,
        }
    }

    fn advance(&mut self, from: Timestamp) {
        let grid = &self.buckets.grid;
        let next = match self.order {
            Order::Ascending => grid.after(from).filter(|next| *next <= self.last),
            Order::Descending => grid.before(from).filter(|next| *next >= self.first),
        };
        self.series.expected = next;
    }

    /// The row of the empty bucket at `start`, between the rows on both sides of it.
    fn filled(&self, start: Timestamp) -> Bucket {
        let (before, after) = match self.order {
            Order::Ascending => (self.series.seen.as_ref(), self.series.waiting.front()),
            Order::Descending => (self.series.waiting.front(), self.series.seen.as_ref()),
        };
        let is_near = |from: Timestamp, to: Timestamp| {
            let gap = to.as_nanos().abs_diff(from.as_nanos());
            let longest = self.buckets.fill_max;
            longest.is_none_or(|longest| u128::from(gap) <= longest.as_nanos())
        };
        let value = |column: usize, aggregate: &Aggregate| match (aggregate, self.buckets.fill) {
            (Aggregate::Count, _) => Some(Value::I64(0)),
            (_, Fill::None | Fill::Null) => None,
            (_, Fill::Previous) => {
                let near = before.filter(|row| is_near(row.start, start))?;
                near.values.get(column).cloned().flatten()
            }
            (_, Fill::Linear) => {
                let (before, after) = (before?, after?);
                is_near(before.start, after.start)
                    .then(|| between(before, after, start, column))
                    .flatten()
            }
        };
        let values = self.buckets.aggregates.iter().enumerate();
        Bucket {
            start,
            values: values
                .map(|(column, aggregate)| value(column, aggregate))
                .collect(),
        }
    }
}

/// The value at `start` on the line between two rows. `None` for text.
#[expect(
    clippy::cast_precision_loss,
    reason = "a share of a gap is a float by nature"
)]
fn between(before: &Bucket, after: &Bucket, start: Timestamp, column: usize) -> Option<Value> {
    let (low, high) = (
        before.values.get(column)?.as_ref()?,
        after.values.get(column)?.as_ref()?,
    );
    if low.kind() == Kind::Bool {
        return None;
    }
    let (low, high) = (low.as_f64()?, high.as_f64()?);
    let width = after
        .start
        .as_nanos()
        .saturating_sub(before.start.as_nanos()) as f64;
    let share = start.as_nanos().saturating_sub(before.start.as_nanos()) as f64 / width;
    Some(Value::F64(low + (high - low) * share))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use proptest::prelude::*;
    use sensor_model::Grid;

    use crate::question::calendar::Every;

    use super::*;

    const EVERY: Duration = Duration::from_nanos(10);

    fn bucket(start: i64, value: f64) -> Bucket {
        Bucket {
            start: Timestamp::from_nanos(start),
            values: vec![Some(Value::F64(value)), Some(Value::I64(1))],
        }
    }

    fn buckets(fill: Fill) -> Buckets {
        Buckets {
            every: Every::Fixed(EVERY),
            zone: None,
            grid: Grid::Every(NonZeroU64::new(10).unwrap()),
            aggregates: vec![Aggregate::Mean, Aggregate::Count],
            fill,
            fill_max: None,
            by: None,
        }
    }

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange {
            from: Timestamp::from_nanos(from),
            to: Timestamp::from_nanos(to),
        }
    }

    fn shaped(fill: Fill, order: Order, found: &[Bucket]) -> Vec<(i64, Option<f64>, i64)> {
        shaped_as(buckets(fill), order, found)
    }

    fn shaped_as(asked: Buckets, order: Order, found: &[Bucket]) -> Vec<(i64, Option<f64>, i64)> {
        let mut shaper = Shaper::new(range(5, 55), asked, order);
        shaper.begin_series();
        let mut rows = Vec::new();
        for bucket in found {
            shaper.push(std::slice::from_ref(bucket));
            rows.extend(shaper.take());
        }
        shaper.end_series();
        rows.extend(shaper.take());
        rows.into_iter()
            .map(|row| {
                let mean = row.values[0].as_ref().and_then(Value::as_f64);
                let Some(Value::I64(count)) = row.values[1] else {
                    panic!("no count in {row:?}");
                };
                (row.start.as_nanos(), mean, count)
            })
            .collect()
    }

    #[test]
    fn without_a_fill_only_buckets_with_readings_have_rows() {
        let rows = shaped(
            Fill::None,
            Order::Ascending,
            &[bucket(10, 1.0), bucket(40, 4.0)],
        );
        assert_eq!(rows, [(10, Some(1.0), 1), (40, Some(4.0), 1)]);
    }

    #[test]
    fn null_fills_every_bucket_of_the_range_without_values() {
        let rows = shaped(
            Fill::Null,
            Order::Ascending,
            &[bucket(10, 1.0), bucket(40, 4.0)],
        );
        assert_eq!(
            rows,
            [
                (0, None, 0),
                (10, Some(1.0), 1),
                (20, None, 0),
                (30, None, 0),
                (40, Some(4.0), 1),
                (50, None, 0),
            ]
        );
    }

    #[test]
    fn previous_carries_a_value_forward_in_time_in_either_order() {
        let ascending = shaped(
            Fill::Previous,
            Order::Ascending,
            &[bucket(10, 1.0), bucket(40, 4.0)],
        );
        let mut descending = shaped(
            Fill::Previous,
            Order::Descending,
            &[bucket(40, 4.0), bucket(10, 1.0)],
        );
        descending.reverse();
        assert_eq!(ascending, descending);
        let values: Vec<_> = ascending.iter().map(|row| row.1).collect();
        assert_eq!(
            values,
            [None, Some(1.0), Some(1.0), Some(1.0), Some(4.0), Some(4.0)]
        );
    }

    #[test]
    fn linear_draws_a_line_between_neighbours_and_none_beyond_them() {
        let rows = shaped(
            Fill::Linear,
            Order::Ascending,
            &[bucket(10, 1.0), bucket(40, 4.0)],
        );
        let values: Vec<_> = rows.iter().map(|row| row.1).collect();
        assert_eq!(
            values,
            [None, Some(1.0), Some(2.0), Some(3.0), Some(4.0), None]
        );
    }

    #[test]
    fn no_gap_longer_than_allowed_is_filled() {
        let values = |fill, longest| {
            let asked = Buckets {
                fill_max: Some(Duration::from_nanos(longest)),
                ..buckets(fill)
            };
            let rows = shaped_as(asked, Order::Ascending, &[bucket(10, 1.0), bucket(40, 4.0)]);
            rows.into_iter().map(|row| row.1).collect::<Vec<_>>()
        };
        let (none, one, four) = (None, Some(1.0), Some(4.0));
        assert_eq!(
            values(Fill::Previous, 9),
            [none, one, none, none, four, none]
        );
        assert_eq!(
            values(Fill::Previous, 10),
            [none, one, one, none, four, four]
        );
        assert_eq!(
            values(Fill::Linear, 29),
            [none, one, none, none, four, none]
        );
        let line = [none, one, Some(2.0), Some(3.0), four, none];
        assert_eq!(values(Fill::Linear, 30), line);
    }

    #[test]
    fn a_series_without_readings_is_not_filled() {
        assert!(shaped(Fill::Null, Order::Ascending, &[]).is_empty());
    }

    #[test]
    fn the_limit_counts_filled_rows() {
        let asked = buckets(Fill::Null);
        let mut shaper = Shaper::new(range(0, 100), asked, Order::Ascending).with_limit(Some(3));
        shaper.begin_series();
        shaper.push(&[bucket(80, 1.0)]);
        shaper.end_series();
        assert_eq!(shaper.take().len(), 3);
        assert!(shaper.take().is_empty() && shaper.is_cut());
    }

    proptest! {
        #[test]
        fn a_filled_series_has_each_bucket_of_the_range_once(
            starts in prop::collection::btree_set(0_i64..40, 1..12),
            descending in any::<bool>(),
            split in 1_usize..5,
        ) {
            let order = if descending { Order::Descending } else { Order::Ascending };
            let mut found: Vec<Bucket> = starts.iter().map(|start| bucket(start * 10, 1.0)).collect();
            if descending {
                found.reverse();
            }
            let mut shaper = Shaper::new(range(0, 400), buckets(Fill::Null), order);
            shaper.begin_series();
            let mut rows = Vec::new();
            for piece in found.chunks(split) {
                shaper.push(piece);
                rows.extend(shaper.take());
            }
            shaper.end_series();
            rows.extend(shaper.take());
            let mut found: Vec<i64> = rows.iter().map(|row| row.start.as_nanos() / 10).collect();
            if descending {
                found.reverse();
            }
            prop_assert_eq!(found, (0..40).collect::<Vec<_>>());
            let valued = rows.iter().filter(|row| row.values[0].is_some()).count();
            prop_assert_eq!(valued, starts.len());
        }
    }
}
