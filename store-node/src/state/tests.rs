//! Applies commands by hand and looks at what they came to.

use sensor_model::{Pattern, SeriesDescription, TimeRange, Values};
use store_wire::batch::{BatchBuilder, BatchView};

use super::*;
use crate::command::{self, Position};

const PRODUCER: &str = "device/press-3";

fn description(path: &str, kind: Kind) -> SeriesDescription {
    SeriesDescription::new(SeriesPath::new(path).unwrap(), kind)
}

fn floats(times: std::ops::Range<i64>) -> Columns {
    Columns {
        times: times.clone().collect(),
        values: Values::F64(times.map(|time| time as f64).collect()),
    }
}

fn append(position: Option<&Position<'_>>, chunks: &[(u64, &Columns)]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for (number, columns) in chunks {
        let mut chunk = Vec::new();
        column_codec::encode(columns, &mut chunk).unwrap();
        builder.add(*number, &chunk, columns.len() as u64).unwrap();
    }
    append_bytes(position, builder.finish())
}

fn append_bytes(position: Option<&Position<'_>>, batch: Bytes) -> Bytes {
    let mut payload = Vec::new();
    command::append_head(position, &mut payload).unwrap();
    BatchView::parse(batch)
        .unwrap()
        .rewrite_into(&mut payload, |number| Some(SeriesId(number)))
        .unwrap();
    payload.into()
}

fn at(epoch: u64, sequence: u64) -> Position<'static> {
    Position {
        producer: PRODUCER,
        epoch,
        sequence,
        skipped: 0,
        dropped_readings: 0,
    }
}

/// A state with series 0 (f64) and 1 (text), and a producer in epoch 1.
fn opened() -> State {
    let mut state = State::new();
    let series = [
        description("a/f", Kind::F64),
        description("a/t", Kind::Text),
    ];
    assert_eq!(
        state.apply(1, &command::open_series(&series)),
        Outcome::SeriesOpened {
            results: vec![Ok(SeriesId(0)), Ok(SeriesId(1))]
        }
    );
    assert_eq!(
        state.apply(2, &command::open_producer(PRODUCER)),
        Outcome::ProducerOpened { epoch: 1 }
    );
    state
}

#[test]
fn a_batch_counts_once_however_often_it_is_applied() {
    let mut state = opened();
    let payload = append(Some(&at(1, 1)), &[(0, &floats(0..10))]);
    assert_eq!(state.apply(3, &payload), Outcome::Applied { readings: 10 });
    assert_eq!(state.apply(4, &payload), Outcome::Duplicate { next: 2 });
    assert_eq!(state.summary().readings, 10);
    assert_eq!(state.readings(SeriesId(0)).unwrap().count(), 10);
}

#[test]
fn a_gap_and_an_old_epoch_change_nothing() {
    let mut state = opened();
    let later = append(Some(&at(1, 2)), &[(0, &floats(0..10))]);
    assert_eq!(state.apply(3, &later), Outcome::Gap { expected: 1 });
    state.apply(4, &command::open_producer(PRODUCER));
    let old = append(Some(&at(1, 1)), &[(0, &floats(0..10))]);
    assert_eq!(state.apply(5, &old), Outcome::Fenced { epoch: 2 });
    let never = append(Some(&at(3, 1)), &[(0, &floats(0..10))]);
    let refused = state.apply(6, &never);
    assert!(matches!(refused, Outcome::Refused { .. }), "{refused:?}");
    assert_eq!(state.summary().readings, 0);
}

