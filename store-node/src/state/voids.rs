//! The entries with batches that came to nothing: repeated, out of their order, or refused.
//!
//! A batch may stand in the log more than once, as a producer sends again what was not acknowledged;
//! one of them is applied. Whoever reads the log to a subscriber must leave the others out, long after
//! they were applied and also after a restart, which begins behind them. So the state remembers them,
//! and a manifest has them: every replica that knows of an entry whether it is void says the same.
//!
//! They are rare, and only the newest [`KEPT_MAX`] are remembered; before them nothing is known.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// How many are remembered: 8 bytes each.
pub const KEPT_MAX: usize = 16_384;

/// Which entries are void, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voids {
    /// Of entries from this index on it is known.
    from: u64,
    /// Ascending; none is below `from`.
    indexes: VecDeque<u64>,
}

impl Voids {
    /// Nothing is known of entries up to `index`.
    pub(super) const fn unknown_through(index: u64) -> Self {
        Self {
            from: index + 1,
            indexes: VecDeque::new(),
        }
    }

    /// Takes note that the entry at `index`, the newest, is void.
    pub(super) fn add(&mut self, index: u64) {
        if self.indexes.len() == KEPT_MAX
            && let Some(forgotten) = self.indexes.pop_front()
        {
            self.from = forgotten + 1;
        }
        self.indexes.push_back(index);
    }

    /// The index from which on it is known which entries are void.
    pub const fn known_from(&self) -> u64 {
        self.from
    }

    /// Those above `after` and up to `through`, ascending; `None` if it is not known of all entries
    /// between.
    pub fn between(&self, after: u64, through: u64) -> Option<Vec<u64>> {
        if after + 1 < self.from {
            return None;
        }
        let begin = self.indexes.partition_point(|index| *index <= after);
        let end = self.indexes.partition_point(|index| *index <= through);
        Some(self.indexes.range(begin..end.max(begin)).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_at_the_bound_and_then_nothing_is_known_up_to_it() {
        let mut voids = Voids::default();
        let newest = KEPT_MAX as u64;
        (1..=newest).for_each(|index| voids.add(index * 10));
        assert_eq!(voids.between(0, 20), Some(vec![10, 20]));
        assert_eq!(voids.between(10, 29), Some(vec![20]));
        voids.add((newest + 1) * 10);
        assert_eq!(voids.known_from(), 11);
        assert_eq!(voids.between(9, 29), None);
        assert_eq!(voids.between(10, 29), Some(vec![20]));
    }

    #[test]
    fn of_a_manifest_that_does_not_say_nothing_is_known_up_to_its_position() {
        let voids = Voids::unknown_through(7);
        assert_eq!(voids.between(6, 9), None);
        assert_eq!(voids.between(7, 9), Some(Vec::new()));
    }
}
