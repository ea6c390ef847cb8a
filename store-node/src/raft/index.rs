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
mod tests;
