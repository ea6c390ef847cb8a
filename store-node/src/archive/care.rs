//! What the files of an archive are like, looked at from time to time beside serving them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use segment_log::{Disk, OpenMode};
use tokio::time::Instant;

use super::{Archive, lock};
use crate::segments::library::Damage;
use crate::segments::manifest::SegmentEntry;

/// What the last look found, and what jobs have met.
#[derive(Debug, Default)]
pub(super) struct Findings {
    missing: Vec<SegmentEntry>,
    disk_bytes: u64,
    hindered_since: Option<Instant>,
}

impl Archive {
    /// Looks which files are there, by names and sizes. Call it off the runtime's threads.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn look(&self) -> io::Result<()> {
        let listed = self.manifest();
        let listed = listed
            .as_ref()
            .map_or(&[][..], |manifest| &manifest.segments);
        let missing = self.library.missing(listed);
        let disk_bytes = bytes_below(&*self.disk, &self.dir)?;
        let mut findings = lock(&self.findings);
        findings.missing = missing;
        findings.disk_bytes = disk_bytes;
        Ok(())
    }

    /// Bytes of segments, manifests and whatever else is in the folder, as of the last look.
    pub(crate) fn disk_bytes(&self) -> u64 {
        lock(&self.findings).disk_bytes
    }

    /// The listed segments of which there is no whole copy here: those known to be damaged, and those
    /// that the last look did not find; ordered by hash.
    pub(crate) fn ailing(&self) -> Vec<Damage> {
        let Some(manifest) = self.manifest() else {
            return Vec::new();
        };
        let is_listed = |entry: &SegmentEntry| {
            let mut hashes = manifest.segments.iter().map(|listed| listed.hash);
            hashes.any(|hash| hash == entry.hash)
        };
        let mut ailing = self.library.damaged();
        for entry in &lock(&self.findings).missing {
            if ailing.iter().all(|damage| damage.entry.hash != entry.hash) {
                ailing.push(Damage {
                    entry: entry.clone(),
                    range: 0..entry.bytes,
                    reason: "the file is missing, or has another length".to_owned(),
                });
            }
        }
        ailing.retain(|damage| is_listed(&damage.entry));
        ailing.sort_by_key(|damage| damage.entry.hash);
        ailing
    }

    /// Takes note of whether the next job finds what it is to read.
    pub(crate) fn note_hindrance(&self, is_hindered: bool) {
        let since = &mut lock(&self.findings).hindered_since;
        *since = is_hindered.then(|| since.unwrap_or_else(Instant::now));
    }

    /// Since when the next job does not find what it is to read.
    pub(crate) fn hindered_since(&self) -> Option<Instant> {
        lock(&self.findings).hindered_since
    }

    /// The disk that everything is on.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }
}

/// Bytes of all files below a folder; what vanishes meanwhile has none.
fn bytes_below(disk: &dyn Disk, dir: &Path) -> io::Result<u64> {
    let names = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        names => names?,
    };
    let mut bytes = 0;
    for name in names {
        let path = dir.join(name);
        bytes += match disk.list(&path) {
            Ok(_) => bytes_below(disk, &path)?,
            Err(_) => match disk.open(&path, OpenMode::Read) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                file => file?.len()?,
            },
        };
    }
    Ok(bytes)
}
