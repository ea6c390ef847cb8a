//! Brings batches to the leader: finds it, follows it, and survives its loss.
//!
//! A courier runs one session after the other (see `courier/session.rs`) until nothing follows and
//! all is acknowledged. Between sessions it decides where to go: to the leader that was named, else
//! to every target and every member it has heard of in turn, with growing, jittered pauses. What
//! was sent and not acknowledged is sent again; the store suppresses what it had applied.

mod backoff;
mod patience;
mod route;
mod session;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use store_wire::client::{Dialer, IngestError, IngestSession, SpoolHello};
use store_wire::endpoint::{CloseCode, ConnectError, Connection, Protocol};
use store_wire::message::{ErrorCode, WireError};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use self::backoff::Backoff;
use self::patience::Patience;
use self::route::Route;
use self::session::SessionEnd;
use crate::board::Board;
use crate::intake::Intake;
use crate::outbox::{Outbox, OutboxError};
use crate::spool::SetAsideError;

/// How long the store may take to say welcome: a new epoch goes through its log, which may have to
/// wait for an election.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// How often trouble that goes on is mentioned.
const REMINDER: Duration = Duration::from_secs(10);
/// How long a node that did not answer is passed over: until the others have elected another leader.
const SHUNNED: Duration = Duration::from_secs(2);
/// The one shard there is.
const SHARD: u32 = 0;

/// What a courier needs.
#[derive(Debug)]
pub struct CourierConfig {
    /// Dials the store.
    pub dialer: Dialer,
    /// Where to begin looking, `HOST[:PORT]`.
    pub targets: Vec<String>,
    /// Tells several producers of one identity apart.
    pub instance: Option<String>,
    /// The spool's epoch, if it has one.
    pub epoch: Option<u64>,
    /// Give up after so long without a leader; never when `None`.
    pub patience: Option<Duration>,
    /// Seed of the jitter.
    pub seed: u64,
}

/// Why a courier gave up. What it had not delivered is still in the outbox.
#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    /// Another agent uses this identity and instance with a newer spool.
    #[error(
        "fenced: another agent uses this identity and instance with a newer spool; give one of them another --instance: {0}"
    )]
    Fenced(WireError),
    /// The store will never take what was sent.
    #[error("the store refuses this agent: {0}")]
    Refused(WireError),
    /// The store will never take a batch, and there is no place to set it aside.
    #[error("the store refuses a batch ({refusal}), and it stays in the spool: {reason}")]
    NotSetAside {
        /// What the store says.
        refusal: WireError,
        /// Why it cannot be set aside.
        reason: SetAsideError,
    },
    /// No node lets this agent in.
    #[error(transparent)]
    NotAdmitted(ConnectError),
    /// Nobody answered for too long.
    #[error("no leader found at {targets} within {patience:?}: {last}")]
    NoLeader {
        /// Where it was looked for.
        targets: String,
        /// For how long.
        patience: Duration,
        /// What the last attempt said.
        last: String,
    },
    /// The outbox has failed.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

/// Brings the batches of one producer to the store.
#[derive(Debug)]
pub struct Courier {
    config: CourierConfig,
    outbox: Arc<Outbox>,
    intake: Intake,
    board: Arc<Board>,
    route: Route,
    backoff: Backoff,
    patience: Patience,
    /// The node that did not answer last, and when it was given up.
    given_up: Option<(String, Instant)>,
    /// Series whose refusal was reported.
    refused: BTreeSet<u32>,
    was_welcome: bool,
    /// When a leader was last heard, or the search began.
    last_heard: Instant,
    last_reminder: Option<Instant>,
    /// Nodes in a row that will not let this agent in.
    not_admitted: usize,
}

/// What to do after an attempt that failed.
enum Next {
    /// Go on at once.
    Now,
    /// Wait at least as long as the store asked for.
    After(Duration),
    /// Wait a little longer each time.
    Backoff,
    GiveUp(CourierError),
}

