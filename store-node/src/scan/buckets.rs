//! Gathers readings into buckets: statistics of each interval of time.

use std::num::NonZeroU64;
use std::time::Duration;

use sensor_model::{Bucket, Columns, Reading, Statistics, Sum, Timestamp, Value, Values};
use store_wire::message::Order;

use super::{Flow, Output, Part, RangeQuestion, ScanError, Taker};

/// Most bytes of a part, about, as it will be written.
const PART_BYTES_MAX: usize = 96 * 1024;
/// What a bucket takes at most, without texts, as CBOR with named fields.
const BUCKET_BYTES: usize = 256;

/// Collects buckets of one series.
pub(crate) struct Buckets<'a, 'b> {
    output: &'a mut Output<'b>,
    every: Duration,
    order: Order,
    current: Option<Bucket>,
    part: Vec<Bucket>,
    part_bytes: usize,
    /// How many more buckets may be begun; `None` without a limit.
    wanted: Option<u64>,
}

impl<'a, 'b> Buckets<'a, 'b> {
    pub(crate) const fn new(
        every: NonZeroU64,
        question: &RangeQuestion,
        output: &'a mut Output<'b>,
    ) -> Self {
        Self {
            output,
            every: Duration::from_nanos(every.get()),
            order: question.order,
            current: None,
            part: Vec::new(),
            part_bytes: 0,
            wanted: question.limit,
        }
    }

    fn start_of(&self, time: i64) -> Timestamp {
        Timestamp::from_nanos(time).bucket_start(self.every)
    }

    /// Counts `statistics` into the bucket that begins at `start`.
    fn count_in(&mut self, start: Timestamp, statistics: Statistics) -> Result<Flow, ScanError> {
        if let Some(current) = &mut self.current
            && current.start == start
        {
            current.statistics.merge(&statistics);
            return Ok(Flow::More);
        }
        match &mut self.wanted {
            Some(0) => {
                self.output.note_truncated();
                return Ok(Flow::Enough);
            }
            Some(wanted) => *wanted -= 1,
            None => {}
        }
        let begun = Bucket { start, statistics };
        if let Some(done) = self.current.replace(begun) {
            self.put(done)?;
        }
        Ok(Flow::More)
    }

    fn put(&mut self, bucket: Bucket) -> Result<(), ScanError> {
        let text_bytes = |reading: &Reading| match &reading.value {
            Value::Text(text) => text.len(),
            _ => 0,
        };
        let Statistics { first, last, .. } = &bucket.statistics;
        self.part_bytes += BUCKET_BYTES + text_bytes(first) + text_bytes(last);
        self.part.push(bucket);
        if self.part_bytes >= PART_BYTES_MAX {
            self.hand_over()?;
        }
        Ok(())
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

impl Taker for Buckets<'_, '_> {
    fn takes_statistics(&self, first: i64, last: i64) -> bool {
        self.start_of(first) == self.start_of(last)
    }

    fn readings(&mut self, columns: &Columns, from: usize, to: usize) -> Result<Flow, ScanError> {
        let mut at = from;
        while at < to {
            let start = self.start_of(columns.times[at]);
            let rest = &columns.times[at..to];
            let end = at + rest.partition_point(|time| self.start_of(*time) == start);
            let statistics = statistics_of(columns, at, end, self.order);
            if self.count_in(start, statistics)? == Flow::Enough {
                return Ok(Flow::Enough);
            }
            at = end;
        }
        Ok(Flow::More)
    }

    fn statistics(&mut self, statistics: Statistics) -> Result<Flow, ScanError> {
        let start = self.start_of(statistics.first.timestamp.as_nanos());
        self.count_in(start, statistics)
    }

    fn finish(&mut self) -> Result<(), ScanError> {
        if let Some(bucket) = self.current.take() {
            self.put(bucket)?;
        }
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
