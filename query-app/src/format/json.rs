//! One JSON document: `{"series":[…],"replica":…,"applied":…,"age_ms":…,"token":…,"truncated":…}`.
//!
//! Numbers are written as exact text: integers of 64 bits whole, floats in the shortest form that
//! reads back. What JSON cannot say (an infinite sum) is `null`.

use sensor_model::{
    Aggregate, Bucket, Columns, GroupKey, Kind, SeriesDescription, Token, Value, Values,
};
use store_wire::message::Freshness;

use crate::client::answer::{Part, Summary};
use crate::format::time_text::{TimeStyle, TimeText, write_display};
use crate::format::{FormatError, RangeFormat};
use crate::question::{Buckets, Rows};

/// Most rows of one series that are held at once: times and values are two arrays, and the second
/// can only be written when the first is whole.
pub const SERIES_ROWS_MAX: usize = 1_000_000;

/// Most bytes of one series that are held at once, of which a row of readings takes 16 and its text, one of
/// buckets 8 and 24 a value and their texts.
pub const SERIES_BYTES_MAX: usize = 64 << 20;

/// Writes a range as one document. Holds one series.
pub struct JsonRange {
    rows: Rows,
    freshness: Freshness,
    times: TimeText,
    open: Option<OpenSeries>,
    series: u64,
    rows_max: usize,
    bytes_max: usize,
}

struct OpenSeries {
    head: Part,
    bytes: usize,
    readings: Columns,
    buckets: Vec<Bucket>,
}

impl JsonRange {
    pub(crate) fn new(rows: Rows, freshness: Freshness, style: TimeStyle) -> Self {
        Self {
            rows,
            freshness,
            times: TimeText::new(style),
            open: None,
            series: 0,
            rows_max: SERIES_ROWS_MAX,
            bytes_max: SERIES_BYTES_MAX,
        }
    }

    fn close_series(&mut self, out: &mut Vec<u8>) {
        let Some(open) = self.open.take() else { return };
        if self.series > 0 {
            out.push(b',');
        }
        self.series += 1;
        out.push(b'{');
        match (&open.head, &self.rows) {
            (Part::Group { key, series }, Rows::Buckets(Buckets { by: Some(keys), .. })) => {
                let heads: Vec<String> = keys.iter().map(GroupKey::to_string).collect();
                write_group(&heads, key, out);
                out.push(b',');
                write_key("series", out);
                write_display(series, out);
            }
            (Part::Series(series), _) => write_description(series, out),
            _ => {}
        }
        match &self.rows {
            Rows::Readings => write_readings(&open.readings, &mut self.times, out),
            Rows::Buckets(buckets) => {
                write_buckets(&open.buckets, &buckets.aggregates, &mut self.times, out);
            }
        }
        out.push(b'}');
    }
}

