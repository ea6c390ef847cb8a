//! What is sent, sent again, dropped, counted.

use sensor_model::{Kind, SeriesPath};

use super::*;

fn spooled(sequence: u64, readings_before: u64) -> SpooledBatch {
    SpooledBatch {
        head: BatchHead {
            sequence,
            readings: 10,
            readings_before,
        },
        series: 1,
        location: Location {
            segment: 1,
            offset: 64,
            len: 5,
        },
        offset: 0,
        purpose: Purpose::Readings,
    }
}

/// Batches 1 to `count` of 10 readings each.
fn state_with(count: u64) -> State {
    let mut state = State::new(Acknowledged::default());
    for sequence in 1..=count {
        let bytes = Bytes::from_static(b"batch");
        state.push_spooled(&spooled(sequence, (sequence - 1) * 10), Some(bytes));
    }
    state
}

/// `(sequence, skipped, dropped)` of everything that can be sent now.
fn send_all(state: &mut State) -> Vec<(u64, u64, u64)> {
    let mut sent = Vec::new();
    while let Lookup::Send(outgoing) = state.lookup() {
        assert!(state.begin_send(outgoing.sequence, Instant::now()));
        sent.push((
            outgoing.sequence,
            outgoing.skipped,
            outgoing.dropped_readings,
        ));
    }
    sent
}

#[test]
fn unsent_batches_are_dropped_and_counted_with_the_next_one() {
    let mut state = state_with(5);
    assert_eq!(state.drop_through(3), 30);
    assert_eq!(send_all(&mut state), [(4, 3, 30), (5, 0, 0)]);
    assert_eq!(state.tally().dropped, 30);
    assert_eq!(state.tally().sent, 20);
}

#[test]
fn batches_that_were_sent_are_not_dropped_and_can_be_sent_again() {
    let mut state = state_with(2);
    assert_eq!(send_all(&mut state).len(), 2);
    for sequence in 3..=6 {
        let bytes = Bytes::from_static(b"batch");
        state.push_spooled(&spooled(sequence, (sequence - 1) * 10), Some(bytes));
    }
    assert_eq!(state.drop_through(4), 20);
    assert_eq!(send_all(&mut state), [(5, 2, 20), (6, 0, 0)]);
    state.begin_session(1).unwrap();
    let again = [(1, 0, 0), (2, 0, 0), (5, 2, 20), (6, 0, 0)];
    assert_eq!(send_all(&mut state), again);
    assert_eq!(state.tally().sent, 40, "sent again is not sent twice");
}

#[test]
fn what_the_store_has_applied_is_not_sent_again_and_not_counted_as_dropped() {
    let mut state = state_with(5);
    send_all(&mut state);
    state.begin_session(4).unwrap();
    assert_eq!(state.tally().acked, 30);
    assert_eq!(send_all(&mut state), [(4, 0, 0), (5, 0, 0)]);
}

#[test]
fn a_rewind_sends_again_from_there() {
    let mut state = state_with(4);
    send_all(&mut state);
    state.rewind(3);
    assert_eq!(send_all(&mut state), [(3, 0, 0), (4, 0, 0)]);
}

#[test]
fn a_store_that_is_ahead_is_not_sent_anything() {
    let mut state = state_with(3);
    state.all_may_be_sent();
    state.push_spooled(&spooled(4, 30), Some(Bytes::from_static(b"batch")));
    assert!(state.begin_session(4).is_ok());
    // The fourth was never sent: what the store has under its number is something else.
    let refused = state.begin_session(5);
    assert!(matches!(
        refused,
        Err(OutboxError::StoreAhead { store: 4, spool: 3 })
    ));
}

#[test]
fn refused_readings_are_not_acknowledged_ones_and_count_once() {
    let mut state = state_with(2);
    send_all(&mut state);
    state.refuse(1, 0, 4);
    state.refuse(1, 0, 4);
    state.acknowledge(2, 0, Instant::now());
    assert_eq!((state.tally().acked, state.tally().refused), (16, 4));
}

