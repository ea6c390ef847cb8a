//! Asking several replicas until one begins to answer.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use store_wire::message::{ErrorCode, Request, Response};
use tokio::time::Instant;

use super::{Shared, link_failure};
use crate::failure::Failure;
use crate::link::{Frame, Frames};

/// How long a replica may take to begin its answer before the next is asked as well.
const HEDGE_DELAY: Duration = Duration::from_millis(750);

/// An answer that has begun.
pub(crate) struct Opened {
    pub(crate) address: String,
    /// The first frame; never `Failed`.
    pub(crate) first: Frame,
    pub(crate) frames: Frames,
}

type Attempt = (String, Result<(Frame, Frames), Failure>);

/// Asks one candidate after another: the next one when the one before has failed, or has not begun
/// to answer within [`HEDGE_DELAY`]; the first answer to begin wins. Reads only: a question may
/// reach several replicas.
pub(crate) struct Race<'a> {
    shared: &'a Shared,
    request: &'a Request,
    waiting: VecDeque<String>,
    running: FuturesUnordered<BoxFuture<'static, Attempt>>,
    /// Who was asked, and when.
    started: Vec<(String, Instant)>,
    failures: Vec<(String, Failure)>,
    deadline: Instant,
}

impl<'a> Race<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        request: &'a Request,
        candidates: Vec<String>,
        deadline: Instant,
    ) -> Self {
        Self {
            shared,
            request,
            waiting: candidates.into(),
            running: FuturesUnordered::new(),
            started: Vec::new(),
            failures: Vec::new(),
            deadline,
        }
    }

    /// The next answer to begin.
    ///
    /// # Errors
    /// A failure no other replica could help with, or all failures as one when none is left.
    pub(crate) async fn next(&mut self) -> Result<Opened, Failure> {
        loop {
            if self.running.is_empty() && !self.start_next() {
                return Err(self.summed_up());
            }
            let hedge_at = (Instant::now() + HEDGE_DELAY).min(self.deadline);
            match tokio::time::timeout_at(hedge_at, self.running.next()).await {
                Ok(Some((address, Ok((first, frames))))) => {
                    self.note_laggards();
                    self.shared.targets.note_success(&address);
                    return Ok(Opened {
                        address,
                        first,
                        frames,
                    });
                }
                Ok(Some((address, Err(failure)))) => {
                    if !failure.may_succeed_elsewhere() {
                        return Err(failure);
                    }
                    self.note_failure(&address, failure);
                    self.start_next();
                }
                Ok(None) => {}
                Err(_) if Instant::now() >= self.deadline => {
                    self.note_laggards();
                    return Err(self.out_of_time());
                }
                Err(_) => {
                    self.start_next();
                }
            }
        }
    }

    /// Notes that a replica whose answer had begun failed all the same.
    pub(crate) fn note_failure(&mut self, address: &str, failure: Failure) {
        if !matches!(failure.code, ErrorCode::Stale | ErrorCode::NoLeader) {
            self.shared.targets.note_failure(address);
        }
        self.failures.push((address.to_owned(), failure));
    }

    /// Notes those that have not begun to answer in the time after which another is asked: asking
    /// them first would cost every question that time.
    fn note_laggards(&self) {
        for (address, started) in &self.started {
            if started.elapsed() >= HEDGE_DELAY {
                self.shared.targets.note_failure(address);
            }
        }
    }

    fn start_next(&mut self) -> bool {
        let Some(address) = self.waiting.pop_front() else {
            return false;
        };
        self.started.push((address.clone(), Instant::now()));
        let asked = self
            .shared
            .link
            .ask(&address, self.request.clone(), Bytes::new());
        let attempt = async move {
            let begun = async {
                let mut frames = asked.await.map_err(link_failure)?;
                match frames.next().await {
                    Some(Ok(frame)) => match frame.response {
                        Response::Failed { error } => Err(error.into()),
                        _ => Ok((frame, frames)),
                    },
                    Some(Err(error)) => Err(link_failure(error)),
                    None => Err(Failure::new(
                        ErrorCode::Internal,
                        format!("{address} closed the stream without an answer"),
                    )),
                }
            };
            let outcome = begun.await;
            (address, outcome)
        };
        self.running.push(attempt.boxed());
        true
    }

    /// All failures as one: the code of the first that says more than "not reachable".
    fn summed_up(&mut self) -> Failure {
        let failures = std::mem::take(&mut self.failures);
        if let [(_, failure)] = failures.as_slice() {
            return failure.clone();
        }
        let telling = failures
            .iter()
            .map(|(_, failure)| failure)
            .find(|failure| failure.code != ErrorCode::Timeout);
        match telling {
            Some(failure) => failure.clone(),
            None => {
                let reasons: Vec<&str> = failures
                    .iter()
                    .map(|(_, failure)| failure.message.as_str())
                    .collect();
                let message = format!("no replica answered: {}", reasons.join("; "));
                Failure::new(ErrorCode::Timeout, message)
            }
        }
    }

    fn out_of_time(&self) -> Failure {
        let reasons: Vec<&str> = self
            .failures
            .iter()
            .map(|(_, failure)| failure.message.as_str())
            .collect();
        let but = if reasons.is_empty() {
            String::new()
        } else {
            format!(" ({})", reasons.join("; "))
        };
        Failure::new(
            ErrorCode::Timeout,
            format!(
                "no answer in time from {}{but}: is a node running there? A longer timeout allows more",
                self.shared.targets.named().join(", ")
            ),
        )
    }
}
