//! One replica of a shard without consensus: a disk, the state, and the archive, fed from a log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use segment_log::fake::FakeDisk;
use segment_log::{Disk, OpenMode, read_file};
use sensor_model::Pattern;
use store_node::archive::{Archive, ArchiveOptions, JobError, Share};
use store_node::raft::transfer::SegmentStore;
use store_node::scan::{ScanError, Source, catalogue};
use store_node::segments::manifest::{Manifest, ManifestError, Position, SegmentHash};
use store_node::state::{Outcome, PayloadError, Payloads, State};
use store_wire::message::RangeQuestion;
use store_wire::message::SeriesInfo;

use crate::state_model::history::Log;
use crate::state_model::model::Model;
use crate::state_model::{Answer, answer, limits};

pub(super) const DIR: &str = "/data/shards/0";

/// A replica.
pub(super) struct Replica {
    pub(super) disk: FakeDisk,
    pub(super) state: Arc<RwLock<State>>,
    pub(super) archive: Archive,
    applied: AtomicU64,
    /// How far its log is purged.
    purged: AtomicU64,
}

/// The log as a replica has it: purged as far as its archive ever let it be.
pub(super) struct Purged<'a> {
    log: &'a Log,
    replica: &'a Replica,
}

impl Replica {
    /// Opens what is on the disk; entries above its manifest are not applied yet.
    pub(super) fn open(disk: FakeDisk) -> Result<Self, ManifestError> {
        let state = Arc::new(RwLock::new(State::new()));
        let options = ArchiveOptions {
            disk: Arc::new(disk.clone()),
            dir: DIR.into(),
            shard: 0,
            cache_bytes: 1 << 20,
        };
        let archive = Archive::open(options, Arc::clone(&state))?;
        let manifest = archive.manifest();
        Ok(Self {
            disk,
            state,
            applied: AtomicU64::new(manifest.map_or(0, |manifest| manifest.position.index)),
            archive,
            purged: AtomicU64::new(0),
        })
    }

    /// Opens `disk`, which is what is left of this replica's, and applies the log as far as before.
    pub(super) fn reopened(&self, disk: FakeDisk, log: &Log) -> Self {
        let purged = self.purged();
        let mut reopened = Self::open(disk).unwrap();
        reopened.assert_whole();
        assert!(purged <= reopened.applied(), "the log was purged too early");
        reopened.purged = AtomicU64::new(purged);
        reopened.catch_up_to(log, self.applied());
        reopened
    }

    /// Purges the log as far as it may be, and says how far that is.
    pub(super) fn purged(&self) -> u64 {
        let purgeable = *self.archive.purgeable().borrow();
        let position = purgeable.map_or(0, |purgeable| purgeable.position);
        self.purged
            .fetch_max(position, Ordering::Relaxed)
            .max(position)
    }

    /// With this share of the time for compaction.
    pub(super) fn with_share(self, share: Share) -> Self {
        Self {
            archive: self.archive.with_compaction_share(share),
            ..self
        }
    }

    /// Giving segments up once the disk has less than so many bytes free.
    pub(super) fn keeping_free(self, bytes: u64) -> Self {
        Self {
            archive: self.archive.keeping_free(bytes),
            ..self
        }
    }

    /// An empty one.
    pub(super) fn new() -> Self {
        Self::open(FakeDisk::new()).unwrap()
    }

    /// The last entry applied.
    pub(super) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    /// Applies what it has not applied yet.
    pub(super) fn catch_up(&self, log: &Log) {
        self.catch_up_to(log, log.last());
    }

    /// Applies what it has not applied yet, up to entry `last`.
    pub(super) fn catch_up_to(&self, log: &Log, last: u64) {
        while self.applied() < last {
            let (index, payload) = log.entry(self.applied() + 1).unwrap();
            self.apply(index, payload);
        }
    }

