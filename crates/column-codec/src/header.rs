//! A chunk's first byte, and the limits that decide which form the rest takes.

use sensor_model::Kind;

use crate::error::DecodeError;
use crate::times::Scale;

/// The format version that this program writes and reads.
const VERSION: u8 = 1;

/// Up to this many readings, statistics are recomputed instead of stored.
pub(crate) const FEW_MAX: usize = 16;

const SINGLE: u8 = 0x04;
const SORTED: u8 = 0x08;
const SCALE_SHIFT: u8 = 4;
const VERSION_SHIFT: u8 = 6;

/// The first byte of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// Whether the chunk is one reading, without count and columns.
    pub(crate) is_single: bool,
    /// Whether times are strictly ascending.
    pub(crate) is_sorted: bool,
    pub(crate) scale: Scale,
}

impl Head {
    pub(crate) fn byte(self) -> u8 {
        let kind = match self.kind {
            Kind::F64 => 0,
            Kind::I64 => 1,
            Kind::Bool => 2,
            Kind::Text => 3,
        };
        let single = if self.is_single { SINGLE } else { 0 };
        let sorted = if self.is_sorted { SORTED } else { 0 };
        kind | single | sorted | self.scale.bits() << SCALE_SHIFT | VERSION << VERSION_SHIFT
    }

    pub(crate) fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        let version = byte >> VERSION_SHIFT;
        if version != VERSION {
            return Err(DecodeError::UnknownVersion { version });
        }
        let kind = match byte & 3 {
            0 => Kind::F64,
            1 => Kind::I64,
            2 => Kind::Bool,
            _ => Kind::Text,
        };
        let head = Self {
            kind,
            is_single: byte & SINGLE != 0,
            is_sorted: byte & SORTED != 0,
            scale: Scale::from_bits(byte >> SCALE_SHIFT),
        };
        if head.is_single && !head.is_sorted {
            return Err(DecodeError::Malformed {
                what: "one reading is marked as out of order",
            });
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_a_head_that_gives_it_back_or_is_refused() {
        let mut heads = 0;
        for byte in 0..=u8::MAX {
            if let Ok(head) = Head::from_byte(byte) {
                assert_eq!(head.byte(), byte);
                heads += 1;
            } else {
                assert!(byte >> 6 != 1 || byte & 0x0c == 0x04, "{byte:#04x}");
            }
        }
        assert_eq!(heads, 4 * 4 * 3);
    }
}
