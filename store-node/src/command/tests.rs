//! Commands read back, refused, and at their limits.

use proptest::prelude::*;
use sensor_model::{Kind, SeriesId, SeriesPath, Timestamp, Unit};
use store_wire::batch::BatchBuilder;

use super::*;
use crate::segments::manifest::Window;

const POSITION: Position<'_> = Position {
    producer: "device/press-3#a",
    epoch: 2,
    sequence: 9,
    skipped: 3,
    dropped_readings: 70,
};

fn batch() -> BatchView {
    let mut builder = BatchBuilder::new();
    builder.add(7, b"not looked into", 1).unwrap();
    builder.add(300, b"here", 1).unwrap();
    BatchView::parse(builder.finish()).unwrap()
}

fn append(position: Option<&Position<'_>>) -> Bytes {
    let mut bytes = Vec::new();
    append_head(position, &mut bytes).unwrap();
    batch()
        .rewrite_into(&mut bytes, |number| Some(SeriesId(number)))
        .unwrap();
    bytes.into()
}

#[test]
fn every_command_reads_back() {
    let path = SeriesPath::new("plant/press-3/temperature").unwrap();
    let series = vec![SeriesDescription::new(path, Kind::F64)];
    let payload = open_series(&series);
    assert_eq!(
        Command::parse(&payload).unwrap(),
        Command::OpenSeries { series }
    );

    let payload = open_producer("device/press-3");
    let producer = "device/press-3".to_owned();
    assert_eq!(
        Command::parse(&payload).unwrap(),
        Command::OpenProducer { producer }
    );

    let path = SeriesPath::new("plant/press-3/temperature").unwrap();
    let change = DescriptionChange {
        unit: Some(Unit::new("Cel").unwrap()),
        attributes: [("line".to_owned(), None)].into(),
    };
    for kind in [None, Some(Kind::F64)] {
        let payload = describe(&path, kind, &change);
        let (path, change) = (path.clone(), change.clone());
        let expected = Command::Describe { path, kind, change };
        assert_eq!(Command::parse(&payload).unwrap(), expected);
    }

    let text = BoardText {
        title: "Hall 1".to_owned(),
        content: Bytes::from_static(b"not looked into"),
    };
    for (expected, text) in [(0, Some(text)), (7, None)] {
        let name = BoardName::new("hall-1").unwrap();
        let payload = set_board(&name, expected, text.as_ref());
        let set = Command::SetBoard {
            name,
            expected,
            text,
        };
        assert_eq!(Command::parse(&payload).unwrap(), set);
    }

    for incarnation in [None, Some(Uuid::from_u128(7))] {
        let payload = claim_node(4, incarnation);
        let claim = Command::ClaimNode { id: 4, incarnation };
        assert_eq!(Command::parse(&payload).unwrap(), claim);
    }

    for position in [None, Some(POSITION)] {
        let payload = append(position.as_ref());
        let batch = batch();
        assert_eq!(
            Command::parse(&payload).unwrap(),
            Command::Append(Append { position, batch })
        );
    }

    let pattern = Pattern::new("plant/**").unwrap();
    let range = TimeRange::EVERYTHING;
    for known in [None, Some(7)] {
        let payload = delete_known(&pattern, range, known);
        let pattern = pattern.clone();
        let deleted = Command::Delete {
            pattern,
            range,
            known,
        };
        assert_eq!(Command::parse(&payload).unwrap(), deleted);
    }

    let rules = vec![RetentionRule { pattern, keep: 1 }];
    let payload = set_retention(&rules);
    assert_eq!(
        Command::parse(&payload).unwrap(),
        Command::SetRetention { rules }
    );
}

#[test]
fn a_command_cut_anywhere_is_refused() {
    let whole = [
        open_series(&[]),
        open_producer("device/a"),
        claim_node(4, None),
        claim_node(4, Some(Uuid::from_u128(7))),
        delete(&Pattern::everything(), TimeRange::EVERYTHING),
        set_retention(&[]),
        set_board(&BoardName::new("hall-1").unwrap(), 7, None),
        append(None),
        append(Some(&POSITION)),
    ];
    for payload in whole {
        for end in 0..payload.len() {
            let cut = payload.slice(..end);
            assert!(Command::parse(&cut).is_err(), "{end} of {payload:?}");
        }
        let mut longer = payload.to_vec();
        longer.push(0);
        assert!(Command::parse(&longer.into()).is_err(), "{payload:?}");
    }
}

