//! Frames: one message and one run of raw bytes, length-prefixed, on a stream.
//!
//! ```text
//! u32 LE head length · u32 LE body length · head (one CBOR item) · body (raw bytes)
//! ```
//! The head is a message; the body is what must not pass through a serialiser: batch bytes, columns,
//! log entries. Both lengths are checked before anything is allocated, the head must be one whole
//! CBOR item nested at most [`HEAD_DEPTH_MAX`] deep, and an unknown message is an error: a stream on
//! which anything else arrives is over.
//!
//! This module knows nothing of what the messages mean. [`FrameDecoder`] is the pure part, and what
//! the property tests are aimed at; [`FrameSender`] and [`FrameReceiver`] put it on a stream.

mod decoder;
mod receiver;
mod sender;

pub use decoder::{Frame, FrameDecoder, FrameError};
pub use receiver::{FrameReceiver, ReceiveError};
pub use sender::{FrameSender, SendError};

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use crate::batch::REWRITTEN_BYTES_MAX;

/// Longest head: room for declaring a few hundred series in one message.
pub const HEAD_BYTES_MAX: usize = 256 * 1024;
/// Longest body: the longest batch a log entry can hold, and room for what a layer above puts beside it.
pub const BODY_BYTES_MAX: usize = REWRITTEN_BYTES_MAX + 64 * 1024;
/// How deep a head may nest.
pub const HEAD_DEPTH_MAX: usize = 16;
/// Length of the two lengths before a head.
pub const PREFIX_BYTES: usize = 8;

/// Why a message cannot be put into a frame. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The head is longer than [`HEAD_BYTES_MAX`].
    #[error(
        "a message of {bytes} bytes does not fit a frame's head of at most {HEAD_BYTES_MAX} bytes: send it in parts"
    )]
    HeadTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The body is longer than [`BODY_BYTES_MAX`].
    #[error(
        "{bytes} bytes do not fit a frame's body of at most {BODY_BYTES_MAX} bytes: send them in parts"
    )]
    BodyTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The message cannot be written as CBOR.
    #[error("the message cannot be encoded: {reason}")]
    NotEncodable {
        /// What the serialiser says.
        reason: String,
    },
}

/// Encodes prefix and head; a body of `body_bytes` must follow.
fn encode_head(head: &impl Serialize, body_bytes: usize) -> Result<Bytes, EncodeError> {
    const HEAD_BYTES_USUAL: usize = 256;
    if body_bytes > BODY_BYTES_MAX {
        return Err(EncodeError::BodyTooLong { bytes: body_bytes });
    }
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + HEAD_BYTES_USUAL);
    frame.put_bytes(0, PREFIX_BYTES);
    let mut writer = frame.writer();
    ciborium::into_writer(head, &mut writer).map_err(|error| EncodeError::NotEncodable {
        reason: error.to_string(),
    })?;
    let mut frame = writer.into_inner();
    let head_bytes = frame.len() - PREFIX_BYTES;
    let lengths = (u32::try_from(head_bytes), u32::try_from(body_bytes));
    let (Ok(head_len), Ok(body_len)) = lengths else {
        return Err(EncodeError::HeadTooLong { bytes: head_bytes });
    };
    if head_bytes > HEAD_BYTES_MAX {
        return Err(EncodeError::HeadTooLong { bytes: head_bytes });
    }
    frame[0..4].copy_from_slice(&head_len.to_le_bytes());
    frame[4..8].copy_from_slice(&body_len.to_le_bytes());
    Ok(frame.freeze())
}

#[cfg(test)]
mod tests;
