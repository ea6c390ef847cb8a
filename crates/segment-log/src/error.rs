//! What can go wrong, one type for each operation, told by what the caller can do about it.

use std::{error::Error, io, path::PathBuf, sync::Arc};

use crate::options::Location;

/// The log takes no more writes: one of its writes or syncs failed, so what is on the disk is
/// unknown until the log is opened again. Nothing is retried. What was synced before can still be
/// read. The usual answer is to stop the process.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the log takes no more writes: {operation} of {} failed", file.display())]
pub struct Poisoned {
    /// What was attempted: `write`, `sync`, `allocation`, `truncation`, `rename`, `removal`, …
    pub operation: &'static str,
    /// The file or folder it was attempted on.
    pub file: PathBuf,
    /// What the system said.
    pub source: Arc<io::Error>,
}

/// Why a record was not appended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// Nothing was written. The record can never be appended under these options.
    #[error("a record of {len} bytes is larger than the {max} bytes allowed")]
    TooLarge {
        /// Bytes of payload.
        len: u64,
        /// The bound, [`Options::record_bytes_max`](crate::Options::record_bytes_max).
        max: u32,
    },
    /// Nothing was written, and the log goes on: append again once there is space.
    #[error("no space left to extend the log in {}", file.display())]
    NoSpace {
        /// The file that could not grow.
        file: PathBuf,
    },
    /// Whether anything was written is unknown, and the log is closed for writing.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

/// Why the log did not begin a new segment.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RotateError {
    /// The log goes on in the segment it had.
    #[error("no space left to begin {}", file.display())]
    NoSpace {
        /// The file that could not be created in full.
        file: PathBuf,
    },
    /// The log is closed for writing.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

impl From<RotateError> for AppendError {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::NoSpace { file } => Self::NoSpace { file },
            RotateError::Poisoned(poisoned) => Self::Poisoned(poisoned),
        }
    }
}

/// Why the log was not truncated.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TruncateError {
    /// Nothing was changed: no record starts at this place.
    #[error("no record of the log is at {location}")]
    NoSuchRecord {
        /// The place that was asked for.
        location: Location,
    },
    /// Part of the suffix may be gone, and the log is closed for writing.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

/// Why a submission to a [`GroupWriter`](crate::GroupWriter) was not written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// None of the submission's records was written. They can never be under these options.
    #[error("a record of {len} bytes is larger than the {max} bytes allowed")]
    TooLarge {
        /// Bytes of payload.
        len: u64,
        /// The bound, [`Options::record_bytes_max`](crate::Options::record_bytes_max).
        max: u32,
    },
    /// None of the submission's records was written; the writer goes on.
    #[error("no space left to extend the log in {}", file.display())]
    NoSpace {
        /// The file that could not grow.
        file: PathBuf,
    },
    /// Whether the records are durable is unknown. Every later submission fails with the same.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The writer was shut down before it took the submission; none of it was written.
    #[error("the log's writer has stopped")]
    Stopped,
}

impl From<AppendError> for WriteError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::TooLarge { len, max } => Self::TooLarge { len, max },
            AppendError::NoSpace { file } => Self::NoSpace { file },
            AppendError::Poisoned(poisoned) => Self::Poisoned(poisoned),
        }
    }
}

/// Why a record could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The record was purged or truncated away, or never was.
    #[error("the log holds no record at {location}")]
    Gone {
        /// The place that was asked for.
        location: Location,
    },
    /// The record was appended and is still in the writer's buffer: read it after the next sync.
    #[error("the record at {location} is not written yet")]
    NotWritten {
        /// The place that was asked for.
        location: Location,
    },
    /// The record's payload has no such bytes.
    #[error("the record at {location} has no bytes {offset}..+{len}")]
    Outside {
        /// The record.
        location: Location,
        /// The first byte asked for.
        offset: u32,
        /// How many were asked for.
        len: u32,
    },
    /// The bytes on disk are not what was written. They are never returned.
    #[error("{}: the record at offset {} fails its checksum", file.display(), location.offset)]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// The place that was asked for.
        location: Location,
    },
    /// The disk did not answer the read.
    #[error("cannot read {}", file.display())]
    Disk {
        /// The file that was read.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What a visitor of [`SegmentLog::open`](crate::SegmentLog::open) may fail with.
pub type VisitError = Box<dyn Error + Send + Sync>;

/// Why a log was not opened. Nothing was cut.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The options make no sense.
    #[error("{reason}")]
    Options {
        /// Which, and why.
        reason: String,
    },
    /// Another process, or another part of this one, has the log open.
    #[error("{} is in use by another process", dir.display())]
    InUse {
        /// The log's folder.
        dir: PathBuf,
    },
    /// A newer program wrote this log: use that one.
    #[error("{} is of version {found}; the newest this program reads is {newest}", file.display())]
    NewerVersion {
        /// The segment.
        file: PathBuf,
        /// The version it says.
        found: u32,
        /// The newest version this crate reads.
        newest: u32,
    },
    /// Bytes that had been synced are no longer what was written. Repair from a copy.
    #[error("{} is damaged at offset {offset}: {reason}", file.display())]
    Corrupt {
        /// The damaged segment.
        file: PathBuf,
        /// Where the first bad byte range starts.
        offset: u64,
        /// What is wrong there, and how we know that it is not just a torn tail.
        reason: String,
    },
    /// A segment between two others is missing. Repair from a copy.
    #[error("{} is missing, though the log goes on after it", file.display())]
    Missing {
        /// The file that should be there.
        file: PathBuf,
    },
    /// The visitor refused a record.
    #[error("the record at {location} of {} was refused", file.display())]
    Visit {
        /// The segment.
        file: PathBuf,
        /// Which record.
        location: Location,
        /// What the visitor said.
        source: VisitError,
    },
    /// The disk failed an operation.
    #[error("{operation} of {} failed", file.display())]
    Disk {
        /// What was attempted.
        operation: &'static str,
        /// The file or folder it was attempted on.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
