//! Tokens of the HTTP API, one a row.

use sensor_model::{Pattern, Timestamp};
use serde_json::{Value, json};

use crate::format::Format;
use crate::format::csv;
use crate::format::table::{Align, TextTable};
use crate::tokens::{Created, Known};

/// A token that was just made: the only time it is written.
pub fn created(created: &Created, format: Format) -> Vec<u8> {
    let (id, secret) = (&created.id, &created.secret);
    match format {
        Format::Table => format!("{secret}\n").into_bytes(),
        Format::Csv => format!("id,token\n{id},{secret}\n").into_bytes(),
        Format::Json | Format::Ndjson | Format::Arrow => {
            let commit = created.token.to_string();
            format!("{}\n", json!({"id": id, "token": secret, "commit": commit})).into_bytes()
        }
    }
}

/// Every token, as it is at `now`.
pub fn list(tokens: &[Known], now: Timestamp, format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        Format::Table => {
            let columns = COLUMNS.map(|title| (title, Align::Left));
            TextTable::new(columns).page(tokens.iter().map(|known| row(known, now)), &mut out);
        }
        Format::Csv => {
            out.extend_from_slice(COLUMNS.join(",").as_bytes());
            out.push(b'\n');
            for known in tokens {
                for (position, field) in row(known, now).iter().enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    if !field.is_empty() {
                        csv::write_field(field, &mut out);
                    }
                }
                out.push(b'\n');
            }
        }
        Format::Json => {
            let tokens: Vec<Value> = tokens.iter().map(|known| document(known, now)).collect();
            out.extend_from_slice(json!({ "tokens": tokens }).to_string().as_bytes());
            out.push(b'\n');
        }
        Format::Ndjson | Format::Arrow => {
            for known in tokens {
                out.extend_from_slice(document(known, now).to_string().as_bytes());
                out.push(b'\n');
            }
        }
    }
    out
}

const COLUMNS: [&str; 9] = [
    "id", "name", "state", "read", "write", "delete", "admin", "created", "expires",
];

fn row(known: &Known, now: Timestamp) -> Vec<String> {
    let mut row = vec![
        known.id.clone(),
        String::new(),
        state(known, now).to_owned(),
    ];
    row.resize(COLUMNS.len(), String::new());
    row[7] = known.created.to_string();
    if let Some(record) = &known.record {
        let joined = |patterns: &[Pattern]| {
            let patterns: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
            patterns.join(" ")
        };
        row[1].clone_from(&record.name);
        row[3] = joined(&record.scopes.read);
        row[4] = joined(&record.scopes.write);
        row[5] = joined(&record.scopes.delete);
        row[6] = if record.scopes.admin { "yes" } else { "" }.to_owned();
        row[8] = record
            .expires
            .map(|time| time.to_string())
            .unwrap_or_default();
    }
    row
}

fn document(known: &Known, now: Timestamp) -> Value {
    let record = known.record.as_ref();
    let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "id": known.id,
        "name": record.map(|record| &record.name),
        "state": state(known, now),
        "scopes": record.map(|record| &record.scopes),
        "created": known.created.to_string(),
        "expires": text(record.and_then(|record| record.expires)),
        "revoked": text(record.and_then(|record| record.revoked)),
    })
}

fn state(known: &Known, now: Timestamp) -> &'static str {
    match &known.record {
        None => "unreadable",
        Some(record) if record.revoked.is_some() => "revoked",
        Some(record) if record.is_expired(now) => "expired",
        Some(_) => "valid",
    }
}
