//! Looks at a batch once, thoroughly, and makes of it the bytes of a command.
//!
//! Bounds, checksum, every chunk decoded and held against its header and against its series' kind:
//! what passes here is replicated, applied and read back without being looked at again.

use bytes::Bytes;
use column_codec::{DecodeError, Scratch};
use sensor_model::{Kind, SeriesId, SeriesPath};
use store_wire::batch::{BatchError, BatchView, check_readings};
use store_wire::message::{ErrorCode, WireError};

use crate::command::{self, CommandError, Position};

/// What a number in a batch stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declared {
    /// The series' path.
    pub(crate) path: SeriesPath,
    /// The kind its chunks must have.
    pub(crate) kind: Kind,
    /// Its id; `None` when the series was refused and its chunks are to be left out.
    pub(crate) id: Option<SeriesId>,
}

/// A batch that may be proposed.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The command's bytes.
    pub(crate) payload: Bytes,
    /// How many readings of each refused series were left out, by number.
    pub(crate) refused: Vec<(u32, u64)>,
    /// How many readings are in it.
    pub(crate) readings: u64,
}

/// Why a batch can never be taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    /// Its bytes are not a batch, or too many.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A number that was never declared.
    #[error("series number {number} was not declared on this stream: declare it before the batch")]
    Undeclared { number: u64 },
    /// A chunk is not one, or holds what may not be stored.
    #[error("a chunk of series {path} is refused: {source}")]
    Chunk {
        path: SeriesPath,
        source: DecodeError,
    },
    /// A chunk has another kind than its series.
    #[error("a chunk of series {path} has kind {found}, the series has kind {declared}")]
    KindMismatch {
        path: SeriesPath,
        declared: Kind,
        found: Kind,
    },
    /// The batch's place in the sequence is none.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl IntakeError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Batch(
                BatchError::TooManyBytes { .. }
                | BatchError::TooManyReadings { .. }
                | BatchError::TooManyChunks { .. },
            )
            | Self::Chunk {
                source: DecodeError::TooManyReadings { .. },
                ..
            } => ErrorCode::TooLarge,
            Self::KindMismatch { .. } => ErrorCode::KindMismatch,
            _ => ErrorCode::BadRequest,
        }
    }
}

impl From<IntakeError> for WireError {
    fn from(error: IntakeError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Checks batches, keeping its buffers from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    scratch: Scratch,
}

impl Intake {
    /// Checks the batch that `body` is, under the numbers that `declared` knows.
    ///
    /// # Errors
    /// See [`IntakeError`]; the whole batch is refused then.
    pub(crate) fn take<'d>(
        &mut self,
        body: Bytes,
        position: Option<&Position<'_>>,
        declared: impl Fn(u64) -> Option<&'d Declared>,
    ) -> Result<Taken, IntakeError> {
        let batch = BatchView::parse(body)?;
        let mut readings = 0;
        let mut refused: Vec<(u32, u64)> = Vec::new();
        for (number, chunk) in batch.chunks().slices() {
            let series = declared(number).ok_or(IntakeError::Undeclared { number })?;
            let count = self.check_chunk(chunk, series)?;
            readings += count;
            check_readings(readings)?;
            if series.id.is_none() {
                note(&mut refused, number, count);
            }
        }
        let mut payload = Vec::new();
        command::append_head(position, &mut payload)?;
        batch.rewrite_into(&mut payload, |number| declared(number)?.id)?;
        let left_out: u64 = refused.iter().map(|(_, readings)| readings).sum();
        Ok(Taken {
            payload: payload.into(),
            refused,
            readings: readings - left_out,
        })
    }

    fn check_chunk(&mut self, chunk: &[u8], series: &Declared) -> Result<u64, IntakeError> {
        let refused = |source| IntakeError::Chunk {
            path: series.path.clone(),
            source,
        };
        let view = column_codec::parse(chunk).map_err(refused)?;
        if view.kind() != series.kind {
            return Err(IntakeError::KindMismatch {
                path: series.path.clone(),
                declared: series.kind,
                found: view.kind(),
            });
        }
        view.verify(&mut self.scratch).map_err(refused)?;
        Ok(view.count() as u64)
    }
}

/// Adds to the count of `number`.
fn note(refused: &mut Vec<(u32, u64)>, number: u64, readings: u64) {
    // Only declared numbers come here, and those have 32 bits.
    let Ok(number) = u32::try_from(number) else {
        return;
    };
    match refused.iter_mut().find(|(known, _)| *known == number) {
        Some((_, count)) => *count += readings,
        None => refused.push((number, readings)),
    }
}

#[cfg(test)]
mod tests;
