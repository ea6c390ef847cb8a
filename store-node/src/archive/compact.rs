//! Makes one segment of several, and lets segments go that a delete left nothing of. Which are to become
//! one is decided in [`super::plan`].

use std::collections::BTreeMap;
use std::sync::Arc;

use sensor_model::{SeriesId, TimeRange};

use super::cut::{Files, Standing};
use super::{Archive, JobError};
use crate::command::CHUNK_READINGS;
use crate::scan::read;
use crate::segments::manifest::{SegmentEntry, SegmentId, Tombstone};
use crate::segments::writer::{CHUNKS_MAX, SERIES_MAX};
use crate::state::Payloads;
use crate::state::generation::Change;
use crate::state::selection::{Mask, Selection, masks};

/// Most readings of one series that become one segment.
const READINGS_MAX: u64 = CHUNKS_MAX as u64 * CHUNK_READINGS as u64;

impl Archive {
    /// Makes one segment of `segments`, with what was deleted up to `index` left out. Nothing is changed
    /// if jobs before have changed them, or if they cannot be one: all of this is the same on every
    /// replica.
    pub(super) fn merge(
        &self,
        index: u64,
        segments: &[SegmentId],
        payloads: &dyn Payloads,
    ) -> Result<Change, JobError> {
        let (all, tombstones) = self.standing(index);
        let Some(inputs) = inputs(&all, segments) else {
            return Ok(Change::default());
        };
        let mut readings: BTreeMap<SeriesId, u64> = BTreeMap::new();
        for input in &inputs {
            for series in self.library.segment(input)?.directory() {
                *readings.entry(series.id).or_default() += series.readings;
            }
        }
        if !fit_one(&readings) {
            return Ok(Change::default());
        }
        let width = segments[0].window.width;
        let mut files = Files::new(self, index).resting();
        for id in readings.into_keys() {
            let description = read(&self.state).registry().description(id).cloned();
            let Some(series) = description else { continue };
            let selection = Selection {
                segments: inputs.clone(),
                runs: Vec::new(),
                masks: masks(&tombstones, &series.path, TimeRange::EVERYTHING),
                hold: Arc::default(),
            };
            let shape = (width, CHUNK_READINGS);
            self.cut_series(&mut files, (id, &series), shape, selection, payloads)?;
        }
        let order = inputs.iter().map(|input| input.order).max();
        let standing = Standing {
            order: order.unwrap_or(index),
            masked_through: index,
        };
        Ok(Change {
            removed: segments.to_vec(),
            added: files.finish(standing)?,
        })
    }

    /// Lets every segment go in which nothing is left, and notes of those in which nothing was deleted
    /// that they need not be looked at again.
    pub(super) fn reclaim(&self, index: u64) -> Result<Change, JobError> {
        let (all, tombstones) = self.standing(index);
        let mut change = Change::default();
        for entry in all {
            let newer = tombstones.iter().filter(|t| t.index > entry.masked_through);
            let newer: Vec<Tombstone> = newer.filter(|t| is_met(t, &entry)).cloned().collect();
            if newer.is_empty() {
                continue;
            }
            match self.touched(&entry, &newer)? {
                Touched {
                    readings_left: 0, ..
                } => change.removed.push(entry.id()),
                Touched {
                    is_touched: false, ..
                } => {
                    change.removed.push(entry.id());
                    change.added.push(SegmentEntry {
                        masked_through: index,
                        ..SegmentEntry::clone(&entry)
                    });
                }
                Touched { .. } => {}
            }
        }
        Ok(change)
    }

    /// The segments, and what was deleted up to `index`, which is that of the job being done.
    fn standing(&self, index: u64) -> (Vec<Arc<SegmentEntry>>, Vec<Tombstone>) {
        let state = read(&self.state);
        let tombstones = state.tombstones_through(index).to_vec();
        (state.segments().to_vec(), tombstones)
    }

    /// What `tombstones`, all of them newer, leave of a segment, as far as its directory says.
    pub(crate) fn touched(
        &self,
        entry: &SegmentEntry,
        tombstones: &[Tombstone],
    ) -> Result<Touched, JobError> {
        let segment = self.library.segment(entry)?;
        let mut touched = Touched {
            is_touched: false,
            readings_left: 0,
        };
        for series in segment.directory() {
            let description = read(&self.state).registry().description(series.id).cloned();
            let Some(description) = description else {
                touched.readings_left += series.readings;
                continue;
            };
            let all = masks(tombstones, &description.path, TimeRange::EVERYTHING);
            let meets = |mask: &Mask| mask.first <= series.last && series.first <= mask.last;
            let covers = |mask: &Mask| mask.first <= series.first && series.last <= mask.last;
            touched.is_touched |= all.iter().any(meets);
            if !all.iter().any(covers) {
                touched.readings_left += series.readings;
            }
        }
        Ok(touched)
    }
}

/// Whether so many readings of each series can be in one segment.
fn fit_one(readings: &BTreeMap<SeriesId, u64>) -> bool {
    let is_series = |readings: &u64| *readings <= READINGS_MAX;
    readings.len() as u64 <= SERIES_MAX && readings.values().all(is_series)
}

/// What deletes leave of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Whether they may take any reading of it.
    pub(crate) is_touched: bool,
    /// At most so many readings are left.
    pub(crate) readings_left: u64,
}

