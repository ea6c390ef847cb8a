//! The machine behind a fake disk: counts operations, lets faults strike, and decides how far each
//! operation gets.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use crate::fake::{
    Fault,
    image::{self, Change, Entry, Inode, NameChange, Names},
    rng::Rng,
};

/// Everything a fake disk is.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) inodes: Vec<Inode>,
    pub(crate) live: Names,
    pub(crate) durable: Names,
    pub(crate) pending: Vec<NameChange>,
    pub(crate) operations: u64,
    pub(crate) reads: u64,
    pub(crate) fault: Option<(Fault, u64)>,
    pub(crate) crashed: bool,
    pub(crate) capacity_bytes: Option<u64>,
    pub(crate) locks: BTreeSet<PathBuf>,
    pub(crate) sector_bytes: u64,
    pub(crate) rng: Rng,
}

/// What an operation does to a disk, as far as faults tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Writes bytes, which may need space.
    Write,
    /// Needs a little space, or a lot, and is done as a whole or not at all.
    TakeSpace,
    /// Changes names or sizes without needing space.
    Change,
    Sync,
}

/// How far an operation gets.
#[derive(Debug)]
enum Verdict {
    Go,
    /// Done in part, then this error.
    Part(io::Error),
    /// Not done.
    Refused(io::Error),
}

