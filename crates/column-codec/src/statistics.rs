//! Statistics apart from their chunk: an index over chunks keeps them in the form of a chunk's header.

use sensor_model::{Kind, Statistics, Timestamp};

use crate::cursor::Cursor;
use crate::error::DecodeError;
use crate::summary::Summary;
use crate::view::ChunkView;

/// What an index knows of a chunk besides the statistics of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The kind of the values.
    pub kind: Kind,
    /// How many readings: 1 to [`READINGS_MAX`](crate::READINGS_MAX).
    pub count: usize,
    /// The earliest time.
    pub first_time: Timestamp,
    /// The latest time.
    pub last_time: Timestamp,
}

impl ChunkView<'_> {
    /// Appends the statistics of the values, as `docs/formats.md` defines them under *Chunk*: what
    /// [`read_statistics`] reads back. Chunks of any count have them, also where the header does not.
    pub fn write_statistics(&self, out: &mut Vec<u8>) {
        self.summary.write(out);
    }
}

/// Reads the statistics that stand at the beginning of `bytes`, and says how many bytes they take.
///
/// # Errors
/// A [`DecodeError`] when they are malformed or hold what may not be stored.
pub fn read_statistics(bytes: &[u8], extent: Extent) -> Result<(Statistics, usize), DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let summary = Summary::read(&mut cursor, extent.kind, extent.count)?;
    let statistics = summary.statistics(
        extent.count,
        extent.first_time.as_nanos(),
        extent.last_time.as_nanos(),
    );
    Ok((statistics, bytes.len() - cursor.rest().len()))
}
