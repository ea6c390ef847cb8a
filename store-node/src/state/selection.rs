//! What a scan needs of one series: copied out under a short lock, read afterwards.

use std::sync::Arc;

use sensor_model::{SeriesPath, TimeRange};

use super::chunks::Selected;
use super::pieces::Span;
use crate::segments::manifest::{SegmentEntry, Tombstone};

/// What may have readings of a series in a range.
///
/// Where a timestamp is repeated, the later one counts: of segments the one that stands later, of
/// segments and runs the run, of runs the one that stands later.
#[derive(Debug)]
pub struct Selection {
    /// Segments, by order.
    pub segments: Vec<Arc<SegmentEntry>>,
    /// What is not sealed: generations on their way into segments, oldest first, and what came after.
    pub runs: Vec<Selected>,
    /// What was deleted.
    pub masks: Vec<Mask>,
    /// While this lives, the log keeps the entries that `runs` refer to.
    pub(crate) hold: Arc<()>,
}

/// A stretch of time in which what was committed before `index` is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask {
    /// Index of the command.
    pub index: u64,
    /// The first instant.
    pub first: i64,
    /// The last instant.
    pub last: i64,
}

/// The masks that `tombstones` lay over the series at `path` in `range`.
pub(crate) fn masks(tombstones: &[Tombstone], path: &SeriesPath, range: TimeRange) -> Vec<Mask> {
    let wanted = Span::of(range);
    let mask = |tombstone: &Tombstone| {
        let span = Span::of(tombstone.range);
        let is_met = span.meets(wanted) && tombstone.pattern.matches(path);
        is_met.then_some(Mask {
            index: tombstone.index,
            first: span.first,
            last: span.last,
        })
    };
    tombstones.iter().filter_map(mask).collect()
}
