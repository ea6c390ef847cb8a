//! CSV (RFC 4180, lines ended by `\n`): a header, then a row a reading or bucket.
//!
//! A missing value is an empty field, an empty text a quoted one, so that the two read back apart.

use sensor_model::Value;

use crate::client::answer::{Part, Summary};
use crate::format::time_text::{TimeStyle, TimeText, write_display};
use crate::format::{FormatError, RangeColumns, RangeFormat};

/// `series,timestamp,value`, or `series,bucket_start,AGG…`; for groups a column a key in place of `series`.
pub struct CsvRange {
    columns: RangeColumns,
    times: TimeText,
    /// `plant/a,` of the open series.
    prefix: Vec<u8>,
}

impl CsvRange {
    pub(crate) fn new(columns: RangeColumns, style: TimeStyle) -> Self {
        Self {
            columns,
            times: TimeText::new(style),
            prefix: Vec::new(),
        }
    }
}

impl RangeFormat for CsvRange {
    fn begin(&mut self, out: &mut Vec<u8>) {
        for head in &self.columns.heads {
            write_field(head, out);
            out.push(b',');
        }
        out.extend_from_slice(self.columns.time.as_bytes());
        for value in &self.columns.values {
            out.push(b',');
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'\n');
    }

    fn part(&mut self, part: &Part, out: &mut Vec<u8>) -> Result<(), FormatError> {
        match part {
            Part::Series(series) => {
                self.prefix = series.path.as_str().into();
                self.prefix.push(b',');
            }
            Part::Group { key, .. } => {
                self.prefix.clear();
                for text in key {
                    // A key that the group has not is an empty field, as any missing value.
                    if let Some(text) = text {
                        write_field(text, &mut self.prefix);
                    }
                    self.prefix.push(b',');
                }
            }
            Part::Readings(columns) => {
                for reading in columns.readings() {
                    out.extend_from_slice(&self.prefix);
                    self.times.write(reading.timestamp, out);
                    out.push(b',');
                    write_value(Some(&reading.value), out);
                    out.push(b'\n');
                }
            }
            Part::Buckets(rows) => {
                for row in rows {
                    out.extend_from_slice(&self.prefix);
                    self.times.write(row.start, out);
                    for value in &row.values {
                        out.push(b',');
                        write_value(value.as_ref(), out);
                    }
                    out.push(b'\n');
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, _summary: &Summary, _out: &mut Vec<u8>) {}
}

/// Appends a value as a field; nothing for a missing one.
pub(crate) fn write_value(value: Option<&Value>, out: &mut Vec<u8>) {
    match value {
        None => {}
        Some(Value::Text(text)) => write_field(text, out),
        Some(value) => write_display(value, out),
    }
}

/// Appends a text as a field, quoted where reading it back needs that.
pub(crate) fn write_field(text: &str, out: &mut Vec<u8>) {
    let plain = |byte: u8| !matches!(byte, b',' | b'"' | b'\n' | b'\r');
    let padded = text.starts_with(' ') || text.ends_with(' ');
    if !text.is_empty() && !padded && text.bytes().all(plain) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sensor_model::{Columns, Kind, SeriesDescription, SeriesPath, Timestamp, Values};

    use super::*;
    use crate::format::columns_of;
    use crate::question::Rows;

    fn written(columns: Columns) -> Vec<u8> {
        let mut format = CsvRange::new(columns_of(&Rows::Readings), TimeStyle::Rfc3339);
        let path = SeriesPath::new("plant/press/value").unwrap();
        let series = SeriesDescription::new(path, columns.kind());
        let mut out = Vec::new();
        format.begin(&mut out);
        format.part(&Part::Series(series), &mut out).unwrap();
        format.part(&Part::Readings(columns), &mut out).unwrap();
        out
    }

    /// What another program's CSV reader finds.
    fn read_back(text: &[u8], kind: Kind) -> Columns {
        let mut reader = csv::Reader::from_reader(text);
        let header: Vec<_> = reader
            .headers()
            .unwrap()
            .iter()
            .map(str::to_owned)
            .collect();
        assert_eq!(header, ["series", "timestamp", "value"]);
        let mut columns = Columns::empty(kind);
        for row in reader.records() {
            let row = row.unwrap();
            assert_eq!(&row[0], "plant/press/value");
            let time = Timestamp::parse(&row[1], Timestamp::from_nanos(0)).unwrap();
            columns
                .push(time, Value::parse(&row[2], kind).unwrap())
                .unwrap();
        }
        columns
    }

    #[test]
    fn the_header_and_a_row_are_as_promised() {
        let out = written(Columns {
            times: vec![1_763_632_800_250_000_000],
            values: Values::F64(vec![21.5]),
        });
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "series,timestamp,value\nplant/press/value,2025-11-20T10:00:00.250000000Z,21.5\n"
        );
    }

    proptest! {
        #[test]
        fn floats_read_back_bit_for_bit(rows in prop::collection::vec((any::<i64>(), any::<u64>()), 0..50)) {
            let rows = rows.into_iter().map(|(time, bits)| (time, f64::from_bits(bits)));
            let (times, numbers): (Vec<i64>, Vec<f64>) = rows.filter(|(_, number)| number.is_finite()).unzip();
            let columns = Columns { times, values: Values::F64(numbers) };
            let back = read_back(&written(columns.clone()), Kind::F64);
            prop_assert_eq!(&back.times, &columns.times);
            for index in 0..columns.len() {
                // `Value` compares bits, which `f64` does not.
                prop_assert_eq!(back.values.value(index), columns.values.value(index));
            }
        }

        #[test]
        fn texts_of_any_characters_read_back(texts in prop::collection::vec(any::<String>(), 0..20)) {
            let times = (0..).take(texts.len()).collect();
            let columns = Columns { times, values: Values::Text(texts) };
            prop_assert_eq!(read_back(&written(columns.clone()), Kind::Text), columns);
        }
    }
}
