//! The rows of a Parquet file.

use std::borrow::Cow;
use std::sync::Arc;

use columnar::{Block, Cells, Column, ParquetBlocks, ParquetTable};
use segment_log::DiskFile;
use sensor_model::{Attributes, SeriesDescription, SeriesPath, Timestamp, Unit, Value};

use super::csv_source::column_paths;
use super::source::{Cell, Place, Position, SeriesTable, Sink, SourceError, SourceOptions};
use super::times;

/// Cells of a block: what is taken in one step.
const BLOCK_CELLS: usize = 8_192;

/// A Parquet file.
pub(crate) struct ParquetSource {
    pub(crate) series: SeriesTable,
    table: ParquetTable,
    layout: Layout,
    names: Vec<String>,
    block_rows: usize,
    prefix: Option<SeriesPath>,
    unit: Unit,
    blocks: ParquetBlocks,
    /// The next row, from 0.
    row: u64,
    /// What is said of columns that are left out.
    left_out: Vec<String>,
}

enum Layout {
    /// A reading a row.
    Long(LongColumns),
    /// A column a series: the column with the time, then those with values and their series.
    Wide {
        time: usize,
        columns: Vec<(usize, Result<usize, String>)>,
    },
}

struct LongColumns {
    series: usize,
    time: usize,
    /// The first of these that has a value has the reading's.
    values: Vec<usize>,
    unit: Option<usize>,
    attributes: Option<usize>,
}

impl ParquetSource {
    pub(crate) fn open(
        file: Arc<dyn DiskFile>,
        stem: &str,
        options: &SourceOptions,
    ) -> Result<Self, SourceError> {
        let table = ParquetTable::open(file).map_err(|error| SourceError(error.to_string()))?;
        let columns = table.columns();
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let named = |name: &str| {
            let same = |known: &String| known.eq_ignore_ascii_case(name);
            names.iter().position(same)
        };
        let required = |name: &String| {
            named(name).ok_or_else(|| {
                let known = names.join(", ");
                SourceError(format!("there is no column {name:?} (columns: {known})"))
            })
        };
        let time = match &options.time_column {
            Some(name) => required(name)?,
            None => time_column(&columns)?,
        };
        let values = ["value_i64", "value_bool", "value_text", "value"];
        let values: Vec<usize> = values.into_iter().filter_map(named).collect();
        let is_usable = |at: &usize| columns[*at].kind.is_some();
        let mut left_out = Vec::new();
        let mut series = SeriesTable::default();
        let path = named("path").or_else(|| named("series"));
        let layout = match path {
            Some(path) if !values.is_empty() => {
                let (values, unusable): (Vec<_>, Vec<_>) = values.into_iter().partition(is_usable);
                left_out.extend(unusable.into_iter().map(|at| unusable_type(&columns[at])));
                if values.is_empty() {
                    return Err(SourceError(left_out.join("; ")));
                }
                Layout::Long(LongColumns {
                    series: path,
                    time,
                    values,
                    unit: named("unit"),
                    attributes: named("attributes"),
                })
            }
            _ => {
                let wanted: Vec<usize> = if options.columns.is_empty() {
                    (0..columns.len()).filter(|at| *at != time).collect()
                } else {
                    let named = options.columns.iter().map(required);
                    named.collect::<Result<_, _>>()?
                };
                let (wanted, unusable): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_usable);
                left_out.extend(unusable.into_iter().map(|at| unusable_type(&columns[at])));
                if wanted.is_empty() {
                    let reason = "there is no column with values besides the time".to_owned();
                    left_out.insert(0, reason);
                    return Err(SourceError(left_out.join("; ")));
                }
                let paths = wanted.iter().map(|at| names[*at].as_str());
                let paths = column_paths(paths, stem, options.prefix.as_ref());
                let numbers = paths.into_iter().map(|path| {
                    series.number(&path, |description| description.unit = options.unit.clone())
                });
                let columns = wanted.iter().copied().zip(numbers).collect();
                Layout::Wide { time, columns }
            }
        };
        let cells_a_row = match &layout {
            Layout::Long(_) => 1,
            Layout::Wide { columns, .. } => columns.len(),
        };
        let block_rows = (BLOCK_CELLS / cells_a_row).max(1);
        let blocks = table.blocks(0, block_rows);
        Ok(Self {
            series,
            blocks: blocks.map_err(|error| SourceError(error.to_string()))?,
            table,
            layout,
            names,
            block_rows,
            prefix: options.prefix.clone(),
            unit: options.unit.clone(),
            row: 0,
            left_out,
        })
    }

    pub(crate) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    pub(crate) fn is_wide(&self) -> bool {
        matches!(self.layout, Layout::Wide { .. })
    }

    pub(crate) fn length(&self) -> u64 {
        self.table.rows()
    }

    pub(crate) fn position(&self) -> Position {
        Position {
            offset: self.row,
            line: self.row + 1,
        }
    }

    pub(crate) fn seek(&mut self, position: Option<Position>) -> Result<(), SourceError> {
        self.row = position.unwrap_or_default().offset;
        let blocks = self.table.blocks(self.row, self.block_rows);
        self.blocks = blocks.map_err(|error| SourceError(error.to_string()))?;
        Ok(())
    }

    pub(crate) fn step(&mut self, sink: &mut dyn Sink) -> Result<bool, SourceError> {
        let block = self.blocks.next_block();
        let Some(block) = block.map_err(|error| SourceError(error.to_string()))? else {
            return Ok(false);
        };
        for row in 0..block.rows {
            let line = self.row + row as u64 + 1;
            if let Err(reason) = self.row(line, &block, row, sink) {
                sink.problem(Place { line, column: None }, reason);
            }
        }
        self.row += block.rows as u64;
        Ok(true)
    }

    fn row(
        &mut self,
        line: u64,
        block: &Block,
        row: usize,
        sink: &mut dyn Sink,
    ) -> Result<(), String> {
        match &self.layout {
            Layout::Long(columns) => {
                let time = time_at(&block.columns[columns.time], row)?;
                let path = block.columns[columns.series].text(row);
                let path = path.ok_or_else(|| "the row names no series".to_owned())?;
                let mut values = columns.values.iter();
                let Some(value) = values.find_map(|at| block.columns[*at].value(row)) else {
                    return Err("the row has no value".to_owned());
                };
                let text = |at: Option<usize>| at.and_then(|at| block.columns[at].text(row));
                let told = Told {
                    unit: text(columns.unit),
                    attributes: text(columns.attributes),
                    default: &self.unit,
                };
                let path = match &self.prefix {
                    Some(prefix) => Cow::Owned(format!("{prefix}/{path}")),
                    None => Cow::Borrowed(path),
                };
                let number = self.series.number(&path, |series| told.describe(series))?;
                let place = Place { line, column: None };
                sink.cell(place, number, time, Cell::Value(value));
            }
            Layout::Wide { time, columns } => {
                let time = time_at(&block.columns[*time], row)?;
                for (at, series) in columns {
                    let place = Place {
                        line,
                        column: Some(&self.names[*at]),
                    };
                    match (block.columns[*at].value(row), series) {
                        (None, _) => {}
                        (Some(value), Ok(series)) => {
                            sink.cell(place, *series, time, Cell::Value(value));
                        }
                        (Some(_), Err(reason)) => sink.problem(place, reason.clone()),
                    }
                }
            }
        }
        Ok(())
    }
}

