//! Apache Arrow IPC streams: record batches as the answer arrives.
//!
//! What the columns are is told in `docs/columns.md`.

use columnar::{BucketStream, ColumnarError, ReadingStream};
use sensor_model::Columns;

use crate::client::answer::{LastAnswer, Part, Summary};
use crate::format::{FormatError, RangeColumns, RangeFormat};
use crate::question::Rows;

/// Writes a range as a stream.
pub struct ArrowRange {
    stream: Stream,
}

enum Stream {
    Readings(Box<ReadingStream>),
    Buckets(Box<BucketStream>),
}

impl ArrowRange {
    pub(crate) fn new(rows: &Rows, columns: &RangeColumns) -> Result<Self, FormatError> {
        let stream = match rows {
            Rows::Readings => Stream::Readings(Box::new(ReadingStream::new()?)),
            Rows::Buckets(buckets) => {
                let of_series = ["path".to_owned()];
                let heads = match buckets.by {
                    Some(_) => columns.heads.as_slice(),
                    None => &of_series,
                };
                Stream::Buckets(Box::new(BucketStream::new(heads, &buckets.aggregates)?))
            }
        };
        Ok(Self { stream })
    }
}

impl RangeFormat for ArrowRange {
    fn begin(&mut self, out: &mut Vec<u8>) {
        match &mut self.stream {
            Stream::Readings(stream) => stream.hand_out(out),
            Stream::Buckets(stream) => stream.hand_out(out),
        }
    }

    fn part(&mut self, part: &Part, out: &mut Vec<u8>) -> Result<(), FormatError> {
        match (&mut self.stream, part) {
            (Stream::Readings(stream), Part::Series(series)) => stream.series(series),
            (Stream::Readings(stream), Part::Readings(columns)) => stream.readings(columns, out)?,
            (Stream::Buckets(stream), Part::Series(series)) => {
                stream.open(vec![Some(series.path.as_str().to_owned())]);
            }
            (Stream::Buckets(stream), Part::Group { key, .. }) => stream.open(key.clone()),
            (Stream::Buckets(stream), Part::Buckets(rows)) => stream.buckets(rows, out)?,
            // An answer has rows of the kind that was asked for alone.
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _summary: &Summary, out: &mut Vec<u8>) {
        let ended = match &mut self.stream {
            Stream::Readings(stream) => stream.end(out),
            Stream::Buckets(stream) => stream.end(out),
        };
        // Rows that were taken can be written into memory.
        ended.expect("columns of equal length make a batch");
    }
}

/// The latest reading of each series.
pub(crate) fn last(answer: &LastAnswer) -> Result<Vec<u8>, FormatError> {
    let mut stream = ReadingStream::new()?;
    let mut out = Vec::new();
    for (series, reading) in &answer.readings {
        let mut columns = Columns::empty(series.kind);
        if columns
            .push(reading.timestamp, reading.value.clone())
            .is_ok()
        {
            stream.series(series);
            stream.readings(&columns, &mut out)?;
        }
    }
    stream.end(&mut out)?;
    Ok(out)
}

impl From<ColumnarError> for FormatError {
    fn from(error: ColumnarError) -> Self {
        Self::Columnar {
            reason: error.to_string(),
        }
    }
}
