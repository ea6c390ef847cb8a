//! All segments of one shard on this node's disk.
//!
//! ```text
//! DIR/20261120T100000Z/{hash}.seg   a segment of the window that starts then
//! DIR/incoming/{name}.part          being written or fetched; not part of the library
//! DIR/damaged/{hash}.seg            set aside until a whole copy takes its place
//! ```
//!
//! A segment gets its name when all of it is durable ([`Library::adopt`]), and is immutable from then
//! on. Which segments there should be is the manifest's affair: the library serves those it is asked for
//! and keeps those it is told to ([`Library::retain`]). What a crash can leave is in `docs/formats.md`,
//! *Segment*.
//!
//! Directories and entries that were read stay in memory, within a budget of bytes. Damage that any read
//! finds is remembered: that copy of the segment serves nothing from then on, whoever holds it.
//!
//! All of it blocks on the disk: call it off the runtime's threads.

mod cache;
mod names;
pub(crate) mod survey;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use segment_log::{Disk, OpenMode};
use sensor_model::SeriesId;

pub use super::damage::Damage;
use super::damage::{Damages, Watch};
use super::manifest::{SegmentEntry, SegmentHash};
use super::segment::{ChunkEntry, Segment, SegmentError};
use cache::Cache;

/// The segments of one shard. Threads may share it.
#[derive(Debug)]
pub struct Library {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    cache: Cache,
    damages: Arc<Damages>,
    /// Held while names on the disk change.
    names: Mutex<Names>,
}

/// What is known of names on the disk.
#[derive(Debug, Default)]
struct Names {
    /// Unfinished files that somebody has asked for and that were not adopted or discarded yet.
    awaited: BTreeSet<PathBuf>,
    /// Folders of windows in which every name is durable.
    durable: BTreeSet<PathBuf>,
}

