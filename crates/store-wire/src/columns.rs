//! Readings as the body of a `Rows` frame: times, then values, uncompressed.
//!
//! ```text
//! count × time i64 LE · values: f64 or i64: count × 8 bytes LE; bool: count × 1 byte (0 or 1);
//! text: count × (u32 LE length, UTF-8 bytes)
//! ```
//! The count is in the frame's head and the kind in the `SeriesHead` before it. Rows cross the wire
//! between a replica and whoever asked; what is kept is `column-codec`'s much denser form.

use bytes::{Buf, Bytes};
use sensor_model::value::TEXT_BYTES_MAX;
use sensor_model::{Columns, Kind, Values};

use crate::frame::BODY_BYTES_MAX;

const TIME_BYTES: usize = 8;
const NUMBER_BYTES: usize = 8;
const LENGTH_BYTES: usize = 4;

/// Why a body is not the rows it should be, or rows do not fit a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnsError {
    /// More than fits a frame; see [`rows_that_fit`].
    #[error(
        "{bytes} bytes of rows do not fit a frame of at most {BODY_BYTES_MAX}: send them in parts"
    )]
    TooLong {
        /// How many bytes they take.
        bytes: usize,
    },
    /// The body's length is not that of the rows announced.
    #[error("{count} rows of kind {kind} cannot be {bytes} bytes long")]
    WrongLength {
        /// How many rows were announced.
        count: u32,
        /// Their kind.
        kind: Kind,
        /// How long the body is.
        bytes: usize,
    },
    /// A value breaks the rules of its kind.
    #[error("row {row} is not a value of kind {kind}")]
    BadValue {
        /// Which row, from 0.
        row: usize,
        /// The kind.
        kind: Kind,
    },
}

/// The bytes of `columns`.
///
/// # Errors
/// [`ColumnsError::TooLong`].
pub fn encode_columns(columns: &Columns) -> Result<Bytes, ColumnsError> {
    encode_rows(columns, 0, columns.len())
}

/// The bytes of the rows from `from` (inclusive) to `to` (exclusive).
///
/// # Errors
/// [`ColumnsError::TooLong`].
///
/// # Panics
/// When the bounds lie outside the columns.
pub fn encode_rows(columns: &Columns, from: usize, to: usize) -> Result<Bytes, ColumnsError> {
    let bytes = match &columns.values {
        Values::F64(_) | Values::I64(_) => (to - from) * (TIME_BYTES + NUMBER_BYTES),
        values => (from..to).map(|row| row_bytes(values, row)).sum(),
    };
    if bytes > BODY_BYTES_MAX {
        return Err(ColumnsError::TooLong { bytes });
    }
    let mut body = Vec::with_capacity(bytes);
    put_words(&columns.times[from..to], i64::to_le_bytes, &mut body);
    match &columns.values {
        Values::F64(values) => put_words(&values[from..to], f64::to_le_bytes, &mut body),
        Values::I64(values) => put_words(&values[from..to], i64::to_le_bytes, &mut body),
        Values::Bool(values) => body.extend(values[from..to].iter().map(|value| u8::from(*value))),
        Values::Text(values) => {
            for value in &values[from..to] {
                let length = u32::try_from(value.len())
                    .map_err(|_| ColumnsError::TooLong { bytes: value.len() })?;
                body.extend_from_slice(&length.to_le_bytes());
                body.extend_from_slice(value.as_bytes());
            }
        }
    }
    Ok(body.into())
}

/// Appends eight bytes for each of `numbers`.
fn put_words<T: Copy>(
    numbers: &[T],
    bytes_of: impl Fn(T) -> [u8; NUMBER_BYTES],
    body: &mut Vec<u8>,
) {
    let start = body.len();
    body.resize(start + numbers.len() * NUMBER_BYTES, 0);
    let (words, _) = body[start..].as_chunks_mut();
    for (word, number) in words.iter_mut().zip(numbers) {
        *word = bytes_of(*number);
    }
}

