//! Where closed batches go: into the spool on disk, or, for throw-away load, into memory alone.

use std::sync::Arc;

use crate::outbox::{Outbox, OutboxError};
use crate::spool::writer::{SpoolIntake, Submission};
use crate::spool::{DeadLetter, SetAsideError};

/// Takes closed batches. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Intake {
    /// Synced on disk before they are sent.
    Spool(SpoolIntake),
    /// Sent at once, lost with the process.
    Memory(Arc<Outbox>),
}

impl Intake {
    /// Hands a batch over, waiting while there is no room.
    ///
    /// # Cancel safety
    /// Dropped while waiting, the batch is not handed over.
    ///
    /// # Errors
    /// [`OutboxError`] when nothing is taken any more.
    pub async fn push(&self, submission: Submission) -> Result<(), OutboxError> {
        match self {
            Self::Spool(spool) => spool.push(submission).await,
            Self::Memory(outbox) => outbox.push(submission.batch, &submission.declared).await,
        }
    }

    /// Says that nothing follows.
    pub fn close(&self) {
        match self {
            Self::Spool(spool) => spool.close(),
            Self::Memory(outbox) => outbox.close(),
        }
    }

    /// Keeps the epoch the store assigned, durably where batches are durable, before returning.
    ///
    /// # Cancel safety
    /// Safe: it is kept all the same.
    ///
    /// # Errors
    /// [`OutboxError`] when the spool has failed.
    pub async fn keep_epoch(&self, epoch: u64) -> Result<(), OutboxError> {
        match self {
            Self::Spool(spool) => spool.keep_epoch(epoch).await,
            Self::Memory(_) => Ok(()),
        }
    }

    /// Puts a batch that the store can never take where somebody can look at it, durably.
    ///
    /// # Cancel safety
    /// Safe: it is set aside all the same.
    ///
    /// # Errors
    /// [`SetAsideError`] when there is no place for it.
    pub async fn set_aside(&self, letter: DeadLetter) -> Result<(), SetAsideError> {
        match self {
            Self::Spool(spool) => spool.set_aside(letter).await,
            Self::Memory(_) => Err(SetAsideError::NoSpool),
        }
    }

    /// Acknowledgements may have made room.
    pub fn acknowledged(&self) {
        if let Self::Spool(spool) = self {
            spool.acknowledged();
        }
    }
}
