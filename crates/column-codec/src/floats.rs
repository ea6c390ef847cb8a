//! The value column of floats: decimal digits where they pay, else the floats' own bits; and where few
//! values repeat, those once and indexes.

use crate::cursor::{Cursor, low_byte, put_len};
use crate::decimals::{self, Choice, EXPONENT_MAX};
use crate::distinct::Distinct;
use crate::error::DecodeError;
use crate::ints::{self, Planner};

/// Set in the tag of a column of decimals when units in the last place follow the digits.
pub(crate) const WITH_ULPS: u8 = 0x20;
/// Set in the tag of a column of bits; the low six bits say how far they were shifted.
pub(crate) const BITS: u8 = 0x40;

/// Tag of a column of indexes into distinct values, which are a column themselves.
pub(crate) const DICTIONARY: u8 = 0x80;

/// Decimals thought to cost up to this many bits a value are written without a trial.
const DECIMAL_BITS_SURE: u32 = 36;
/// Decimals thought to cost more than this are not tried: the floats' own bits cost about as much.
const DECIMAL_BITS_MAX: u32 = 52;

/// Buffers that encoding floats needs.
#[derive(Debug, Default)]
pub(crate) struct FloatBuffers {
    digits: Vec<i64>,
    ulps: Vec<i64>,
    distinct: Distinct,
}

/// Appends `values`, finite and at least one.
pub(crate) fn write(
    values: &[f64],
    buffers: &mut FloatBuffers,
    planner: &mut Planner,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    write_each(values, buffers, planner, out);
    // Below six bits a value indexes have little to win.
    let is_short = out.len() - start <= values.len() * 3 / 4;
    if is_short || !buffers.distinct.fill(values) {
        return;
    }
    let end = out.len();
    let sorted = std::mem::take(&mut buffers.distinct.sorted);
    out.push(DICTIONARY);
    put_len(sorted.len(), out);
    write_each(&sorted, buffers, planner, out);
    planner.write(&buffers.distinct.indexes, out);
    buffers.distinct.sorted = sorted;
    keep_shorter(start, end, out);
}

/// Of two encodings at the end of `out`, from `start` and from `middle`, keeps the shorter.
fn keep_shorter(start: usize, middle: usize, out: &mut Vec<u8>) {
    if out.len() - middle < middle - start {
        out.drain(start..middle);
    } else {
        out.truncate(middle);
    }
}

/// Appends every value by itself.
fn write_each(
    values: &[f64],
    buffers: &mut FloatBuffers,
    planner: &mut Planner,
    out: &mut Vec<u8>,
) {
    let choice = decimals::choose(values);
    if choice.bits > DECIMAL_BITS_MAX {
        write_bits(values, &mut buffers.digits, planner, out);
        return;
    }
    let start = out.len();
    write_decimals(values, choice, buffers, planner, out);
    if choice.bits > DECIMAL_BITS_SURE {
        let end = out.len();
        write_bits(values, &mut buffers.digits, planner, out);
        keep_shorter(start, end, out);
    }
}

fn write_decimals(
    values: &[f64],
    choice: Choice,
    buffers: &mut FloatBuffers,
    planner: &mut Planner,
    out: &mut Vec<u8>,
) {
    let FloatBuffers { digits, ulps, .. } = buffers;
    let mut exponent = choice.exponent;
    let mut inexact = split_all(values, exponent, digits, ulps);
    if choice.exact && inexact > values.len() / 32 {
        // The sample missed the longer decimals: choose again by those it missed.
        let missed: Vec<f64> = values
            .iter()
            .zip(&*ulps)
            .filter(|(_, ulps)| **ulps != 0)
            .map(|(value, _)| *value)
            .collect();
        let wider = decimals::choose(&missed);
        if wider.exact && wider.exponent > exponent {
            exponent = wider.exponent;
            inexact = split_all(values, exponent, digits, ulps);
        }
    }
    if inexact == 0 {
        out.push(exponent);
        planner.write(digits, out);
    } else {
        out.push(exponent | WITH_ULPS);
        planner.write(digits, out);
        planner.write(ulps, out);
    }
}

