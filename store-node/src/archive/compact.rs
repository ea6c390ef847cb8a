//! Makes one segment of several, and lets segments go that a delete left nothing of.

use std::collections::BTreeSet;
use std::sync::Arc;

use sensor_model::{SeriesId, TimeRange};

use super::cut::Standing;
use super::{Archive, JobError};
use crate::command::CHUNK_READINGS;
use crate::scan::read;
use crate::segments::manifest::{SegmentEntry, SegmentId, Tombstone};
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
        let mut files = self.files(index);
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

    /// Lets every segment go in which nothing is left.
    pub(super) fn reclaim(&self, index: u64, tombstones: &[Tombstone]) -> Result<Change, JobError> {
        let all = read(&self.state).segments().to_vec();
        let mut removed = Vec::new();
        for entry in all {
            let may_be_gone = |tombstone: &Tombstone| {
                tombstone.index > entry.masked_through
                    && tombstone.range.from.as_nanos() <= entry.last
                    && entry.first < tombstone.range.to.as_nanos()
            };
            debug_assert!(tombstones.iter().all(|tombstone| tombstone.index <= index));
            if tombstones.iter().any(may_be_gone) && self.is_gone(&entry, tombstones)? {
                removed.push(entry.id());
            }
        }
        Ok(Change {
            removed,
            added: Vec::new(),
        })
    }

    /// Whether every series of a segment is deleted over all of its time in it.
    fn is_gone(&self, entry: &SegmentEntry, tombstones: &[Tombstone]) -> Result<bool, JobError> {
        let segment = self.library.segment(entry)?;
        for series in segment.directory() {
            let id: SeriesId = series.id;
            let description = read(&self.state).registry().description(id).cloned();
            let Some(description) = description else {
                return Ok(false);
            };
            let all = masks(tombstones, &description.path, TimeRange::EVERYTHING);
            let covers = |mask: &Mask| {
                mask.index > entry.masked_through
                    && mask.first <= series.first
                    && series.last <= mask.last
            };
            if !all.iter().any(covers) {
                return Ok(false);
            }
        }
        Ok(true)
    }
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
