//! How far an import has come, kept beside the file.

use std::io;
use std::path::{Path, PathBuf};

use segment_log::{Disk, DiskFile, OpenMode, write_file_atomically};
use serde::{Deserialize, Serialize};

use super::source::{Position, SourceOptions};
use crate::failure::UsageError;
use crate::files::folder_of;

/// Bytes of the file that tell it apart from another.
const HEAD_BYTES: usize = 64 << 10;
/// More than progress ever takes: what is larger is something else, and is not read.
const PROGRESS_BYTES_MAX: u64 = 4 << 10;

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

/// A file, how it is understood, and the cluster it goes to: of bounded size, whatever these are.
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
    /// Of this open file, imported with `options` into the cluster with this UUID.
    pub(crate) fn of(
        file: &dyn DiskFile,
        options: &SourceOptions,
        cluster: &str,
    ) -> io::Result<Self> {
        let bytes = file.len()?;
        let head_bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(HEAD_BYTES);
        let mut head = vec![0; head_bytes];
        file.read_exact_at(&mut head, 0)?;
        let modified = file.modified()?.duration_since(std::time::UNIX_EPOCH);
        let modified_ns = modified.map_or(-1, |since| since.as_nanos().cast_signed());
        let options = serde_json::to_vec(options).map_err(io::Error::other)?;
        Ok(Self {
            version: 1,
            bytes,
            modified_ns,
            head: blake3::hash(&head).to_hex().to_string(),
            options: blake3::hash(&options).to_hex().to_string(),
            cluster: cluster.to_owned(),
        })
    }
}

impl Progress {
    /// Whether it is that of this import, not of another file, with other flags or into another cluster.
    pub(crate) fn is_of(&self, import: &Identity) -> bool {
        self.of == *import
    }

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

    /// What an earlier run has left, of whatever import.
    ///
    /// # Errors
    /// The file is no progress, or cannot be read: it must be neither replaced nor removed.
    pub(crate) fn read(&self, disk: &dyn Disk) -> Result<Option<Progress>, UsageError> {
        let refused = |reason: String| {
            let path = self.path.display();
            UsageError::new("progress", format!("{path} {reason}"))
        };
        let unreadable = |error: io::Error| refused(format!("cannot be read: {error}"));
        let file = match disk.open(&self.path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(unreadable)?,
        };
        let foreign = || {
            refused(
                "is not the progress of an import and is left as it is: name a file of its own, which need not exist"
                    .to_owned(),
            )
        };
        let bytes = file.len().map_err(unreadable)?;
        if bytes > PROGRESS_BYTES_MAX {
            return Err(foreign());
        }
        let mut text = vec![0; usize::try_from(bytes).unwrap_or_default()];
        file.read_exact_at(&mut text, 0).map_err(unreadable)?;
        match serde_json::from_slice(&text) {
            Ok(progress) => Ok(Some(progress)),
            // There is nothing to lose in a file such as `mktemp` makes.
            Err(_) if text.is_empty() => Ok(None),
            Err(_) => Err(foreign()),
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

#[cfg(test)]
mod tests {
    use segment_log::fake::FakeDisk;

    use super::*;

    #[test]
    fn progress_is_read_up_to_its_bound_and_what_is_larger_is_not_looked_at() {
        let disk = FakeDisk::new();
        let options = SourceOptions {
            columns: vec!["x".repeat(10_000)],
            ..SourceOptions::default()
        };
        let input = disk.open(Path::new("/a.csv"), OpenMode::Create).unwrap();
        let identity = Identity::of(input.as_ref(), &options, &"c".repeat(36)).unwrap();
        let position = Position {
            offset: u64::MAX,
            line: u64::MAX,
        };
        let progress = Progress::begin(identity, position);
        let file = ProgressFile::beside(Path::new("/a.csv"), None);
        file.write(&disk, &progress).unwrap();
        let written = disk.open(file.path(), OpenMode::ReadWrite).unwrap();
        let (len, most) = (written.len().unwrap(), PROGRESS_BYTES_MAX);
        assert!(len < most / 2);
        let blanks = vec![b' '; usize::try_from(most - len).unwrap()];
        written.write_all_at(&blanks, len).unwrap();
        assert_eq!(file.read(&disk), Ok(Some(progress)));
        written.write_all_at(b" ", most).unwrap();
        assert!(file.read(&disk).is_err());
    }
}
