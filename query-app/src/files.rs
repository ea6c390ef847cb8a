//! Files that commands read and write: through the disk, at an offset of our own.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use segment_log::{Disk, DiskFile, OpenMode};

/// Reads a file from an offset to its end.
pub(crate) struct FileReader {
    file: Arc<dyn DiskFile>,
    offset: u64,
    /// What was read last.
    block: Vec<u8>,
}

/// Writes a file from its beginning on.
pub(crate) struct FileWriter {
    file: Arc<dyn DiskFile>,
    offset: u64,
}

/// A new file that appears under its name whole or not at all.
///
/// Until [`NewFile::commit`] it has another name in the same folder, and it is removed when this is
/// dropped before.
pub(crate) struct NewFile {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    existing: Existing,
    unfinished: Option<PathBuf>,
}

/// What becomes of a file that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Kept,
    Replaced,
}

impl FileReader {
    pub(crate) fn new(file: Arc<dyn DiskFile>, offset: u64) -> Self {
        Self {
            file,
            offset,
            block: Vec::new(),
        }
    }

    /// The byte before `offset`, where it was among the last that were read.
    pub(crate) fn byte_before(&self, offset: u64) -> Option<u8> {
        let from_end = self.offset.checked_sub(offset)?;
        let at = self
            .block
            .len()
            .checked_sub(usize::try_from(from_end).ok()? + 1)?;
        Some(self.block[at])
    }
}

impl Read for FileReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buf, self.offset)?;
        self.offset += read as u64;
        if read > 0 {
            self.block.clear();
            self.block.extend_from_slice(&buf[..read]);
        }
        Ok(read)
    }
}

impl Write for FileWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(buf, self.offset)?;
        self.offset += buf.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile {
    /// A file that will be `path`.
    pub(crate) fn create(disk: Arc<dyn Disk>, path: &Path, existing: Existing) -> io::Result<Self> {
        let mut unfinished = OsString::from(path);
        unfinished.push(format!(".{}.unfinished", std::process::id()));
        let unfinished = PathBuf::from(unfinished);
        Ok(Self {
            file: disk.open(&unfinished, OpenMode::Create)?,
            disk,
            path: path.to_owned(),
            existing,
            unfinished: Some(unfinished),
        })
    }

    /// Writes from the beginning on.
    pub(crate) fn writer(&self) -> FileWriter {
        FileWriter {
            file: Arc::clone(&self.file),
            offset: 0,
        }
    }

    /// Syncs the file and gives it its name. `AlreadyExists` if something has that name and is kept,
    /// however lately it came.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        if let Some(unfinished) = &self.unfinished {
            match self.existing {
                Existing::Kept => self.disk.rename_new(unfinished, &self.path)?,
                Existing::Replaced => self.disk.rename(unfinished, &self.path)?,
            }
        }
        self.unfinished = None;
        self.disk.sync_dir(folder_of(&self.path))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(unfinished) = &self.unfinished {
            // What cannot be removed is left behind under a name that says what it is.
            let _ = self.disk.remove(unfinished);
        }
    }
}

/// The folder a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}