    fn apply(&self, index: u64, payload: &Bytes) -> Outcome {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let outcome = state.apply(index, payload);
        if outcome == Outcome::Sealed {
            state.place_generation(Position {
                index,
                term: index / 10 + 1,
                node: 1,
                members: index.to_le_bytes().to_vec(),
            });
        }
        self.applied.store(index, Ordering::Relaxed);
        outcome
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn payloads<'a>(&'a self, log: &'a Log) -> Purged<'a> {
        Purged { log, replica: self }
    }

    /// Does the next job with payloads of the test's own.
    pub(super) fn do_next_with(&self, payloads: &dyn Payloads) -> Result<bool, JobError> {
        self.archive.do_next(payloads)
    }

    pub(super) fn do_next(&self, log: &Log) -> Result<bool, JobError> {
        self.archive.do_next(&self.payloads(log))
    }

    /// Does all jobs.
    pub(super) fn settle(&self, log: &Log) -> Result<(), JobError> {
        while self.do_next(log)? {}
        Ok(())
    }

    /// Takes over the manifest of another replica, as a snapshot is taken over.
    pub(super) fn install(&self, other: &Self) -> std::io::Result<()> {
        let manifest = self.fetch(other)?;
        let position = manifest.position.index;
        self.archive.install(manifest)?;
        self.applied.store(position, Ordering::Relaxed);
        Ok(())
    }

    /// Takes over what jobs came to on another replica; whether there were any to take over.
    pub(super) fn take_over(&self, other: &Self, log: &Log) -> Result<bool, JobError> {
        let manifest = self.fetch(other)?;
        let taken_over = self.archive.take_over(&manifest, &self.payloads(log));
        self.archive.keep(&[]);
        taken_over
    }

    /// The newest manifest of another replica; its segments are here then.
    fn fetch(&self, other: &Self) -> std::io::Result<Manifest> {
        let manifest = Manifest::clone(&*other.archive.manifest().unwrap());
        self.archive.keep(&manifest.segments);
        for entry in self.archive.missing(&manifest.segments) {
            let source = other.archive.open(&entry.hash)?;
            let mut bytes = vec![0; usize::try_from(entry.bytes).unwrap()];
            source.read_exact_at(&mut bytes, 0)?;
            let part = self.archive.incoming(&entry.hash);
            let file = self.disk.open(&part, OpenMode::Create)?;
            file.write_all_at(&bytes, 0)?;
            file.sync_all()?;
            self.archive.adopt(&part, &entry)?;
        }
        Ok(manifest)
    }

    /// Every file below its folder, by name.
    pub(super) fn names(&self) -> BTreeSet<PathBuf> {
        self.files().into_keys().collect()
    }

    pub(super) fn source<'a>(&'a self, payloads: &'a Purged<'a>) -> Source<'a> {
        Source {
            state: &self.state,
            payloads,
            library: self.archive.library(),
        }
    }

    pub(super) fn ask(&self, log: &Log, question: &RangeQuestion) -> Result<Answer, ScanError> {
        answer(self.source(&self.payloads(log)), question, &limits())
    }

    /// What is known of all series, and the latest reading of each, as `series` and `last` give it.
    pub(super) fn catalogue(&self, log: &Log) -> Result<Catalogue, ScanError> {
        let payloads = self.payloads(log);
        let (source, everything) = (self.source(&payloads), Pattern::everything());
        let mut catalogue = Catalogue::default();
        catalogue::series(source, &everything, &|_| true, &limits(), &mut |infos| {
            catalogue.series.extend(infos);
            Ok(())
        })?;
        catalogue::last(source, &everything, &|_| true, &limits(), &mut |last| {
            let last = last.into_iter();
            let named = last.map(|(series, last)| (series.path.to_string(), last));
            catalogue.last.extend(named);
            Ok(())
        })?;
        Ok(catalogue)
    }

    /// Every file below its folder.
    pub(super) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.disk, Path::new(DIR), &mut files);
        files
    }

    /// The manifest and what it lists.
    fn listed(&self) -> BTreeSet<PathBuf> {
        let mut listed = BTreeSet::new();
        if let Some(manifest) = self.archive.manifest() {
            listed.insert(Path::new(DIR).join(format!("manifests/{}", manifest.id())));
            let library = self.archive.library();
            listed.extend(manifest.segments.iter().map(|entry| library.path(entry)));
        }
        listed
    }

    /// Nothing lies about but the manifest and what it lists.
    pub(super) fn assert_tidy(&self) {
        assert_eq!(self.names(), self.listed());
    }

    /// Everything listed is there; what else there is, is segments, which may have been fetched.
    fn assert_whole(&self) {
        let found = self.names();
        let listed = self.listed();
        let missing: Vec<_> = listed.difference(&found).collect();
        assert!(missing.is_empty(), "{missing:?}");
        for path in found.difference(&listed) {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            assert!(stem.parse::<SegmentHash>().is_ok(), "{}", path.display());
        }
    }
}

/// What `series` and `last` give.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Catalogue {
    pub(super) series: Vec<SeriesInfo>,
    pub(super) last: Vec<(String, sensor_model::Reading)>,
}

/// Compares everything that can be asked with the model.
impl Replica {
    pub(super) fn check_boards(&self, model: &Model) {
        let state = self.state();
        let all = state.boards().all();
        let found = all.map(|board| (&board.name, board.revision, board.content.to_vec()));
        let known = model.boards().iter();
        let known =
            known.map(|(name, (revision, content))| (name, *revision, content.as_bytes().to_vec()));
        assert!(
            found.eq(known),
            "{:?} are not {:?}",
            state.boards(),
            model.boards()
        );
    }
}

pub(super) fn check_catalogue(found: &Catalogue, model: &Model) {
    let series: BTreeMap<String, _> = model.named().collect();
    let last: Vec<_> = series
        .iter()
        .filter_map(|(path, series)| Some((path.clone(), series.last()?)))
        .collect();
    assert_eq!(found.last, last);
    assert_eq!(found.series.len(), series.len());
    for (info, (path, series)) in found.series.iter().zip(series) {
        assert_eq!(info.description.path.to_string(), path);
        assert_eq!(info.count, series.applied(), "{path}");
        let first = info.first.map(|first| first.as_nanos());
        assert_eq!(first, series.first(), "{path}");
        assert_eq!(info.last, series.last(), "{path}");
    }
}

fn collect(disk: &FakeDisk, dir: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for name in disk.list(dir).unwrap_or_default() {
        let path = dir.join(name);
        match read_file(disk, &path) {
            Ok(bytes) => drop(files.insert(path, bytes)),
            Err(_) => collect(disk, &path, files),
        }
    }
}

impl Payloads for Purged<'_> {
    fn payload(&self, index: u64) -> Result<Bytes, PayloadError> {
        if index <= self.replica.purged() {
            return Err(PayloadError::Absent { index });
        }
        self.log.payload(index)
    }
}
