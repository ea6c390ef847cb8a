//! What of the log is held in memory: where each entry is, who made it, and the newest entries
//! themselves.
//!
//! A plain value without I/O; `log_store.rs` puts it behind a lock. An entry costs 16 bytes for its
//! location. Leaders are kept once for each run of entries, so the position of any entry is known
//! without reading it.

use std::collections::VecDeque;

use segment_log::Location;

use super::types::{CommittedLeaderId, Content, Entry, LogId, Vote};

/// Stands for the location of an entry that the writer has not completed yet.
const UNWRITTEN: Location = Location {
    segment: u64::MAX,
    offset: 0,
    len: 0,
};

/// The log as memory knows it.
///
/// - Entries are contiguous: `first..first + locations.len()`.
/// - `tail` holds the last `tail.len()` of them, and at least every one that is not written yet.
/// - `kept` are the locations of the entries right before `first`, which consensus has purged and whose
///   bytes are held on the disk for those who follow the log from afar.
/// - `leaders` covers exactly the entries held, in order; no two neighbours are equal.
#[derive(Debug, Default)]
pub(super) struct LogIndex {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    purged: Option<LogId>,
    first: u64,
    locations: VecDeque<Location>,
    leaders: VecDeque<(u64, CommittedLeaderId)>,
    tail: VecDeque<Entry>,
    tail_bytes: usize,
    tail_bytes_max: usize,
    kept: VecDeque<Location>,
    kept_bytes: u64,
    kept_bytes_max: u64,
}

/// Where an entry is to be had.
#[derive(Debug)]
pub(super) enum Found {
    /// Here it is.
    Cached(Entry),
    /// In the log on disk.
    Written { id: LogId, location: Location },
}

/// An entry does not follow the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entry {found} does not follow the log, which goes on at {expected}")]
pub(super) struct Gap {
    /// The index that would follow.
    pub(super) expected: u64,
    /// The index that came.
    pub(super) found: u64,
}

impl LogIndex {
    /// An empty log that keeps up to `tail_bytes_max` bytes of newest entries in memory, and up to
    /// `kept_bytes_max` of purged ones on the disk.
    pub(super) fn new(tail_bytes_max: usize, kept_bytes_max: u64) -> Self {
        Self {
            tail_bytes_max,
            kept_bytes_max,
            ..Self::default()
        }
    }

    /// Bytes of purged entries that are kept on the disk.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// Lets go of all purged entries.
    pub(super) fn forget_kept(&mut self) {
        self.kept.clear();
        self.kept_bytes = 0;
    }

    /// The index of the first entry that is held or kept, or would be.
    pub(super) fn first_kept(&self) -> u64 {
        self.first - self.kept.len() as u64
    }

    /// The position of the last entry, or what was purged if there is none.
    pub(super) fn last(&self) -> Option<LogId> {
        match self.end().checked_sub(1) {
            Some(last) if !self.locations.is_empty() => self.id(last),
            _ => self.purged,
        }
    }

    /// The last position that is no longer part of the log.
    pub(super) fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// The index of the first entry held, if there is one.
    pub(super) fn first(&self) -> Option<u64> {
        (!self.locations.is_empty()).then_some(self.first)
    }

    /// The index after the last entry.
    pub(super) fn end(&self) -> u64 {
        self.first + self.locations.len() as u64
    }

    /// The position of the entry at `index`, if it is held.
    pub(super) fn id(&self, index: u64) -> Option<LogId> {
        if index < self.first || index >= self.end() {
            return None;
        }
        let run = self.leaders.partition_point(|(first, _)| *first <= index);
        let leader_id = self.leaders.get(run.checked_sub(1)?)?.1;
        Some(LogId { leader_id, index })
    }

    /// Takes an entry that follows the last one and is not written yet.
    pub(super) fn push(&mut self, entry: &Entry) -> Result<(), Gap> {
        self.push_location(&entry.log_id, UNWRITTEN)?;
        self.cache(entry.clone());
        Ok(())
    }

