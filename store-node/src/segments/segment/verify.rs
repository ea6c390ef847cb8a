//! Reads every byte of a segment.

use column_codec::Scratch;

use super::{ChunkEntry, Segment, SegmentError, SeriesInSegment, Written};
use crate::segments::format::{FOOTER_BYTES, FOOTER_HASHED_BYTES, HEADER_BYTES};

/// Bytes that are read at once where nothing is looked at but the hash.
const PIECE_BYTES: u64 = 256 << 10;

/// Why it did not come to the end.
pub(super) enum Ended {
    /// Something is wrong.
    Wrong(SegmentError),
    /// It was told to stop.
    GivenUp,
}

impl From<SegmentError> for Ended {
    fn from(error: SegmentError) -> Self {
        Self::Wrong(error)
    }
}

/// The segment is what was written: its hash holds, every chunk is what its entry says, the footer is
/// the one that it was opened with. `goes_on` is told of every so many bytes that were read.
pub(super) fn verify(
    segment: &Segment,
    goes_on: &mut dyn FnMut(u64) -> bool,
) -> Result<Written, Ended> {
    let outline = &segment.footer.outline;
    let unreadable = |source| segment.reader().unreadable(0..0, source);
    segment.file.forget_cached().map_err(unreadable)?;
    let bytes = segment.file.len().map_err(unreadable)?;
    let written = segment.written();
    if bytes != written.bytes {
        let range = bytes.min(written.bytes)..bytes.max(written.bytes);
        return Err(segment
            .reader()
            .damaged(range, "it has another length")
            .into());
    }

    let mut verifier = Verifier {
        segment,
        hasher: blake3::Hasher::new(),
        scratch: Scratch::new(),
        goes_on,
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
    goes_on: &'a mut dyn FnMut(u64) -> bool,
}

impl Verifier<'_> {
    /// Takes the bytes of this range into the hash.
    fn hash(&mut self, from: u64, to: u64) -> Result<(), Ended> {
        let mut piece = Vec::new();
        let mut at = from;
        while at < to {
            let length = PIECE_BYTES.min(to - at);
            piece.resize(usize::try_from(length).expect("a piece fits memory"), 0);
            self.segment.reader().fill(&mut piece, at)?;
            self.hasher.update(&piece);
            self.note_read(length)?;
            at += length;
        }
        Ok(())
    }

    fn note_read(&mut self, bytes: u64) -> Result<(), Ended> {
        if (self.goes_on)(bytes) {
            Ok(())
        } else {
            Err(Ended::GivenUp)
        }
    }

    fn series(&mut self, series: &SeriesInSegment) -> Result<(), Ended> {
        for entry in self.segment.read_chunks(series)? {
            let chunk = self.segment.read_chunk(&entry)?;
            self.hasher.update(&chunk);
            self.note_read(entry.length.into())?;
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use segment_log::fake::FakeDisk;
    use segment_log::{Disk, OpenMode};
    use sensor_model::{Columns, SeriesId, Values};

    use super::*;
    use crate::segments::format::directory::{self, Place};
    use crate::segments::format::entries::NewChunk;
    use crate::segments::format::{Footer, Outline, SegmentHead, Totals};
    use crate::segments::manifest::{SegmentHash, Window};

    const HEAD: SegmentHead = SegmentHead {
        shard: 0,
        created: 1,
        window: Window {
            start: 0,
            width: 1_000,
        },
    };

    fn encoded(times: Vec<i64>, values: Values) -> Vec<u8> {
        let mut chunk = Vec::new();
        column_codec::encode(&Columns { times, values }, &mut chunk).unwrap();
        chunk
    }

    fn integers(values: Vec<i64>) -> Vec<u8> {
        let times = (0..).take(values.len()).collect();
        encoded(times, Values::I64(values))
    }

    /// What verifying says of a segment whose checksums all hold: its one chunk is `chunk`, and what is
    /// said of it is what is true of `other`.
    fn verify_forged(chunk: &[u8], other: &[u8]) -> Result<Written, SegmentError> {
        let view = column_codec::parse(other).unwrap();
        let mut entry = NewChunk::of(other, &view);
        entry.length = u32::try_from(chunk.len()).unwrap();
        entry.crc = crc32c::crc32c(chunk);
        let mut block = Vec::new();
        entry.put_last(None, &mut block);

        let series = SeriesInSegment {
            id: SeriesId(1),
            kind: view.kind(),
            chunks: 1,
            readings: view.count() as u64,
            first: view.first_time().as_nanos(),
            last: view.last_time().as_nanos(),
            place: Place {
                chunks_offset: HEADER_BYTES as u64,
                chunks_bytes: chunk.len() as u64,
                entries_at: 0,
                entries_bytes: u32::try_from(block.len()).unwrap(),
                entries_crc: crc32c::crc32c(&block),
            },
        };
        let mut directory = Vec::new();
        directory::put(&series, None, HEAD.window, &mut directory);

        let header = HEAD.encode();
        let mut file = [&header[..], chunk].concat();
        let entries_offset = file.len() as u64;
        file.extend(&block);
        let directory_offset = file.len() as u64;
        file.extend(&directory);
        let outline = Outline {
            entries_offset,
            directory_offset,
            footer_offset: file.len() as u64,
            directory_crc: crc32c::crc32c(&directory),
            totals: Totals {
                series: 1,
                chunks: 1,
                readings: series.readings,
                first: series.first,
                last: series.last,
            },
        };
        file.extend(outline.encode());
        let hash = SegmentHash(blake3::hash(&file).into());
        file.extend(&Footer { outline, hash }.encode(&header)[FOOTER_HASHED_BYTES..]);

        let (disk, path) = (FakeDisk::new(), Path::new("/segment"));
        let written = disk.open(path, OpenMode::Create).unwrap();
        written.write_all_at(&file, 0).unwrap();
        Segment::open(&disk, path).unwrap().verify()
    }

    #[test]
    fn what_is_said_of_a_chunk_is_compared_with_it_though_all_checksums_hold() {
        let chunk = integers((0..40).collect());
        assert!(verify_forged(&chunk, &chunk).is_ok());

        let mut other_sum = (0..40).collect::<Vec<_>>();
        other_sum[20] = 21;
        let descending = encoded((0..40).rev().collect(), Values::I64(vec![0; 40]));
        let flags = encoded((0..40).collect(), Values::Bool(vec![true; 40]));
        let forged = [
            (integers(other_sum), "statistics"),
            (integers((0..39).collect()), "statistics"),
            (descending, "ascending"),
            (flags, "another kind"),
            (chunk[..chunk.len() - 1].to_vec(), "cut short"),
        ];
        for (other, reason) in forged {
            let error = verify_forged(&other, &chunk).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn columns_are_compared_with_the_header_of_their_chunk() {
        let values = Values::F64((0..40).map(f64::from).collect());
        let mut chunk = encoded((0..40).collect(), values);
        let mut sum = 780_f64.to_le_bytes();
        let at = chunk.windows(8).position(|bytes| bytes == sum).unwrap();
        sum[0] ^= 1;
        chunk[at..at + 8].copy_from_slice(&sum);
        let error = verify_forged(&chunk, &chunk).unwrap_err();
        assert!(error.to_string().contains("sum"), "{error}");
    }
}