/// Splits every value and says how many are not met by their digits alone.
fn split_all(values: &[f64], exponent: u8, digits: &mut Vec<i64>, ulps: &mut Vec<i64>) -> usize {
    let power = decimals::power(exponent);
    digits.resize(values.len(), 0);
    ulps.resize(values.len(), 0);
    for ((value, digits), ulps) in values.iter().zip(&mut *digits).zip(&mut *ulps) {
        (*digits, *ulps) = decimals::split(*value, power);
    }
    ulps.iter().filter(|ulps| **ulps != 0).count()
}

fn write_bits(values: &[f64], bits: &mut Vec<i64>, planner: &mut Planner, out: &mut Vec<u8>) {
    let used = values.iter().fold(0, |used, value| used | value.to_bits());
    let shift = used.trailing_zeros().min(63);
    bits.clear();
    bits.extend(values.iter().map(|value| sign_last(value.to_bits(), shift)));
    out.push(BITS | low_byte(u64::from(shift)));
    planner.write(bits, out);
}

/// The bits above `shift` with the sign moved to the lowest place, so that size orders them.
const fn sign_last(bits: u64, shift: u32) -> i64 {
    (((bits << 1) >> shift) | (bits >> 63)).cast_signed()
}

const fn sign_first(packed: i64, shift: u32) -> u64 {
    let packed = packed.cast_unsigned();
    (((packed & !1) << shift) >> 1) | (packed << 63)
}

/// Fills `out`. `integers` and `distinct` are buffers of the same length.
pub(crate) fn read(
    cursor: &mut Cursor<'_>,
    integers: &mut [i64],
    distinct: &mut [f64],
    out: &mut [f64],
) -> Result<(), DecodeError> {
    let tag = cursor.byte()?;
    if tag != DICTIONARY {
        return read_each(cursor, tag, integers, out);
    }
    let len = cursor.len()?;
    let (Some(distinct), Some(digits)) = (distinct.get_mut(..len), integers.get_mut(..len)) else {
        return Err(DecodeError::Malformed {
            what: "a dictionary is larger than its column",
        });
    };
    let tag = cursor.byte()?;
    read_each(cursor, tag, digits, distinct)?;
    ints::read(cursor, integers)?;
    for (out, index) in out.iter_mut().zip(integers) {
        let index = usize::try_from(*index).unwrap_or(usize::MAX);
        *out = *distinct.get(index).ok_or(DecodeError::Malformed {
            what: "an index points outside the dictionary",
        })?;
    }
    Ok(())
}

/// Replaces what is in `out` by `count` values. `integers` and `distinct` are buffers, which few
/// encodings need.
pub(crate) fn read_into(
    cursor: &mut Cursor<'_>,
    count: usize,
    (integers, distinct): (&mut Vec<i64>, &mut Vec<f64>),
    out: &mut Vec<f64>,
) -> Result<(), DecodeError> {
    if let Some(power) = read_power(cursor) {
        out.clear();
        out.reserve(count);
        let join = |digits: &[i64]| decimals::join_all(digits, power, out);
        return ints::read_runs(cursor, count, join);
    }
    integers.resize(count, 0);
    distinct.resize(count, 0.0);
    out.resize(count, 0.0);
    read(cursor, integers, distinct, out)
}

/// Reads the tag of a column of decimals that are met by their digits alone, and gives the power of ten
/// that these are divided by; reads nothing of any other column.
pub(crate) fn read_power(cursor: &mut Cursor<'_>) -> Option<f64> {
    let mut ahead = *cursor;
    let exponent = ahead.byte().ok()?;
    if exponent > EXPONENT_MAX {
        return None;
    }
    *cursor = ahead;
    Some(decimals::power(exponent))
}

