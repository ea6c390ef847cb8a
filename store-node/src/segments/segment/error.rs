//! Why a segment could not be read.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::segments::damage::{Damage, Watch};
use crate::segments::format::VERSION;

/// What Linux says when the medium does not give a sector back.
const EIO: i32 = 5;

/// Why a segment could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// There is no such file: fetch it from another node.
    #[error("{} does not exist", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// A newer program wrote it: use that one. Nothing is wrong with the file.
    #[error(
        "{} is of version {found}, a newer version than this program reads, which is {VERSION}: use a newer program",
        file.display()
    )]
    NewerVersion {
        /// The file.
        file: PathBuf,
        /// The version it carries.
        found: u32,
    },
    /// These bytes are not what was written, or the disk does not give them back: fetch the segment from
    /// another node.
    #[error("{}: offsets {}..{}: {reason}", file.display(), range.start, range.end)]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Offsets of the bytes in which the damage lies.
        range: Range<u64>,
        /// What is wrong with them.
        reason: String,
    },
    /// The system refused, for a reason that says nothing of the file: no more files may be open, say.
    #[error("{}: offsets {}..{}: {source}", file.display(), range.start, range.end)]
    Io {
        /// The file.
        file: PathBuf,
        /// Offsets of what was to be read; empty for the file as a whole.
        range: Range<u64>,
        /// What the system says.
        source: io::Error,
    },
}

impl SegmentError {
    pub(super) fn of_open(file: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::NotFound {
            return Self::Missing {
                file: file.to_owned(),
            };
        }
        Self::of_read(file, 0..0, source)
    }

    pub(super) fn of_read(file: &Path, range: Range<u64>, source: io::Error) -> Self {
        let file = file.to_owned();
        let reason = if source.kind() == io::ErrorKind::UnexpectedEof {
            "the file ends before they do".to_owned()
        } else if source.raw_os_error() == Some(EIO) {
            format!("the disk does not give them back: {source}")
        } else {
            return Self::Io {
                file,
                range,
                source,
            };
        };
        Self::Damaged {
            file,
            range,
            reason,
        }
    }

    /// What every read says after the damage was found.
    pub(in crate::segments) fn known(file: &Path, damage: &Damage) -> Self {
        Self::Damaged {
            file: file.to_owned(),
            range: damage.range.clone(),
            reason: damage.reason.clone(),
        }
    }

    /// Reports damage, and nothing else.
    pub(in crate::segments) fn report_to(&self, watch: &Watch) {
        if let Self::Damaged {
            file,
            range,
            reason,
        } = self
        {
            watch.report(file, range.clone(), reason);
        }
    }
}
