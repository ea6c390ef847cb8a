//! How fast chunks are encoded, verified and decoded, and how small they are.
//!
//! `cargo run --release -p column-codec --example codec_speed [FOLDER WITH CSV RECORDINGS]`
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on panics")]

use std::path::Path;
use std::time::{Duration, Instant};

use column_codec::{Scratch, encode_with, parse};
use sensor_model::{Columns, Kind, Timestamp, Values};

const NOW: i64 = 1_763_632_800_123_456_789;
const SECOND: i64 = 1_000_000_000;

fn main() {
    println!("one core, millions of readings a second; one-reading chunks: millions of chunks");
    println!(
        "{:<44}{:>8}{:>8}{:>8}{:>8}{:>8}{:>10}",
        "", "encode", "parse", "stats", "verify", "decode", "B/reading"
    );
    let mut random = Random(1);
    let walk = floats(100_000, walk(&mut random, 1));
    measure("walk of 0.1, 1 Hz, chunks of 1,000", &walk, 1_000);
    measure("walk of 0.1, 1 Hz, chunks of 100", &walk, 100);
    measure("walk of 0.1, 1 Hz, chunks of 16", &walk, 16);
    measure("walk of 0.1, 1 Hz, chunks of 1", &walk, 1);
    let mut jittered = walk;
    for time in &mut jittered.times {
        *time += i64::from(random.below(2_000_000)) - 1_000_000;
    }
    measure("the same, ±1 ms in ns, chunks of 1,000", &jittered, 1_000);
    let fine = floats(100_000, self::walk(&mut random, 100));
    measure("walk of up to 10.0, chunks of 1,000", &fine, 1_000);
    let noise = floats(100_000, || f64::from(random.below(1 << 31)).sqrt());
    measure("noise, chunks of 1,000", &noise, 1_000);
    let mut integers = noise.clone();
    let counter = (0_i64..100_000).map(|at| at * 1_000 + at * at % 97);
    integers.values = Values::I64(counter.collect());
    measure("counter, chunks of 1,000", &integers, 1_000);
    let mut flags = noise.clone();
    flags.values = Values::Bool((0..100_000).map(|at| at / 300 % 2 == 0).collect());
    measure("flag, chunks of 1,000", &flags, 1_000);
    let mut states = noise;
    let state = |at: usize| ["running", "idle", "fault"][at / 50 % 3].to_owned();
    states.values = Values::Text((0..100_000).map(state).collect());
    measure("state, chunks of 1,000", &states, 1_000);
    for folder in std::env::args().skip(1) {
        measure_recordings(Path::new(&folder));
    }
}

/// Deterministic numbers (SplitMix64): a run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from(((mixed >> 32) * u64::from(end)) >> 32).unwrap()
    }
}

/// A walk in steps of -`reach` to `reach` tenths.
fn walk(random: &mut Random, reach: u32) -> impl FnMut() -> f64 {
    let mut tenths = 200_i32;
    move || {
        tenths += i32::try_from(random.below(2 * reach + 1)).unwrap() - reach.cast_signed();
        f64::from(tenths) / 10.0
    }
}

fn floats(count: usize, value: impl FnMut() -> f64) -> Columns {
    Columns {
        times: (0..).map(|at| NOW + at * SECOND).take(count).collect(),
        values: Values::F64(std::iter::repeat_with(value).take(count).collect()),
    }
}

fn measure(what: &str, columns: &Columns, chunk: usize) {
    let chunks: Vec<Columns> = (0..columns.len())
        .step_by(chunk)
        .map(|start| {
            let mut part = Columns::empty(columns.kind());
            part.extend_from(columns, start, columns.len().min(start + chunk));
            part
        })
        .collect();
    let mut scratch = Scratch::new();
    let mut encoded = Vec::new();
    let mut ends = Vec::new();
    let encode = speed(columns.len(), || {
        encoded.clear();
        ends.clear();
        for chunk in &chunks {
            encode_with(chunk, &mut scratch, &mut encoded).unwrap();
            ends.push(encoded.len());
        }
    });
    let parts: Vec<&[u8]> = (0..ends.len())
        .map(|at| &encoded[at.checked_sub(1).map_or(0, |before| ends[before])..ends[at]])
        .collect();
    let mut readings = 0;
    let parsed = speed(columns.len(), || {
        readings += parts
            .iter()
            .map(|part| parse(part).unwrap().count())
            .sum::<usize>();
    });
    let statistics = speed(columns.len(), || {
        for part in &parts {
            std::hint::black_box(parse(part).unwrap().statistics());
        }
    });
    let verify = speed(columns.len(), || {
        for part in &parts {
            parse(part).unwrap().verify(&mut scratch).unwrap();
        }
    });
    let mut decoded = Columns::empty(columns.kind());
    let decode = speed(columns.len(), || {
        for part in &parts {
            let view = parse(part).unwrap();
            view.decode_into(&mut decoded, &mut scratch).unwrap();
        }
    });
    #[expect(clippy::cast_precision_loss, reason = "printed with two decimals")]
    let bytes = encoded.len() as f64 / columns.len() as f64;
    println!(
        "{what:<44}{encode:>8.0}{parsed:>8.0}{statistics:>8.0}{verify:>8.0}{decode:>8.0}{bytes:>10.3}"
    );
    std::hint::black_box(readings);
}

/// Millions of `readings` a second, the best of several rounds.
#[expect(clippy::cast_precision_loss, reason = "printed without decimals")]
fn speed(readings: usize, mut work: impl FnMut()) -> f64 {
    const ROUNDS: usize = 15;
    let times = (0..ROUNDS).map(|_| {
        let started = now();
        work();
        now() - started
    });
    let best = times.min().unwrap_or(Duration::MAX);
    readings as f64 / best.as_secs_f64() / 1e6
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement is of real time, and no simulation runs it"
)]
fn now() -> Instant {
    Instant::now()
}

/// Each numeric column of each CSV file: the time is the field with a colon, values follow it.
fn measure_recordings(folder: &Path) {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .collect();
    paths.sort();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut columns: Vec<Columns> = Vec::new();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line
                .split(',')
                .map(|field| field.trim_matches('"'))
                .collect();
            let at = fields.iter().position(|field| field.contains(':')).unwrap();
            let time = Timestamp::parse(fields[at], Timestamp::from_nanos(0)).unwrap();
            columns.resize(fields.len() - at - 1, Columns::empty(Kind::F64));
            for (column, value) in columns.iter_mut().zip(&fields[at + 1..]) {
                let value = sensor_model::Value::parse(value, Kind::F64).unwrap();
                column.push(time, value).unwrap();
            }
        }
        for (at, column) in columns.iter().enumerate() {
            let name = path.file_stem().unwrap().to_string_lossy();
            measure(&format!("{name} {}", at + 1), column, 1_000);
        }
    }
}
