//! Which encoding each column of a chunk has: for listings and for tests, never needed to decode.

use std::fmt;

use sensor_model::Kind;

use crate::cursor::Cursor;
use crate::error::DecodeError;
use crate::{bools, floats, ints, texts};

/// How the two columns of a chunk are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encodings {
    /// The differences of the times.
    pub times: TimeEncoding,
    /// The values.
    pub values: ValueEncoding,
}

/// How a sequence of integers is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sequence {
    /// One value for all.
    Constant,
    /// Blocks, each with a frame of reference.
    Frame,
    /// Blocks of the differences.
    Delta,
}

/// How the times are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeEncoding {
    /// One time.
    One,
    /// The differences of the times.
    Steps(Sequence),
}

/// How the values are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueEncoding {
    /// One value.
    One,
    /// Floats as digits of a decimal.
    Decimals {
        /// How many digits stand behind the point.
        exponent: u8,
        /// The digits.
        digits: Sequence,
        /// Whether units in the last place are added.
        with_ulps: bool,
    },
    /// Floats by their own bits, without the lowest `shift`, which are all zero.
    Bits {
        /// How many bits are left out.
        shift: u8,
        /// The remaining bits.
        bits: Sequence,
    },
    /// Integers.
    Integers(Sequence),
    /// Flags as lengths of runs.
    Runs,
    /// Flags as bits.
    Bitmap,
    /// Texts one after the other.
    Plain,
    /// Distinct floats or texts, and indexes.
    Dictionary,
}

impl Encodings {
    pub(crate) const ONE: Self = Self {
        times: TimeEncoding::One,
        values: ValueEncoding::One,
    };

    /// Looks at the tags of two columns.
    pub(crate) fn of(kind: Kind, times: &[u8], values: &[u8]) -> Result<Self, DecodeError> {
        let mut times = Cursor::new(times);
        times.varint()?; // the divisor
        let mut values = Cursor::new(values);
        Ok(Self {
            times: TimeEncoding::Steps(sequence(&mut times)?),
            values: match kind {
                Kind::F64 => float_encoding(&mut values)?,
                Kind::I64 => ValueEncoding::Integers(sequence(&mut values)?),
                Kind::Bool => match values.byte()? {
                    bools::RUNS_FROM_FALSE | bools::RUNS_FROM_TRUE => ValueEncoding::Runs,
                    bools::BITMAP => ValueEncoding::Bitmap,
                    _ => return Err(UNKNOWN),
                },
                Kind::Text => match values.byte()? {
                    texts::PLAIN => ValueEncoding::Plain,
                    texts::DICTIONARY => ValueEncoding::Dictionary,
                    _ => return Err(UNKNOWN),
                },
            },
        })
    }
}

const UNKNOWN: DecodeError = DecodeError::Malformed {
    what: "an unknown encoding of a column",
};

fn sequence(cursor: &mut Cursor<'_>) -> Result<Sequence, DecodeError> {
    match cursor.byte()? {
        ints::CONSTANT => Ok(Sequence::Constant),
        ints::FRAME => Ok(Sequence::Frame),
        ints::DELTA => Ok(Sequence::Delta),
        _ => Err(UNKNOWN),
    }
}

fn float_encoding(cursor: &mut Cursor<'_>) -> Result<ValueEncoding, DecodeError> {
    let tag = cursor.byte()?;
    if tag == floats::DICTIONARY {
        return Ok(ValueEncoding::Dictionary);
    }
    if tag & floats::BITS != 0 {
        return Ok(ValueEncoding::Bits {
            shift: tag & !floats::BITS,
            bits: sequence(cursor)?,
        });
    }
    Ok(ValueEncoding::Decimals {
        exponent: tag & !floats::WITH_ULPS,
        digits: sequence(cursor)?,
        with_ulps: tag & floats::WITH_ULPS != 0,
    })
}

impl fmt::Display for Encodings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "times {}, values {}", self.times, self.values)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Constant => "constant",
            Self::Frame => "frame",
            Self::Delta => "delta",
        })
    }
}

impl fmt::Display for TimeEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("one"),
            Self::Steps(steps) => write!(f, "{steps} steps"),
        }
    }
}

impl fmt::Display for ValueEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("one"),
            Self::Decimals {
                exponent,
                digits,
                with_ulps,
            } => {
                let ulps = if *with_ulps { " and ulps" } else { "" };
                write!(f, "{digits} decimals of {exponent} places{ulps}")
            }
            Self::Bits { shift, bits } => write!(f, "{bits} bits above {shift}"),
            Self::Integers(integers) => write!(f, "{integers} integers"),
            Self::Runs => f.write_str("runs"),
            Self::Bitmap => f.write_str("bitmap"),
            Self::Plain => f.write_str("plain"),
            Self::Dictionary => f.write_str("dictionary"),
        }
    }
}
