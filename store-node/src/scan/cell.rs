//! What is gathered of one bucket, and the values it comes to.

use sensor_model::{Aggregate, Columns, Reading, Statistics, Sum, TimeRange, Value, Values};
use store_wire::message::Order;

use super::pairs::{Growth, Level, Weighted, change, span_ns};
use super::quantiles::Quantiles;

/// What aggregates need beside statistics.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Needs {
    moments: bool,
    quantiles: bool,
    growth: bool,
    level: bool,
    /// The last reading before the bucket.
    pub(crate) before: bool,
}

impl Needs {
    pub(crate) fn of(aggregates: &[Aggregate]) -> Self {
        let mut needs = Self::default();
        for aggregate in aggregates {
            match aggregate {
                Aggregate::Stddev => needs.moments = true,
                Aggregate::Percentile(_) => needs.quantiles = true,
                Aggregate::Rate | Aggregate::Increase => {
                    needs.growth = true;
                    needs.before = true;
                }
                Aggregate::Delta => needs.before = true,
                Aggregate::TimeWeightedMean => {
                    needs.level = true;
                    needs.before = true;
                }
                Aggregate::Mean
                | Aggregate::Min
                | Aggregate::Max
                | Aggregate::Sum
                | Aggregate::Count
                | Aggregate::First
                | Aggregate::Last => {}
            }
        }
        needs
    }

    /// Whether each reading must be looked at.
    pub(crate) const fn readings(self) -> bool {
        self.moments || self.quantiles || self.growth || self.level
    }
}

/// A bucket of one series while its readings are taken; kept from one bucket to the next.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) bucket: TimeRange,
    gathered: Gathered,
    looked_at: LookedAt,
    needs: Needs,
    order: Order,
}

/// What comes of looking at each reading of a bucket.
#[derive(Debug)]
struct LookedAt {
    moments: Option<Moments>,
    quantiles: Option<Quantiles>,
    growth: Option<Growth>,
    level: Option<Level>,
}

/// A bucket of one series, or of several, when all of its readings were taken.
#[derive(Debug)]
pub(crate) struct Gathered {
    statistics: Statistics,
    /// How many readings are no texts.
    numbers: u64,
    /// In a box, as few aggregates need it and there may be many buckets.
    beyond: Option<Box<Beyond>>,
}

/// What statistics cannot say.
#[derive(Debug)]
struct Beyond {
    moments: Option<Moments>,
    quantiles: Option<Quantiles>,
    change: Option<Change>,
    level: Option<Weighted>,
}

/// What the pairs of a bucket come to.
#[derive(Debug, Clone, Copy)]
struct Change {
    increase: Sum,
    delta: Sum,
    /// The increase a second.
    rate: Option<f64>,
}

