//! Gathers readings of one series into buckets.
//!
//! A bucket that covers a whole chunk takes the chunk's statistics, unless an aggregate or a filter
//! needs the readings themselves. Pairs of readings reach from one bucket into the next: a bucket is
//! finished once the reading before it is known, which is the last of the bucket before, or what a look
//! before the range finds.

use sensor_model::filter::Verdict;
use sensor_model::{
    Aggregate, Bucket, Columns, Filter, Grid, Reading, Statistics, Sum, TimeRange, Timestamp,
    Value, Values,
};
use store_wire::message::Order;

use super::cell::{Cell, Gathered, Needs};
use super::lookback::Lookback;
use super::{Flow, Output, Part, ScanError, Taker};

/// Most bytes of a part, about, as it will be written.
const PART_BYTES_MAX: usize = 96 * 1024;
/// What a bucket takes at most beside its values, as CBOR with named fields.
const BUCKET_BYTES: usize = 32;
/// What a value takes at most, without the text.
const VALUE_BYTES: usize = 9;

/// What is asked about the buckets of one series.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) grid: &'a Grid,
    pub(crate) needs: Needs,
    pub(crate) range: TimeRange,
    pub(crate) order: Order,
    pub(crate) limit: Option<u64>,
    pub(crate) filter: Option<&'a Filter>,
}

/// Where finished buckets go.
pub(crate) trait Gatherer {
    /// Takes the next bucket in the order of the sweep.
    fn put(&mut self, start: Timestamp, gathered: &mut Gathered) -> Result<(), ScanError>;
    /// Notes that the limit left buckets out.
    fn note_truncated(&mut self);
    /// Hands over what is left.
    fn finish(&mut self) -> Result<(), ScanError>;
}

/// Collects buckets of one series.
pub(crate) struct Buckets<'a> {
    asked: Asked<'a>,
    gatherer: &'a mut dyn Gatherer,
    lookback: Lookback<'a>,
    /// The current bucket, while it is open, and else the one before it.
    current: Option<Cell>,
    is_open: bool,
    /// The reading before the current bucket, in an ascending sweep.
    before: Option<Reading>,
    /// How many more buckets may be begun; `None` without a limit.
    wanted: Option<u64>,
}

impl<'a> Buckets<'a> {
    pub(crate) fn new(
        asked: Asked<'a>,
        lookback: Lookback<'a>,
        gatherer: &'a mut dyn Gatherer,
    ) -> Self {
        Self {
            asked,
            gatherer,
            lookback,
            current: None,
            is_open: false,
            before: None,
            wanted: asked.limit,
        }
    }

    /// Counts `statistics` into `bucket`.
    fn count_in(&mut self, bucket: TimeRange, statistics: &Statistics) -> Result<Flow, ScanError> {
        if let Some(current) = self.open_cell()
            && current.bucket == bucket
        {
            current.add(statistics);
            return Ok(Flow::More);
        }
        self.finish_current(Some(&statistics.last))?;
        match &mut self.wanted {
            Some(0) => {
                self.gatherer.note_truncated();
                return Ok(Flow::Enough);
            }
            Some(wanted) => *wanted -= 1,
            None => {}
        }
        let Asked { needs, order, .. } = self.asked;
        match &mut self.current {
            Some(cell) => cell.begin(bucket, statistics),
            None => self.current = Some(Cell::new(bucket, statistics, needs, order)),
        }
        self.is_open = true;
        Ok(Flow::More)
    }

    fn open_cell(&mut self) -> Option<&mut Cell> {
        self.current.as_mut().filter(|_| self.is_open)
    }

    /// Finishes the current bucket, if there is one. `next` is the latest reading of the bucket that the
    /// sweep comes to.
    fn finish_current(&mut self, next: Option<&Reading>) -> Result<(), ScanError> {
        let Asked { needs, order, .. } = self.asked;
        let Some(cell) = self.current.as_mut().filter(|_| self.is_open) else {
            if needs.before && order == Order::Ascending {
                self.before = self.lookback.reading()?;
            }
            return Ok(());
        };
        self.is_open = false;
        let found;
        let before = match (order, next) {
            _ if !needs.before => None,
            (Order::Ascending, _) => {
                let last = cell.last().clone();
                found = self.before.replace(last);
                found.as_ref()
            }
            (Order::Descending, Some(next)) => Some(next),
            (Order::Descending, None) => {
                found = self.lookback.reading()?;
                found.as_ref()
            }
        };
        let start = cell.bucket.from;
        self.gatherer
            .put(start, cell.finish(before, self.asked.range))
    }

