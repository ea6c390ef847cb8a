//! The rows of one CSV file.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use csv::{ByteRecord, ReaderBuilder};
use segment_log::{Disk, DiskFile, OpenMode};
use sensor_model::{Kind, PathError, SeriesDescription, SeriesPath, Timestamp, Value};

use super::ReplayOptions;
use super::layout::{self, Layout, LayoutError, Wanted};
use crate::source::{Samples, SourceError, SourceSeries};

/// Rows looked at to understand a file.
const ROWS_LOOKED_AT: usize = 100;
/// Bytes looked at to find the delimiter: more than any first line.
const START_BYTES: usize = 64 << 10;
/// Longest attribute value kept of names that come from outside.
const ATTRIBUTE_CHARS_MAX: usize = 60;

/// One CSV file, being read.
pub struct Recording {
    name: String,
    file: Arc<dyn DiskFile>,
    reader: csv::Reader<BufReader<FileReader>>,
    layout: Layout,
    descriptions: Vec<SeriesDescription>,
    numbers: Vec<Option<SourceSeries>>,
    /// The first rows, read to understand the file and not yet given.
    first_rows: VecDeque<ByteRecord>,
    /// Rows read so far, usable or not.
    rows: u64,
    line: u64,
}

/// One usable row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its place among the rows of the file, usable or not, from 1.
    pub number: u64,
    /// When it was recorded.
    pub timestamp: Timestamp,
    /// The values, by the place of their column in the layout. Empty fields are left out.
    pub values: Vec<(usize, Value)>,
}

/// A line or a single value that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}{}: {reason}", column.as_ref().map(|name| format!(", column {name:?}")).unwrap_or_default())]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1, the header's included.
    pub line: u64,
    /// The column, when the rest of the line was used.
    pub column: Option<String>,
    /// Why.
    pub reason: String,
}

/// Why a recording cannot be replayed at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened or read.
    #[error("cannot read {file}: check that --file names an existing CSV file")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not understood.
    #[error("cannot replay {file}: {source}")]
    Layout {
        /// The file.
        file: String,
        /// Why, and what to change.
        source: LayoutError,
    },
    /// The prefix or the file's name makes no series path.
    #[error("cannot replay {file}: {source}")]
    Prefix {
        /// The file.
        file: String,
        /// Which rule it breaks.
        source: PathError,
    },
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording")
            .field("name", &self.name)
            .field("layout", &self.layout)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Recording {
    /// Opens a file and understands its layout.
    ///
    /// # Errors
    /// [`OpenError`] naming the file.
    pub fn open(
        disk: &Arc<dyn Disk>,
        path: &Path,
        prefix: &SeriesPath,
        options: &ReplayOptions,
    ) -> Result<Self, OpenError> {
        let name = path.display().to_string();
        let unreadable = |source| OpenError::Read {
            file: path.display().to_string(),
            source,
        };
        let misunderstood = |source| OpenError::Layout {
            file: path.display().to_string(),
            source,
        };
        let file = disk.open(path, OpenMode::Read).map_err(unreadable)?;
        let mut reader = csv_reader(&file).map_err(unreadable)?;
        let mut records = Vec::new();
        while records.len() <= ROWS_LOOKED_AT {
            let mut record = ByteRecord::new();
            let more = reader.read_byte_record(&mut record);
            if !more.map_err(|error| unreadable(io::Error::other(error)))? {
                break;
            }
            records.push(record);
        }
        let (header, rows) = records
            .split_first()
            .ok_or_else(|| misunderstood(LayoutError::Empty))?;
        let wanted = Wanted {
            time_column: options.time_column.as_deref(),
            columns: &options.columns,
        };
        let layout = Layout::detect(header, rows, wanted).map_err(misunderstood)?;
        for column in &layout.left_out {
            tracing::info!(file = %name, %column, "column left out: its values are not numbers");
        }
        let descriptions = describe(path, prefix, &layout).map_err(|source| OpenError::Prefix {
            file: path.display().to_string(),
            source,
        })?;
        Ok(Self {
            name,
            file,
            reader,
            numbers: vec![None; layout.columns.len()],
            layout,
            descriptions,
            first_rows: rows.iter().cloned().collect(),
            rows: 0,
            line: 1,
        })
    }

    /// The next usable row; what is passed over on the way goes to `report`. `None` at the end.
    ///
    /// # Errors
    /// [`SourceError::Read`] when the file cannot be read on.
    pub fn next_row(
        &mut self,
        report: &mut dyn FnMut(Problem),
    ) -> Result<Option<Row>, SourceError> {
        while let Some(record) = self.next_record()? {
            match self.row(&record, report) {
                Ok(row) => return Ok(Some(row)),
                Err(problem) => report(problem),
            }
        }
        Ok(None)
    }

    /// Passes over rows that were given in an earlier run. Stops at the end of the file.
    pub fn skip_rows(&mut self, rows: u64) {
        // An unreadable file says so when the next row is asked for.
        while self.rows < rows && matches!(self.next_record(), Ok(Some(_))) {}
    }

    /// The latest time in the whole file, found by reading it once more.
    ///
    /// # Errors
    /// [`SourceError::Read`] when the file cannot be read.
    pub fn last_time(&self) -> Result<Option<i64>, SourceError> {
        let failed = |source| SourceError::Read {
            file: self.name.clone(),
            line: 1,
            source,
        };
        let mut reader = csv_reader(&self.file).map_err(|error| failed(error.into()))?;
        let mut record = ByteRecord::new();
        let mut last = None;
        while reader.read_byte_record(&mut record).map_err(failed)? {
            let time = record.get(self.layout.time).map(layout::text);
            last = last.max(
                time.and_then(|text| layout::time(&text))
                    .map(Timestamp::as_nanos),
            );
        }
        Ok(last)
    }

    /// The series of a column, declared at its first value.
    pub fn series(&mut self, column: usize, samples: &mut Samples) -> SourceSeries {
        let description = &self.descriptions[column];
        *self.numbers[column].get_or_insert_with(|| samples.declare(description.clone()))
    }

    fn next_record(&mut self) -> Result<Option<ByteRecord>, SourceError> {
        let record = match self.first_rows.pop_front() {
            Some(record) => Some(record),
            None => {
                let mut record = ByteRecord::new();
                let more = self.reader.read_byte_record(&mut record);
                more.map_err(|source| SourceError::Read {
                    file: self.name.clone(),
                    line: self.line,
                    source,
                })?
                .then_some(record)
            }
        };
        if let Some(record) = &record {
            self.rows += 1;
            self.line = record.position().map_or(self.line + 1, csv::Position::line);
        }
        Ok(record)
    }

    fn row(&self, record: &ByteRecord, report: &mut dyn FnMut(Problem)) -> Result<Row, Problem> {
        let (found, expected) = (record.len(), self.layout.fields);
        if found != expected {
            return Err(self.problem(
                None,
                format!("the line has {found} fields where {expected} are expected"),
            ));
        }
        let time = layout::text(&record[self.layout.time]);
        let timestamp = layout::time(&time).ok_or_else(|| {
            self.problem(
                None,
                format!(
                    "{time:?} is not a time, such as 2026-11-20T10:00:00Z or 2026-11-20 10:00:00"
                ),
            )
        })?;
        let mut values = Vec::with_capacity(self.layout.columns.len());
        for (index, column) in self.layout.columns.iter().enumerate() {
            let text = layout::text(&record[column.field]);
            if text.is_empty() {
                continue;
            }
            match Value::parse(&text, Kind::F64) {
                Ok(value) => values.push((index, value)),
                Err(error) => report(self.problem(Some(&column.name), error.to_string())),
            }
        }
        Ok(Row {
            number: self.rows,
            timestamp,
            values,
        })
    }

    fn problem(&self, column: Option<&str>, reason: String) -> Problem {
        Problem {
            file: self.name.clone(),
            line: self.line,
            column: column.map(str::to_owned),
            reason,
        }
    }
}

