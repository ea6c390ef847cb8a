//! For each rule, histories that keep it and histories that break it.

use std::time::Duration;

use super::{RECOVERY_MAX, Rule, TOLD_MAX, check};
use crate::history::{Event, Fate, Level, Moment, Read, Replica, ReplicaSeries, Reply, Sighting};
use crate::readings::{Script, Track};
use crate::workload::put::put_path;

fn ms(ms: u64) -> Moment {
    Moment(ms * 1000)
}

fn sent(at: u64, producer: u32, sequence: u64) -> Event {
    let at = ms(at);
    Event::Sent {
        at,
        producer,
        sequence,
    }
}

fn acked(at: u64, producer: u32, through: u64, index: u64) -> Event {
    let at = ms(at);
    Event::Acked {
        at,
        producer,
        through,
        index,
    }
}

fn put(began: u64, ended: u64, number: u64, fate: Fate) -> Event {
    Event::Put {
        began: ms(began),
        ended: ms(ended),
        writer: 0,
        number,
        fate,
    }
}

/// A read from `began` to 10 ms later, answered from `applied`.
fn read(level: Level, began: u64, applied: u64, sighting: Sighting) -> Event {
    Event::Read(Read {
        reader: 7,
        level,
        began: ms(began),
        ended: ms(began + 10),
        reply: Reply::Answered {
            replica: 2,
            applied,
            sightings: vec![sighting],
            oddity: None,
        },
    })
}

fn batches(through: u64) -> Sighting {
    Sighting::Batches {
        producer: 0,
        through,
    }
}

fn puts(seen: &[u64]) -> Sighting {
    Sighting::Puts {
        writer: 0,
        from: 1,
        through: 3,
        seen: seen.to_vec(),
    }
}

/// Batches 1 to 3 of producer 0, sent at 0, 100 and 200 ms; 1 and 2 acknowledged at 50 and 150 ms under
/// the tokens 10 and 20.
fn batches_sent() -> Vec<Event> {
    vec![
        sent(0, 0, 1),
        acked(50, 0, 1, 10),
        sent(100, 0, 2),
        acked(150, 0, 2, 20),
        sent(200, 0, 3),
    ]
}

/// Single writes 1 (written under token 12, 20 to 60 ms), 2 (refused), 3 (unknown, 100 to 140 ms).
fn puts_made() -> Vec<Event> {
    vec![
        put(20, 60, 1, Fate::Written { index: 12 }),
        put(70, 80, 2, Fate::Refused),
        put(100, 140, 3, Fate::Unknown),
    ]
}

/// A node with batches up to `through` of producer 0 and the single writes `puts`.
fn replica(node: u64, through: u64, puts: &[u64]) -> Replica {
    let mut replica = Replica {
        node,
        ..Replica::default()
    };
    for track in Track::ALL {
        let rows = if track == Track::Register {
            1
        } else {
            through * track.run()
        };
        let series = ReplicaSeries {
            count: through * track.run(),
            rows,
            through,
            ..ReplicaSeries::default()
        };
        let path = Script { producer: 0 }.path(track);
        replica.series.insert(path, series);
    }
    let series = ReplicaSeries {
        count: puts.len() as u64,
        rows: puts.len() as u64,
        puts: puts.to_vec(),
        ..ReplicaSeries::default()
    };
    replica.series.insert(put_path(0), series);
    replica
}

fn broken(events: &[Event]) -> Vec<Rule> {
    let mut rules: Vec<Rule> = check(events).into_iter().map(|found| found.rule).collect();
    rules.dedup();
    rules
}

/// The rules that `more` breaks after the batches and the single writes.
fn broken_by(more: impl IntoIterator<Item = Event>) -> Vec<Rule> {
    let mut events = batches_sent();
    events.extend(puts_made());
    events.extend(more);
    broken(&events)
}

fn at_end(replicas: impl IntoIterator<Item = Replica>) -> Vec<Rule> {
    broken_by(replicas.into_iter().map(Event::Final))
}

