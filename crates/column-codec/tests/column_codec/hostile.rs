//! Whatever the bytes are, reading them ends in an error or in columns within bounds.

use column_codec::{DecodeError, READINGS_MAX, Scratch, encode, parse, parse_single};
use proptest::collection::vec;
use proptest::prelude::*;
use sensor_model::value::TEXT_BYTES_MAX;
use sensor_model::{Columns, Statistics, Timestamp, Values};

use crate::generators;

/// Reads `bytes` in every way, and checks what comes out against the bounds and the header.
fn read_all(bytes: &[u8]) {
    let single = parse_single(bytes);
    let Ok(view) = parse(bytes) else {
        return assert!(!matches!(single, Ok(Some(_))));
    };
    let only = (view.count() == 1).then(|| view.statistics().last);
    assert_eq!(single.unwrap(), only);
    assert!((1..=READINGS_MAX).contains(&view.count()));
    let statistics = view.statistics();
    let _ = view.encodings();
    let verified = view.verify(&mut Scratch::new());
    // Texts that repeat can be far larger than their chunk; within the bounds, but slow to try here.
    if view.decoded_len() > 16 << 20 {
        return;
    }
    let mut width = |first: Timestamp| Timestamp::from_nanos(first.as_nanos() | 0xfff_ffff_ffff);
    let mut parts = Vec::new();
    if let Ok(true) = view.parts(&mut Scratch::new(), &mut width, &mut parts) {
        let counted: u64 = parts.iter().map(|part| part.count).sum();
        assert_eq!(counted, statistics.count);
    }
    let decoded = view.decode();
    if verified.is_ok() {
        assert!(decoded.is_ok(), "verified, but {decoded:?}");
    }
    let Ok(columns) = decoded else { return };
    assert_eq!(columns.kind(), view.kind());
    assert_eq!(columns.len(), view.count());
    assert_eq!(columns.values.len(), view.count());
    let text_bytes = match &columns.values {
        Values::F64(values) => {
            assert!(values.iter().all(|value| value.is_finite()));
            0
        }
        Values::Text(texts) => {
            assert!(texts.iter().all(|text| text.len() <= TEXT_BYTES_MAX));
            texts.iter().map(String::len).sum()
        }
        Values::I64(_) | Values::Bool(_) => 0,
    };
    assert!(text_bytes <= view.decoded_len());
    if verified.is_ok() {
        let sorted = columns.times.windows(2).all(|pair| pair[0] < pair[1]);
        assert_eq!(view.is_sorted(), sorted);
        assert_eq!(Statistics::of_columns(&columns), Some(statistics));
        // What was verified can be encoded again.
        encode(&columns, &mut Vec::new()).unwrap();
    }
}

fn chunk(columns: &Columns) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(columns, &mut bytes).unwrap();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in vec(any::<u8>(), 0..200), version in any::<bool>()) {
        if let (Some(head), true) = (bytes.first_mut(), version) {
            *head = *head & 0x3f | 0x40;
        }
        read_all(&bytes);
    }

    #[test]
    fn a_changed_chunk_is_read_or_refused(
        columns in generators::columns(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = chunk(&columns);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_all(&bytes);
    }

    #[test]
    fn a_changed_header_is_read_or_refused(
        columns in generators::columns(),
        at in 0_usize..48,
        bit in 0_u32..8,
    ) {
        let mut bytes = chunk(&columns);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        read_all(&bytes);
    }

    #[test]
    fn a_chunk_cut_or_lengthened_anywhere_is_refused(
        columns in generators::columns(),
        cut in any::<prop::sample::Index>(),
        more in any::<u8>(),
    ) {
        let mut bytes = chunk(&columns);
        prop_assert!(parse(&bytes[..cut.index(bytes.len())]).is_err());
        bytes.push(more);
        prop_assert_eq!(
            parse(&bytes).map(|_| ()),
            Err(DecodeError::TrailingBytes { part: "chunk", bytes: 1 })
        );
    }
}

/// A chunk of 40 readings whose header is found at known places.
fn forty(values: Values) -> Vec<u8> {
    let times = (0..40).map(|at| 1_000_000_000 * at).collect();
    chunk(&Columns { times, values })
}

