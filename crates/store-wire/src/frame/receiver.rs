//! Reads frames from a stream.

use bytes::{Buf, Bytes};
use serde::de::DeserializeOwned;

use super::{Frame, FrameDecoder, FrameError};
use crate::endpoint::ConnectionLost;

/// Why no frame could be read. The stream is over.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReceiveError {
    /// What came is not a frame.
    #[error(transparent)]
    NotAFrame(#[from] FrameError),
    /// The peer gave the stream up.
    #[error("the peer reset the stream (code {code})")]
    Reset {
        /// The code it gave.
        code: u64,
    },
    /// The stream was stopped on this side.
    #[error("the stream has been stopped on this side")]
    Stopped,
    /// The connection is gone.
    #[error(transparent)]
    Lost(#[from] ConnectionLost),
}

/// How many network packets are taken from the stream at a time: one turn of the connection's lock
/// for all of them.
const PACKETS_TAKEN_MAX: usize = 32;

/// The reading half of a stream.
///
/// Dropping it tells the peer to stop sending.
#[derive(Debug)]
pub struct FrameReceiver {
    stream: quinn::RecvStream,
    decoder: FrameDecoder,
    /// Packets taken and not yet decoded: from `next` up to `taken`.
    packets: [Bytes; PACKETS_TAKEN_MAX],
    next: usize,
    taken: usize,
}

impl FrameReceiver {
    pub(crate) fn new(stream: quinn::RecvStream) -> Self {
        Self {
            stream,
            decoder: FrameDecoder::default(),
            packets: [const { Bytes::new() }; PACKETS_TAKEN_MAX],
            next: 0,
            taken: 0,
        }
    }

    /// The next message with its body; `None` once the peer has finished the stream.
    ///
    /// # Cancel safety
    /// Safe: what was read of a frame stays in the receiver. Made for `select!`.
    ///
    /// # Errors
    /// See [`ReceiveError`]; the stream is over.
    pub async fn receive<T: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<(T, Bytes)>, ReceiveError> {
        match self.receive_frame().await? {
            Some(frame) => Ok(Some((frame.message()?, frame.body))),
            None => Ok(None),
        }
    }

    /// As [`receive`](Self::receive), without decoding the head.
    ///
    /// # Cancel safety
    /// Safe, as `receive`.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub async fn receive_frame(&mut self) -> Result<Option<Frame>, ReceiveError> {
        loop {
            while self.next < self.taken {
                let packet = &mut self.packets[self.next];
                let frame = self.decoder.take(packet)?;
                if !packet.has_remaining() {
                    *packet = Bytes::new();
                    self.next += 1;
                }
                if frame.is_some() {
                    return Ok(frame);
                }
            }
            match self.stream.read_chunks(&mut self.packets).await? {
                Some(taken) => (self.next, self.taken) = (0, taken),
                None => {
                    self.decoder.finish()?;
                    return Ok(None);
                }
            }
        }
    }

    /// Tells the peer to stop sending. What is still on its way is thrown away.
    pub fn stop(&mut self, code: u32) {
        // A stream that is over already needs no stopping.
        let _ = self.stream.stop(code.into());
    }
}

impl From<quinn::ReadError> for ReceiveError {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::Reset(code) => Self::Reset {
                code: code.into_inner(),
            },
            quinn::ReadError::ConnectionLost(reason) => Self::Lost(reason.into()),
            quinn::ReadError::ClosedStream
            | quinn::ReadError::IllegalOrderedRead
            | quinn::ReadError::ZeroRttRejected => Self::Stopped,
        }
    }
}
