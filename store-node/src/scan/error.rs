//! Why a scan ended before its answer was whole.

use column_codec::DecodeError;
use sensor_model::SeriesPath;
use store_wire::message::RangeQuestionError;

use crate::segments::segment::SegmentError;
use crate::state::PayloadError;

/// Why a scan ended before its answer was whole.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The question breaks a rule.
    #[error(transparent)]
    Question(#[from] RangeQuestionError),
    /// There is no series at the path asked for.
    #[error("series {path} does not exist")]
    UnknownSeries {
        /// The path.
        path: SeriesPath,
    },
    /// The answer has more rows than one may have.
    #[error(
        "the answer has more than {rows_max} rows: ask for a shorter range, for buckets, or set a limit"
    )]
    TooManyRows {
        /// The bound.
        rows_max: u64,
    },
    /// More must be decoded for the answer than may be.
    #[error(
        "the answer needs more than {bytes_max} bytes of readings decoded: ask for fewer series or a shorter range"
    )]
    TooManyBytes {
        /// The bound.
        bytes_max: u64,
    },
    /// Groups with all their buckets are more than may be held in memory.
    #[error(
        "the groups with their buckets take more than {bytes_max} bytes: ask for wider buckets, fewer groups or a shorter range"
    )]
    TooManyGroups {
        /// The bound.
        bytes_max: usize,
    },
    /// More overlaps at one moment than may be held in memory.
    #[error(
        "chunks of series {path} that overlap in time take more than {bytes_max} bytes: ask for a shorter range"
    )]
    TooMuchOverlap {
        /// The series.
        path: SeriesPath,
        /// The bound.
        bytes_max: usize,
    },
    /// All scans together hold as much decoded as they may.
    #[error("reads hold all the memory there is for them: ask another node, or again later")]
    Crowded,
    /// The time allowed ran out.
    #[error("the scan did not end in the time allowed: ask for less, or allow more")]
    Deadline,
    /// Nobody wants the rest.
    #[error("the answer is not wanted any more")]
    Closed,
    /// An entry could not be read back.
    #[error("readings of series {path} cannot be read back")]
    Payload {
        /// The series.
        path: SeriesPath,
        /// Why.
        source: PayloadError,
    },
    /// A segment could not be read: another replica may have it whole.
    #[error("sealed readings of series {path} cannot be read")]
    Segment {
        /// The series.
        path: SeriesPath,
        /// Why.
        source: SegmentError,
    },
    /// A chunk is not what was applied.
    #[error("a chunk of series {path} is damaged")]
    Chunk {
        /// The series.
        path: SeriesPath,
        /// What is wrong with it.
        source: DecodeError,
    },
}