#[test]
fn what_went_well_breaks_no_rule() {
    // The unacknowledged batch and the unknown write may be there or not, on all nodes alike.
    for (through, puts) in [(2, &[1][..]), (3, &[1, 3]), (2, &[1, 3])] {
        assert_eq!(
            at_end([1, 2, 3].map(|node| replica(node, through, puts))),
            []
        );
    }
}

#[test]
fn rule_1_an_acknowledged_batch_that_is_gone() {
    assert_eq!(at_end([replica(1, 1, &[1])]), [Rule::Kept]);
}

#[test]
fn rule_1_an_acknowledged_write_that_is_gone() {
    assert_eq!(at_end([replica(1, 2, &[3])]), [Rule::Kept]);
}

#[test]
fn rule_1_a_series_that_is_gone() {
    let mut lost = replica(1, 2, &[1]);
    lost.series
        .remove(&Script { producer: 0 }.path(Track::Shuffled));
    assert_eq!(at_end([lost]), [Rule::Kept]);
}

#[test]
fn rule_1_a_leader_that_waits_for_what_it_acknowledged() {
    let welcomed = |next| Event::Welcomed {
        at: ms(160),
        producer: 0,
        node: 3,
        next,
    };
    assert_eq!(broken_by([welcomed(3)]), []);
    assert_eq!(broken_by([welcomed(2)]), [Rule::Kept]);
}

#[test]
fn rule_2_a_batch_that_was_applied_twice() {
    let mut doubled = replica(1, 2, &[1]);
    let path = Script { producer: 0 }.path(Track::Ordered);
    if let Some(series) = doubled.series.get_mut(&path) {
        series.count += Track::Ordered.run();
    }
    assert_eq!(at_end([doubled]), [Rule::Once]);
}

#[test]
fn rule_2_a_write_that_was_applied_twice() {
    let mut doubled = replica(1, 2, &[1, 3]);
    if let Some(series) = doubled.series.get_mut(&put_path(0)) {
        series.count += 1;
    }
    assert_eq!(at_end([doubled]), [Rule::Once]);
}

#[test]
fn rule_3_a_batch_that_was_not_sent() {
    assert_eq!(at_end([replica(1, 4, &[1])]), [Rule::NotInvented]);
    // Batch 3 is sent at 200 ms; a read that ended at 199 ms cannot see it, one at 200 ms can.
    let at = |began| read(Level::Any, began, 30, batches(3));
    assert_eq!(broken_by([at(189)]), [Rule::NotInvented]);
    assert_eq!(broken_by([at(190)]), []);
}

#[test]
fn rule_3_a_leader_that_waits_for_what_comes_after_the_next() {
    let welcomed = |next| Event::Welcomed {
        at: ms(300),
        producer: 0,
        node: 3,
        next,
    };
    assert_eq!(broken_by([welcomed(4)]), []);
    assert_eq!(broken_by([welcomed(5)]), [Rule::NotInvented]);
}

#[test]
fn rule_3_a_write_that_was_refused_or_never_made() {
    assert_eq!(at_end([replica(1, 2, &[1, 2])]), [Rule::NotInvented]);
    assert_eq!(at_end([replica(1, 2, &[1, 4])]), [Rule::NotInvented]);
    let sees = |seen: &[u64]| broken_by([read(Level::Any, 300, 30, puts(seen))]);
    assert_eq!(sees(&[1, 3]), []);
    assert_eq!(sees(&[2]), [Rule::NotInvented]);
}

#[test]
fn rule_3_a_write_that_is_seen_before_it_was_sent() {
    let at = |began| broken_by([read(Level::Any, began, 30, puts(&[3]))]);
    assert_eq!(at(89), [Rule::NotInvented]);
    assert_eq!(at(90), []);
}

