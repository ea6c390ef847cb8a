//! A piece: a chunk of one series that is not sealed, where it is, and what time it is of.

use std::sync::Arc;

use bytes::Bytes;
use sensor_model::TimeRange;

use super::{PayloadError, Payloads};

/// A chunk of one series, and what a scan must know to leave it out.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Every reading in it was committed at or before this index of the log.
    pub order: u64,
    /// Where its bytes are.
    pub place: Place,
    /// The earliest time in it.
    pub first: i64,
    /// The latest time in it.
    pub last: i64,
    /// How many readings it has.
    pub count: u32,
    /// Whether its times are strictly ascending.
    pub is_sorted: bool,
}

// A year of one series at 1 Hz in chunks of a thousand is 31,536 of them.
const _: () = assert!(size_of::<Piece>() <= 56);

/// Where a chunk's bytes are.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// In the payload of the entry at the piece's order.
    Log {
        /// The chunk's first byte in the payload.
        offset: u32,
        /// How many bytes.
        length: u32,
        /// CRC32C of them.
        crc: u32,
    },
    /// In memory: a head that was full.
    Memory(Arc<Box<[u8]>>),
}

/// The first and the last of some times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Span {
    pub(super) const EMPTY: Self = Self {
        first: i64::MAX,
        last: i64::MIN,
    };

    pub(super) const fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    pub(super) fn widen(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    /// The span of a range that is not empty.
    pub(super) const fn of(range: TimeRange) -> Self {
        Self {
            first: range.from.as_nanos(),
            last: range.to.as_nanos() - 1,
        }
    }

    pub(super) const fn holds(self, time: i64) -> bool {
        self.first <= time && time <= self.last
    }
}

impl Piece {
    pub(super) const fn span(&self) -> Span {
        Span {
            first: self.first,
            last: self.last,
        }
    }

    /// Its bytes, checked.
    ///
    /// # Errors
    /// See [`PayloadError`].
    pub(crate) fn read(&self, payloads: &dyn Payloads) -> Result<Bytes, PayloadError> {
        match &self.place {
            Place::Memory(bytes) => Ok(Bytes::from_owner(SharedBytes(Arc::clone(bytes)))),
            Place::Log {
                offset,
                length,
                crc,
            } => {
                let bytes = payloads.chunk(self.order, *offset, *length)?;
                if crc32c::crc32c(&bytes) == *crc {
                    Ok(bytes)
                } else {
                    Err(PayloadError::Damaged { index: self.order })
                }
            }
        }
    }
}

struct SharedBytes(Arc<Box<[u8]>>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
