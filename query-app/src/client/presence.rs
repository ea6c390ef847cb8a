//! Which nodes are there, before anything is sent that must not be lost.
//!
//! A connection that is kept may lead to a node that is gone, and what is sent there would be lost with
//! an unknown outcome. So a sign of life is waited for first. Several nodes are waited for at a time, each
//! asked a little after the one before: one that is gone holds nothing up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use store_wire::message::{ErrorCode, Request};
use tokio::time::Instant;

use super::race::STAGGER;
use super::targets::Targets;
use crate::link::{Link, LinkError};

/// Nodes whose sign of life is awaited.
pub(super) struct Presence {
    link: Arc<dyn Link>,
    asking: FuturesUnordered<BoxFuture<'static, Shown>>,
    /// Who was asked and has not answered, and since when, the longest first.
    pending: Vec<(String, Instant)>,
}

/// What became of one node: it is there, or why not.
pub(super) type Shown = (String, Result<(), LinkError>);

impl Presence {
    pub(super) fn new(link: Arc<dyn Link>) -> Self {
        Self {
            link,
            asking: FuturesUnordered::new(),
            pending: Vec::new(),
        }
    }

    /// Asks a node for a sign of life, unless it is being asked.
    pub(super) fn ask(&mut self, address: &str) {
        if self.pending.iter().any(|(pending, _)| pending == address) {
            return;
        }
        self.pending.push((address.to_owned(), Instant::now()));
        let asked = self.link.ask(address, Request::Status, Bytes::new());
        let address = address.to_owned();
        let asking = async move {
            let shown = async {
                match asked.await?.next().await {
                    Some(Ok(_)) => Ok(()),
                    Some(Err(error)) => Err(error),
                    None => Err(LinkError::Lost {
                        reason: format!("{address} closed the stream without an answer"),
                    }),
                }
            };
            let shown = shown.await;
            (address, shown)
        };
        self.asking.push(asking.boxed());
    }

    /// The next node that shows itself, or fails. Those of `waiting` are asked in their order, one after
    /// the other; when all have been asked, the last of them is waited for as long as `patience`.
    /// `None` when no more come.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn next(
        &mut self,
        waiting: &mut VecDeque<String>,
        patience: Duration,
        deadline: Instant,
    ) -> Option<Shown> {
        loop {
            let newest = self.pending.iter().map(|(_, since)| *since).max();
            let is_due = newest.is_none_or(|newest| newest.elapsed() >= STAGGER);
            if is_due && let Some(address) = waiting.pop_front() {
                self.ask(&address);
                continue;
            }
            let newest = newest?;
            let patience = if waiting.is_empty() {
                patience
            } else {
                STAGGER
            };
            let until = (newest + patience).min(deadline);
            match tokio::time::timeout_at(until, self.asking.next()).await {
                Ok(Some(shown)) => {
                    self.pending.retain(|(pending, _)| *pending != shown.0);
                    return Some(shown);
                }
                Ok(None) => return None,
                Err(_) if waiting.is_empty() || Instant::now() >= deadline => return None,
                Err(_) => {}
            }
        }
    }

    /// The error of a node that has not answered, if there is one.
    pub(super) fn silence(&self) -> Option<LinkError> {
        let (address, _) = self.pending.first()?;
        Some(LinkError::NotAsked {
            code: ErrorCode::Timeout,
            reason: format!("{address} did not answer in time: does a node run there?"),
        })
    }

    /// Notes those that would have held everything up.
    pub(super) fn note_laggards(&self, targets: &Targets) {
        for (address, since) in &self.pending {
            if since.elapsed() >= STAGGER {
                targets.note_failure(address, None);
            }
        }
    }
}
