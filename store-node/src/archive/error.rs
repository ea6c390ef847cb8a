//! Why a job is not done.

use std::io;

use crate::scan::ScanError;
use crate::segments::manifest::ManifestError;
use crate::segments::segment::SegmentError;
use crate::segments::writer::SegmentWriteError;

/// Why a job is not done. It stays the next one.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Readings cannot be read back: the log, or a segment, must be repaired first.
    #[error(transparent)]
    Read(#[from] ScanError),
    /// A segment that is to be compacted cannot be read: it must be repaired first.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A segment could not be written.
    #[error("a segment could not be written: {0}")]
    Write(#[from] SegmentWriteError),
    /// The disk refused something.
    #[error("segments could not be put in place: {0}")]
    Disk(#[from] io::Error),
    /// The manifest could not be written.
    #[error("the manifest could not be written: {0}")]
    Manifest(#[from] ManifestError),
    /// Another manifest is being installed, which may have the job done.
    #[error("the job gives way to a snapshot")]
    Superseded,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

impl JobError {
    /// Whether the disk is only full: the job can be done when there is room again.
    pub fn is_no_space(&self) -> bool {
        self.of_disk()
            .is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
    }

    /// Whether what the job needs cannot be read: another replica may have it.
    pub const fn is_of_reading(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Segment(_))
    }

    /// Whether the disk failed a write or a sync: what it holds is unknown, and the node must stop.
    pub fn is_fatal(&self) -> bool {
        self.of_disk().is_some() && !self.is_no_space()
    }

    const fn of_disk(&self) -> Option<&io::Error> {
        match self {
            Self::Write(SegmentWriteError::Io(error))
            | Self::Disk(error)
            | Self::Manifest(ManifestError::Disk { source: error, .. }) => Some(error),
            _ => None,
        }
    }
}
