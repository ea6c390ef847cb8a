//! Columns for people, page by page: a page is laid out as a whole and later pages keep at least the
//! widths of the ones before, so that a table of any length needs memory for one page only.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use sensor_model::Value;

use crate::client::answer::{Part, Summary};
use crate::format::{FormatError, RangeColumns, RangeFormat};

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Names and words.
    Left,
    /// Numbers.
    Right,
}

/// A table written page by page.
pub struct TextTable {
    titles: Vec<String>,
    aligns: Vec<CellAlignment>,
    /// Widths of the page before; empty before the first.
    widths: Vec<u16>,
}

impl TextTable {
    /// A table with these columns.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Align)>) -> Self {
        let (titles, aligns) = columns
            .into_iter()
            .map(|(title, align)| match align {
                Align::Left => (title.to_owned(), CellAlignment::Left),
                Align::Right => (title.to_owned(), CellAlignment::Right),
            })
            .unzip();
        Self {
            titles,
            aligns,
            widths: Vec::new(),
        }
    }

    /// Writes rows below those of the page before; the first page has the titles above.
    pub fn page(&mut self, rows: impl IntoIterator<Item = Vec<String>>, out: &mut Vec<u8>) {
        let is_first = self.widths.is_empty();
        let mut page = Table::new();
        page.load_preset(presets::NOTHING)
            .force_no_tty()
            .set_content_arrangement(ContentArrangement::Disabled);
        if is_first {
            page.set_header(&self.titles);
        }
        for row in rows {
            page.add_row(row.iter().map(|cell| printable(cell)).collect::<Vec<_>>());
        }
        if page.row_count() == 0 && !is_first {
            return;
        }
        let mut widths = page.column_max_content_widths();
        for (width, before) in widths.iter_mut().zip(&self.widths) {
            *width = (*width).max(*before);
        }
        for (index, (width, align)) in widths.iter().zip(&self.aligns).enumerate() {
            if let Some(column) = page.column_mut(index) {
                column.set_cell_alignment(*align);
                column
                    .set_padding((0, 2))
                    .set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*width + 2)));
            }
        }
        for line in page.lines() {
            out.extend_from_slice(line.trim_end().as_bytes());
            out.push(b'\n');
        }
        self.widths = widths;
    }
}

/// A cell never breaks a line or steers the terminal, whatever was stored.
fn printable(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.chars()
            .flat_map(|c| {
                let escaped = c.is_control().then(|| c.escape_default());
                let plain = (!c.is_control()).then_some(c);
                escaped.into_iter().flatten().chain(plain)
            })
            .collect()
    } else {
        text.to_owned()
    }
}

/// A value in a cell; empty for a missing one.
pub(crate) fn cell(value: Option<&Value>) -> String {
    value.map(Value::to_string).unwrap_or_default()
}

/// `series  timestamp  value`, a part a page.
pub struct TableRange {
    table: TextTable,
    /// What the rows are of.
    heads: Vec<String>,
    rows: u64,
}

impl TableRange {
    pub(crate) fn new(columns: RangeColumns) -> Self {
        let heads = columns
            .heads
            .iter()
            .map(|name| (name.as_str(), Align::Left));
        let values = columns
            .values
            .iter()
            .map(|name| (name.as_str(), Align::Right));
        let time = [(columns.time, Align::Left)];
        Self {
            table: TextTable::new(heads.chain(time).chain(values)),
            heads: Vec::new(),
            rows: 0,
        }
    }
}

impl RangeFormat for TableRange {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn part(&mut self, part: &Part, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let heads = &self.heads;
        let row = |time: sensor_model::Timestamp, values: Vec<String>| {
            let mut row = heads.clone();
            row.push(time.to_string());
            row.extend(values);
            row
        };
        let rows: Vec<Vec<String>> = match part {
            Part::Series(series) => {
                self.heads = vec![series.path.as_str().to_owned()];
                return Ok(());
            }
            Part::Group { key, .. } => {
                let texts = key.iter().map(|text| text.clone().unwrap_or_default());
                self.heads = texts.collect();
                return Ok(());
            }
            Part::Readings(columns) => columns
                .readings()
                .map(|reading| row(reading.timestamp, vec![cell(Some(&reading.value))]))
                .collect(),
            Part::Buckets(rows) => rows
                .iter()
                .map(|bucket| {
                    let values = bucket.values.iter().map(|value| cell(value.as_ref()));
                    row(bucket.start, values.collect())
                })
                .collect(),
        };
        self.rows += rows.len() as u64;
        if !rows.is_empty() {
            self.table.page(rows, out);
        }
        Ok(())
    }

    fn end(&mut self, _summary: &Summary, out: &mut Vec<u8>) {
        if self.rows == 0 {
            self.table.page([], out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pages: &[&[[&str; 2]]]) -> String {
        let mut table = TextTable::new([("series", Align::Left), ("value", Align::Right)]);
        let mut out = Vec::new();
        for page in pages {
            let rows = page
                .iter()
                .map(|row| row.iter().map(|cell| (*cell).to_owned()).collect());
            table.page(rows.collect::<Vec<_>>(), &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_stand_to_the_right_and_later_pages_keep_the_widths() {
        assert_eq!(
            text(&[&[["a/long/path", "21.5"], ["b", "3"]], &[["c", "4"]]]),
            concat!(
                "series       value\n",
                "a/long/path   21.5\n",
                "b                3\n",
                "c                4\n",
            )
        );
    }

    #[test]
    fn an_empty_table_has_its_titles() {
        assert_eq!(text(&[&[]]), "series  value\n");
    }

    #[test]
    fn a_stored_text_cannot_steer_the_terminal() {
        let shown = text(&[&[["a", "\u{1b}[2J\nfoo"]]]);
        assert!(
            !shown.contains('\u{1b}') && shown.lines().count() == 2,
            "{shown:?}"
        );
        assert!(shown.contains(r"\u{1b}[2J\nfoo"), "{shown:?}");
    }
}
