//! The rows of a CSV file.

use std::collections::BTreeSet;
use std::sync::Arc;

use csv::{ByteRecord, ReaderBuilder};
use segment_log::DiskFile;
use sensor_model::{SeriesPath, Timestamp, Unit};

use super::csv_layout::{Layout, RowLayout, delimiter};
use super::source::{Cell, Place, Position, SeriesTable, Sink, SourceError, SourceOptions};
use super::times::TimeReader;
use crate::files::FileReader;

/// Rows looked at to understand a file.
const ROWS_LOOKED_AT: usize = 100;
/// Bytes looked at to find the delimiter, and read at a time.
const BLOCK_BYTES: usize = 256 << 10;
const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// A CSV file.
pub(crate) struct CsvSource {
    pub(crate) series: SeriesTable,
    file: Arc<dyn DiskFile>,
    delimiter: u8,
    layout: Layout,
    /// The series of the columns of a file that has a column a series.
    columns: Vec<Result<usize, String>>,
    prefix: Option<SeriesPath>,
    unit: Unit,
    /// The first row.
    first: Position,
    /// Where the reader began.
    begin: Position,
    reader: csv::Reader<FileReader>,
    record: ByteRecord,
    times: TimeReader,
    /// The series of the row before, and its path as it is written.
    last: Option<(Vec<u8>, usize)>,
    length: u64,
}

impl CsvSource {
    pub(crate) fn open(
        file: Arc<dyn DiskFile>,
        stem: &str,
        options: &SourceOptions,
    ) -> Result<Self, SourceError> {
        let unreadable = |error: std::io::Error| SourceError(error.to_string());
        let mut start = vec![0; BLOCK_BYTES];
        let read = file.read_at(&mut start, 0).map_err(unreadable)?;
        let start = &start[..read];
        let is_marked = start.starts_with(&BYTE_ORDER_MARK);
        let offset = if is_marked { BYTE_ORDER_MARK.len() } else { 0 };
        let begin = Position {
            offset: offset as u64,
            line: 1,
        };
        let delimiter = delimiter(&start[offset..]);
        let mut reader = reader_at(&file, begin, delimiter);
        let mut record = ByteRecord::new();
        if !read_record(&mut reader, &mut record)? {
            let reason = "it is empty: a header line and rows are expected";
            return Err(SourceError(reason.to_owned()));
        }
        let header = record.clone();
        let first = place_of(begin, &reader);
        let mut rows = Vec::new();
        while rows.len() < ROWS_LOOKED_AT && read_record(&mut reader, &mut record)? {
            rows.push(record.clone());
        }
        let time_column = options.time_column.as_deref();
        let layout = Layout::detect(&header, &rows, time_column, &options.columns)?;
        let mut source = Self {
            series: SeriesTable::default(),
            length: file.len().map_err(unreadable)?,
            columns: Vec::new(),
            prefix: options.prefix.clone(),
            unit: options.unit.clone(),
            reader: reader_at(&file, first, delimiter),
            file,
            delimiter,
            layout,
            first,
            begin: first,
            record,
            times: TimeReader::default(),
            last: None,
        };
        source.name_columns(stem);
        Ok(source)
    }

