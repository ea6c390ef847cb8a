//! One session of appends.
//!
//! Requests are written as fast as the stream takes them, answers come back in order, and the oldest
//! request without an answer bounds how long a half-dead peer can hold the session, and the bytes of
//! requests without an answer ([`UNANSWERED_BYTES_MAX`]) what it can hold of memory. Everything of a
//! session lives in the one stream that is handed to the library, so that dropping it ends the session
//! at once; nothing of an old session can take a request that belongs to the next.
//!
//! **When an answer is handed on.** The library concludes from "I have all up to X" that the member has
//! answered every request that ends there, and counts its lease from when the last of them was sent. A
//! request without entries, which only tells how far is committed, ends where the one before it did: one
//! sent a moment ago would make an old answer look new, and a leader that was paused, and was replaced
//! meanwhile, would serve reads. So an answer waits here until no later request seems answered by it
//! ([`Awaited::seems_answered`]).

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

/// A request on its way.
#[derive(Debug)]
struct Awaited {
    /// What its entries follow.
    previous: Option<LogId>,
    /// Its last entry, or what it follows if it has none.
    last: Option<LogId>,
    since: Instant,
    /// What it counts for, once there was room; given back with the answer.
    bytes: Option<OwnedSemaphorePermit>,
}

impl Awaited {
    fn new(request: &AppendEntriesRequest<Types>) -> Self {
        let last = request.entries.last().map(|entry| entry.log_id);
        Self {
            previous: request.prev_log_id,
            last: last.or(request.prev_log_id),
            since: Instant::now(),
            bytes: None,
        }
    }

    /// Whether the library would take "I have all up to `last`" for an answer to this request.
    fn seems_answered(&self, last: Option<LogId>) -> bool {
        self.last <= last || self.previous < last
    }
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
                    if let Some(concluded) = self.conclude(answer?)? {
                        return Ok(Some(concluded));
                    }
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

    /// What an answer says to the library; `None` where the next one will say it.
    fn conclude(
        &mut self,
        answer: FromPeer,
    ) -> Result<Option<StreamAppendResult<Types>>, AskError> {
        let mut awaiting = lock(&self.awaiting);
        let answered = awaiting.pop_front().ok_or(AskError::Unfit)?;
        match answer {
            FromPeer::Appended(last) => {
                let last = last.map(LogId::from);
                self.next = last.map(|last| last.index + 1).or(self.next);
                let waits = awaiting
                    .front()
                    .is_some_and(|next| next.seems_answered(last));
                Ok((!waits).then_some(Ok(last)))
            }
            FromPeer::HigherVote(vote) => {
                let refused = StreamAppendError::HigherVote(vote.into());
                Ok(Some(Err(refused)))
            }
            FromPeer::Conflict(at) if answered.previous.map(Position::from) == Some(at) => {
                Ok(Some(Err(StreamAppendError::Conflict(at.into()))))
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
        // At once, before anything else is awaited: the library counts it as sent from now on.
        lock(&awaiting).push_back(Awaited::new(&request));
        let (head, body) = message::append(&request);
        let bytes = body.iter().map(Bytes::len).sum();
        let Some(permit) = permit(&unanswered, bytes).await else {
            break;
        };
        if let Some(awaited) = lock(&awaiting).back_mut() {
            awaited.bytes = Some(permit);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::CommittedLeaderId;

    fn id(index: u64) -> LogId {
        LogId {
            leader_id: CommittedLeaderId {
                term: 1,
                node_id: 1,
            },
            index,
        }
    }

    fn awaited(previous: u64, last: u64) -> Awaited {
        Awaited {
            previous: Some(id(previous)),
            last: Some(id(last)),
            since: Instant::now(),
            bytes: None,
        }
    }

    #[test]
    fn an_answer_is_none_to_a_later_request_unless_it_tells_of_its_entries() {
        // What follows has entries of its own: it is not mistaken for answered.
        assert!(!awaited(10, 11).seems_answered(Some(id(10))));
        assert!(!awaited(10, 20).seems_answered(Some(id(10))));
        assert!(!awaited(10, 11).seems_answered(None));
        // What follows only tells how far is committed.
        assert!(awaited(10, 10).seems_answered(Some(id(10))));
        // The member has more than was sent: entries come again.
        assert!(awaited(10, 20).seems_answered(Some(id(11))));
        assert!(awaited(10, 20).seems_answered(Some(id(20))));
    }
}
