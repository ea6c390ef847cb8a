//! Asking a replica: one request a stream.

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::endpoint::{Connection, ConnectionLost};
use crate::frame::{FrameReceiver, ReceiveError, SendError};
use crate::message::{Request, Response, WireError};

/// Why there is no (whole) answer. What was received of it before is to be thrown away.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The replica says why.
    #[error(transparent)]
    Failed(#[from] WireError),
    /// The time allowed ran out. A write may have been committed.
    #[error("no whole answer came in the time allowed")]
    Timeout,
    /// The replica ended the stream before the answer was whole.
    #[error("the answer ended before it was whole")]
    Cut,
    /// The connection was gone before anything was asked.
    #[error("the connection was gone before anything was asked")]
    NotAsked(#[from] ConnectionLost),
    /// The request could not be sent, or not all of it.
    #[error("the request could not be sent")]
    Send(#[from] SendError),
    /// The answer could not be received.
    #[error("the answer could not be received")]
    Receive(#[from] ReceiveError),
}

impl QueryError {
    /// Whether asking again, here or elsewhere, may succeed.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Failed(error) => error.code.is_retryable(),
            Self::NotAsked(_) | Self::Timeout | Self::Cut => true,
            Self::Send(error) => !matches!(error, SendError::NotAFrame(_)),
            Self::Receive(error) => !matches!(error, ReceiveError::NotAFrame(_)),
        }
    }

    /// Whether it is certain that nothing was changed.
    pub const fn had_no_effect(&self) -> bool {
        match self {
            Self::Failed(error) => error.code.had_no_effect(),
            Self::NotAsked(_) | Self::Send(SendError::NotAFrame(_)) => true,
            Self::Timeout | Self::Cut | Self::Send(_) | Self::Receive(_) => false,
        }
    }
}

/// Sends a request; the answer is read from the stream that comes back.
///
/// `body` is the batch of a [`Request::Write`] and empty otherwise. After `deadline` everything
/// gives [`QueryError::Timeout`].
///
/// # Cancel safety
/// Safe for reads. A write that is given up may still be committed.
///
/// # Errors
/// See [`QueryError`].
pub async fn request(
    connection: &Connection,
    request: &Request,
    body: Bytes,
    deadline: Instant,
) -> Result<ResponseStream, QueryError> {
    let send = async {
        let (mut sender, receiver) = connection.open().await?;
        sender.send(request, &[body]).await?;
        sender.finish().await?;
        Ok::<_, QueryError>(receiver)
    };
    let receiver = match timeout_at(deadline, send).await {
        Ok(outcome) => outcome?,
        Err(_) => return Err(QueryError::Timeout),
    };
    Ok(ResponseStream {
        receiver,
        deadline,
        is_over: false,
    })
}

/// The frames of an answer. Dropping it before the end tells the replica to stop.
#[derive(Debug)]
pub struct ResponseStream {
    receiver: FrameReceiver,
    deadline: Instant,
    is_over: bool,
}

impl ResponseStream {
    /// The next frame with its body. The last one of an answer is [`Response::End`],
    /// or the only one of an answer that has no parts; after it comes `None`. An answer without one is
    /// [`QueryError::Cut`].
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// See [`QueryError`]; [`Response::Failed`] arrives as [`QueryError::Failed`].
    pub async fn next(&mut self) -> Result<Option<(Response, Bytes)>, QueryError> {
        if self.is_over {
            return Ok(None);
        }
        let received = timeout_at(self.deadline, self.receiver.receive::<Response>()).await;
        let outcome = match received {
            Ok(Ok(Some((Response::Failed { error }, _)))) => Err(QueryError::Failed(error)),
            Ok(Ok(Some(frame))) => Ok(Some(frame)),
            Ok(Ok(None)) => Err(QueryError::Cut),
            Ok(Err(error)) => Err(QueryError::Receive(error)),
            Err(_) => Err(QueryError::Timeout),
        };
        self.is_over = match &outcome {
            Ok(Some((response, _))) => is_last(response),
            Ok(None) | Err(_) => true,
        };
        outcome
    }
}

const fn is_last(response: &Response) -> bool {
    matches!(
        response,
        Response::End { .. }
            | Response::Written { .. }
            | Response::Status(_)
            | Response::Changed { .. }
            | Response::Described { .. }
            | Response::Doomed { .. }
            | Response::Retention { .. }
            | Response::Overdue { .. }
    )
}
