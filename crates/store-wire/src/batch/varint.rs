//! Unsigned LEB128, shortest form only: one number, one spelling.

use super::BatchError;

/// Longest encoding of 64 bits.
pub(super) const VARINT_BYTES_MAX: usize = 10;

/// Appends `number`.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low_bits(number) | 0x80);
        number >>= 7;
    }
    out.push(low_bits(number));
}

/// How many bytes `number` takes.
pub(super) const fn len(number: u64) -> usize {
    let bits = (u64::BITS - number.leading_zeros()) as usize;
    if bits == 0 { 1 } else { bits.div_ceil(7) }
}

/// Takes a number off the front of `bytes`.
pub(super) fn take(bytes: &mut &[u8], what: &'static str) -> Result<u64, BatchError> {
    let mut number = 0_u64;
    for index in 0..VARINT_BYTES_MAX {
        let Some(&byte) = bytes.get(index) else {
            return Err(BatchError::Truncated {
                what,
                bytes: bytes.len(),
            });
        };
        let is_last = byte < 0x80;
        let overflows = index == VARINT_BYTES_MAX - 1 && byte > 1;
        let is_padded = is_last && byte == 0 && index > 0;
        if overflows || is_padded {
            return Err(BatchError::NotCanonical { what });
        }
        number |= u64::from(byte & 0x7f) << (7 * index);
        if is_last {
            *bytes = &bytes[index + 1..];
            return Ok(number);
        }
    }
    Err(BatchError::NotCanonical { what })
}

fn low_bits(number: u64) -> u8 {
    u8::try_from(number & 0x7f).expect("seven bits fit a byte")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, number);
        bytes
    }

    #[test]
    fn a_number_written_longer_than_needed_is_refused() {
        for bad in [&[0x80, 0x00][..], &[0xff, 0x80, 0x00]] {
            let outcome = take(&mut &bad[..], "number");
            assert_eq!(outcome, Err(BatchError::NotCanonical { what: "number" }));
        }
    }

    #[test]
    fn a_number_past_64_bits_is_refused() {
        let mut bytes = encoded(u64::MAX);
        assert_eq!(take(&mut &bytes[..], "number"), Ok(u64::MAX));
        *bytes.last_mut().unwrap() = 2;
        assert!(take(&mut &bytes[..], "number").is_err());
        assert!(take(&mut &[0xff; 11][..], "number").is_err());
    }

    proptest! {
        #[test]
        fn every_number_reads_back_from_its_only_spelling(number in any::<u64>(), shift in 0_u32..64) {
            let number = number >> shift;
            let bytes = encoded(number);
            prop_assert_eq!(bytes.len(), len(number));
            let mut rest = &bytes[..];
            prop_assert_eq!(take(&mut rest, "number"), Ok(number));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn what_reads_as_a_number_is_its_only_spelling(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut rest = &bytes[..];
            if let Ok(number) = take(&mut rest, "number") {
                prop_assert_eq!(encoded(number), &bytes[..bytes.len() - rest.len()]);
            }
        }
    }
}
