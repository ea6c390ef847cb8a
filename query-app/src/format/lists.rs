//! Lists: latest readings and series. Each is small enough to be held as a whole.

use sensor_model::{SeriesDescription, Timestamp, Token};
use store_wire::message::{Freshness, SeriesInfo};

use crate::client::answer::{LastAnswer, SeriesAnswer};
use crate::client::describe::Described;
use crate::format::Format;
use crate::format::committed::committed;
use crate::format::json::{write_description, write_freshness, write_key, write_text, write_value};
use crate::format::table::{Align, TextTable, cell};
use crate::format::time_text::{TimeStyle, TimeText, write_display};
use crate::format::{csv, json};

/// The latest reading of each series: `series,timestamp,value`.
pub fn last(answer: &LastAnswer, format: Format, style: TimeStyle) -> Vec<u8> {
    let mut out = Vec::new();
    let mut times = TimeText::new(style);
    match format {
        Format::Table => {
            let columns = [
                ("series", Align::Left),
                ("timestamp", Align::Left),
                ("value", Align::Right),
                ("unit", Align::Left),
            ];
            let rows = answer.readings.iter().map(|(series, reading)| {
                vec![
                    series.path.as_str().to_owned(),
                    reading.timestamp.to_string(),
                    cell(Some(&reading.value)),
                    series.unit.to_string(),
                ]
            });
            TextTable::new(columns).page(rows, &mut out);
        }
        Format::Csv => {
            out.extend_from_slice(b"series,timestamp,value\n");
            for (series, reading) in &answer.readings {
                csv::write_field(series.path.as_str(), &mut out);
                out.push(b',');
                times.write(reading.timestamp, &mut out);
                out.push(b',');
                csv::write_value(Some(&reading.value), &mut out);
                out.push(b'\n');
            }
        }
        Format::Json | Format::Ndjson | Format::Arrow => {
            let write = |(series, reading): &(SeriesDescription, sensor_model::Reading),
                         out: &mut Vec<u8>| {
                out.push(b'{');
                write_description(series, out);
                out.push(b',');
                write_key("timestamp", out);
                times.write_json(reading.timestamp, out);
                out.push(b',');
                write_key("value", out);
                write_value(Some(&reading.value), out);
                out.push(b'}');
            };
            json_list(
                "readings",
                &answer.readings,
                (&answer.freshness, answer.token),
                format,
                write,
                &mut out,
            );
        }
    }
    out
}

/// Series with what is known of them: `path,kind,unit,count,first,last,attributes`.
pub fn series(answer: &SeriesAnswer, format: Format, style: TimeStyle) -> Vec<u8> {
    let mut out = Vec::new();
    let mut times = TimeText::new(style);
    match format {
        Format::Table => {
            let columns = [
                ("path", Align::Left),
                ("kind", Align::Left),
                ("unit", Align::Left),
                ("count", Align::Right),
                ("first", Align::Left),
                ("last", Align::Left),
                ("attributes", Align::Left),
            ];
            let text = |time: Option<Timestamp>| time.map(|t| t.to_string()).unwrap_or_default();
            let rows = answer.series.iter().map(|info| {
                vec![
                    info.description.path.as_str().to_owned(),
                    info.description.kind.to_string(),
                    info.description.unit.to_string(),
                    info.count.to_string(),
                    text(info.first),
                    text(last_time(info)),
                    attributes(info),
                ]
            });
            TextTable::new(columns).page(rows, &mut out);
        }
        Format::Csv => {
            out.extend_from_slice(b"path,kind,unit,count,first,last,attributes\n");
            for info in &answer.series {
                csv::write_field(info.description.path.as_str(), &mut out);
                write_display(format_args!(",{},", info.description.kind), &mut out);
                if !info.description.unit.as_str().is_empty() {
                    csv::write_field(info.description.unit.as_str(), &mut out);
                }
                write_display(format_args!(",{}", info.count), &mut out);
                for time in [info.first, last_time(info)] {
                    out.push(b',');
                    if let Some(time) = time {
                        times.write(time, &mut out);
                    }
                }
                out.push(b',');
                if !info.description.attributes.is_empty() {
                    csv::write_field(&attributes(info), &mut out);
                }
                out.push(b'\n');
            }
        }
        Format::Json | Format::Ndjson | Format::Arrow => {
            let write = |info: &SeriesInfo, out: &mut Vec<u8>| write_series(info, &mut times, out);
            json_list(
                "series",
                &answer.series,
                (&answer.freshness, answer.token),
                format,
                write,
                &mut out,
            );
        }
    }
    out
}

/// What a series is since a commit, and the commit's token; in a table and CSV the token alone.
pub fn described(described: &Described, format: Format) -> Vec<u8> {
    if !matches!(format, Format::Json | Format::Ndjson) {
        return committed(described.token, &[], format);
    }
    let mut out = vec![b'{'];
    write_description(&described.series, &mut out);
    out.push(b',');
    write_attributes(&described.series, &mut out);
    let token = described.token;
    write_display(format_args!(",\"token\":\"{token}\"}}\n"), &mut out);
    out
}

