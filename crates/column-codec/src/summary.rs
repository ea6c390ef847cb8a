//! What a chunk's header knows of its columns: which readings are first and last, and the values'
//! smallest, largest and sum.
//!
//! The rules are those of [`Statistics`]; here they are computed from slices, without an allocation.
//! `bytes` puts them into a header.

use sensor_model::{Reading, Statistics, Sum, Timestamp, Value};

use crate::cursor::Cursor;
use crate::error::DecodeError;
use crate::texts;

pub(crate) mod bytes;

/// Where the first and the last reading of a time column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Index of the earliest time; of equal ones the first.
    pub(crate) first: usize,
    /// Index of the latest time; of equal ones the last.
    pub(crate) last: usize,
    /// Whether each time is later than the one before.
    pub(crate) is_sorted: bool,
}

impl Span {
    /// The span of at least one time.
    pub(crate) fn of(times: &[i64]) -> Self {
        let mut pairs = times.iter().zip(times.iter().skip(1));
        if pairs.all(|(a, b)| a < b) {
            return Self {
                first: 0,
                last: times.len().saturating_sub(1),
                is_sorted: true,
            };
        }
        let (mut first, mut last) = (0, 0);
        for (at, time) in times.iter().enumerate() {
            if *time < times[first] {
                first = at;
            }
            if *time >= times[last] {
                last = at;
            }
        }
        Self {
            first,
            last,
            is_sorted: false,
        }
    }
}

/// The values' part of a chunk's statistics.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Summary<'a> {
    F64(Numbers<f64, f64>),
    I64(Numbers<i64, i128>),
    Bool(Flags),
    Text(Ends<'a>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers<V, S> {
    pub(crate) first: V,
    pub(crate) last: V,
    pub(crate) min: V,
    pub(crate) max: V,
    pub(crate) sum: S,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Flags {
    pub(crate) first: bool,
    pub(crate) last: bool,
    /// How many are `true`.
    pub(crate) trues: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends<'a> {
    pub(crate) first: &'a str,
    pub(crate) last: &'a str,
    /// Bytes of all texts.
    pub(crate) bytes: usize,
}

impl Summary<'static> {
    pub(crate) fn of_floats(values: &[f64], span: Span) -> Self {
        let (min, max) = float_extremes(values);
        let mut others = values.iter();
        let start = others.next().copied().unwrap_or(0.0);
        Self::F64(Numbers {
            first: values[span.first],
            last: values[span.last],
            min,
            max,
            // In the order of the readings, from the first on: the sum's last bits depend on it.
            sum: others.fold(start, |sum, value| sum + value),
        })
    }

    pub(crate) fn of_integers(values: &[i64], span: Span) -> Self {
        let start = (i64::MAX, i64::MIN, 0_i128);
        let (min, max, sum) = values.iter().fold(start, |(min, max, sum), value| {
            (min.min(*value), max.max(*value), sum + i128::from(*value))
        });
        Self::I64(Numbers {
            first: values[span.first],
            last: values[span.last],
            min,
            max,
            sum,
        })
    }

    pub(crate) fn of_flags(values: &[bool], span: Span) -> Self {
        Self::Bool(Flags {
            first: values[span.first],
            last: values[span.last],
            trues: values.iter().filter(|flag| **flag).count(),
        })
    }
}

/// Smallest and largest by total order, in which `-0.0` is less than `0.0`.
fn float_extremes(values: &[f64]) -> (f64, f64) {
    const LANES: usize = 8;
    const SMALLER: fn(f64, f64) -> f64 = |a, b| if a < b { a } else { b };
    const LARGER: fn(f64, f64) -> f64 = |a, b| if a > b { a } else { b };
    let start = values.first().copied().unwrap_or(0.0);
    let (mut low, mut high) = ([start; LANES], [start; LANES]);
    let (groups, tail) = values.as_chunks::<LANES>();
    for group in groups {
        for lane in 0..LANES {
            low[lane] = SMALLER(group[lane], low[lane]);
            high[lane] = LARGER(group[lane], high[lane]);
        }
    }
    let mut min = low.iter().chain(tail).copied().fold(start, SMALLER);
    let mut max = high.iter().chain(tail).copied().fold(start, LARGER);
    // The comparisons above take both zeros for equal.
    if min == 0.0 {
        min = zero(values.iter().any(|value| is_zero(*value, -0.0)), -0.0);
    }
    if max == 0.0 {
        max = zero(values.iter().any(|value| is_zero(*value, 0.0)), 0.0);
    }
    (min, max)
}

