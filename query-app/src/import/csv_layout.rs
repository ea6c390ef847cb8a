//! Understands a CSV file from its header and first rows.
//!
//! The delimiter is whichever of comma, semicolon and tab the first line has most of, outside quotes. A
//! file with the columns `series` (or `path`), `value` and a time has a reading a row. Any other has a
//! column a series; where the first row has exactly one field more than the header, rows begin with a
//! number that the header does not name.

use csv::ByteRecord;

use super::source::SourceError;
use super::times;

/// Usual names of a time column, in lower case, as `sensor-sim` knows them.
const TIME_NAMES: [&str; 11] = [
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
    "bucket_start",
];

/// Usual names of a first column of row numbers, in lower case.
const ROW_NUMBER_NAMES: [&str; 8] = ["", "#", "no", "no.", "nr", "row", "index", "unnamed: 0"];

/// Where the fields of a row are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Fields of a whole row.
    pub(crate) fields: usize,
    /// The field with the time.
    pub(crate) time: usize,
    pub(crate) rows: RowLayout,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowLayout {
    /// A reading a row.
    Long {
        series: usize,
        value: usize,
        unit: Option<usize>,
    },
    /// A column a series: fields and names.
    Wide(Vec<(usize, String)>),
}

/// The delimiter of a file that begins with `start`.
pub(crate) fn delimiter(start: &[u8]) -> u8 {
    let mut is_quoted = false;
    let mut counts = [(b',', 0_usize), (b';', 0), (b'\t', 0)];
    for byte in start {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' if !is_quoted => break,
            _ if is_quoted => {}
            byte => counts
                .iter_mut()
                .for_each(|(delimiter, count)| *count += usize::from(byte == delimiter)),
        }
    }
    // Of equals the first counts.
    let best = counts.iter().rev().max_by_key(|(_, count)| *count);
    best.map_or(b',', |(delimiter, _)| *delimiter)
}

impl Layout {
    /// Understands a file whose first line is `header`, from its first `rows`.
    pub(crate) fn detect(
        header: &ByteRecord,
        rows: &[ByteRecord],
        time_column: Option<&str>,
        columns: &[String],
    ) -> Result<Self, SourceError> {
        let names: Vec<String> = header.iter().map(text).collect();
        if names.iter().any(|name| times::parse(name).is_some()) {
            let reason = "the first line holds values, not names: add a header line such as series,timestamp,value";
            return Err(SourceError(reason.to_owned()));
        }
        let unnamed = rows.first().is_some_and(|row| row.len() == names.len() + 1);
        let table = Table {
            names: &names,
            offset: usize::from(unnamed),
            rows,
        };
        let time = table.time_column(time_column)?;
        let series = table.named("series").or_else(|| table.named("path"));
        let rows = match (series, table.named("value")) {
            (Some(series), Some(value)) if !unnamed => RowLayout::Long {
                series,
                value,
                unit: table.named("unit"),
            },
            _ => RowLayout::Wide(table.wide(time, columns)?),
        };
        Ok(Self {
            fields: names.len() + table.offset,
            time: time + table.offset,
            rows,
        })
    }
}

struct Table<'a> {
    names: &'a [String],
    /// 1 where rows begin with a field that has no name.
    offset: usize,
    rows: &'a [ByteRecord],
}

