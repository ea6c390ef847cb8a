//! A session of appends, on the side that takes them.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::raft::AppendEntriesRequest;
use store_wire::frame::{FrameReceiver, FrameSender, SendError};
use tracing::warn;

use super::{RunningMember, StreamError, not_understood};
use crate::raft::{
    message::{self, BadAppend, FromPeer, Refusal, ToPeer},
    replica::Replica,
    types::{LogId, Types},
};

/// Answers to acknowledge in one write: as many as the library has ready, up to this.
const ANSWERS_TOGETHER_MAX: usize = 64;

/// Passes a session of appends on to the library, and its answers back, in order.
pub(super) async fn append(
    member: &RunningMember,
    requests: Requests,
    mut sender: FrameSender,
) -> Result<(), StreamError> {
    let (id, refusal) = (requests.replica.id(), Arc::clone(&requests.refusal));
    let answers = member.group.stream_append(requests.into_stream());
    let mut answers = std::pin::pin!(answers.ready_chunks(ANSWERS_TOGETHER_MAX));
    while let Some(ready) = answers.next().await {
        for answer in ready {
            let answer = answer.map_or_else(
                |_| FromPeer::Refused(Refusal::Stopping { id }),
                FromPeer::from,
            );
            sender.queue(&answer, &[]).map_err(SendError::from)?;
        }
        sender.flush().await?;
    }
    if let Some(refusal) = refusal.get() {
        let refusal = FromPeer::Refused(refusal.clone());
        sender.send(&refusal, &[]).await?;
    }
    Ok(sender.finish().await?)
}

/// Reads the requests of a session, until they end or one is refused.
pub(super) struct Requests {
    replica: Replica,
    first: Option<(ToPeer, Bytes)>,
    receiver: FrameReceiver,
    refusal: Arc<OnceLock<Refusal>>,
}

impl Requests {
    pub(super) fn new(replica: Replica, first: (ToPeer, Bytes), receiver: FrameReceiver) -> Self {
        Self {
            replica,
            first: Some(first),
            receiver,
            refusal: Arc::default(),
        }
    }

    fn into_stream(self) -> impl Stream<Item = AppendEntriesRequest<Types>> + Send + 'static {
        futures::stream::unfold(self, |mut requests| async {
            match requests.next().await {
                Ok(request) => request.map(|request| (request, requests)),
                Err(refusal) => {
                    warn!(%refusal, "entries were refused");
                    // Set once: the stream ends here.
                    drop(requests.refusal.set(refusal));
                    None
                }
            }
        })
    }

    async fn next(&mut self) -> Result<Option<AppendEntriesRequest<Types>>, Refusal> {
        let next = match self.first.take() {
            Some(first) => Some(first),
            // A stream that breaks ends the session; the leader begins another.
            None => self.receiver.receive::<ToPeer>().await.unwrap_or_default(),
        };
        let (vote, previous, committed, heads, body) = match next {
            None => return Ok(None),
            Some((
                ToPeer::Append {
                    vote,
                    previous,
                    committed,
                    entries,
                },
                body,
            )) => (vote, previous, committed, entries, body),
            Some(_) => return Err(not_understood("something else among appends")),
        };
        let entries = message::entries(previous, &heads, body)
            .map_err(|error: BadAppend| not_understood(&error.to_string()))?;
        if !entries.is_empty() {
            self.replica.takes_entries(&entries)?;
        }
        Ok(Some(AppendEntriesRequest {
            vote: vote.into(),
            prev_log_id: previous.map(LogId::from),
            leader_commit: committed.map(LogId::from),
            entries,
        }))
    }
}
