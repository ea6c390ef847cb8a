//! Watches how much room the disk has left, so that a full disk is an answer and not a failure.
//!
//! Thresholds far above zero, in parts of the *reserve*:
//!
//! - below it the leader takes no more readings, but still what makes room: deletes, sealing, compaction;
//! - below half of it no node takes readings from the leader either;
//! - at a quarter of it the segments that are being written are given up ([`kept_of`]), so that what
//!   makes room, which is small, can still be logged;
//! - below an eighth of it nothing is taken.
//!
//! What is left is for votes and for the log's bookkeeping, so that the node stays up and serves reads
//! until somebody makes room.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use segment_log::Disk;
use tracing::{error, info, warn};

/// How much room there is, in the words of what may still be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Everything may be written.
    Plenty,
    /// No more readings.
    Low,
    /// No readings from the leader either.
    Scarce,
    /// Nothing at all.
    Exhausted,
}

/// Looks at the disk, every so often and after every so many bytes written. Clones share it.
#[derive(Debug, Clone)]
pub struct Space {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    reserve_bytes: u64,
    room: AtomicU8,
    free_bytes: AtomicU64,
    /// Bytes written since the last look.
    unseen_bytes: AtomicU64,
}

impl Space {
    /// Watches the file system of `dir`, of which `reserve_bytes` are to stay free.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, reserve_bytes: u64) -> Self {
        let shared = Shared {
            disk,
            dir: dir.to_owned(),
            reserve_bytes,
            room: AtomicU8::new(Room::Plenty as u8),
            free_bytes: AtomicU64::new(u64::MAX),
            unseen_bytes: AtomicU64::new(0),
        };
        let space = Self {
            shared: Arc::new(shared),
        };
        space.look();
        space
    }

    /// What may still be done, as of the last look.
    pub fn room(&self) -> Room {
        match self.shared.room.load(Ordering::Relaxed) {
            0 => Room::Plenty,
            1 => Room::Low,
            2 => Room::Scarce,
            _ => Room::Exhausted,
        }
    }

    /// Bytes that may still be written to the disk, as of the last look.
    pub fn free_bytes(&self) -> u64 {
        self.shared.free_bytes.load(Ordering::Relaxed)
    }

    /// Whether so many bytes can be written for good without touching what sealing needs to go on.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        self.free_bytes() >= bytes.saturating_add(self.shared.reserve_bytes / 2)
    }

    /// Counts bytes that were written; looks again when they might have made a difference.
    pub fn note_written(&self, bytes: u64) {
        let unseen = self.shared.unseen_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if unseen > self.shared.reserve_bytes / 8 {
            self.look();
        }
    }

    /// Asks the disk how much room is left.
    pub fn look(&self) {
        let shared = &self.shared;
        shared.unseen_bytes.store(0, Ordering::Relaxed);
        let free = match shared.disk.free_bytes(&shared.dir) {
            Ok(free) => free,
            Err(source) => {
                warn!(error = %source, dir = %shared.dir.display(), "cannot tell how much space is left");
                return;
            }
        };
        shared.free_bytes.store(free, Ordering::Relaxed);
        let room = if free < shared.reserve_bytes / 8 {
            Room::Exhausted
        } else if free < shared.reserve_bytes / 2 {
            Room::Scarce
        } else if free < shared.reserve_bytes {
            Room::Low
        } else {
            Room::Plenty
        };
        let before = shared.room.swap(room as u8, Ordering::Relaxed);
        if before == room as u8 {
            return;
        }
        let (dir, reserve) = (shared.dir.display(), shared.reserve_bytes);
        match room {
            Room::Plenty => info!(%dir, free, reserve, "there is space again: writes are taken"),
            Room::Low => {
                error!(%dir, free, reserve, "the disk is nearly full: new readings are refused with NO_SPACE")
            }
            Room::Scarce => {
                error!(%dir, free, reserve, "the disk is full: readings from the leader are refused too");
            }
            Room::Exhausted => {
                error!(%dir, free, reserve, "the disk is full to the last: nothing is taken, not even what makes room");
            }
        }
    }
}

/// What segments that are being written leave of the room for everything else.
pub(crate) const fn kept_of(reserve_bytes: u64) -> u64 {
    reserve_bytes / 4
}

#[cfg(test)]
mod tests {
    use segment_log::{OpenMode, fake::FakeDisk};

    use super::*;

    #[test]
    fn room_shrinks_in_two_steps_and_comes_back() {
        let disk = FakeDisk::new();
        let dir = Path::new("/data");
        disk.create_dir_all(dir).expect("a healthy disk");
        disk.set_capacity(Some(1000));
        let space = Space::new(Arc::new(disk.clone()), dir, 800);
        assert_eq!(space.room(), Room::Plenty);
        let path = dir.join("filler");
        let file = disk.open(&path, OpenMode::Create).expect("a healthy disk");
        file.write_all_at(&[1; 300], 0).expect("it fits");
        assert_eq!(space.room(), Room::Plenty, "nobody has looked");
        space.note_written(300);
        assert_eq!(space.room(), Room::Low);
        assert_eq!(space.free_bytes(), 700);
        assert!(space.has_room_for(300) && !space.has_room_for(301));
        file.write_all_at(&[1; 400], 300).expect("it fits");
        space.note_written(400);
        assert_eq!(space.room(), Room::Scarce);
        file.write_all_at(&[1; 200], 700).expect("it fits");
        space.note_written(200);
        assert_eq!((space.room(), space.free_bytes()), (Room::Scarce, 100));
        file.write_all_at(&[1; 1], 900).expect("it fits");
        space.look();
        assert_eq!(space.room(), Room::Exhausted);
        disk.set_capacity(None);
        space.look();
        assert_eq!(space.room(), Room::Plenty);
    }
}
