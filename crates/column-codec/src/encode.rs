//! Columns to bytes.

use sensor_model::value::TEXT_BYTES_MAX;
use sensor_model::{Columns, Values};

use crate::READINGS_MAX;
use crate::cursor::put_len;
use crate::error::EncodeError;
use crate::header::{FEW_MAX, Head};
use crate::scratch::Scratch;
use crate::single::{self, One};
use crate::summary::{Ends, Span, Summary};
use crate::times::Steps;
use crate::{bools, floats, texts};

/// Appends one chunk with all readings of `columns`, in their order, to `out`.
///
/// # Errors
/// An [`EncodeError`] that names what may not be stored; `out` is as it was.
pub fn encode(columns: &Columns, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    encode_with(columns, &mut Scratch::new(), out)
}

/// As [`encode`], with buffers kept from chunk to chunk: what an edge that encodes many should call.
///
/// # Errors
/// As [`encode`].
pub fn encode_with(
    columns: &Columns,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    check(columns)?;
    if let [time] = columns.times[..] {
        single::write(time, only_value(&columns.values), out);
    } else {
        write_columns(columns, scratch, out);
    }
    Ok(())
}

fn check(columns: &Columns) -> Result<(), EncodeError> {
    let (times, values) = (columns.times.len(), columns.values.len());
    if times != values {
        return Err(EncodeError::LengthsDiffer { times, values });
    }
    if times == 0 {
        return Err(EncodeError::Empty);
    }
    if times > READINGS_MAX {
        return Err(EncodeError::TooManyReadings { count: times });
    }
    match &columns.values {
        Values::F64(values) => match floats::not_finite(values) {
            Some(index) => Err(EncodeError::NotFinite { index }),
            None => Ok(()),
        },
        Values::Text(values) => {
            let lengths = values.iter().map(String::len).enumerate();
            let too_long = lengths
                .into_iter()
                .find(|(_, bytes)| *bytes > TEXT_BYTES_MAX);
            match too_long {
                Some((index, bytes)) => Err(EncodeError::TextTooLong { index, bytes }),
                None => Ok(()),
            }
        }
        Values::I64(_) | Values::Bool(_) => Ok(()),
    }
}

fn only_value(values: &Values) -> One<'_> {
    match values {
        Values::F64(values) => One::F64(values[0]),
        Values::I64(values) => One::I64(values[0]),
        Values::Bool(values) => One::Bool(values[0]),
        Values::Text(values) => One::Text(&values[0]),
    }
}

fn write_columns(columns: &Columns, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let times = &columns.times;
    let span = Span::of(times);
    let steps = Steps::of(times, &mut scratch.integers);
    let head = Head {
        kind: columns.kind(),
        is_single: false,
        is_sorted: span.is_sorted,
        scale: steps.scale,
    };
    out.push(head.byte());
    put_len(times.len(), out);
    head.scale.put_time(times[0], out);
    if times.len() <= FEW_MAX {
        steps.write(&scratch.integers, &mut scratch.planner, out);
        write_values(&columns.values, scratch, out);
        return;
    }

    if !span.is_sorted {
        head.scale.put_distance(times[span.first], times[0], out);
    }
    head.scale
        .put_distance(times[span.first], times[span.last], out);
    summary(&columns.values, span).write(out);

    // The lengths of the columns stand before them.
    let mut body = std::mem::take(&mut scratch.columns);
    body.clear();
    steps.write(&scratch.integers, &mut scratch.planner, &mut body);
    let times_len = body.len();
    write_values(&columns.values, scratch, &mut body);
    put_len(times_len, out);
    put_len(body.len() - times_len, out);
    out.extend_from_slice(&body);
    scratch.columns = body;
}

fn write_values(values: &Values, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let Scratch {
        planner,
        float_buffers,
        ..
    } = scratch;
    match values {
        Values::F64(values) => floats::write(values, float_buffers, planner, out),
        Values::I64(values) => planner.write(values, out),
        Values::Bool(values) => bools::write(values, out),
        Values::Text(values) => texts::write(values, planner, out),
    }
}

fn summary(values: &Values, span: Span) -> Summary<'_> {
    match values {
        Values::F64(values) => Summary::of_floats(values, span),
        Values::I64(values) => Summary::of_integers(values, span),
        Values::Bool(values) => Summary::of_flags(values, span),
        Values::Text(values) => Summary::Text(Ends {
            first: &values[span.first],
            last: &values[span.last],
            bytes: values.iter().map(String::len).sum(),
        }),
    }
}
