//! The ingest conversation: a producer declares series and sends batches, the store acknowledges.

use sensor_model::{SeriesDescription, Token};
use serde::{Deserialize, Serialize};

use super::{ErrorCode, WireError};

/// Names one batch for ever: applied exactly once, in order of `sequence` within an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BatchId {
    /// The producer: its certificate's `role/name`, and its instance where it has one.
    pub producer: String,
    /// Which spool of that producer; assigned by the store, counting up.
    pub epoch: u64,
    /// The batch's number within the epoch, from 1, without gaps.
    pub sequence: u64,
}

/// From a producer to the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToStore {
    /// The first message of a stream.
    Hello {
        /// The shard the batches are for.
        shard: u32,
        /// The spool's epoch; `None` when the spool is new and has none yet.
        epoch: Option<u64>,
        /// Tells several producers of one identity apart: 1 to 64 of `A-Z a-z 0-9 _ - .`.
        instance: Option<String>,
    },
    /// What the producer's own series numbers stand for. Sent before the first batch that uses
    /// them; repeating a declaration changes nothing.
    Declare {
        /// Numbers and what they stand for.
        series: Vec<(u32, SeriesDescription)>,
    },
    /// A batch. The frame's body holds its bytes (see `batch`).
    Batch {
        /// The batch's sequence.
        sequence: u64,
        /// How many sequences right before this one the spool had to drop.
        skipped: u64,
        /// How many readings those held.
        dropped_readings: u64,
    },
}

/// From the store to a producer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToProducer {
    /// Answers `Hello` on the leader.
    Welcome {
        /// The node that answers.
        node: u64,
        /// The spool's epoch from now on.
        epoch: u64,
        /// The first sequence the store has not applied.
        next_sequence: u64,
        /// At most so many bytes of batches may be unacknowledged at a time.
        window_bytes: u64,
    },
    /// Every batch up to and including `through` is committed and applied.
    Ack {
        /// The last sequence acknowledged.
        through: u64,
        /// Where in the log; a read with this token sees the batches.
        token: Token,
        /// How many of the batches this message acknowledges had been applied before and changed nothing.
        duplicates: u64,
    },
    /// A declared series is refused; its chunks are left out of every batch, the rest is taken.
    Refused {
        /// The producer's number of the series.
        number: u32,
        /// Why, for a program.
        code: ErrorCode,
        /// Why, for a person.
        message: String,
    },
    /// Readings of a refused series that were left out of a batch.
    RefusedReadings {
        /// The batch.
        sequence: u64,
        /// The producer's number of the series.
        number: u32,
        /// How many readings.
        readings: u64,
    },
    /// A batch came out of order: send again from `expected`.
    Rewind {
        /// The sequence the store waits for.
        expected: u64,
    },
    /// The stream ends here.
    Failed {
        /// Why.
        error: WireError,
    },
}