#[test]
fn a_sequence_outside_a_spool_is_refused() {
    for (sequence, skipped) in [(0, 0), (5, 5), (5, 6), (u64::MAX, 0)] {
        let position = Position {
            sequence,
            skipped,
            ..POSITION
        };
        let refused = append_head(Some(&position), &mut Vec::new());
        assert!(
            matches!(refused, Err(CommandError::BadSequence { .. })),
            "{sequence} {skipped}"
        );
    }
}

#[test]
fn an_unknown_command_is_named() {
    let error = Command::parse(&Bytes::from_static(&[11, 1, 2])).unwrap_err();
    assert_eq!(error.to_string(), "command 11 is not known");
}

/// Whether these bytes are a command that can be carried out.
fn is_taken(payload: &Bytes) -> bool {
    match Command::parse(payload) {
        Ok(_) => true,
        Err(CommandError::OutOfBounds { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

fn segment(created: u64) -> SegmentId {
    let window = Window::of(0, WINDOW_NANOS);
    SegmentId { created, window }
}

#[test]
fn a_seal_has_windows_and_chunks_that_there_can_be() {
    let is_taken = |window, chunk_readings| {
        is_taken(&seal(&Seal {
            window,
            chunk_readings,
        }))
    };
    assert!(!is_taken(0, 1) && is_taken(1, 1) && is_taken(u64::MAX, 1));
    let most = u32::try_from(column_codec::READINGS_MAX).unwrap();
    assert!(!is_taken(1, 0) && is_taken(1, most) && !is_taken(1, most + 1));
}

#[test]
fn a_compaction_names_some_segments_in_order_and_not_too_many() {
    let is_taken = |created: &[u64]| {
        let segments: Vec<SegmentId> = created.iter().copied().map(segment).collect();
        is_taken(&compact(&segments))
    };
    assert!(!is_taken(&[]) && is_taken(&[1]) && is_taken(&[1, 2]));
    assert!(!is_taken(&[1, 1]) && !is_taken(&[2, 1]));
    let most = COMPACTED_MAX as u64;
    assert!(is_taken(&Vec::from_iter(0..most)) && !is_taken(&Vec::from_iter(0..=most)));
}

#[test]
fn a_retention_has_not_too_many_rules() {
    let is_taken = |count| {
        let rule = RetentionRule {
            pattern: Pattern::everything(),
            keep: 1,
        };
        is_taken(&set_retention(&vec![rule; count]))
    };
    assert!(is_taken(0) && is_taken(RETENTION_RULES_MAX) && !is_taken(RETENTION_RULES_MAX + 1));
}

#[test]
fn a_board_is_not_too_long() {
    let is_taken = |title: usize, content: usize| {
        let text = BoardText {
            title: "x".repeat(title),
            content: vec![0; content].into(),
        };
        is_taken(&set_board(&BoardName::new("a").unwrap(), 0, Some(&text)))
    };
    let (title, content) = (BOARD_TITLE_BYTES_MAX, BOARD_CONTENT_BYTES_MAX);
    assert!(is_taken(title, content));
    assert!(!is_taken(title + 1, content) && !is_taken(title, content + 1));
}

#[test]
fn a_delete_holds_an_instant() {
    let is_taken = |from, to| {
        let (from, to) = (Timestamp::from_nanos(from), Timestamp::from_nanos(to));
        is_taken(&delete(&Pattern::everything(), TimeRange { from, to }))
    };
    assert!(is_taken(4, 5) && !is_taken(5, 5) && !is_taken(6, 5));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(tag in 0_u8..20, bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut payload = vec![tag];
        payload.extend(bytes);
        let _ = Command::parse(&payload.into());
    }
}
