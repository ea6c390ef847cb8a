//! Floats as decimals: `digits / 10^exponent`, the way most sensors produce them.
//!
//! Division of a whole number below 2^53 by a power of ten up to 10^22 is rounded correctly by IEEE 754,
//! which is also how a decimal text is read. So a value that came from a text of up to 15 digits is met
//! exactly. (ALP, Afroozeh, Kuffo and Boncz, SIGMOD 2024, multiplies instead and must keep exceptions.)
//! What is not met exactly is off by some units in the last place, kept beside the digits.

use crate::cursor::zigzag;

/// Largest exponent in use.
pub(crate) const EXPONENT_MAX: u8 = 18;

/// Powers of ten, all exact.
const POWERS: [f64; 19] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

/// Adding and subtracting it rounds a float of up to 2^51 to a whole number, whose integer form is then
/// the difference of the bits: both in a form that vectorises.
const ROUNDER: f64 = 6_755_399_441_055_744.0; // 1.5 × 2^52
const DIGITS_MAX: f64 = 2_251_799_813_685_248.0; // 2^51

/// Most values an exponent is chosen by.
const SAMPLE_MAX: usize = 32;

/// 10 to the power of `exponent`, which is at most [`EXPONENT_MAX`].
pub(crate) fn power(exponent: u8) -> f64 {
    POWERS[usize::from(exponent)]
}

/// The digits nearest to `value × power`, held within ±2^51, and how many units in the last place
/// `value` lies above the decimal they stand for.
#[inline]
pub(crate) fn split(value: f64, power: f64) -> (i64, i64) {
    let scaled = (value * power).clamp(-DIGITS_MAX, DIGITS_MAX);
    let rounded = scaled + ROUNDER;
    let digits = rounded
        .to_bits()
        .wrapping_sub(ROUNDER.to_bits())
        .cast_signed();
    let decimal = (rounded - ROUNDER) / power;
    let ulps = value.to_bits().wrapping_sub(decimal.to_bits());
    (digits, ulps.cast_signed())
}

/// The decimal that `digits` stand for. Always finite.
#[inline]
#[expect(
    clippy::cast_precision_loss,
    reason = "the format defines digits beyond 2^53 as rounded to the nearest float"
)]
pub(crate) fn join(digits: i64, power: f64) -> f64 {
    digits as f64 / power
}

/// As [`join`] of each of `digits`, appended to `out`.
pub(crate) fn join_all(digits: &[i64], power: f64, out: &mut Vec<f64>) {
    let join_small = |digits: &i64| {
        let rounded = ROUNDER.to_bits().wrapping_add(digits.cast_unsigned());
        (f64::from_bits(rounded) - ROUNDER) / power
    };
    if are_small(digits) {
        out.extend(digits.iter().map(join_small));
    } else {
        out.extend(digits.iter().map(|digits| join(*digits, power)));
    }
}

/// Whether all of `digits` are at least -2^51 and less than 2^51.
pub(crate) fn are_small(digits: &[i64]) -> bool {
    const HALF: i64 = 1 << 51;
    let above = |digits: &i64| digits.wrapping_add(HALF).cast_unsigned() >> 52;
    digits.iter().fold(0, |all, digits| all | above(digits)) == 0
}

/// `value` moved up by `ulps` units in the last place.
#[inline]
pub(crate) const fn nudge(value: f64, ulps: i64) -> f64 {
    f64::from_bits(value.to_bits().wrapping_add(ulps.cast_unsigned()))
}

/// The smallest exponent and its digits that stand for exactly `value`.
pub(crate) fn exact(value: f64) -> Option<(u8, i64)> {
    (0..=EXPONENT_MAX).find_map(|exponent| {
        let (digits, ulps) = split(value, power(exponent));
        (ulps == 0).then_some((exponent, digits))
    })
}

/// An exponent and what it is thought to cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    pub(crate) exponent: u8,
    /// Estimated bits a value.
    pub(crate) bits: u32,
    /// Whether the digits of every value looked at stand for it exactly.
    pub(crate) exact: bool,
}