    fn take(&mut self, columns: &Columns, from: usize, to: usize) -> Result<Flow, ScanError> {
        let order = self.asked.order;
        let mut at = from;
        while at < to {
            let time = Timestamp::from_nanos(columns.times[at]);
            let bucket = self.asked.grid.bucket_of(time);
            let rest = &columns.times[at..to];
            let (first, end) = (bucket.from.as_nanos(), bucket.to.as_nanos());
            let end = at
                + match order {
                    Order::Ascending => rest.partition_point(|time| *time < end),
                    Order::Descending => rest.partition_point(|time| *time >= first),
                };
            let statistics = statistics_of(columns, at, end, order);
            if self.count_in(bucket, &statistics)? == Flow::Enough {
                return Ok(Flow::Enough);
            }
            if self.asked.needs.readings()
                && let Some(current) = self.open_cell()
            {
                current.look_at(columns, at, end);
            }
            at = end;
        }
        Ok(Flow::More)
    }

    /// The bucket that holds both times.
    fn bucket_of_both(&self, first: i64, last: i64) -> Option<TimeRange> {
        let first = Timestamp::from_nanos(first);
        let before = self.current.as_ref().map(|cell| cell.bucket);
        let next = before.and_then(|before| self.asked.grid.next_if_holds(before, first));
        let bucket = next.unwrap_or_else(|| self.asked.grid.bucket_of(first));
        (last < bucket.to.as_nanos()).then_some(bucket)
    }
}

