//! Why columns were not encoded, and why bytes are not a chunk.

use sensor_model::value::TEXT_BYTES_MAX;

use crate::READINGS_MAX;

/// Why columns were not encoded. Nothing was appended to the output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A chunk holds at least one reading.
    #[error("no readings to encode: a chunk holds at least one")]
    Empty,
    /// More than [`READINGS_MAX`] readings: split the columns.
    #[error("{count} readings are too many for one chunk: at most {READINGS_MAX} are allowed")]
    TooManyReadings {
        /// How many there are.
        count: usize,
    },
    /// The two columns are not of equal length: the caller's mistake.
    #[error("{times} times stand beside {values} values: the columns must be of equal length")]
    LengthsDiffer {
        /// Length of the time column.
        times: usize,
        /// Length of the value column.
        values: usize,
    },
    /// A NaN or an infinity: leave this reading out.
    #[error(
        "the value at index {index} is not finite: NaN and infinities are not stored, leave it out"
    )]
    NotFinite {
        /// Where in the column.
        index: usize,
    },
    /// A text longer than [`TEXT_BYTES_MAX`]: shorten it or leave it out.
    #[error("the text at index {index} has {bytes} bytes: at most {TEXT_BYTES_MAX} are allowed")]
    TextTooLong {
        /// Where in the column.
        index: usize,
        /// Its length.
        bytes: usize,
    },
}

/// Why bytes are not a chunk, or not the chunk their header says.
///
/// All mean the same to a receiver: refuse the bytes, sending them again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the chunk does.
    #[error("the chunk is cut short")]
    Truncated,
    /// Bytes follow the end of the chunk, or of one of its columns.
    #[error("{bytes} bytes follow the end of the {part}")]
    TrailingBytes {
        /// What ended too early.
        part: &'static str,
        /// How many bytes are left over.
        bytes: usize,
    },
    /// A format version this program does not know: it was written by a newer one.
    #[error("chunk format version {version} is not known: this program reads version 1")]
    UnknownVersion {
        /// The version found.
        version: u8,
    },
    /// More than [`READINGS_MAX`] readings.
    #[error("the chunk claims {count} readings: at most {READINGS_MAX} are allowed")]
    TooManyReadings {
        /// How many it claims.
        count: u64,
    },
    /// A field has a value that the format does not allow.
    #[error("the chunk is malformed: {what}")]
    Malformed {
        /// Which field, and why.
        what: &'static str,
    },
    /// A NaN or an infinity among the values.
    #[error("the value at index {index} is not finite")]
    NotFinite {
        /// Where in the column.
        index: usize,
    },
    /// A text longer than [`TEXT_BYTES_MAX`].
    #[error("a text has {bytes} bytes: at most {TEXT_BYTES_MAX} are allowed")]
    TextTooLong {
        /// Its length.
        bytes: u64,
    },
    /// Text that is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// The header's statistics are not those of the columns.
    #[error("the header's {what} is not that of the columns")]
    StatisticsDiffer {
        /// Which statistic.
        what: &'static str,
    },
}
