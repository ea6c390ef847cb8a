//! Writes frames to a stream.

use std::future::Future;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use super::{EncodeError, encode_head};
use crate::endpoint::ConnectionLost;

/// Slices of fewer bytes are joined with their neighbours. The transport looks for what it sends next
/// from the first slice that is not acknowledged on, and there may be megabytes of them.
const SMALL_BYTES: usize = 4 * 1024;
/// Joined slices of so many bytes are not joined any further.
const JOINED_BYTES: usize = 64 * 1024;

/// Why a frame was not written.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The frame breaks a bound. Nothing of it was written; the stream is as before.
    #[error(transparent)]
    NotAFrame(#[from] EncodeError),
    /// The peer does not read this stream any more.
    #[error("the peer stopped reading the stream (code {code})")]
    Stopped {
        /// The code it gave.
        code: u64,
    },
    /// The stream was finished or reset on this side.
    #[error("the stream has been finished on this side")]
    Finished,
    /// The connection is gone.
    #[error(transparent)]
    Lost(#[from] ConnectionLost),
}

/// The writing half of a stream.
///
/// - A frame that was queued goes out whole before the next one, whatever was dropped in between:
///   what the stream has not yet taken waits in here.
/// - Dropping the sender finishes the stream behind what the stream has taken; a frame that is still
///   partly in here is cut, which the peer sees as [`FrameError::Truncated`](super::FrameError).
#[derive(Debug)]
pub struct FrameSender {
    stream: quinn::SendStream,
    unsent: Vec<Bytes>,
    /// Small slices, behind what is in `unsent`.
    joined: BytesMut,
}

impl FrameSender {
    pub(crate) fn new(stream: quinn::SendStream) -> Self {
        Self {
            stream,
            unsent: Vec::new(),
            joined: BytesMut::new(),
        }
    }

    /// What other streams of the connection have to send goes first, as long as they have anything:
    /// for bulk that is in no hurry.
    pub fn yield_to_others(&self) {
        // Streams begin with priority 0. One that is over has nothing left to send.
        let _ = self.stream.set_priority(-1);
    }

    /// Queues one frame and writes it; large slices of `body` are written without being copied.
    ///
    /// Returns once the stream has taken the bytes, not when they have arrived.
    ///
    /// # Cancel safety
    /// The frame is queued before the first wait. If the future is dropped, its rest is written by
    /// the next `send`, `flush` or `finish`; sending it again would send it twice.
    ///
    /// # Errors
    /// See [`SendError`]; after all but [`SendError::NotAFrame`] the stream is over.
    pub async fn send(&mut self, head: &impl Serialize, body: &[Bytes]) -> Result<(), SendError> {
        self.queue(head, body)?;
        self.flush().await
    }

    /// Queues one frame without writing it: several small frames then share one [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`EncodeError`]; nothing is queued then.
    pub fn queue(&mut self, head: &impl Serialize, body: &[Bytes]) -> Result<(), EncodeError> {
        let body_bytes = body.iter().map(Bytes::len).sum();
        self.push(&encode_head(head, body_bytes)?);
        body.iter().for_each(|slice| self.push(slice));
        Ok(())
    }

    fn push(&mut self, slice: &Bytes) {
        if slice.len() < SMALL_BYTES {
            self.joined.extend_from_slice(slice);
            if self.joined.len() >= JOINED_BYTES {
                self.end_joined();
            }
        } else {
            self.end_joined();
            self.unsent.push(slice.clone());
        }
    }

    fn end_joined(&mut self) {
        if !self.joined.is_empty() {
            self.unsent.push(self.joined.split().freeze());
        }
    }

    /// Writes what is queued.
    ///
    /// # Cancel safety
    /// Safe: what was not written stays queued.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn flush(&mut self) -> Result<(), SendError> {
        self.end_joined();
        while !self.unsent.is_empty() {
            // `write_chunks` either waits without effect or takes whole slices and the front of one
            // more, which it cuts off in place.
            let written = self.stream.write_chunks(&mut self.unsent).await?;
            self.unsent.drain(..written.chunks);
        }
        Ok(())
    }

    /// Writes what is queued and says that nothing follows.
    ///
    /// # Cancel safety
    /// Safe: call it again.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn finish(&mut self) -> Result<(), SendError> {
        self.flush().await?;
        self.stream.finish().map_err(|_| SendError::Finished)
    }

    /// Completes when the peer does not read this stream any more, or has received all of it after
    /// [`finish`](Self::finish), or the connection is gone.
    ///
    /// A long answer can so be given up as soon as nobody waits for it; and where a connection is to
    /// be closed behind an answer, this is what to wait for, as closing throws away what is on its way.
    ///
    /// # Cancel safety
    /// Safe. The future does not borrow the sender.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + Sync + use<> {
        let stopped = self.stream.stopped();
        async move {
            // Whatever the outcome, there is nothing left to wait for.
            let _ = stopped.await;
        }
    }

    /// Throws away what is queued or on its way and ends the stream at once: the peer's receiver
    /// gives [`ReceiveError::Reset`](super::ReceiveError).
    pub fn reset(&mut self, code: u32) {
        self.unsent.clear();
        self.joined.clear();
        // A stream that is over already needs no reset.
        let _ = self.stream.reset(code.into());
    }
}

impl From<quinn::WriteError> for SendError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(code) => Self::Stopped {
                code: code.into_inner(),
            },
            quinn::WriteError::ConnectionLost(reason) => Self::Lost(reason.into()),
            quinn::WriteError::ClosedStream | quinn::WriteError::ZeroRttRejected => Self::Finished,
        }
    }
}