fn is_zero(value: f64, zero: f64) -> bool {
    value.to_bits() == zero.to_bits()
}

/// `zero` where there is one, else the other.
fn zero(exists: bool, zero: f64) -> f64 {
    if exists { zero } else { -zero }
}

impl<'a> Summary<'a> {
    /// The first and last of the texts that follow, and the bytes of all, without copying any.
    pub(crate) fn of_encoded_texts(
        cursor: &mut Cursor<'a>,
        integers: &mut [i64],
        lengths: &mut [i64],
        span: Span,
    ) -> Result<Self, DecodeError> {
        let mut ends = Ends {
            first: "",
            last: "",
            bytes: 0,
        };
        let mut at = 0;
        texts::read(cursor, integers, lengths, &mut |text| {
            if at == span.first {
                ends.first = text;
            }
            if at == span.last {
                ends.last = text;
            }
            ends.bytes += text.len();
            at += 1;
        })?;
        Ok(Self::Text(ends))
    }

    /// The statistics of `count` readings that begin and end at these times.
    pub(crate) fn statistics(&self, count: usize, first_time: i64, last_time: i64) -> Statistics {
        let (first, last, min, max, sum) = match *self {
            Self::F64(numbers) => (
                Value::F64(numbers.first),
                Value::F64(numbers.last),
                Some(Value::F64(numbers.min)),
                Some(Value::F64(numbers.max)),
                Sum::F64(numbers.sum),
            ),
            Self::I64(numbers) => (
                Value::I64(numbers.first),
                Value::I64(numbers.last),
                Some(Value::I64(numbers.min)),
                Some(Value::I64(numbers.max)),
                Sum::I64(numbers.sum),
            ),
            Self::Bool(flags) => (
                Value::Bool(flags.first),
                Value::Bool(flags.last),
                Some(Value::Bool(flags.trues == count)),
                Some(Value::Bool(flags.trues > 0)),
                Sum::I64(flags.trues as i128),
            ),
            Self::Text(ends) => (
                Value::Text(ends.first.to_owned()),
                Value::Text(ends.last.to_owned()),
                None,
                None,
                Sum::None,
            ),
        };
        let reading = |time, value| Reading {
            timestamp: Timestamp::from_nanos(time),
            value,
        };
        Statistics {
            count: count as u64,
            first: reading(first_time, first),
            last: reading(last_time, last),
            min,
            max,
            sum,
        }
    }

