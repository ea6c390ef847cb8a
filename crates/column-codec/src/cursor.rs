//! Reading and writing the smallest parts: bytes, and integers of variable length.
//!
//! A varint is LEB128: seven bits a byte, lowest first, the top bit set on all but the last byte.
//! A signed one is zigzagged first (0, -1, 1, -2 … become 0, 1, 2, 3 …).

use crate::error::DecodeError;

/// What is left to read of some bytes. Every read is checked against their end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not yet read.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Eight bytes, little-endian.
    pub(crate) fn word(&mut self) -> Result<u64, DecodeError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*taken))
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed {
            what: "a varint is longer than 64 bits",
        })
    }

    #[inline]
    pub(crate) fn signed(&mut self) -> Result<i64, DecodeError> {
        Ok(unzigzag(self.varint()?))
    }

    /// A length or a count, which must fit into memory's addresses.
    pub(crate) fn len(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated)
    }

    /// A signed varint of up to 128 bits.
    pub(crate) fn signed_wide(&mut self) -> Result<i128, DecodeError> {
        let mut value: u128 = 0;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            if shift == 126 && byte > 3 {
                break;
            }
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let magnitude = (value >> 1).cast_signed();
                return Ok(magnitude ^ -((value & 1).cast_signed()));
            }
        }
        Err(DecodeError::Malformed {
            what: "a varint is longer than 128 bits",
        })
    }

    /// Ends the reading of `part`, of which nothing may be left.
    pub(crate) fn finish(self, part: &'static str) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(DecodeError::TrailingBytes {
            part,
            bytes: self.rest.len(),
        })
    }
}

/// The lowest eight bits of `value`.
#[inline]
pub(crate) const fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

#[inline]
pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    if value < 0x80 {
        out.push(low_byte(value));
        return;
    }
    let mut bytes = [0; 10];
    let mut len = 0;
    while value >= 0x80 {
        bytes[len] = low_byte(value) | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = low_byte(value);
    out.extend_from_slice(&bytes[..=len]);
}

/// How many bytes [`put_varint`] appends.
#[inline]
pub(crate) const fn varint_len(value: u64) -> u32 {
    (70 - (value | 1).leading_zeros()) / 7
}

#[inline]
pub(crate) fn put_signed(value: i64, out: &mut Vec<u8>) {
    put_varint(zigzag(value), out);
}

pub(crate) fn put_signed_wide(value: i128, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 127)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

pub(crate) fn put_len(len: usize, out: &mut Vec<u8>) {
    put_varint(u64::try_from(len).expect("a length fits 64 bits"), out);
}

#[inline]
pub(crate) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[inline]
pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_varint_beyond_its_width_is_refused() {
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(Cursor::new(&largest).varint(), Ok(u64::MAX));
        let mut beyond = largest;
        beyond[9] = 2;
        assert!(Cursor::new(&beyond).varint().is_err());
        beyond[9] = 0x81;
        assert!(Cursor::new(&beyond).varint().is_err());
        assert!(Cursor::new(&[0xff; 40]).signed_wide().is_err());
    }

    #[test]
    fn reading_past_the_end_is_refused() {
        assert_eq!(Cursor::new(&[0x80]).varint(), Err(DecodeError::Truncated));
        assert_eq!(Cursor::new(&[0; 7]).word(), Err(DecodeError::Truncated));
        assert!(Cursor::new(&[0; 7]).take(8).is_err());
    }

    proptest! {
        #[test]
        fn integers_round_trip(value in any::<i64>(), shift in 0_u32..64, wide in any::<i128>(), cut in 0_u32..128) {
            let (value, wide) = (value >> shift, wide >> cut);
            let mut bytes = Vec::new();
            put_signed(value, &mut bytes);
            prop_assert_eq!(bytes.len(), varint_len(zigzag(value)) as usize);
            put_signed_wide(wide, &mut bytes);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.signed(), Ok(value));
            prop_assert_eq!(cursor.signed_wide(), Ok(wide));
            prop_assert_eq!(cursor.finish("test"), Ok(()));
        }
    }
}
