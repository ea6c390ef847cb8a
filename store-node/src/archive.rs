//! The sealed part of a shard on this node: segments, the manifest that lists them, and the jobs that
//! make both out of what the log holds.
//!
//! ```text
//! DIR/manifests/   the newest manifest
//! DIR/segments/    the segments it lists
//! ```
//!
//! # A job, step by step
//!
//! 1. The segments it makes are written, synced, and renamed into place ([`mod@self`]'s `seal.rs` and
//!    `compact.rs`, `cut.rs` below both).
//! 2. The log is synced up to the manifest's position, which may lie in this node's future otherwise.
//! 3. The manifest is written, synced, renamed into place. *Now the job is done*, whatever comes.
//! 4. Reads that begin see the new segments.
//! 5. When no read is left that began before, segments that no manifest lists are removed, and the log
//!    may be purged.
//!
//! A crash before step 3 leaves files that nobody lists, which are removed after the next job; this one is
//! done again from the log, to the same bytes.

mod care;
mod compact;
mod cut;
mod error;
mod fetching;
mod pace;
pub mod plan;
mod prints;
mod seal;
mod takeover;
mod windows;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use segment_log::Disk;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use crate::scan::read;
use crate::segments::library::Library;
use crate::segments::manifest::{Manifest, ManifestError, ManifestId, NotAManifest, SegmentEntry};
use crate::state::generation::{Change, Job};
use crate::state::sealing::tombstones::settled;
use crate::state::{Payloads, State};

pub(crate) use compact::is_met;
pub use error::JobError;
use pace::Pace;
pub use pace::Share;
pub use prints::Print;

/// What an archive needs.
#[derive(Debug)]
pub struct ArchiveOptions {
    /// Every file operation.
    pub disk: Arc<dyn Disk>,
    /// The folder of the shard.
    pub dir: PathBuf,
    /// The shard.
    pub shard: u32,
    /// Bytes of directories and entries of segments that stay in memory.
    pub cache_bytes: usize,
}

/// The sealed part of one shard.
#[derive(Debug)]
pub struct Archive {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    shard: u32,
    state: Arc<RwLock<State>>,
    library: Arc<Library>,
    /// The newest durable manifest.
    current: Mutex<Option<Arc<Manifest>>>,
    /// Held by whoever changes it, for as long as that takes.
    work: Mutex<Work>,
    /// Each lives as long as a read that began before a job was done.
    readers: Mutex<Vec<Weak<()>>>,
    /// Segments that are being fetched.
    kept: Mutex<Vec<SegmentEntry>>,
    purgeable: watch::Sender<Option<ManifestId>>,
    prints: Mutex<prints::Prints>,
    findings: Mutex<care::Findings>,
    pace: Pace,
    /// Of compaction.
    share: Share,
    /// Bytes of the disk that segments being written leave free.
    keep_free: u64,
}

/// What is left to be done of a change.
#[derive(Debug, Default)]
struct Work {
    /// What the next job, by its index, comes to: its segments are in place, its manifest is not.
    made: Option<(u64, Change)>,
    /// Something may be there that the newest manifest does not list.
    is_untidy: bool,
}

impl Archive {
    /// Opens what is in the folder and puts `state` where its manifest stands, if there is one; else
    /// `state` is emptied. Segments that no manifest lists stay until the next job is done: they may
    /// be what was fetched of a snapshot that is still to be installed.
    ///
    /// # Errors
    /// When the manifest cannot be read or is damaged, or the disk refuses.
    pub fn open(options: ArchiveOptions, state: Arc<RwLock<State>>) -> Result<Self, ManifestError> {
        let ArchiveOptions {
            disk,
            dir,
            shard,
            cache_bytes,
        } = options;
        let manifests = dir.join("manifests");
        let manifest = Manifest::recover(&*disk, &manifests)?;
        let restored = match &manifest {
            Some(manifest) => {
                State::restored(manifest).map_err(|reason| ManifestError::Refused {
                    file: manifests.join(manifest.id().to_string()),
                    source: NotAManifest::Damaged { reason },
                })?
            }
            None => State::new(),
        };
        let at = |file: PathBuf| move |source| ManifestError::Disk { file, source };
        let segments = dir.join("segments");
        let library = Library::open(Arc::clone(&disk), &segments, cache_bytes);
        let library = library.map_err(at(segments.clone()))?;
        library.clear_unfinished().map_err(at(segments))?;
        *state.write().unwrap_or_else(PoisonError::into_inner) = restored;
        Ok(Self {
            disk,
            dir,
            shard,
            state,
            library: Arc::new(library),
            purgeable: watch::Sender::new(manifest.as_ref().map(Manifest::id)),
            prints: Mutex::new(Self::printed(manifest.as_ref())),
            current: Mutex::new(manifest.map(Arc::new)),
            work: Mutex::default(),
            readers: Mutex::default(),
            kept: Mutex::default(),
            findings: Mutex::default(),
            pace: Pace::default(),
            share: Share::HALF,
            keep_free: 0,
        })
    }