    /// Takes the location of an entry that follows the last one and is not kept in memory.
    pub(super) fn push_location(&mut self, id: &LogId, location: Location) -> Result<(), Gap> {
        if self.locations.is_empty() && self.purged.is_none() {
            self.first = id.index;
        }
        if id.index != self.end() {
            return Err(Gap {
                expected: self.end(),
                found: id.index,
            });
        }
        if self.leaders.back().map(|(_, leader)| leader) != Some(&id.leader_id) {
            self.leaders.push_back((id.index, id.leader_id));
        }
        self.locations.push_back(location);
        Ok(())
    }

    /// Keeps the newest entry in memory. Whoever fills the tail does so in order and to the end.
    pub(super) fn cache(&mut self, entry: Entry) {
        self.tail_bytes += cached_bytes(&entry);
        self.tail.push_back(entry);
    }

    /// Notes that the entries `ids` are written at `locations`. An entry that was taken back
    /// meanwhile, or replaced by another leader's, is left alone; the same entry appended again is
    /// the same bytes.
    pub(super) fn written(&mut self, ids: &[LogId], locations: &[Location]) {
        for (id, location) in ids.iter().zip(locations) {
            if self.id(id.index) == Some(*id)
                && let Some(slot) = self.slot(id.index)
            {
                *slot = *location;
            }
        }
        self.evict();
    }

    /// Takes back every entry after `last`; all of them if `None`.
    pub(super) fn truncate_after(&mut self, last: Option<&LogId>) {
        let end = last
            .map_or(0, |last| last.index + 1)
            .clamp(self.first, self.end());
        let kept = usize::try_from(end - self.first).unwrap_or(usize::MAX);
        let dropped = self.locations.len() - kept;
        self.locations.truncate(kept);
        for _ in 0..dropped {
            let Some(entry) = self.tail.pop_back() else {
                break;
            };
            self.tail_bytes -= cached_bytes(&entry);
        }
        while self.leaders.back().is_some_and(|(first, _)| *first >= end) {
            self.leaders.pop_back();
        }
    }

