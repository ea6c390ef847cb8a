//! Cuts a run of bytes into frames, without I/O.

use bytes::{Buf, Bytes};
use serde::de::DeserializeOwned;

use super::{BODY_BYTES_MAX, HEAD_BYTES_MAX, HEAD_DEPTH_MAX, PREFIX_BYTES};

/// Why bytes are not a frame. The stream they came on cannot be read any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced head is longer than [`HEAD_BYTES_MAX`].
    #[error("a frame announces a head of {bytes} bytes: at most {HEAD_BYTES_MAX} are allowed")]
    HeadTooLong {
        /// The announced length.
        bytes: usize,
    },
    /// The announced body is longer than [`BODY_BYTES_MAX`].
    #[error("a frame announces a body of {bytes} bytes: at most {BODY_BYTES_MAX} are allowed")]
    BodyTooLong {
        /// The announced length.
        bytes: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame, {missing} bytes short")]
    Truncated {
        /// How many bytes of what was announced are missing.
        missing: usize,
    },
    /// The head nests deeper than [`HEAD_DEPTH_MAX`].
    #[error("a message is nested deeper than {HEAD_DEPTH_MAX} levels")]
    TooDeep,
    /// The head is not CBOR, or not a message this program knows.
    #[error("a message cannot be understood: {reason}")]
    NotUnderstood {
        /// What the deserialiser says.
        reason: String,
    },
    /// Bytes follow the message inside the head.
    #[error("{bytes} bytes of garbage follow a message")]
    TrailingGarbage {
        /// How many.
        bytes: usize,
    },
}

/// A whole frame whose head is still encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The encoded message.
    pub head: Bytes,
    /// The raw bytes beside it, in an allocation of exactly their length.
    pub body: Bytes,
}

impl Frame {
    /// Decodes the head: one whole CBOR item, nested at most [`HEAD_DEPTH_MAX`] deep.
    ///
    /// # Errors
    /// [`FrameError::TooDeep`], [`FrameError::NotUnderstood`] or [`FrameError::TrailingGarbage`].
    pub fn message<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        let mut rest: &[u8] = &self.head;
        let message = ciborium::de::from_reader_with_recursion_limit(&mut rest, HEAD_DEPTH_MAX)
            .map_err(|error| match error {
                ciborium::de::Error::RecursionLimitExceeded => FrameError::TooDeep,
                ciborium::de::Error::Io(_) => FrameError::NotUnderstood {
                    reason: "it ends too early".to_owned(),
                },
                ciborium::de::Error::Syntax(offset) => FrameError::NotUnderstood {
                    reason: format!("no CBOR at offset {offset}"),
                },
                ciborium::de::Error::Semantic(_, reason) => FrameError::NotUnderstood { reason },
            })?;
        if rest.is_empty() {
            Ok(message)
        } else {
            Err(FrameError::TrailingGarbage { bytes: rest.len() })
        }
    }
}

/// Collects bytes until a frame is whole.
///
/// - Nothing is allocated for a frame before both its lengths are within bounds.
/// - Head and body are copied once, into allocations of exactly their length, so that a frame that is
///   kept (a log entry, say) does not keep the network buffers it came in.
/// - All state is in here: a reader that is dropped between two reads loses nothing.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    prefix: [u8; PREFIX_BYTES],
    prefix_filled: usize,
    frame: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    head: Vec<u8>,
    head_bytes: usize,
    body: Vec<u8>,
    body_bytes: usize,
}

impl FrameDecoder {
    /// Takes bytes from `input` until a frame is whole or `input` is empty.
    ///
    /// # Errors
    /// [`FrameError::HeadTooLong`] or [`FrameError::BodyTooLong`].
    pub fn take(&mut self, input: &mut impl Buf) -> Result<Option<Frame>, FrameError> {
        if self.frame.is_none() {
            let wanted = PREFIX_BYTES - self.prefix_filled;
            let bytes = wanted.min(input.remaining());
            let end = self.prefix_filled + bytes;
            input.copy_to_slice(&mut self.prefix[self.prefix_filled..end]);
            self.prefix_filled = end;
            if self.prefix_filled < PREFIX_BYTES {
                return Ok(None);
            }
        }
        let partial = match &mut self.frame {
            Some(partial) => partial,
            empty => empty.insert(Partial::announced(self.prefix)?),
        };
        fill(&mut partial.head, partial.head_bytes, input);
        fill(&mut partial.body, partial.body_bytes, input);
        if partial.missing() > 0 {
            return Ok(None);
        }
        self.prefix_filled = 0;
        Ok(self.frame.take().map(|whole| Frame {
            head: whole.head.into(),
            body: whole.body.into(),
        }))
    }

    /// Whether the input may end here.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        let missing = match &self.frame {
            Some(partial) => partial.missing(),
            None if self.prefix_filled == 0 => return Ok(()),
            None => PREFIX_BYTES - self.prefix_filled,
        };
        Err(FrameError::Truncated { missing })
    }
}

impl Partial {
    fn announced(prefix: [u8; PREFIX_BYTES]) -> Result<Self, FrameError> {
        let [h0, h1, h2, h3, b0, b1, b2, b3] = prefix;
        let length = |bytes| usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
        let (head_bytes, body_bytes) = (length([h0, h1, h2, h3]), length([b0, b1, b2, b3]));
        if head_bytes > HEAD_BYTES_MAX {
            return Err(FrameError::HeadTooLong { bytes: head_bytes });
        }
        if body_bytes > BODY_BYTES_MAX {
            return Err(FrameError::BodyTooLong { bytes: body_bytes });
        }
        Ok(Self {
            head: Vec::with_capacity(head_bytes),
            head_bytes,
            body: Vec::with_capacity(body_bytes),
            body_bytes,
        })
    }

    fn missing(&self) -> usize {
        (self.head_bytes - self.head.len()) + (self.body_bytes - self.body.len())
    }
}

/// Moves bytes from `input` to `target` until it has `bytes_max` of them.
fn fill(target: &mut Vec<u8>, bytes_max: usize, input: &mut impl Buf) {
    while target.len() < bytes_max && input.has_remaining() {
        let chunk = input.chunk();
        let bytes = chunk.len().min(bytes_max - target.len());
        target.extend_from_slice(&chunk[..bytes]);
        input.advance(bytes);
    }
}