fn write_attributes(series: &SeriesDescription, out: &mut Vec<u8>) {
    write_key("attributes", out);
    serde_json::to_writer(&mut *out, &series.attributes).expect("a map of texts is always JSON");
}

/// `key=value;key=value`, ordered by key.
fn attributes(info: &SeriesInfo) -> String {
    let pairs = info.description.attributes.iter();
    let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(";")
}

fn last_time(info: &SeriesInfo) -> Option<Timestamp> {
    info.last.as_ref().map(|reading| reading.timestamp)
}

fn write_series(info: &SeriesInfo, times: &mut TimeText, out: &mut Vec<u8>) {
    out.push(b'{');
    write_description(&info.description, out);
    out.push(b',');
    write_attributes(&info.description, out);
    write_display(format_args!(",\"count\":{}", info.count), out);
    for (name, time) in [("first", info.first), ("last", last_time(info))] {
        out.push(b',');
        write_key(name, out);
        match time {
            Some(time) => times.write_json(time, out),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b',');
    write_key("last_value", out);
    write_value(info.last.as_ref().map(|reading| &reading.value), out);
    out.push(b'}');
}

/// `{"NAME":[…],FRESHNESS}`, or an item a line.
fn json_list<T>(
    name: &str,
    items: &[T],
    (freshness, token): (&Freshness, Token),
    format: Format,
    mut write: impl FnMut(&T, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    if format == Format::Ndjson {
        for item in items {
            write(item, out);
            out.push(b'\n');
        }
        return;
    }
    out.push(b'{');
    write_text(name, out);
    out.extend_from_slice(b":");
    json::write_array(items.iter(), out, write);
    out.push(b',');
    write_freshness(freshness, token, out);
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use sensor_model::{Kind, Reading, SeriesPath, Unit, Value};

    use super::*;

    fn freshness() -> Freshness {
        Freshness {
            replica: 1,
            applied: Token { shard: 0, index: 9 },
            age_ms: None,
        }
    }

    fn description(path: &str, kind: Kind, unit: &str) -> SeriesDescription {
        let mut series = SeriesDescription::new(SeriesPath::new(path).unwrap(), kind);
        series.unit = Unit::new(unit).unwrap();
        series
    }

    fn info(path: &str, kind: Kind, unit: &str) -> SeriesInfo {
        SeriesInfo {
            description: description(path, kind, unit),
            count: 3,
            first: Some(Timestamp::from_nanos(0)),
            last: Some(Reading {
                timestamp: Timestamp::from_nanos(2_000_000_000),
                value: Value::F64(1.5),
            }),
        }
    }

    fn text(out: Vec<u8>) -> String {
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn series_in_every_form_name_path_kind_unit_count_first_last_and_attributes() {
        let mut answer = SeriesAnswer {
            freshness: freshness(),
            token: freshness().applied,
            series: vec![info("a/b", Kind::F64, "Cel")],
        };
        assert_eq!(
            text(series(&answer, Format::Csv, TimeStyle::Rfc3339)),
            "path,kind,unit,count,first,last,attributes\n\
             a/b,f64,Cel,3,1970-01-01T00:00:00.000000000Z,1970-01-01T00:00:02.000000000Z,\n"
        );
        assert_eq!(
            text(series(&answer, Format::Json, TimeStyle::Nanos)),
            concat!(
                r#"{"series":[{"path":"a/b","kind":"f64","unit":"Cel","attributes":{},"#,
                r#""count":3,"first":0,"last":2000000000,"last_value":1.5}],"#,
                r#""replica":1,"applied":9,"age_ms":null,"token":"0-9"}"#,
                "\n"
            )
        );
        let attributes = &mut answer.series[0].description.attributes;
        attributes.insert("line".to_owned(), "1".to_owned());
        attributes.insert("floor".to_owned(), "2, east".to_owned());
        for format in [Format::Table, Format::Csv] {
            let shown = text(series(&answer, format, TimeStyle::Rfc3339));
            assert!(shown.contains("floor=2, east;line=1"), "{shown}");
        }
        let shown = text(series(&answer, Format::Json, TimeStyle::Rfc3339));
        let expected = r#""attributes":{"floor":"2, east","line":"1"}"#;
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn integers_beyond_53_bits_stay_exact_in_json() {
        let answer = LastAnswer {
            freshness: freshness(),
            token: freshness().applied,
            readings: vec![(
                description("a", Kind::I64, ""),
                Reading {
                    timestamp: Timestamp::from_nanos(1),
                    value: Value::I64(i64::MAX),
                },
            )],
        };
        let shown = text(last(&answer, Format::Json, TimeStyle::Nanos));
        assert!(
            shown.contains(r#""timestamp":1,"value":9223372036854775807}"#),
            "{shown}"
        );
    }
}
