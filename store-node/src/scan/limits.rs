//! What one scan may take.

use std::cell::Cell;
use std::sync::Arc;

use store_wire::message::Bounds;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Memory, ScanError};

/// What one scan may take, and how much it has taken.
#[derive(Debug)]
pub struct Limits {
    /// Most rows, or buckets, in all.
    pub rows_max: u64,
    /// Most bytes of decoded chunks at one moment, which overlap in time; one chunk is always allowed.
    pub decoded_bytes_max: usize,
    /// What it shares with other scans for them; nothing when `None`.
    pub memory: Option<Arc<Memory>>,
    /// Most bytes of decoded chunks in all.
    pub read_bytes_max: u64,
    /// Most bytes that groups of series take in memory.
    pub groups_bytes_max: usize,
    /// When it must be done.
    pub deadline: Instant,
    /// Cancelled when nobody wants the rest.
    pub stop: CancellationToken,
    /// What was decoded.
    pub read_bytes: Cell<u64>,
}

impl Limits {
    /// Limits of nothing but time.
    pub fn until(deadline: Instant) -> Self {
        Self {
            rows_max: u64::MAX,
            decoded_bytes_max: usize::MAX,
            memory: None,
            read_bytes_max: u64::MAX,
            groups_bytes_max: usize::MAX,
            deadline,
            stop: CancellationToken::new(),
            read_bytes: Cell::new(0),
        }
    }

    /// Makes the limits of rows and bytes those of `bounds`, where these are narrower.
    pub fn narrow(&mut self, bounds: &Bounds) {
        self.rows_max = self.rows_max.min(bounds.rows.unwrap_or(u64::MAX));
        self.read_bytes_max = self.read_bytes_max.min(bounds.bytes.unwrap_or(u64::MAX));
    }

    /// Whether the scan may go on.
    ///
    /// # Errors
    /// [`ScanError::Closed`] or [`ScanError::Deadline`].
    pub(crate) fn check(&self) -> Result<(), ScanError> {
        if self.stop.is_cancelled() {
            Err(ScanError::Closed)
        } else if Instant::now() < self.deadline {
            Ok(())
        } else {
            Err(ScanError::Deadline)
        }
    }

    /// Notes that so many bytes are decoded.
    ///
    /// # Errors
    /// [`ScanError::TooManyBytes`].
    pub(crate) fn note_read(&self, bytes: usize) -> Result<(), ScanError> {
        let read = self.read_bytes.get().saturating_add(bytes as u64);
        self.read_bytes.set(read);
        if read > self.read_bytes_max {
            return Err(ScanError::TooManyBytes {
                bytes_max: self.read_bytes_max,
            });
        }
        Ok(())
    }
}
