//! A summary in the header of a chunk of many readings.

use sensor_model::Kind;
use sensor_model::value::TEXT_BYTES_MAX;

use super::{Ends, Flags, Numbers, Summary};
use crate::cursor::{Cursor, put_len, put_signed, put_signed_wide, put_varint};
use crate::decimals;
use crate::error::DecodeError;

/// In place of an exponent: the header's floats stand as bits.
const FLOATS_AS_BITS: u8 = 0xff;

impl<'a> Summary<'a> {
    /// Appends the statistics.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::F64(numbers) => write_floats(numbers, out),
            Self::I64(numbers) => {
                put_signed(numbers.first, out);
                put_signed(numbers.last.wrapping_sub(numbers.first), out);
                put_varint(numbers.first.abs_diff(numbers.min), out);
                put_varint(numbers.max.abs_diff(numbers.first), out);
                put_signed_wide(numbers.sum, out);
            }
            Self::Bool(flags) => {
                out.push(u8::from(flags.first) | u8::from(flags.last) << 1);
                put_len(flags.trues, out);
            }
            Self::Text(ends) => {
                put_len(ends.bytes, out);
                put_len(ends.first.len(), out);
                out.extend_from_slice(ends.first.as_bytes());
                put_len(ends.last.len(), out);
                out.extend_from_slice(ends.last.as_bytes());
            }
        }
    }

    /// Reads the statistics of `count` readings of `kind`.
    pub(crate) fn read(
        cursor: &mut Cursor<'a>,
        kind: Kind,
        count: usize,
    ) -> Result<Self, DecodeError> {
        match kind {
            Kind::F64 => read_floats(cursor).map(Self::F64),
            Kind::I64 => read_integers(cursor).map(Self::I64),
            Kind::Bool => read_flags(cursor, count).map(Self::Bool),
            Kind::Text => read_ends(cursor, count).map(Self::Text),
        }
    }
}

/// Floats stand as digits of one exponent where all four have them, the later three as distances.
fn write_floats(numbers: &Numbers<f64, f64>, out: &mut Vec<u8>) {
    let four = [numbers.first, numbers.last, numbers.min, numbers.max];
    match common_digits(four) {
        Some((exponent, [first, others @ ..])) => {
            out.push(exponent);
            put_signed(first, out);
            for digits in others {
                put_signed(digits.wrapping_sub(first), out);
            }
        }
        None => {
            out.push(FLOATS_AS_BITS);
            for value in four {
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
        }
    }
    out.extend_from_slice(&numbers.sum.to_bits().to_le_bytes());
}

/// The smallest exponent at which digits stand for exactly each of `values`, and the digits.
fn common_digits(values: [f64; 4]) -> Option<(u8, [i64; 4])> {
    let mut exponent = 0;
    for value in values {
        exponent = exponent.max(decimals::exact(value)?.0);
    }
    let power = decimals::power(exponent);
    let split = values.map(|value| decimals::split(value, power));
    let exact = split.iter().all(|(_, ulps)| *ulps == 0);
    exact.then(|| (exponent, split.map(|(digits, _)| digits)))
}

fn read_floats(cursor: &mut Cursor<'_>) -> Result<Numbers<f64, f64>, DecodeError> {
    let exponent = cursor.byte()?;
    let mut four = [0.0; 4];
    if exponent == FLOATS_AS_BITS {
        for value in &mut four {
            *value = f64::from_bits(cursor.word()?);
        }
    } else if exponent <= decimals::EXPONENT_MAX {
        let power = decimals::power(exponent);
        let mut from = 0_i64;
        for (at, value) in four.iter_mut().enumerate() {
            let digits = from.wrapping_add(cursor.signed()?);
            *value = decimals::join(digits, power);
            if at == 0 {
                from = digits;
            }
        }
    } else {
        return Err(DecodeError::Malformed {
            what: "an unknown encoding of statistics",
        });
    }
    let sum = f64::from_bits(cursor.word()?);
    if sum.is_nan() || four.iter().any(|value| !value.is_finite()) {
        return Err(DecodeError::Malformed {
            what: "a statistic is not finite",
        });
    }
    let [first, last, min, max] = four;
    Ok(Numbers {
        first,
        last,
        min,
        max,
        sum,
    })
}

fn read_integers(cursor: &mut Cursor<'_>) -> Result<Numbers<i64, i128>, DecodeError> {
    let first = cursor.signed()?;
    Ok(Numbers {
        first,
        last: first.wrapping_add(cursor.signed()?),
        min: first.wrapping_sub_unsigned(cursor.varint()?),
        max: first.wrapping_add_unsigned(cursor.varint()?),
        sum: cursor.signed_wide()?,
    })
}

fn read_flags(cursor: &mut Cursor<'_>, count: usize) -> Result<Flags, DecodeError> {
    let ends = cursor.byte()?;
    let trues = cursor.len()?;
    if ends > 3 || trues > count {
        return Err(DecodeError::Malformed {
            what: "more flags are true than there are",
        });
    }
    Ok(Flags {
        first: ends & 1 != 0,
        last: ends & 2 != 0,
        trues,
    })
}

fn read_ends<'a>(cursor: &mut Cursor<'a>, count: usize) -> Result<Ends<'a>, DecodeError> {
    let bytes = cursor.len()?;
    if bytes > count * TEXT_BYTES_MAX {
        return Err(DecodeError::Malformed {
            what: "the texts together are longer than so many can be",
        });
    }
    Ok(Ends {
        bytes,
        first: read_text(cursor)?,
        last: read_text(cursor)?,
    })
}

/// Reads one text with its length before it.
pub(crate) fn read_text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
    let bytes = cursor.varint()?;
    let len = usize::try_from(bytes).unwrap_or(usize::MAX);
    if len > TEXT_BYTES_MAX {
        return Err(DecodeError::TextTooLong { bytes });
    }
    std::str::from_utf8(cursor.take(len)?).map_err(|_| DecodeError::NotUtf8)
}
