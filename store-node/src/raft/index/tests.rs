//! The index against a plain list, and what it keeps of what was purged.

use bytes::Bytes;
use openraft::vote::RaftLeaderId;
use proptest::prelude::*;

use super::*;
use crate::raft::types::{LeaderId, Payload};

fn entry(term: u64, index: u64) -> Entry {
    Entry {
        log_id: LogId {
            leader_id: LeaderId::new(term, 1),
            index,
        },
        payload: Content::Normal(Payload(Bytes::from(vec![0; 100]))),
    }
}

fn place(index: u64) -> Location {
    Location {
        segment: 1,
        offset: u32::try_from(index).expect("small") * 8,
        len: 132,
    }
}

#[test]
fn an_unwritten_entry_stays_in_memory_whatever_the_bound() {
    let mut index = LogIndex::new(0, 0);
    for i in 0..10 {
        index.push(&entry(1, i)).expect("in order");
    }
    let ids: Vec<LogId> = (0..5).map(|i| entry(1, i).log_id).collect();
    let places: Vec<Location> = (0..5).map(place).collect();
    index.written(&ids, &places);
    assert!(matches!(index.find(4), Some(Found::Written { location, .. }) if location == place(4)));
    assert!(matches!(index.find(5), Some(Found::Cached(found)) if found == entry(1, 5)));
    assert!(index.find(10).is_none());
    // Two that are written, five that are not.
    assert_eq!(index.bytes_after(2), 2 * 132 + 5 * 100);
    assert_eq!(index.bytes_after(8), 100);
    assert_eq!(index.bytes_after(9), 0);
    assert_eq!(index.bytes_after(u64::MAX - 1), 0);
}

#[test]
fn a_location_is_not_given_to_the_entry_that_replaced_its_own() {
    let mut index = LogIndex::new(0, 0);
    index.push(&entry(1, 0)).expect("in order");
    index.push(&entry(1, 1)).expect("in order");
    index.truncate_after(Some(&entry(1, 0).log_id));
    index.push(&entry(2, 1)).expect("in order");
    let ids = [entry(1, 0).log_id, entry(1, 1).log_id];
    index.written(&ids, &[place(0), place(1)]);
    assert!(matches!(index.find(1), Some(Found::Cached(found)) if found == entry(2, 1)));
}

#[test]
fn a_gap_is_refused() {
    let mut index = LogIndex::new(0, 0);
    index
        .push(&entry(1, 3))
        .expect("an empty log begins anywhere");
    let gap = Gap {
        expected: 4,
        found: 5,
    };
    assert_eq!(index.push(&entry(1, 5)), Err(gap));
}

#[test]
fn nothing_is_kept_where_another_log_takes_the_place_of_this_one() {
    let mut index = LogIndex::new(0, 1 << 20);
    let entries: Vec<Entry> = (0..6).map(|i| entry(1, i)).collect();
    let ids: Vec<LogId> = entries.iter().map(|entry| entry.log_id).collect();
    for entry in &entries {
        index.push(entry).expect("in order");
    }
    index.written(&ids, &(0..6).map(place).collect::<Vec<_>>());
    index.purge(&ids[2]);
    assert_eq!((index.first_kept(), index.kept_bytes()), (0, 3 * 196));
    assert_eq!(index.first_segment(), 1);
    // A snapshot of another leader's branch: entries 3 to 5 were never committed.
    index.purge(&entry(2, 4).log_id);
    assert_eq!((index.first_kept(), index.kept_bytes()), (5, 0));
    assert!(index.find_kept(4).is_none());
}

#[derive(Debug, Clone)]
enum Step {
    Append { terms: u64, count: u64 },
    Write,
    TruncateAfter(u64),
    Purge(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3u64, 1..6u64).prop_map(|(terms, count)| Step::Append { terms, count }),
        Just(Step::Write),
        (0..40u64).prop_map(Step::TruncateAfter),
        (0..40u64).prop_map(Step::Purge),
    ]
}

proptest! {
    #[test]
    fn the_index_agrees_with_a_plain_list(steps in prop::collection::vec(step(), 1..40)) {
        let mut index = LogIndex::new(500, 700);
        let mut model: Vec<Entry> = Vec::new();
        // Purged, and written when they were.
        let mut purged: Vec<u64> = Vec::new();
        let (mut first, mut term, mut written) = (0u64, 1u64, 0u64);
        for step in steps {
            let end = first + model.len() as u64;
            match step {
                Step::Append { terms, count } => {
                    term += terms;
                    for i in end..end + count {
                        index.push(&entry(term, i)).expect("it follows");
                        model.push(entry(term, i));
                    }
                }
                Step::Write => {
                    let ids: Vec<LogId> = model.iter().map(|entry| entry.log_id).collect();
                    let places: Vec<Location> = ids.iter().map(|id| place(id.index)).collect();
                    index.written(&ids, &places);
                    written = end;
                    prop_assert!(index.cached() <= 500);
                }
                Step::TruncateAfter(last) if last >= first && last < end => {
                    let keep = usize::try_from(last - first).expect("small") + 1;
                    index.truncate_after(Some(&model[keep - 1].log_id));
                    model.truncate(keep);
                    written = written.min(last + 1);
                }
                Step::Purge(upto) if upto >= first && upto < end => {
                    let gone = usize::try_from(upto - first).expect("small") + 1;
                    index.purge(&model[gone - 1].log_id);
                    for entry in model.drain(..gone) {
                        if entry.log_id.index < written {
                            purged.push(entry.log_id.index);
                        } else {
                            purged.clear();
                        }
                    }
                    // As many as fit, with 64 bytes for each beside its record.
                    purged.drain(..purged.len().saturating_sub(700 / (132 + 64)));
                    first = upto + 1;
                }
                Step::TruncateAfter(_) | Step::Purge(_) => {}
            }
            prop_assert_eq!(index.first_kept(), first - purged.len() as u64);
            for at in 0..first {
                let kept = purged.contains(&at).then(|| place(at));
                let found = index.find_kept(at).map(|found| found.expect_err("not in memory"));
                prop_assert_eq!(found, kept);
            }
            for at in 0..=first + model.len() as u64 {
                prop_assert_eq!(index.is_written(at), at < first.max(written));
            }
            prop_assert_eq!(index.end(), first + model.len() as u64);
            prop_assert_eq!(index.first(), model.first().map(|entry| entry.log_id.index));
            for given in &model {
                prop_assert_eq!(index.id(given.log_id.index), Some(given.log_id));
                match index.find(given.log_id.index) {
                    Some(Found::Cached(found)) => prop_assert_eq!(&found, given),
                    Some(Found::Written { id, location }) => {
                        prop_assert_eq!(id, given.log_id);
                        prop_assert_eq!(location, place(id.index));
                    }
                    None => prop_assert!(false, "entry {} is lost", given.log_id),
                }
            }
        }
    }
}
