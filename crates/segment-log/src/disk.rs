//! Every file operation of the project, as two traits that a test can stand in for.
//!
//! The traits offer what durable storage needs and nothing else: there is no append mode, no
//! cursor, and syncing is always explicit. Two rules make a change of *names* durable: sync the
//! file first, then the folder it is in ([`Disk::sync_dir`]). [`write_file_atomically`] follows
//! them for small files; segments follow them in `segment.rs`.
//!
//! See `os_disk.rs` for the real disk and `fake.rs` for the one tests break on purpose.

use std::{
    ffi::OsString,
    fmt::Debug,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A new and empty file for reading and writing; what was there before is lost.
    Create,
}

/// A held lock; dropping it, or the end of the process, releases it.
pub trait DiskLock: Debug + Send + Sync {}

/// The files and folders of one machine.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens a file. `NotFound` if it must exist and does not.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// The names of the files and folders directly in `dir`, in no particular order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Whether a file or folder of this name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Creates `dir` and what is missing above it, durably.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Gives a file another name, replacing what had that name. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file another name that nothing has, at once: of several who want it one gets it.
    /// `AlreadyExists` if something has it. Durable after [`Disk::sync_dir`].
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and everything in it. Durable after [`Disk::sync_dir`] of its parent.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in `dir` durable: files created, renamed and removed.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that may still be written to the file system of `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Takes the exclusive lock named by the file `path`, created if need be. `WouldBlock` if
    /// another process, or another part of this one, holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
}

/// One open file. All offsets are explicit, so that threads may share it.
pub trait DiskFile: Debug + Send + Sync {
    /// Reads at `offset` as much as comes, at most `buf`; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `slices`, one after the other, starting at `offset`. On an error any part of
    /// them may have been written. Uses `slices` up.
    fn write_vectored_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Takes room from the disk for `len` bytes from `offset` and fills it with zeros. Fails with
    /// [`io::ErrorKind::StorageFull`] before anything else when there is not enough.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Cuts the file, or extends it with zeros. Durable after [`DiskFile::sync_all`].
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// When the content was changed last, by the clock of the machine.
    fn modified(&self) -> io::Result<SystemTime>;
    /// Bytes in the file.
    fn len(&self) -> io::Result<u64>;
    /// Makes the content durable, and the size as far as reading the content needs it
    /// (`fdatasync`). After an error what is durable is unknown, whatever a second call says.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes content and size durable (`fsync`). The same holds after an error.
    fn sync_all(&self) -> io::Result<()>;
    /// Makes the next reads come from the disk itself, not from memory, as far as the system
    /// allows. Call after a sync: what a failed sync left only in memory is not to be believed.
    fn forget_cached(&self) -> io::Result<()>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buf` from `offset`; `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    buf = &mut buf[read..];
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`. On an error any part of them may have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_vectored_at(&mut [IoSlice::new(bytes)], offset)
    }
}

/// The whole content of a file. For small files: it is read into memory.
pub fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Replaces the content of `path` by `bytes`, durably and atomically: after a crash at any moment
/// the file holds the old content or the new, whole. For small files.
///
/// Writes `path` + `.tmp` first, so no other file may have that name; one caller at a time for one
/// `path`. On an error the old content is still in place, except when the very last step, making
/// the new name durable, failed: then either may be found after a crash.
pub fn write_file_atomically(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path names no file in a folder",
        )
    })?;
    let mut unfinished = OsString::from(path);
    unfinished.push(".tmp");
    let unfinished = PathBuf::from(unfinished);
    let file = disk.open(&unfinished, OpenMode::Create)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    disk.rename(&unfinished, path)?;
    disk.sync_dir(parent)
}
