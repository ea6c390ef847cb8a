//! What a library keeps in memory: open segments with their directories, and entries of chunks.
//!
//! Each sort has half of the budget, so that a query over many chunks does not drive out directories,
//! without which nothing is found. What is heavier than its half is not kept. Of several threads that
//! want the same, one reads it and the others wait.

use std::collections::BTreeSet;
use std::sync::Arc;

use quick_cache::sync::DefaultLifecycle;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter, sync};
use sensor_model::SeriesId;

use crate::segments::manifest::SegmentHash;
use crate::segments::segment::{ChunkEntry, Segment, SegmentError};

/// What an open file counts for beside its directory: an operating system gives a process only so many,
/// and this keeps a budget of 64 MiB to at most 2,048 of them.
const OPEN_FILE_BYTES: usize = 16 << 10;
/// What keeping anything costs beside the thing itself.
const SLOT_BYTES: usize = 128;
/// Bytes of an item, about: only to choose the size of tables.
const ITEM_BYTES: usize = 4 << 10;

type Entries = Arc<[ChunkEntry]>;

/// Open segments and entries, by what they are of.
#[derive(Debug)]
pub(super) struct Cache {
    segments: sync::Cache<SegmentHash, Arc<Segment>, Bytes>,
    entries: sync::Cache<(SegmentHash, SeriesId), Entries, Bytes>,
}

/// Weighs by bytes of memory.
#[derive(Debug, Clone, Copy)]
struct Bytes;

impl Weighter<SegmentHash, Arc<Segment>> for Bytes {
    fn weight(&self, _: &SegmentHash, segment: &Arc<Segment>) -> u64 {
        (SLOT_BYTES + OPEN_FILE_BYTES + segment.memory_bytes()) as u64
    }
}

impl Weighter<(SegmentHash, SeriesId), Entries> for Bytes {
    fn weight(&self, _: &(SegmentHash, SeriesId), entries: &Entries) -> u64 {
        let bytes: usize = entries.iter().map(ChunkEntry::memory_bytes).sum();
        (SLOT_BYTES + bytes) as u64
    }
}

impl Cache {
    pub(super) fn new(bytes: usize) -> Self {
        let options = || {
            // One shard, because a shard takes nothing that is heavier than itself.
            OptionsBuilder::new()
                .shards(1)
                .weight_capacity(bytes as u64 / 2)
                .estimated_items_capacity(bytes / 2 / ITEM_BYTES)
                .build()
                .expect("all that is needed is set")
        };
        let hasher = DefaultHashBuilder::default;
        Self {
            segments: sync::Cache::with_options(
                options(),
                Bytes,
                hasher(),
                DefaultLifecycle::default(),
            ),
            entries: sync::Cache::with_options(
                options(),
                Bytes,
                hasher(),
                DefaultLifecycle::default(),
            ),
        }
    }

    pub(super) fn segment(
        &self,
        hash: SegmentHash,
        open: impl FnOnce() -> Result<Arc<Segment>, SegmentError>,
    ) -> Result<Arc<Segment>, SegmentError> {
        self.segments.get_or_insert_with(&hash, open)
    }

    pub(super) fn chunks(
        &self,
        hash: SegmentHash,
        id: SeriesId,
        read: impl FnOnce() -> Result<Entries, SegmentError>,
    ) -> Result<Entries, SegmentError> {
        self.entries.get_or_insert_with(&(hash, id), read)
    }

    /// Forgets a segment whose file is another one, or none; also one that is being opened, which is not
    /// kept then. Its entries may stay: a hash has one content, and they were checked.
    pub(super) fn forget(&self, hash: SegmentHash) {
        self.segments.remove(&hash);
    }

    /// Forgets all but `kept`.
    pub(super) fn retain(&self, kept: &BTreeSet<SegmentHash>) {
        self.segments.retain(|hash, _| kept.contains(hash));
        self.entries.retain(|(hash, _), _| kept.contains(hash));
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments.weight() + self.entries.weight()
    }
}