impl Courier {
    /// A courier that has not begun.
    pub fn new(
        config: CourierConfig,
        outbox: Arc<Outbox>,
        intake: Intake,
        board: Arc<Board>,
    ) -> Self {
        Self {
            route: Route::new(config.targets.clone()),
            backoff: Backoff::new(config.seed),
            patience: Patience::default(),
            given_up: None,
            config,
            outbox,
            intake,
            board,
            refused: BTreeSet::new(),
            was_welcome: false,
            last_heard: Instant::now(),
            last_reminder: None,
            not_admitted: 0,
        }
    }

    /// Delivers until nothing follows and all is acknowledged.
    ///
    /// # Cancel safety
    /// Safe: what is not acknowledged stays in the outbox.
    ///
    /// # Errors
    /// [`CourierError`] when it makes no sense to go on.
    pub async fn run(mut self) -> Result<(), CourierError> {
        loop {
            let target = self.next_target();
            let failure = match self.serve(&target).await {
                Ok(()) => return Ok(()),
                Err(end) => end,
            };
            self.board.disconnected();
            let told = failure.to_string();
            let next = match self.set_aside(&failure).await {
                Some(next) => next,
                None => self.judge(failure),
            };
            if !matches!(next, Next::Now) {
                self.remind(&target, &told);
            }
            match next {
                Next::Now => debug!(%target, "{told}"),
                Next::After(pause) => sleep(self.backoff.spread(pause)).await,
                Next::Backoff => sleep(self.backoff.next()).await,
                Next::GiveUp(error) => return Err(error),
            }
            if let Some(patience) = self.config.patience
                && self.last_heard.elapsed() >= patience
            {
                return Err(CourierError::NoLeader {
                    targets: self.config.targets.join(", "),
                    patience,
                    last: told,
                });
            }
        }
    }

    /// One session, from dialling to its end.
    async fn serve(&mut self, target: &str) -> Result<(), SessionEnd> {
        let connection = self
            .config
            .dialer
            .connect(target, Protocol::Ingest)
            .await
            .map_err(SessionEnd::NotConnected)?;
        let hello = SpoolHello {
            shard: SHARD,
            epoch: self.config.epoch,
            instance: self.config.instance.clone(),
        };
        let opened = timeout(WELCOME_TIMEOUT, IngestSession::open(&connection, hello)).await;
        let Ok(session) = opened else {
            self.give_up(target, &connection);
            return Err(SessionEnd::Stalled);
        };
        let session = session?;
        self.welcome(target, &session).await?;
        let outcome = session::run(
            session,
            &self.outbox,
            &self.intake,
            &mut self.refused,
            &mut self.patience,
        )
        .await;
        if matches!(outcome, Err(SessionEnd::Stalled)) {
            self.patience.gave_up();
            self.give_up(target, &connection);
        }
        self.last_heard = Instant::now();
        outcome
    }

    /// A node that does not answer is not tried again at once, though the others name it until they
    /// have elected another, and not over a connection that may lead nowhere.
    fn give_up(&mut self, target: &str, connection: &Connection) {
        connection.close(CloseCode::Done, "no answer came");
        self.given_up = Some((target.to_owned(), Instant::now()));
    }

    fn was_given_up(&self, target: &str) -> bool {
        let given_up = self.given_up.as_ref();
        given_up.is_some_and(|(silent, since)| silent == target && since.elapsed() < SHUNNED)
    }

    fn next_target(&mut self) -> String {
        let target = self.route.next();
        if self.was_given_up(&target) {
            return self.route.next();
        }
        target
    }

