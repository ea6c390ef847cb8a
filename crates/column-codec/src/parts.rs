//! Statistics of consecutive parts of a chunk, for questions whose buckets are shorter than it.
//!
//! The usual chunk, of decimals at a steady step, is looked at as it stands: where a part ends follows
//! from the step, and least, greatest and sum are those of the digits, made decimals once a part. So no
//! column is put together, and the sum is rounded once. Other chunks are decoded into buffers first.

use sensor_model::{Kind, Reading, Statistics, Sum, Timestamp, Value};

use crate::blocks::bounds;
use crate::cursor::Cursor;
use crate::decimals::{are_small, join};
use crate::error::DecodeError;
use crate::scratch::Scratch;
use crate::summary::{Span, Summary};
use crate::times;
use crate::view::{Body, ChunkView};
use crate::{bools, floats, ints};

/// Most parts of a chunk: beyond, its readings take less memory than their statistics.
pub const PARTS_MAX: usize = 4096;

impl ChunkView<'_> {
    /// Replaces what is in `parts` by the statistics of the chunk's parts, in order of time, and says
    /// whether it could: only for times that ascend, for all kinds but text, and
    /// where there are at most [`PARTS_MAX`]. A part begins with the first
    /// reading that is in none before it, and ends before the time that `end_of` gives for that one's.
    ///
    /// Sums may differ in their last bits from those of readings added one by one.
    ///
    /// # Errors
    /// As [`ChunkView::decode`].
    pub fn parts(
        &self,
        scratch: &mut Scratch,
        end_of: &mut dyn FnMut(Timestamp) -> Timestamp,
        parts: &mut Vec<Statistics>,
    ) -> Result<bool, DecodeError> {
        parts.clear();
        let Some(body) = &self.body else {
            parts.push(self.statistics());
            return Ok(true);
        };
        if !self.is_sorted() || self.kind() == Kind::Text {
            return Ok(false);
        }
        let times = self.cut(body, scratch, end_of)?;
        if scratch.ends.len() > PARTS_MAX {
            return Ok(false);
        }
        let mut values = Cursor::new(body.values);
        match floats::read_power(&mut values).filter(|_| self.kind() == Kind::F64) {
            Some(power) => self.of_digits(&mut values, scratch, &times, power, parts)?,
            None => {
                values = Cursor::new(body.values);
                self.of_values(&mut values, scratch, &times, parts)?;
            }
        }
        values.finish("value column")?;
        Ok(true)
    }

    /// Finds where each part ends, as a number of readings, into `scratch.ends`.
    fn cut(
        &self,
        body: &Body<'_>,
        scratch: &mut Scratch,
        end_of: &mut dyn FnMut(Timestamp) -> Timestamp,
    ) -> Result<Times, DecodeError> {
        let mut end_after = |time: i64| {
            let end = end_of(Timestamp::from_nanos(time)).as_nanos();
            end.max(time.saturating_add(1))
        };
        scratch.ends.clear();
        let mut cursor = Cursor::new(body.times);
        let mut at = 0;
        if let Some(step) = times::read_step(&mut cursor, self.head.scale)? {
            cursor.finish("time column")?;
            // A step of more than half of all time wraps to a negative one.
            let step = step.cast_unsigned();
            if step == 0 {
                return Err(DecodeError::StatisticsDiffer { what: "order" });
            }
            let times = Times::Every(self.start, step);
            while at < self.count {
                let time = times.at(&scratch.times, at);
                let distance = end_after(time).wrapping_sub(time).cast_unsigned();
                let readings = usize::try_from(distance.div_ceil(step)).unwrap_or(usize::MAX);
                at = at.saturating_add(readings.max(1)).min(self.count);
                scratch.ends.push(at);
            }
            return Ok(times);
        }
        self.read_times(body, &mut scratch.times)?;
        while at < self.count {
            let end = end_after(scratch.times[at]);
            let rest = &scratch.times[at..];
            at += rest.partition_point(|time| *time < end).max(1);
            scratch.ends.push(at);
        }
        Ok(Times::Decoded)
    }

    /// Parts of decimals, by their digits.
    fn of_digits(
        &self,
        cursor: &mut Cursor<'_>,
        scratch: &mut Scratch,
        times: &Times,
        power: f64,
        parts: &mut Vec<Statistics>,
    ) -> Result<(), DecodeError> {
        let Scratch {
            ends,
            times: decoded,
            ..
        } = scratch;
        let mut ends = ends.iter();
        let (mut at, mut begin, mut end) = (0, 0, ends.next().copied().unwrap_or(self.count));
        let mut digits = Digits::NONE;
        ints::read_runs(cursor, self.count, |run| {
            let mut rest = run;
            while let Some(taken) = rest.split_off(..rest.len().min(end - at))
                && !taken.is_empty()
            {
                digits.add(taken, at == begin);
                at += taken.len();
                if at == end {
                    let ends_at = [times.at(decoded, begin), times.at(decoded, end - 1)];
                    parts.push(digits.statistics(end - begin, ends_at, power));
                    digits = Digits::NONE;
                    begin = end;
                    end = ends.next().copied().unwrap_or(self.count);
                }
            }
        })
    }

    /// Parts of any other values.
    fn of_values(
        &self,
        cursor: &mut Cursor<'_>,
        scratch: &mut Scratch,
        times: &Times,
        parts: &mut Vec<Statistics>,
    ) -> Result<(), DecodeError> {
        let Scratch {
            ends,
            times: decoded,
            integers,
            distinct,
            floats,
            flags,
            ..
        } = scratch;
        match self.kind() {
            Kind::F64 => floats::read_into(cursor, self.count, (integers, distinct), floats)?,
            Kind::I64 => {
                integers.resize(self.count, 0);
                ints::read(cursor, integers)?;
            }
            Kind::Bool => {
                flags.resize(self.count, false);
                bools::read(cursor, flags)?;
            }
            Kind::Text => unreachable!("texts are not cut into parts"),
        }
        let mut begin = 0;
        for end in ends {
            let part = begin..*end;
            let span = Span {
                first: 0,
                last: part.len() - 1,
                is_sorted: true,
            };
            let (first, last) = (times.at(decoded, begin), times.at(decoded, *end - 1));
            let summary = match self.kind() {
                Kind::F64 => Summary::of_floats(&floats[part.clone()], span),
                Kind::I64 => Summary::of_integers(&integers[part.clone()], span),
                Kind::Bool | Kind::Text => Summary::of_flags(&flags[part.clone()], span),
            };
            parts.push(summary.statistics(part.len(), first, last));
            begin = *end;
        }
        Ok(())
    }
}

