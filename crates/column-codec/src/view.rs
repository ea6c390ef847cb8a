//! A chunk whose header has been read: what it says, and the columns when they are wanted.

use sensor_model::{Columns, Kind, Statistics, Timestamp, Values};

use crate::cursor::Cursor;
use crate::encoding::Encodings;
use crate::error::DecodeError;
use crate::header::{FEW_MAX, Head};
use crate::scratch::Scratch;
use crate::summary::{Span, Summary};
use crate::{bools, floats, ints, texts, times};

/// A chunk whose header has been read and whose columns have not.
///
/// Invariants, which [`parse`](crate::parse) checks:
/// - the chunk is exactly the bytes given, and holds 1 to [`READINGS_MAX`](crate::READINGS_MAX) readings;
/// - of up to 16 readings the columns have been decoded and are what the view says;
/// - of more, the statistics are what the header says: [`ChunkView::verify`] compares them.
#[derive(Debug, Clone)]
pub struct ChunkView<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) head: Head,
    pub(crate) count: usize,
    /// The first time of the column, which need not be the earliest.
    pub(crate) start: i64,
    pub(crate) first_time: i64,
    pub(crate) last_time: i64,
    pub(crate) summary: Summary<'a>,
    /// `None` for a single reading, which is its own summary.
    pub(crate) body: Option<Body<'a>>,
}

/// Where the columns stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body<'a> {
    pub(crate) times: &'a [u8],
    pub(crate) values: &'a [u8],
}

