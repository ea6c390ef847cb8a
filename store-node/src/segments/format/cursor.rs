//! Reading and writing the integers of a segment's index.
//!
//! A varint is LEB128: seven bits a byte, lowest first, the top bit set on all bytes but the last; only
//! its shortest form is read.

use super::FormatError;

/// What is left to read of some bytes. Every read is checked against their end.
#[derive(Debug)]
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

    /// Steps over `len` bytes.
    pub(crate) fn skip(&mut self, len: usize) -> Result<(), FormatError> {
        self.rest = self.rest.get(len..).ok_or(CUT_SHORT)?;
        Ok(())
    }

    pub(crate) fn byte(&mut self) -> Result<u8, FormatError> {
        let (first, rest) = self.rest.split_first().ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(*first)
    }

    /// Four bytes, little-endian.
    pub(crate) fn word(&mut self) -> Result<u32, FormatError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*taken))
    }

    pub(crate) fn varint(&mut self) -> Result<u64, FormatError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let is_last = byte < 0x80;
            let is_padded = is_last && byte == 0 && shift > 0;
            if is_padded || (shift == 63 && byte > 1) {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if is_last {
                return Ok(value);
            }
        }
        Err(FormatError::malformed(
            "a number is not written the shortest way, or has more than 64 bits",
        ))
    }

    /// A varint of at most 32 bits.
    pub(crate) fn varint32(&mut self) -> Result<u32, FormatError> {
        u32::try_from(self.varint()?)
            .map_err(|_| FormatError::malformed("a number has more than 32 bits"))
    }

    /// Ends the reading: nothing may be left.
    pub(crate) fn finish(self) -> Result<(), FormatError> {
        super::ensure(self.rest.is_empty(), "bytes follow the end of the index")
    }
}

const CUT_SHORT: FormatError = FormatError::malformed("the index is cut short");

/// Appends `value`.
pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_shortest_form_of_up_to_64_bits_is_read() {
        let mut largest = Vec::new();
        put_varint(u64::MAX, &mut largest);
        assert_eq!(Cursor::new(&largest).varint(), Ok(u64::MAX));
        largest[9] = 2;
        assert!(Cursor::new(&largest).varint().is_err());
        assert!(Cursor::new(&[0x80, 0]).varint().is_err());
        assert!(Cursor::new(&[0xff; 40]).varint().is_err());
        assert!(Cursor::new(&[0x80]).varint().is_err());
    }

    #[test]
    fn thirty_two_bits_are_read_and_thirty_three_are_not() {
        let read = |value| {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            Cursor::new(&bytes).varint32()
        };
        assert_eq!(read(u64::from(u32::MAX)), Ok(u32::MAX));
        assert!(read(1 << 32).is_err());
    }

    proptest! {
        #[test]
        fn every_number_reads_back(value in any::<u64>(), shift in 0_u32..64) {
            let mut bytes = Vec::new();
            put_varint(value >> shift, &mut bytes);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.varint(), Ok(value >> shift));
            prop_assert_eq!(cursor.finish(), Ok(()));
        }
    }
}