    async fn welcome(&mut self, target: &str, session: &IngestSession) -> Result<(), SessionEnd> {
        let welcome = session.welcome;
        match self.config.epoch {
            Some(epoch) if epoch == welcome.epoch => {}
            Some(_) => return Err(IngestError::OutOfTurn.into()),
            // The epoch names the batches: it must survive before any of them is sent.
            None => {
                self.intake.keep_epoch(welcome.epoch).await?;
                self.config.epoch = Some(welcome.epoch);
            }
        }
        self.outbox.begin_session(welcome.next_sequence)?;
        info!(%target, node = welcome.node, epoch = welcome.epoch, "connected to the leader");
        self.board.connected(target, self.was_welcome);
        self.was_welcome = true;
        self.last_heard = Instant::now();
        self.last_reminder = None;
        self.not_admitted = 0;
        self.backoff.reset();
        self.route.arrived(target);
        Ok(())
    }

    /// Takes a batch that the store can never take out of the way of the others, if one is the
    /// reason of `failure`.
    async fn set_aside(&mut self, failure: &SessionEnd) -> Option<Next> {
        let SessionEnd::Ingest(IngestError::Failed(refusal)) = failure else {
            return None;
        };
        let letter = self.outbox.dead_letter(refusal.batch?)?;
        self.route.stay();
        Some(match self.intake.set_aside(letter).await {
            Ok(()) => Next::Backoff,
            Err(SetAsideError::NoSpool) => return None,
            Err(reason) => Next::GiveUp(CourierError::NotSetAside {
                refusal: refusal.clone(),
                reason,
            }),
        })
    }

    fn judge(&mut self, failure: SessionEnd) -> Next {
        match failure {
            SessionEnd::NotConnected(error) => self.judge_connect(error),
            SessionEnd::Ingest(IngestError::Failed(error)) => self.judge_wire(error),
            SessionEnd::Ingest(_) | SessionEnd::Stalled => Next::Backoff,
            SessionEnd::Outbox(error) => Next::GiveUp(error.into()),
        }
    }

    fn judge_connect(&mut self, error: ConnectError) -> Next {
        if error.is_retryable() {
            self.not_admitted = 0;
            return Next::Backoff;
        }
        self.not_admitted += 1;
        // A cluster that knew us before may only be changing its certificates.
        if !self.was_welcome && self.not_admitted >= self.route.len() {
            return Next::GiveUp(CourierError::NotAdmitted(error));
        }
        Next::Backoff
    }

    fn judge_wire(&mut self, error: WireError) -> Next {
        match error.code {
            ErrorCode::NoLeader => match &error.leader {
                Some(leader) if self.was_given_up(&leader.address) => Next::Backoff,
                Some(leader) if self.route.suggest(&leader.address) => Next::Now,
                _ => Next::Backoff,
            },
            ErrorCode::Overloaded => {
                self.route.stay();
                let pause = error.retry_after_ms.map(Duration::from_millis);
                pause.map_or(Next::Backoff, Next::After)
            }
            ErrorCode::NoSpace => {
                self.route.stay();
                Next::Backoff
            }
            ErrorCode::Fenced => Next::GiveUp(CourierError::Fenced(error)),
            ErrorCode::BadRequest
            | ErrorCode::TooLarge
            | ErrorCode::KindMismatch
            | ErrorCode::Conflict
            | ErrorCode::NotFound
            | ErrorCode::Unauthenticated
            | ErrorCode::Forbidden => Next::GiveUp(CourierError::Refused(error)),
            ErrorCode::Draining
            | ErrorCode::Unknown
            | ErrorCode::Timeout
            | ErrorCode::Stale
            | ErrorCode::Gone
            | ErrorCode::Internal => Next::Backoff,
        }
    }

    /// Says what is wrong: at once when it begins, then now and then.
    fn remind(&mut self, target: &str, told: &str) {
        let is_due = self
            .last_reminder
            .is_none_or(|last| last.elapsed() >= REMINDER);
        if is_due {
            self.last_reminder = Some(Instant::now());
            warn!(
                waiting_readings = self.outbox.waiting_readings(),
                "{target}: {told}; trying again"
            );
        }
    }
}