impl ChunkView<'_> {
    /// The kind of the values.
    pub const fn kind(&self) -> Kind {
        self.head.kind
    }

    /// How many readings: 1 to [`READINGS_MAX`](crate::READINGS_MAX).
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The earliest time.
    pub const fn first_time(&self) -> Timestamp {
        Timestamp::from_nanos(self.first_time)
    }

    /// The latest time.
    pub const fn last_time(&self) -> Timestamp {
        Timestamp::from_nanos(self.last_time)
    }

    /// Whether each time is later than the one before. If not, readings stand in their producer's
    /// order, and of those with equal times the later one counts.
    pub const fn is_sorted(&self) -> bool {
        self.head.is_sorted
    }

    /// The statistics, equal to [`Statistics::of_columns`] of the columns if the header is honest.
    pub fn statistics(&self) -> Statistics {
        self.summary
            .statistics(self.count, self.first_time, self.last_time)
    }

    /// Bytes of the whole chunk.
    pub const fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that the decoded columns take, known before decoding. Repeated texts can make
    /// it far larger than [`ChunkView::encoded_len`].
    pub const fn decoded_len(&self) -> usize {
        let value_bytes = match self.summary {
            Summary::F64(_) | Summary::I64(_) => self.count * 8,
            Summary::Bool(_) => self.count,
            Summary::Text(ends) => self.count * size_of::<String>() + ends.bytes,
        };
        self.count * 8 + value_bytes
    }

    /// How the columns are encoded.
    ///
    /// # Errors
    /// [`DecodeError`] when a tag is not known.
    pub fn encodings(&self) -> Result<Encodings, DecodeError> {
        match &self.body {
            None => Ok(Encodings::ONE),
            Some(body) => Encodings::of(self.kind(), body.times, body.values),
        }
    }

    /// The columns, in the order in which they were encoded.
    ///
    /// # Errors
    /// [`DecodeError`] when the columns are malformed or hold what may not be stored. Statistics are not
    /// compared: see [`ChunkView::verify`].
    pub fn decode(&self) -> Result<Columns, DecodeError> {
        let mut columns = Columns::empty(self.kind());
        self.decode_into(&mut columns, &mut Scratch::new())?;
        Ok(columns)
    }

    /// Replaces the contents of `columns`, keeping their memory where the kind is the same.
    ///
    /// # Errors
    /// As [`ChunkView::decode`]; `columns` are then empty.
    pub fn decode_into(
        &self,
        columns: &mut Columns,
        scratch: &mut Scratch,
    ) -> Result<(), DecodeError> {
        if columns.kind() != self.kind() {
            columns.values = Values::empty(self.kind());
        }
        let outcome = match &self.body {
            None => {
                self.only_reading_into(columns);
                Ok(())
            }
            Some(body) => self.body_into(body, columns, scratch),
        };
        if outcome.is_err() {
            *columns = Columns::empty(self.kind());
        }
        outcome
    }

    fn only_reading_into(&self, columns: &mut Columns) {
        refill(&mut columns.times, [self.start]);
        match (&mut columns.values, self.summary) {
            (Values::F64(values), Summary::F64(only)) => refill(values, [only.first]),
            (Values::I64(values), Summary::I64(only)) => refill(values, [only.first]),
            (Values::Bool(values), Summary::Bool(only)) => refill(values, [only.first]),
            (Values::Text(values), Summary::Text(only)) => refill(values, [only.first.to_owned()]),
            _ => {}
        }
    }

    fn body_into(
        &self,
        body: &Body<'_>,
        columns: &mut Columns,
        scratch: &mut Scratch,
    ) -> Result<(), DecodeError> {
        self.read_times(body, &mut columns.times)?;
        let mut cursor = Cursor::new(body.values);
        match &mut columns.values {
            Values::F64(values) => {
                let buffers = (&mut scratch.integers, &mut scratch.distinct);
                floats::read_into(&mut cursor, self.count, buffers, values)?;
            }
            Values::I64(values) => {
                values.clear();
                values.reserve(self.count);
                ints::read_runs(&mut cursor, self.count, |run| values.extend_from_slice(run))?;
            }
            Values::Bool(values) => {
                values.resize(self.count, false);
                bools::read(&mut cursor, values)?;
            }
            Values::Text(values) => {
                values.clear();
                self.read_texts(&mut cursor, scratch, values)?;
            }
        }
        cursor.finish("value column")
    }

    pub(crate) fn read_times(
        &self,
        body: &Body<'_>,
        times: &mut Vec<i64>,
    ) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(body.times);
        let (scale, start) = (self.head.scale, self.start);
        times::read_into(&mut cursor, scale, start, self.count, times)?;
        cursor.finish("time column")
    }

    fn read_texts(
        &self,
        cursor: &mut Cursor<'_>,
        scratch: &mut Scratch,
        values: &mut Vec<String>,
    ) -> Result<(), DecodeError> {
        let Summary::Text(ends) = self.summary else {
            return Ok(());
        };
        scratch.integers.resize(self.count, 0);
        scratch.lengths.resize(self.count, 0);
        values.reserve_exact(self.count);
        // No more is copied than the header has announced.
        let mut announced = ends.bytes;
        let mut exceeded = false;
        let mut push = |text: &str| match announced.checked_sub(text.len()) {
            Some(rest) if !exceeded => {
                announced = rest;
                values.push(text.to_owned());
            }
            _ => exceeded = true,
        };
        texts::read(
            cursor,
            &mut scratch.integers,
            &mut scratch.lengths,
            &mut push,
        )?;
        if exceeded || announced != 0 {
            return Err(DecodeError::StatisticsDiffer { what: "text bytes" });
        }
        Ok(())
    }

    /// Decodes the columns once and compares them with the header: what a receiver does before it takes
    /// a chunk over. Keeps nothing, and copies no text.
    ///
    /// # Errors
    /// [`DecodeError::StatisticsDiffer`] names the first statistic that is not that of the columns; the
    /// rest as [`ChunkView::decode`].
    pub fn verify(&self, scratch: &mut Scratch) -> Result<(), DecodeError> {
        let Some(body) = self.body.as_ref().filter(|_| self.count > FEW_MAX) else {
            return Ok(()); // Decoded already, and nothing stored that could differ.
        };
        self.read_times(body, &mut scratch.times)?;
        let span = Span::of(&scratch.times);
        self.check_span(span, &scratch.times)?;
        let mut cursor = Cursor::new(body.values);
        let columns = self.read_summary(&mut cursor, scratch, span)?;
        cursor.finish("value column")?;
        self.summary.check(&columns)
    }

    fn check_span(&self, span: Span, times: &[i64]) -> Result<(), DecodeError> {
        let equal = [
            ("order", span.is_sorted == self.head.is_sorted),
            ("first time", times[span.first] == self.first_time),
            ("last time", times[span.last] == self.last_time),
        ];
        match equal.iter().find(|(_, equal)| !equal) {
            None => Ok(()),
            Some((what, _)) => Err(DecodeError::StatisticsDiffer { what }),
        }
    }

    fn read_summary<'b>(
        &self,
        cursor: &mut Cursor<'b>,
        scratch: &mut Scratch,
        span: Span,
    ) -> Result<Summary<'b>, DecodeError> {
        let Scratch {
            integers,
            lengths,
            distinct,
            floats,
            flags,
            ..
        } = scratch;
        Ok(match self.kind() {
            Kind::F64 => {
                floats::read_into(cursor, self.count, (integers, distinct), floats)?;
                Summary::of_floats(floats, span)
            }
            Kind::I64 => {
                integers.resize(self.count, 0);
                ints::read(cursor, integers)?;
                Summary::of_integers(integers, span)
            }
            Kind::Bool => {
                flags.resize(self.count, false);
                bools::read(cursor, flags)?;
                Summary::of_flags(flags, span)
            }
            Kind::Text => {
                integers.resize(self.count, 0);
                lengths.resize(self.count, 0);
                Summary::of_encoded_texts(cursor, integers, lengths, span)?
            }
        })
    }
}

fn refill<T, const N: usize>(column: &mut Vec<T>, values: [T; N]) {
    column.clear();
    column.extend(values);
}
