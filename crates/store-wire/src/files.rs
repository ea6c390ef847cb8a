//! The few files that identities are kept in: small, read and written whole.
//!
//! Not for anything that must survive a power cut unharmed: that goes through `segment_log::Disk`.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Permission bits of anyone but the owner.
const OTHERS: u32 = 0o077;

/// Who may read a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// Everyone.
    Public,
    /// Its owner alone, from the moment it exists.
    Private,
}

/// A file's content, at most [`FILE_BYTES_MAX`] of it.
#[expect(
    clippy::disallowed_methods,
    reason = "identity files are read once at start, before there is a disk to inject"
)]
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut content)?;
    Ok(content)
}

/// The permission bits of a file that others than its owner have; 0 when it is private.
pub(crate) fn mode_for_others(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & OTHERS)
}

/// Creates a file that did not exist, with its folder, and syncs it.
pub(crate) fn create(path: &Path, content: &[u8], secrecy: Secrecy) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mode = match secrecy {
        Secrecy::Public => 0o644,
        Secrecy::Private => 0o600,
    };
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Whether something is there under this name.
pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
