//! Sealed segments as plain files of one folder: stands in until the library of a shard is wired.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use segment_log::{Disk, DiskFile, OpenMode};

use super::SegmentStore;
use crate::segments::manifest::{SegmentEntry, SegmentHash};

/// `DIR/{hash}.seg`, and `DIR/incoming/{hash}.part` while it is fetched.
#[derive(Debug)]
pub struct Folder {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Folder {
    /// The segments in `dir`.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, dir }
    }

    fn path(&self, hash: &SegmentHash) -> PathBuf {
        self.dir.join(format!("{hash}.seg"))
    }
}

impl SegmentStore for Folder {
    fn missing(&self, entries: &[SegmentEntry]) -> Vec<SegmentEntry> {
        let is_here = |entry: &SegmentEntry| {
            let opened = self.open(&entry.hash).and_then(|file| file.len());
            opened.is_ok_and(|len| len == entry.bytes)
        };
        let missing = entries.iter().filter(|entry| !is_here(entry));
        missing.cloned().collect()
    }

    fn open(&self, hash: &SegmentHash) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(&self.path(hash), OpenMode::Read)
    }

    fn incoming(&self, hash: &SegmentHash) -> PathBuf {
        self.dir.join("incoming").join(format!("{hash}.part"))
    }

    fn adopt(&self, whole: &Path, entry: &SegmentEntry) -> io::Result<()> {
        self.disk.rename(whole, &self.path(&entry.hash))?;
        self.disk.sync_dir(&self.dir)
    }

    fn keep(&self, _entries: &[SegmentEntry]) {}
}