impl RangeFormat for JsonRange {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut rows_of = "series";
        if let Rows::Buckets(buckets) = &self.rows {
            write_key("every", out);
            write_text(&buckets.every.to_string(), out);
            out.push(b',');
            if let Some(zone) = buckets.zone {
                write_key("tz", out);
                write_text(zone.name(), out);
                out.push(b',');
            }
            if buckets.by.is_some() {
                rows_of = "groups";
            }
        }
        write_key(rows_of, out);
        out.push(b'[');
    }

    fn part(&mut self, part: &Part, out: &mut Vec<u8>) -> Result<(), FormatError> {
        match part {
            Part::Series(_) | Part::Group { .. } => {
                self.close_series(out);
                let kind = match part {
                    Part::Series(series) => series.kind,
                    _ => Kind::F64,
                };
                self.open = Some(OpenSeries {
                    head: part.clone(),
                    bytes: 0,
                    readings: Columns::empty(kind),
                    buckets: Vec::new(),
                });
                return Ok(());
            }
            Part::Readings(columns) => {
                if let Some(open) = &mut self.open {
                    open.bytes += columns.len() * 16;
                    if let Values::Text(texts) = &columns.values {
                        open.bytes += texts.iter().map(|text| text.len()).sum::<usize>();
                    }
                    open.readings.extend_from(columns, 0, columns.len());
                }
            }
            Part::Buckets(rows) => {
                if let Some(open) = &mut self.open {
                    let values = rows.iter().flat_map(|row| &row.values);
                    open.bytes += rows.len() * 8 + values.map(bytes_of).sum::<usize>();
                    open.buckets.extend_from_slice(rows);
                }
            }
        }
        match &self.open {
            Some(open)
                if open.readings.len().max(open.buckets.len()) > self.rows_max
                    || open.bytes > self.bytes_max =>
            {
                Err(FormatError::SeriesTooLong {
                    path: match &open.head {
                        Part::Series(series) => series.path.as_str().to_owned(),
                        _ => "of a group".to_owned(),
                    },
                    rows_max: self.rows_max,
                    bytes_max: self.bytes_max,
                })
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, summary: &Summary, out: &mut Vec<u8>) {
        self.close_series(out);
        out.extend_from_slice(b"],");
        write_freshness(&self.freshness, summary.token, out);
        out.push(b',');
        write_key("truncated", out);
        write_display(summary.truncated, out);
        if let Some(next) = &summary.next {
            out.push(b',');
            write_key("next", out);
            write_text(&next.to_string(), out);
        }
        out.extend_from_slice(b"}\n");
    }
}

fn bytes_of(value: &Option<Value>) -> usize {
    let text = match value {
        Some(Value::Text(text)) => text.len(),
        _ => 0,
    };
    size_of::<Option<Value>>() + text
}

fn write_readings(columns: &Columns, times: &mut TimeText, out: &mut Vec<u8>) {
    out.push(b',');
    write_key("timestamps", out);
    write_array(columns.times.iter(), out, |time, out| {
        times.write_json(sensor_model::Timestamp::from_nanos(*time), out);
    });
    out.push(b',');
    write_key("values", out);
    write_array(columns.readings(), out, |reading, out| {
        write_value(Some(&reading.value), out);
    });
}

fn write_buckets(
    rows: &[Bucket],
    aggregates: &[Aggregate],
    times: &mut TimeText,
    out: &mut Vec<u8>,
) {
    out.push(b',');
    write_key("bucket_starts", out);
    write_array(rows.iter(), out, |row, out| {
        times.write_json(row.start, out)
    });
    for (column, aggregate) in aggregates.iter().enumerate() {
        out.push(b',');
        write_key(&aggregate.to_string(), out);
        write_array(rows.iter(), out, |row, out| {
            write_value(row.values.get(column).and_then(Option::as_ref), out);
        });
    }
}

pub(crate) fn write_array<T>(
    items: impl Iterator<Item = T>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    out.push(b'[');
    for (position, item) in items.enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

/// `"path":…,"kind":…,"unit":…`.
pub(crate) fn write_description(series: &SeriesDescription, out: &mut Vec<u8>) {
    write_key("path", out);
    write_text(series.path.as_str(), out);
    out.push(b',');
    write_key("kind", out);
    write_text(series.kind.as_str(), out);
    out.push(b',');
    write_key("unit", out);
    write_text(series.unit.as_str(), out);
}

/// `"group":{…}`, a text or `null` for each key.
pub(crate) fn write_group(heads: &[String], key: &[Option<String>], out: &mut Vec<u8>) {
    write_key("group", out);
    out.push(b'{');
    for (position, (head, text)) in heads.iter().zip(key).enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_key(head, out);
        match text {
            Some(text) => write_text(text, out),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
}

/// `"replica":…,"applied":…,"age_ms":…,"token":…`.
pub(crate) fn write_freshness(freshness: &Freshness, token: Token, out: &mut Vec<u8>) {
    write_key("replica", out);
    write_display(freshness.replica, out);
    out.push(b',');
    write_key("applied", out);
    write_display(freshness.applied.index, out);
    out.push(b',');
    write_key("age_ms", out);
    match freshness.age_ms {
        Some(age_ms) => write_display(age_ms, out),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b',');
    write_key("token", out);
    write_text(&token.to_string(), out);
}

/// `"name":`.
pub(crate) fn write_key(name: &str, out: &mut Vec<u8>) {
    write_text(name, out);
    out.push(b':');
}

/// A quoted, escaped text.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a text is always JSON and a Vec takes every byte");
}

/// A value; `null` for a missing one and for a float that is not finite.
pub(crate) fn write_value(value: Option<&Value>, out: &mut Vec<u8>) {
    match value {
        None => out.extend_from_slice(b"null"),
        Some(Value::Text(text)) => write_text(text, out),
        Some(Value::F64(number)) if !number.is_finite() => out.extend_from_slice(b"null"),
        Some(value) => write_display(value, out),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use proptest::prelude::*;
    use sensor_model::{Grid, SeriesPath, Timestamp};
    use serde_json::value::RawValue;

    use crate::question::calendar::Every;

    use super::*;

    fn freshness() -> Freshness {
        Freshness {
            replica: 2,
            applied: Token {
                shard: 0,
                index: 123,
            },
            age_ms: Some(4),
        }
    }

    fn document(rows: Rows, parts: &[Part]) -> String {
        let mut format = JsonRange::new(rows, freshness(), TimeStyle::Rfc3339);
        let mut out = Vec::new();
        format.begin(&mut out);
        for part in parts {
            format.part(part, &mut out).unwrap();
        }
        let summary = Summary {
            truncated: false,
            next: None,
            token: Token {
                shard: 0,
                index: 125,
            },
        };
        format.end(&summary, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn series(path: &str, kind: Kind) -> Part {
        Part::Series(SeriesDescription::new(SeriesPath::new(path).unwrap(), kind))
    }

    #[test]
    fn readings_are_two_arrays_a_series_then_the_freshness() {
        let readings = |time, number| {
            Part::Readings(Columns {
                times: vec![time],
                values: Values::F64(vec![number]),
            })
        };
        let text = document(
            Rows::Readings,
            &[
                series("a", Kind::F64),
                readings(0, 21.5),
                readings(1, -0.0),
                series("b", Kind::F64),
            ],
        );
        assert_eq!(
            text,
            concat!(
                r#"{"series":[{"path":"a","kind":"f64","unit":"","#,
                r#""timestamps":["1970-01-01T00:00:00.000000000Z","1970-01-01T00:00:00.000000001Z"],"#,
                r#""values":[21.5,-0]},{"path":"b","kind":"f64","unit":"","timestamps":[],"values":[]}],"#,
                r#""replica":2,"applied":123,"age_ms":4,"token":"0-125","truncated":false}"#,
                "\n"
            )
        );
    }

    #[test]
    fn buckets_are_an_array_an_aggregate_with_null_where_there_is_no_value() {
        let rows = Rows::Buckets(Buckets {
            every: Every::Fixed(std::time::Duration::from_secs(60)),
            zone: None,
            grid: Grid::Every(NonZeroU64::new(60_000_000_000).unwrap()),
            aggregates: vec![Aggregate::Mean, Aggregate::Count],
            fill: crate::question::Fill::Null,
            fill_max: None,
            by: None,
        });
        let row = |start, mean: Option<f64>, count| Bucket {
            start: Timestamp::from_nanos(start),
            values: vec![mean.map(Value::F64), Some(Value::I64(count))],
        };
        let text = document(
            rows,
            &[
                series("a", Kind::F64),
                Part::Buckets(vec![
                    row(0, Some(1.5), 2),
                    row(60, None, 0),
                    row(120, Some(f64::INFINITY), 2),
                ]),
            ],
        );
        assert!(
            text.starts_with(r#"{"every":"1m","series":[{"path":"a""#),
            "{text}"
        );
        assert!(
            text.contains(r#""mean":[1.5,null,null],"count":[2,0,2]}"#),
            "{text}"
        );
    }

    #[test]
    fn a_series_over_the_bound_is_refused_by_name() {
        let mut format = JsonRange::new(Rows::Readings, freshness(), TimeStyle::Nanos);
        format.rows_max = 2;
        let mut out = Vec::new();
        format.part(&series("a/b", Kind::Bool), &mut out).unwrap();
        let readings = |count| {
            Part::Readings(Columns {
                times: vec![0; count],
                values: Values::Bool(vec![true; count]),
            })
        };
        format.part(&readings(2), &mut out).unwrap();
        let refused = format.part(&readings(1), &mut out).unwrap_err();
        assert!(refused.to_string().contains("a/b"), "{refused}");
    }

    #[test]
    fn a_series_whose_texts_are_over_the_bound_is_refused() {
        for (bytes_max, fits) in [(2 * (16 + 5), true), (2 * (16 + 5) - 1, false)] {
            let mut format = JsonRange::new(Rows::Readings, freshness(), TimeStyle::Nanos);
            format.bytes_max = bytes_max;
            let mut out = Vec::new();
            format.part(&series("a/b", Kind::Text), &mut out).unwrap();
            let readings = Part::Readings(Columns {
                times: vec![0, 1],
                values: Values::Text(vec!["words".into(), "again".into()]),
            });
            assert_eq!(format.part(&readings, &mut out).is_ok(), fits);
        }
    }

    proptest! {
        #[test]
        fn numbers_read_back_bit_for_bit(integer in any::<i64>(), bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            for value in [Value::I64(integer), Value::F64(number)] {
                let mut out = Vec::new();
                write_value(Some(&value), &mut out);
                let raw: &RawValue = serde_json::from_slice(&out).unwrap();
                prop_assert_eq!(Value::parse(raw.get(), value.kind()).unwrap(), value);
            }
        }
    }
}
