//! What only the leader does: offered to one node after the other until it takes it, never twice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use store_wire::message::{ErrorCode, Request, Response, WireError};
use tokio::time::Instant;

use super::presence::Presence;
use super::{Client, ELECTION_PAUSE, link_failure, millis};
use crate::failure::Failure;
use crate::link::{Frame, LinkError};

/// How long a node may take to show that it is there when there is no other.
const PRESENCE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Something the leader is to do.
pub(super) struct Errand<'a> {
    /// The request, for the time it may take in ms.
    pub(super) request: &'a (dyn Fn(u64) -> Request + Sync),
    /// What travels beside it.
    pub(super) body: Bytes,
    /// What it is called in an error.
    pub(super) name: &'static str,
}

/// The leader's answer: its first frame, never `Failed`.
pub(super) struct Done {
    pub(super) address: String,
    pub(super) frame: Frame,
}

/// How one attempt ended that did not do it.
enum Refusal {
    /// Nothing was done and another node may take it; `leader` if it was named.
    Elsewhere {
        failure: Failure,
        leader: Option<String>,
    },
    /// Trying again would not help, or might do it twice.
    Final(Failure),
}

impl Client {
    /// Has the leader do `errand`, through elections, as long as it is certain that none has begun it.
    ///
    /// # Errors
    /// [`ErrorCode::Unknown`] when it was sent and no answer came. Every other code but
    /// [`ErrorCode::Internal`] means that nothing was done.
    pub(super) async fn at_leader(
        &self,
        errand: &Errand<'_>,
        deadline: Instant,
    ) -> Result<Done, Failure> {
        // Kept from round to round: who is slow is not asked anew each time.
        let mut presence = Presence::new(Arc::clone(&self.shared.link));
        let outcome = loop {
            let failure = match self.round(errand, &mut presence, deadline).await {
                Ok(done) => break Ok(done),
                Err(Refusal::Final(failure)) => break Err(failure),
                Err(Refusal::Elsewhere { failure, .. }) => failure,
            };
            // Nodes that know of no leader, or name each other, are an election under way.
            let again = Instant::now() + ELECTION_PAUSE;
            if !is_election(&failure) || again >= deadline {
                break Err(failure);
            }
            tokio::time::sleep_until(again).await;
        };
        presence.note_laggards(&self.shared.targets);
        outcome
    }

    /// Offers the errand to each node that is there once, to a leader as soon as one is named.
    async fn round(
        &self,
        errand: &Errand<'_>,
        presence: &mut Presence,
        deadline: Instant,
    ) -> Result<Done, Refusal> {
        let targets = &self.shared.targets;
        let mut waiting = VecDeque::from(targets.for_writes());
        let mut tried: Vec<String> = Vec::new();
        let mut told: Option<Failure> = None;
        loop {
            // While they elect, those that are there are asked again soon, whoever else is silent.
            let patience = match &told {
                Some(failure) if is_election(failure) => ELECTION_PAUSE,
                _ => PRESENCE_TIMEOUT,
            };
            let shown = presence.next(&mut waiting, patience, deadline).await;
            let Some((address, shown)) = shown else {
                break;
            };
            if tried.contains(&address) {
                continue;
            }
            let outcome = match shown {
                Ok(()) => self.offer(&address, errand, deadline).await,
                Err(error) => {
                    targets.note_failure(&address, None);
                    Err(nothing_sent(error))
                }
            };
            tried.push(address.clone());
            match outcome {
                Ok(frame) => {
                    targets.note_leader(Some(address.clone()));
                    return Ok(Done { address, frame });
                }
                Err(Refusal::Elsewhere { failure, leader }) => {
                    targets.note_leader(leader.clone());
                    if let Some(leader) = leader.filter(|leader| !tried.contains(leader)) {
                        waiting.retain(|other| *other != leader);
                        presence.ask(&leader);
                    }
                    // "Not the leader" tells more than "not reachable".
                    if told.is_none() || failure.code == ErrorCode::NoLeader {
                        told = Some(failure);
                    }
                }
                Err(refused) => return Err(refused),
            }
        }
        let failure = told.or_else(|| presence.silence().map(link_failure));
        let failure = failure.unwrap_or_else(|| {
            Failure::new(ErrorCode::Timeout, "there was no node left to ask in time")
        });
        Err(Refusal::Elsewhere {
            failure,
            leader: None,
        })
    }

    /// Sends the errand to a node that is there.
    async fn offer(
        &self,
        address: &str,
        errand: &Errand<'_>,
        deadline: Instant,
    ) -> Result<Frame, Refusal> {
        let link = &self.shared.link;
        // From here on it may be sent, so only an answer can say that it was not taken.
        let left = deadline.saturating_duration_since(Instant::now());
        let request = self.scoped((errand.request)(millis(left)));
        let unknown = |reason: &str| errand.unknown(address, reason);
        let answer = async {
            let mut frames = match link.ask(address, request, errand.body.clone()).await {
                Ok(frames) => frames,
                Err(LinkError::Lost { reason }) => return Err(unknown(&reason)),
                Err(error) => return Err(nothing_sent(error)),
            };
            match frames.next().await {
                Some(Ok(frame)) => match frame.response {
                    Response::Failed { error } => Err(errand.refusal(address, error)),
                    _ => Ok(frame),
                },
                Some(Err(error)) => Err(unknown(&error.to_string())),
                None => Err(unknown("it closed the stream without an answer")),
            }
        };
        let answered = tokio::time::timeout_at(deadline, answer).await;
        answered.unwrap_or_else(|_| Err(unknown("no answer came in time")))
    }
}

impl Errand<'_> {
    fn refusal(&self, address: &str, error: WireError) -> Refusal {
        match error.code {
            ErrorCode::NoLeader | ErrorCode::Draining => Refusal::Elsewhere {
                leader: error.leader.as_ref().map(|leader| leader.address.clone()),
                failure: error.into(),
            },
            // The node waited for the commit and gave up, which does not undo it.
            ErrorCode::Unknown => self.unknown(address, &error.message),
            _ => Refusal::Final(error.into()),
        }
    }

    fn unknown(&self, address: &str, reason: &str) -> Refusal {
        let name = self.name;
        Refusal::Final(Failure::new(
            ErrorCode::Unknown,
            format!(
                "the {name} was sent to {address} but its outcome is unknown ({reason}): it may be \
                 committed, so look before repeating it"
            ),
        ))
    }
}

fn is_election(failure: &Failure) -> bool {
    matches!(failure.code, ErrorCode::NoLeader | ErrorCode::Draining)
}

fn nothing_sent(error: LinkError) -> Refusal {
    let failure = link_failure(error);
    if failure.code == ErrorCode::TooLarge {
        return Refusal::Final(failure);
    }
    Refusal::Elsewhere {
        failure,
        leader: None,
    }
}
