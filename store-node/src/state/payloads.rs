//! Where the bytes of chunks are read back from: the log, or what stands in for it.

use bytes::Bytes;

/// Reads the payloads of entries back. May read the disk: call it off the runtime's threads.
pub trait Payloads: Send + Sync {
    /// The command bytes of the entry at `index`.
    ///
    /// # Errors
    /// See [`PayloadError`].
    fn payload(&self, index: u64) -> Result<Bytes, PayloadError>;

    /// `length` bytes from `offset` of the command bytes of the entry at `index`. They may be read
    /// without the rest of the entry, so that only the caller's own checksum says what they are worth.
    ///
    /// # Errors
    /// See [`PayloadError`].
    fn chunk(&self, index: u64, offset: u32, length: u32) -> Result<Bytes, PayloadError> {
        let payload = self.payload(index)?;
        let from = offset as usize;
        let to = from.saturating_add(length as usize);
        if to > payload.len() {
            return Err(PayloadError::Absent { index });
        }
        Ok(payload.slice(from..to))
    }

    /// Waits until every entry up to `index` is synced on this disk; `false` when that will not
    /// happen, because the log is closed.
    fn wait_synced(&self, index: u64) -> bool {
        let _ = index;
        true
    }
}

/// Why a payload could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// There is no entry with a command at this position.
    #[error("the log holds no command at index {index}")]
    Absent {
        /// The position asked for.
        index: u64,
    },
    /// The log could not be read, or what it holds is damaged.
    #[error("the command at index {index} cannot be read")]
    Log {
        /// The position asked for.
        index: u64,
        /// What the log says.
        source: segment_log::ReadError,
    },
    /// The bytes are not those that were applied.
    #[error("a chunk of the command at index {index} is damaged")]
    Damaged {
        /// The position asked for.
        index: u64,
    },
}