impl Taker for Buckets<'_> {
    fn takes_statistics(&self, first: i64, last: i64) -> bool {
        let will_do = !self.asked.needs.readings() && self.bucket_of_both(first, last).is_some();
        will_do || self.asked.filter.is_some()
    }

    fn readings(&mut self, columns: &Columns, from: usize, to: usize) -> Result<Flow, ScanError> {
        match self.asked.filter {
            None => self.take(columns, from, to),
            Some(filter) => {
                let kept = filter.keep(columns, from, to);
                self.take(&kept, 0, kept.len())
            }
        }
    }

    fn statistics(&mut self, statistics: &Statistics) -> Result<Option<Flow>, ScanError> {
        let verdict = self.asked.filter.map(|filter| filter.verdict(statistics));
        let times = [&statistics.first, &statistics.last].map(|end| end.timestamp.as_nanos());
        match (verdict, self.bucket_of_both(times[0], times[1])) {
            (Some(Verdict::None), _) => Ok(Some(Flow::More)),
            (None | Some(Verdict::All), Some(bucket)) if !self.asked.needs.readings() => {
                self.count_in(bucket, statistics).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn takes_parts(&self) -> bool {
        !self.asked.needs.readings() && self.asked.filter.is_none()
    }

    fn part_end(&self, first: Timestamp) -> Timestamp {
        self.asked.grid.bucket_of(first).to
    }

    fn finish(&mut self) -> Result<(), ScanError> {
        if self.is_open {
            self.finish_current(None)?;
        }
        self.gatherer.finish()
    }
}

/// Makes rows of finished buckets and hands them over in parts that fit a frame.
pub(crate) struct Parts<'a, 'b> {
    output: &'a mut Output<'b>,
    aggregates: &'a [Aggregate],
    part: Vec<Bucket>,
    part_bytes: usize,
}

impl<'a, 'b> Parts<'a, 'b> {
    pub(crate) const fn new(aggregates: &'a [Aggregate], output: &'a mut Output<'b>) -> Self {
        Self {
            output,
            aggregates,
            part: Vec::new(),
            part_bytes: 0,
        }
    }

    fn hand_over(&mut self) -> Result<(), ScanError> {
        if self.part.is_empty() {
            return Ok(());
        }
        self.part_bytes = 0;
        let buckets = std::mem::take(&mut self.part);
        let rows = buckets.len();
        self.output.part(Part::Buckets(buckets), rows)
    }
}

impl Gatherer for Parts<'_, '_> {
    fn put(&mut self, start: Timestamp, gathered: &mut Gathered) -> Result<(), ScanError> {
        let values = gathered.values(self.aggregates);
        let bytes = values.iter().map(|value| match value {
            Some(Value::Text(text)) => VALUE_BYTES + text.len(),
            _ => VALUE_BYTES,
        });
        self.part_bytes += BUCKET_BYTES + bytes.sum::<usize>();
        self.part.push(Bucket { start, values });
        if self.part_bytes >= PART_BYTES_MAX {
            self.hand_over()?;
        }
        Ok(())
    }

    fn note_truncated(&mut self) {
        self.output.note_truncated();
    }

    fn finish(&mut self) -> Result<(), ScanError> {
        self.hand_over()
    }
}

/// The statistics of the readings from `from` (inclusive) to `to` (exclusive), at least one, which
/// stand in `order`.
fn statistics_of(columns: &Columns, from: usize, to: usize, order: Order) -> Statistics {
    let (first, last) = match order {
        Order::Ascending => (from, to - 1),
        Order::Descending => (to - 1, from),
    };
    let reading = |at| {
        columns
            .reading(at)
            .expect("the bounds lie inside the columns")
    };
    let (min, max, sum) = match &columns.values {
        Values::F64(values) => of_floats(&values[from..to]),
        Values::I64(values) => of_integers(&values[from..to]),
        Values::Bool(values) => of_flags(&values[from..to]),
        Values::Text(_) => (None, None, Sum::None),
    };
    Statistics {
        count: (to - from) as u64,
        first: reading(first),
        last: reading(last),
        min,
        max,
        sum,
    }
}

type Summary = (Option<Value>, Option<Value>, Sum);

fn of_floats(values: &[f64]) -> Summary {
    let Some(start) = values.first().copied() else {
        return (None, None, Sum::None);
    };
    let (mut min, mut max) = (rank(start), rank(start));
    for value in values {
        min = min.min(rank(*value));
        max = max.max(rank(*value));
    }
    let sum = values[1..].iter().fold(start, |sum, value| sum + value);
    let of_rank = |rank| Some(Value::F64(from_rank(rank)));
    (of_rank(min), of_rank(max), Sum::F64(sum))
}

/// A whole number that orders as [`f64::total_cmp`] does, without a branch.
const fn rank(value: f64) -> i64 {
    flipped(value.to_bits().cast_signed())
}

/// The float of a [`rank`].
const fn from_rank(rank: i64) -> f64 {
    f64::from_bits(flipped(rank).cast_unsigned())
}

/// All bits but the sign turned over where the sign is set; twice is as before.
const fn flipped(bits: i64) -> i64 {
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

fn of_integers(values: &[i64]) -> Summary {
    let sum = values.iter().map(|value| i128::from(*value)).sum();
    let (min, max) = (values.iter().min(), values.iter().max());
    (
        min.copied().map(Value::I64),
        max.copied().map(Value::I64),
        Sum::I64(sum),
    )
}

fn of_flags(values: &[bool]) -> Summary {
    let trues = values.iter().filter(|flag| **flag).count();
    (
        Some(Value::Bool(trues == values.len())),
        Some(Value::Bool(trues > 0)),
        Sum::I64(trues as i128),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Values> {
        let small = (-50_i32..50).prop_map(f64::from);
        let float = prop_oneof![
            Just(0.0),
            Just(-0.0),
            Just(f64::MAX),
            Just(f64::MIN_POSITIVE),
            small
        ];
        prop_oneof![
            proptest::collection::vec(float, 1..20).prop_map(Values::F64),
            proptest::collection::vec(any::<i64>(), 1..20).prop_map(Values::I64),
            proptest::collection::vec(any::<bool>(), 1..20).prop_map(Values::Bool),
            proptest::collection::vec("[a-c]{0,2}", 1..20).prop_map(Values::Text),
        ]
    }

    proptest! {
        #[test]
        fn ranks_order_as_floats_do_and_give_them_back(a in any::<f64>(), b in any::<f64>()) {
            prop_assert_eq!(rank(a).cmp(&rank(b)), a.total_cmp(&b));
            prop_assert_eq!(from_rank(rank(a)).to_bits(), a.to_bits());
        }

        #[test]
        fn statistics_of_a_slice_are_those_of_its_readings(values in values()) {
            let times: Vec<i64> = (0..).take(values.len()).collect();
            let columns = Columns { times, values };
            let expected = Statistics::of_columns(&columns).unwrap();
            let found = statistics_of(&columns, 0, columns.len(), Order::Ascending);
            prop_assert_eq!(found, expected);
        }
    }
}