#[test]
fn a_bad_chunk_anywhere_in_a_batch_leaves_all_of_it_out() {
    let good = floats(0..100);
    let unverifiable = {
        let mut chunk = Vec::new();
        column_codec::encode(&floats(0..40), &mut chunk).unwrap();
        // The header of 40 readings is still one; the last column is not.
        *chunk.last_mut().unwrap() ^= 0xff;
        chunk
    };
    let mut good_chunk = Vec::new();
    column_codec::encode(&good, &mut good_chunk).unwrap();
    let mut builder = BatchBuilder::new();
    builder.add(0, &good_chunk, 100).unwrap();
    builder.add(0, &unverifiable, 40).unwrap();
    let damaged = append_bytes(Some(&at(1, 1)), builder.finish());

    let bad = [
        append(Some(&at(1, 1)), &[(0, &good), (1, &good)]),
        append(Some(&at(1, 1)), &[(0, &good), (2, &good)]),
        damaged,
        Bytes::from_static(b"\x0b"),
        Bytes::new(),
    ];
    for payload in bad {
        let mut state = opened();
        let outcome = state.apply(3, &payload);
        assert!(
            matches!(
                outcome,
                Outcome::KindMismatch { .. } | Outcome::Refused { .. }
            ),
            "{outcome:?}"
        );
        // That the entry is void is all that is remembered of it.
        let mut untouched = opened();
        untouched.voids = state.voids.clone();
        assert!(state == untouched, "{outcome:?}");
    }
}

#[test]
fn an_empty_batch_takes_its_place_in_the_sequence() {
    let mut state = opened();
    let empty = append(Some(&at(1, 1)), &[]);
    assert_eq!(state.apply(3, &empty), Outcome::Applied { readings: 0 });
    let next = append(Some(&at(1, 2)), &[(0, &floats(0..1))]);
    assert_eq!(state.apply(4, &next), Outcome::Applied { readings: 1 });
}

#[test]
fn a_large_chunk_is_referred_to_by_its_place_in_the_entry() {
    let mut state = opened();
    let (small, large) = (floats(0..3), floats(100..400));
    let payload = append(Some(&at(1, 1)), &[(0, &small), (0, &large)]);
    state.apply(3, &payload);
    let selection = state
        .readings(SeriesId(0))
        .unwrap()
        .unsealed()
        .unwrap()
        .select(TimeRange::EVERYTHING);
    assert_eq!(selection.head, small);
    assert_eq!(selection.pieces[0].order, 3);
    let Place::Log { offset, length, .. } = selection.pieces[0].place else {
        panic!("{:?}", selection.pieces)
    };
    let from = usize::try_from(offset).unwrap();
    let chunk = payload.slice(from..from + usize::try_from(length).unwrap());
    assert_eq!(
        column_codec::parse(&chunk).unwrap().decode().unwrap(),
        large
    );
}

#[test]
fn a_series_of_another_kind_is_refused_beside_those_that_are_opened() {
    let mut state = opened();
    let series = [
        description("a/f", Kind::Bool),
        description("a/new", Kind::Bool),
        description("a/f", Kind::F64),
    ];
    let Outcome::SeriesOpened { results } = state.apply(3, &command::open_series(&series)) else {
        panic!("not opened")
    };
    assert!(matches!(
        results[0],
        Err(SeriesRefusal::KindMismatch { .. })
    ));
    assert_eq!(results[1..], [Ok(SeriesId(2)), Ok(SeriesId(0))]);
}

#[test]
fn a_delete_that_did_not_know_of_a_series_changes_nothing() {
    let mut state = opened();
    let both = append(None, &[(0, &floats(0..100))]);
    state.apply(3, &both);
    let (pattern, range) = (Pattern::new("a/*").unwrap(), TimeRange::EVERYTHING);
    let path = SeriesPath::new("a/t").unwrap();
    let ignorant = command::delete_known(&pattern, range, Some(1));
    assert_eq!(state.apply(4, &ignorant), Outcome::Unforeseen { path });
    assert!(state.tombstones().is_empty() && state.jobs_waiting() == 0);
    // One that it need not know of, as it does not match.
    let other = Pattern::new("a/f").unwrap();
    let apart = command::delete_known(&other, range, Some(1));
    assert_eq!(state.apply(5, &apart), Outcome::Deleted);
    let knowing = command::delete_known(&pattern, range, Some(2));
    assert_eq!(state.apply(6, &knowing), Outcome::Deleted);
    assert_eq!(
        state.apply(7, &command::delete(&pattern, range)),
        Outcome::Deleted
    );
}
