//! Reads every byte of a segment.

use column_codec::Scratch;

use super::{ChunkEntry, Segment, SegmentError, SeriesInSegment, Written};
use crate::segments::format::{FOOTER_BYTES, FOOTER_HASHED_BYTES, HEADER_BYTES};

/// Bytes that are read at once where nothing is looked at but the hash.
const PIECE_BYTES: u64 = 256 << 10;

/// The segment is what was written: its hash holds, every chunk is what its entry says, the footer is
/// the one that it was opened with.
pub(super) fn verify(segment: &Segment) -> Result<Written, SegmentError> {
    let outline = &segment.footer.outline;
    let unreadable = |source| segment.reader().unreadable(0..0, source);
    segment.file.forget_cached().map_err(unreadable)?;
    let bytes = segment.file.len().map_err(unreadable)?;
    let written = segment.written();
    if bytes != written.bytes {
        let range = bytes.min(written.bytes)..bytes.max(written.bytes);
        return Err(segment.reader().damaged(range, "it has another length"));
    }

    let mut verifier = Verifier {
        segment,
        hasher: blake3::Hasher::new(),
        scratch: Scratch::new(),
    };
    verifier.hash(0, HEADER_BYTES as u64)?;
    // From here to the entries the chunks stand back to back: `directory::read` has added them up.
    for series in &segment.directory {
        verifier.series(series)?;
    }
    verifier.hash(
        outline.entries_offset,
        outline.footer_offset + FOOTER_HASHED_BYTES as u64,
    )?;
    verifier.end(bytes)?;
    Ok(written)
}

struct Verifier<'a> {
    segment: &'a Segment,
    /// Of all bytes so far.
    hasher: blake3::Hasher,
    scratch: Scratch,
}

impl Verifier<'_> {
    /// Takes the bytes of this range into the hash.
    fn hash(&mut self, from: u64, to: u64) -> Result<(), SegmentError> {
        let mut piece = Vec::new();
        let mut at = from;
        while at < to {
            let length = PIECE_BYTES.min(to - at);
            piece.resize(usize::try_from(length).expect("a piece fits memory"), 0);
            self.segment.reader().fill(&mut piece, at)?;
            self.hasher.update(&piece);
            at += length;
        }
        Ok(())
    }

    fn series(&mut self, series: &SeriesInSegment) -> Result<(), SegmentError> {
        for entry in self.segment.read_chunks(series)? {
            let chunk = self.segment.read_chunk(&entry)?;
            self.hasher.update(&chunk);
            self.compare(series, &entry, &chunk).map_err(|reason| {
                let range = entry.offset..entry.offset + u64::from(entry.length);
                self.segment.reader().damaged(range, &reason)
            })?;
        }
        Ok(())
    }

    /// Decodes the chunk and compares it with its entry.
    fn compare(
        &mut self,
        series: &SeriesInSegment,
        entry: &ChunkEntry,
        chunk: &[u8],
    ) -> Result<(), String> {
        let view = column_codec::parse(chunk).map_err(|error| error.to_string())?;
        view.verify(&mut self.scratch)
            .map_err(|error| error.to_string())?;
        let wrong = if view.kind() != series.kind {
            "a chunk is of another kind than its series"
        } else if !view.is_sorted() {
            "the times of a chunk are not strictly ascending"
        } else if view.statistics() != entry.statistics {
            "the statistics of a chunk are not those of its entry"
        } else {
            return Ok(());
        };
        Err(wrong.to_owned())
    }

    /// Compares the hash, and what it does not cover.
    fn end(&self, bytes: u64) -> Result<(), SegmentError> {
        let segment = self.segment;
        if self.hasher.finalize() != segment.footer.hash.0 {
            let reason = "the BLAKE3 of the file is not the one in its footer";
            return Err(segment.reader().damaged(0..bytes, reason));
        }
        let offset = segment.footer.outline.footer_offset;
        let footer: [u8; FOOTER_BYTES] = segment.reader().read_array(offset)?;
        if footer != segment.footer.encode(&segment.head.encode()) {
            let reason = "the footer is not what it was";
            return Err(segment.reader().damaged(offset..bytes, reason));
        }
        Ok(())
    }
}
