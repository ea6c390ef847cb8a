//! One JSON document a line, one line a row: for programs that read as it comes.

use crate::client::answer::{Part, Summary};
use crate::format::json::{write_group, write_key, write_text, write_value};
use crate::format::time_text::{TimeStyle, TimeText};
use crate::format::{FormatError, RangeColumns, RangeFormat};

/// `{"path":…,"timestamp":…,"value":…}`, or `{"path":…,"bucket_start":…,"mean":…}`; of a group
/// `{"group":{…},"bucket_start":…,"mean":…}`.
pub struct NdjsonRange {
    columns: RangeColumns,
    times: TimeText,
    /// `{"path":"…","timestamp":` of the open series.
    prefix: Vec<u8>,
}

impl NdjsonRange {
    pub(crate) fn new(columns: RangeColumns, style: TimeStyle) -> Self {
        Self {
            columns,
            times: TimeText::new(style),
            prefix: Vec::new(),
        }
    }

    fn open(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.prefix.clear();
        self.prefix.push(b'{');
        write(&mut self.prefix);
        self.prefix.push(b',');
        write_key(self.columns.time, &mut self.prefix);
    }
}

impl RangeFormat for NdjsonRange {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn part(&mut self, part: &Part, out: &mut Vec<u8>) -> Result<(), FormatError> {
        match part {
            Part::Series(series) => self.open(|out| {
                write_key("path", out);
                write_text(series.path.as_str(), out);
            }),
            Part::Group { key, .. } => {
                let heads = self.columns.heads.clone();
                self.open(|out| write_group(&heads, key, out));
            }
            Part::Readings(columns) => {
                for reading in columns.readings() {
                    out.extend_from_slice(&self.prefix);
                    self.times.write_json(reading.timestamp, out);
                    out.extend_from_slice(b",\"value\":");
                    write_value(Some(&reading.value), out);
                    out.extend_from_slice(b"}\n");
                }
            }
            Part::Buckets(rows) => {
                for row in rows {
                    out.extend_from_slice(&self.prefix);
                    self.times.write_json(row.start, out);
                    for (name, value) in self.columns.values.iter().zip(&row.values) {
                        out.push(b',');
                        write_key(name, out);
                        write_value(value.as_ref(), out);
                    }
                    out.extend_from_slice(b"}\n");
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, _summary: &Summary, _out: &mut Vec<u8>) {}
}

#[cfg(test)]
mod tests {
    use sensor_model::{Columns, Kind, SeriesDescription, SeriesPath, Values};

    use super::*;
    use crate::format::columns_of;
    use crate::question::Rows;

    #[test]
    fn each_row_is_a_document_of_its_own() {
        let mut format = NdjsonRange::new(columns_of(&Rows::Readings), TimeStyle::Millis);
        let path = SeriesPath::new("line/state").unwrap();
        let mut out = Vec::new();
        let series = SeriesDescription::new(path, Kind::Text);
        format.part(&Part::Series(series), &mut out).unwrap();
        let columns = Columns {
            times: vec![2_000_000, 3_000_000],
            values: Values::Text(vec!["say \"go\"\n".to_owned(), String::new()]),
        };
        format.part(&Part::Readings(columns), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"path":"line/state","timestamp":2,"value":"say \"go\"\n"}"#,
                "\n",
                r#"{"path":"line/state","timestamp":3,"value":""}"#,
                "\n"
            )
        );
    }
}