/// Count, mean, and the sum of squared distances from it (Welford, 1962).
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Cell {
    /// The first bucket, whose readings so far come to `statistics`.
    pub(crate) fn new(
        bucket: TimeRange,
        statistics: &Statistics,
        needs: Needs,
        order: Order,
    ) -> Self {
        Self {
            bucket,
            gathered: Gathered {
                statistics: statistics.clone(),
                numbers: 0,
                beyond: None,
            },
            looked_at: LookedAt::new(needs, order),
            needs,
            order,
        }
    }

    /// Begins the next bucket, whose readings so far come to `statistics`.
    pub(crate) fn begin(&mut self, bucket: TimeRange, statistics: &Statistics) {
        self.bucket = bucket;
        self.gathered.statistics.clone_from(statistics);
        if self.needs.readings() {
            self.looked_at = LookedAt::new(self.needs, self.order);
        }
    }

    /// Counts in what more readings of the bucket come to.
    pub(crate) fn add(&mut self, statistics: &Statistics) {
        self.gathered.statistics.merge(statistics);
    }

    /// The latest reading so far.
    pub(crate) const fn last(&self) -> &Reading {
        &self.gathered.statistics.last
    }

    /// Looks at each of the readings from `from` (inclusive) to `to` (exclusive), which come next in
    /// the order of the sweep. They are in the statistics already.
    pub(crate) fn look_at(&mut self, columns: &Columns, from: usize, to: usize) {
        let looked_at = &mut self.looked_at;
        let values = &columns.values;
        if let Some(moments) = &mut looked_at.moments {
            for_each_number(values, from, to, |_, number| moments.push(number));
        }
        if let Some(quantiles) = &mut looked_at.quantiles {
            for_each_number(values, from, to, |_, number| quantiles.push(number));
        }
        if let Some(growth) = &mut looked_at.growth {
            growth.take(values, from, to);
        }
        if let Some(level) = &mut looked_at.level {
            let times = &columns.times;
            for_each_number(values, from, to, |at, number| level.push(times[at], number));
        }
    }

    /// What the bucket comes to, now that all of its readings were taken; `before` is the one before
    /// them, and `range` all that is asked about.
    pub(crate) fn finish(&mut self, before: Option<&Reading>, range: TimeRange) -> &mut Gathered {
        let Statistics {
            first, last, count, ..
        } = &self.gathered.statistics;
        let is_text = matches!(first.value, Value::Text(_));
        self.gathered.numbers = if is_text { 0 } else { *count };
        if !self.needs.before && !self.needs.readings() {
            return &mut self.gathered;
        }
        let LookedAt {
            moments,
            quantiles,
            growth,
            level,
        } = &mut self.looked_at;
        let earliest = before.unwrap_or(first);
        let has_pair = self.needs.before && (before.is_some() || *count > 1);
        let change = has_pair.then(|| {
            let growth = growth.as_ref();
            let increase = growth.map_or(Sum::None, |growth| growth.since(before, first));
            let span = span_ns(earliest.timestamp.as_nanos(), last.timestamp.as_nanos());
            Change {
                increase,
                delta: change(earliest, last),
                rate: increase.as_f64().map(|increase| increase / (span / 1e9)),
            }
        });
        let level = level.as_ref().and_then(|level| {
            let from = self.bucket.from.max(range.from).as_nanos();
            let to = self.bucket.to.min(range.to).as_nanos();
            level.over((from, to), before, first, last)
        });
        self.gathered.beyond = Some(Box::new(Beyond {
            moments: *moments,
            quantiles: quantiles.take(),
            change,
            level,
        }));
        &mut self.gathered
    }
}

impl LookedAt {
    fn new(needs: Needs, order: Order) -> Self {
        Self {
            moments: needs.moments.then(Moments::default),
            quantiles: needs.quantiles.then(Quantiles::new),
            growth: needs.growth.then(|| Growth::new(order)),
            level: needs.level.then(|| Level::new(order)),
        }
    }
}

impl Gathered {
    /// Adds the same bucket of another series, whose own is no use afterwards.
    pub(crate) fn merge(&mut self, other: &mut Self) {
        self.statistics.join(&other.statistics);
        self.numbers += other.numbers;
        let beyond = other.beyond.take();
        merge_into(&mut self.beyond, beyond, |all, one| all.merge(*one));
    }

    /// The bucket to keep, where nothing is known of it yet; this one is no use afterwards.
    pub(crate) fn take(&mut self) -> Self {
        Self {
            statistics: self.statistics.clone(),
            numbers: self.numbers,
            beyond: self.beyond.take(),
        }
    }

    /// The value of each aggregate; `None` where there is none.
    pub(crate) fn values(&mut self, aggregates: &[Aggregate]) -> Vec<Option<Value>> {
        let values = aggregates.iter().map(|aggregate| self.value(*aggregate));
        values
            .map(|value| value.filter(|value| !matches!(value, Value::F64(n) if n.is_nan())))
            .collect()
    }

