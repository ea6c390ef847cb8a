//! A disk in memory that crashes, tears, fails and fills up exactly when a test says so.
//!
//! Every file and every name exists twice: as the running program sees it (*live*) and as it would
//! be found after a power cut (*durable*). Writes change the live image and are kept as pending
//! changes; a sync makes those of one file, or the names of one folder, durable. A power cut lets
//! any part of the rest survive, whichever the seed says: nothing, everything, a prefix that ends
//! in a torn write, or any subset of sectors; and, for names, any subset of changes. That is
//! harsher than most file systems are, and no harsher than POSIX allows.
//!
//! A failed sync behaves as on Linux: part of the pending changes reaches the disk, the rest is
//! forgotten but stays visible in memory, and the next sync succeeds without writing it.
//!
//! Operations that change something are counted, and a [`Fault`] strikes at the k-th of them: run
//! a workload once to learn how many there are, then once for each k.
//!
//! ```
//! use std::{path::Path, sync::Arc};
//! use segment_log::{Options, SegmentLog, fake::{FakeDisk, Fault}};
//!
//! let disk = FakeDisk::with_seed(7);
//! disk.inject(Fault::Crash, 12);
//! let log = SegmentLog::open(Arc::new(disk.clone()), Path::new("/log"), Options::default(), &mut |_, _| Ok(()));
//! drop(log);
//! let after = disk.power_cut();
//! let (_, recovery) =
//!     SegmentLog::open(Arc::new(after), Path::new("/log"), Options::default(), &mut |_, _| Ok(()))
//!         .expect("a log opens after any power cut");
//! assert_eq!(recovery.records, 0);
//! ```
//!
//! What it does not do: permissions, links, and time (every file was changed in 1970).

mod image;
mod machine;
mod rng;

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use crate::{
    disk::{Disk, DiskFile, DiskLock, OpenMode},
    fake::{
        image::{Change, Entry, Inode, NameChange},
        machine::{Effect, State},
    },
};

/// What goes wrong, once, at a chosen operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops before the operation.
    Crash,
    /// The machine stops in the middle of the operation, of which any part may survive.
    Tear,
    /// Anything but a sync fails with `EIO`; a write is done in part.
    FailWrite,
    /// A sync of a file or folder fails with `EIO`, and loses what it did not write.
    FailSync,
    /// Anything that needs space fails with `ENOSPC`; a write is done in part.
    NoSpace,
    /// A read fails with `EIO`. Reads are counted on their own.
    FailRead,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct FakeDisk {
    state: Arc<Mutex<State>>,
}

impl Default for FakeDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeDisk {
    /// An empty disk of unlimited size.
    pub fn new() -> Self {
        Self::with_seed(0)
    }

    /// As [`new`](Self::new); `seed` decides what survives a power cut.
    pub fn with_seed(seed: u64) -> Self {
        Self::from_state(State::new(seed))
    }

    fn from_state(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The unit in which a write survives a power cut or not; 512 unless set.
    pub fn set_sector_bytes(&self, bytes: u64) {
        self.state().sector_bytes = bytes.max(1);
    }

    /// Limits the bytes in all files together.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity_bytes = bytes;
    }

    /// Lets `fault` strike at the `at`-th operation, counted from 1 since the disk was made. An
    /// operation of a kind the fault does not concern passes unharmed. Replaces an earlier fault.
    pub fn inject(&self, fault: Fault, at: u64) {
        self.state().fault = Some((fault, at));
    }

    /// Operations that changed something, or tried to, since the disk was made.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Reads since the disk was made.
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// Whether the fault injected last is still to come.
    pub fn fault_pending(&self) -> bool {
        self.state().fault.is_some()
    }

