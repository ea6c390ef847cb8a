//! Understands a CSV file from its first rows: delimiter, header, time column, numeric columns.
//!
//! The rules, in the order they apply:
//! - the delimiter is whichever of comma, semicolon and tab the first line has most of, outside
//!   quotes;
//! - the first line is the header; when the first row has exactly one field more than it, every
//!   row begins with a row number that the header does not name;
//! - the time column is the one asked for, else the first with a usual name whose first value is a
//!   time, else the first whose first value is a date with a time;
//! - a first column called like a row number is left out, unless asked for by name;
//! - a column is numeric when at least half of its values in the first rows are numbers.

use csv::ByteRecord;
use sensor_model::{Kind, Timestamp, Value};

/// Usual names of a time column, in lower case.
const TIME_NAMES: [&str; 10] = [
    "time",
    "timestamp",
    "date",
    "datetime",
    "date_time",
    "date time",
    "ts",
    "_time",
    "utc",
    "zeit",
];

/// Usual names of a column of row numbers, in lower case.
const ROW_NUMBER_NAMES: [&str; 8] = ["", "#", "no", "no.", "nr", "row", "index", "unnamed: 0"];

/// Where the fields of a row are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// Fields of a whole row.
    pub(super) fields: usize,
    /// The field with the time.
    pub(super) time: usize,
    /// The fields that become series.
    pub(super) columns: Vec<Column>,
    /// Columns that are no numbers, by name: left out.
    pub(super) left_out: Vec<String>,
}

/// One column that becomes a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// Its field.
    pub(super) field: usize,
    /// Its name in the header.
    pub(super) name: String,
}

/// What the user asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The time column, if named.
    pub(super) time_column: Option<&'a str>,
    /// The columns to send; every numeric one when empty.
    pub(super) columns: &'a [String],
}

/// Why a file is not understood. Each says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// There is nothing in it.
    #[error("the file is empty: a header line and rows are expected")]
    Empty,
    /// There are no rows.
    #[error("the file has a header and no rows")]
    NoRows,
    /// The first line is not a header.
    #[error("the first line holds values, not names: add a header line such as `time,temperature`")]
    NoHeader,
    /// No column looks like times.
    #[error(
        "no column holds times such as 2026-11-20T10:00:00Z or 2026-11-20 10:00:00: name one with --time-column (columns: {columns})"
    )]
    NoTimeColumn {
        /// What there is.
        columns: String,
    },
    /// A column that was asked for is not there.
    #[error("there is no column {name:?} (columns: {columns})")]
    NoSuchColumn {
        /// What was asked for.
        name: String,
        /// What there is.
        columns: String,
    },
    /// Nothing to send.
    #[error("no column besides the time is numeric (columns: {columns})")]
    NoNumericColumn {
        /// What there is.
        columns: String,
    },
}

/// The delimiter of a file that begins with `start`.
pub(super) fn delimiter(start: &[u8]) -> u8 {
    let mut quoted = false;
    let mut begun = false;
    let mut counts = [(b',', 0_usize), (b';', 0), (b'\t', 0)];
    for byte in start {
        match byte {
            b'"' => (quoted, begun) = (!quoted, true),
            b'\n' if !quoted && begun => break,
            _ if quoted => {}
            byte => {
                begun |= !byte.is_ascii_whitespace();
                for (delimiter, count) in &mut counts {
                    *count += usize::from(byte == delimiter);
                }
            }
        }
    }
    let mut best = counts[0];
    for candidate in counts {
        if candidate.1 > best.1 {
            best = candidate;
        }
    }
    best.0
}

impl Layout {
    /// Understands a file from its header and first rows.
    ///
    /// # Errors
    /// [`LayoutError`], which says what to change.
    pub(super) fn detect(
        header: &ByteRecord,
        rows: &[ByteRecord],
        wanted: Wanted<'_>,
    ) -> Result<Self, LayoutError> {
        let first = rows.first().ok_or(LayoutError::NoRows)?;
        if header.iter().any(|field| time(&text(field)).is_some()) {
            return Err(LayoutError::NoHeader);
        }
        let unnamed = usize::from(first.len() == header.len() + 1);
        let names: Vec<String> = header.iter().map(text).collect();
        let table = Table {
            names: &names,
            unnamed,
            rows,
        };
        let time = table.time_column(wanted.time_column)?;
        let (columns, left_out) = if wanted.columns.is_empty() {
            table.numeric_columns(time)?
        } else {
            (table.named_columns(wanted.columns)?, Vec::new())
        };
        Ok(Self {
            fields: header.len() + unnamed,
            time: time + unnamed,
            columns: columns
                .into_iter()
                .map(|column| Column {
                    field: column + unnamed,
                    name: names[column].clone(),
                })
                .collect(),
            left_out: left_out
                .into_iter()
                .map(|column| names[column].clone())
                .collect(),
        })
    }
}

