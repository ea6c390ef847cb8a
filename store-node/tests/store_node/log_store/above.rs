//! Opening a log above a manifest: whatever a machine can have stopped in is gone on from, whatever is
//! missing is named.
//!
//! The streams are written record by record, as a log that has been purged may begin with anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use openraft::{
    RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
    vote::RaftLeaderId,
};
use segment_log::{Disk, SegmentLog, fake::FakeDisk};
use store_node::{
    command,
    raft::{
        position::Place,
        record,
        recovery::{self, OpenedLog},
        types::{
            Address, Content, Entry, LeaderId, LogId, Members, OnFatal, Payload, StoredMembers,
            Vote,
        },
    },
    segments::manifest::Position,
};

use super::{LOG, open, open_into, options};

fn id(term: u64, index: u64) -> LogId {
    LogId {
        leader_id: LeaderId::new(term, 1),
        index,
    }
}

fn vote(term: u64) -> Vote {
    Vote {
        leader_id: LeaderId::new(term, 1),
        committed: true,
    }
}

/// Opens an epoch of one producer, so that how many were applied can be told.
fn entry(term: u64, index: u64) -> Entry {
    Entry {
        log_id: id(term, index),
        payload: Content::Normal(Payload(command::open_producer("device/a"))),
    }
}

fn members() -> StoredMembers {
    let nodes = BTreeMap::from([(
        1,
        Address {
            quic: "a:1".to_owned(),
        },
    )]);
    let members = Members::new(vec![BTreeSet::from([1])], nodes).expect("one with an address");
    StoredMembers::new(Some(id(1, 0)), members)
}

fn base(term: u64, index: u64) -> Position {
    let place = Place {
        id: id(term, index),
        members: members(),
    };
    place.to_position(0)
}

/// Records of a stream.
fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<Vec<Bytes>> {
    indexes
        .map(|index| record::entry(0, &entry(term, index)))
        .collect()
}

fn truncate(last: Option<LogId>) -> Vec<Vec<Bytes>> {
    vec![record::truncate(0, last.as_ref())]
}

fn purge(upto: LogId) -> Vec<Vec<Bytes>> {
    vec![record::purge(0, &upto)]
}

fn committed(upto: LogId) -> Vec<Vec<Bytes>> {
    vec![record::committed(0, Some(&upto))]
}

/// A disk whose log is this stream.
fn disk_with(stream: &[Vec<Vec<Bytes>>]) -> FakeDisk {
    let disk = FakeDisk::new();
    let visit = &mut |_, _: &[u8]| Ok(());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut log, _) =
        SegmentLog::open(shared, Path::new(LOG), options(), visit).expect("an empty disk opens");
    for record in stream.iter().flatten() {
        log.append_shared(record).expect("a healthy disk");
    }
    log.close().expect("a healthy disk");
    disk.restart()
}

fn opened(disk: &FakeDisk, base: Option<&Position>) -> Result<OpenedLog, String> {
    let on_fatal = OnFatal::new(|line| panic!("{line}"));
    open(Arc::new(disk.clone()), on_fatal, base).map_err(|error| {
        let mut line = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            line = format!("{line}: {cause}");
            source = cause.source();
        }
        line
    })
}

/// Why the stream is refused above `base`, by opening and by inspecting alike.
fn refusal(stream: &[Vec<Vec<Bytes>>], base: Option<&Position>) -> String {
    let disk = disk_with(stream);
    let inspected = recovery::inspect(&disk, Path::new(LOG), 0, base, &mut |_, _| {});
    inspected.expect_err("verifying finds it too");
    opened(&disk, base).map(drop).expect_err("it is refused")
}

/// Opens the stream above `base`, appends an entry of `term` after it, and opens it once more, twice:
/// with the same manifest, and with one at the entry appended. Returns the indexes held the first time.
async fn goes_on(stream: &[Vec<Vec<Bytes>>], base: &Position, term: u64) -> Vec<LogId> {
    let disk = disk_with(stream);
    let inspected = recovery::inspect(&disk, Path::new(LOG), 0, Some(base), &mut |_, _| {});
    inspected.expect("verifying finds nothing");
    let mut log = opened(&disk, Some(base)).expect("it opens");
    let state = log.store.get_log_state().await.expect("in memory");
    let at = Place::of(0, base).expect("it was just made").id;
    assert_eq!(state.last_purged_log_id, Some(at));
    assert!(log.machine.applied() >= Some(at));
    let held = held(&mut log).await;
    let next = state.last_log_id.map_or(0, |last| last.index + 1);
    append(&mut log, entry(term, next)).await;
    close(log);
    for base in [base, &self::base(term, next)] {
        let disk = disk.restart();
        let mut log = opened(&disk, Some(base)).expect("it opens again");
        let last = log.store.get_log_state().await.expect("in memory");
        assert_eq!(last.last_log_id, Some(id(term, next)));
        close(log);
    }
    held
}

