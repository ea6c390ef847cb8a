//! Makes one segment of several, and lets segments go that a delete left nothing of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sensor_model::TimeRange;

use super::cut::{Files, Standing};
use super::{Archive, JobError};
use crate::command::{CHUNK_READINGS, COMPACTED_MAX};
use crate::scan::read;
use crate::segments::manifest::{SegmentEntry, SegmentId, Tombstone, Window};
use crate::state::Payloads;
use crate::state::generation::Change;
use crate::state::selection::{Mask, Selection, masks};

impl Archive {
    /// Makes one segment of `segments`, with `tombstones` applied. Nothing is changed if jobs before
    /// have changed them, or if they cannot be one: all of this is the same on every replica.
    pub(super) fn merge(
        &self,
        index: u64,
        segments: &[SegmentId],
        tombstones: &[Tombstone],
        payloads: &dyn Payloads,
    ) -> Result<Change, JobError> {
        let all = read(&self.state).segments().to_vec();
        let Some(inputs) = inputs(&all, segments) else {
            return Ok(Change::default());
        };
        let mut ids = BTreeSet::new();
        for input in &inputs {
            let segment = self.library.segment(input)?;
            ids.extend(segment.directory().iter().map(|series| series.id));
        }
        let width = segments[0].window.width;
        let mut files = Files::new(self, index).resting();
        for id in ids {
            let description = read(&self.state).registry().description(id).cloned();
            let Some(series) = description else { continue };
            let selection = Selection {
                segments: inputs.clone(),
                runs: Vec::new(),
                masks: masks(tombstones, &series.path, TimeRange::EVERYTHING),
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
    pub(super) fn reclaim(&self, index: u64, tombstones: &[Tombstone]) -> Result<Change, JobError> {
        let all = read(&self.state).segments().to_vec();
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

/// So many segments of a window in a row, of like size, become one.
const RUN_MIN: usize = 4;
/// A segment joins a run unless it is so many times larger than the newer ones together.
const RUN_GROWTH: u64 = 2;
/// With so many segments in a window all of them become one.
const WINDOW_MAX: usize = 16;
/// With so many tombstones every segment that one of them touches is written anew.
const TOMBSTONES_MANY: usize = 64;

/// The segments that should become one next, if any should: of a window the newest, as long as they
/// are of like size. So each reading is written anew a few times, however many segments it begins in.
pub fn plan(all: &[Arc<SegmentEntry>]) -> Option<Vec<SegmentId>> {
    let mut windows: BTreeMap<Window, Vec<&Arc<SegmentEntry>>> = BTreeMap::new();
    for entry in all {
        windows.entry(entry.window).or_default().push(entry);
    }
    windows.values().find_map(|segments| {
        let mut run = Vec::new();
        let mut bytes = 0;
        for entry in segments.iter().rev().take(COMPACTED_MAX) {
            let is_alike = entry.bytes <= bytes * RUN_GROWTH || run.is_empty();
            if !is_alike && segments.len() < WINDOW_MAX {
                break;
            }
            bytes += entry.bytes;
            run.push(entry.id());
        }
        run.sort_unstable();
        let is_long = run.len() >= RUN_MIN;
        (is_long && inputs(all, &run).is_some()).then_some(run)
    })
}

/// Whether so much of a segment is deleted that it should be written anew.
pub(crate) const fn is_worn(entry: &SegmentEntry, touched: Touched, tombstones: usize) -> bool {
    let gone = entry.readings.saturating_sub(touched.readings_left);
    touched.is_touched && (gone * 8 >= entry.readings || tombstones >= TOMBSTONES_MANY)
}