/// Whether a tombstone is of the time that a segment has readings in.
pub(crate) fn is_met(tombstone: &Tombstone, entry: &SegmentEntry) -> bool {
    tombstone.range.from.as_nanos() <= entry.last && entry.first < tombstone.range.to.as_nanos()
}

/// The segments named, by order, if all of them are there, are of one window, and no other segment of
/// their time stands between them: then one segment can take their place in the order.
pub(crate) fn inputs(
    all: &[Arc<SegmentEntry>],
    named: &[SegmentId],
) -> Option<Vec<Arc<SegmentEntry>>> {
    let is_named = |entry: &Arc<SegmentEntry>| named.contains(&entry.id());
    let found: Vec<Arc<SegmentEntry>> = all.iter().filter(|e| is_named(e)).cloned().collect();
    let (first, last) = (found.first()?, found.last()?);
    let is_whole = found.len() == named.len();
    let is_one_window = found.iter().all(|entry| entry.window == first.window);
    let (from, to) = (
        found.iter().map(|entry| entry.first).min()?,
        found.iter().map(|entry| entry.last).max()?,
    );
    let is_between = |entry: &Arc<SegmentEntry>| {
        first.order < entry.order
            && entry.order < last.order
            && !is_named(entry)
            && entry.first <= to
            && from <= entry.last
    };
    (is_whole && is_one_window && !all.iter().any(is_between)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segments::manifest::{SegmentHash, Window};

    /// A segment of a window of so many ns, with readings from its start to its end.
    fn entry(order: u64, start: i64, width: u64) -> Arc<SegmentEntry> {
        let window = Window::of(start, width);
        Arc::new(SegmentEntry {
            hash: SegmentHash([0; 32]),
            bytes: 1,
            created: order,
            order,
            masked_through: order,
            window,
            readings: 1,
            series: 1,
            first: window.start,
            last: window.last(),
        })
    }

    /// The orders of the inputs, if segments of these orders can be one.
    fn one_of(all: &[Arc<SegmentEntry>], named: &[u64]) -> Option<Vec<u64>> {
        let of_order = |order| all.iter().find(|entry| entry.order == order);
        let missing = entry(1_000, 0, 10).id();
        let id = |order: &u64| of_order(*order).map_or(missing, |entry| entry.id());
        let named: Vec<SegmentId> = named.iter().map(id).collect();
        let found = inputs(all, &named)?;
        Some(found.iter().map(|entry| entry.order).collect())
    }

    #[test]
    fn segments_of_one_window_in_a_row_can_be_one() {
        let all = [entry(1, 0, 10), entry(2, 0, 10), entry(3, 0, 10)];
        assert_eq!(one_of(&all, &[1, 2]), Some(vec![1, 2]));
        assert_eq!(one_of(&all, &[1, 2, 3]), Some(vec![1, 2, 3]));
        assert_eq!(one_of(&all, &[2]), Some(vec![2]));
    }

    #[test]
    fn what_is_missing_of_another_window_or_parted_cannot() {
        let all = [entry(1, 0, 10), entry(2, 0, 10), entry(3, 0, 10)];
        assert_eq!(one_of(&all, &[1, 4]), None, "one is missing");
        assert_eq!(one_of(&all, &[1, 3]), None, "one stands between them");
        let all = [entry(1, 0, 10), entry(2, 10, 10)];
        assert_eq!(one_of(&all, &[1, 2]), None, "of two windows");
    }

    #[test]
    fn a_wider_one_parts_those_it_meets_and_only_while_it_stands_between() {
        let parted = |order, start| {
            let mut all = vec![entry(2, 10, 10), entry(4, 10, 10), entry(order, start, 30)];
            all.sort_by_key(|entry| entry.order);
            one_of(&all, &[2, 4]).is_none()
        };
        assert!(parted(3, 0));
        assert!(!parted(3, 30));
        assert!(!parted(1, 0) && !parted(5, 0));
    }

    #[test]
    fn what_is_met_counts_not_what_windows_could_hold() {
        let mut wide = SegmentEntry::clone(&entry(3, 0, 30));
        (wide.first, wide.last) = (0, 9);
        let parted = |wide: &SegmentEntry| {
            let all = [entry(2, 10, 10), Arc::new(wide.clone()), entry(4, 10, 10)];
            one_of(&all, &[2, 4]).is_none()
        };
        assert!(!parted(&wide));
        wide.last = 10;
        assert!(parted(&wide));
        (wide.first, wide.last) = (19, 29);
        assert!(parted(&wide));
        wide.first = 20;
        assert!(!parted(&wide));
    }

    #[test]
    fn a_segment_holds_so_many_readings_of_a_series() {
        let fits = |readings| fit_one(&BTreeMap::from([(SeriesId(0), 1), (SeriesId(1), readings)]));
        assert!(fits(READINGS_MAX) && !fits(READINGS_MAX + 1));
    }

    #[test]
    fn a_delete_is_of_a_segment_if_it_is_of_its_time() {
        let entry = entry(1, 10, 10);
        let is_met = |from, to| {
            let (from, to) = (
                sensor_model::Timestamp::from_nanos(from),
                sensor_model::Timestamp::from_nanos(to),
            );
            let tombstone = Tombstone {
                index: 2,
                pattern: sensor_model::Pattern::everything(),
                range: TimeRange { from, to },
            };
            is_met(&tombstone, &entry)
        };
        assert!(!is_met(0, 10) && is_met(0, 11) && is_met(19, 20) && !is_met(20, 30));
    }
}
