//! The values of a bucket as far as percentiles need them: all of them while they are few, a t-digest
//! (Dunning, "Computing extremely accurate quantiles using t-digests") beyond.
//!
//! A t-digest errs in rank, least at the ends, and never in scale: a percentile of temperatures in
//! kelvin is as good as one in degrees Celsius. Values go into it one by one in the order of the
//! sweep, so what comes out does not depend on how readings lie in chunks.

use datasketches::tdigest::TDigestMut;

/// So many values are kept as they are, and their percentiles are exact.
pub const EXACT_VALUES_MAX: usize = 4_096;

/// Twice as many centroids are kept at most.
const COMPRESSION: u16 = 200;

/// The values of a bucket.
#[derive(Debug, Clone)]
pub(crate) enum Quantiles {
    Exact(Vec<f64>),
    Sketch(Box<TDigestMut>),
}

impl Quantiles {
    pub(crate) const fn new() -> Self {
        Self::Exact(Vec::new())
    }

    pub(crate) fn push(&mut self, value: f64) {
        match self {
            Self::Exact(values) if values.len() < EXACT_VALUES_MAX => values.push(value),
            Self::Exact(_) => self.sketch().update(value),
            Self::Sketch(sketch) => sketch.update(value),
        }
    }

    /// Adds the values of another series.
    pub(crate) fn merge(&mut self, other: &Self) {
        match other {
            Self::Exact(values) => {
                for value in values {
                    self.push(*value);
                }
            }
            Self::Sketch(sketch) => self.sketch().merge(sketch),
        }
    }

    /// The value that `share` of all values are at most, on the line between the two nearest
    /// (Hyndman and Fan's type 7, which numpy and most spreadsheets use). `None` without values.
    pub(crate) fn at(&mut self, share: f64) -> Option<f64> {
        match self {
            Self::Exact(values) => {
                // Mostly sorted already, when more than one percentile is asked for.
                values.sort_by(f64::total_cmp);
                between(values, share)
            }
            Self::Sketch(sketch) => sketch.quantile(share).ok().flatten(),
        }
    }

    /// About how much memory the values take.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Exact(values) => values.capacity() * size_of::<f64>(),
            Self::Sketch(sketch) => sketch.estimated_size(),
        }
    }

    /// The sketch, begun with the values there are.
    fn sketch(&mut self) -> &mut TDigestMut {
        if let Self::Exact(values) = self {
            let mut sketch = TDigestMut::new(COMPRESSION).expect("the compression is at least 10");
            for value in values {
                sketch.update(*value);
            }
            *self = Self::Sketch(Box::new(sketch));
        }
        match self {
            Self::Sketch(sketch) => sketch,
            Self::Exact(_) => unreachable!("it was made a sketch"),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "there are few values, and a place among them is not negative"
)]
fn between(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share * last as f64;
    let below = (place.floor() as usize).min(last);
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    let part = place - below as f64;
    if part == 0.0 || low == high {
        return Some(low);
    }
    Some(low + (high - low) * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> Quantiles {
        let mut quantiles = Quantiles::new();
        for value in values {
            quantiles.push(value);
        }
        quantiles
    }

    /// Whole numbers from 0 on, each once, out of order.
    fn shuffled(count: u64) -> impl Iterator<Item = f64> {
        (0..count).map(move |n| (n * 7_919 % count) as f64)
    }

    #[test]
    fn few_values_have_exact_percentiles() {
        let mut quantiles = of([4.0, 1.0, 3.0, 2.0]);
        assert_eq!(quantiles.at(0.0), Some(1.0));
        assert_eq!(quantiles.at(0.5), Some(2.5));
        assert_eq!(quantiles.at(0.95), Some(3.8499999999999996));
        assert_eq!(quantiles.at(1.0), Some(4.0));
        assert_eq!(of([]).at(0.5), None);
        assert_eq!(of([7.5]).at(0.99), Some(7.5));
    }

    #[test]
    fn the_last_exact_count_is_exact_and_one_more_is_near() {
        let exact = EXACT_VALUES_MAX as u64;
        let mut quantiles = of(shuffled(exact));
        assert!(matches!(quantiles, Quantiles::Exact(_)));
        assert_eq!(quantiles.at(0.5), Some((exact - 1) as f64 / 2.0));
        quantiles.push(exact as f64);
        assert!(matches!(quantiles, Quantiles::Sketch(_)));
        let middle = quantiles.at(0.5).unwrap();
        assert!((middle - exact as f64 / 2.0).abs() < exact as f64 * 0.005);
    }

    #[test]
    fn a_sketch_errs_little_in_rank_and_not_at_the_ends() {
        let count = 100_003_u64;
        let mut whole = of(shuffled(count));
        let mut merged = of(shuffled(count).take(500));
        merged.merge(&of(shuffled(count).skip(500).take(60_000)));
        merged.merge(&of(shuffled(count).skip(60_500)));
        for quantiles in [&mut whole, &mut merged] {
            for (share, error_max) in [(0.001, 5e-4), (0.05, 2e-3), (0.5, 5e-3), (0.99, 1e-3)] {
                let found = quantiles.at(share).unwrap() / count as f64;
                assert!((found - share).abs() < error_max, "{share} gave {found}");
            }
            assert_eq!(quantiles.at(0.0), Some(0.0));
            assert_eq!(quantiles.at(1.0), Some((count - 1) as f64));
        }
        assert!(whole.bytes() < 64 * 1024);
    }
}