#[test]
fn rule_4_a_hole_in_a_read_and_at_the_end() {
    let hole = Event::Read(Read {
        reader: 1,
        level: Level::Any,
        began: ms(1),
        ended: ms(2),
        reply: Reply::Answered {
            replica: 1,
            applied: 1,
            sightings: Vec::new(),
            oddity: Some("a hole".to_owned()),
        },
    });
    assert_eq!(broken_by([hole]), [Rule::InOrder]);
    let mut holed = replica(1, 2, &[1]);
    let path = Script { producer: 0 }.path(Track::Ordered);
    if let Some(series) = holed.series.get_mut(&path) {
        series.oddity = Some("a hole".to_owned());
    }
    assert_eq!(at_end([holed]), [Rule::InOrder]);
}

#[test]
fn rule_5_nodes_that_differ_in_readings_or_files() {
    assert_eq!(
        at_end([replica(1, 2, &[1]), replica(2, 3, &[1])]),
        [Rule::Same]
    );
    assert_eq!(
        at_end([replica(1, 2, &[1]), replica(2, 2, &[1, 3])]),
        [Rule::Same]
    );
    let with = |node, name: &str, hash: &str| {
        let mut replica = replica(node, 2, &[1]);
        replica.files.insert(name.to_owned(), hash.to_owned());
        replica
    };
    assert_eq!(
        at_end([with(1, "5", "aa"), with(2, "5", "bb")]),
        [Rule::Same]
    );
    // At other positions there is nothing to compare.
    assert_eq!(at_end([with(1, "5", "aa"), with(2, "6", "bb")]), []);
}

#[test]
fn rule_6_a_token_whose_write_is_not_seen() {
    let at = |index, seen| broken_by([read(Level::AtLeast { index }, 300, index, batches(seen))]);
    assert_eq!(at(20, 2), []);
    assert_eq!(at(20, 1), [Rule::Token]);
    assert_eq!(at(19, 1), []);
    // However soon it is asked: a token is a promise, whoever has it.
    let early = read(Level::AtLeast { index: 20 }, 105, 20, batches(1));
    assert_eq!(broken_by([early]), [Rule::Token]);
    let sees =
        |index, seen: &[u64]| broken_by([read(Level::AtLeast { index }, 300, index, puts(seen))]);
    assert_eq!(sees(12, &[1]), []);
    assert_eq!(sees(12, &[]), [Rule::Token]);
    assert_eq!(sees(11, &[]), []);
}

#[test]
fn rule_6_an_answer_from_before_the_token() {
    let at = |applied| broken_by([read(Level::AtLeast { index: 9 }, 300, applied, batches(2))]);
    assert_eq!(at(9), []);
    assert_eq!(at(8), [Rule::Token]);
}

#[test]
fn rule_7_reads_under_a_token_that_go_backwards() {
    let at =
        |began, applied, seen| read(Level::AtLeast { index: 0 }, began, applied, batches(seen));
    assert_eq!(broken_by([at(300, 20, 2), at(320, 20, 2)]), []);
    assert_eq!(
        broken_by([at(300, 20, 2), at(320, 19, 2)]),
        [Rule::Forwards]
    );
    assert_eq!(
        broken_by([at(300, 20, 2), at(320, 20, 1)]),
        [Rule::Forwards]
    );
    // Without a token a reader may be sent to a replica that is further behind.
    let any = |began, applied, seen| read(Level::Any, began, applied, batches(seen));
    assert_eq!(broken_by([any(300, 20, 2), any(320, 10, 1)]), []);
}

#[test]
fn rule_8_a_linearizable_read_that_misses_what_was_acknowledged() {
    let at = |began, seen| broken_by([read(Level::Linearizable, began, 30, batches(seen))]);
    assert_eq!(at(151, 2), []);
    assert_eq!(at(151, 1), [Rule::Linearizable]);
    assert_eq!(at(149, 1), []);
    let sees = |began, seen: &[u64]| broken_by([read(Level::Linearizable, began, 30, puts(seen))]);
    assert_eq!(sees(60, &[]), [Rule::Linearizable]);
    assert_eq!(sees(59, &[]), []);
    assert_eq!(sees(60, &[1]), []);
}

