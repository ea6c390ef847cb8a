//! Chunks: made at the edge, checked by the leader, decoded by a scan.

use std::hint::black_box;
use std::time::Duration;

use column_codec::{Scratch, encode_with, parse};
use sensor_model::{Columns, Kind};

use crate::Work;
use crate::history::{CHUNK, Readings, chunk_of};

/// As long as segments have them.
const SEALED_CHUNK: u32 = 4_096;

fn columns(count: u32, chunk: u32) -> Vec<Columns> {
    let readings = Readings {
        series: 1,
        count,
        period: Duration::from_secs(1),
    };
    readings.columns(chunk).concat()
}

fn chunks(count: u32, chunk: u32) -> Vec<Vec<u8>> {
    let mut scratch = Scratch::new();
    let runs = columns(count, chunk);
    runs.iter().map(|run| chunk_of(run, &mut scratch)).collect()
}

fn of_readings(units: u32, once: impl FnMut() + 'static) -> Work {
    Work {
        unit: "reading",
        units: units as usize,
        once: Box::new(once),
    }
}

pub(crate) fn encode() -> Work {
    encode_runs(50 * CHUNK, CHUNK)
}

pub(crate) fn encode_single() -> Work {
    encode_runs(5_000, 1)
}

fn encode_runs(count: u32, chunk: u32) -> Work {
    let runs = columns(count, chunk);
    let (mut scratch, mut encoded) = (Scratch::new(), Vec::new());
    of_readings(count, move || {
        encoded.clear();
        for run in &runs {
            encode_with(run, &mut scratch, &mut encoded).unwrap();
        }
        black_box(&encoded);
    })
}

/// What the leader does with each chunk that comes in.
pub(crate) fn verify() -> Work {
    const COUNT: u32 = 50 * CHUNK;
    let chunks = chunks(COUNT, CHUNK);
    let mut scratch = Scratch::new();
    of_readings(COUNT, move || {
        for chunk in &chunks {
            parse(chunk).unwrap().verify(&mut scratch).unwrap();
        }
    })
}

pub(crate) fn decode() -> Work {
    const COUNT: u32 = 16 * SEALED_CHUNK;
    let chunks = chunks(COUNT, SEALED_CHUNK);
    let (mut scratch, mut decoded) = (Scratch::new(), Columns::empty(Kind::F64));
    of_readings(COUNT, move || {
        for chunk in &chunks {
            let view = parse(chunk).unwrap();
            view.decode_into(&mut decoded, &mut scratch).unwrap();
            black_box(&decoded);
        }
    })
}
