//! What one seal froze, and the work that commands of the log ask of the archive.

use std::sync::{Arc, OnceLock};

use sensor_model::{Reading, SeriesDescription, SeriesId};

use super::boards::BoardRecord;
use super::chunks::Unsealed;
use super::nodes::NodeRecord;
use super::voids::Voids;
use crate::command::Seal;
use crate::segments::manifest::{
    Position, ProducerRecord, RetentionRule, SegmentEntry, SegmentId, SeriesRecord, Tombstone,
    Uncertain,
};

/// Everything that was not sealed when a seal was applied, and the state as it was there.
#[derive(Debug)]
pub struct Generation {
    /// Index of the seal.
    pub index: u64,
    /// How to cut it.
    pub seal: Seal,
    /// Bytes of the commands that appended it.
    pub bytes: u64,
    /// Ordered by id; none of them is empty.
    pub series: Vec<(SeriesId, Box<Unsealed>)>,
    /// The state.
    pub checkpoint: Checkpoint,
    /// Where the seal stands, as consensus names it.
    pub(super) position: OnceLock<Position>,
}

/// The replicated state at a position, but for readings.
#[derive(Debug)]
pub struct Checkpoint {
    /// How many readings were applied.
    pub total: u64,
    /// By id.
    pub series: Vec<SeriesSummary>,
    /// Ordered by name.
    pub producers: Vec<ProducerRecord>,
    /// Every node id ever used, ascending.
    pub nodes: Vec<NodeRecord>,
    /// Ordered by name.
    pub boards: Vec<BoardRecord>,
    /// Ordered by index.
    pub tombstones: Vec<Tombstone>,
    /// In force there.
    pub retention: Vec<RetentionRule>,
    /// Known there.
    pub voids: Voids,
}

/// What is known of a series' readings.
#[derive(Debug)]
pub struct SeriesSummary {
    pub(super) description: Arc<SeriesDescription>,
    pub(super) count: u64,
    pub(super) first: Option<i64>,
    pub(super) last: Option<Reading>,
    pub(super) uncertain: Uncertain,
}

/// Work in the background, in the order of the commands that ask for it. What it comes to depends on
/// the log alone.
#[derive(Debug, Clone)]
pub enum Job {
    /// Make segments of a generation.
    Seal(Arc<Generation>),
    /// Make one segment of several.
    Compact {
        /// Index of the command.
        index: u64,
        /// Which, in ascending order.
        segments: Vec<SegmentId>,
    },
    /// Let segments go that a delete left nothing of.
    Reclaim {
        /// Index of the command.
        index: u64,
    },
}

/// What a job changed.
#[derive(Debug, Default)]
pub struct Change {
    /// Segments that are no longer needed.
    pub removed: Vec<SegmentId>,
    /// Segments that are new.
    pub added: Vec<SegmentEntry>,
}

impl Generation {
    /// A series of it.
    pub(crate) fn description(&self, id: SeriesId) -> &SeriesDescription {
        let at = usize::try_from(id.0).ok();
        let Some(summary) = at.and_then(|at| self.checkpoint.series.get(at)) else {
            unreachable!("every series of a generation is in its checkpoint");
        };
        &summary.description
    }

    /// Where the seal stands in the log.
    pub fn position(&self) -> Position {
        let nowhere = || Position {
            index: self.index,
            ..Position::default()
        };
        self.position.get().cloned().unwrap_or_else(nowhere)
    }
}

impl Job {
    /// Index of the command.
    pub fn index(&self) -> u64 {
        match self {
            Self::Seal(generation) => generation.index,
            Self::Compact { index, .. } | Self::Reclaim { index } => *index,
        }
    }
}

impl SeriesSummary {
    /// As it stands in a manifest.
    pub fn record(&self) -> SeriesRecord {
        SeriesRecord {
            description: SeriesDescription::clone(&self.description),
            count: self.count,
            first: self.first,
            last: self.last.clone(),
            uncertain: self.uncertain,
        }
    }
}

impl Change {
    /// Whether anything changed.
    pub const fn is_nothing(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }
}
