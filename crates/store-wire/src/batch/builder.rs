//! Puts chunks together into a batch.

use bytes::Bytes;

use super::{
    BATCH_BYTES_MAX, BATCH_CHUNKS_MAX, BatchError, CHECKSUM_BYTES, VERSION, check_bytes,
    check_readings, varint,
};

/// Collects chunks until the batch is full or old enough; the caller decides on the latter.
///
/// A chunk that does not fit any more is refused and changes nothing: finish the batch and begin
/// another with it.
#[derive(Debug, Clone, Default)]
pub struct BatchBuilder {
    directory: Vec<u8>,
    chunks: Vec<u8>,
    count: u64,
    readings: u64,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the `chunk` of `readings` readings of the series `number`.
    ///
    /// # Errors
    /// [`BatchError::TooManyBytes`] or [`BatchError::TooManyReadings`] when the batch would break a
    /// bound, [`BatchError::EmptyChunk`]. The batch is as before.
    pub fn add(&mut self, number: u64, chunk: &[u8], readings: u64) -> Result<(), BatchError> {
        if chunk.is_empty() {
            return Err(BatchError::EmptyChunk { chunk: self.count });
        }
        let chunks = self.count + 1;
        if chunks > BATCH_CHUNKS_MAX {
            return Err(BatchError::TooManyChunks { chunks });
        }
        check_readings(self.readings.saturating_add(readings))?;
        let entry = varint::len(number) + varint::len(chunk.len() as u64);
        let directory = self.directory.len() + entry;
        let bytes = encoded_bytes(chunks, directory, self.chunks.len() + chunk.len());
        check_bytes(bytes, BATCH_BYTES_MAX)?;
        varint::put(&mut self.directory, number);
        varint::put(&mut self.directory, chunk.len() as u64);
        self.chunks.extend_from_slice(chunk);
        self.count = chunks;
        self.readings += readings;
        Ok(())
    }

    /// How many bytes the batch would have if it were finished now.
    pub fn bytes(&self) -> usize {
        encoded_bytes(self.count, self.directory.len(), self.chunks.len())
    }

    /// How many readings it holds.
    pub const fn readings(&self) -> u64 {
        self.readings
    }

    /// How many chunks it holds.
    pub const fn chunks(&self) -> u64 {
        self.count
    }

    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The batch's bytes. The builder is empty afterwards and keeps its buffers for the next batch.
    pub fn finish(&mut self) -> Bytes {
        let mut batch = Vec::with_capacity(self.bytes());
        batch.push(VERSION);
        varint::put(&mut batch, self.count);
        batch.extend_from_slice(&self.directory);
        batch.extend_from_slice(&self.chunks);
        batch.extend_from_slice(&crc32c::crc32c(&self.chunks).to_le_bytes());
        self.directory.clear();
        self.chunks.clear();
        self.count = 0;
        self.readings = 0;
        batch.into()
    }
}

const fn encoded_bytes(count: u64, directory: usize, chunks: usize) -> usize {
    1 + varint::len(count) + directory + chunks + CHECKSUM_BYTES
}