/// Takes `count` numbers of eight bytes each off the front of `body`, which has as many.
fn take_words<T>(
    body: &mut Bytes,
    count: usize,
    of_bytes: impl Fn([u8; NUMBER_BYTES]) -> T,
) -> Vec<T> {
    let taken = body.split_to(count * NUMBER_BYTES);
    let (words, _) = taken.as_chunks();
    words.iter().map(|word| of_bytes(*word)).collect()
}

/// How many rows from `from` on fit one frame; at least one where there is one.
pub fn rows_that_fit(columns: &Columns, from: usize) -> usize {
    let mut bytes = 0;
    (from..columns.len())
        .take_while(|row| {
            bytes += row_bytes(&columns.values, *row);
            bytes <= BODY_BYTES_MAX
        })
        .count()
}

/// Reads `count` rows of `kind`.
///
/// # Errors
/// [`ColumnsError::WrongLength`] or [`ColumnsError::BadValue`]. Nothing is allocated before the
/// body's length is known to hold `count` rows.
pub fn decode_columns(kind: Kind, count: u32, mut body: Bytes) -> Result<Columns, ColumnsError> {
    let bytes = body.len();
    let wrong_length = || ColumnsError::WrongLength { count, kind, bytes };
    let rows = usize::try_from(count).map_err(|_| wrong_length())?;
    let row_bytes_min = TIME_BYTES
        + match kind {
            Kind::F64 | Kind::I64 => NUMBER_BYTES,
            Kind::Bool => 1,
            Kind::Text => LENGTH_BYTES,
        };
    let bytes_min = rows.checked_mul(row_bytes_min).ok_or_else(wrong_length)?;
    let is_exact = kind != Kind::Text;
    if bytes < bytes_min || (is_exact && bytes != bytes_min) {
        return Err(wrong_length());
    }
    let times = take_words(&mut body, rows, i64::from_le_bytes);
    let bad_value = |row| ColumnsError::BadValue { row, kind };
    let values = match kind {
        Kind::I64 => Values::I64(take_words(&mut body, rows, i64::from_le_bytes)),
        Kind::F64 => {
            let values = take_words(&mut body, rows, f64::from_le_bytes);
            if let Some(row) = values.iter().position(|value| !value.is_finite()) {
                return Err(bad_value(row));
            }
            Values::F64(values)
        }
        Kind::Bool => {
            if let Some(row) = body.iter().position(|byte| *byte > 1) {
                return Err(bad_value(row));
            }
            Values::Bool(body.iter().map(|byte| *byte == 1).collect())
        }
        Kind::Text => {
            let texts = decode_texts(rows, &mut body, &wrong_length, &bad_value)?;
            if body.has_remaining() {
                return Err(wrong_length());
            }
            Values::Text(texts)
        }
    };
    Ok(Columns { times, values })
}

fn decode_texts(
    rows: usize,
    body: &mut Bytes,
    wrong_length: &dyn Fn() -> ColumnsError,
    bad_value: &dyn Fn(usize) -> ColumnsError,
) -> Result<Vec<String>, ColumnsError> {
    let mut texts = Vec::with_capacity(rows);
    for row in 0..rows {
        let length = body.try_get_u32_le().map_err(|_| wrong_length())?;
        let length = usize::try_from(length).map_err(|_| wrong_length())?;
        if length > TEXT_BYTES_MAX {
            return Err(bad_value(row));
        }
        if length > body.remaining() {
            return Err(wrong_length());
        }
        let text = body.split_to(length);
        let text = std::str::from_utf8(&text).map_err(|_| bad_value(row))?;
        texts.push(text.to_owned());
    }
    Ok(texts)
}

