//! Takes over what jobs came to on another replica, where they cannot be done here: a segment that they
//! need is damaged, and the others have replaced it by another.
//!
//! Jobs depend on the log alone, so what they come to is the same everywhere, byte for byte, and a
//! manifest of another replica is the one that this one would have written.

use std::sync::{Arc, PoisonError};

use tracing::info;

use super::{Archive, JobError, Work, lock};
use crate::raft::transfer::SegmentStore;
use crate::scan::read;
use crate::segments::manifest::Manifest;
use crate::state::Payloads;

impl Archive {
    /// Whether `manifest` stands behind jobs that wait here.
    pub fn is_behind(&self, manifest: &Manifest) -> bool {
        let state = read(&self.state);
        state
            .job()
            .is_some_and(|next| next.index() <= manifest.jobs_through)
    }

    /// Whether `manifest` says the same as the one in force here, but for the bytes of segments.
    pub fn differs_in_segments(&self, manifest: &Manifest) -> bool {
        self.manifest().is_some_and(|own| {
            let theirs = Manifest {
                segments: own.segments.clone(),
                ..manifest.clone()
            };
            theirs == *own && manifest.segments != own.segments
        })
    }

    /// Takes the segments of `manifest` in the place of those that were made here otherwise. Says whether
    /// it did: it does not while one is missing, or if anything else differs. Call it off the runtime's
    /// threads.
    ///
    /// # Errors
    /// See [`JobError`]; nothing is changed.
    pub fn adopt_segments(&self, manifest: &Manifest) -> Result<bool, JobError> {
        let mut work = lock(&self.work);
        if !self.differs_in_segments(manifest) || !self.missing(&manifest.segments).is_empty() {
            return Ok(false);
        }
        self.library.sync_names(&manifest.segments)?;
        self.store(manifest)?;
        *lock(&self.current) = Some(Arc::new(manifest.clone()));
        let before = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.replace_segments(manifest)
        };
        lock(&self.readers).push(Arc::downgrade(&before));
        lock(&self.kept).clear();
        *work = Work {
            made: None,
            is_untidy: true,
        };
        Ok(true)
    }

    /// Takes the jobs up to that of `manifest` for done. Their commands must have been applied. Says
    /// whether it did: it does not while a segment is missing, or if none of these jobs waits. Call it
    /// off the runtime's threads.
    ///
    /// # Errors
    /// See [`JobError`]; nothing is changed.
    pub fn take_over(
        &self,
        manifest: &Manifest,
        payloads: &dyn Payloads,
    ) -> Result<bool, JobError> {
        let mut work = lock(&self.work);
        if !self.is_behind(manifest) || !self.missing(&manifest.segments).is_empty() {
            return Ok(false);
        }
        self.library.sync_names(&manifest.segments)?;
        if !payloads.wait_synced(manifest.position.index) {
            return Err(JobError::Stopping);
        }
        self.store(manifest)?;
        *lock(&self.current) = Some(Arc::new(manifest.clone()));
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(before) = state.take_over(manifest) {
                lock(&self.readers).push(Arc::downgrade(&before));
            }
        }
        lock(&self.kept).clear();
        info!(
            position = manifest.position.index,
            jobs_through = manifest.jobs_through,
            segments = manifest.segments.len(),
            "jobs taken over from another member"
        );
        *work = Work {
            made: None,
            is_untidy: true,
        };
        Ok(true)
    }
}
