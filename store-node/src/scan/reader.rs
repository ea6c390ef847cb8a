//! Reads what a sweep through one series comes to: chunks of segments, and pieces that are not sealed.

use std::sync::Arc;

use bytes::Bytes;
use column_codec::{ChunkView, DecodeError};
use sensor_model::{SeriesDescription, SeriesId};

use super::ScanError;
use crate::segments::library::Library;
use crate::segments::manifest::SegmentEntry;
use crate::segments::segment::{ChunkEntry, SegmentError};
use crate::state::Payloads;
use crate::state::pieces::Piece;

/// Where the readings of one series are to be had.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) payloads: &'a dyn Payloads,
    pub(crate) library: &'a Library,
    pub(crate) id: SeriesId,
    pub(crate) series: &'a SeriesDescription,
}

impl Reader<'_> {
    /// The chunks of a segment.
    pub(super) fn chunks(&self, entry: &SegmentEntry) -> Result<Arc<[ChunkEntry]>, ScanError> {
        let chunks = self.library.chunks(entry, self.id);
        chunks.map_err(|error| self.unusable(error))
    }

    /// The bytes of a chunk of a segment.
    pub(super) fn chunk(
        &self,
        entry: &SegmentEntry,
        chunk: &ChunkEntry,
    ) -> Result<Bytes, ScanError> {
        let segment = self.library.segment(entry);
        segment
            .and_then(|segment| segment.chunk(chunk))
            .map_err(|error| self.unusable(error))
    }

    /// The bytes of a chunk that is not sealed.
    pub(crate) fn piece(&self, piece: &Piece) -> Result<Bytes, ScanError> {
        piece
            .read(self.payloads)
            .map_err(|source| ScanError::Payload {
                path: self.series.path.clone(),
                source,
            })
    }

    /// What the bytes of a chunk are.
    pub(crate) fn view<'b>(&self, chunk: &'b [u8]) -> Result<ChunkView<'b>, ScanError> {
        column_codec::parse(chunk).map_err(|error| self.damaged(error))
    }

    /// Says that a chunk is damaged.
    pub(crate) fn damaged(&self, source: DecodeError) -> ScanError {
        ScanError::Chunk {
            path: self.series.path.clone(),
            source,
        }
    }

    fn unusable(&self, source: SegmentError) -> ScanError {
        ScanError::Segment {
            path: self.series.path.clone(),
            source,
        }
    }
}
