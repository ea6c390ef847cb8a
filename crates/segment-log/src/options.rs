//! What a caller chooses about a log, and where a record is in it.

use crate::{
    error::OpenError,
    format::{self, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES},
};

/// Bounds and sizes of one log. All of them may differ from the last time it was opened: what is
/// already on disk stays readable.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment that would grow beyond this many bytes is sealed and the next one begun. At most
    /// 2 GiB. One record always fits: a segment that holds nothing but its preamble takes the next
    /// record whatever its size.
    pub segment_bytes_max: u64,
    /// The largest payload accepted, at most 256 MiB - 1.
    pub record_bytes_max: u32,
    /// Room is taken from the disk and filled with zeros in steps of this many bytes, so that a
    /// sync seldom has to commit a new file size as well. At least 64.
    pub preallocate_bytes: u64,
    /// Mixed into every checksum of the segments this log creates. A random number here makes it
    /// impossible for whoever chooses payloads to forge the image of a record inside one.
    pub salt: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            record_bytes_max: 2 << 20,
            preallocate_bytes: 1 << 20,
            salt: 0,
        }
    }
}

impl Options {
    /// Refuses sizes that no log can be built with.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let refuse = |reason: &str| {
            Err(OpenError::Options {
                reason: reason.to_owned(),
            })
        };
        if self.record_bytes_max > format::PAYLOAD_BYTES_MAX {
            return refuse("record_bytes_max is more than 256 MiB - 1");
        }
        if self.segment_bytes_max > format::SEGMENT_BYTES_LIMIT {
            return refuse("segment_bytes_max is more than 2 GiB");
        }
        if self.segment_bytes_max < u64::from(SEGMENT_HEADER_BYTES + 2 * RECORD_HEADER_BYTES) {
            return refuse("segment_bytes_max has no room for one empty record");
        }
        if self.preallocate_bytes < 64 {
            return refuse("preallocate_bytes is less than 64");
        }
        Ok(())
    }
}

/// Where a record is: enough to read it back without an index. Ordered as in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The number of the segment.
    pub segment: u64,
    /// Where the record's header starts, in bytes from the start of the segment.
    pub offset: u32,
    /// Bytes of payload, without header and padding.
    pub len: u32,
}

impl Location {
    /// The offset just past the record's padding, where the next record starts.
    pub(crate) fn end(self) -> u64 {
        u64::from(self.offset) + format::record_bytes(self.len)
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}+{}", self.segment, self.offset, self.len)
    }
}
