//! Bytes to a [`ChunkView`]: reads the header, checks the chunk's end, and leaves the columns alone.

use sensor_model::Kind;

use crate::READINGS_MAX;
use crate::cursor::Cursor;
use crate::error::DecodeError;
use crate::header::{FEW_MAX, Head};
use crate::summary::{Span, Summary};
use crate::view::{Body, ChunkView};
use crate::{bools, floats, ints, single, times};

/// Reads the header of the one chunk that `bytes` are, from first to last.
///
/// Costs about the same for any number of readings, and allocates nothing.
///
/// # Errors
/// A [`DecodeError`] when the bytes are not one whole chunk. Columns of more than 16 readings are looked
/// at only by [`ChunkView::decode`] and [`ChunkView::verify`].
pub fn parse(bytes: &[u8]) -> Result<ChunkView<'_>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let head = Head::from_byte(cursor.byte()?)?;
    if head.is_single {
        let time = head.scale.time(&mut cursor)?;
        let summary = single::read(&mut cursor, head.kind)?;
        cursor.finish("chunk")?;
        return Ok(ChunkView {
            bytes,
            head,
            count: 1,
            start: time,
            first_time: time,
            last_time: time,
            summary,
            body: None,
        });
    }
    let count = read_count(&mut cursor)?;
    if count <= FEW_MAX {
        parse_few(bytes, cursor, head, count)
    } else {
        parse_many(bytes, cursor, head, count)
    }
}

fn read_count(cursor: &mut Cursor<'_>) -> Result<usize, DecodeError> {
    let claimed = cursor.varint()?;
    match usize::try_from(claimed) {
        Ok(0 | 1) => Err(DecodeError::Malformed {
            what: "a chunk with columns has fewer than two readings",
        }),
        Ok(count) if count <= READINGS_MAX => Ok(count),
        _ => Err(DecodeError::TooManyReadings { count: claimed }),
    }
}

/// Up to 16 readings: decodes them, because their statistics are not stored.
fn parse_few<'a>(
    bytes: &'a [u8],
    mut cursor: Cursor<'a>,
    head: Head,
    count: usize,
) -> Result<ChunkView<'a>, DecodeError> {
    let start = head.scale.time(&mut cursor)?;
    let times_start = cursor.rest();
    let mut times = [0; FEW_MAX];
    let times = &mut times[..count];
    let mut read = 0;
    times::read_runs(&mut cursor, head.scale, start, count, |run| {
        times[read..read + run.len()].copy_from_slice(run);
        read += run.len();
    })?;
    let values = cursor.rest();
    let span = Span::of(times);
    if span.is_sorted != head.is_sorted {
        return Err(DecodeError::StatisticsDiffer { what: "order" });
    }
    let summary = read_few_values(&mut cursor, head.kind, count, span)?;
    cursor.finish("chunk")?;
    Ok(ChunkView {
        bytes,
        head,
        count,
        start,
        first_time: times[span.first],
        last_time: times[span.last],
        summary,
        body: Some(Body {
            times: &times_start[..times_start.len() - values.len()],
            values,
        }),
    })
}

fn read_few_values<'a>(
    cursor: &mut Cursor<'a>,
    kind: Kind,
    count: usize,
    span: Span,
) -> Result<Summary<'a>, DecodeError> {
    let mut integers = [0; FEW_MAX];
    let integers = &mut integers[..count];
    Ok(match kind {
        Kind::F64 => {
            let (mut distinct, mut values) = ([0.0; FEW_MAX], [0.0; FEW_MAX]);
            floats::read(
                cursor,
                integers,
                &mut distinct[..count],
                &mut values[..count],
            )?;
            Summary::of_floats(&values[..count], span)
        }
        Kind::I64 => {
            ints::read(cursor, integers)?;
            Summary::of_integers(integers, span)
        }
        Kind::Bool => {
            let mut values = [false; FEW_MAX];
            bools::read(cursor, &mut values[..count])?;
            Summary::of_flags(&values[..count], span)
        }
        Kind::Text => {
            let mut lengths = [0; FEW_MAX];
            Summary::of_encoded_texts(cursor, integers, &mut lengths[..count], span)?
        }
    })
}

/// More readings: the statistics and the columns' lengths stand in the header.
fn parse_many<'a>(
    bytes: &'a [u8],
    mut cursor: Cursor<'a>,
    head: Head,
    count: usize,
) -> Result<ChunkView<'a>, DecodeError> {
    let start = head.scale.time(&mut cursor)?;
    let first_time = if head.is_sorted {
        start
    } else {
        head.scale.time_before(start, &mut cursor)?
    };
    let last_time = head.scale.time_after(first_time, &mut cursor)?;
    let summary = Summary::read(&mut cursor, head.kind, count)?;
    let times_len = cursor.len()?;
    let values_len = cursor.len()?;
    let times = cursor.take(times_len)?;
    let values = cursor.take(values_len)?;
    cursor.finish("chunk")?;
    Ok(ChunkView {
        bytes,
        head,
        count,
        start,
        first_time,
        last_time,
        summary,
        body: Some(Body { times, values }),
    })
}