/// Reads a column in which each value stands by itself.
fn read_each(
    cursor: &mut Cursor<'_>,
    tag: u8,
    integers: &mut [i64],
    out: &mut [f64],
) -> Result<(), DecodeError> {
    if tag & BITS != 0 && tag < DICTIONARY {
        ints::read(cursor, integers)?;
        let shift = u32::from(tag & !BITS);
        for (out, packed) in out.iter_mut().zip(integers) {
            *out = f64::from_bits(sign_first(*packed, shift));
        }
        return check_finite(out);
    }
    let exponent = tag & !WITH_ULPS;
    if exponent > EXPONENT_MAX {
        return Err(DecodeError::Malformed {
            what: "an unknown encoding of floats",
        });
    }
    ints::read(cursor, integers)?;
    let power = decimals::power(exponent);
    for (out, digits) in out.iter_mut().zip(&*integers) {
        *out = decimals::join(*digits, power);
    }
    if tag & WITH_ULPS == 0 {
        return Ok(());
    }
    ints::read(cursor, integers)?;
    for (out, ulps) in out.iter_mut().zip(integers) {
        *out = decimals::nudge(*out, *ulps);
    }
    check_finite(out)
}

fn check_finite(values: &[f64]) -> Result<(), DecodeError> {
    match not_finite(values) {
        None => Ok(()),
        Some(index) => Err(DecodeError::NotFinite { index }),
    }
}

