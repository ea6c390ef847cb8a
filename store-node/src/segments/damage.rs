//! Which segments are known to be damaged, and that nothing of them is served.
//!
//! Damage belongs to one *copy* of a segment, the file that was opened: when another file takes its
//! place, that is another copy, and whoever still reads the old one can say nothing about it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::manifest::{SegmentEntry, SegmentHash};

/// What is wrong with a segment on this node's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment, as it was asked for when the damage was found.
    pub entry: SegmentEntry,
    /// Offsets of the bytes in which it lies.
    pub range: Range<u64>,
    /// What is wrong with them.
    pub reason: String,
}

/// The copies that a library has opened, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Damages {
    copies: Mutex<BTreeMap<SegmentHash, Arc<Copy>>>,
}

/// One file of a segment.
#[derive(Debug)]
pub(super) struct Copy {
    entry: SegmentEntry,
    damage: OnceLock<Damage>,
}

/// What a reader reports damage to.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    damages: Arc<Damages>,
    copy: Arc<Copy>,
}

impl Damages {
    /// A watch over the file that holds this segment now.
    pub(super) fn watch(self: &Arc<Self>, entry: &SegmentEntry) -> Watch {
        let new = || {
            Arc::new(Copy {
                entry: entry.clone(),
                damage: OnceLock::new(),
            })
        };
        let copy = Arc::clone(self.lock().entry(entry.hash).or_insert_with(new));
        Watch {
            damages: Arc::clone(self),
            copy,
        }
    }

    /// All that is known, ordered by hash.
    pub(super) fn list(&self) -> Vec<Damage> {
        let copies = self.lock();
        let damages = copies.values().filter_map(|copy| copy.damage.get());
        damages.cloned().collect()
    }

    /// The file that holds the segment is another one from now on, or none.
    pub(super) fn forget(&self, hash: SegmentHash) {
        let mut copies = self.lock();
        copies.remove(&hash);
        show(&copies);
    }

    /// As [`Damages::forget`], for all but `kept`.
    pub(super) fn retain(&self, kept: &BTreeSet<SegmentHash>) {
        let mut copies = self.lock();
        copies.retain(|hash, _| kept.contains(hash));
        show(&copies);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SegmentHash, Arc<Copy>>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// What is wrong with the copy, if that is known.
    pub(super) fn damage(&self) -> Option<&Damage> {
        self.copy.damage.get()
    }

    /// Remembers damage of the copy, which is `file`. Only the first counts, and is logged.
    pub(super) fn report(&self, file: &Path, range: Range<u64>, reason: &str) {
        let copies = self.damages.lock();
        let damage = Damage {
            entry: self.copy.entry.clone(),
            range: range.clone(),
            reason: reason.to_owned(),
        };
        let is_first = self.copy.damage.set(damage).is_ok();
        let is_current = copies
            .get(&self.copy.entry.hash)
            .is_some_and(|copy| Arc::ptr_eq(copy, &self.copy));
        if is_first && is_current {
            let (from, to, file) = (range.start, range.end, file.display());
            tracing::error!(%file, from, to, reason, "segment damaged: not served until it is replaced");
            show(&copies);
        }
    }
}

/// Called with the lock held, so that what is shown last is true.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn show(copies: &BTreeMap<SegmentHash, Arc<Copy>>) {
    let damaged = copies.values().filter(|copy| copy.damage.get().is_some());
    metrics::gauge!("tidemark_segments_damaged").set(damaged.count() as f64);
}
