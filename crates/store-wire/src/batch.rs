//! The bytes of a batch: chunks of several series, sent, committed and acknowledged together.
//!
//! ```text
//! version u8 = 1 · chunk count varint · per chunk: series number varint, chunk length varint
//! · chunks, one after the other · CRC32C (u32 LE) over the chunks
//! ```
//! A batch is encoded once, at the edge. On the way to the log only its directory changes: the
//! leader puts the cluster's series ids in place of the producer's numbers
//! ([`BatchView::rewrite_into`]); chunk bytes and checksum stay.
//!
//! Chunks are opaque here: `column-codec` knows what is inside. So a batch cannot count its own
//! readings; who decodes the chunks holds the count against [`check_readings`].

mod builder;
mod varint;
mod view;

pub use builder::BatchBuilder;
pub use view::{BatchView, Chunks};

/// Longest batch a producer may send.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Most readings in a batch.
pub const BATCH_READINGS_MAX: u64 = 65_536;
/// Most chunks in a batch: each holds a reading at least.
pub const BATCH_CHUNKS_MAX: u64 = BATCH_READINGS_MAX;
/// Longest batch under cluster series ids. A number of one byte becomes an id of at most five (ids
/// count up from the first, and five bytes hold 2^35 of them), so no batch within
/// [`BATCH_BYTES_MAX`] can grow past this.
pub const REWRITTEN_BYTES_MAX: usize = BATCH_BYTES_MAX + 4 * 65_536;

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// Why bytes are not a batch, or a batch cannot take more. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Longer than a batch may be.
    #[error("a batch of {bytes} bytes is too long: at most {bytes_max} are allowed")]
    TooManyBytes {
        /// Its length, or what it would be.
        bytes: usize,
        /// The bound it breaks.
        bytes_max: usize,
    },
    /// More readings than a batch may hold.
    #[error(
        "a batch of {readings} readings is too large: at most {BATCH_READINGS_MAX} are allowed"
    )]
    TooManyReadings {
        /// How many, or how many it would be.
        readings: u64,
    },
    /// More chunks than a batch may hold.
    #[error("a batch of {chunks} chunks is too large: at most {BATCH_CHUNKS_MAX} are allowed")]
    TooManyChunks {
        /// How many.
        chunks: u64,
    },
    /// A chunk without bytes.
    #[error("the batch's chunk {chunk} is empty: leave it out")]
    EmptyChunk {
        /// Its place in the batch, from 0.
        chunk: u64,
    },
    /// Not the version this program reads.
    #[error("the batch has version {version}: this program reads version {VERSION}")]
    UnknownVersion {
        /// The version it has.
        version: u8,
    },
    /// The bytes end before what they announce.
    #[error("the batch is cut short: {what} ends at byte {bytes}")]
    Truncated {
        /// What is cut.
        what: &'static str,
        /// How many bytes there are.
        bytes: usize,
    },
    /// Bytes follow what the directory announces.
    #[error("{bytes} bytes of garbage follow the batch's chunks")]
    TrailingGarbage {
        /// How many.
        bytes: usize,
    },
    /// A number is written longer than it needs to be, or does not fit 64 bits.
    #[error("the batch's {what} is not a canonical varint")]
    NotCanonical {
        /// Which number.
        what: &'static str,
    },
    /// The chunks are not those the checksum was made of.
    #[error(
        "the batch's checksum is {found:#010x}, its bytes give {computed:#010x}: it was damaged on the way"
    )]
    Damaged {
        /// The checksum in the batch.
        found: u32,
        /// The checksum of its bytes.
        computed: u32,
    },
}

/// Holds the readings of a batch against [`BATCH_READINGS_MAX`].
///
/// # Errors
/// [`BatchError::TooManyReadings`].
pub const fn check_readings(readings: u64) -> Result<(), BatchError> {
    if readings > BATCH_READINGS_MAX {
        Err(BatchError::TooManyReadings { readings })
    } else {
        Ok(())
    }
}

const fn check_bytes(bytes: usize, bytes_max: usize) -> Result<(), BatchError> {
    if bytes > bytes_max {
        Err(BatchError::TooManyBytes { bytes, bytes_max })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