/// Where the first NaN or infinity is.
pub(crate) fn not_finite(values: &[f64]) -> Option<usize> {
    // Without a branch a value; the search is for the rare case.
    let all_finite = values
        .iter()
        .fold(true, |all, value| all & (value.abs() <= f64::MAX));
    if all_finite {
        return None;
    }
    values.iter().position(|value| !value.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[f64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(
            values,
            &mut FloatBuffers::default(),
            &mut Planner::default(),
            &mut bytes,
        );
        let mut read_back = vec![0.0; values.len()];
        let mut cursor = Cursor::new(&bytes);
        let mut integers = vec![0; values.len()];
        let mut distinct = vec![0.0; values.len()];
        read(&mut cursor, &mut integers, &mut distinct, &mut read_back).unwrap();
        cursor.finish("floats").unwrap();
        let mut again = Vec::new();
        let buffers = (&mut Vec::new(), &mut Vec::new());
        read_into(&mut Cursor::new(&bytes), values.len(), buffers, &mut again).unwrap();
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&again), bits(&read_back));
        for (at, (value, back)) in values.iter().zip(&read_back).enumerate() {
            assert_eq!(value.to_bits(), back.to_bits(), "index {at}");
        }
        bytes
    }

    fn read_some<const N: usize>(bytes: &[u8]) -> Result<(), DecodeError> {
        let (mut integers, mut distinct, mut out) = ([0; N], [0.0; N], [0.0; N]);
        read(
            &mut Cursor::new(bytes),
            &mut integers,
            &mut distinct,
            &mut out,
        )
    }

    #[test]
    fn few_long_values_go_into_a_dictionary() {
        let thirds: Vec<f64> = (0..1_000).map(|at| f64::from(at / 9 % 20) / 3.0).collect();
        let bytes = round_trip(&thirds);
        assert_eq!(bytes[0], DICTIONARY);
        assert!(bytes.len() < 500, "{} bytes", bytes.len());
    }

    #[test]
    fn a_dictionary_within_a_dictionary_or_with_indexes_outside_is_refused() {
        // Two distinct decimals, 1 and 2, and the indexes `base` and `base` + 1, zigzagged.
        let column =
            |distinct, tag, base| [DICTIONARY, distinct, tag, 2, 2, 0, 2, 1, 1, base, 0b10];
        assert_eq!(read_some::<2>(&column(2, 0, 0)), Ok(()));
        for (distinct, tag, base) in [
            (3, 0, 0),
            (0, 0, 0),
            (2, DICTIONARY, 0),
            (2, 0, 2),
            (2, 0, 1),
        ] {
            let refused = read_some::<2>(&column(distinct, tag, base));
            assert!(refused.is_err(), "{distinct} {tag} {base}");
        }
        let both_outside = [DICTIONARY, 1, 0, 0, 2, 0, 2];
        assert!(read_some::<2>(&both_outside).is_err());
    }

    #[test]
    fn decimals_are_told_from_noise() {
        let walk: Vec<f64> = (0..1_000_i32)
            .map(|at| f64::from(200 + at % 7) / 10.0)
            .collect();
        assert_eq!(round_trip(&walk)[0], 1);
        let drifting: Vec<f64> = (0..1_000_i32).map(|at| f64::from(at) * 0.1).collect();
        assert_eq!(round_trip(&drifting)[0], 1 | WITH_ULPS);
        let noise: Vec<f64> = (1..1_000_i32).map(|at| f64::from(at).sin()).collect();
        let bytes = round_trip(&noise);
        assert_eq!(bytes[0], BITS);
        assert!(bytes.len() < 8 * noise.len(), "{} bytes", bytes.len());
        let single: Vec<f64> = (1..1_000_i16)
            .map(|at| f64::from(f32::from(at).sin()))
            .collect();
        let bytes = round_trip(&single);
        assert_eq!(bytes[0] & 0xc0, BITS);
        assert!(bytes.len() <= 9 * single.len() / 2, "{} bytes", bytes.len());
    }

    #[test]
    fn longer_decimals_that_the_sample_missed_are_found() {
        let values: Vec<f64> = (0..1_024_i32)
            .map(|at| {
                f64::from(if at % 32 == 0 {
                    at * 1_000
                } else {
                    at * 1_000 + 7
                }) / 1e3
            })
            .collect();
        assert_eq!(round_trip(&values)[0], 3);
    }

    #[test]
    fn a_sentinel_among_decimals_costs_a_few_bytes() {
        let mut values: Vec<f64> = (0..1_000_i32)
            .map(|at| f64::from(200 + at % 7) / 10.0)
            .collect();
        let plain = round_trip(&values).len();
        for odd in [f64::MAX, -f64::MAX, -0.0, 5e-324, 1.0 / 3.0, -9999.0] {
            values[500] = odd;
            let bytes = round_trip(&values).len();
            assert!(bytes < plain + 64, "{odd}: {bytes} after {plain}");
        }
    }

    #[test]
    fn nan_and_infinities_inside_are_refused() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut bytes = Vec::new();
            let values = [1.5, bad];
            write_bits(
                &values,
                &mut Vec::new(),
                &mut Planner::default(),
                &mut bytes,
            );
            let refused = read_some::<2>(&bytes);
            assert_eq!(refused, Err(DecodeError::NotFinite { index: 1 }));
        }
        let infinity_by_ulps = [
            WITH_ULPS, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0xf8, 0xff, 1,
        ];
        let refused = read_some::<1>(&infinity_by_ulps);
        assert_eq!(refused, Err(DecodeError::NotFinite { index: 0 }));
    }

    #[test]
    fn an_unknown_encoding_is_refused() {
        for tag in [19, 31, WITH_ULPS | 19, 0x81, 0xff] {
            let bytes = [tag, 0, 0, 0, 0];
            assert!(read_some::<1>(&bytes).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_floats_round_trip(bits in proptest::collection::vec(any::<u64>(), 1..300)) {
            let values: Vec<f64> = bits.into_iter().map(f64::from_bits).filter(|value| value.is_finite()).collect();
            prop_assume!(!values.is_empty());
            round_trip(&values);
        }

        #[test]
        fn any_decimals_round_trip(
            digits in proptest::collection::vec(any::<i64>(), 1..300),
            shift in 0_u32..64,
            exponent in 0..=EXPONENT_MAX,
        ) {
            let values: Vec<f64> = digits.into_iter().map(|digits| decimals::join(digits >> shift, decimals::power(exponent))).collect();
            round_trip(&values);
        }
    }
}
