//! Batches that may not be taken, and those that just may.

use proptest::prelude::*;
use sensor_model::{Columns, Values};
use store_wire::batch::{BATCH_BYTES_MAX, BATCH_READINGS_MAX, BatchBuilder};

use super::*;
use crate::command::Command;

const POSITION: Position<'_> = Position {
    producer: "device/a",
    epoch: 1,
    sequence: 1,
    skipped: 0,
    dropped_readings: 0,
};

fn series(kind: Kind, id: Option<u64>) -> Declared {
    Declared {
        path: SeriesPath::new("plant/press/pressure").unwrap(),
        kind,
        id: id.map(SeriesId),
    }
}

fn chunk(columns: &Columns) -> Vec<u8> {
    let mut bytes = Vec::new();
    column_codec::encode(columns, &mut bytes).unwrap();
    bytes
}

fn floats(count: usize) -> Columns {
    Columns {
        times: (0..).take(count).collect(),
        values: Values::F64((0..count).map(|value| value as f64).collect()),
    }
}

fn batch(chunks: &[(u64, &[u8])]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for (number, chunk) in chunks {
        builder.add(*number, chunk, 1).unwrap();
    }
    builder.finish()
}

/// Takes `body`; number 7 stands for an open series of floats, number 8 for a refused one.
fn take(body: Bytes) -> Result<Taken, IntakeError> {
    let (open, refused) = (series(Kind::F64, Some(40)), series(Kind::F64, None));
    Intake::default().take(body, Some(&POSITION), |number| match number {
        7 => Some(&open),
        8 => Some(&refused),
        _ => None,
    })
}

fn refusal(body: Bytes) -> WireError {
    take(body).unwrap_err().into()
}

#[test]
fn what_is_taken_stands_in_the_command_under_the_clusters_ids() {
    let bytes = chunk(&floats(100));
    let taken = take(batch(&[(7, &bytes), (7, &bytes)])).unwrap();
    assert_eq!((taken.readings, taken.refused), (200, vec![]));
    let Ok(Command::Append(append)) = Command::parse(&taken.payload) else {
        panic!("no batch")
    };
    assert_eq!(append.position, Some(POSITION));
    let chunks: Vec<(u64, &[u8])> = append.batch.chunks().slices().collect();
    assert_eq!(chunks, [(40, &bytes[..]), (40, &bytes[..])]);
}

#[test]
fn chunks_of_a_refused_series_are_left_out_and_counted() {
    let (three, five) = (chunk(&floats(3)), chunk(&floats(5)));
    let taken = take(batch(&[(8, &three), (7, &five), (8, &five)])).unwrap();
    assert_eq!((taken.readings, taken.refused), (5, vec![(8, 8)]));

    let taken = take(batch(&[(8, &three)])).unwrap();
    assert_eq!((taken.readings, taken.refused), (0, vec![(8, 3)]));
    let Ok(Command::Append(append)) = Command::parse(&taken.payload) else {
        panic!("nothing is proposed in its place")
    };
    assert_eq!(append.batch.count(), 0);
}

#[test]
fn nan_is_refused_and_the_series_is_named() {
    let mut single = chunk(&floats(1));
    // A float as bits: the last eight bytes of a chunk of one reading.
    single = {
        let mut odd = Columns {
            times: vec![5],
            values: Values::F64(vec![f64::from_bits(0x4009_21fb_5444_2d19)]),
        };
        odd.times[0] = 5;
        let mut bytes = chunk(&odd);
        assert!(bytes.len() > single.len());
        let at = bytes.len() - 8;
        bytes[at..].copy_from_slice(&f64::NAN.to_bits().to_le_bytes());
        bytes
    };
    let error = refusal(batch(&[(7, &single)]));
    assert_eq!(error.code, ErrorCode::BadRequest);
    assert!(
        error.message.contains("plant/press/pressure") && error.message.contains("not finite"),
        "{error}"
    );
}

#[test]
fn a_chunk_of_another_kind_is_refused_and_both_kinds_are_named() {
    let flags = Columns {
        times: vec![1],
        values: Values::Bool(vec![true]),
    };
    let error = refusal(batch(&[(7, &chunk(&flags))]));
    assert_eq!(error.code, ErrorCode::KindMismatch);
    assert!(
        error.message.contains("bool") && error.message.contains("f64"),
        "{error}"
    );
}

#[test]
fn an_undeclared_number_is_refused_and_named() {
    let error = refusal(batch(&[(99, &chunk(&floats(1)))]));
    assert_eq!(error.code, ErrorCode::BadRequest);
    assert!(error.message.contains("99"), "{error}");
}

#[test]
fn a_batch_holds_65536_readings_and_not_one_more() {
    let most = usize::try_from(BATCH_READINGS_MAX).unwrap();
    let (whole, one) = (chunk(&floats(most)), chunk(&floats(1)));
    assert_eq!(take(batch(&[(7, &whole)])).unwrap().readings, 65_536);
    let error = refusal(batch(&[(7, &whole), (7, &one)]));
    assert_eq!(error.code, ErrorCode::TooLarge);
    // Readings that would be left out count too: they were sent.
    assert!(take(batch(&[(7, &whole), (8, &one)])).is_err());
}

#[test]
fn a_batch_has_a_mebibyte_and_not_one_byte_more() {
    let text = |bytes| Columns {
        times: vec![0],
        values: Values::Text(vec!["x".repeat(bytes)]),
    };
    let texts = series(Kind::Text, Some(1));
    let take = |body| Intake::default().take(body, Some(&POSITION), |_| Some(&texts));
    let whole = chunk(&text(1024));
    let mut builder = BatchBuilder::new();
    while builder.bytes() + 2 * (whole.len() + 10) < BATCH_BYTES_MAX {
        builder.add(7, &whole, 1).unwrap();
    }
    // The last chunk fills it to the byte.
    let filled = (0..=1024).find_map(|bytes| {
        let mut builder = builder.clone();
        builder.add(7, &whole, 1).ok()?;
        builder.add(7, &chunk(&text(bytes)), 1).ok()?;
        (builder.bytes() == BATCH_BYTES_MAX).then(|| builder.finish())
    });
    let filled = filled.expect("some length fills it");
    assert!(take(filled.clone()).is_ok());
    let mut longer = filled.to_vec();
    longer.push(0);
    let error = WireError::from(take(longer.into()).unwrap_err());
    assert_eq!(error.code, ErrorCode::TooLarge);
}

#[test]
fn a_batch_damaged_or_cut_anywhere_is_refused() {
    let (many, one) = (chunk(&floats(50)), chunk(&floats(1)));
    let whole = batch(&[(7, &many), (7, &one)]);
    assert!(take(whole.clone()).is_ok());
    for end in 0..whole.len() {
        assert!(take(whole.slice(..end)).is_err(), "cut at {end}");
    }
    let chunks_from = whole.len() - 4 - many.len() - one.len();
    for at in chunks_from..whole.len() {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 0x10;
        let error = refusal(damaged.into());
        assert!(error.message.contains("checksum"), "byte {at}: {error}");
    }
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 1..64)) {
        let _ = take(Bytes::from(bytes.clone()));
        let mut builder = BatchBuilder::new();
        builder.add(7, &bytes, 1).unwrap();
        let _ = take(builder.finish());
    }
}
