//! Reads a batch without copying it.

use bytes::Bytes;
use sensor_model::SeriesId;

use super::{
    BATCH_BYTES_MAX, BATCH_CHUNKS_MAX, BatchError, CHECKSUM_BYTES, REWRITTEN_BYTES_MAX, VERSION,
    check_bytes, varint,
};

/// A batch whose bounds, directory and checksum have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchView {
    bytes: Bytes,
    count: u64,
    directory_from: usize,
    chunks_from: usize,
}

impl BatchView {
    /// Checks a batch as a producer sends it, at most [`BATCH_BYTES_MAX`] long.
    ///
    /// # Errors
    /// A [`BatchError`] that says what is wrong with it.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        Self::parse_within(bytes, BATCH_BYTES_MAX)
    }

    /// Checks a batch under cluster series ids, at most [`REWRITTEN_BYTES_MAX`] long.
    ///
    /// # Errors
    /// A [`BatchError`] that says what is wrong with it.
    pub fn parse_rewritten(bytes: Bytes) -> Result<Self, BatchError> {
        Self::parse_within(bytes, REWRITTEN_BYTES_MAX)
    }

    fn parse_within(bytes: Bytes, bytes_max: usize) -> Result<Self, BatchError> {
        check_bytes(bytes.len(), bytes_max)?;
        let truncated = |what| BatchError::Truncated {
            what,
            bytes: bytes.len(),
        };
        let (&version, mut rest) = bytes.split_first().ok_or(truncated("the version"))?;
        if version != VERSION {
            return Err(BatchError::UnknownVersion { version });
        }
        let count = varint::take(&mut rest, "chunk count")?;
        if count > BATCH_CHUNKS_MAX {
            return Err(BatchError::TooManyChunks { chunks: count });
        }
        let directory_from = bytes.len() - rest.len();
        let mut chunks_bytes = 0_usize;
        for chunk in 0..count {
            varint::take(&mut rest, "series number")?;
            let length = varint::take(&mut rest, "chunk length")?;
            if length == 0 {
                return Err(BatchError::EmptyChunk { chunk });
            }
            chunks_bytes = usize::try_from(length)
                .ok()
                .and_then(|length| chunks_bytes.checked_add(length))
                .ok_or(truncated("a chunk"))?;
        }
        let chunks_from = bytes.len() - rest.len();
        let Some(chunks) = rest.get(..chunks_bytes) else {
            return Err(truncated("a chunk"));
        };
        let checksum = &rest[chunks_bytes..];
        let Some((checksum, garbage)) = checksum.split_first_chunk::<CHECKSUM_BYTES>() else {
            return Err(truncated("the checksum"));
        };
        if !garbage.is_empty() {
            return Err(BatchError::TrailingGarbage {
                bytes: garbage.len(),
            });
        }
        let (found, computed) = (u32::from_le_bytes(*checksum), crc32c::crc32c(chunks));
        if found != computed {
            return Err(BatchError::Damaged { found, computed });
        }
        Ok(Self {
            bytes,
            count,
            directory_from,
            chunks_from,
        })
    }

    /// How many chunks there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The whole batch.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The chunks in order, each with its series number; the slices share the batch's memory.
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks {
            directory: &self.bytes[self.directory_from..self.chunks_from],
            at: self.chunks_from,
            bytes: &self.bytes,
        }
    }

    /// Appends this batch to `out` with `id_of(number)` in place of every series number. Chunks for
    /// which it gives `None` are left out.
    ///
    /// # Errors
    /// [`BatchError::TooManyBytes`] past [`REWRITTEN_BYTES_MAX`]; `out` is as before.
    pub fn rewrite_into(
        &self,
        out: &mut Vec<u8>,
        mut id_of: impl FnMut(u64) -> Option<SeriesId>,
    ) -> Result<(), BatchError> {
        let mut directory = Vec::with_capacity(self.chunks_from - self.directory_from);
        let mut kept = Vec::new();
        let mut count = 0_u64;
        let mut chunks_bytes = 0_usize;
        for (number, chunk) in self.chunks().slices() {
            let Some(SeriesId(id)) = id_of(number) else {
                continue;
            };
            varint::put(&mut directory, id);
            varint::put(&mut directory, chunk.len() as u64);
            count += 1;
            chunks_bytes += chunk.len();
            kept.push(chunk);
        }
        let bytes = 1 + varint::len(count) + directory.len() + chunks_bytes + CHECKSUM_BYTES;
        check_bytes(bytes, REWRITTEN_BYTES_MAX)?;
        out.reserve(bytes);
        out.push(VERSION);
        varint::put(out, count);
        out.extend_from_slice(&directory);
        if count == self.count {
            // The same chunks, and so the same checksum behind them.
            out.extend_from_slice(&self.bytes[self.chunks_from..]);
            return Ok(());
        }
        let mut checksum = 0;
        for chunk in kept {
            checksum = crc32c::crc32c_append(checksum, chunk);
            out.extend_from_slice(chunk);
        }
        out.extend_from_slice(&checksum.to_le_bytes());
        Ok(())
    }

    /// As [`rewrite_into`](Self::rewrite_into), into bytes of their own.
    ///
    /// # Errors
    /// [`BatchError::TooManyBytes`] past [`REWRITTEN_BYTES_MAX`].
    pub fn rewrite(&self, id_of: impl FnMut(u64) -> Option<SeriesId>) -> Result<Bytes, BatchError> {
        let mut out = Vec::new();
        self.rewrite_into(&mut out, id_of)?;
        Ok(out.into())
    }
}

/// Iterates over the chunks of a [`BatchView`].
#[derive(Debug, Clone)]
pub struct Chunks<'a> {
    directory: &'a [u8],
    at: usize,
    bytes: &'a Bytes,
}

impl<'a> Chunks<'a> {
    /// The same chunks as plain slices, each with its series number.
    pub fn slices(mut self) -> impl Iterator<Item = (u64, &'a [u8])> {
        std::iter::from_fn(move || {
            let (number, range) = self.advance()?;
            Some((number, &self.bytes[range]))
        })
    }

    /// The series number and place of the next chunk in [`BatchView::bytes`].
    fn advance(&mut self) -> Option<(u64, std::ops::Range<usize>)> {
        // The directory was read once when the batch was parsed: only its end stops this.
        let number = varint::take(&mut self.directory, "series number").ok()?;
        let length = varint::take(&mut self.directory, "chunk length").ok()?;
        let from = self.at;
        self.at += usize::try_from(length).ok()?;
        Some((number, from..self.at))
    }
}

impl Iterator for Chunks<'_> {
    type Item = (u64, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        let (number, range) = self.advance()?;
        Some((number, self.bytes.slice(range)))
    }
}
