//! Asking several replicas until one begins to answer.
//!
//! Two things are raced. *Reaching* a node: while one is being connected to, the next is tried after
//! [`STAGGER`], so that a dead node costs no more than that (as RFC 8305 does for addresses). And
//! *answering*: a node that has been asked and has not begun to answer when most answers would have, is
//! hedged by asking another. The first answer to begin wins.

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
use crate::link::{Frame, Frames, Link};

/// How long one node may take to be reached before the next is tried as well.
pub(super) const STAGGER: Duration = Duration::from_millis(120);

/// An answer that has begun.
pub(crate) struct Opened {
    pub(crate) address: String,
    /// The first frame; never `Failed`.
    pub(crate) first: Frame,
    pub(crate) frames: Frames,
}

/// What became of one step with one node.
enum Step {
    /// There is a connection.
    Reached(String),
    /// The answer has begun.
    Begun(Opened),
    /// It failed; `asked` if it had been reached before.
    Failed {
        address: String,
        asked: bool,
        failure: Failure,
    },
}

/// A node that is being reached or asked.
struct Runner {
    address: String,
    since: Instant,
    asked: bool,
}

/// Asks candidates in their order. Reads only: a question may reach several replicas.
pub(crate) struct Race<'a> {
    shared: &'a Shared,
    request: &'a Request,
    /// Not tried yet.
    waiting: VecDeque<String>,
    /// Connected, and held back as long as another may answer.
    reached: VecDeque<String>,
    running: FuturesUnordered<BoxFuture<'static, Step>>,
    runners: Vec<Runner>,
    /// How many should be being asked by now.
    wanted: usize,
    failures: Vec<(String, Failure)>,
    /// How long an answer usually takes to begin at most.
    hedge_after: Duration,
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
            reached: VecDeque::new(),
            running: FuturesUnordered::new(),
            runners: Vec::new(),
            wanted: 1,
            failures: Vec::new(),
            hedge_after: shared.pace.hedge_after(request),
            deadline,
        }
    }

    /// The next answer to begin.
    ///
    /// # Errors
    /// A failure no other replica could help with, or all failures as one when none is left.
    pub(crate) async fn next(&mut self) -> Result<Opened, Failure> {
        loop {
            self.go_on();
            if self.runners.is_empty() {
                return Err(self.summed_up());
            }
            let look_at = self.look_at();
            match tokio::time::timeout_at(look_at, self.running.next()).await {
                Ok(Some(Step::Reached(address))) => {
                    self.runners.retain(|runner| runner.address != address);
                    self.reached.push_back(address);
                }
                Ok(Some(Step::Begun(opened))) => {
                    self.note_winner(&opened.address);
                    return Ok(opened);
                }
                Ok(Some(Step::Failed {
                    address,
                    asked,
                    failure,
                })) => {
                    self.runners.retain(|runner| runner.address != address);
                    if asked && !failure.may_succeed_elsewhere() {
                        return Err(failure);
                    }
                    self.note_failure(&address, failure);
                }
                // Unreachable while there are runners; looking again does no harm.
                Ok(None) => self.runners.clear(),
                Err(_) if Instant::now() >= self.deadline => {
                    self.note_laggards();
                    return Err(self.out_of_time());
                }
                Err(_) if self.asking() < self.wanted => self.reach_next(),
                Err(_) => self.wanted += 1,
            }
        }
    }

    /// Notes that a replica failed, also one whose answer had begun.
    pub(crate) fn note_failure(&mut self, address: &str, failure: Failure) {
        if !matches!(
            failure.code,
            ErrorCode::Stale | ErrorCode::Gone | ErrorCode::NoLeader
        ) {
            let targets = &self.shared.targets;
            targets.note_failure(address, failure.retry_after);
        }
        self.failures.push((address.to_owned(), failure));
    }

    /// Asks as many as should be asked, or sees to it that another can be.
    fn go_on(&mut self) {
        while self.asking() < self.wanted
            && let Some(address) = self.reached.pop_front()
        {
            self.ask(address);
        }
        let is_reaching = self.runners.iter().any(|runner| !runner.asked);
        if self.asking() < self.wanted && !is_reaching {
            self.reach_next();
        }
    }

    /// When something is to be done although nothing happened.
    fn look_at(&self) -> Instant {
        let last = |asked| {
            let runners = self.runners.iter().filter(|runner| runner.asked == asked);
            runners.map(|runner| runner.since).max()
        };
        let is_left = !self.waiting.is_empty();
        let next = if self.asking() < self.wanted {
            last(false).filter(|_| is_left).map(|since| since + STAGGER)
        } else if is_left || !self.reached.is_empty() || last(false).is_some() {
            last(true).map(|since| since + self.hedge_after)
        } else {
            None
        };
        next.map_or(self.deadline, |next| next.min(self.deadline))
    }

    fn asking(&self) -> usize {
        self.runners.iter().filter(|runner| runner.asked).count()
    }

    fn reach_next(&mut self) {
        let Some(address) = self.waiting.pop_front() else {
            return;
        };
        let reached = self.shared.link.reach(&address);
        self.run(address.clone(), false);
        let step = async move {
            match reached.await {
                Ok(()) => Step::Reached(address),
                Err(error) => Step::Failed {
                    failure: link_failure(error),
                    asked: false,
                    address,
                },
            }
        };
        self.running.push(step.boxed());
    }

    fn ask(&mut self, address: String) {
        let began = begin(&*self.shared.link, &address, self.request.clone());
        self.run(address.clone(), true);
        let step = async move {
            match began.await {
                Ok((first, frames)) => Step::Begun(Opened {
                    address,
                    first,
                    frames,
                }),
                Err(failure) => Step::Failed {
                    failure,
                    asked: true,
                    address,
                },
            }
        };
        self.running.push(step.boxed());
    }

    fn run(&mut self, address: String, asked: bool) {
        let since = Instant::now();
        self.runners.push(Runner {
            address,
            since,
            asked,
        });
    }

    fn note_winner(&mut self, winner: &str) {
        self.shared.targets.note_success(winner);
        let won = self.runners.iter().position(|runner| {
            // A node is reached before it is asked, and asked once.
            runner.asked && runner.address == winner
        });
        if let Some(won) = won {
            let runner = self.runners.swap_remove(won);
            self.shared.pace.note(self.request, runner.since.elapsed());
        }
        self.note_laggards();
    }

    /// Notes those on whose account another was tried: beginning with them would cost every question
    /// that time.
    fn note_laggards(&self) {
        for runner in &self.runners {
            let patience = match runner.asked {
                true => self.hedge_after,
                false => STAGGER,
            };
            if runner.since.elapsed() >= patience {
                self.shared.targets.note_failure(&runner.address, None);
            }
        }
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

/// Asks one node and waits for the first frame of its answer, which is never `Failed`.
pub(super) fn begin(
    link: &dyn Link,
    address: &str,
    request: Request,
) -> impl Future<Output = Result<(Frame, Frames), Failure>> + Send + 'static + use<> {
    let asked = link.ask(address, request, Bytes::new());
    let address = address.to_owned();
    async move {
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
    }
}
