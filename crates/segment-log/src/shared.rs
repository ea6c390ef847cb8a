//! What the log and its readers have in common: which segments there are, and how far each is
//! readable.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    disk::{Disk, DiskFile, OpenMode},
    format::{self, RecordSeed},
};

/// Segments kept open for reading; more are opened again when asked for.
const OPEN_FILES_MAX: usize = 64;

/// The segments of one log, as the single writer last published them.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    segments: Mutex<Segments>,
}

#[derive(Debug, Default)]
struct Segments {
    slots: BTreeMap<u64, Slot>,
    /// Counts the slots ever made or cut: a truncation can make way for other records, even for
    /// another segment of the same number, which must not be mistaken for the old ones.
    made: u64,
}

/// One segment as readers see it.
#[derive(Debug)]
struct Slot {
    made: u64,
    seed: RecordSeed,
    /// Records that end beyond this are not written yet.
    end: u64,
    file: Option<Arc<dyn DiskFile>>,
}

/// What a reader needs to read from one segment.
#[derive(Debug)]
pub(crate) struct Readable {
    /// Changes when records are taken back.
    pub(crate) made: u64,
    pub(crate) seed: RecordSeed,
    pub(crate) end: u64,
    pub(crate) file: Arc<dyn DiskFile>,
}

impl Shared {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self {
            disk,
            dir,
            segments: Mutex::default(),
        }
    }

    pub(crate) fn path(&self, segment: u64) -> PathBuf {
        self.dir.join(format::segment_name(segment))
    }

    /// Makes `segment` readable up to `end`.
    pub(crate) fn publish(&self, segment: u64, seed: RecordSeed, end: u64) {
        let segments = &mut *self.segments();
        match segments.slots.get_mut(&segment) {
            Some(slot) => {
                if end < slot.end {
                    segments.made += 1;
                    slot.made = segments.made;
                }
                slot.end = end;
            }
            None => {
                segments.made += 1;
                let slot = Slot {
                    made: segments.made,
                    seed,
                    end,
                    file: None,
                };
                segments.slots.insert(segment, slot);
            }
        }
    }

    /// Makes `segment` unreadable.
    pub(crate) fn withdraw(&self, segment: u64) {
        self.segments().slots.remove(&segment);
    }

    /// The lowest and the highest segment.
    pub(crate) fn bounds(&self) -> Option<(u64, u64)> {
        let segments = self.segments();
        Some((
            *segments.slots.first_key_value()?.0,
            *segments.slots.last_key_value()?.0,
        ))
    }

    /// Bytes of all segments, from the first header to the last record.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments().slots.values().map(|slot| slot.end).sum()
    }

    /// The segment's file, opened if it is not; none if the log has no such segment.
    pub(crate) fn readable(&self, segment: u64) -> io::Result<Option<Readable>> {
        if let Some(found) = self.opened(segment) {
            return Ok(Some(found));
        }
        // Opened outside the lock, so that a slow disk holds up this reader alone.
        let Some(made) = self.segments().slots.get(&segment).map(|slot| slot.made) else {
            return Ok(None);
        };
        let file = match self.disk.open(&self.path(segment), OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let slots = &mut self.segments().slots;
        if slots.values().filter(|slot| slot.file.is_some()).count() >= OPEN_FILES_MAX {
            for slot in slots.values_mut() {
                slot.file = None;
            }
        }
        Ok(slots
            .get_mut(&segment)
            .filter(|slot| slot.made == made)
            .map(|slot| {
                slot.file = Some(Arc::clone(&file));
                Readable {
                    made,
                    seed: slot.seed,
                    end: slot.end,
                    file,
                }
            }))
    }

    fn opened(&self, segment: u64) -> Option<Readable> {
        let segments = self.segments();
        let slot = segments.slots.get(&segment)?;
        let file = Arc::clone(slot.file.as_ref()?);
        Some(Readable {
            made: slot.made,
            seed: slot.seed,
            end: slot.end,
            file,
        })
    }

    fn segments(&self) -> MutexGuard<'_, Segments> {
        // Every change under this lock is a single step, so a panic leaves nothing half done.
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
