//! How the client reaches a node: one question in, frames out.
//!
//! The client decides whom to ask and when to go elsewhere; a [`Link`] only carries. The one that
//! speaks QUIC is [`wire::WireLink`]; tests script their own.

pub mod wire;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use store_wire::message::{ErrorCode, Request, Response};

/// One frame of an answer: a message and the raw bytes that travel beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The message.
    pub response: Response,
    /// Columns, where the message announces them.
    pub body: Bytes,
}

/// The frames of one answer in order; ends after the last frame, or with the error that cut it.
pub type Frames = BoxStream<'static, Result<Frame, LinkError>>;

/// Why a node could not be asked, or its answer not be read. The texts name the node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nothing was sent: it may be asked elsewhere, or again.
    #[error("{reason}")]
    NotAsked {
        /// Why, for a program.
        code: ErrorCode,
        /// Why, for a person.
        reason: String,
    },
    /// The connection or the stream broke after the question was sent: a write may be committed.
    #[error("{reason}")]
    Lost {
        /// What happened.
        reason: String,
    },
}

/// Carries a question to a node and its answer back.
///
/// What an implementation must guarantee:
/// - `NotAsked` comes only from `reach` and `ask` themselves, never from the stream, and means that
///   nothing was sent;
/// - dropping the future or the stream gives the question up and frees what it held;
/// - the stream holds a bounded number of frames: a slow reader slows the node.
pub trait Link: Send + Sync + 'static {
    /// Connects to `address` (`HOST:PORT`) unless a connection lives; nothing is asked. Of a connection
    /// that lives it is not known whether the node still does.
    fn reach(&self, address: &str) -> BoxFuture<'static, Result<(), LinkError>>;

    /// Connects to `address` (`HOST:PORT`) unless a connection lives, sends `request` with `body`.
    fn ask(
        &self,
        address: &str,
        request: Request,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Frames, LinkError>>;

    /// Tells every node that no more is asked, as far as a moment suffices for that. Nothing may be
    /// asked afterwards.
    fn close(&self) -> BoxFuture<'static, ()>;
}