/// The last position applied.
fn applied(log: &OpenedLog) -> Option<u64> {
    log.machine.applied().map(|applied| applied.index)
}

async fn held(log: &mut OpenedLog) -> Vec<LogId> {
    let found = log.store.try_get_log_entries(..).await;
    let found = found.expect("entries are readable");
    found.into_iter().map(|entry| entry.log_id).collect()
}

async fn append(log: &mut OpenedLog, entry: Entry) {
    let appended = log.store.append([entry], IOFlushed::noop()).await;
    appended.expect("it follows");
}

fn close(log: OpenedLog) {
    log.writer.shutdown().expect("a healthy disk");
}

fn ids(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<LogId> {
    indexes.map(|index| id(term, index)).collect()
}

#[tokio::test]
async fn what_the_manifest_holds_is_passed_over() {
    let stream = [entries(1, 0..=9), committed(id(1, 7))];
    assert_eq!(goes_on(&stream, &base(1, 5), 1).await, ids(1, 6..=9));
    assert_eq!(goes_on(&stream, &base(1, 9), 1).await, []);
    let disk = disk_with(&stream);
    let state = Arc::default();
    let on_fatal = OnFatal::new(|line| panic!("{line}"));
    let log = open_into(&state, Arc::new(disk), on_fatal, Some(&base(1, 5))).expect("it opens");
    assert_eq!(applied(&log), Some(7));
    let state = state.read().expect("nobody panics with it");
    let epochs = state.summary().producers;
    assert_eq!(epochs[0].epoch, 2, "entries 6 and 7 alone were applied");
    close(log);
}

#[tokio::test]
async fn a_log_may_begin_right_after_the_manifest() {
    let stream = [entries(2, 6..=9), committed(id(2, 8))];
    assert_eq!(goes_on(&stream, &base(2, 5), 2).await, ids(2, 6..=9));
    let gap = refusal(&stream, Some(&base(2, 4)));
    assert!(
        gap.contains("manifest stands at") && gap.contains("begins with entry 6"),
        "{gap}"
    );
}

#[tokio::test]
async fn without_its_manifest_a_purged_log_is_refused() {
    let stream = [entries(1, 6..=9)];
    let missing = refusal(&stream, None);
    assert!(missing.contains("begins with entry 6"), "{missing}");
    assert!(missing.contains("manifest"), "{missing}");
    let stream = [entries(1, 0..=9), purge(id(1, 5))];
    let missing = refusal(&stream, None);
    assert!(missing.contains("purged through"), "{missing}");
    let older = refusal(&stream, Some(&base(1, 4)));
    assert!(older.contains("a newer one is missing"), "{older}");
    goes_on(&stream, &base(1, 5), 1).await;
}

#[tokio::test]
async fn a_gap_is_found_before_anything_after_it_is_applied() {
    let stream = [entries(1, 6..=9), committed(id(1, 8)), entries(1, 10..=11)];
    let gap = refusal(&stream, Some(&base(1, 4)));
    assert!(gap.contains("those between them are missing"), "{gap}");
    let state = Arc::default();
    let on_fatal = OnFatal::new(|line| panic!("{line}"));
    let disk = Arc::new(disk_with(&stream));
    let refused = open_into(&state, disk, on_fatal, Some(&base(1, 4)));
    drop(refused.expect_err("there is a gap"));
    // What is applied may begin work of its own.
    let state = state.read().expect("nobody panics with it");
    assert!(state.summary().producers.is_empty());
}

#[tokio::test]
async fn a_committed_record_below_the_manifest_changes_nothing() {
    let stream = [entries(1, 0..=3), committed(id(1, 2)), entries(1, 4..=9)];
    let disk = disk_with(&stream);
    let log = opened(&disk, Some(&base(1, 5))).expect("it opens");
    assert_eq!(applied(&log), Some(5));
    close(log);
    goes_on(&stream, &base(1, 5), 1).await;
}

#[tokio::test]
async fn members_and_position_are_the_manifests_until_the_log_says_more() {
    let disk = disk_with(&[entries(1, 0..=9), committed(id(1, 8))]);
    let log = opened(&disk, Some(&base(1, 5))).expect("it opens");
    let text = format!("{:?}", log.machine);
    assert!(text.contains("a:1"), "{text}");
    close(log);
}

#[tokio::test]
async fn a_log_that_ends_before_the_manifest_goes_on_after_it() {
    // The manifest was installed, and the machine stopped before the purge was written.
    let stream = [entries(1, 0..=3), committed(id(1, 2))];
    assert_eq!(goes_on(&stream, &base(3, 20), 3).await, []);
    assert_eq!(goes_on(&[], &base(3, 20), 3).await, []);
    assert_eq!(goes_on(&[purge(id(2, 10))], &base(3, 20), 3).await, []);
    // It was written, and more was installed since.
    let stream = [entries(1, 0..=3), purge(id(3, 20)), entries(3, 21..=22)];
    assert_eq!(goes_on(&stream, &base(3, 20), 3).await, ids(3, 21..=22));
    assert_eq!(goes_on(&stream, &base(4, 30), 4).await, []);
}

#[tokio::test]
async fn entries_of_another_branch_than_the_manifests_are_taken_back() {
    let stream = [entries(1, 0..=9), committed(id(1, 4)), entries(1, 10..=19)];
    assert_eq!(goes_on(&stream, &base(2, 12), 2).await, []);
    assert_eq!(goes_on(&stream, &base(2, 19), 2).await, []);
    assert_eq!(goes_on(&[entries(1, 0..=9)], &base(2, 6), 2).await, []);
}

#[tokio::test]
async fn what_was_committed_is_never_taken_back() {
    let truncated = [
        entries(1, 0..=9),
        committed(id(1, 7)),
        truncate(Some(id(1, 6))),
    ];
    for base in [None, Some(base(1, 3)), Some(base(1, 7)), Some(base(1, 9))] {
        let refused = refusal(&truncated, base.as_ref());
        assert!(refused.contains("taken back later"), "{refused}");
    }
    let other = [entries(1, 0..=9), committed(id(1, 7))];
    let refused = refusal(&other, Some(&base(2, 6)));
    assert!(refused.contains("was committed after"), "{refused}");
    // Nothing of the manifest's position or after it is known to be committed.
    goes_on(&other, &base(2, 8), 2).await;
    let other = [entries(1, 0..=9), purge(id(2, 5))];
    let refused = refusal(&other, Some(&base(2, 5)));
    assert!(
        refused.contains("was purged, and the log held"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_log_may_begin_with_what_is_taken_back_later() {
    // Of a branch whose beginning was in a log segment that is gone.
    let stream = [
        entries(1, 22..=23),
        purge(id(1, 18)),
        truncate(Some(id(1, 20))),
        entries(2, 21..=24),
        committed(id(2, 22)),
    ];
    assert_eq!(goes_on(&stream, &base(1, 20), 2).await, ids(2, 21..=24));
    let gap = refusal(&stream, Some(&base(1, 19)));
    assert!(gap.contains("begins with entry 21"), "{gap}");
    let stream = [
        entries(1, 22..=23),
        truncate(Some(id(1, 20))),
        purge(id(1, 18)),
        entries(2, 21..=24),
    ];
    assert_eq!(goes_on(&stream, &base(1, 20), 2).await, ids(2, 21..=24));
    // And with nothing after it.
    let stream = [entries(1, 22..=23), truncate(Some(id(1, 20)))];
    assert_eq!(goes_on(&stream, &base(1, 20), 2).await, []);
    let gap = refusal(&stream, Some(&base(1, 19)));
    assert!(gap.contains("begins with entry 21"), "{gap}");
    // And where a manifest was installed over the branch.
    let stream = [
        entries(1, 22..=23),
        truncate(Some(id(1, 16))),
        purge(id(2, 18)),
        entries(2, 19..=20),
    ];
    assert_eq!(goes_on(&stream, &base(2, 18), 2).await, ids(2, 19..=20));
}

#[tokio::test]
async fn a_log_may_begin_with_a_purge_of_what_is_gone() {
    let stream = [purge(id(1, 18)), entries(1, 25..=26)];
    assert_eq!(goes_on(&stream, &base(1, 24), 1).await, ids(1, 25..=26));
    let gap = refusal(&stream, Some(&base(1, 23)));
    assert!(gap.contains("begins with entry 25"), "{gap}");
}

#[tokio::test]
async fn an_entry_that_does_not_follow_is_refused_wherever_the_log_begins() {
    for stream in [
        [entries(1, 0..=5), entries(1, 7..=9)],
        [truncate(Some(id(1, 5))), entries(1, 7..=9)],
        [entries(1, 3..=5), entries(1, 5..=9)],
    ] {
        let gap = refusal(&stream, Some(&base(1, 8)));
        assert!(gap.contains("does not follow the log"), "{gap}");
    }
}

#[tokio::test]
async fn the_greatest_vote_counts_wherever_it_stands() {
    let stream = [
        vec![record::vote(0, &vote(3))],
        entries(3, 0..=2),
        vec![record::vote(0, &vote(2))],
    ];
    let disk = disk_with(&stream);
    let mut log = opened(&disk, None).expect("it opens");
    let read = log.store.read_vote().await.expect("in memory");
    assert_eq!(read, Some(vote(3)));
    close(log);
}
