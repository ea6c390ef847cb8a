//! Segments as the transfer between members sees them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use segment_log::{DiskFile, OpenMode};

use super::{Archive, lock};
use crate::raft::transfer::SegmentStore;
use crate::scan::read;
use crate::segments::manifest::{Manifest, SegmentEntry, SegmentHash};

impl Archive {
    /// The segment with this hash, of those that are served or were just now.
    fn find(&self, hash: &SegmentHash) -> Option<SegmentEntry> {
        let state = read(&self.state);
        let served = state.segments().iter().find(|entry| entry.hash == *hash);
        if let Some(entry) = served {
            return Some(SegmentEntry::clone(entry));
        }
        drop(state);
        let manifest = self.manifest()?;
        manifest
            .segments
            .iter()
            .find(|entry| entry.hash == *hash)
            .cloned()
    }
}

impl SegmentStore for Archive {
    fn missing(&self, entries: &[SegmentEntry]) -> Vec<SegmentEntry> {
        let mut missing = self.library.missing(entries);
        let damaged = self.library.damaged();
        let is_damaged =
            |entry: &&SegmentEntry| damaged.iter().any(|damage| damage.entry.hash == entry.hash);
        for entry in entries.iter().filter(is_damaged) {
            if !missing.contains(entry) {
                missing.push(entry.clone());
            }
        }
        missing
    }

    fn open(&self, hash: &SegmentHash) -> io::Result<Arc<dyn DiskFile>> {
        let entry = self.find(hash).ok_or(io::ErrorKind::NotFound)?;
        self.disk.open(&self.library.path(&entry), OpenMode::Read)
    }

    fn incoming(&self, hash: &SegmentHash) -> PathBuf {
        self.library.incoming(hash)
    }

    fn adopt(&self, whole: &Path, entry: &SegmentEntry) -> io::Result<()> {
        let adopted = self.library.adopt(whole, entry);
        if matches!(&adopted, Err(error) if error.kind() == io::ErrorKind::InvalidData) {
            // It must be fetched anew.
            self.library.discard(whole)?;
        }
        adopted
    }

    fn keep(&self, entries: &[SegmentEntry]) {
        *lock(&self.kept) = entries.to_vec();
    }

    fn manifest(&self) -> Option<Arc<Manifest>> {
        Self::manifest(self)
    }
}