/// What a row tells of its series.
struct Told<'a> {
    unit: Option<&'a str>,
    attributes: Option<&'a str>,
    default: &'a Unit,
}

impl Told<'_> {
    fn describe(&self, series: &mut SeriesDescription) {
        let unit = self.unit.filter(|unit| !unit.is_empty());
        let unit = unit.and_then(|unit| Unit::new(unit).ok());
        series.unit = unit.unwrap_or_else(|| self.default.clone());
        let attributes: Option<Attributes> = self
            .attributes
            .and_then(|attributes| serde_json::from_str(attributes).ok());
        series.attributes = attributes.unwrap_or_default();
        if series.check().is_err() {
            series.attributes = Attributes::new();
        }
    }
}

/// Why a column cannot be used, for a person.
fn unusable_type(column: &Column) -> String {
    let Column {
        name, type_name, ..
    } = column;
    format!("column {name:?} holds {type_name}, which no reading can have as its value")
}

/// The first column of instants, else one with a usual name.
fn time_column(columns: &[Column]) -> Result<usize, SourceError> {
    let usual = |column: &Column| {
        let name = column.name.to_lowercase();
        ["timestamp", "time", "ts", "date", "datetime"].contains(&name.as_str())
    };
    let typed = columns
        .iter()
        .position(|column| column.is_time && usual(column));
    let typed = typed.or_else(|| columns.iter().position(|column| column.is_time));
    typed
        .or_else(|| columns.iter().position(usual))
        .ok_or_else(|| {
            let known: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            SourceError(format!(
                "no column holds times: name one with --time-column (columns: {})",
                known.join(", ")
            ))
        })
}

/// An instant by its type, else as a CSV file would write it.
fn time_at(cells: &Cells, row: usize) -> Result<Timestamp, String> {
    let time = cells.timestamp(row).or_else(|| match cells.value(row)? {
        Value::Text(text) => times::parse(text.trim()),
        Value::I64(number) => times::parse(&number.to_string()),
        _ => None,
    });
    time.ok_or_else(|| "the row has no time that can be told in ns since 1970".to_owned())
}
