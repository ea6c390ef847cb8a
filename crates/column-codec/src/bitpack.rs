//! Integers of a fixed number of bits, one after the other, lowest bit first.
//!
//! Eight values of width `W` fill exactly `W` bytes, so the kernels work on groups of eight with every
//! shift a constant: one function a width, no branch a value. Widths are 0 to 56 and 64: up to 56 a
//! value lies within the eight bytes that begin at its first byte, so one load reads it.

use crate::cursor::low_byte;

/// Values a kernel takes in one step.
pub(crate) const GROUP: usize = 8;
/// Bytes that must be readable behind the packed ones.
pub(crate) const SLACK: usize = 8;

/// The narrowest width that holds `range`.
#[inline]
pub(crate) const fn width_of(range: u64) -> u8 {
    let bits = low_byte((64 - range.leading_zeros()) as u64);
    if bits > 56 { 64 } else { bits }
}

/// Whether `width` is one the format has.
pub(crate) const fn is_width(width: u8) -> bool {
    width <= 56 || width == 64
}

/// Bytes that `len` values of `width` bits take.
pub(crate) const fn packed_len(len: usize, width: u8) -> usize {
    (len * width as usize).div_ceil(8)
}

/// Calls the kernel made for a width.
macro_rules! by_width {
    ($width:expr, $kernel:ident $arguments:tt) => {
        by_width!(@arms $width, $kernel, $arguments,
            1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28
            29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 64)
    };
    (@arms $width:expr, $kernel:ident, $arguments:tt, $($w:literal)*) => {
        match $width {
            $($w => by_width!(@call $kernel, $w, $arguments),)*
            _ => {}
        }
    };
    (@call $kernel:ident, $w:literal, ($($argument:expr),*)) => { $kernel::<$w>($($argument),*) };
}

/// Packs the low `width` bits of `values[i] - base` into `out`, in which the bytes of whole groups fit.
///
/// `values` is a whole number of groups.
pub(crate) fn pack(values: &[i64], base: i64, width: u8, out: &mut [u8]) {
    by_width!(width, pack_groups(values, base, out));
}

/// Reads whole groups of values of `width` bits from `bytes` and adds `base` to each (wrapping).
///
/// `bytes` holds the packed groups and [`SLACK`] bytes more, `out` is a whole number of groups.
pub(crate) fn unpack(bytes: &[u8], base: i64, width: u8, out: &mut [i64]) {
    if width == 0 {
        out.fill(base);
    }
    by_width!(width, unpack_groups(bytes, base, out));
}

const fn mask(width: usize) -> u64 {
    if width == 64 {
        u64::MAX
    } else {
        (1 << width) - 1
    }
}

fn pack_groups<const W: usize>(values: &[i64], base: i64, out: &mut [u8]) {
    let groups = values.chunks_exact(GROUP).zip(out.chunks_exact_mut(W));
    for (values, out) in groups {
        let mut words = [0_u64; 9];
        for (at, value) in values.iter().enumerate() {
            let low = value.wrapping_sub(base).cast_unsigned() & mask(W);
            let (word, shift) = (at * W / 64, at * W % 64);
            words[word] |= low << shift;
            if shift + W > 64 {
                words[word + 1] |= low >> (64 - shift);
            }
        }
        let mut bytes = [0; 72];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        out.copy_from_slice(&bytes[..W]);
    }
}

fn unpack_groups<const W: usize>(bytes: &[u8], base: i64, out: &mut [i64]) {
    let word_at = |bytes: &[u8], at: usize| {
        let word = bytes[at..].first_chunk();
        word.map_or(0, |word| u64::from_le_bytes(*word))
    };
    for (group, out) in out.chunks_exact_mut(GROUP).enumerate() {
        let bytes = &bytes[group * W..][..W + SLACK];
        // Up to eight bits wide, a whole group lies in one word.
        let first = word_at(bytes, 0);
        for (at, out) in out.iter_mut().enumerate() {
            let (word, shift) = match W {
                ..=8 => (first, at * W),
                _ => (word_at(bytes, at * W / 8), at * W % 8),
            };
            let low = (word >> shift) & mask(W);
            *out = base.wrapping_add(low.cast_signed());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn widths_above_56_become_64() {
        assert_eq!(width_of(0), 0);
        assert_eq!(width_of(1), 1);
        assert_eq!(width_of((1 << 56) - 1), 56);
        assert_eq!(width_of(1 << 56), 64);
        assert_eq!(width_of(u64::MAX), 64);
        assert!(is_width(56) && !is_width(57) && !is_width(63) && is_width(64) && !is_width(65));
    }

    proptest! {
        #[test]
        fn every_width_round_trips(
            words in proptest::collection::vec(any::<u64>(), 1..=16),
            base in any::<i64>(),
        ) {
            for width in (0..=64).filter(|width| is_width(*width)) {
                let values: Vec<i64> = words
                    .iter()
                    .cycle()
                    .take(words.len() * GROUP)
                    .enumerate()
                    .map(|(at, word)| {
                        let low = word.rotate_left(u32::try_from(at).unwrap()) & mask(usize::from(width));
                        base.wrapping_add(low.cast_signed())
                    })
                    .collect();
                let mut bytes = vec![0xff; packed_len(values.len(), width)];
                pack(&values, base, width, &mut bytes);
                bytes.extend([0xff; SLACK]);
                let mut unpacked = vec![0; values.len()];
                unpack(&bytes, base, width, &mut unpacked);
                prop_assert_eq!(&unpacked, &values, "width {}", width);
            }
        }
    }
}