#[test]
fn batches_not_in_memory_are_asked_for_in_order_and_bounded() {
    let mut state = State::new(Acknowledged::default());
    for sequence in 1..=4 {
        state.push_spooled(&spooled(sequence, (sequence - 1) * 10), None);
    }
    assert!(matches!(state.lookup(), Lookup::Load));
    let asked = |state: &State, bytes| -> Vec<u64> {
        let wanted = state.to_load(bytes).into_iter();
        wanted.map(|(sequence, ..)| sequence).collect()
    };
    assert_eq!(asked(&state, 10), [1, 2]);
    state.loaded(1, Bytes::from_static(b"batch"));
    assert_eq!(send_all(&mut state), [(1, 0, 0)]);
    assert_eq!(asked(&state, 100), [2, 3, 4]);
}

#[test]
fn dropped_readings_are_counted_once_through_acknowledgements_and_a_restart() {
    let mut state = state_with(6);
    assert_eq!(state.dropped(), 0);
    state.drop_through(2);
    assert_eq!(state.dropped(), 20);
    assert_eq!(
        send_all(&mut state),
        [(3, 2, 20), (4, 0, 0), (5, 0, 0), (6, 0, 0)]
    );
    state.acknowledge(4, 0, Instant::now());
    assert_eq!((state.dropped(), state.acknowledged().dropped), (20, 20));
    // The program ends here; what the spool has is what was acknowledged, and the batches after it.
    let mut later = State::new(state.acknowledged());
    for sequence in 9..=10 {
        later.push_spooled(&spooled(sequence, (sequence - 1) * 10), None);
    }
    assert_eq!(
        later.dropped(),
        20 + 40,
        "batches 5 to 8 were dropped meanwhile"
    );
    later.begin_session(5).unwrap();
    later.acknowledge(10, 0, Instant::now());
    assert_eq!(later.dropped(), 60);
    assert_eq!(later.last_readings(), 100);
}

#[test]
fn all_that_was_dropped_is_counted_before_anything_follows_it() {
    let mut state = state_with(3);
    assert_eq!(state.drop_through(3), 30);
    assert_eq!(state.dropped(), 30);
}

#[test]
fn a_batch_set_aside_is_passed_over_and_the_next_one_says_so() {
    let mut state = state_with(4);
    let path = SeriesPath::new("a").unwrap();
    state.declare(&[SeriesDescription::new(path, Kind::F64)]);
    assert!(state.dead_letter(2).is_some());
    send_all(&mut state);
    state.acknowledge(1, 0, Instant::now());
    let letter = state.dead_letter(2).unwrap();
    assert_eq!((letter.readings, letter.series.len()), (10, 1));
    state.bury(2);
    state.bury(2);
    assert!(state.dead_letter(2).is_none());
    state.begin_session(2).unwrap();
    assert_eq!(send_all(&mut state), [(3, 1, 10), (4, 0, 0)]);
    state.acknowledge(4, 0, Instant::now());
    let tally = state.tally();
    assert_eq!((tally.acked, tally.dead, tally.dropped), (30, 10, 0));
    assert_eq!(state.dropped(), 0, "set aside is not dropped");
    assert_eq!(state.cached_bytes(), 0);
}

#[test]
fn a_dead_letter_at_the_end_does_not_hold_up_the_end() {
    let mut state = state_with(2);
    send_all(&mut state);
    state.acknowledge(1, 0, Instant::now());
    state.close();
    assert!(matches!(state.lookup(), Lookup::Wait));
    state.bury(2);
    assert!(matches!(state.lookup(), Lookup::Drained));
    assert_eq!(state.waiting_readings(), 0);
    assert!(state.oldest_sent().is_none());
}

#[test]
fn what_a_report_holds_is_not_counted_as_sent() {
    let mut state = state_with(1);
    let report = SpooledBatch {
        purpose: Purpose::Report,
        ..spooled(2, 10)
    };
    state.push_spooled(&report, Some(Bytes::from_static(b"batch")));
    assert_eq!(send_all(&mut state).len(), 2);
    state.refuse(2, 0, 3);
    state.acknowledge(2, 0, Instant::now());
    let tally = state.tally();
    assert_eq!((tally.sent, tally.acked, tally.refused), (10, 10, 0));
}
