//! Writing readings: to the leader, followed to another one, never twice.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use sensor_model::Token;
use store_wire::message::{ErrorCode, Request, Response, WireError};
use tokio::time::Instant;

use super::answer::Written;
use super::batch::{Batch, LooseReading, batch_of};
use super::{Client, ELECTION_PAUSE, link_failure, millis, out_of_place};
use crate::failure::Failure;
use crate::link::LinkError;
use crate::question::Terms;

/// How long one node may take to show that it is there before the next is tried.
const PRESENCE_TIMEOUT: Duration = Duration::from_millis(1500);

/// How one attempt ended that did not commit.
enum Refusal {
    /// Nothing was written and another node may take it; `leader` if it was named.
    Elsewhere {
        failure: Failure,
        leader: Option<String>,
    },
    /// Trying again would not help, or might write twice.
    Final(Failure),
}

impl Client {
    /// Writes `readings` as one batch and waits until it is committed and applied. Each gets the kind
    /// of its series: the one told, else that of the existing series, else its literal's own.
    ///
    /// Dropping the future leaves the outcome unknown. A batch is sent again only when it is certain
    /// that it was not taken.
    ///
    /// # Errors
    /// [`ErrorCode::Unknown`] when the batch was sent and no answer came: it may be committed. Every
    /// other code but [`ErrorCode::Internal`] means that nothing was written.
    pub async fn write(
        &self,
        readings: Vec<LooseReading>,
        terms: &Terms,
    ) -> Result<Written, Failure> {
        let deadline = Instant::now() + terms.timeout;
        let count = readings.len() as u64;
        let batch = batch_of(self.settle(readings, terms).await?)?;
        loop {
            let failure = match self.write_round(&batch, deadline).await {
                Ok(token) => {
                    for series in &batch.series {
                        self.remember_kind(&series.path, series.kind);
                    }
                    return Ok(Written {
                        token,
                        readings: count,
                    });
                }
                Err(Refusal::Final(failure)) => return Err(failure),
                Err(Refusal::Elsewhere { failure, .. }) => failure,
            };
            // Nodes that know of no leader, or name each other, are an election under way.
            let again = Instant::now() + ELECTION_PAUSE;
            let is_election = matches!(failure.code, ErrorCode::NoLeader | ErrorCode::Draining);
            if !is_election || again >= deadline {
                return Err(failure);
            }
            tokio::time::sleep_until(again).await;
        }
    }

    /// Offers the batch to each node once, to a leader as soon as one is named.
    async fn write_round(&self, batch: &Batch, deadline: Instant) -> Result<Token, Refusal> {
        let targets = &self.shared.targets;
        let mut waiting = VecDeque::from(targets.for_writes());
        let mut tried: Vec<String> = Vec::new();
        let mut told = None;
        while let Some(address) = waiting.pop_front() {
            if tried.contains(&address) {
                continue;
            }
            let outcome = self.offer(&address, batch, deadline).await;
            match outcome {
                Ok(token) => {
                    targets.note_leader(Some(address));
                    return Ok(token);
                }
                Err(Refusal::Elsewhere { failure, leader }) => {
                    targets.note_leader(leader.clone());
                    if let Some(leader) = leader {
                        waiting.push_front(leader);
                    }
                    // "Not the leader" tells more than "not reachable".
                    if told.is_none() || failure.code == ErrorCode::NoLeader {
                        told = Some(failure);
                    }
                }
                refused => return refused,
            }
            tried.push(address);
        }
        let failure = told.unwrap_or_else(|| {
            Failure::new(ErrorCode::Timeout, "there was no node left to ask in time")
        });
        Err(Refusal::Elsewhere {
            failure,
            leader: None,
        })
    }

    async fn offer(
        &self,
        address: &str,
        batch: &Batch,
        deadline: Instant,
    ) -> Result<Token, Refusal> {
        let link = &self.shared.link;
        let present_by = (Instant::now() + PRESENCE_TIMEOUT).min(deadline);
        let present = tokio::time::timeout_at(present_by, self.presence(address)).await;
        let present = present.unwrap_or_else(|_| {
            Err(LinkError::NotAsked {
                code: ErrorCode::Timeout,
                reason: format!("{address} did not answer in time: does a node run there?"),
            })
        });
        if let Err(error) = present {
            self.shared.targets.note_failure(address);
            return Err(nothing_sent(error));
        }
        // From here on the batch may be sent, so only an answer can say that it was not taken.
        let left = deadline.saturating_duration_since(Instant::now());
        let request = Request::Write {
            series: batch.series.clone(),
            timeout_ms: millis(left),
        };
        let answer = async {
            let mut frames = match link.ask(address, request, batch.bytes.clone()).await {
                Ok(frames) => frames,
                Err(LinkError::Lost { reason }) => return Err(unknown(address, &reason)),
                Err(error) => return Err(nothing_sent(error)),
            };
            match frames.next().await {
                Some(Ok(frame)) => match frame.response {
                    Response::Written { token } => Ok(token),
                    Response::Failed { error } => Err(refusal(address, error)),
                    _ => Err(Refusal::Final(out_of_place(address, &frame))),
                },
                Some(Err(error)) => Err(unknown(address, &error.to_string())),
                None => Err(unknown(address, "it closed the stream without an answer")),
            }
        };
        let answered = tokio::time::timeout_at(deadline, answer).await;
        answered.unwrap_or_else(|_| Err(unknown(address, "no answer came in time")))
    }

    /// Waits for any sign of life. A connection that is kept may lead to a node that is gone, and a
    /// write sent there would be lost with an unknown outcome.
    async fn presence(&self, address: &str) -> Result<(), LinkError> {
        let asked = self.shared.link.ask(address, Request::Status, Bytes::new());
        match asked.await?.next().await {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(error),
            None => Err(LinkError::Lost {
                reason: format!("{address} closed the stream without an answer"),
            }),
        }
    }
}

fn refusal(address: &str, error: WireError) -> Refusal {
    match error.code {
        ErrorCode::NoLeader | ErrorCode::Draining => Refusal::Elsewhere {
            leader: error.leader.as_ref().map(|leader| leader.address.clone()),
            failure: error.into(),
        },
        // The node waited for the commit and gave up, which does not undo it.
        ErrorCode::Unknown => unknown(address, &error.message),
        _ => Refusal::Final(error.into()),
    }
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

fn unknown(address: &str, reason: &str) -> Refusal {
    Refusal::Final(Failure::new(
        ErrorCode::Unknown,
        format!(
            "the write was sent to {address} but its outcome is unknown ({reason}): it may be \
             committed, so look before writing it again"
        ),
    ))
}