#[test]
fn wrong_statistics_are_refused_by_verify() {
    // head, count, start (5 bytes in seconds), span; then the values' statistics
    const STATISTICS: usize = 8;
    let floats = forty(Values::F64((0..40_i32).map(f64::from).collect()));
    let integers = forty(Values::I64((0..40).collect()));
    let flags = forty(Values::Bool((0..40).map(|at| at % 3 == 0).collect()));
    let texts = forty(Values::Text(
        (0..40).map(|at| format!("{}", at % 10)).collect(),
    ));
    let cases = [
        (&floats, 0, 0x08, "order"),
        (&floats, 7, 1, "last time"),
        (&floats, STATISTICS + 1, 2, "first value"),
        (&floats, STATISTICS + 2, 2, "last value"),
        (&floats, STATISTICS + 3, 2, "minimum"),
        (&floats, STATISTICS + 4, 2, "maximum"),
        (&floats, STATISTICS + 5, 1, "sum"),
        (&integers, STATISTICS, 2, "first value"),
        (&integers, STATISTICS + 1, 2, "last value"),
        (&integers, STATISTICS + 2, 2, "minimum"),
        (&integers, STATISTICS + 3, 2, "maximum"),
        (&integers, STATISTICS + 4, 2, "sum"),
        (&flags, STATISTICS, 1, "first value"),
        (&flags, STATISTICS, 2, "last value"),
        (&flags, STATISTICS + 1, 1, "sum"),
        (&texts, STATISTICS, 1, "sum"),
        (&texts, STATISTICS + 2, 1, "first value"),
        (&texts, STATISTICS + 4, 1, "last value"),
    ];
    for (bytes, at, bits, what) in cases {
        assert_eq!(parse(bytes).unwrap().verify(&mut Scratch::new()), Ok(()));
        let mut changed = bytes.clone();
        if what == "order" {
            // Without the flag the distance from first to start stands before the span.
            changed[at] ^= bits;
            changed.insert(7, 0);
        } else {
            changed[at] ^= bits;
        }
        let refused = parse(&changed).unwrap().verify(&mut Scratch::new());
        assert_eq!(
            refused,
            Err(DecodeError::StatisticsDiffer { what }),
            "{what} at {at}"
        );
    }
}

#[test]
fn a_wrong_order_flag_on_few_readings_is_refused() {
    for times in [vec![1, 2, 3], vec![1, 3, 2], vec![1, 1, 2]] {
        let values = Values::I64(vec![7, 8, 9]);
        let mut bytes = chunk(&Columns { times, values });
        bytes[0] ^= 0x08;
        let differs = DecodeError::StatisticsDiffer { what: "order" };
        assert_eq!(parse(&bytes).map(|_| ()), Err(differs));
    }
}

#[test]
fn bytes_behind_the_end_of_a_column_are_refused() {
    let bytes = forty(Values::Bool(vec![true; 40]));
    // It ends with: 3, 2 (the columns' lengths), 1, 0, 2 (constant steps of one unit), 1, 40 (one run).
    let end = bytes.len();
    assert_eq!(bytes[end - 7..], [3, 2, 1, 0, 2, 1, 40]);
    for (length_at, behind, part) in [
        (end - 7, end - 2, "time column"),
        (end - 6, end, "value column"),
    ] {
        let mut longer = bytes.clone();
        longer[length_at] += 1;
        longer.insert(behind, 0);
        let trailing = DecodeError::TrailingBytes { part, bytes: 1 };
        let view = parse(&longer).unwrap();
        assert_eq!(view.verify(&mut Scratch::new()), Err(trailing.clone()));
        assert_eq!(view.decode(), Err(trailing));
    }
}

#[test]
fn more_text_than_announced_is_not_copied() {
    let mut bytes = forty(Values::Text(
        (0..40).map(|at| format!("{}", at % 10)).collect(),
    ));
    bytes[8] -= 1;
    let view = parse(&bytes).unwrap();
    let differs = DecodeError::StatisticsDiffer { what: "text bytes" };
    assert_eq!(view.decode(), Err(differs));
}