/// The series of a file's columns. Columns whose names make the same segment are told apart by a
/// number.
fn describe(
    path: &Path,
    prefix: &SeriesPath,
    layout: &Layout,
) -> Result<Vec<SeriesDescription>, PathError> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let mut taken = BTreeSet::new();
    let mut descriptions = Vec::new();
    for column in &layout.columns {
        let segment = SeriesPath::segment_from(&column.name);
        let mut name = segment.clone();
        let mut number = 2;
        while !taken.insert(name.clone()) {
            name = format!("{segment}-{number}");
            number += 1;
        }
        let mut description =
            SeriesDescription::new(SeriesPath::new(format!("{prefix}/{name}"))?, Kind::F64);
        description.attributes = [("file", file.as_ref()), ("column", column.name.as_str())]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), shortened(value)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        descriptions.push(description);
    }
    Ok(descriptions)
}

fn shortened(text: &str) -> String {
    text.chars().take(ATTRIBUTE_CHARS_MAX).collect()
}

/// A reader at the start of the file, behind a byte order mark if there is one.
fn csv_reader(file: &Arc<dyn DiskFile>) -> io::Result<csv::Reader<BufReader<FileReader>>> {
    const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];
    let mut start = vec![0; START_BYTES];
    let mut filled = 0;
    while filled < start.len() {
        match file.read_at(&mut start[filled..], filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    start.truncate(filled);
    let marked = start.starts_with(&BYTE_ORDER_MARK);
    let offset = if marked { BYTE_ORDER_MARK.len() } else { 0 };
    let source = FileReader {
        file: Arc::clone(file),
        offset: offset as u64,
    };
    Ok(ReaderBuilder::new()
        .delimiter(layout::delimiter(&start[offset..]))
        .has_headers(false)
        .flexible(true)
        .from_reader(BufReader::with_capacity(START_BYTES, source)))
}

/// Reads a file from an offset to its end.
struct FileReader {
    file: Arc<dyn DiskFile>,
    offset: u64,
}

impl Read for FileReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buf, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