    fn value(&mut self, aggregate: Aggregate) -> Option<Value> {
        match aggregate {
            Aggregate::Mean => self.mean().map(Value::F64),
            Aggregate::Stddev => self.beyond.as_ref()?.moments?.deviation().map(Value::F64),
            Aggregate::Percentile(percentile) => {
                let quantiles = self.beyond.as_mut()?.quantiles.as_mut()?;
                quantiles.at(percentile.share()).map(Value::F64)
            }
            Aggregate::Rate => self.change()?.rate.map(Value::F64),
            Aggregate::Increase => self.change()?.increase.value(),
            Aggregate::Delta => self.change()?.delta.value(),
            Aggregate::TimeWeightedMean => self.beyond.as_ref()?.level?.mean().map(Value::F64),
            Aggregate::Min
            | Aggregate::Max
            | Aggregate::Sum
            | Aggregate::Count
            | Aggregate::First
            | Aggregate::Last => aggregate.of(&self.statistics),
        }
    }

    fn change(&self) -> Option<Change> {
        self.beyond.as_ref()?.change
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a count beyond 2^53 is not reached"
    )]
    fn mean(&self) -> Option<f64> {
        let sum = self.statistics.sum.as_f64()?;
        (self.numbers > 0).then(|| sum / self.numbers as f64)
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let text = |reading: &Reading| match &reading.value {
            Value::Text(text) => text.len(),
            _ => 0,
        };
        let Statistics { first, last, .. } = &self.statistics;
        let beyond = self.beyond.as_ref().map_or(0, |beyond| beyond.bytes());
        size_of::<Self>() + beyond + text(first) + text(last)
    }
}

impl Beyond {
    fn merge(&mut self, other: Self) {
        merge_into(&mut self.moments, other.moments, |all, one| all.merge(one));
        merge_into(&mut self.quantiles, other.quantiles, |all, one| {
            all.merge(&one);
        });
        merge_into(&mut self.change, other.change, |all, one| all.merge(one));
        merge_into(&mut self.level, other.level, |all, one| all.merge(one));
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.quantiles.as_ref().map_or(0, Quantiles::bytes)
    }
}

impl Change {
    fn merge(&mut self, other: Self) {
        self.increase = self.increase.joined(other.increase);
        self.delta = self.delta.joined(other.delta);
        self.rate = match (self.rate, other.rate) {
            (Some(a), Some(b)) => Some(a + b),
            (one, other) => one.or(other),
        };
    }
}

impl Moments {
    fn push(&mut self, value: f64) {
        self.count += 1.0;
        let distance = value - self.mean;
        self.mean += distance / self.count;
        self.squares += distance * (value - self.mean);
    }

    /// Chan, Golub and LeVeque, 1979.
    fn merge(&mut self, other: Self) {
        if other.count == 0.0 {
            return;
        }
        let count = self.count + other.count;
        let distance = other.mean - self.mean;
        self.squares += other.squares + distance * distance * (self.count * other.count / count);
        self.mean += distance * (other.count / count);
        self.count = count;
    }

    fn deviation(self) -> Option<f64> {
        (self.count > 1.0).then(|| (self.squares / (self.count - 1.0)).sqrt())
    }
}

fn merge_into<T>(all: &mut Option<T>, one: Option<T>, merge: impl FnOnce(&mut T, T)) {
    match (all, one) {
        (Some(all), Some(one)) => merge(all, one),
        (all @ None, one) => *all = one,
        (Some(_), None) => {}
    }
}

/// Calls `take` with the place and the number of each value that is one.
#[expect(
    clippy::cast_precision_loss,
    reason = "what is made of large integers here is a float by nature"
)]
fn for_each_number(values: &Values, from: usize, to: usize, mut take: impl FnMut(usize, f64)) {
    match values {
        Values::F64(values) => (from..to).for_each(|at| take(at, values[at])),
        Values::I64(values) => (from..to).for_each(|at| take(at, values[at] as f64)),
        Values::Bool(values) => {
            (from..to).for_each(|at| take(at, f64::from(u8::from(values[at]))));
        }
        Values::Text(_) => {}
    }
}
