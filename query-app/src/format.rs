//! Answers as text (CSV, JSON, one JSON document a line, or a table for people) or as an Arrow stream.
//!
//! A [`RangeFormat`] writes an answer part by part as it arrives, so that output begins before the
//! whole answer is there; the same code serves the command line and the HTTP API. Values print so
//! that reading them back gives the same bits, in every form but the table's control characters.

pub mod arrow;
pub mod committed;
pub mod csv;
pub mod json;
pub mod lists;
pub mod live;
pub mod ndjson;
pub mod nodes;
pub(crate) mod parquet;
pub mod retention;
pub mod table;
pub mod time_text;
pub mod tokens;
pub mod tree;

use sensor_model::{Aggregate, GroupKey};
use store_wire::message::Freshness;

use crate::client::answer::{LastAnswer, Part, Summary};
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
    /// An Apache Arrow IPC stream, of `range` and `last` alone; elsewhere the same as JSON.
    Arrow,
}

/// Why an answer could not be written in the form asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The form holds one series at a time, and this one has too many rows for that.
    #[error(
        "series {path} has more than {rows_max} rows, or {bytes_max} bytes, in this range, which \
         JSON holds in memory at once: ask for CSV or ndjson, buckets, a shorter range or a limit"
    )]
    SeriesTooLong {
        /// The series.
        path: String,
        /// The bound.
        rows_max: usize,
        /// The bound of their bytes.
        bytes_max: usize,
    },
    /// The rows make no Arrow stream.
    #[error("{reason}")]
    Columnar {
        /// Why.
        reason: String,
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
///
/// # Errors
/// [`FormatError::Columnar`].
pub fn range_format(
    format: Format,
    question: &RangeQuestion,
    freshness: Freshness,
    style: TimeStyle,
) -> Result<Box<dyn RangeFormat>, FormatError> {
    let columns = columns_of(&question.rows);
    Ok(match format {
        Format::Csv => Box::new(csv::CsvRange::new(columns, style)),
        Format::Ndjson => Box::new(ndjson::NdjsonRange::new(columns, style)),
        Format::Json => Box::new(json::JsonRange::new(
            question.rows.clone(),
            freshness,
            style,
        )),
        Format::Table => Box::new(table::TableRange::new(columns)),
        Format::Arrow => Box::new(arrow::ArrowRange::new(&question.rows, &columns)?),
    })
}

/// The latest reading of each series in `format`.
///
/// # Errors
/// [`FormatError::Columnar`].
pub fn last(answer: &LastAnswer, format: Format, style: TimeStyle) -> Result<Vec<u8>, FormatError> {
    match format {
        Format::Arrow => arrow::last(answer),
        format => Ok(lists::last(answer, format, style)),
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::time::Duration;

    use sensor_model::{Bucket, Grid, Pattern, TimeRange, Timestamp, Token, Value};
    use store_wire::message::Order;

    use super::*;
    use crate::question::calendar::Every;
    use crate::question::{Buckets, Fill, Page};

    fn question() -> RangeQuestion {
        RangeQuestion {
            patterns: vec![Pattern::everything()],
            range: TimeRange::EVERYTHING,
            rows: Rows::Buckets(Buckets {
                every: Every::Fixed(Duration::from_secs(1)),
                zone: None,
                grid: Grid::Every(NonZeroU64::new(1_000_000_000).unwrap()),
                aggregates: vec![Aggregate::Mean, "p99.9".parse().unwrap()],
                fill: Fill::None,
                fill_max: None,
                by: Some(vec!["2".parse().unwrap(), "attr:a,b".parse().unwrap()]),
            }),
            filter: None,
            limit: None,
            ranked: None,
            order: Order::Ascending,
            page: Page::default(),
        }
    }

    fn written(format: Format) -> String {
        let freshness = Freshness {
            replica: 2,
            applied: Token { shard: 0, index: 7 },
            age_ms: None,
        };
        let mut format = range_format(format, &question(), freshness, TimeStyle::Nanos).unwrap();
        let mut out = Vec::new();
        format.begin(&mut out);
        let key = vec![Some("line-1".to_owned()), None];
        let row = Bucket {
            start: Timestamp::from_nanos(0),
            values: vec![Some(Value::F64(1.5)), None],
        };
        for part in [Part::Group { key, series: 3 }, Part::Buckets(vec![row])] {
            format.part(&part, &mut out).unwrap();
        }
        let summary = Summary {
            truncated: false,
            next: None,
            token: freshness.applied,
        };
        format.end(&summary, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_of_groups_have_a_column_a_key() {
        assert_eq!(
            written(Format::Csv),
            "2,\"attr:a,b\",bucket_start,mean,p99.9\nline-1,,0,1.5,\n"
        );
        assert_eq!(
            written(Format::Ndjson),
            concat!(
                r#"{"group":{"2":"line-1","attr:a,b":null},"bucket_start":0,"#,
                r#""mean":1.5,"p99.9":null}"#,
                "\n"
            )
        );
        assert_eq!(
            written(Format::Json),
            concat!(
                r#"{"every":"1s","groups":[{"group":{"2":"line-1","attr:a,b":null},"series":3,"#,
                r#""bucket_starts":[0],"mean":[1.5],"p99.9":[null]}],"#,
                r#""replica":2,"applied":7,"age_ms":null,"token":"0-7","truncated":false}"#,
                "\n"
            )
        );
        let table = written(Format::Table);
        assert!(
            table.starts_with("2       attr:a,b  bucket_start"),
            "{table}"
        );
    }
}
