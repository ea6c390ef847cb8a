//! Live readings as text: rows, or JSON with the position after each of them.

use sensor_model::Timestamp;

use crate::client::answer::Part;
use crate::client::tail::Tailed;
use crate::format::csv::CsvRange;
use crate::format::json::{write_key, write_text, write_value};
use crate::format::table::TableRange;
use crate::format::time_text::{TimeStyle, TimeText, write_display};
use crate::format::{Format, FormatError, RangeFormat, columns_of};
use crate::question::Rows;

/// Writes live readings, some at a time: a table, CSV, a JSON array a line, or a JSON document a line.
pub struct LiveFormat {
    form: Form,
}

enum Form {
    Rows(Box<dyn RangeFormat>),
    Arrays(LiveJson),
    Lines(LiveJson),
}

impl LiveFormat {
    /// A writer in `format`.
    pub fn new(format: Format, style: TimeStyle) -> Self {
        let columns = columns_of(&Rows::Readings);
        let form = match format {
            Format::Table => Form::Rows(Box::new(TableRange::new(columns))),
            Format::Csv => Form::Rows(Box::new(CsvRange::new(columns, style))),
            Format::Json | Format::Arrow => Form::Arrays(LiveJson::new(style)),
            Format::Ndjson => Form::Lines(LiveJson::new(style)),
        };
        Self { form }
    }

    /// Writes what comes first.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Form::Rows(rows) = &mut self.form {
            rows.begin(out);
        }
    }

    /// Writes some readings.
    ///
    /// # Errors
    /// None of the forms refuses readings.
    pub fn readings(&mut self, tailed: &Tailed, out: &mut Vec<u8>) -> Result<(), FormatError> {
        match &mut self.form {
            Form::Rows(rows) => {
                rows.part(&Part::Series((*tailed.series).clone()), out)?;
                rows.part(&Part::Readings(tailed.columns.clone()), out)?;
            }
            Form::Arrays(json) => {
                out.push(b'[');
                for at in 0..tailed.columns.len() {
                    if at > 0 {
                        out.push(b',');
                    }
                    json.element(tailed, at, out);
                }
                out.extend_from_slice(b"]\n");
            }
            Form::Lines(json) => {
                for at in 0..tailed.columns.len() {
                    json.element(tailed, at, out);
                    out.push(b'\n');
                }
            }
        }
        Ok(())
    }
}

/// Writes readings as JSON: `{"path":…,"timestamp":…,"value":…,"position":…}`.
pub(crate) struct LiveJson {
    times: TimeText,
}

impl LiveJson {
    pub(crate) fn new(style: TimeStyle) -> Self {
        Self {
            times: TimeText::new(style),
        }
    }

    /// Appends the reading `at` of `tailed`. Without a position where it is not possible to go on.
    pub(crate) fn element(&mut self, tailed: &Tailed, at: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        write_key("path", out);
        write_text(tailed.series.path.as_str(), out);
        out.push(b',');
        write_key("timestamp", out);
        let time = Timestamp::from_nanos(tailed.columns.times[at]);
        self.times.write_json(time, out);
        out.push(b',');
        write_key("value", out);
        write_value(tailed.columns.values.value(at).as_ref(), out);
        if let Some(position) = tailed.position(at) {
            out.push(b',');
            write_key("position", out);
            out.push(b'"');
            write_display(position, out);
            out.push(b'"');
        }
        out.push(b'}');
    }
}
