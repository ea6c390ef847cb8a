//! The columns that readings have, in Arrow and in Parquet, and the rows that wait to be written.
//!
//! | column | |
//! |---|---|
//! | `path` | the series, a dictionary of texts |
//! | `timestamp` | ns since 1970-01-01 UTC |
//! | `value` | the number, as a float: exact for `f64`, the nearest for `i64`; null for the other kinds |
//! | `value_i64`, `value_bool`, `value_text` | the exact value of a series of that kind; null for the others |
//! | `unit`, `attributes` | where the series is described too: texts, the attributes as a JSON object |

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use sensor_model::{Columns, SeriesDescription, Values};

/// Rows of a batch.
pub(crate) const BATCH_ROWS: usize = 32_768;

/// Whether rows tell unit and attributes of their series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Described {
    No,
    Yes,
}

/// The type of a timestamp: ns, UTC.
pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// The type of a text of which there are few.
pub(crate) fn word_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The columns of readings.
pub(crate) fn schema(described: Described) -> SchemaRef {
    let mut fields = vec![
        Field::new("path", word_type(), false),
        Field::new("timestamp", timestamp_type(), false),
        Field::new("value", DataType::Float64, true),
        Field::new("value_i64", DataType::Int64, true),
        Field::new("value_bool", DataType::Boolean, true),
        Field::new("value_text", DataType::Utf8, true),
    ];
    if described == Described::Yes {
        fields.push(Field::new("unit", word_type(), false));
        fields.push(Field::new("attributes", word_type(), false));
    }
    Arc::new(Schema::new(fields))
}

/// A column of texts that repeat, each of which the dictionary has once. A word that no row has takes no
/// room.
#[derive(Debug, Default)]
pub(crate) struct Words {
    known: HashMap<String, i32>,
    words: Vec<String>,
    keys: Vec<Option<i32>>,
    /// The word of the rows that follow, if they have one, and its key once a row has it.
    open: Option<String>,
    key: Option<i32>,
}

impl Words {
    /// The word of the rows that follow.
    pub(crate) fn open(&mut self, word: Option<String>) {
        self.open = word;
        self.key = None;
    }

    /// So many rows more have the open word.
    pub(crate) fn extend(&mut self, rows: usize) {
        self.key = self.key.or_else(|| self.key_of_open());
        self.keys.resize(self.keys.len() + rows, self.key);
    }

    fn key_of_open(&mut self) -> Option<i32> {
        let open = self.open.as_ref()?;
        // A batch has far fewer words than that.
        let next = i32::try_from(self.words.len()).unwrap_or(i32::MAX);
        let key = *self.known.entry(open.clone()).or_insert(next);
        if key == next {
            self.words.push(open.clone());
        }
        Some(key)
    }

    /// The rows so far as an array. The open word stays open.
    pub(crate) fn take(&mut self) -> Result<ArrayRef, ArrowError> {
        self.known.clear();
        self.key = None;
        let words = StringArray::from(std::mem::take(&mut self.words));
        let keys = Int32Array::from(std::mem::take(&mut self.keys));
        let array = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(words))?;
        Ok(Arc::new(array))
    }
}

/// Rows of readings that wait to become a batch.
pub(crate) struct ReadingRows {
    schema: SchemaRef,
    described: Described,
    paths: Words,
    units: Words,
    attributes: Words,
    times: Vec<i64>,
    numbers: Float64Builder,
    integers: Int64Builder,
    flags: BooleanBuilder,
    texts: StringBuilder,
}

impl ReadingRows {
    pub(crate) fn new(described: Described) -> Self {
        Self {
            schema: schema(described),
            described,
            paths: Words::default(),
            units: Words::default(),
            attributes: Words::default(),
            times: Vec::new(),
            numbers: Float64Builder::new(),
            integers: Int64Builder::new(),
            flags: BooleanBuilder::new(),
            texts: StringBuilder::new(),
        }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The series of the rows that follow.
    pub(crate) fn open(&mut self, series: &SeriesDescription) {
        self.paths.open(Some(series.path.as_str().to_owned()));
        if self.described == Described::Yes {
            self.units.open(Some(series.unit.as_str().to_owned()));
            let attributes = serde_json::to_string(&series.attributes);
            self.attributes.open(Some(attributes.unwrap_or_default()));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// Appends readings of the open series.
    pub(crate) fn extend(&mut self, columns: &Columns) {
        let rows = columns.len();
        self.paths.extend(rows);
        if self.described == Described::Yes {
            self.units.extend(rows);
            self.attributes.extend(rows);
        }
        self.times.extend_from_slice(&columns.times);
        match &columns.values {
            Values::F64(values) => self.numbers.append_slice(values),
            Values::I64(values) => values.iter().for_each(|value| {
                self.numbers.append_value(nearest(*value));
            }),
            Values::Bool(_) | Values::Text(_) => self.numbers.append_nulls(rows),
        }
        match &columns.values {
            Values::I64(values) => self.integers.append_slice(values),
            _ => self.integers.append_nulls(rows),
        }
        match &columns.values {
            Values::Bool(values) => self.flags.append_slice(values),
            _ => self.flags.append_nulls(rows),
        }
        match &columns.values {
            Values::Text(values) => values.iter().for_each(|text| self.texts.append_value(text)),
            _ => self.texts.append_nulls(rows),
        }
    }

    /// The rows so far as a batch; none are left. The open series stays open.
    pub(crate) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let times = TimestampNanosecondArray::from(std::mem::take(&mut self.times));
        let mut columns: Vec<ArrayRef> = vec![
            self.paths.take()?,
            Arc::new(times.with_timezone("UTC")),
            Arc::new(self.numbers.finish()),
            Arc::new(self.integers.finish()),
            Arc::new(self.flags.finish()),
            Arc::new(self.texts.finish()),
        ];
        if self.described == Described::Yes {
            columns.push(self.units.take()?);
            columns.push(self.attributes.take()?);
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the exact integer stands in a column of its own"
)]
pub(crate) fn nearest(integer: i64) -> f64 {
    integer as f64
}