    /// Forgets every entry up to and including `upto`, which may lie beyond the last.
    pub(super) fn purge(&mut self, upto: &LogId) {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return;
        }
        // Where another log took the place of this one, what was before is of another branch perhaps.
        let is_of_this_log = self.id(upto.index) == Some(*upto);
        self.purged = Some(*upto);
        let next = upto.index + 1;
        let gone = next.saturating_sub(self.first);
        let gone = usize::try_from(gone)
            .unwrap_or(usize::MAX)
            .min(self.locations.len());
        if !is_of_this_log {
            self.forget_kept();
        }
        for location in self.locations.drain(..gone) {
            if is_of_this_log && location != UNWRITTEN {
                self.kept.push_back(location);
                self.kept_bytes += kept_bytes(location);
            } else {
                self.kept.clear();
                self.kept_bytes = 0;
            }
        }
        while self.kept_bytes > self.kept_bytes_max
            && let Some(location) = self.kept.pop_front()
        {
            self.kept_bytes -= kept_bytes(location);
        }
        while self.tail.len() > self.locations.len() {
            self.pop_tail();
        }
        self.first = next;
        let runs = self.leaders.partition_point(|(first, _)| *first <= next);
        self.leaders.drain(..runs.saturating_sub(1));
        if self.locations.is_empty() {
            self.leaders.clear();
        } else if let Some((first, _)) = self.leaders.front_mut() {
            *first = (*first).max(next);
        }
    }

    /// Whether the entry at `index` and all before it are written; entries that were purged count.
    pub(super) fn is_written(&self, index: u64) -> bool {
        let Some(at) = index.checked_sub(self.first) else {
            return true;
        };
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        // Entries are written in their order.
        self.locations
            .get(at)
            .is_some_and(|location| *location != UNWRITTEN)
    }

    /// Bytes of the entries after `index`. Those that are not written yet count with their content.
    pub(super) fn bytes_after(&self, index: u64) -> u64 {
        let from = (index + 1).saturating_sub(self.first);
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let from = from.min(self.locations.len());
        let written = self.locations.range(from..);
        let written = written.filter(|location| **location != UNWRITTEN);
        let written: u64 = written.map(|location| u64::from(location.len)).sum();
        let newest =
            self.tail.iter().rev().take_while(|entry| {
                entry.log_id.index > index && !self.is_written(entry.log_id.index)
            });
        written
            + newest
                .map(|entry| content_bytes(&entry.payload) as u64)
                .sum::<u64>()
    }

    /// The log segment of the first entry held or kept; later than any if it is not written, or there is
    /// none.
    pub(super) fn first_segment(&self) -> u64 {
        let mut locations = self.kept.iter().chain(&self.locations);
        locations
            .next()
            .map_or(UNWRITTEN.segment, |location| location.segment)
    }

    /// Where the entry at `index` is to be had, if it is part of the log.
    pub(super) fn find(&self, index: u64) -> Option<Found> {
        let id = self.id(index)?;
        let tail_first = self.end() - self.tail.len() as u64;
        if let Some(at) = index.checked_sub(tail_first) {
            let at = usize::try_from(at).ok()?;
            return self.tail.get(at).cloned().map(Found::Cached);
        }
        let at = usize::try_from(index - self.first).ok()?;
        let location = *self.locations.get(at)?;
        Some(Found::Written { id, location })
    }

    /// Where the entry at `index` is to be had, if it is part of the log or was and is kept: its record,
    /// or itself.
    pub(super) fn find_kept(&self, index: u64) -> Option<Result<Entry, Location>> {
        if let Some(before) = self.first.checked_sub(index).filter(|before| *before > 0) {
            let at = self.kept.len().checked_sub(usize::try_from(before).ok()?)?;
            return self.kept.get(at).copied().map(Err);
        }
        Some(match self.find(index)? {
            Found::Cached(entry) => Ok(entry),
            Found::Written { location, .. } => Err(location),
        })
    }

    /// The last position of each leader's entries within `from..=to`.
    pub(super) fn last_of_each_leader(&self, from: u64, to: u64) -> Vec<LogId> {
        let starts = self.leaders.iter().map(|(first, _)| *first);
        let ends = starts.filter(|first| *first > from && *first <= to);
        ends.map(|first| first - 1)
            .chain([to])
            .filter_map(|last| self.id(last))
            .collect()
    }

    /// Bytes of entries kept in memory.
    #[cfg(test)]
    fn cached(&self) -> usize {
        self.tail_bytes
    }

    fn slot(&mut self, index: u64) -> Option<&mut Location> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.locations.get_mut(at)
    }

    /// Lets the oldest entries in memory go that are written, until the bound is kept.
    fn evict(&mut self) {
        while self.tail_bytes > self.tail_bytes_max && !self.tail.is_empty() {
            let at = self.locations.len() - self.tail.len();
            if self.locations[at] == UNWRITTEN {
                return;
            }
            self.pop_tail();
        }
    }

    fn pop_tail(&mut self) {
        if let Some(entry) = self.tail.pop_front() {
            self.tail_bytes -= cached_bytes(&entry);
        }
    }
}

/// What an entry costs in memory: its payload and about as much as the rest of it takes.
fn cached_bytes(entry: &Entry) -> usize {
    content_bytes(&entry.payload) + size_of::<Entry>()
}

/// What a kept entry costs: its record, and about what is held of it in memory.
const fn kept_bytes(location: Location) -> u64 {
    const HELD_BYTES: u64 = 64;
    location.len as u64 + HELD_BYTES
}

/// Bytes of an entry's content, as far as bounds are concerned.
pub(super) fn content_bytes(content: &Content) -> usize {
    match content {
        Content::Normal(payload) => payload.0.len(),
        Content::Blank | Content::Membership(_) => 0,
    }
}

#[cfg(test)]
mod tests {
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
        assert!(
            matches!(index.find(4), Some(Found::Written { location, .. }) if location == place(4))
        );
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
}