    pub(crate) fn is_wide(&self) -> bool {
        matches!(self.layout.rows, RowLayout::Wide(_))
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn position(&self) -> Position {
        let mut position = place_of(self.begin, &self.reader);
        // Of a carriage return and a line feed the reader has taken the first alone.
        let mut pair = [0; 2];
        let before = position.offset.saturating_sub(1);
        if self.file.read_exact_at(&mut pair, before).is_ok() && pair == *b"\r\n" {
            position.offset += 1;
            position.line += 1;
        }
        position
    }

    pub(crate) fn seek(&mut self, position: Option<Position>) -> Result<(), SourceError> {
        self.begin = position.unwrap_or(self.first);
        self.reader = reader_at(&self.file, self.begin, self.delimiter);
        Ok(())
    }

    pub(crate) fn step(&mut self, sink: &mut dyn Sink) -> Result<bool, SourceError> {
        let mut record = std::mem::take(&mut self.record);
        let more = read_record(&mut self.reader, &mut record)?;
        if more {
            let line = self.line_of(&record);
            if let Err(reason) = self.row(line, &record, sink) {
                sink.problem(Place { line, column: None }, reason);
            }
        }
        self.record = record;
        Ok(more)
    }

    /// The line on which a record that was just read begins. The reader itself counts from where the
    /// record before ended, that is before blank lines and the rest of a line's ending.
    fn line_of(&self, record: &ByteRecord) -> u64 {
        let reached = place_of(self.begin, &self.reader);
        let inside = record.as_slice().iter().filter(|byte| **byte == b'\n');
        let last = self.reader.get_ref().byte_before(reached.offset);
        let ending = usize::from(last == Some(b'\n'));
        reached
            .line
            .saturating_sub((inside.count() + ending) as u64)
    }

    fn row(&mut self, line: u64, record: &ByteRecord, sink: &mut dyn Sink) -> Result<(), String> {
        let (found, expected) = (record.len(), self.layout.fields);
        if found != expected {
            return Err(format!(
                "the line has {found} fields where {expected} are expected"
            ));
        }
        let time = text(&record[self.layout.time])?;
        let time = self
            .times
            .read(time)
            .ok_or_else(|| format!("{time:?} is not a time, such as 2026-11-20T10:00:00Z"))?;
        match self.layout.rows {
            RowLayout::Long {
                series,
                value,
                unit,
            } => {
                let value = text(&record[value])?;
                let unit = unit.map(|unit| text(&record[unit])).transpose()?;
                let number = self.number(&record[series], unit)?;
                let place = Place { line, column: None };
                sink.cell(place, number, time, Cell::Text(value));
                Ok(())
            }
            RowLayout::Wide(_) => {
                self.cells(line, record, time, sink);
                Ok(())
            }
        }
    }

    /// The cells of a row of a file that has a column a series. An empty one is no reading.
    fn cells(&self, line: u64, record: &ByteRecord, time: Timestamp, sink: &mut dyn Sink) {
        let RowLayout::Wide(columns) = &self.layout.rows else {
            return;
        };
        for ((field, name), series) in columns.iter().zip(&self.columns) {
            let place = Place {
                line,
                column: Some(name),
            };
            match (text(&record[*field]), series) {
                (Ok(text), _) if text.trim().is_empty() => {}
                (Ok(text), Ok(series)) => sink.cell(place, *series, time, Cell::Text(text)),
                (Err(reason), _) => sink.problem(place, reason),
                (_, Err(reason)) => sink.problem(place, reason.clone()),
            }
        }
    }

    /// The series whose path stands in a field.
    fn number(&mut self, field: &[u8], unit: Option<&str>) -> Result<usize, String> {
        if let Some((last, number)) = &self.last
            && last == field
        {
            return Ok(*number);
        }
        let path = text(field)?.trim();
        let path = match &self.prefix {
            Some(prefix) => format!("{prefix}/{path}"),
            None => path.to_owned(),
        };
        let default = &self.unit;
        let number = self.series.number(&path, |description| {
            let told = unit.filter(|unit| !unit.is_empty());
            let told = told.and_then(|unit| Unit::new(unit).ok());
            description.unit = told.unwrap_or_else(|| default.clone());
        })?;
        self.last = Some((field.to_owned(), number));
        Ok(number)
    }

    /// Gives the columns of a file that has a column a series their paths.
    fn name_columns(&mut self, stem: &str) {
        let RowLayout::Wide(columns) = &self.layout.rows else {
            return;
        };
        let names = columns.iter().map(|(_, name)| name.as_str());
        for path in column_paths(names, stem, self.prefix.as_ref()) {
            let unit = &self.unit;
            let number = self
                .series
                .number(&path, |description| description.unit = unit.clone());
            self.columns.push(number);
        }
    }
}

/// The paths of columns. One whose name is a path of several segments has that path; another goes below
/// the file's name. With a prefix all go below it. Those that would be the same are told apart by a
/// number.
pub(crate) fn column_paths<'a>(
    names: impl Iterator<Item = &'a str>,
    stem: &str,
    prefix: Option<&SeriesPath>,
) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let stem = SeriesPath::segment_from(stem);
    let paths = names.map(|name| {
        let is_path = name.contains('/') && SeriesPath::new(name).is_ok();
        let path = match (is_path, prefix) {
            (true, None) => name.to_owned(),
            (true, Some(prefix)) => format!("{prefix}/{name}"),
            (false, prefix) => {
                let above = prefix.map_or(stem.as_str(), SeriesPath::as_str);
                format!("{above}/{}", SeriesPath::segment_from(name))
            }
        };
        let mut unique = path.clone();
        let mut number = 2;
        while !taken.insert(unique.clone()) {
            unique = format!("{path}-{number}");
            number += 1;
        }
        unique
    });
    paths.collect()
}

