//! One session of appends.
//!
//! Requests are written as fast as the stream takes them, answers come back in order, and the oldest
//! request without an answer bounds how long a half-dead peer can hold the session, and the bytes of
//! requests without an answer ([`UNANSWERED_BYTES_MAX`]) what it can hold of memory. Everything of a
//! session lives in the one stream that is handed to the library, so that dropping it ends the session
//! at once; nothing of an old session can take a request that belongs to the next.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::BoxStream};
use openraft::{
    OptionalSend,
    errors::RPCError,
    raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult},
};
use store_wire::frame::{FrameReceiver, FrameSender, SendError};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep_until},
};

use super::{AskError, Client};
use crate::raft::{
    message::{self, FromPeer, Position},
    types::{LogId, Types},
};

/// How long a request may go without an answer before the session is given up. Longer than a slow
/// disk takes to sync, shorter than anybody would wait.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of requests that may be without an answer: what a member that does not keep up costs the
/// leader at most, on top of one request. Enough for 800 MB/s over 20 ms.
pub const UNANSWERED_BYTES_MAX: usize = 16 << 20;

/// What a request counts for at least: heartbeats are not free.
const REQUEST_BYTES_MIN: usize = 256;

/// A request on its way: what to conclude from a plain "yes", and since when.
#[derive(Debug)]
struct Awaited {
    previous: Option<LogId>,
    since: Instant,
    /// Given back with the answer.
    _bytes: OwnedSemaphorePermit,
}

type Awaiting = Arc<Mutex<VecDeque<Awaited>>>;

/// One session of appends.
pub(super) struct Session<'s> {
    client: &'s Client,
    /// Writes requests until there are no more; `None` once it is done.
    sending: Option<BoxFuture<'s, Result<(), SendError>>>,
    receiver: FrameReceiver,
    awaiting: Awaiting,
    /// The index after the last entry that the member has; none before it says.
    next: Option<u64>,
    kept_from: watch::Receiver<u64>,
}

impl<'s> Session<'s> {
    pub(super) fn answers<S>(
        client: &'s Client,
        requests: S,
        sender: FrameSender,
        receiver: FrameReceiver,
    ) -> BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let awaiting = Awaiting::default();
        let session = Self {
            client,
            sending: Some(send_all(requests, sender, Arc::clone(&awaiting)).boxed()),
            receiver,
            awaiting,
            next: None,
            kept_from: client.network.kept_from.subscribe(),
        };
        futures::stream::unfold(Some(session), |session| async {
            let mut session = session?;
            match session.next().await {
                Ok(None) => None,
                Ok(Some(Ok(last))) => Some((Ok(Ok(last)), Some(session))),
                Ok(Some(Err(refused))) => Some((Ok(Err(refused)), None)),
                Err(error) => Some((Err(error.into_rpc()), None)),
            }
        })
        .boxed()
    }

    /// The next answer; `None` once every request is answered and no more come.
    async fn next(&mut self) -> Result<Option<StreamAppendResult<Types>>, AskError> {
        loop {
            let oldest = oldest(&self.awaiting);
            if self.sending.is_none() && oldest.is_none() {
                return Ok(None);
            }
            // An answer may be awaited by the time the wait below ends, so look again then.
            let deadline = oldest.unwrap_or_else(Instant::now) + ANSWER_PATIENCE;
            tokio::select! {
                sent = poll_some(&mut self.sending) => {
                    self.sending = None;
                    sent?;
                }
                answer = self.client.answer(&mut self.receiver) => {
                    return self.conclude(answer?).map(Some);
                }
                () = passed(&mut self.kept_from, self.next) => return Err(AskError::Behind),
                () = sleep_until(deadline) => {
                    if oldest.is_some() {
                        return Err(AskError::Late(ANSWER_PATIENCE));
                    }
                }
            }
        }
    }

    fn conclude(&mut self, answer: FromPeer) -> Result<StreamAppendResult<Types>, AskError> {
        let answered = lock(&self.awaiting).pop_front().ok_or(AskError::Unfit)?;
        match answer {
            FromPeer::Appended(last) => {
                let last = last.map(LogId::from);
                self.next = last.map(|last| last.index + 1).or(self.next);
                Ok(Ok(last))
            }
            FromPeer::HigherVote(vote) => Ok(Err(StreamAppendError::HigherVote(vote.into()))),
            FromPeer::Conflict(at) if answered.previous.map(Position::from) == Some(at) => {
                Ok(Err(StreamAppendError::Conflict(at.into())))
            }
            _ => Err(AskError::Unfit),
        }
    }
}

/// Writes every request, as fast as the stream takes them, and ends it.
async fn send_all<S>(
    mut requests: S,
    mut sender: FrameSender,
    awaiting: Awaiting,
) -> Result<(), SendError>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
{
    let unanswered = Arc::new(Semaphore::new(UNANSWERED_BYTES_MAX));
    while let Some(request) = requests.next().await {
        let (head, body) = message::append(&request);
        let bytes = body.iter().map(Bytes::len).sum();
        let Some(permit) = permit(&unanswered, bytes).await else {
            break;
        };
        let awaited = Awaited {
            previous: request.prev_log_id,
            since: Instant::now(),
            _bytes: permit,
        };
        lock(&awaiting).push_back(awaited);
        sender.send(&head, &body).await?;
    }
    sender.finish().await
}

/// Waits until so many bytes more may go unanswered; one request always may.
async fn permit(unanswered: &Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let bytes = bytes.clamp(REQUEST_BYTES_MIN, UNANSWERED_BYTES_MAX);
    let bytes = u32::try_from(bytes).ok()?;
    // Never closed.
    Arc::clone(unanswered).acquire_many_owned(bytes).await.ok()
}

/// Waits until `next` is not kept any longer.
async fn passed(kept_from: &mut watch::Receiver<u64>, next: Option<u64>) {
    let passed = kept_from.wait_for(|kept| next.is_some_and(|next| next < *kept));
    if passed.await.is_err() {
        // Nobody will say so any more.
        std::future::pending().await
    }
}

async fn poll_some<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

fn oldest(awaiting: &Awaiting) -> Option<Instant> {
    lock(awaiting).front().map(|awaited| awaited.since)
}

fn lock(awaiting: &Awaiting) -> std::sync::MutexGuard<'_, VecDeque<Awaited>> {
    awaiting.lock().unwrap_or_else(PoisonError::into_inner)
}