/// The times of a chunk.
enum Times {
    /// The first, and the step to each next one.
    Every(i64, u64),
    /// They are in the buffer.
    Decoded,
}

impl Times {
    fn at(&self, decoded: &[i64], index: usize) -> i64 {
        match self {
            Self::Every(first, step) => {
                first.wrapping_add_unsigned(step.wrapping_mul(index as u64))
            }
            Self::Decoded => decoded[index],
        }
    }
}

/// What the digits of a part come to so far.
struct Digits {
    first: i64,
    last: i64,
    min: i64,
    max: i64,
    sum: i128,
}

impl Digits {
    const NONE: Self = Self {
        first: 0,
        last: 0,
        min: i64::MAX,
        max: i64::MIN,
        sum: 0,
    };

    /// Adds the next digits, at most a block.
    fn add(&mut self, digits: &[i64], is_first: bool) {
        if let (true, Some(first)) = (is_first, digits.first()) {
            self.first = *first;
        }
        self.last = digits.last().copied().unwrap_or(self.last);
        let (min, max) = bounds(digits);
        self.min = self.min.min(min);
        self.max = self.max.max(max);
        self.sum += match are_small(&[min, max]) {
            // A block of them stays far below 2^63.
            true => i128::from(
                digits
                    .iter()
                    .fold(0_i64, |sum, digits| sum.wrapping_add(*digits)),
            ),
            false => digits.iter().map(|digits| i128::from(*digits)).sum(),
        };
    }

    /// As decimals. These are in the order of their digits.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a sum of floats is rounded to the nearest float"
    )]
    fn statistics(&self, count: usize, times: [i64; 2], power: f64) -> Statistics {
        let value = |digits| Value::F64(join(digits, power));
        // Most sums fit 64 bits, of which a float is made much faster.
        let sum = i64::try_from(self.sum).map_or_else(|_| self.sum as f64, |sum| sum as f64);
        let [first, last] = times.map(Timestamp::from_nanos);
        Statistics {
            count: count as u64,
            first: Reading {
                timestamp: first,
                value: value(self.first),
            },
            last: Reading {
                timestamp: last,
                value: value(self.last),
            },
            min: Some(value(self.min)),
            max: Some(value(self.max)),
            sum: Sum::F64(sum / power),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_any_size_are_added_exactly() {
        for digit in [i64::MAX, i64::MIN] {
            let mut digits = Digits::NONE;
            digits.add(&[digit; 128], true);
            digits.add(&[1], false);
            assert_eq!(digits.sum, 128 * i128::from(digit) + 1);
            assert_eq!((digits.first, digits.last), (digit, 1));
        }
    }
}
