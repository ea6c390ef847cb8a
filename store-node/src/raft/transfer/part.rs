//! A file that is being fetched: what has arrived of it, on disk.
//!
//! It is synced every so often, so that the log's own syncs never wait behind a large file's. What was
//! not yet synced when the power goes may have its length and not its bytes; that is found out when the
//! whole is hashed, as is everything else.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use segment_log::{Disk, DiskFile, OpenMode};

use crate::segments::manifest::SegmentHash;

/// Bytes read back at once.
const BLOCK_BYTES: usize = 1 << 20;
/// Bytes written between two syncs.
const SYNC_EVERY_BYTES: u64 = 8 << 20;

/// What has arrived of one file. Clones are the same. All of it uses the disk.
#[derive(Debug, Clone)]
pub(super) struct Part {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
}

impl Part {
    /// Opens what has arrived so far of a file of `bytes` bytes, or begins it.
    pub(super) fn open(disk: Arc<dyn Disk>, path: PathBuf, bytes: u64) -> io::Result<Self> {
        let file = match disk.open(&path, OpenMode::ReadWrite) {
            Ok(file) if file.len()? <= bytes => file,
            // Longer than the file will be: it was not this one.
            Ok(_) => disk.open(&path, OpenMode::Create)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk.create_dir_all(path.parent().unwrap_or(&path))?;
                disk.open(&path, OpenMode::Create)?
            }
            Err(error) => return Err(error),
        };
        Ok(Self { disk, path, file })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How much has arrived.
    pub(super) fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    /// Adds bytes that follow those that have arrived.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        let end = offset + bytes.len() as u64;
        if offset / SYNC_EVERY_BYTES < end / SYNC_EVERY_BYTES {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Makes the file durable, reads it back and says whether it is the one with this hash, which is of
    /// all but its last `unhashed` bytes. If not, it is removed.
    pub(super) fn is_whole(&self, hash: SegmentHash, unhashed: u64) -> io::Result<bool> {
        self.file.sync_all()?;
        // What is hashed is what the disk will give, not what memory still holds.
        self.file.forget_cached()?;
        let hashed = self.file.len()?.saturating_sub(unhashed);
        let found = hash_of(&*self.file, hashed)?;
        if found != hash {
            self.disk.remove(&self.path)?;
        }
        Ok(found == hash)
    }
}

/// The BLAKE3 of the first `bytes` bytes of a file.
fn hash_of(file: &dyn DiskFile, bytes: u64) -> io::Result<SegmentHash> {
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut offset = 0;
    loop {
        let left = usize::try_from(bytes - offset).unwrap_or(usize::MAX);
        let wanted = left.min(BLOCK_BYTES);
        let read = match file.read_at(&mut block[..wanted], offset) {
            Ok(0) => return Ok(SegmentHash(*hasher.finalize().as_bytes())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&block[..read]);
        offset += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use segment_log::fake::FakeDisk;

    use super::*;

    const PATH: &str = "/data/incoming/x.part";

    fn part(disk: &FakeDisk, bytes: u64) -> Part {
        Part::open(Arc::new(disk.clone()), PATH.into(), bytes).expect("a healthy disk")
    }

    #[test]
    fn what_has_arrived_is_gone_on_from_and_taken_only_if_it_is_the_file() {
        let disk = FakeDisk::new();
        let content: Vec<u8> = (0..3 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
        let hash = SegmentHash(*blake3::hash(&content).as_bytes());
        let bytes = content.len() as u64;
        let half = content.len() / 2;
        part(&disk, bytes).write(0, &content[..half]).expect("fine");
        let again = part(&disk, bytes);
        assert_eq!(again.len().expect("fine"), half as u64);
        again.write(half as u64, &content[half..]).expect("fine");
        assert!(again.is_whole(hash, 0).expect("fine"));

        disk.flip_bit(Path::new(PATH), half, 0);
        assert!(!again.is_whole(hash, 0).expect("fine"));
        assert_eq!(part(&disk, bytes).len().expect("fine"), 0);
    }

    #[test]
    fn a_part_longer_than_the_file_begins_anew() {
        let disk = FakeDisk::new();
        part(&disk, 10).write(0, &[1; 10]).expect("fine");
        assert_eq!(part(&disk, 10).len().expect("fine"), 10);
        assert_eq!(part(&disk, 9).len().expect("fine"), 0);
    }
}