#[test]
fn rule_9_a_read_that_is_staler_than_allowed() {
    let at = |began, seen| {
        broken_by([read(
            Level::MaxStaleness { ms: 100 },
            began,
            30,
            batches(seen),
        )])
    };
    assert_eq!(at(250, 1), [Rule::Fresh]);
    assert_eq!(at(249, 1), []);
    assert_eq!(at(250, 2), []);
    let sees = |began| broken_by([read(Level::MaxStaleness { ms: 100 }, began, 30, puts(&[]))]);
    assert_eq!(sees(160), [Rule::Fresh]);
    assert_eq!(sees(159), []);
}

#[test]
fn rule_10_a_leader_of_an_earlier_election() {
    let follows = |node, term, leader| Event::Follows {
        at: ms(1),
        node,
        term,
        leader,
    };
    let goes_on = [follows(1, 4, 1), follows(2, 4, 1), follows(1, 4, 1)];
    assert_eq!(broken_by(goes_on), []);
    // In one term a node of a greater id may win after another; a later term may be anybody's.
    let ascends = [follows(1, 4, 2), follows(1, 4, 3), follows(1, 5, 1)];
    assert_eq!(broken_by(ascends), []);
    // Another node may be behind.
    assert_eq!(broken_by([follows(1, 5, 1), follows(2, 4, 3)]), []);
    let same_term = [follows(1, 4, 3), follows(1, 4, 2)];
    assert_eq!(broken_by(same_term), [Rule::LeadersAscend]);
    let earlier = [follows(1, 5, 1), follows(1, 4, 3)];
    assert_eq!(broken_by(earlier), [Rule::LeadersAscend]);
}

#[test]
fn rule_11_writes_that_are_not_taken_again_in_time() {
    let recovered = |at| Event::Recovered { since: ms(500), at };
    let last = ms(500).after(RECOVERY_MAX);
    assert_eq!(broken_by([recovered(Some(last))]), []);
    let late = last.after(Duration::from_millis(1));
    assert_eq!(broken_by([recovered(Some(late))]), [Rule::Recovers]);
    assert_eq!(broken_by([recovered(None)]), [Rule::Recovers]);
}

#[test]
fn rule_12_an_acknowledgement_that_is_faster_than_a_sync() {
    let slow = |took: u64| {
        let at = ms(10_000);
        let takes = Event::SyncsTake { at, ms: 250 };
        broken(&[takes, sent(11_000, 0, 1), acked(11_000 + took, 0, 1, 5)])
    };
    assert_eq!(slow(250), []);
    assert_eq!(slow(249), [Rule::Synced]);
    // Before syncs are known to be slow, and once they are not any more, nothing is concluded.
    let takes = |ms| Event::SyncsTake { at: Moment(0), ms };
    let early = [takes(250), sent(999, 0, 1), acked(1000, 0, 1, 5)];
    assert_eq!(broken(&early), []);
    let late = [takes(250), sent(2000, 0, 1), takes(0), acked(2001, 0, 1, 5)];
    assert_eq!(broken(&late), []);
}

#[test]
fn rule_13_a_node_that_ends_by_itself() {
    let ended = Event::Misbehaved {
        at: ms(1),
        text: "node 2 ended".to_owned(),
    };
    assert_eq!(broken_by([ended]), [Rule::Behaves]);
}

#[test]
fn what_is_too_much_to_tell_is_counted() {
    let misses = (0..20).map(|n| read(Level::Linearizable, 300 + n, 30, batches(0)));
    let mut events = batches_sent();
    events.extend(misses);
    let found = check(&events);
    assert_eq!(found.len(), TOLD_MAX + 1);
    assert!(found.last().unwrap().text.contains("15 more"));
}
