//! Buckets as an Arrow IPC stream.
//!
//! A column each for what a row is of (`path`, or the keys of its group), `bucket_start`, and each
//! aggregate: `count` as an integer, the others as floats, a flag as 0 or 1. The first or last of a text
//! stands in `first_text` and `last_text`.

use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch, TimestampNanosecondArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use sensor_model::{Aggregate, Bucket, Value};

use crate::ColumnarError;
use crate::rows::{BATCH_ROWS, Words, timestamp_type, word_type};

/// The values of one aggregate.
enum BucketColumn {
    /// A number of readings.
    Count(Int64Builder),
    /// Numbers.
    Number(Float64Builder),
    /// Values of the series, numbers or texts.
    Value(Float64Builder, StringBuilder),
}

/// Writes buckets of series or groups as an Arrow IPC stream.
pub struct BucketStream {
    schema: SchemaRef,
    /// What rows are of.
    heads: Vec<Words>,
    starts: Vec<i64>,
    columns: Vec<BucketColumn>,
    writer: StreamWriter<Vec<u8>>,
}

impl BucketStream {
    /// A stream of buckets, whose schema is written: `heads` are the columns that say what a row is of.
    ///
    /// # Errors
    /// [`ColumnarError::Arrow`].
    pub fn new(heads: &[String], aggregates: &[Aggregate]) -> Result<Self, ColumnarError> {
        let mut fields: Vec<Field> = heads
            .iter()
            .map(|name| Field::new(name, word_type(), true))
            .collect();
        fields.push(Field::new("bucket_start", timestamp_type(), false));
        let mut columns = Vec::with_capacity(aggregates.len());
        for aggregate in aggregates {
            let name = aggregate.to_string();
            match aggregate {
                Aggregate::Count => {
                    fields.push(Field::new(name, DataType::Int64, true));
                    columns.push(BucketColumn::Count(Int64Builder::new()));
                }
                Aggregate::First | Aggregate::Last => {
                    fields.push(Field::new(&name, DataType::Float64, true));
                    fields.push(Field::new(format!("{name}_text"), DataType::Utf8, true));
                    let (numbers, texts) = (Float64Builder::new(), StringBuilder::new());
                    columns.push(BucketColumn::Value(numbers, texts));
                }
                _ => {
                    fields.push(Field::new(name, DataType::Float64, true));
                    columns.push(BucketColumn::Number(Float64Builder::new()));
                }
            }
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(Self {
            writer: StreamWriter::try_new(Vec::new(), &schema)?,
            schema,
            heads: heads.iter().map(|_| Words::default()).collect(),
            starts: Vec::new(),
            columns,
        })
    }

    /// What the buckets that follow are of: a text, if there is one, for each column of the head.
    pub fn open(&mut self, key: Vec<Option<String>>) {
        for (head, word) in self.heads.iter_mut().zip(key) {
            head.open(word);
        }
    }

    /// Takes buckets, and appends to `out` what is ready.
    ///
    /// # Errors
    /// [`ColumnarError::Arrow`].
    pub fn buckets(&mut self, rows: &[Bucket], out: &mut Vec<u8>) -> Result<(), ColumnarError> {
        for head in &mut self.heads {
            head.extend(rows.len());
        }
        for row in rows {
            self.starts.push(row.start.as_nanos());
            for (column, value) in self.columns.iter_mut().zip(&row.values) {
                column.push(value.as_ref());
            }
        }
        if self.starts.len() >= BATCH_ROWS {
            self.write_batch()?;
        }
        self.hand_out(out);
        Ok(())
    }

    /// Appends the rest of the stream to `out`, and its end.
    ///
    /// # Errors
    /// [`ColumnarError::Arrow`].
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), ColumnarError> {
        if !self.starts.is_empty() {
            self.write_batch()?;
        }
        self.writer.finish()?;
        self.hand_out(out);
        Ok(())
    }

    /// Appends to `out` what was written so far.
    pub fn hand_out(&mut self, out: &mut Vec<u8>) {
        out.append(self.writer.get_mut());
    }

    fn write_batch(&mut self) -> Result<(), ColumnarError> {
        let mut arrays = Vec::with_capacity(self.schema.fields().len());
        for head in &mut self.heads {
            arrays.push(head.take()?);
        }
        let starts = TimestampNanosecondArray::from(std::mem::take(&mut self.starts));
        arrays.push(Arc::new(starts.with_timezone("UTC")));
        for column in &mut self.columns {
            column.take(&mut arrays);
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)?;
        self.writer.write(&batch)?;
        Ok(())
    }
}

impl BucketColumn {
    fn push(&mut self, value: Option<&Value>) {
        match self {
            Self::Count(counts) => counts.append_option(match value {
                Some(Value::I64(count)) => Some(*count),
                _ => None,
            }),
            Self::Number(numbers) => numbers.append_option(value.and_then(Value::as_f64)),
            Self::Value(numbers, texts) => {
                numbers.append_option(value.and_then(Value::as_f64));
                texts.append_option(match value {
                    Some(Value::Text(text)) => Some(text),
                    _ => None,
                });
            }
        }
    }

    fn take(&mut self, arrays: &mut Vec<ArrayRef>) {
        match self {
            Self::Count(counts) => arrays.push(Arc::new(counts.finish())),
            Self::Number(numbers) => arrays.push(Arc::new(numbers.finish())),
            Self::Value(numbers, texts) => {
                arrays.push(Arc::new(numbers.finish()));
                arrays.push(Arc::new(texts.finish()));
            }
        }
    }
}
