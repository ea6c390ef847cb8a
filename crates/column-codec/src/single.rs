//! Chunks of one reading, of which a gateway sends thousands a second: no count, no columns.

use sensor_model::{Kind, Reading, Timestamp, Value};

use crate::cursor::{Cursor, put_len, put_signed};
use crate::decimals::{self, EXPONENT_MAX};
use crate::error::DecodeError;
use crate::header::Head;
use crate::summary::bytes::read_text;
use crate::summary::{Ends, Flags, Numbers, Summary};
use crate::times::Scale;

/// In place of an exponent: the float stands as bits.
const FLOAT_AS_BITS: u8 = 0xff;

/// A value of any kind, borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum One<'a> {
    F64(f64),
    I64(i64),
    Bool(bool),
    Text(&'a str),
}

impl<'a> One<'a> {
    const fn kind(self) -> Kind {
        match self {
            Self::F64(_) => Kind::F64,
            Self::I64(_) => Kind::I64,
            Self::Bool(_) => Kind::Bool,
            Self::Text(_) => Kind::Text,
        }
    }

    /// The statistics of this value alone.
    fn summary(self) -> Summary<'a> {
        match self {
            Self::F64(value) => Summary::F64(Numbers {
                first: value,
                last: value,
                min: value,
                max: value,
                sum: value,
            }),
            Self::I64(value) => Summary::I64(Numbers {
                first: value,
                last: value,
                min: value,
                max: value,
                sum: i128::from(value),
            }),
            Self::Bool(value) => Summary::Bool(Flags {
                first: value,
                last: value,
                trues: usize::from(value),
            }),
            Self::Text(text) => Summary::Text(Ends {
                first: text,
                last: text,
                bytes: text.len(),
            }),
        }
    }
}

/// Appends the whole chunk.
pub(crate) fn write(time: i64, value: One<'_>, out: &mut Vec<u8>) {
    let head = Head {
        kind: value.kind(),
        is_single: true,
        is_sorted: true,
        scale: Scale::dividing([time.unsigned_abs(), 0]),
    };
    out.push(head.byte());
    head.scale.put_time(time, out);
    match value {
        One::F64(value) => match decimals::exact(value) {
            Some((exponent, digits)) => {
                out.push(exponent);
                put_signed(digits, out);
            }
            None => {
                out.push(FLOAT_AS_BITS);
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
        },
        One::I64(value) => put_signed(value, out),
        One::Bool(value) => out.push(u8::from(value)),
        One::Text(text) => {
            put_len(text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// The reading of a chunk of one, as [`parse`](crate::parse) would show it; `None` for chunks of more, of
/// which nothing is looked at.
///
/// # Errors
/// As [`parse`](crate::parse).
pub fn parse_single(bytes: &[u8]) -> Result<Option<Reading>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let head = Head::from_byte(cursor.byte()?)?;
    if !head.is_single {
        return Ok(None);
    }
    let time = head.scale.time(&mut cursor)?;
    let value = match read_one(&mut cursor, head.kind)? {
        One::F64(value) => Value::F64(value),
        One::I64(value) => Value::I64(value),
        One::Bool(value) => Value::Bool(value),
        One::Text(text) => Value::Text(text.to_owned()),
    };
    cursor.finish("chunk")?;
    Ok(Some(Reading {
        timestamp: Timestamp::from_nanos(time),
        value,
    }))
}

/// Reads what follows the time.
pub(crate) fn read<'a>(cursor: &mut Cursor<'a>, kind: Kind) -> Result<Summary<'a>, DecodeError> {
    Ok(read_one(cursor, kind)?.summary())
}

fn read_one<'a>(cursor: &mut Cursor<'a>, kind: Kind) -> Result<One<'a>, DecodeError> {
    Ok(match kind {
        Kind::F64 => One::F64(read_float(cursor)?),
        Kind::I64 => One::I64(cursor.signed()?),
        Kind::Bool => match cursor.byte()? {
            byte @ (0 | 1) => One::Bool(byte == 1),
            _ => {
                return Err(DecodeError::Malformed {
                    what: "a flag is neither 0 nor 1",
                });
            }
        },
        Kind::Text => One::Text(read_text(cursor)?),
    })
}

fn read_float(cursor: &mut Cursor<'_>) -> Result<f64, DecodeError> {
    match cursor.byte()? {
        FLOAT_AS_BITS => {
            let value = f64::from_bits(cursor.word()?);
            if value.is_finite() {
                Ok(value)
            } else {
                Err(DecodeError::NotFinite { index: 0 })
            }
        }
        exponent if exponent <= EXPONENT_MAX => {
            Ok(decimals::join(cursor.signed()?, decimals::power(exponent)))
        }
        _ => Err(DecodeError::Malformed {
            what: "an unknown encoding of a float",
        }),
    }
}
