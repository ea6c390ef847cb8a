//! A running digest of what was applied and what it came to, to be compared with other replicas.
//!
//! Every entry since the last seal goes into it: where it stands, its bytes, and its outcome. A seal
//! begins it anew, as what was before is compared by the manifest that the seal leads to. So a replica
//! that starts from a manifest has the same digests as one that applied everything itself, and nothing
//! of it is stored. What is compared with what is told in `docs/decisions/0016-consistency-check.md`.

use std::collections::{BTreeSet, VecDeque};

use sensor_model::SeriesId;

use super::Outcome;
use super::registry::SeriesRefusal;

/// How many positions are remembered: replicas ask each other about what each applied lately.
const KEPT_MAX: usize = 16_384;

/// Digests of the newest positions.
#[derive(Debug, Default)]
pub struct Trail {
    /// The position after the newest.
    next: u64,
    /// Of the newest positions, the last of them `next - 1`.
    values: VecDeque<u64>,
    /// Entries were left out, so there is nothing to compare before the next seal.
    is_lost: bool,
}

/// One entry as it was applied.
#[derive(Debug)]
pub struct Footprint {
    index: u64,
    hasher: blake3::Hasher,
}

impl Trail {
    /// That of a state which is as of the seal at `index`.
    pub(super) fn begun_at(index: u64) -> Self {
        Self {
            next: index + 1,
            values: VecDeque::from([beginning(index)]),
            is_lost: false,
        }
    }

