//! Any columns, encoded and decoded, are the same bit for bit, and so are their statistics.

use std::collections::BTreeSet;

use column_codec::encoding::{Sequence, TimeEncoding, ValueEncoding};
use column_codec::{ChunkView, Extent, Scratch, encode, encode_with, parse, read_statistics};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sensor_model::{Columns, Kind, Statistics, Values};

use crate::generators;

/// Encodes and decodes, and compares everything that a view tells.
pub(crate) fn check(columns: &Columns, scratch: &mut Scratch, reused: &mut Columns) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(columns, &mut bytes).unwrap();
    let view = parse(&bytes).unwrap();
    assert_eq!(view.kind(), columns.kind());
    assert_eq!(view.count(), columns.len());
    assert_eq!(view.encoded_len(), bytes.len());
    let sorted = columns.times.windows(2).all(|pair| pair[0] < pair[1]);
    assert_eq!(view.is_sorted(), sorted);
    let statistics = Statistics::of_columns(columns).unwrap();
    assert_eq!(view.statistics(), statistics);
    assert_eq!(view.first_time(), statistics.first.timestamp);
    assert_eq!(view.last_time(), statistics.last.timestamp);
    view.verify(scratch).unwrap();
    check_statistics_apart(&view);

    assert_same_bits(&view.decode().unwrap(), columns);
    view.decode_into(reused, scratch).unwrap();
    assert_same_bits(reused, columns);

    let value_bytes = match &columns.values {
        Values::F64(_) | Values::I64(_) => 8 * columns.len(),
        Values::Bool(_) => columns.len(),
        Values::Text(texts) => {
            texts.iter().map(String::len).sum::<usize>() + size_of::<String>() * columns.len()
        }
    };
    assert_eq!(view.decoded_len(), 8 * columns.len() + value_bytes);

    let mut again = vec![1, 2, 3];
    encode_with(columns, scratch, &mut again).unwrap();
    assert_eq!(again[..3], [1, 2, 3], "what was there stays");
    assert_eq!(again[3..], bytes, "buffers in use change nothing");
    bytes
}

/// Statistics that an index keeps without the chunk.
fn check_statistics_apart(view: &ChunkView<'_>) {
    let extent = Extent {
        kind: view.kind(),
        count: view.count(),
        first_time: view.first_time(),
        last_time: view.last_time(),
    };
    let mut apart = Vec::new();
    view.write_statistics(&mut apart);
    let len = apart.len();
    for cut in 0..len {
        assert!(read_statistics(&apart[..cut], extent).is_err());
    }
    apart.extend([0xff; 9]);
    let read = read_statistics(&apart, extent).unwrap();
    assert_eq!(read, (view.statistics(), len));
}

fn assert_same_bits(decoded: &Columns, columns: &Columns) {
    assert_eq!(decoded.times, columns.times);
    match (&decoded.values, &columns.values) {
        (Values::F64(decoded), Values::F64(values)) => {
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(decoded), bits(values));
        }
        (decoded, values) => assert_eq!(decoded, values),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_columns_come_back_bit_for_bit(all in proptest::collection::vec(generators::columns(), 1..4)) {
        let (mut scratch, mut reused) = (Scratch::new(), Columns::empty(Kind::F64));
        for columns in &all {
            check(columns, &mut scratch, &mut reused);
        }
    }
}

#[test]
fn the_generators_reach_every_encoding() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..2_000 {
        let columns = generators::columns()
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let mut bytes = Vec::new();
        encode(&columns, &mut bytes).unwrap();
        let encodings = parse(&bytes).unwrap().encodings().unwrap();
        seen.insert(match encodings.times {
            TimeEncoding::One => "one time".to_owned(),
            TimeEncoding::Steps(steps) => format!("{steps} steps"),
        });
        seen.insert(match encodings.values {
            ValueEncoding::Decimals {
                digits, with_ulps, ..
            } => format!("{digits} decimals, ulps {with_ulps}"),
            ValueEncoding::Bits { bits, shift } => format!("{bits} bits, shifted {}", shift > 0),
            ValueEncoding::Dictionary => format!("dictionary of {}", columns.kind()),
            other => other.to_string(),
        });
    }
    let mut expected = vec!["one time".to_owned(), "one".to_owned()];
    expected.extend(
        [
            "runs",
            "bitmap",
            "plain",
            "dictionary of f64",
            "dictionary of text",
        ]
        .map(str::to_owned),
    );
    for sequence in [Sequence::Constant, Sequence::Frame, Sequence::Delta] {
        expected.push(format!("{sequence} steps"));
        expected.push(format!("{sequence} integers"));
        expected.push(format!("{sequence} decimals, ulps false"));
        expected.push(format!("{sequence} decimals, ulps true"));
        expected.push(format!("{sequence} bits, shifted true"));
    }
    expected.push("frame bits, shifted false".to_owned());
    for encoding in expected {
        assert!(seen.contains(&encoding), "{encoding} is not among {seen:?}");
    }
}

#[test]
fn a_full_chunk_of_every_kind_comes_back() {
    let count = column_codec::READINGS_MAX;
    let times: Vec<i64> = (0_i64..)
        .map(|at| at * 1_000 + at % 3)
        .take(count)
        .collect();
    let all = [
        Values::F64(
            (0_u32..)
                .map(|at| f64::from(at % 977) / 100.0)
                .take(count)
                .collect(),
        ),
        Values::I64((0_i64..).map(|at| at * at).take(count).collect()),
        Values::Bool((0..count).map(|at| at % 3 == 0).collect()),
        Values::Text((0..count).map(|at| format!("lot {}", at / 3)).collect()),
    ];
    for values in all {
        let columns = Columns {
            times: times.clone(),
            values,
        };
        check(
            &columns,
            &mut Scratch::new(),
            &mut Columns::empty(Kind::Bool),
        );
    }
}