/// The first rows of a file; columns are counted as the header names them.
struct Table<'a> {
    names: &'a [String],
    unnamed: usize,
    rows: &'a [ByteRecord],
}

impl Table<'_> {
    fn time_column(&self, wanted: Option<&str>) -> Result<usize, LayoutError> {
        if let Some(name) = wanted {
            return self.position(name);
        }
        let columns = 0..self.names.len();
        let usual = |column: &usize| {
            let name = self.names[*column].to_lowercase();
            TIME_NAMES.contains(&name.as_str())
                && self
                    .first_value(*column)
                    .is_some_and(|text| time(&text).is_some())
        };
        let dated = |column: &usize| {
            self.first_value(*column)
                .is_some_and(|text| !is_number(&text) && time(&text).is_some())
        };
        columns
            .clone()
            .find(usual)
            .or_else(|| columns.clone().find(dated))
            .ok_or_else(|| LayoutError::NoTimeColumn {
                columns: self.names.join(", "),
            })
    }

    fn named_columns(&self, wanted: &[String]) -> Result<Vec<usize>, LayoutError> {
        wanted.iter().map(|name| self.position(name)).collect()
    }

    /// The numeric columns, and those left out for not being.
    fn numeric_columns(&self, time: usize) -> Result<(Vec<usize>, Vec<usize>), LayoutError> {
        let row_number = |column: usize| {
            let name = self.names[column].to_lowercase();
            column == 0 && ROW_NUMBER_NAMES.contains(&name.as_str())
        };
        let candidates =
            (0..self.names.len()).filter(|column| *column != time && !row_number(*column));
        let (numeric, left_out): (Vec<usize>, Vec<usize>) =
            candidates.partition(|column| self.is_numeric(*column));
        if numeric.is_empty() {
            return Err(LayoutError::NoNumericColumn {
                columns: self.names.join(", "),
            });
        }
        Ok((numeric, left_out))
    }

    fn is_numeric(&self, column: usize) -> bool {
        let (mut numbers, mut values) = (0_usize, 0_usize);
        for text in self.values(column) {
            values += 1;
            numbers += usize::from(is_number(&text));
        }
        numbers * 2 >= values
    }

    fn position(&self, name: &str) -> Result<usize, LayoutError> {
        let exact = self.names.iter().position(|known| known == name);
        exact
            .or_else(|| {
                let same = |known: &String| known.eq_ignore_ascii_case(name);
                self.names.iter().position(same)
            })
            .ok_or_else(|| LayoutError::NoSuchColumn {
                name: name.to_owned(),
                columns: self.names.join(", "),
            })
    }

    fn first_value(&self, column: usize) -> Option<String> {
        self.values(column).next()
    }

    /// The values of one column that are not empty.
    fn values(&self, column: usize) -> impl Iterator<Item = String> + '_ {
        self.rows
            .iter()
            .filter_map(move |row| row.get(column + self.unnamed))
            .map(text)
            .filter(|text| !text.is_empty())
    }
}

/// A field as text, trimmed. Files in older encodings show their foreign letters as `�`.
pub(super) fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).trim().to_owned()
}

/// Reads a time: RFC 3339, `YYYY-MM-DD HH:MM:SS` as UTC, a date, or an epoch number.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    // Nothing relative: a recording does not speak of now.
    let absolute = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
    let epoch = text.bytes().all(|byte| byte.is_ascii_digit());
    // A plain number of a few digits is a value or a row number, not a time.
    const EPOCH_DIGITS_MIN: usize = 9;
    if !absolute || (epoch && text.len() < EPOCH_DIGITS_MIN) {
        return None;
    }
    Timestamp::parse(text, Timestamp::default()).ok()
}

fn is_number(text: &str) -> bool {
    Value::parse(text, Kind::F64).is_ok()
}