impl Library {
    /// Opens what is in `dir`, creating it if need be. Reads no segment. `cache_bytes` bounds what stays
    /// in memory: half of it is for directories, half for entries.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, cache_bytes: usize) -> io::Result<Self> {
        disk.create_dir_all(&dir.join(names::INCOMING))?;
        disk.create_dir_all(&dir.join(names::DAMAGED))?;
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            cache: Cache::new(cache_bytes),
            damages: Arc::default(),
            names: Mutex::default(),
        })
    }

    /// Where a segment is, or would be.
    pub fn path(&self, entry: &SegmentEntry) -> PathBuf {
        survey::file_of(&self.dir, entry)
    }

    /// Where to write an unfinished segment: one that is fetched under its hash, so that it is found
    /// again and resumed, others under any other name. [`Library::retain`] leaves the file alone until
    /// it was adopted or discarded.
    pub fn incoming(&self, name: impl fmt::Display) -> PathBuf {
        let path = self.incoming_dir().join(names::unfinished_file(name));
        self.lock().awaited.insert(path.clone());
        path
    }

    /// Gives the file `unfinished`, whose content is durable, its place; it must be the whole segment
    /// of `entry`. What was known of damage to another copy is forgotten, and that copy removed. Done
    /// already, and not damaged since, it is only made certain to be durable.
    ///
    /// # Errors
    /// What the disk says; `InvalidData` if the file is another one, `NotFound` if there is none. When a
    /// sync failed the segment may or may not be found after a crash.
    pub fn adopt(&self, unfinished: &Path, entry: &SegmentEntry) -> io::Result<()> {
        let mut names = self.lock();
        let folder = self.folder(entry);
        if self.disk.exists(unfinished)? {
            let opened = Segment::open(&*self.disk, unfinished).map_err(into_io)?;
            if !is_of(&opened, entry) {
                let wrong = "the file is not the segment that it is to be";
                return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
            }
            self.disk.create_dir_all(&folder)?;
            names.durable.remove(&folder);
            self.disk.rename(unfinished, &self.path(entry))?;
            // In this order: who opened the old file, or still does, leaves nothing behind.
            self.damages.forget(entry.hash);
            self.cache.forget(entry.hash);
        } else if !self.is_in_place(entry)? || self.watch(entry).damage().is_some() {
            return Err(io::ErrorKind::NotFound.into());
        }
        names.awaited.remove(unfinished);
        self.disk.sync_dir(&folder)?;
        names.durable.insert(folder);
        self.disk.sync_dir(&self.incoming_dir())?;
        self.remove_if_there(&self.damaged_file(entry.hash))
    }

    /// Removes an unfinished file, if it is there: it will not be adopted.
    ///
    /// # Errors
    /// What the disk says.
    pub fn discard(&self, unfinished: &Path) -> io::Result<()> {
        let mut names = self.lock();
        self.remove_if_there(unfinished)?;
        names.awaited.remove(unfinished);
        Ok(())
    }

    /// Makes sure that the names of these segments outlive a power cut. They do when this library
    /// adopted them, but a process may have ended between naming a segment and syncing its folder: call
    /// this before a manifest that lists them is stored.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sync_names(&self, entries: &[SegmentEntry]) -> io::Result<()> {
        let mut names = self.lock();
        let folders: BTreeSet<PathBuf> = entries.iter().map(|entry| self.folder(entry)).collect();
        for folder in folders {
            if !names.durable.contains(&folder) {
                // The folder's own name too.
                self.disk.create_dir_all(&folder)?;
                self.disk.sync_dir(&folder)?;
                names.durable.insert(folder);
            }
        }
        Ok(())
    }

    /// A segment, opened now or before.
    ///
    /// # Errors
    /// See [`SegmentError`]; [`SegmentError::Damaged`] without looking, once damage was found.
    pub fn segment(&self, entry: &SegmentEntry) -> Result<Arc<Segment>, SegmentError> {
        self.check_undamaged(entry)?;
        self.cache.segment(entry.hash, || self.read(entry))
    }

    /// The chunks of a series in a segment, as [`Segment::chunks`], read now or before.
    ///
    /// # Errors
    /// See [`SegmentError`].
    pub fn chunks(
        &self,
        entry: &SegmentEntry,
        id: SeriesId,
    ) -> Result<Arc<[ChunkEntry]>, SegmentError> {
        self.check_undamaged(entry)?;
        self.cache.chunks(entry.hash, id, || {
            let segment = self.segment(entry)?;
            Ok(segment.chunks(id)?.into())
        })
    }

    /// Which of these segments are not there, going by name and size: what is there may be damaged.
    pub fn missing(&self, entries: &[SegmentEntry]) -> Vec<SegmentEntry> {
        // Where the system refuses to look, reading will say why.
        let is_missing = |entry: &&SegmentEntry| !self.is_in_place(entry).unwrap_or(true);
        entries.iter().filter(is_missing).cloned().collect()
    }

    /// Moves a segment to where nothing is read from, durably, and serves it no more until it is adopted
    /// again.
    ///
    /// # Errors
    /// What the disk says; `NotFound` if it was not there.
    pub fn set_aside(&self, entry: &SegmentEntry) -> io::Result<()> {
        let _names = self.lock();
        let place = self.path(entry);
        self.watch(entry)
            .report(&place, 0..entry.bytes, "it was set aside");
        self.cache.forget(entry.hash);
        self.disk.rename(&place, &self.damaged_file(entry.hash))?;
        self.disk.sync_dir(&self.dir.join(names::DAMAGED))?;
        self.disk.sync_dir(&self.folder(entry))
    }

    /// What is wrong with segments that are there, or were set aside, as far as reads have found out
    /// since this library was opened; ordered by hash.
    pub fn damaged(&self) -> Vec<Damage> {
        self.damages.list()
    }

    /// Bytes of directories and entries in memory.
    pub fn cached_bytes(&self) -> u64 {
        self.cache.bytes()
    }

    /// Removes unfinished files that nobody goes on with, durably: call it before anything is written.
    /// What was fetched in part is left, to be resumed.
    ///
    /// # Errors
    /// What the disk says.
    pub fn clear_unfinished(&self) -> io::Result<u64> {
        let _names = self.lock();
        let (removed, _) = self.remove_where(&self.incoming_dir(), |_, name| {
            names::is_unfinished(name) && names::hash_of_unfinished(name).is_none()
        })?;
        Ok(removed)
    }

    /// Removes every other segment, also those set aside, and unfinished files that nobody waits for,
    /// durably. An unfinished file of one of `keep` is left, to be resumed. Who has a removed segment
    /// open can still read it. Returns the bytes of the files removed.
    ///
    /// # Errors
    /// What the disk says; some may be removed, the others by the next call.
    pub fn retain(&self, keep: &[SegmentEntry]) -> io::Result<u64> {
        let mut names = self.lock();
        let hashes: BTreeSet<SegmentHash> = keep.iter().map(|entry| entry.hash).collect();
        let paths: BTreeSet<PathBuf> = keep.iter().map(|entry| self.path(entry)).collect();
        self.damages.retain(&hashes);
        self.cache.retain(&hashes);

        let mut bytes = 0;
        for name in self.disk.list(&self.dir)? {
            if !names::is_window_folder(&name) {
                continue;
            }
            let folder = self.dir.join(name);
            let is_stale = |path: &Path, name: &str| {
                names::hash_of_segment(name).is_some() && !paths.contains(path)
            };
            let (removed, left) = self.remove_where(&folder, is_stale)?;
            bytes += removed;
            if left == 0 {
                names.durable.remove(&folder);
                self.disk.remove_dir_all(&folder)?;
                self.disk.sync_dir(&self.dir)?;
            }
        }
        let (removed, _) = self.remove_where(&self.incoming_dir(), |path, name| {
            let is_kept = |hash| hashes.contains(&hash);
            names::is_unfinished(name)
                && !names.awaited.contains(path)
                && !names::hash_of_unfinished(name).is_some_and(is_kept)
        })?;
        bytes += removed;
        let damaged = self.dir.join(names::DAMAGED);
        let (removed, _) = self.remove_where(&damaged, |_, name| {
            names::hash_of_segment(name).is_some_and(|hash| !hashes.contains(&hash))
        })?;
        Ok(bytes + removed)
    }

    /// Removes the files of `folder` that `is_stale`, durably; their bytes, and how many files are left.
    fn remove_where(
        &self,
        folder: &Path,
        is_stale: impl Fn(&Path, &str) -> bool,
    ) -> io::Result<(u64, usize)> {
        let (mut bytes, mut left) = (0, 0);
        let mut is_changed = false;
        for name in self.disk.list(folder)? {
            let path = folder.join(&name);
            if is_stale(&path, &name) {
                bytes += self.disk.open(&path, OpenMode::Read)?.len()?;
                self.disk.remove(&path)?;
                is_changed = true;
            } else {
                left += 1;
            }
        }
        if is_changed {
            self.disk.sync_dir(folder)?;
        }
        Ok((bytes, left))
    }

    fn remove_if_there(&self, path: &Path) -> io::Result<()> {
        if !self.disk.exists(path)? {
            return Ok(());
        }
        self.disk.remove(path)?;
        self.disk.sync_dir(path.parent().unwrap_or(Path::new("")))
    }

    /// Opens a segment and compares it with what is to be there.
    fn read(&self, entry: &SegmentEntry) -> Result<Arc<Segment>, SegmentError> {
        let path = self.path(entry);
        let watch = self.watch(entry);
        let segment = Segment::open_watched(&*self.disk, &path, &watch)?;
        if is_of(&segment, entry) {
            return Ok(Arc::new(segment));
        }
        let error = SegmentError::Damaged {
            file: path,
            range: 0..segment.written().bytes,
            reason: "it is another segment than its name says".to_owned(),
        };
        error.report_to(&watch);
        Err(error)
    }

    fn check_undamaged(&self, entry: &SegmentEntry) -> Result<(), SegmentError> {
        match self.watch(entry).damage() {
            None => Ok(()),
            Some(damage) => Err(SegmentError::known(&self.path(entry), damage)),
        }
    }

    fn watch(&self, entry: &SegmentEntry) -> Watch {
        self.damages.watch(entry)
    }

    fn is_in_place(&self, entry: &SegmentEntry) -> io::Result<bool> {
        match self.disk.open(&self.path(entry), OpenMode::Read) {
            Ok(file) => Ok(file.len()? == entry.bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn folder(&self, entry: &SegmentEntry) -> PathBuf {
        self.dir.join(names::window_folder(entry.window))
    }

    fn incoming_dir(&self) -> PathBuf {
        self.dir.join(names::INCOMING)
    }

    fn damaged_file(&self, hash: SegmentHash) -> PathBuf {
        self.dir
            .join(names::DAMAGED)
            .join(names::segment_file(hash))
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a file is the segment of `entry`, as far as opening it has shown.
pub(crate) fn is_of(segment: &Segment, entry: &SegmentEntry) -> bool {
    let written = segment.written();
    let head = segment.head();
    written.hash == entry.hash
        && written.bytes == entry.bytes
        && written.readings == entry.readings
        && written.series == entry.series
        && (written.first, written.last) == (entry.first, entry.last)
        && head.created == entry.created
        && head.window == entry.window
}

fn into_io(error: SegmentError) -> io::Error {
    match error {
        SegmentError::Io { source, .. } => source,
        SegmentError::Missing { .. } => io::Error::new(io::ErrorKind::NotFound, error),
        SegmentError::Damaged { .. } | SegmentError::NewerVersion { .. } => {
            io::Error::new(io::ErrorKind::InvalidData, error)
        }
    }
}