impl Table<'_> {
    fn named(&self, name: &str) -> Option<usize> {
        let exact = self.names.iter().position(|known| known == name);
        let same = |known: &String| known.eq_ignore_ascii_case(name);
        exact.or_else(|| self.names.iter().position(same))
    }

    fn required(&self, name: &str) -> Result<usize, SourceError> {
        self.named(name).ok_or_else(|| {
            let known = self.names.join(", ");
            SourceError(format!("there is no column {name:?} (columns: {known})"))
        })
    }

    fn time_column(&self, wanted: Option<&str>) -> Result<usize, SourceError> {
        if let Some(name) = wanted {
            return self.required(name);
        }
        let is_time = |column: &usize| {
            let first = self.first_value(*column);
            first.is_some_and(|text| times::parse(&text).is_some())
        };
        let is_usual =
            |column: &usize| TIME_NAMES.contains(&self.names[*column].to_lowercase().as_str());
        let is_dated = |column: &usize| {
            let first = self.first_value(*column);
            is_time(column) && first.is_some_and(|text| text.parse::<f64>().is_err())
        };
        let mut columns = 0..self.names.len();
        let found = columns
            .clone()
            .find(|column| is_usual(column) && (self.rows.is_empty() || is_time(column)));
        found.or_else(|| columns.find(is_dated)).ok_or_else(|| {
            let known = self.names.join(", ");
            SourceError(format!(
                "no column holds times such as 2026-11-20T10:00:00Z: name one with --time-column (columns: {known})"
            ))
        })
    }

    fn wide(&self, time: usize, wanted: &[String]) -> Result<Vec<(usize, String)>, SourceError> {
        let columns: Vec<usize> = if wanted.is_empty() {
            let is_row_number = |column: usize| {
                let name = self.names[column].to_lowercase();
                column == 0 && ROW_NUMBER_NAMES.contains(&name.as_str())
            };
            let others = (0..self.names.len()).filter(|column| *column != time);
            others.filter(|column| !is_row_number(*column)).collect()
        } else {
            let named = wanted.iter().map(|name| self.required(name));
            named.collect::<Result<_, _>>()?
        };
        if columns.is_empty() {
            return Err(SourceError(
                "there is no column besides the time".to_owned(),
            ));
        }
        let named = columns
            .into_iter()
            .map(|column| (column + self.offset, self.names[column].clone()));
        Ok(named.collect())
    }

    fn first_value(&self, column: usize) -> Option<String> {
        let fields = self
            .rows
            .iter()
            .filter_map(|row| row.get(column + self.offset));
        fields.map(text).find(|text| !text.is_empty())
    }
}

/// A field as text, trimmed. Files in older encodings show their foreign letters as `�`.
fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(lines: &[&[&str]], columns: &[String]) -> Result<Layout, SourceError> {
        let records: Vec<ByteRecord> = lines.iter().map(|line| line.to_vec().into()).collect();
        Layout::detect(&records[0], &records[1..], None, columns)
    }

    #[test]
    fn the_delimiter_is_what_the_first_line_has_most_of() {
        assert_eq!(delimiter(b"a,b,c\n1;2;3;4;5"), b',');
        assert_eq!(delimiter(b"a;\"b,c,d\";e\n"), b';');
        assert_eq!(delimiter(b"a\tb\n"), b'\t');
        assert_eq!(delimiter(b"a\n"), b',');
    }

    #[test]
    fn a_reading_a_row_is_known_by_its_columns_in_any_order() {
        let layout = detected(
            &[&["Value", "path", "time"], &["1", "a", "2026-01-01"]],
            &[],
        );
        let rows = RowLayout::Long {
            series: 1,
            value: 0,
            unit: None,
        };
        let expected = Layout {
            fields: 3,
            time: 2,
            rows,
        };
        assert_eq!(layout.unwrap(), expected);
    }

    #[test]
    fn a_column_a_series_leaves_row_numbers_out_named_or_not() {
        let named = detected(
            &[&["#", "when", "t"], &["1", "2026-01-01 10:00:00", "5"]],
            &[],
        );
        let named = named.unwrap();
        assert_eq!((named.fields, named.time), (3, 1));
        assert_eq!(named.rows, RowLayout::Wide(vec![(2, "t".to_owned())]));
        let unnamed = detected(&[&["date", "t"], &["1", "2026-01-01", "5"]], &[]).unwrap();
        assert_eq!((unnamed.fields, unnamed.time), (3, 1));
        assert_eq!(unnamed.rows, RowLayout::Wide(vec![(2, "t".to_owned())]));
    }

    #[test]
    fn what_is_missing_is_said() {
        let refusal = |lines: &[&[&str]], columns: &[&str]| {
            let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
            detected(lines, &columns).unwrap_err().to_string()
        };
        assert!(refusal(&[&["a", "b"], &["1", "2"]], &[]).contains("--time-column"));
        assert!(refusal(&[&["2026-01-01", "b"]], &[]).contains("header"));
        let named = refusal(&[&["time", "b"], &["2026-01-01", "2"]], &["c"]);
        assert!(named.contains("no column \"c\""), "{named}");
    }
}