    /// Lets compaction take this share instead of half of the time.
    #[must_use]
    pub fn with_compaction_share(self, share: Share) -> Self {
        Self { share, ..self }
    }

    /// Gives segments up that are being written once the disk has less than so many bytes free.
    #[must_use]
    pub fn keeping_free(self, keep_free: u64) -> Self {
        Self { keep_free, ..self }
    }

    /// The segments.
    pub fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// The newest durable manifest.
    pub fn manifest(&self) -> Option<Arc<Manifest>> {
        lock(&self.current).clone()
    }

    /// Takes over a manifest of another replica, all of whose segments are in the library: makes it
    /// durable and puts the state where it stands. Jobs that wait are forgotten, and one that is being
    /// done is given up. Call it off the runtime's threads.
    ///
    /// # Errors
    /// When it cannot be made durable; nothing is changed, but after a failed sync it may be found
    /// when the archive is opened again.
    pub fn install(&self, manifest: Manifest) -> io::Result<()> {
        let waiting = self.pace.give_way();
        let mut work = lock(&self.work);
        drop(waiting);
        let restored = State::restored(&manifest).map_err(io::Error::other)?;
        self.library.sync_names(&manifest.segments)?;
        self.store(&manifest).map_err(ManifestError::into_io)?;
        let before = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *state, restored)
        };
        lock(&self.readers).push(Arc::downgrade(before.hold()));
        *lock(&self.current) = Some(Arc::new(manifest));
        lock(&self.kept).clear();
        *work = Work {
            made: None,
            is_untidy: true,
        };
        Ok(())
    }

    /// For how long compaction was to rest so far, to keep to its share.
    pub fn rested(&self) -> Duration {
        self.pace.rested()
    }

    /// Lets the job that is being done be given up: the node is stopping.
    pub fn stop(&self) {
        self.pace.stop();
    }

    /// The manifest up to whose position the log is no longer needed here: it is durable, and no
    /// read needs an entry before it.
    pub fn purgeable(&self) -> watch::Receiver<Option<ManifestId>> {
        self.purgeable.subscribe()
    }

    /// Tidies up behind what was done before, then does the next job, if there is one. Call it off the
    /// runtime's threads.
    ///
    /// # Errors
    /// See [`JobError`]; the job is still the next one.
    pub fn do_next(&self, payloads: &dyn Payloads) -> Result<bool, JobError> {
        self.pace.let_pass()?;
        let mut work = lock(&self.work);
        self.tidy(&mut work)?;
        let Some(job) = read(&self.state).job().cloned() else {
            return Ok(false);
        };
        let begun = Instant::now();
        let change = match work.made.take() {
            Some((index, change)) if index == job.index() => change,
            _ => self.make(&job, payloads)?,
        };
        if let Err(error) = self.store_after(&job, &change, payloads, begun) {
            work.made = Some((job.index(), change));
            return Err(error);
        }
        metrics::histogram!("tidemark_job_seconds").record(begun.elapsed());
        let before = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.complete(&change)
        };
        lock(&self.readers).push(Arc::downgrade(&before));
        work.is_untidy = true;
        Ok(true)
    }

    /// Puts the segments in place that `job` makes.
    fn make(&self, job: &Job, payloads: &dyn Payloads) -> Result<Change, JobError> {
        match job {
            Job::Seal(generation) => self.cut_generation(generation, payloads),
            Job::Compact { index, segments } => self.merge(*index, segments, payloads),
            Job::Reclaim { index } => self.reclaim(*index),
        }
    }

    /// Makes what `job` comes to durable, if it is a change.
    fn store_after(
        &self,
        job: &Job,
        change: &Change,
        payloads: &dyn Payloads,
        begun: Instant,
    ) -> Result<(), JobError> {
        let Some(manifest) = self.manifest_after(job, change) else {
            return Ok(());
        };
        self.library.sync_names(&manifest.segments)?;
        if !payloads.wait_synced(manifest.position.index) {
            return Err(JobError::Stopping);
        }
        self.store(&manifest)?;
        info!(
            position = manifest.position.index,
            jobs_through = manifest.jobs_through,
            segments = manifest.segments.len(),
            made = change.added.len(),
            bytes = change.added.iter().map(|entry| entry.bytes).sum::<u64>(),
            readings = change.added.iter().map(|entry| entry.readings).sum::<u64>(),
            took_ms = begun.elapsed().as_millis(),
            "sealed"
        );
        *lock(&self.current) = Some(Arc::new(manifest));
        Ok(())
    }

    /// Removes what no manifest lists and lets the log go, unless a read is left that needs it.
    ///
    /// # Errors
    /// What the disk says; what is not removed now is removed later.
    fn tidy(&self, work: &mut Work) -> io::Result<()> {
        if !work.is_untidy {
            return Ok(());
        }
        {
            let mut readers = lock(&self.readers);
            readers.retain(|reader| reader.strong_count() > 0);
            if !readers.is_empty() {
                return Ok(());
            }
        }
        if let Some(manifest) = self.manifest() {
            let mut listed = manifest.segments.clone();
            listed.extend(lock(&self.kept).iter().cloned());
            self.library.retain(&listed)?;
            self.purgeable.send_replace(Some(manifest.id()));
        }
        work.is_untidy = false;
        Ok(())
    }

    /// What the shard is once `job` has made `change`; `None` if it is what it was.
    fn manifest_after(&self, job: &Job, change: &Change) -> Option<Manifest> {
        let segments = {
            let state = read(&self.state);
            let kept = |entry: &&Arc<SegmentEntry>| !change.removed.contains(&entry.id());
            let kept = state.segments().iter().filter(kept);
            let added = change.added.iter().cloned().map(Arc::new);
            kept.cloned().chain(added).collect::<Vec<_>>()
        };
        let mut manifest = match job {
            Job::Seal(generation) => {
                let checkpoint = &generation.checkpoint;
                let records = checkpoint.series.iter().map(|series| series.record());
                Manifest {
                    position: generation.position(),
                    jobs_through: generation.index,
                    total: checkpoint.total,
                    series: records.collect(),
                    producers: checkpoint.producers.clone(),
                    nodes: checkpoint.nodes.clone(),
                    boards: checkpoint.boards.clone(),
                    tombstones: checkpoint.tombstones.clone(),
                    retention: checkpoint.retention.clone(),
                    voids: Some(checkpoint.voids.clone()),
                    segments: Vec::new(),
                }
            }
            Job::Compact { index, .. } | Job::Reclaim { index, .. } => {
                if change.is_nothing() {
                    return None;
                }
                let mut manifest = Manifest::clone(&*self.manifest()?);
                manifest.jobs_through = *index;
                manifest
            }
        };
        let through = manifest.position.index;
        manifest.tombstones = settled(manifest.tombstones, &segments, through);
        manifest.segments = segments
            .iter()
            .map(|entry| SegmentEntry::clone(entry))
            .collect();
        manifest
            .segments
            .sort_by_key(|entry| (entry.window, entry.order, entry.created));
        Some(manifest)
    }

    fn store(&self, manifest: &Manifest) -> Result<(), ManifestError> {
        let hash = manifest.store(&*self.disk, &self.dir.join("manifests"))?;
        lock(&self.prints).add(manifest.id(), hash);
        Ok(())
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