fn reader_at(
    file: &Arc<dyn DiskFile>,
    position: Position,
    delimiter: u8,
) -> csv::Reader<FileReader> {
    let source = FileReader::new(Arc::clone(file), position.offset);
    ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(BLOCK_BYTES)
        .from_reader(source)
}

fn place_of(begin: Position, reader: &csv::Reader<FileReader>) -> Position {
    let reached = reader.position();
    Position {
        offset: begin.offset + reached.byte(),
        line: begin.line + reached.line() - 1,
    }
}

fn read_record(
    reader: &mut csv::Reader<FileReader>,
    record: &mut ByteRecord,
) -> Result<bool, SourceError> {
    let more = reader.read_byte_record(record);
    more.map_err(|error| SourceError(error.to_string()))
}

fn text(field: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(field).map_err(|_| "a field is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use segment_log::{Disk as _, OpenMode, fake::FakeDisk};

    use super::*;

    /// The lines of the values.
    #[derive(Default)]
    struct Lines(Vec<(String, u64)>);

    impl Sink for Lines {
        fn cell(&mut self, at: Place<'_>, _: usize, _: Timestamp, cell: Cell<'_>) {
            if let Cell::Text(text) = cell {
                self.0.push((text.to_owned(), at.line));
            }
        }

        fn problem(&mut self, at: Place<'_>, reason: String) {
            self.0.push((reason, at.line));
        }
    }

    /// The lines of the values of a file, read from its beginning and from each of its rows on.
    fn lines_of(text: &str) -> Vec<(String, u64)> {
        let disk = FakeDisk::new();
        let file = disk.open(Path::new("/a.csv"), OpenMode::Create).unwrap();
        file.write_all_at(text.as_bytes(), 0).unwrap();
        let mut source = CsvSource::open(file, "a", &SourceOptions::default()).unwrap();
        let mut lines = Lines::default();
        let mut places = vec![(source.position(), 0)];
        while source.step(&mut lines).unwrap() {
            places.push((source.position(), lines.0.len()));
        }
        for (place, read) in places {
            source.seek(Some(place)).unwrap();
            let mut rest = Lines::default();
            while source.step(&mut rest).unwrap() {}
            assert_eq!(rest.0, lines.0[read..], "from {place:?} of {text:?}");
        }
        lines.0
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        let text = "time,note\n2026-01-01,a\n\n\n2026-01-02,\"b\nb\"\n2026-01-03,c\n\n2026-01-04,d";
        let expected = [("a", 2), ("b\nb", 5), ("c", 7), ("d", 9)];
        let expected = expected.map(|(value, line)| (value.to_owned(), line));
        assert_eq!(lines_of(text), expected);
        assert_eq!(lines_of(&format!("{text}\n")), expected);
        let windows = text.replace('\n', "\r\n");
        let expected = expected.map(|(value, line)| (value.replace('\n', "\r\n"), line));
        assert_eq!(lines_of(&windows), expected);
        assert_eq!(lines_of(&format!("{windows}\r\n\r\n")), expected);
    }

    #[test]
    fn lines_are_counted_across_the_blocks_that_are_read() {
        for ending in ["\n", "\r\n"] {
            let row = |line: u64| format!("2026-01-01,{line}{ending}");
            let text = format!("time,note{ending}");
            let text: String = std::iter::once(text).chain((2..40_000).map(row)).collect();
            assert!(text.len() > 2 * BLOCK_BYTES);
            let disk = FakeDisk::new();
            let file = disk.open(Path::new("/a.csv"), OpenMode::Create).unwrap();
            file.write_all_at(text.as_bytes(), 0).unwrap();
            let mut source = CsvSource::open(file, "a", &SourceOptions::default()).unwrap();
            let mut lines = Lines::default();
            while source.step(&mut lines).unwrap() {}
            assert_eq!(lines.0.len(), 39_998);
            assert!(
                lines
                    .0
                    .iter()
                    .all(|(value, line)| *value == line.to_string())
            );
        }
    }
}
