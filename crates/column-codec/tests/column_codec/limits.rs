//! Every limit, at n and at n + 1, and what must not be stored.

use column_codec::{DecodeError, EncodeError, READINGS_MAX, encode, parse};
use sensor_model::value::TEXT_BYTES_MAX;
use sensor_model::{Columns, Values};

const SECOND: i64 = 1_000_000_000;

fn outcome(times: Vec<i64>, values: Values) -> (Result<(), EncodeError>, Vec<u8>) {
    let mut bytes = b"before".to_vec();
    let outcome = encode(&Columns { times, values }, &mut bytes);
    (outcome, bytes)
}

fn one(time: i64, values: Values) -> Vec<u8> {
    let (outcome, bytes) = outcome(vec![time], values);
    outcome.unwrap();
    bytes[6..].to_vec()
}

#[test]
fn readings_max_is_encoded_and_one_more_is_not() {
    let flags = |count| outcome((0..).take(count).collect(), Values::Bool(vec![true; count]));
    assert_eq!(flags(READINGS_MAX).0, Ok(()));
    let count = READINGS_MAX + 1;
    assert_eq!(
        flags(count),
        (
            Err(EncodeError::TooManyReadings { count }),
            b"before".to_vec()
        )
    );
}

#[test]
fn readings_max_is_parsed_and_one_more_is_not() {
    let (_, bytes) = outcome(
        (0..).take(READINGS_MAX).collect(),
        Values::Bool(vec![true; READINGS_MAX]),
    );
    let mut bytes = bytes[6..].to_vec();
    assert_eq!(bytes[1..4], [0x80, 0x80, 4]); // 65,536 as varint
    assert_eq!(parse(&bytes).unwrap().count(), READINGS_MAX);
    bytes[1] = 0x81;
    assert_eq!(
        parse(&bytes).map(|_| ()),
        Err(DecodeError::TooManyReadings { count: 65_537 })
    );
    for count in [0, 1] {
        let with_columns = [0x48, count, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        assert!(parse(&with_columns).is_err());
    }
}

#[test]
fn empty_and_unequal_columns_are_refused() {
    assert_eq!(
        outcome(vec![], Values::F64(vec![])).0,
        Err(EncodeError::Empty)
    );
    assert_eq!(
        outcome(vec![1, 2], Values::F64(vec![1.0])).0,
        Err(EncodeError::LengthsDiffer {
            times: 2,
            values: 1
        })
    );
}

#[test]
fn nan_and_infinities_are_refused_by_index() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for count in [1, 2, 16, 17, 1_000] {
            for index in [0, count / 2, count - 1] {
                let mut values = vec![1.5; count];
                values[index] = bad;
                assert_eq!(
                    outcome((0..).take(count).collect(), Values::F64(values)),
                    (Err(EncodeError::NotFinite { index }), b"before".to_vec())
                );
            }
        }
    }
}

#[test]
fn one_nan_from_outside_is_refused() {
    let mut bytes = one(SECOND, Values::F64(vec![1.0 / 3.0]));
    let len = bytes.len();
    bytes[len - 2..].copy_from_slice(&[0xf8, 0x7f]);
    assert_eq!(
        parse(&bytes).map(|_| ()),
        Err(DecodeError::NotFinite { index: 0 })
    );
}

#[test]
fn text_of_1024_bytes_is_stored_and_of_1025_is_not() {
    let text = |bytes| Values::Text(vec!["x".repeat(bytes)]);
    assert_eq!(outcome(vec![0], text(TEXT_BYTES_MAX)).0, Ok(()));
    let bytes = TEXT_BYTES_MAX + 1;
    assert_eq!(
        outcome(vec![0], text(bytes)).0,
        Err(EncodeError::TextTooLong { index: 0, bytes })
    );

    let mut chunk = one(0, text(TEXT_BYTES_MAX));
    assert_eq!(parse(&chunk).unwrap().decode().unwrap().len(), 1);
    assert_eq!(chunk[6..8], [0x80, 0x08]); // 1,024 as varint
    chunk[6] = 0x81;
    chunk.push(b'x');
    assert_eq!(
        parse(&chunk).map(|_| ()),
        Err(DecodeError::TextTooLong { bytes: 1_025 })
    );
}

#[test]
fn another_version_is_refused_by_number() {
    let mut bytes = one(0, Values::I64(vec![1]));
    for version in [0, 2, 3] {
        bytes[0] = bytes[0] & 0x3f | version << 6;
        assert_eq!(
            parse(&bytes).map(|_| ()),
            Err(DecodeError::UnknownVersion { version })
        );
    }
    assert_eq!(parse(&[]).map(|_| ()), Err(DecodeError::Truncated));
}

#[test]
fn one_reading_is_tiny() {
    let now = 1_763_632_800 * SECOND;
    let sizes = [
        (now, 21.7, 9),
        (now + 1_000_000, 21.7, 10),
        (now + 1_001, 21.7, 12),
        (now + 1_001, 1.0 / 3.0, 18),
    ];
    for (time, value, bytes) in sizes {
        let chunk = one(time, Values::F64(vec![value]));
        assert_eq!(chunk.len(), bytes, "{value} at {time}");
    }
    assert_eq!(one(now, Values::Bool(vec![true])).len(), 7);
}
