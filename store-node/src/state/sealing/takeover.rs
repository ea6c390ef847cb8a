//! Takes the outcome of jobs from another replica, which has done them from the same log.

use std::sync::Arc;

use super::tombstones::{forget_covered, prune};
use crate::segments::manifest::Manifest;
use crate::state::State;
use crate::state::generation::Job;

impl State {
    /// Puts the segments of `manifest` in the place of those that jobs made here. Gives what lives as
    /// long as reads that began before.
    pub fn replace_segments(&mut self, manifest: &Manifest) -> Arc<()> {
        self.set_segments(manifest.segments.iter().cloned().map(Arc::new).collect());
        std::mem::take(&mut self.hold)
    }

    /// Jobs of commands up to this index are done.
    pub const fn jobs_through(&self) -> u64 {
        self.jobs_through
    }

    /// Takes note of what all jobs up to that of `manifest` came to, as if they had been done here.
    /// Their commands must have been applied. Gives what lives as long as reads that began before;
    /// nothing is changed, and nothing given, if none of these jobs waits.
    pub fn take_over(&mut self, manifest: &Manifest) -> Option<Arc<()>> {
        let through = manifest.jobs_through;
        if self.jobs.front()?.index() > through {
            return None;
        }
        while let Some(job) = self.jobs.pop_front_if(|job| job.index() <= through) {
            match job {
                Job::Seal(_) => drop(self.generations.pop_front()),
                Job::Reclaim { index } => forget_covered(&mut self.tombstones, index),
                Job::Compact { .. } => {}
            }
        }
        self.jobs_through = through;
        self.sealed_through = manifest.position.index;
        self.set_segments(manifest.segments.iter().cloned().map(Arc::new).collect());
        prune(&mut self.tombstones, &self.segments, self.sealed_through);
        Some(std::mem::take(&mut self.hold))
    }
}