    /// Adds an entry that was just applied.
    pub(super) fn add(&mut self, footprint: Footprint, is_seal: bool) {
        let Footprint { index, mut hasher } = footprint;
        self.is_lost = !is_seal && (self.is_lost || index != self.next);
        if index != self.next {
            self.values.clear();
        }
        self.next = index + 1;
        if self.is_lost {
            return;
        }
        let value = if is_seal {
            beginning(index)
        } else {
            let last = self.values.back().copied().unwrap_or_default();
            hasher.update(&last.to_le_bytes());
            short(&hasher)
        };
        if self.values.len() == KEPT_MAX {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// The last position that was applied.
    pub const fn last(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// The newest position with its digest.
    pub fn newest(&self) -> Option<(u64, u64)> {
        Some((self.next.checked_sub(1)?, *self.values.back()?))
    }

    /// The digest at `index`, if it is remembered.
    pub fn at(&self, index: u64) -> Option<u64> {
        let back = self.next.checked_sub(index)?;
        let at = self.values.len().checked_sub(usize::try_from(back).ok()?)?;
        self.values.get(at).copied()
    }
}

impl Footprint {
    /// The entry at `index` that the leader `node` made in `term`.
    pub fn of(index: u64, term: u64, node: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        for number in [index, term, node] {
            hasher.update(&number.to_le_bytes());
        }
        Self { index, hasher }
    }

    /// It set the membership.
    #[must_use]
    pub fn with_members(mut self, members: &BTreeSet<u64>) -> Self {
        self.hasher.update(b"members");
        for id in members {
            self.hasher.update(&id.to_le_bytes());
        }
        self
    }

    /// It was a command, and came to `outcome`.
    #[must_use]
    pub fn with_command(mut self, payload: &[u8], outcome: &Outcome) -> Self {
        // A checksum tells accidents apart, and costs a tenth of a hash.
        self.hasher.update(&crc32c::crc32c(payload).to_le_bytes());
        self.hasher.update(&(payload.len() as u64).to_le_bytes());
        let (tag, number) = summary(outcome);
        self.hasher.update(&[tag]).update(&number.to_le_bytes());
        if let Outcome::SeriesOpened { results } = outcome {
            for result in results {
                self.hasher.update(&opened(result).to_le_bytes());
            }
        }
        self
    }
}

/// Where digests begin: at the state of the seal at `index`.
fn beginning(index: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"seal").update(&index.to_le_bytes());
    short(&hasher)
}

fn short(hasher: &blake3::Hasher) -> u64 {
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// What an outcome is and its number. Programs of different versions compare these: they never change.
fn summary(outcome: &Outcome) -> (u8, u64) {
    match outcome {
        Outcome::SeriesOpened { results } => (1, results.len() as u64),
        Outcome::ProducerOpened { epoch } => (2, *epoch),
        Outcome::Applied { readings } => (3, *readings),
        Outcome::Duplicate { next } => (4, *next),
        Outcome::Gap { expected } => (5, *expected),
        Outcome::Fenced { epoch } => (6, *epoch),
        Outcome::KindMismatch { .. } => (7, 0),
        Outcome::NodeClaimed => (8, 0),
        Outcome::NodeIdTaken => (9, 0),
        Outcome::Sealed => (10, 0),
        Outcome::Compacting => (11, 0),
        Outcome::Deleted => (12, 0),
        Outcome::Unforeseen { .. } => (13, 0),
        Outcome::RetentionSet => (14, 0),
        Outcome::Refused { .. } => (15, 0),
        Outcome::Described { is_new, .. } => (16, u64::from(*is_new)),
        Outcome::NotDescribed { .. } => (17, 0),
        Outcome::BoardSet => (18, 0),
        Outcome::BoardConflict { revision } => (19, *revision),
        Outcome::TooManyBoards => (20, 0),
    }
}

fn opened(result: &Result<SeriesId, SeriesRefusal>) -> u64 {
    match result {
        Ok(id) => id.0,
        Err(_) => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(index: u64, readings: u64) -> Footprint {
        Footprint::of(index, 1, 1).with_command(b"batch", &Outcome::Applied { readings })
    }

    fn trail(outcomes: &[u64]) -> Trail {
        let mut trail = Trail::default();
        for (index, readings) in (0..).zip(outcomes) {
            trail.add(applied(index, *readings), false);
        }
        trail
    }

    #[test]
    fn another_outcome_or_entry_shows_at_its_position_and_ever_after() {
        let (one, other) = (trail(&[1, 2, 3, 4]), trail(&[1, 2, 9, 4]));
        let same: Vec<bool> = (0..4)
            .map(|index| one.at(index) == other.at(index))
            .collect();
        assert_eq!(same, [true, true, false, false]);
        let of = |footprint: Footprint| {
            let mut trail = Trail::default();
            trail.add(footprint, false);
            trail.at(0)
        };
        let entries = [
            of(applied(0, 1)),
            of(Footprint::of(0, 2, 1).with_command(b"batch", &Outcome::Applied { readings: 1 })),
            of(Footprint::of(0, 1, 2).with_command(b"batch", &Outcome::Applied { readings: 1 })),
            of(Footprint::of(0, 1, 1).with_command(b"botch", &Outcome::Applied { readings: 1 })),
            of(Footprint::of(0, 1, 1).with_command(b"batch", &Outcome::Duplicate { next: 1 })),
            of(Footprint::of(0, 1, 1).with_members(&BTreeSet::from([1]))),
            of(Footprint::of(0, 1, 1).with_members(&BTreeSet::from([1, 2]))),
            of(Footprint::of(0, 1, 1)),
        ];
        let all: BTreeSet<_> = entries.iter().collect();
        assert_eq!(all.len(), entries.len());
    }

    #[test]
    fn who_starts_from_a_seal_agrees_with_who_applied_everything() {
        let mut whole = trail(&[1, 2, 3]);
        whole.add(
            Footprint::of(3, 1, 1).with_command(b"", &Outcome::Sealed),
            true,
        );
        let mut restored = Trail::begun_at(3);
        assert_eq!(restored.newest(), whole.newest());
        for trail in [&mut whole, &mut restored] {
            trail.add(applied(4, 5), false);
        }
        assert_eq!(restored.newest(), whole.newest());
        assert_eq!(restored.at(2), None);
        assert!(whole.at(2).is_some());
        assert_eq!(whole.at(5), None);
    }

    #[test]
    fn whoever_left_entries_out_says_nothing_before_the_next_seal() {
        let mut trail = trail(&[1, 2]);
        for index in [5, 6] {
            trail.add(applied(index, 1), false);
            assert_eq!((trail.newest(), trail.at(index)), (None, None));
        }
        trail.add(applied(7, 1), true);
        assert_eq!(trail.newest(), Trail::begun_at(7).newest());
    }

    #[test]
    fn the_oldest_position_is_forgotten_at_the_bound() {
        let mut trail = trail(&vec![1; KEPT_MAX]);
        assert!(trail.at(0).is_some());
        trail.add(applied(KEPT_MAX as u64, 1), false);
        assert_eq!(trail.at(0), None);
        assert!(trail.at(1).is_some());
    }
}