/// The cheapest exponent, judged by a sample of `values`, of which there is at least one.
pub(crate) fn choose(values: &[f64]) -> Choice {
    let stride = values.len().div_ceil(SAMPLE_MAX);
    let mut best = Choice {
        exponent: 0,
        bits: u32::MAX,
        exact: false,
    };
    for exponent in 0..=EXPONENT_MAX {
        let choice = judge(values.iter().step_by(stride), exponent);
        if choice.bits < best.bits {
            best = choice;
        }
        if choice.exact {
            // More digits only cost more.
            break;
        }
    }
    best
}

/// What `exponent` costs over `sample`: the bits of its digits' distance from the first, plus those of
/// its units in the last place, patched or packed.
fn judge<'a>(sample: impl Iterator<Item = &'a f64>, exponent: u8) -> Choice {
    let power = power(exponent);
    let (mut count, mut digits_bits, mut patch_bits, mut ulps_width) = (0, 0, 0, 0);
    let mut first = None;
    for value in sample {
        let (digits, ulps) = split(*value, power);
        let from_first = digits.wrapping_sub(*first.get_or_insert(digits));
        digits_bits += width(from_first);
        if ulps != 0 {
            patch_bits += 16 + width(ulps) * 8 / 7;
            ulps_width = ulps_width.max(width(ulps));
        }
        count += 1;
    }
    let mean = |bits: u32| bits.div_ceil(count);
    Choice {
        exponent,
        bits: mean(digits_bits) + mean(patch_bits).min(ulps_width),
        exact: ulps_width == 0,
    }
}

const fn width(value: i64) -> u32 {
    64 - zigzag(value).leading_zeros()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_of_up_to_fifteen_digits_are_exact() {
        for (value, exponent, digits) in [
            (0.0, 0, 0),
            (-40.0, 0, -40),
            (21.7, 1, 217),
            (73.967322, 6, 73_967_322),
            (0.004_764_163_024_164_14, 17, 476_416_302_416_414),
            (437.333_333_333_333, 12, 437_333_333_333_333),
        ] {
            assert_eq!(exact(value), Some((exponent, digits)), "{value}");
        }
        for value in [-0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, 1.0 / 3.0] {
            assert_eq!(exact(value), None, "{value}");
        }
    }

    #[test]
    fn rounding_noise_keeps_the_exponent_of_the_decimal() {
        let values: Vec<f64> = (0..100).map(|at| 74.0 + f64::from(at) * 0.1).collect();
        let choice = choose(&values);
        assert_eq!(choice.exponent, 1);
        assert!(choice.bits < 20, "{choice:?}");
    }

    #[test]
    fn digits_are_joined_together_as_they_are_alone() {
        const EDGE: i64 = 1 << 51;
        assert!(are_small(&[-EDGE, 0, EDGE - 1]) && are_small(&[]));
        for wide in [-EDGE - 1, EDGE, i64::MIN, i64::MAX] {
            assert!(!are_small(&[1, wide, 2]), "{wide}");
        }
        for digits in [[-EDGE, -7, 0], [7, EDGE - 1, 1], [EDGE, i64::MAX, 1]] {
            for exponent in 0..=EXPONENT_MAX {
                let mut joined = Vec::new();
                join_all(&digits, power(exponent), &mut joined);
                let alone = digits.map(|digits| join(digits, power(exponent)));
                let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&joined), bits(&alone));
            }
        }
    }

    proptest! {
        #[test]
        fn digits_and_ulps_give_any_float_back(bits in any::<u64>(), exponent in 0..=EXPONENT_MAX) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let (digits, ulps) = split(value, power(exponent));
            let back = nudge(join(digits, power(exponent)), ulps);
            prop_assert_eq!(back.to_bits(), bits);
        }

        #[test]
        fn every_decimal_text_of_15_digits_is_exact(digits in -999_999_999_999_999_i64..=999_999_999_999_999, exponent in 0_u8..=17) {
            let value: f64 = format!("{digits}e-{exponent}").parse().unwrap();
            prop_assert_eq!(split(value, power(exponent)), (digits, 0));
        }
    }
}
