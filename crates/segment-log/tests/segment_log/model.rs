//! What a log must hold: a plain list of records, with what may and may not be missing from it.

use std::collections::BTreeMap;

use segment_log::Location;

/// The records every segment after the first begins with.
pub(crate) const PREAMBLE: [&[u8]; 2] = [b"preamble A", b"preamble, the second part"];

#[derive(Clone, Debug)]
struct Entry {
    payload: Vec<u8>,
    /// None while the append that would tell has not returned.
    location: Option<Location>,
}

/// The records appended and not taken back, oldest first. No two have the same payload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    entries: Vec<Entry>,
    /// So many of them must survive anything.
    kept_min: usize,
    /// Records in segments below this are gone.
    purged: u64,
    /// Records in segments below this may be gone.
    purging: u64,
}

impl Model {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn location(&self, index: usize) -> Location {
        self.entries[index]
            .location
            .expect("the append has returned")
    }

    pub(crate) fn last_segment(&self) -> u64 {
        self.entries
            .last()
            .and_then(|entry| entry.location)
            .map_or(1, |location| location.segment)
    }

    /// The records that must be readable now.
    pub(crate) fn synced(&self) -> impl Iterator<Item = (Location, &[u8])> {
        let synced = self.entries[..self.kept_min].iter();
        synced.filter_map(|entry| Some((entry.location?, entry.payload.as_slice())))
    }

    pub(crate) fn begin_append(&mut self, payloads: &[Vec<u8>]) {
        let entry = |payload: &Vec<u8>| Entry {
            payload: payload.clone(),
            location: None,
        };
        self.entries.extend(payloads.iter().map(entry));
    }

    pub(crate) fn appended(&mut self, locations: &[Location]) {
        let first = self.entries.len() - locations.len();
        for (entry, location) in self.entries[first..].iter_mut().zip(locations) {
            entry.location = Some(*location);
        }
    }

    pub(crate) fn all_synced(&mut self) {
        self.kept_min = self.entries.len();
    }

    pub(crate) fn begin_truncate(&mut self, keep: usize) {
        self.kept_min = self.kept_min.min(keep);
    }

    pub(crate) fn truncated(&mut self, keep: usize) {
        self.entries.truncate(keep);
        self.kept_min = keep;
    }

    pub(crate) fn begin_purge(&mut self, segment: u64) {
        self.purging = self.purging.max(segment);
    }

    pub(crate) fn purge_done(&mut self) {
        self.purged = self.purging;
        let purged = self.purged;
        self.entries
            .retain(|entry| entry.location.is_none_or(|found| found.segment >= purged));
        self.all_synced();
    }

    /// Panics unless `visited` is what a log may hold after the calls so far and any crash:
    /// a prefix of what was appended, with everything synced, without what was purged, each record
    /// in its place, and nothing else but the preamble at the start of each segment.
    pub(crate) fn check(&self, visited: &[(Location, Vec<u8>)]) {
        check_preambles(visited);
        let found: Vec<_> = records_of(visited).collect();
        let missing_in_front = match found.first() {
            Some((_, payload)) => self
                .entries
                .iter()
                .position(|entry| entry.payload == **payload)
                .unwrap_or_else(|| panic!("{payload:?} was never appended, or was taken back")),
            None => 0,
        };
        let (gone, rest) = self.entries.split_at(missing_in_front);
        for entry in gone {
            let location = entry.location.expect("only written records are purged");
            assert!(
                location.segment < self.purging,
                "{location} is missing in front"
            );
        }
        assert!(found.len() <= rest.len(), "more records than were appended");
        for (entry, (location, payload)) in rest.iter().zip(&found) {
            assert_eq!(entry.payload, **payload, "at {location}");
            assert!(location.segment >= self.purged, "{location} was purged");
            assert!(
                entry.location.is_none_or(|known| known == *location),
                "moved to {location}"
            );
        }
        let kept = missing_in_front + found.len();
        let purgeable = |entry: &Entry| entry.location.is_some_and(|l| l.segment < self.purging);
        for entry in self.entries.iter().take(self.kept_min).skip(kept) {
            assert!(
                found.is_empty() && purgeable(entry),
                "a synced record is lost: {entry:?}"
            );
        }
    }

    /// Takes what a recovery found as the new truth; all of it is durable.
    pub(crate) fn adopt(&mut self, visited: &[(Location, Vec<u8>)]) {
        self.entries = records_of(visited)
            .map(|(location, payload)| Entry {
                payload: payload.clone(),
                location: Some(location),
            })
            .collect();
        self.purged = self.purging;
        self.all_synced();
        // An interrupted purge may have left any of its segments.
        if let Some(first) = self.entries.first().and_then(|entry| entry.location) {
            self.purged = self.purged.min(first.segment);
        }
    }
}

fn records_of(visited: &[(Location, Vec<u8>)]) -> impl Iterator<Item = (Location, &Vec<u8>)> {
    visited
        .iter()
        .filter(|(_, payload)| !PREAMBLE.contains(&payload.as_slice()))
        .map(|(location, payload)| (*location, payload))
}

fn check_preambles(visited: &[(Location, Vec<u8>)]) {
    let mut segments: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
    for (location, payload) in visited {
        segments.entry(location.segment).or_default().push(payload);
    }
    for (segment, payloads) in segments {
        let preambles = payloads
            .iter()
            .filter(|payload| PREAMBLE.contains(payload))
            .count();
        if segment == 1 {
            assert_eq!(preambles, 0, "a preamble in the first segment");
        } else {
            assert_eq!(preambles, PREAMBLE.len(), "segment {segment}");
            assert_eq!(payloads[..PREAMBLE.len()], PREAMBLE, "segment {segment}");
        }
    }
}