fn row_bytes(values: &Values, row: usize) -> usize {
    TIME_BYTES
        + match values {
            Values::F64(_) | Values::I64(_) => NUMBER_BYTES,
            Values::Bool(_) => 1,
            Values::Text(values) => LENGTH_BYTES + values[row].len(),
        }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_columns() -> impl Strategy<Value = Columns> {
        let finite = proptest::num::f64::NORMAL | proptest::num::f64::ZERO;
        prop_oneof![
            proptest::collection::vec((any::<i64>(), finite), 0..50).prop_map(|rows| {
                let (times, values) = rows.into_iter().unzip();
                (times, Values::F64(values))
            }),
            proptest::collection::vec(any::<(i64, i64)>(), 0..50).prop_map(|rows| {
                let (times, values) = rows.into_iter().unzip();
                (times, Values::I64(values))
            }),
            proptest::collection::vec(any::<(i64, bool)>(), 0..50).prop_map(|rows| {
                let (times, values) = rows.into_iter().unzip();
                (times, Values::Bool(values))
            }),
            proptest::collection::vec((any::<i64>(), ".{0,20}"), 0..50).prop_map(|rows| {
                let (times, values) = rows.into_iter().unzip();
                (times, Values::Text(values))
            }),
        ]
        .prop_map(|(times, values)| Columns { times, values })
    }

    #[test]
    fn nan_is_refused() {
        let columns = Columns {
            times: vec![1, 2],
            values: Values::F64(vec![0.5, f64::NAN]),
        };
        let body = encode_columns(&columns).unwrap();
        let outcome = decode_columns(Kind::F64, 2, body);
        let kind = Kind::F64;
        assert_eq!(outcome, Err(ColumnsError::BadValue { row: 1, kind }));
    }

    #[test]
    fn the_longest_text_is_taken_and_one_byte_more_refused() {
        let body_of = |bytes| {
            encode_columns(&Columns {
                times: vec![7],
                values: Values::Text(vec!["x".repeat(bytes)]),
            })
            .unwrap()
        };
        assert!(decode_columns(Kind::Text, 1, body_of(TEXT_BYTES_MAX)).is_ok());
        assert!(decode_columns(Kind::Text, 1, body_of(TEXT_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn an_announced_count_beyond_the_body_allocates_nothing() {
        for kind in [Kind::F64, Kind::I64, Kind::Bool, Kind::Text] {
            let outcome = decode_columns(kind, u32::MAX, Bytes::from_static(&[0; 64]));
            assert!(matches!(outcome, Err(ColumnsError::WrongLength { .. })));
        }
    }

    #[test]
    fn rows_that_do_not_fit_one_frame_fit_several() {
        let count = BODY_BYTES_MAX / 16 + 1;
        let columns = Columns {
            times: vec![1; count],
            values: Values::I64(vec![2; count]),
        };
        assert!(matches!(
            encode_columns(&columns),
            Err(ColumnsError::TooLong { .. })
        ));
        let first = rows_that_fit(&columns, 0);
        assert_eq!(first, count - 1);
        assert_eq!(
            encode_rows(&columns, 0, first).unwrap().len(),
            BODY_BYTES_MAX
        );
        assert_eq!(rows_that_fit(&columns, first), 1);
        assert_eq!(rows_that_fit(&columns, count), 0);
    }

    proptest! {
        #[test]
        fn rows_read_back_as_they_were(columns in any_columns()) {
            let body = encode_columns(&columns).unwrap();
            let count = u32::try_from(columns.len()).unwrap();
            prop_assert_eq!(decode_columns(columns.kind(), count, body), Ok(columns));
        }

        #[test]
        fn a_cut_or_prolonged_body_is_refused(columns in any_columns(), cut in 0_usize..64) {
            let kind = columns.kind();
            let count = u32::try_from(columns.len()).unwrap();
            let body = encode_columns(&columns).unwrap();
            prop_assume!(cut < body.len());
            prop_assert!(decode_columns(kind, count, body.slice(..cut)).is_err());
            let mut longer = body.to_vec();
            longer.push(0);
            prop_assert!(decode_columns(kind, count, longer.into()).is_err());
        }

        #[test]
        fn no_body_makes_it_panic(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            count in 0_u32..40,
            kind in proptest::sample::select(vec![Kind::F64, Kind::I64, Kind::Bool, Kind::Text]),
        ) {
            let _ = decode_columns(kind, count, body.into());
        }
    }
}