impl State {
    /// An empty disk.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            inodes: Vec::new(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            operations: 0,
            reads: 0,
            fault: None,
            crashed: false,
            capacity_bytes: None,
            locks: BTreeSet::new(),
            sector_bytes: 512,
            rng: Rng::new(seed),
        }
    }

    /// Counts an operation and says how far it gets.
    fn begin(&mut self, effect: Effect) -> Verdict {
        if self.crashed {
            return Verdict::Refused(stopped());
        }
        self.operations += 1;
        let Some((fault, at)) = self.fault else {
            return Verdict::Go;
        };
        if at != self.operations {
            return Verdict::Go;
        }
        let verdict = match (fault, effect) {
            (Fault::Crash, _) => {
                self.crashed = true;
                Verdict::Refused(stopped())
            }
            (Fault::Tear, _) => {
                self.crashed = true;
                Verdict::Part(stopped())
            }
            (Fault::FailWrite, Effect::Write) | (Fault::FailSync, Effect::Sync) => {
                Verdict::Part(input_output())
            }
            (Fault::FailWrite, Effect::TakeSpace | Effect::Change) => {
                Verdict::Refused(input_output())
            }
            (Fault::NoSpace, Effect::Write) => Verdict::Part(no_space()),
            (Fault::NoSpace, Effect::TakeSpace) => Verdict::Refused(no_space()),
            _ => return Verdict::Go,
        };
        self.fault = None;
        verdict
    }

    pub(crate) fn begin_read(&mut self) -> io::Result<()> {
        self.check_running()?;
        self.reads += 1;
        if self.fault == Some((Fault::FailRead, self.reads)) {
            self.fault = None;
            return Err(input_output());
        }
        Ok(())
    }

    pub(crate) fn check_running(&self) -> io::Result<()> {
        if self.crashed { Err(stopped()) } else { Ok(()) }
    }

    pub(crate) fn file(&self, path: &Path) -> io::Result<usize> {
        match self.live.get(path) {
            Some(Entry::File(inode)) => Ok(*inode),
            Some(Entry::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(crate) fn is_folder(&self, path: &Path) -> bool {
        path.parent().is_none() || self.live.get(path) == Some(&Entry::Folder)
    }

    pub(crate) fn require_folder(&self, path: &Path) -> io::Result<()> {
        if self.is_folder(path) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        let bytes = |entry: &Entry| match entry {
            Entry::File(inode) => self.inodes[*inode].live.len() as u64,
            Entry::Folder => 0,
        };
        self.live.values().map(bytes).sum()
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        self.capacity_bytes
            .map_or(u64::MAX, |bytes| bytes.saturating_sub(self.used_bytes()))
    }

    /// Refuses a change that would let a file grow beyond the capacity.
    fn check_capacity(&self, inode: usize, len: u64) -> io::Result<()> {
        let grown = len.saturating_sub(self.inodes[inode].live.len() as u64);
        if grown > self.free_bytes() {
            Err(no_space())
        } else {
            Ok(())
        }
    }

    /// Changes a file, or as much of it as the verdict lets through.
    pub(crate) fn change_file(
        &mut self,
        inode: usize,
        effect: Effect,
        change: Change,
    ) -> io::Result<()> {
        match self.begin(effect) {
            Verdict::Refused(error) => Err(error),
            Verdict::Part(error) => {
                if self.crashed {
                    self.inodes[inode].change(change);
                } else if let Change::Write { offset, mut bytes } = change {
                    bytes.truncate(self.rng.below(bytes.len() as u64 + 1));
                    if self
                        .check_capacity(inode, offset + bytes.len() as u64)
                        .is_ok()
                    {
                        self.inodes[inode].change(Change::Write { offset, bytes });
                    }
                }
                Err(error)
            }
            Verdict::Go => {
                self.check_capacity(inode, change.end())?;
                self.inodes[inode].change(change);
                Ok(())
            }
        }
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_running()?;
        let inode = self.file(from)?;
        let dir = to.parent().unwrap_or(Path::new(""));
        self.require_folder(dir)?;
        let mut change = NameChange::set(dir, to, Some(Entry::File(inode)));
        change.sets.push((from.to_owned(), None));
        self.change_names(Effect::Change, change)
    }

    pub(crate) fn change_names(&mut self, effect: Effect, change: NameChange) -> io::Result<()> {
        let (done, result) = match self.begin(effect) {
            Verdict::Go => (true, Ok(())),
            Verdict::Part(error) => (true, Err(error)),
            Verdict::Refused(error) => (false, Err(error)),
        };
        if done {
            change.apply(&mut self.live);
            self.pending.push(change);
        }
        result
    }

    pub(crate) fn sync_file(&mut self, inode: usize) -> io::Result<()> {
        match self.begin(Effect::Sync) {
            Verdict::Go => {
                self.inodes[inode].sync();
                Ok(())
            }
            Verdict::Part(error) => {
                if !self.crashed {
                    let image = self.inodes[inode].survivor(&mut self.rng, self.sector_bytes);
                    self.inodes[inode].lose_pending(image);
                }
                Err(error)
            }
            Verdict::Refused(error) => Err(error),
        }
    }

    pub(crate) fn sync_names(&mut self, dir: &Path) -> io::Result<()> {
        self.require_folder(dir)?;
        match self.begin(Effect::Sync) {
            Verdict::Go => {
                self.settle_names(dir);
                Ok(())
            }
            // Which names a failed sync made durable is open: they stay pending.
            Verdict::Part(error) | Verdict::Refused(error) => Err(error),
        }
    }

    fn settle_names(&mut self, dir: &Path) {
        let mut waiting: Vec<NameChange> = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            if change.dir != dir {
                waiting.push(change);
                continue;
            }
            // What was made of a name before is past: syncing another folder must not bring it back.
            for earlier in &mut waiting {
                earlier.sets.retain(|(path, _)| !change.is_of(path));
            }
            change.apply(&mut self.durable);
        }
        self.pending = waiting;
    }

    /// The disk after a power cut.
    pub(crate) fn survivors(&mut self) -> Self {
        let sector_bytes = self.sector_bytes;
        let inodes = self
            .inodes
            .iter()
            .map(|inode| Inode::durable(inode.survivor(&mut self.rng, sector_bytes)))
            .collect();
        let names = image::surviving_names(&self.durable, &self.pending, &mut self.rng);
        Self {
            inodes,
            live: names.clone(),
            durable: names,
            pending: Vec::new(),
            ..self.kept()
        }
    }

    /// The disk after the end of the process.
    pub(crate) fn kept(&mut self) -> Self {
        Self {
            inodes: self.inodes.clone(),
            live: self.live.clone(),
            durable: self.durable.clone(),
            pending: self.pending.clone(),
            operations: 0,
            reads: 0,
            fault: None,
            crashed: false,
            capacity_bytes: self.capacity_bytes,
            locks: BTreeSet::new(),
            sector_bytes: self.sector_bytes,
            rng: self.rng.split(),
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}

fn input_output() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(28)
}
