//! The time column: the first time in the coarsest unit that loses nothing, then differences.
//!
//! Differences are divided by their greatest common divisor and written as a sequence of integers, so a
//! constant step costs a handful of bytes however long the chunk is, and jitter costs its own bits. All
//! arithmetic wraps, so that any 64-bit times round-trip.

use crate::blocks::BLOCK;
use crate::cursor::{Cursor, put_varint};
use crate::error::DecodeError;
use crate::ints::{self, Planner};

/// The units times are written in: ns, µs, ms, s.
const UNITS: [u64; 4] = [1, 1_000, 1_000_000, 1_000_000_000];

/// The coarsest unit that a chunk's times are all multiples of, and the width of its first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scale(u8);

impl Scale {
    /// The scale with this number, 0 to 3.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits & 3)
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// The coarsest scale that divides every one of `numbers`.
    pub(crate) fn dividing(numbers: [u64; 2]) -> Self {
        let fits = |scale: &u8| {
            let unit = UNITS[usize::from(*scale)];
            numbers.iter().all(|number| number.is_multiple_of(unit))
        };
        Self((1..=3).rev().find(fits).unwrap_or(0))
    }

    /// Nanoseconds in one unit.
    pub(crate) const fn unit(self) -> u64 {
        UNITS[self.0 as usize]
    }

    /// Appends a time that is a multiple of the unit: 8 bytes in ns, one less for each coarser unit.
    pub(crate) fn put_time(self, time: i64, out: &mut Vec<u8>) {
        let units = match self.0 {
            0 => time,
            1 => time / 1_000,
            2 => time / 1_000_000,
            _ => time / 1_000_000_000,
        };
        out.extend_from_slice(&units.to_le_bytes()[..8 - usize::from(self.0)]);
    }

    pub(crate) fn time(self, cursor: &mut Cursor<'_>) -> Result<i64, DecodeError> {
        let missing = usize::from(self.0);
        let mut bytes = [0; 8];
        bytes[missing..].copy_from_slice(cursor.take(8 - missing)?);
        let units = i64::from_le_bytes(bytes) >> (8 * missing);
        units
            .checked_mul(self.unit().cast_signed())
            .ok_or(DecodeError::Malformed {
                what: "a time lies outside 64 bits of nanoseconds",
            })
    }

    /// Appends the distance between two times, which is a multiple of the unit.
    pub(crate) fn put_distance(self, from: i64, to: i64, out: &mut Vec<u8>) {
        let distance = to.wrapping_sub(from).cast_unsigned();
        put_varint(distance / self.unit(), out);
    }

    /// A time `later` than `from` by the distance that follows.
    pub(crate) fn time_after(self, from: i64, cursor: &mut Cursor<'_>) -> Result<i64, DecodeError> {
        from.checked_add_unsigned(self.distance(cursor)?)
            .ok_or(OUTSIDE)
    }

    /// A time earlier than `from` by the distance that follows.
    pub(crate) fn time_before(
        self,
        from: i64,
        cursor: &mut Cursor<'_>,
    ) -> Result<i64, DecodeError> {
        from.checked_sub_unsigned(self.distance(cursor)?)
            .ok_or(OUTSIDE)
    }

    fn distance(self, cursor: &mut Cursor<'_>) -> Result<u64, DecodeError> {
        cursor.varint()?.checked_mul(self.unit()).ok_or(OUTSIDE)
    }
}

const OUTSIDE: DecodeError = DecodeError::Malformed {
    what: "a time lies outside 64 bits of nanoseconds",
};

/// The differences of a time column, divided by what they have in common.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) scale: Scale,
    /// Greatest common divisor of the differences, a multiple of the scale's unit.
    divisor: u64,
}

impl Steps {
    /// Fills `steps` with the divided differences of `times`, which are at least two.
    pub(crate) fn of(times: &[i64], steps: &mut Vec<i64>) -> Self {
        steps.clear();
        let differences = times.iter().zip(&times[1..]);
        steps.extend(differences.map(|(a, b)| b.wrapping_sub(*a)));
        let common = common_divisor(steps);
        let scale = Scale::dividing([times[0].unsigned_abs(), common]);
        // Equal times leave a divisor of 0: any will do.
        let divisor = common.max(scale.unit());
        divide(steps, divisor);
        Self { scale, divisor }
    }

    /// Appends the column but for its first time, which stands in the header.
    pub(crate) fn write(&self, steps: &[i64], planner: &mut Planner, out: &mut Vec<u8>) {
        put_varint(self.divisor / self.scale.unit(), out);
        planner.write(steps, out);
    }
}