    /// Bytes in all files.
    pub fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }

    /// Stops the machine now and gives the disk as it is found afterwards. The old one is dead.
    pub fn power_cut(&self) -> Self {
        let mut state = self.state();
        state.crashed = true;
        Self::from_state(state.survivors())
    }

    /// As [`power_cut`](Self::power_cut): what a new program finds after a crash.
    pub fn reopen(&self) -> Self {
        self.power_cut()
    }

    /// Ends the process but not the machine: everything written is still there, synced or not,
    /// and no lock is held. The old disk is dead.
    pub fn restart(&self) -> Self {
        let mut state = self.state();
        state.crashed = true;
        Self::from_state(state.kept())
    }

    /// Inverts one bit of a file, as a failing medium would.
    ///
    /// # Panics
    /// If there is no such file or byte.
    pub fn flip_bit(&self, path: &Path, offset: usize, bit: u8) {
        let mut state = self.state();
        let inode = state.file(path).expect("the file exists");
        state.inodes[inode].flip_bit(offset, bit);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for FakeDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.check_running()?;
        let inode = match (mode, state.file(path)) {
            (OpenMode::Create, Ok(inode)) => {
                state.change_file(inode, Effect::Change, Change::SetLen(0))?;
                inode
            }
            (OpenMode::Create, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                let dir = path.parent().unwrap_or(Path::new(""));
                state.require_folder(dir)?;
                let inode = state.inodes.len();
                state.inodes.push(Inode::default());
                let change = NameChange::set(dir, path, Some(Entry::File(inode)));
                state.change_names(Effect::TakeSpace, change)?;
                inode
            }
            (_, found) => found?,
        };
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(FakeFile {
            disk: self.clone(),
            inode,
            writable,
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.check_running()?;
        state.require_folder(dir)?;
        let names = state.live.keys().filter(|path| path.parent() == Some(dir));
        Ok(names
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state();
        state.check_running()?;
        Ok(state.is_folder(path) || state.live.contains_key(path))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_running()?;
        let missing: Vec<&Path> = dir
            .ancestors()
            .take_while(|dir| !state.is_folder(dir))
            .collect();
        // Whoever made the folder that is there may have been stopped before its name was durable.
        let there = dir.ancestors().nth(missing.len());
        if let Some(parent) = there.and_then(Path::parent) {
            state.sync_names(parent)?;
        }
        for dir in missing.into_iter().rev() {
            if state.live.contains_key(dir) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            let parent = dir.parent().unwrap_or(Path::new(""));
            let change = NameChange::set(parent, dir, Some(Entry::Folder));
            state.change_names(Effect::TakeSpace, change)?;
            state.sync_names(parent)?;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_running()?;
        if state.is_folder(to) || state.live.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_running()?;
        state.file(path)?;
        let dir = path.parent().unwrap_or(Path::new(""));
        state.change_names(Effect::Change, NameChange::set(dir, path, None))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_running()?;
        state.require_folder(dir)?;
        let below: Vec<_> = state
            .live
            .keys()
            .filter(|path| path.starts_with(dir))
            .cloned()
            .collect();
        let parent = dir.parent().unwrap_or(Path::new("")).to_owned();
        let sets = below.into_iter().map(|path| (path, None)).collect();
        state.change_names(Effect::Change, NameChange { dir: parent, sets })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.state().sync_names(dir)
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.state();
        state.check_running()?;
        Ok(state.free_bytes())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.state();
        state.check_running()?;
        state.require_folder(path.parent().unwrap_or(Path::new("")))?;
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(FakeLock {
            disk: self.clone(),
            path: path.to_owned(),
        }))
    }
}

#[derive(Debug)]
struct FakeLock {
    disk: FakeDisk,
    path: PathBuf,
}

impl DiskLock for FakeLock {}

impl Drop for FakeLock {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct FakeFile {
    disk: FakeDisk,
    inode: usize,
    writable: bool,
}

impl FakeFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(9))
        }
    }
}

impl DiskFile for FakeFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.begin_read()?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = state.inodes[self.inode]
            .live
            .get(from..)
            .unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_vectored_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        let bytes = slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        let change = Change::Write { offset, bytes };
        self.disk
            .state()
            .change_file(self.inode, Effect::Write, change)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let change = Change::Zero { offset, len };
        self.disk
            .state()
            .change_file(self.inode, Effect::TakeSpace, change)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        self.disk
            .state()
            .change_file(self.inode, Effect::Change, Change::SetLen(len))
    }

    fn modified(&self) -> io::Result<SystemTime> {
        self.disk.state().check_running()?;
        Ok(SystemTime::UNIX_EPOCH)
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.check_running()?;
        Ok(state.inodes[self.inode].live.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.state().sync_file(self.inode)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.state().sync_file(self.inode)
    }

    fn forget_cached(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check_running()?;
        state.inodes[self.inode].forget_cached();
        Ok(())
    }
}
