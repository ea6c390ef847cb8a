//! Tombstones: how long each is needed.
//!
//! A tombstone masks what was committed before it. It is needed until that is in segments, and until of
//! these each that it may be of has been written without what it masks; or until a later one covers it
//! and no job before that one waits. When a replica lets go of it does not matter, and does not show.

use std::sync::Arc;

use crate::segments::manifest::{SegmentEntry, Tombstone};
use crate::state::pieces::Span;

/// What is left of `tombstones`, by index, in a manifest that seals all that was before `through`: how
/// much of it a replica had let go before does not show.
pub(crate) fn settled(
    mut tombstones: Vec<Tombstone>,
    segments: &[Arc<SegmentEntry>],
    through: u64,
) -> Vec<Tombstone> {
    prune(&mut tombstones, segments, through);
    let mut at = 0;
    while let Some(index) = tombstones.get(at).map(|tombstone| tombstone.index) {
        let before = tombstones.len();
        forget_covered(&mut tombstones, index);
        at = at + 1 - (before - tombstones.len());
    }
    tombstones
}

/// Takes the tombstones out that no segment needs any more, all before `through` being sealed.
pub(super) fn prune(tombstones: &mut Vec<Tombstone>, segments: &[Arc<SegmentEntry>], through: u64) {
    tombstones.retain(|tombstone| {
        let span = Span::of(tombstone.range);
        let needs = |entry: &Arc<SegmentEntry>| {
            let all = Span {
                first: entry.first,
                last: entry.last,
            };
            entry.masked_through < tombstone.index && span.meets(all)
        };
        tombstone.index > through || segments.iter().any(needs)
    });
}

/// Takes the tombstones out that the later one at `index` makes needless: all jobs up to there are done.
pub(super) fn forget_covered(tombstones: &mut Vec<Tombstone>, index: u64) {
    let at = tombstones.partition_point(|tombstone| tombstone.index < index);
    let later = tombstones.get(at).filter(|later| later.index == index);
    let Some(later) = later.cloned() else {
        return;
    };
    let is_covered = |old: &Tombstone| {
        old.index < index
            && old.pattern == later.pattern
            && later.range.from <= old.range.from
            && old.range.to <= later.range.to
    };
    tombstones.retain(|old| !is_covered(old));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sensor_model::{Pattern, TimeRange, Timestamp};

    use super::*;
    use crate::segments::manifest::{SegmentHash, Window};

    fn tombstone(index: u64, pattern: &str, from: i64, to: i64) -> Tombstone {
        Tombstone {
            index,
            pattern: Pattern::new(pattern).unwrap(),
            range: TimeRange {
                from: Timestamp::from_nanos(from),
                to: Timestamp::from_nanos(to),
            },
        }
    }

    fn segment(masked_through: u64, first: i64, last: i64) -> Arc<SegmentEntry> {
        Arc::new(SegmentEntry {
            hash: SegmentHash([0; 32]),
            bytes: 1,
            created: 1,
            order: 1,
            masked_through,
            window: Window::of(first, 1_000),
            readings: 1,
            series: 1,
            first,
            last,
        })
    }

    fn is_kept(tombstone: &Tombstone, segments: &[Arc<SegmentEntry>], through: u64) -> bool {
        let mut tombstones = vec![tombstone.clone()];
        prune(&mut tombstones, segments, through);
        !tombstones.is_empty()
    }

    #[test]
    fn it_is_needed_until_what_it_masks_is_sealed_and_written_without() {
        let of = tombstone(5, "**", 10, 20);
        assert!(is_kept(&of, &[], 4), "what was before it is not sealed");
        assert!(!is_kept(&of, &[], 5));
        assert!(is_kept(&of, &[segment(4, 0, 30)], 5));
        assert!(!is_kept(&of, &[segment(5, 0, 30)], 5), "it was applied");
        assert!(is_kept(&of, &[segment(4, 19, 30), segment(5, 0, 30)], 5));
        assert!(!is_kept(&of, &[segment(4, 20, 30)], 5), "of another time");
        assert!(!is_kept(&of, &[segment(4, 0, 9)], 5), "of another time");
    }

    #[test]
    fn a_later_one_covers_it_if_it_is_of_all_of_it() {
        let left = |later: Tombstone| {
            let mut tombstones = vec![tombstone(5, "a/*", 10, 20), later.clone()];
            forget_covered(&mut tombstones, later.index);
            tombstones.len()
        };
        assert_eq!(left(tombstone(6, "a/*", 10, 20)), 1);
        assert_eq!(left(tombstone(6, "a/*", 0, 30)), 1);
        assert_eq!(left(tombstone(6, "a/*", 11, 30)), 2);
        assert_eq!(left(tombstone(6, "a/*", 0, 19)), 2);
        assert_eq!(left(tombstone(6, "**", 0, 30)), 2);
        // Which one is later is not for their order in time to say.
        assert_eq!(left(tombstone(4, "a/*", 0, 30)), 2);
    }

    proptest! {
        #[test]
        fn what_was_let_go_before_does_not_show(
            deletes in proptest::collection::vec((prop_oneof!["a", "b"], 0_i64..6, 1_i64..4), 0..8),
            segments in proptest::collection::vec((0_u64..12, 0_i64..8, 0_i64..4), 0..5),
            covered in proptest::collection::vec(0_u64..8, 0..4),
            is_pruned in any::<bool>(),
        ) {
            let deletes = (0..).zip(&deletes);
            let deletes = deletes.map(|(at, (path, from, width))| tombstone(at, path, *from, from + width));
            let all: Vec<Tombstone> = deletes.collect();
            let segments = segments.iter();
            let segments = segments.map(|(masked, first, width)| segment(*masked, *first, first + width));
            let segments: Vec<_> = segments.collect();
            let through = all.len() as u64;
            let mut left = all.clone();
            for index in covered {
                forget_covered(&mut left, index);
            }
            if is_pruned {
                prune(&mut left, &segments, through);
            }
            prop_assert_eq!(settled(left, &segments, through), settled(all, &segments, through));
        }
    }
}