    /// Refuses a header, `self`, that is not what its columns say.
    pub(crate) fn check(&self, columns: &Summary<'_>) -> Result<(), DecodeError> {
        let equal = match (self, columns) {
            (Self::F64(a), Summary::F64(b)) => [
                a.first.to_bits() == b.first.to_bits(),
                a.last.to_bits() == b.last.to_bits(),
                a.min.to_bits() == b.min.to_bits(),
                a.max.to_bits() == b.max.to_bits(),
                a.sum.to_bits() == b.sum.to_bits(),
            ],
            (Self::I64(a), Summary::I64(b)) => [
                a.first == b.first,
                a.last == b.last,
                a.min == b.min,
                a.max == b.max,
                a.sum == b.sum,
            ],
            (Self::Bool(a), Summary::Bool(b)) => {
                let trues = a.trues == b.trues;
                [a.first == b.first, a.last == b.last, true, true, trues]
            }
            (Self::Text(a), Summary::Text(b)) => {
                let bytes = a.bytes == b.bytes;
                [a.first == b.first, a.last == b.last, true, true, bytes]
            }
            _ => [false; 5],
        };
        let names = ["first value", "last value", "minimum", "maximum", "sum"];
        match names.iter().zip(equal).find(|(_, equal)| !equal) {
            None => Ok(()),
            Some((what, _)) => Err(DecodeError::StatisticsDiffer { what }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sensor_model::value::TEXT_BYTES_MAX;
    use sensor_model::{Columns, Kind, Values};

    use super::*;

    fn check_against_the_model(columns: &Columns) {
        let times = &columns.times;
        let span = Span::of(times);
        let summary = match &columns.values {
            Values::F64(values) => Summary::of_floats(values, span),
            Values::I64(values) => Summary::of_integers(values, span),
            Values::Bool(values) => Summary::of_flags(values, span),
            Values::Text(values) => Summary::Text(Ends {
                first: &values[span.first],
                last: &values[span.last],
                bytes: values.iter().map(String::len).sum(),
            }),
        };
        let expected = Statistics::of_columns(columns).unwrap();
        let statistics = |summary: &Summary<'_>| {
            summary.statistics(times.len(), times[span.first], times[span.last])
        };
        assert_eq!(statistics(&summary), expected);

        let mut bytes = Vec::new();
        summary.write(&mut bytes);
        let mut cursor = Cursor::new(&bytes);
        let read_back = Summary::read(&mut cursor, columns.kind(), times.len()).unwrap();
        cursor.finish("statistics").unwrap();
        assert_eq!(statistics(&read_back), expected);
        read_back.check(&summary).unwrap();
        for cut in 0..bytes.len() {
            let cut = Summary::read(&mut Cursor::new(&bytes[..cut]), columns.kind(), times.len());
            assert!(cut.is_err());
        }
    }

    #[test]
    fn both_zeros_are_told_apart() {
        for values in [
            vec![0.0, -0.0],
            vec![-0.0, 0.0],
            vec![-0.0, -0.0],
            vec![0.0, 1.0, -0.0],
        ] {
            check_against_the_model(&Columns {
                times: vec![0; values.len()],
                values: Values::F64(values),
            });
        }
    }

    #[test]
    fn a_sum_that_overflows_is_kept_as_infinity() {
        check_against_the_model(&Columns {
            times: vec![1, 2],
            values: Values::F64(vec![f64::MAX, f64::MAX]),
        });
    }

    #[test]
    fn statistics_that_are_not_finite_are_refused_but_for_an_infinite_sum() {
        let fine = [1.5, 2.5, 1.5, 2.5, 4.0];
        let read = |five: [f64; 5]| {
            let mut bytes = vec![0xff];
            bytes.extend(five.iter().flat_map(|value| value.to_bits().to_le_bytes()));
            Summary::read(&mut Cursor::new(&bytes), Kind::F64, 20).map(|_| ())
        };
        assert_eq!(read(fine), Ok(()));
        for at in 0..5 {
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let mut five = fine;
                five[at] = bad;
                let sum_overflowed = at == 4 && bad.is_infinite();
                assert_eq!(read(five).is_ok(), sum_overflowed, "{bad} at {at}");
            }
        }
    }

    #[test]
    fn texts_longer_together_than_allowed_are_refused() {
        let summary = |bytes| {
            let mut out = Vec::new();
            Summary::Text(Ends {
                first: "a",
                last: "b",
                bytes,
            })
            .write(&mut out);
            Summary::read(&mut Cursor::new(&out), Kind::Text, 20).map(|_| ())
        };
        assert!(summary(20 * TEXT_BYTES_MAX).is_ok());
        assert!(summary(20 * TEXT_BYTES_MAX + 1).is_err());
    }

    fn times(count: usize) -> impl Strategy<Value = Vec<i64>> {
        proptest::collection::vec(prop_oneof![any::<i64>(), 0_i64..9], count)
    }

    fn values() -> impl Strategy<Value = Values> {
        let finite = any::<u64>()
            .prop_map(f64::from_bits)
            .prop_filter("finite", |v| v.is_finite());
        let zeros = prop_oneof![
            Just(0.0),
            Just(-0.0),
            (-9_i32..9).prop_map(|d| f64::from(d) / 10.0)
        ];
        prop_oneof![
            proptest::collection::vec(finite, 1..40).prop_map(Values::F64),
            proptest::collection::vec(zeros, 1..40).prop_map(Values::F64),
            proptest::collection::vec(any::<i64>(), 1..40).prop_map(Values::I64),
            proptest::collection::vec(any::<bool>(), 1..40).prop_map(Values::Bool),
            proptest::collection::vec(".{0,9}", 1..40).prop_map(Values::Text),
        ]
    }

    proptest! {
        #[test]
        fn summaries_equal_the_statistics_of_the_model(
            columns in values().prop_flat_map(|values| {
                times(values.len()).prop_map(move |times| Columns { times, values: values.clone() })
            }),
        ) {
            check_against_the_model(&columns);
        }
    }
}
