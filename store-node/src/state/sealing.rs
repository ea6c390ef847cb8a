//! The sealed part of the state: which segments there are, what is on its way into them, what was
//! deleted of them.

mod takeover;
pub(crate) mod tombstones;

use std::sync::{Arc, OnceLock};

use sensor_model::{Pattern, SeriesId, TimeRange};

use super::boards::Boards;
use super::generation::{Change, Checkpoint, Generation, Job, SeriesSummary};
use super::nodes::Nodes;
use super::pieces::Span;
use super::producers::Producers;
use super::readings::SeriesReadings;
use super::registry::Registry;
use super::selection::{Selection, masks};
use super::trail::Trail;
use super::voids::Voids;
use super::{Fresh, Outcome, State};
use crate::command::Seal;
use crate::segments::manifest::{
    Manifest, Position, RetentionRule, SegmentEntry, SegmentId, Tombstone,
};
use tombstones::{forget_covered, prune};

/// Most paths looked at under one step of a delete.
const PAGE_PATHS: usize = 4096;

impl State {
    /// The state at the position of `manifest`.
    ///
    /// # Errors
    /// When it says of a series what cannot be.
    pub fn restored(manifest: &Manifest) -> Result<Self, String> {
        let mut registry = Registry::default();
        let mut readings = Vec::with_capacity(manifest.series.len());
        for (at, record) in manifest.series.iter().enumerate() {
            let opened = registry.open(record.description.clone());
            let id = opened.map_err(|refusal| refusal.to_string())?;
            if id != SeriesId(at as u64) {
                return Err(format!("series {} stands twice", record.description.path));
            }
            readings.push(SeriesReadings {
                kind: record.description.kind,
                unsealed: None,
                count: record.count,
                first: record.first,
                last: record.last.clone(),
                uncertain: record.uncertain,
            });
        }
        let mut state = Self {
            registry,
            producers: Producers::restored(&manifest.producers),
            nodes: Nodes::restored(manifest.nodes.iter().copied()),
            boards: Boards::restored(&manifest.boards),
            readings,
            total: manifest.total,
            jobs_through: manifest.jobs_through,
            sealed_through: manifest.position.index,
            trail: Trail::begun_at(manifest.position.index),
            voids: manifest
                .voids
                .clone()
                .unwrap_or_else(|| Voids::unknown_through(manifest.position.index)),
            tombstones: manifest.tombstones.clone(),
            retention: manifest.retention.clone(),
            ..Self::default()
        };
        state.set_segments(manifest.segments.iter().cloned().map(Arc::new).collect());
        Ok(state)
    }

    /// Says where in the log the command stands that was just applied with [`Outcome::Sealed`]: what
    /// its manifest will say.
    pub fn place_generation(&mut self, position: Position) {
        if let Some(generation) = self.generations.back() {
            // Whoever applies does this once a seal.
            drop(generation.position.set(position));
        }
    }

    /// What may have readings of the series `id` in `range`, which is not empty.
    pub fn select(&self, id: SeriesId, range: TimeRange) -> Option<Selection> {
        let readings = self.readings(id)?;
        let path = &self.registry.description(id)?.path;
        let wanted = Span::of(range);
        let is_met = |entry: &&Arc<SegmentEntry>| {
            let span = Span {
                first: entry.first,
                last: entry.last,
            };
            span.meets(wanted)
        };
        let frozen = self.generations.iter().filter_map(|generation| {
            let at = generation.series.binary_search_by_key(&id, |(id, _)| *id);
            at.ok().map(|at| &*generation.series[at].1)
        });
        let runs = frozen.chain(readings.unsealed());
        Some(Selection {
            segments: self.segments.iter().filter(is_met).cloned().collect(),
            runs: runs.map(|run| run.select(range)).collect(),
            masks: masks(&self.tombstones, path, range),
            hold: Arc::clone(&self.hold),
        })
    }

    /// The next job to do.
    pub fn job(&self) -> Option<&Job> {
        self.jobs.front()
    }

    /// Nothing waits to be done, and nothing is on its way into segments.
    pub fn is_settled(&self) -> bool {
        self.jobs.is_empty() && self.generations.is_empty()
    }

    /// Whether anything is on its way into segments.
    pub fn is_sealing(&self) -> bool {
        !self.generations.is_empty()
    }

    /// How many jobs wait.
    pub fn jobs_waiting(&self) -> usize {
        self.jobs.len()
    }

    /// Bytes of the segments that jobs which wait make others of: they need as much room, at most.
    pub fn jobs_bytes(&self) -> u64 {
        let named = self.jobs.iter().flat_map(|job| match job {
            Job::Compact { segments, .. } => &segments[..],
            Job::Seal(_) | Job::Reclaim { .. } => &[],
        });
        let bytes_of = |id: &SegmentId| {
            let entry = self.segments.iter().find(|entry| entry.id() == *id);
            entry.map_or(0, |entry| entry.bytes)
        };
        named.map(bytes_of).sum()
    }

