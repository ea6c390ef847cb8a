//! Recordings of real sensors, where they are at hand: bit for bit, and how many bytes they take.

use std::path::{Path, PathBuf};

use column_codec::{Scratch, encode_with, parse};
use sensor_model::{Columns, Kind, Statistics, Timestamp, Values};

use crate::round_trip;

const CHUNK: usize = 1_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data")
}

/// The numeric columns of a recording: the time is the only field with a colon, what follows it counts.
fn columns_of(text: &str) -> Vec<Columns> {
    let mut series: Vec<Columns> = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line
            .split(',')
            .map(|field| field.trim_matches('"'))
            .collect();
        let time_at = fields.iter().position(|field| field.contains(':')).unwrap();
        let time = Timestamp::parse(fields[time_at], Timestamp::from_nanos(0)).unwrap();
        let values = &fields[time_at + 1..];
        series.resize(values.len(), Columns::empty(Kind::F64));
        for (columns, value) in series.iter_mut().zip(values) {
            let Values::F64(floats) = &mut columns.values else {
                unreachable!("made as floats");
            };
            floats.push(value.parse().unwrap());
            columns.times.push(time.as_nanos());
        }
    }
    series
}

fn chunks_of(columns: &Columns, readings: usize) -> Vec<Columns> {
    let starts = (0..columns.len()).step_by(readings);
    let chunk = |start: usize| {
        let mut chunk = Columns::empty(columns.kind());
        chunk.extend_from(columns, start, columns.len().min(start + readings));
        chunk
    };
    starts.map(chunk).collect()
}

#[test]
fn every_recording_comes_back_bit_for_bit() {
    let folder = folder();
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: no recordings in {}", folder.display());
        return;
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
    paths.sort();
    assert!(!paths.is_empty(), "{} has no recordings", folder.display());
    let (mut scratch, mut reused) = (Scratch::new(), Columns::empty(Kind::F64));
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        for (column, columns) in columns_of(&text).iter().enumerate() {
            let mut bytes = 0;
            for chunk in chunks_of(columns, CHUNK) {
                bytes += round_trip::check(&chunk, &mut scratch, &mut reused).len();
            }
            let mut whole = Vec::new();
            encode_with(columns, &mut scratch, &mut whole).unwrap();
            let view = parse(&whole).unwrap();
            assert_eq!(Some(view.statistics()), Statistics::of_columns(columns));
            let per_reading = |bytes: usize| bytes as f64 / columns.len() as f64;
            println!(
                "{name} column {column}: {} readings, {:.2} bytes each in chunks of {CHUNK}, {:.2} as one ({})",
                columns.len(),
                per_reading(bytes),
                per_reading(whole.len()),
                view.encodings().unwrap(),
            );
        }
    }
}
