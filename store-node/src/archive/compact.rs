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
        let fits = |readings: &u64| *readings <= READINGS_MAX;
        if readings.len() as u64 > SERIES_MAX || !readings.values().all(fits) {
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
