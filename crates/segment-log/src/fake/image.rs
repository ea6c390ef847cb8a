//! The live and durable images of files and names, and what of the difference survives.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::fake::rng::Rng;

/// Names and what they stand for.
pub(crate) type Names = BTreeMap<PathBuf, Entry>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Folder,
    /// An index into the disk's inodes.
    File(usize),
}

/// A change of names that happens as a whole.
#[derive(Clone, Debug)]
pub(crate) struct NameChange {
    /// The folder whose sync makes it durable.
    pub(crate) dir: PathBuf,
    pub(crate) sets: Vec<(PathBuf, Option<Entry>)>,
}

impl NameChange {
    pub(crate) fn set(dir: &Path, path: &Path, entry: Option<Entry>) -> Self {
        Self {
            dir: dir.to_owned(),
            sets: vec![(path.to_owned(), entry)],
        }
    }

    /// Whether it says what becomes of `path`.
    pub(crate) fn is_of(&self, path: &Path) -> bool {
        self.sets.iter().any(|(set, _)| set == path)
    }

    pub(crate) fn apply(&self, names: &mut Names) {
        for (path, entry) in &self.sets {
            match entry {
                Some(entry) => names.insert(path.clone(), *entry),
                None => names.remove(path),
            };
        }
    }
}

/// The names found after a power cut: the durable ones and any subset of the pending changes.
pub(crate) fn surviving_names(durable: &Names, pending: &[NameChange], rng: &mut Rng) -> Names {
    let mut names = durable.clone();
    let survival = Survival::draw(rng);
    let prefix = rng.below(pending.len() as u64 + 1);
    for (index, change) in pending.iter().enumerate() {
        let survives = match survival {
            Survival::Nothing => false,
            Survival::Everything => true,
            Survival::Prefix => index < prefix,
            Survival::Subset => rng.coin(),
        };
        if survives {
            change.apply(&mut names);
        }
    }
    // What is in a folder goes with it.
    let folders: Names = names
        .iter()
        .filter(|(_, entry)| **entry == Entry::Folder)
        .map(|(path, entry)| (path.clone(), *entry))
        .collect();
    let is_folder = |path: &Path| path.parent().is_none() || folders.contains_key(path);
    names.retain(|path, _| path.ancestors().skip(1).all(is_folder));
    names
}

/// A change of one file that is not durable yet.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Zero { offset: u64, len: u64 },
    SetLen(u64),
}

impl Change {
    /// How long the file is at least after this.
    pub(crate) fn end(&self) -> u64 {
        match self {
            Self::Write { offset, bytes } => offset + bytes.len() as u64,
            Self::Zero { offset, len } => offset + len,
            Self::SetLen(len) => *len,
        }
    }

    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write(image, *offset, bytes),
            Self::Zero { offset, len } => {
                let (from, to) = (index(*offset), index(offset + len));
                image.resize(image.len().max(to), 0);
                image[from..to].fill(0);
            }
            Self::SetLen(len) => image.resize(index(*len), 0),
        }
    }

    /// Applies some of the sectors this change touches.
    fn apply_sectors(&self, image: &mut Vec<u8>, sector: u64, survives: &mut dyn FnMut() -> bool) {
        let offset = match self {
            Self::SetLen(_) => {
                if survives() {
                    self.apply(image);
                }
                return;
            }
            Self::Write { offset, .. } | Self::Zero { offset, .. } => *offset,
        };
        let mut at = offset;
        while at < self.end() {
            let next = ((at / sector + 1) * sector).min(self.end());
            if survives() {
                match self {
                    Self::Write { bytes, .. } => {
                        write(image, at, &bytes[index(at - offset)..index(next - offset)]);
                    }
                    _ => Self::Zero {
                        offset: at,
                        len: next - at,
                    }
                    .apply(image),
                }
            }
            at = next;
        }
    }
}

/// One file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inode {
    /// What the running program sees.
    pub(crate) live: Vec<u8>,
    /// What is on the medium for certain.
    durable: Vec<u8>,
    /// What the next sync will write.
    pending: Vec<Change>,
}

impl Inode {
    pub(crate) fn durable(image: Vec<u8>) -> Self {
        Self {
            live: image.clone(),
            durable: image,
            pending: Vec::new(),
        }
    }

    pub(crate) fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    pub(crate) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// After a failed sync: `image` is on the medium, and nothing more will be written.
    pub(crate) fn lose_pending(&mut self, image: Vec<u8>) {
        self.durable = image;
        self.pending.clear();
    }

    /// Sees what is on the medium, or on its way there, instead of what was in memory.
    pub(crate) fn forget_cached(&mut self) {
        self.live.clone_from(&self.durable);
        for change in &self.pending {
            change.apply(&mut self.live);
        }
    }

    pub(crate) fn flip_bit(&mut self, offset: usize, bit: u8) {
        self.live[offset] ^= 1 << bit;
        if let Some(byte) = self.durable.get_mut(offset) {
            *byte ^= 1 << bit;
        }
    }

    /// What a power cut leaves of the file.
    pub(crate) fn survivor(&self, rng: &mut Rng, sector: u64) -> Vec<u8> {
        let mut image = self.durable.clone();
        let survival = Survival::draw(rng);
        let prefix = rng.below(self.pending.len() as u64 + 1);
        for (index, change) in self.pending.iter().enumerate() {
            match survival {
                Survival::Nothing => {}
                Survival::Everything => change.apply(&mut image),
                Survival::Prefix if index < prefix => change.apply(&mut image),
                Survival::Prefix if index == prefix => {
                    let mut torn = false;
                    change.apply_sectors(&mut image, sector, &mut || {
                        torn |= rng.below(4) == 0;
                        !torn
                    });
                }
                Survival::Prefix => {}
                Survival::Subset => change.apply_sectors(&mut image, sector, &mut || rng.coin()),
            }
        }
        image
    }
}

/// Which of the changes that were not synced survive.
#[derive(Clone, Copy, Debug)]
enum Survival {
    Nothing,
    Everything,
    Prefix,
    Subset,
}

impl Survival {
    fn draw(rng: &mut Rng) -> Self {
        match rng.below(5) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 => Self::Prefix,
            _ => Self::Subset,
        }
    }
}

fn write(image: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let from = index(offset);
    image.resize(image.len().max(from + bytes.len()), 0);
    image[from..from + bytes.len()].copy_from_slice(bytes);
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a file in memory is smaller than the address space")
}