/// The greatest common divisor of `steps`, at most `i64::MAX`; 0 when all are 0.
fn common_divisor(steps: &[i64]) -> u64 {
    let mut divisor = steps[0].unsigned_abs();
    let mut before = steps[0];
    for step in steps {
        if divisor == 1 {
            break;
        }
        if *step != before {
            before = *step;
            divisor = gcd(divisor, step.unsigned_abs());
        }
    }
    // Half the range of 64 bits does not fit a signed integer.
    if i64::try_from(divisor).is_ok() {
        divisor
    } else {
        1
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while a != 0 {
        (a, b) = (b % a, a);
    }
    b
}

fn divide(steps: &mut [i64], divisor: u64) {
    if divisor == 1 {
        return;
    }
    let divisor = divisor.cast_signed();
    let (mut before, mut quotient) = (0, 0);
    for step in steps {
        if *step != before {
            before = *step;
            quotient = before / divisor;
        }
        *step = quotient;
    }
}

/// Reads `count` times, the first of which is known from the header, and hands them over in their order,
/// in runs of at most a block.
pub(crate) fn read_runs(
    cursor: &mut Cursor<'_>,
    scale: Scale,
    first: i64,
    count: usize,
    mut take: impl FnMut(&[i64]),
) -> Result<(), DecodeError> {
    let divisor = scale.distance(cursor)?.cast_signed();
    take(&[first]);
    let (mut time, mut block) = (first, [0; BLOCK]);
    ints::read_runs(cursor, count - 1, |steps| {
        for (slot, step) in block.iter_mut().zip(steps) {
            time = time.wrapping_add(step.wrapping_mul(divisor));
            *slot = time;
        }
        take(&block[..steps.len()]);
    })
}

/// Reads the one step that lies between all times; reads nothing where steps differ.
pub(crate) fn read_step(cursor: &mut Cursor<'_>, scale: Scale) -> Result<Option<i64>, DecodeError> {
    let mut ahead = *cursor;
    let divisor = scale.distance(&mut ahead)?.cast_signed();
    let Some(step) = ints::read_constant(&mut ahead)? else {
        return Ok(None);
    };
    *cursor = ahead;
    Ok(Some(step.wrapping_mul(divisor)))
}

/// Replaces what is in `times` by `count` times, the first of which is known from the header.
pub(crate) fn read_into(
    cursor: &mut Cursor<'_>,
    scale: Scale,
    first: i64,
    count: usize,
    times: &mut Vec<i64>,
) -> Result<(), DecodeError> {
    times.clear();
    times.reserve(count);
    let Some(step) = read_step(cursor, scale)? else {
        return read_runs(cursor, scale, first, count, |run| {
            times.extend_from_slice(run)
        });
    };
    let mut next = first;
    times.extend((0..count).map(|_| {
        let time = next;
        next = next.wrapping_add(step);
        time
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(times: &[i64]) -> usize {
        let mut steps = Vec::new();
        let plan = Steps::of(times, &mut steps);
        let mut bytes = Vec::new();
        plan.scale.put_time(times[0], &mut bytes);
        plan.write(&steps, &mut Planner::default(), &mut bytes);
        let mut cursor = Cursor::new(&bytes);
        let first = plan.scale.time(&mut cursor).unwrap();
        let (mut again, mut runs) = (cursor, Vec::new());
        let take = |run: &[i64]| runs.extend_from_slice(run);
        read_runs(&mut again, plan.scale, first, times.len(), take).unwrap();
        let mut read_back = Vec::new();
        read_into(&mut cursor, plan.scale, first, times.len(), &mut read_back).unwrap();
        cursor.finish("times").unwrap();
        assert_eq!((&runs[..], &read_back[..]), (times, times));
        bytes.len()
    }

    #[test]
    fn a_constant_step_costs_the_same_for_any_count() {
        for step in [0, 1_000_000_000, -1_000_000_000, 3_600_000_000_000] {
            let times: Vec<i64> = (0..10_000)
                .map(|at| 1_763_632_800_000_000_000 + at * step)
                .collect();
            assert!(round_trip(&times) <= 10, "step {step}");
        }
    }

    #[test]
    fn jitter_of_whole_seconds_costs_bits_not_bytes() {
        let times: Vec<i64> = (0..1_000)
            .map(|at| (1_423_000_000 + at * 60 - at % 3 % 2) * 1_000_000_000)
            .collect();
        assert!(round_trip(&times) <= 1_000 * 3 / 8);
    }

    #[test]
    fn the_ends_of_time_round_trip() {
        round_trip(&[i64::MIN, i64::MAX, i64::MIN, 0, i64::MIN]);
        round_trip(&[0, i64::MIN]);
        round_trip(&[i64::MAX, i64::MAX]);
        round_trip(&[-9_223_372_036_000_000_000, 9_223_372_036_000_000_000]);
    }

    #[test]
    fn a_first_time_outside_64_bits_of_nanoseconds_is_refused() {
        assert!(
            Scale::from_bits(3)
                .time(&mut Cursor::new(&[0, 0, 0, 0, 0x7f]))
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn any_times_round_trip(
            times in proptest::collection::vec(any::<i64>(), 2..200),
            shift in 0_u32..64,
            scale in 0_u8..4,
        ) {
            let unit = Scale::from_bits(scale).unit().cast_signed();
            let scaled: Vec<i64> = times.iter().map(|time| (time >> shift) / unit * unit).collect();
            round_trip(&scaled);
        }
    }
}
