//! A file as rows of cells, whatever its form.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use segment_log::DiskFile;
use sensor_model::reserved::is_reserved;
use sensor_model::{Kind, SeriesDescription, SeriesPath, Timestamp, Unit, Value};
use serde::{Deserialize, Serialize};

use super::csv_source::CsvSource;
use super::parquet_source::ParquetSource;

/// How a file is understood.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct SourceOptions {
    /// Where the series go; a file with a column a series goes below its name otherwise.
    pub(crate) prefix: Option<SeriesPath>,
    /// The column with the times; found by name and content otherwise.
    pub(crate) time_column: Option<String>,
    /// The columns to import of a file with a column a series; all when empty.
    pub(crate) columns: Vec<String>,
    /// The kind of every new series.
    pub(crate) kind: Option<Kind>,
    /// The unit of every series whose unit the file does not tell.
    pub(crate) unit: Unit,
}

/// A place between two rows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Bytes of a CSV file, rows of a Parquet file.
    pub(crate) offset: u64,
    /// The line, or row, that comes next.
    pub(crate) line: u64,
}

/// A line or a single value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: u64,
    /// The column, when the rest of the line was used.
    pub(crate) column: Option<String>,
    pub(crate) reason: String,
}

/// Why a file cannot be imported at all, on one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SourceError(pub(crate) String);

/// What stands in a row for one series.
pub(crate) enum Cell<'a> {
    /// A text that is read as the kind of the series.
    Text(&'a str),
    /// A value of a kind of its own.
    Value(Value),
}

/// Takes what a file holds.
pub(crate) trait Sink {
    /// A value of a series, by its number in the [`SeriesTable`].
    fn cell(&mut self, at: Place<'_>, series: usize, time: Timestamp, cell: Cell<'_>);
    /// Something that cannot be used.
    fn problem(&mut self, at: Place<'_>, reason: String);
}

/// Where in a file something stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) line: u64,
    pub(crate) column: Option<&'a str>,
}

/// The series of a file, numbered in the order they are met.
#[derive(Debug, Default)]
pub(crate) struct SeriesTable {
    numbers: HashMap<String, Result<usize, String>>,
    series: Vec<SeriesEntry>,
}

/// A series of a file.
#[derive(Debug, Clone)]
pub(crate) struct SeriesEntry {
    pub(crate) description: SeriesDescription,
    /// Whether its kind is settled; if not, it is left out.
    pub(crate) is_settled: bool,
}

/// A file.
pub(crate) enum Source {
    Csv(Box<CsvSource>),
    Parquet(Box<ParquetSource>),
}

impl Source {
    /// Understands the form of the open file `path`: by its ending, `.parquet` or anything else for CSV.
    pub(crate) fn of(
        file: Arc<dyn DiskFile>,
        path: &Path,
        options: &SourceOptions,
    ) -> Result<Self, SourceError> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_parquet = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
        let opened = if is_parquet {
            ParquetSource::open(file, &stem, options).map(|source| Self::Parquet(Box::new(source)))
        } else {
            CsvSource::open(file, &stem, options).map(|source| Self::Csv(Box::new(source)))
        };
        opened.map_err(|SourceError(reason)| {
            SourceError(format!("cannot import {}: {reason}", path.display()))
        })
    }

    /// The series met so far.
    pub(crate) fn series(&self) -> &SeriesTable {
        match self {
            Self::Csv(source) => &source.series,
            Self::Parquet(source) => &source.series,
        }
    }

    /// The same, to settle their kinds.
    pub(crate) fn series_mut(&mut self) -> &mut SeriesTable {
        match self {
            Self::Csv(source) => &mut source.series,
            Self::Parquet(source) => &mut source.series,
        }
    }

    /// Whether the file has a column a series.
    pub(crate) fn is_wide(&self) -> bool {
        match self {
            Self::Csv(source) => source.is_wide(),
            Self::Parquet(source) => source.is_wide(),
        }
    }

    /// What is said of columns that are left out, a line each.
    pub(crate) fn left_out(&self) -> &[String] {
        match self {
            // What cannot be used of a CSV file is found row by row.
            Self::Csv(_) => &[],
            Self::Parquet(source) => source.left_out(),
        }
    }

    /// The place behind the last row, in the unit of [`Position::offset`].
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Csv(source) => source.length(),
            Self::Parquet(source) => source.length(),
        }
    }

    /// Where the next row begins.
    pub(crate) fn position(&self) -> Position {
        match self {
            Self::Csv(source) => source.position(),
            Self::Parquet(source) => source.position(),
        }
    }

    /// Goes on at `position`, or at the first row.
    pub(crate) fn seek(&mut self, position: Option<Position>) -> Result<(), SourceError> {
        match self {
            Self::Csv(source) => source.seek(position),
            Self::Parquet(source) => source.seek(position),
        }
    }

    /// Gives the next row, or some of them, to `sink`. `false` after the last.
    pub(crate) fn step(&mut self, sink: &mut dyn Sink) -> Result<bool, SourceError> {
        match self {
            Self::Csv(source) => source.step(sink),
            Self::Parquet(source) => source.step(sink),
        }
    }
}

impl SeriesTable {
    /// The number of the series with this path; why not, where none may have it.
    pub(crate) fn number(
        &mut self,
        path: &str,
        describe: impl FnOnce(&mut SeriesDescription),
    ) -> Result<usize, String> {
        if let Some(known) = self.numbers.get(path) {
            return known.clone();
        }
        let next = self.series.len();
        let number = match SeriesPath::new(path) {
            Err(error) => Err(error.to_string()),
            Ok(path) if is_reserved(&path) => Err(format!(
                "series {path}: what is below _tidemark/ is the store's own"
            )),
            Ok(path) => {
                let mut description = SeriesDescription::new(path, Kind::F64);
                describe(&mut description);
                self.series.push(SeriesEntry {
                    description,
                    is_settled: false,
                });
                Ok(next)
            }
        };
        self.numbers.insert(path.to_owned(), number.clone());
        number
    }

    pub(crate) fn entries(&self) -> &[SeriesEntry] {
        &self.series
    }

    pub(crate) fn entries_mut(&mut self) -> &mut [SeriesEntry] {
        &mut self.series
    }
}

impl SeriesEntry {
    /// Its kind is known.
    pub(crate) fn settle(&mut self, kind: Kind) {
        self.description.kind = kind;
        self.is_settled = true;
    }
}
