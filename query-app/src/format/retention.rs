//! Rules of retention, and what they let go, one a row.

use std::time::Duration;

use sensor_model::duration::format_duration;
use serde_json::{Value, json};
use store_wire::message::{Overdue, RetentionRule};

use crate::format::Format;
use crate::format::csv;
use crate::format::nodes::rounded_size;
use crate::format::table::{Align, TextTable};

/// The rules: `pattern,keep`.
pub fn rules(rules: &[RetentionRule], format: Format) -> Vec<u8> {
    let columns = [("pattern", Align::Left), ("keep", Align::Right)];
    let row = |rule: &RetentionRule| vec![json!(rule.pattern.as_str()), json!(kept(rule))];
    listed("rules", &columns, rules.iter().map(row), format)
}

/// What goes by each rule: `pattern,keep,before,segments,bytes,readings`.
pub fn overdue(rules: &[Overdue], format: Format) -> Vec<u8> {
    let columns = [
        ("pattern", Align::Left),
        ("keep", Align::Right),
        ("before", Align::Left),
        ("segments", Align::Right),
        ("bytes", Align::Right),
        ("readings", Align::Right),
    ];
    let row = |overdue: &Overdue| {
        let bytes = match format {
            Format::Table => json!(rounded_size(overdue.bytes)),
            Format::Csv | Format::Json | Format::Ndjson | Format::Arrow => json!(overdue.bytes),
        };
        vec![
            json!(overdue.rule.pattern.as_str()),
            json!(kept(&overdue.rule)),
            json!(overdue.before.to_string()),
            json!(overdue.segments),
            bytes,
            json!(overdue.readings),
        ]
    };
    listed("overdue", &columns, rules.iter().map(row), format)
}

fn kept(rule: &RetentionRule) -> String {
    format_duration(Duration::from_nanos(rule.keep))
}

/// Rows of texts and numbers in any form; `name` is that of the array in a JSON document.
fn listed(
    name: &str,
    columns: &[(&str, Align)],
    rows: impl Iterator<Item = Vec<Value>>,
    format: Format,
) -> Vec<u8> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let titles = || columns.iter().map(|(title, _)| *title);
    let object = |row: Vec<Value>| -> Value {
        let fields = titles().map(str::to_owned).zip(row);
        Value::Object(fields.collect())
    };
    let mut out = Vec::new();
    match format {
        Format::Table => {
            let rows = rows.map(|row| row.into_iter().map(text).collect());
            TextTable::new(columns.iter().copied()).page(rows, &mut out);
        }
        Format::Csv => {
            out.extend_from_slice(titles().collect::<Vec<_>>().join(",").as_bytes());
            out.push(b'\n');
            for row in rows {
                for (position, field) in row.into_iter().enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    csv::write_field(&text(field), &mut out);
                }
                out.push(b'\n');
            }
        }
        Format::Json | Format::Arrow => {
            let document = json!({ name: rows.map(object).collect::<Vec<_>>() });
            out.extend_from_slice(document.to_string().as_bytes());
            out.push(b'\n');
        }
        Format::Ndjson => {
            for row in rows {
                out.extend_from_slice(object(row).to_string().as_bytes());
                out.push(b'\n');
            }
        }
    }
    out
}
