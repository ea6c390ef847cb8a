//! Answers as text: CSV, JSON, one JSON document a line, or a table for people.
//!
//! A [`RangeFormat`] writes an answer part by part as it arrives, so that output begins before the
//! whole answer is there; the same code serves the command line and the HTTP API. Values print so
//! that reading them back gives the same bits, in every form but the table's control characters.

pub mod committed;
pub mod csv;
pub mod json;
pub mod lists;
pub mod ndjson;
pub mod nodes;
pub mod retention;
pub mod table;
pub mod time_text;
pub mod tree;

use sensor_model::{Aggregate, GroupKey};
use store_wire::message::Freshness;

use crate::client::answer::{Part, Summary};
use crate::format::time_text::TimeStyle;
use crate::question::{RangeQuestion, Rows};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// RFC 4180 with a header line.
    Csv,
    /// One JSON document.
    Json,
    /// One JSON document a row.
    Ndjson,
}

/// Why an answer could not be written in the form asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The form holds one series at a time, and this one has too many rows for that.
    #[error(
        "series {path} has more than {rows_max} rows in this range, which JSON holds in memory at \
         once: ask for CSV or ndjson, buckets, a shorter range or a limit"
    )]
    SeriesTooLong {
        /// The series.
        path: String,
        /// The bound.
        rows_max: usize,
    },
}

/// Writes the answer to a range, part by part, in memory bounded by a part (JSON: by a series).
pub trait RangeFormat: Send {
    /// Writes what comes before the first part.
    fn begin(&mut self, out: &mut Vec<u8>);

    /// Writes one part.
    ///
    /// # Errors
    /// [`FormatError`] when the form cannot hold it; nothing more may be written.
    fn part(&mut self, part: &Part, out: &mut Vec<u8>) -> Result<(), FormatError>;

    /// Writes what comes after the last part.
    fn end(&mut self, summary: &Summary, out: &mut Vec<u8>);
}

/// The format that writes the answer to `question`, with times in `style` where the form lets choose.
pub fn range_format(
    format: Format,
    question: &RangeQuestion,
    freshness: Freshness,
    style: TimeStyle,
) -> Box<dyn RangeFormat> {
    let columns = columns_of(&question.rows);
    match format {
        Format::Csv => Box::new(csv::CsvRange::new(columns, style)),
        Format::Ndjson => Box::new(ndjson::NdjsonRange::new(columns, style)),
        Format::Json => Box::new(json::JsonRange::new(
            question.rows.clone(),
            freshness,
            style,
        )),
        Format::Table => Box::new(table::TableRange::new(columns)),
    }
}

/// The names of a range's columns: those of what a row is of, the time's, then those of the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RangeColumns {
    pub(crate) heads: Vec<String>,
    pub(crate) time: &'static str,
    pub(crate) values: Vec<String>,
}

fn columns_of(rows: &Rows) -> RangeColumns {
    let series = || vec!["series".to_owned()];
    match rows {
        Rows::Readings => RangeColumns {
            heads: series(),
            time: "timestamp",
            values: vec!["value".to_owned()],
        },
        Rows::Buckets(buckets) => RangeColumns {
            heads: buckets.by.as_ref().map_or_else(series, |keys| {
                keys.iter().map(GroupKey::to_string).collect()
            }),
            time: "bucket_start",
            values: buckets
                .aggregates
                .iter()
                .map(Aggregate::to_string)
                .collect(),
        },
    }
}
