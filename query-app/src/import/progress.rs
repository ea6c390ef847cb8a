//! How far an import has come, kept beside the file.

use std::io;
use std::path::{Path, PathBuf};

use segment_log::{Disk, OpenMode, write_file_atomically};
use serde::{Deserialize, Serialize};

use super::source::{Position, SourceOptions};
use crate::files::folder_of;

/// Bytes of the file that tell it apart from another.
const HEAD_BYTES: usize = 64 << 10;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Of what this is the progress: it is not taken up for anything else.
    of: Identity,
    /// Everything before is committed.
    pub(crate) position: Position,
    /// How much that was.
    pub(crate) readings: u64,
    pub(crate) unusable: u64,
}

/// A file, how it is understood, and the cluster it goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    version: u32,
    bytes: u64,
    modified_ns: i128,
    head: String,
    options: String,
    cluster: String,
}

/// Where progress is kept.
#[derive(Debug, Clone)]
pub(crate) struct ProgressFile {
    path: PathBuf,
}

impl Identity {
    /// Of the file `path`, imported with `options` into the cluster with this UUID.
    pub(crate) fn of(
        disk: &dyn Disk,
        path: &Path,
        options: &SourceOptions,
        cluster: &str,
    ) -> io::Result<Self> {
        let file = disk.open(path, OpenMode::Read)?;
        let bytes = file.len()?;
        let head_bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(HEAD_BYTES);
        let mut head = vec![0; head_bytes];
        file.read_exact_at(&mut head, 0)?;
        let modified = std::fs::metadata(path)?.modified()?;
        let modified = modified.duration_since(std::time::UNIX_EPOCH);
        let modified_ns = modified.map_or(-1, |since| since.as_nanos().cast_signed());
        Ok(Self {
            version: 1,
            bytes,
            modified_ns,
            head: blake3::hash(&head).to_hex().to_string(),
            options: serde_json::to_string(options).map_err(io::Error::other)?,
            cluster: cluster.to_owned(),
        })
    }
}

impl Progress {
    /// Nothing yet.
    pub(crate) fn begin(of: Identity, position: Position) -> Self {
        Self {
            of,
            position,
            readings: 0,
            unusable: 0,
        }
    }
}

impl ProgressFile {
    /// Beside `input`, or where it is told.
    pub(crate) fn beside(input: &Path, told: Option<&Path>) -> Self {
        let path = told.map_or_else(
            || {
                let mut name = input.as_os_str().to_owned();
                name.push(".import-progress");
                PathBuf::from(name)
            },
            Path::to_owned,
        );
        // The disk syncs the folder by its name.
        let path = folder_of(&path).join(path.file_name().unwrap_or_default());
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The progress of the import with this identity, if it was begun.
    pub(crate) fn read(&self, disk: &dyn Disk, of: &Identity) -> Found {
        let Ok(bytes) = segment_log::read_file(disk, &self.path) else {
            return Found::Nothing;
        };
        match serde_json::from_slice::<Progress>(&bytes) {
            Ok(progress) if progress.of == *of => Found::Progress(progress),
            _ => Found::Other,
        }
    }

    /// Keeps `progress`, durably.
    pub(crate) fn write(&self, disk: &dyn Disk, progress: &Progress) -> io::Result<()> {
        let bytes = serde_json::to_vec(progress).map_err(io::Error::other)?;
        write_file_atomically(disk, &self.path, &bytes)
    }

    /// The import is whole: nothing is left to go on with.
    pub(crate) fn remove(&self, disk: &dyn Disk) {
        // Left behind it would be taken up at the file's end, which imports nothing twice either.
        let _ = disk.remove(&self.path);
    }
}

/// What stands where progress is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Progress(Progress),
    /// Something else: of another file, another cluster, or with other flags.
    Other,
}