    /// The segments, by order.
    pub fn segments(&self) -> &[Arc<SegmentEntry>] {
        &self.segments
    }

    /// Lives as long as reads that began before the next job is done.
    pub(crate) const fn hold(&self) -> &Arc<()> {
        &self.hold
    }

    /// What was deleted and is not yet gone from every segment, by index.
    pub fn tombstones(&self) -> &[Tombstone] {
        &self.tombstones
    }

    /// What was deleted by commands up to `index`, which is that of the next job. Tombstones that are
    /// gone by then make no difference to it, so this is the same on every replica.
    pub(crate) fn tombstones_through(&self, index: u64) -> &[Tombstone] {
        let end = self.tombstones.partition_point(|t| t.index <= index);
        &self.tombstones[..end]
    }

    /// How long readings are kept.
    pub fn retention(&self) -> &[RetentionRule] {
        &self.retention
    }

    /// Bytes of commands whose readings are not in segments.
    pub fn unsealed_bytes(&self) -> u64 {
        let frozen = self.generations.iter().map(|generation| generation.bytes);
        self.fresh.bytes + frozen.sum::<u64>()
    }

    /// How much was appended since the last seal.
    pub const fn fresh(&self) -> Fresh {
        self.fresh
    }

    /// Takes note of what the first job came to. Gives what lives as long as reads that began before.
    pub fn complete(&mut self, change: &Change) -> Arc<()> {
        let Some(job) = self.jobs.pop_front() else {
            return Arc::clone(&self.hold);
        };
        self.jobs_through = job.index();
        if matches!(job, Job::Seal(_)) {
            self.generations.pop_front();
        }
        let kept = |entry: &&Arc<SegmentEntry>| !change.removed.contains(&entry.id());
        let mut segments: Vec<_> = self.segments.iter().filter(kept).cloned().collect();
        segments.extend(change.added.iter().cloned().map(Arc::new));
        self.set_segments(segments);
        match &job {
            Job::Seal(generation) => self.sealed_through = generation.index,
            Job::Reclaim { index } => forget_covered(&mut self.tombstones, *index),
            Job::Compact { .. } => {}
        }
        prune(&mut self.tombstones, &self.segments, self.sealed_through);
        std::mem::take(&mut self.hold)
    }

    pub(super) fn seal(&mut self, index: u64, seal: Seal) -> Outcome {
        let summary = |(description, readings): (&Arc<_>, &SeriesReadings)| SeriesSummary {
            description: Arc::clone(description),
            count: readings.count,
            first: readings.first,
            last: readings.last.clone(),
            uncertain: readings.uncertain,
        };
        let checkpoint = Checkpoint {
            total: self.total,
            series: self
                .registry
                .all()
                .zip(&self.readings)
                .map(summary)
                .collect(),
            producers: self.producers.records(),
            nodes: self.nodes.records().copied().collect(),
            boards: self.boards.all().cloned().collect(),
            tombstones: self.tombstones.clone(),
            retention: self.retention.clone(),
            voids: self.voids.clone(),
        };
        let series = (0..).map(SeriesId).zip(&mut self.readings);
        let series = series.filter_map(|(id, readings)| Some((id, readings.unsealed.take()?)));
        let generation = Arc::new(Generation {
            index,
            seal,
            bytes: self.fresh.bytes,
            series: series.collect(),
            checkpoint,
            position: OnceLock::new(),
        });
        self.fresh = Fresh::default();
        self.generations.push_back(Arc::clone(&generation));
        self.jobs.push_back(Job::Seal(generation));
        Outcome::Sealed
    }

    pub(super) fn compact(&mut self, index: u64, segments: Vec<SegmentId>) -> Outcome {
        if index > self.jobs_through {
            self.jobs.push_back(Job::Compact { index, segments });
        }
        Outcome::Compacting
    }

    pub(super) fn delete(&mut self, index: u64, pattern: Pattern, range: TimeRange) -> Outcome {
        let mut after = None;
        loop {
            let page = self.registry.page(&pattern, after.as_ref(), PAGE_PATHS);
            for (id, _) in page.series {
                let at = usize::try_from(id.0).ok();
                if let Some(readings) = at.and_then(|at| self.readings.get_mut(at)) {
                    readings.note_deleted(range, &mut self.workspace.buffers);
                }
            }
            after = page.next_after;
            if after.is_none() {
                break;
            }
        }
        self.tombstones.push(Tombstone {
            index,
            pattern,
            range,
        });
        if index > self.jobs_through {
            self.jobs.push_back(Job::Reclaim { index });
        } else {
            forget_covered(&mut self.tombstones, index);
        }
        Outcome::Deleted
    }

    fn set_segments(&mut self, mut segments: Vec<Arc<SegmentEntry>>) {
        segments.sort_by_key(|entry| (entry.order, entry.window, entry.created));
        self.segments = segments;
    }
}
