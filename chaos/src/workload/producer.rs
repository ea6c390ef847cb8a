//! A producer: sends its batches in order to whoever leads, again after every loss, and a few of them
//! again without need.
//!
//! It is its own spool: any batch can be made again from its sequence. It keeps the protocol of
//! `docs/protocol.md`, *Ingest*, and uses what that allows: batches that the store has are sent again
//! after reconnecting and in between, as an agent would that lost acknowledgements.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use store_wire::client::{
    Dialer, IngestError, IngestReceiver, IngestSender, IngestSession, SpoolHello,
};
use store_wire::endpoint::Protocol;
use store_wire::message::{ErrorCode, ToProducer};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Roster;
use crate::history::{Event, Recorder};
use crate::readings::Script;

/// Batches that wait for an acknowledgement at most; beyond, the source pauses.
const BACKLOG_MAX: u64 = 1000;
/// Without an acknowledgement for so long, another leader is looked for: a leader that was killed says
/// nothing. It is part of every write gap that is measured.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a leader may take to say welcome, and a batch to be sent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a node that went silent is passed over, as agents do: others name it until they have elected
/// another.
const SHUNNED: Duration = Duration::from_secs(2);
/// How long to wait before the next node is tried.
const PAUSE: Duration = Duration::from_millis(100);
/// Batches that were acknowledged and are sent again, at most.
const REPEATED_MAX: u64 = 20;
/// How often batches are sent again in between, a batch.
const REPEATING: f64 = 0.01;

/// A producer with its progress.
pub struct Producer {
    script: Script,
    batches_a_second: f64,
    chance: ChaCha8Rng,
    dialer: Dialer,
    roster: Roster,
    recorder: Recorder,
    epoch: Option<u64>,
    /// When its first batch was due.
    began: Instant,
    /// Batches made so far.
    made: u64,
    /// Batches sent so far.
    sent: u64,
    /// Batches acknowledged.
    acked: u64,
    /// Who leads, as a node said.
    leader: Option<String>,
    /// Who went silent last, and when.
    silent: Option<(String, Instant)>,
}

/// A session's state.
struct Session {
    sender: IngestSender,
    receiver: IngestReceiver,
    /// The next batch to be sent.
    cursor: u64,
    heard: Instant,
}

impl Producer {
    /// A producer that has not begun.
    pub fn new(
        number: u32,
        batches_a_second: f64,
        seed: u64,
        dialer: Dialer,
        roster: Roster,
        recorder: Recorder,
    ) -> Self {
        Self {
            script: Script { producer: number },
            batches_a_second,
            chance: ChaCha8Rng::seed_from_u64(seed ^ (u64::from(number) << 8)),
            dialer,
            roster,
            recorder,
            epoch: None,
            began: Instant::now(),
            made: 0,
            sent: 0,
            acked: 0,
            leader: None,
            silent: None,
        }
    }

    /// Goes on until `enough` is cancelled and all is acknowledged.
    ///
    /// # Errors
    /// When the store refuses what it must take.
    pub async fn run(mut self, enough: CancellationToken) -> Result<()> {
        loop {
            let Some(address) = self.target() else {
                sleep(PAUSE).await;
                continue;
            };
            match self.serve(&address, &enough).await {
                Ok(()) => return Ok(()),
                Err(end) => {
                    if matches!(end, End::Lost) {
                        self.silent = Some((address, Instant::now()));
                    }
                    self.judge(end)?;
                }
            }
            if self.leader.is_none() {
                sleep(PAUSE).await;
            }
        }
    }

    /// The leader if one was named, which is forgotten with that; else any node. Not one that went silent
    /// just now, unless there is no other.
    fn target(&mut self) -> Option<String> {
        let silent = self.silent.take_if(|(_, since)| since.elapsed() < SHUNNED);
        let is_silent =
            |address: &str| silent.as_ref().is_some_and(|(silent, _)| silent == address);
        let mut addresses: Vec<String> = self
            .roster
            .seats()
            .into_iter()
            .map(|seat| seat.address)
            .collect();
        if addresses.len() > 1 {
            addresses.retain(|address| !is_silent(address));
        }
        let named = self.leader.take().filter(|leader| !is_silent(leader));
        let at = self.chance.random_range(0..addresses.len().max(1));
        self.silent = silent;
        named.or_else(|| (at < addresses.len()).then(|| addresses.swap_remove(at)))
    }

    /// Remembers who leads; fails where going on makes no sense.
    fn judge(&mut self, end: End) -> Result<()> {
        let error = match end {
            End::Failed(IngestError::Failed(error)) => error,
            End::Failed(_) | End::Lost => return Ok(()),
            End::Harness(error) => return Err(error),
        };
        match error.code {
            ErrorCode::NoLeader => {
                self.leader = error.leader.map(|leader| leader.address);
                Ok(())
            }
            code if code.is_retryable() || code == ErrorCode::Internal => Ok(()),
            _ => bail!("producer {} is refused: {error}", self.script.producer),
        }
    }

    /// One conversation, until all is done or it breaks.
    async fn serve(&mut self, address: &str, enough: &CancellationToken) -> Result<(), End> {
        let connection = self.dialer.connect(address, Protocol::Ingest).await;
        let connection = connection.map_err(|_| End::Lost)?;
        let hello = SpoolHello {
            epoch: self.epoch,
            ..SpoolHello::default()
        };
        let opened = timeout(ANSWER_TIMEOUT, IngestSession::open(&connection, hello)).await;
        let mut session = self.welcome(opened.map_err(|_| End::Lost)??)?;
        let declared = self.script.declarations().map_err(End::Harness)?;
        session.sender.declare(declared).await?;
        loop {
            if enough.is_cancelled() && self.acked == self.made {
                return Ok(());
            }
            if self.acked < self.sent && session.heard.elapsed() > STALL_TIMEOUT {
                return Err(End::Lost);
            }
            self.make(enough);
            if session.cursor <= self.made {
                let sending = timeout(ANSWER_TIMEOUT, self.send(&mut session)).await;
                sending.map_err(|_| End::Lost)??;
                // What has come meanwhile is heard first.
                self.listen(&mut session, Duration::ZERO).await?;
            } else {
                self.listen(&mut session, self.until_next()).await?;
            }
        }
    }

    fn welcome(&mut self, session: IngestSession) -> Result<Session, End> {
        let IngestSession {
            welcome,
            sender,
            receiver,
        } = session;
        self.epoch = Some(welcome.epoch);
        self.recorder.note(Event::Welcomed {
            at: self.recorder.now(),
            producer: self.script.producer,
            node: welcome.node,
            next: welcome.next_sequence,
        });
        // Sometimes as an agent that has lost acknowledgements: what the store has comes again.
        let again = self.chance.random_range(0..=REPEATED_MAX);
        let known = welcome.next_sequence.min(self.made + 1);
        Ok(Session {
            sender,
            receiver,
            cursor: known.saturating_sub(again).max(1),
            heard: Instant::now(),
        })
    }

    /// Makes the batches that are due, as long as there is room for them.
    fn make(&mut self, enough: &CancellationToken) {
        if enough.is_cancelled() {
            return;
        }
        while self.until_next().is_zero() {
            if self.made - self.acked >= BACKLOG_MAX {
                // The source pauses: what it misses is not made up for.
                self.began = Instant::now() - self.period(self.made);
                return;
            }
            self.made += 1;
        }
    }

    fn period(&self, batches: u64) -> Duration {
        Duration::from_secs_f64(batches as f64 / self.batches_a_second)
    }

    /// How long until the next batch is due.
    fn until_next(&self) -> Duration {
        let due = self.began + self.period(self.made + 1);
        due.saturating_duration_since(Instant::now())
    }

    async fn send(&mut self, session: &mut Session) -> Result<(), End> {
        let sequence = session.cursor;
        let batch = self.script.batch(sequence).map_err(End::Harness)?;
        if self.acked == self.sent {
            session.heard = Instant::now();
        }
        if sequence > self.sent {
            self.sent = sequence;
            self.recorder.note(Event::Sent {
                at: self.recorder.now(),
                producer: self.script.producer,
                sequence,
            });
        }
        session.cursor += 1;
        session.sender.send(sequence, 0, 0, batch).await?;
        if self.chance.random_bool(REPEATING) {
            let again = self.chance.random_range(1..=REPEATED_MAX);
            session.cursor = session.cursor.saturating_sub(again).max(1);
        }
        Ok(())
    }

    /// Hears what comes within `patience`, at least what is there.
    async fn listen(&mut self, session: &mut Session, patience: Duration) -> Result<(), End> {
        let until = Instant::now() + patience;
        let message = tokio::select! {
            biased;
            message = session.receiver.receive() => message?,
            () = sleep_until(until.min(session.heard + STALL_TIMEOUT)) => return Ok(()),
        };
        session.heard = Instant::now();
        match message {
            ToProducer::Ack { through, token, .. } => {
                self.acked = self.acked.max(through);
                self.recorder.note(Event::Acked {
                    at: self.recorder.now(),
                    producer: self.script.producer,
                    through,
                    index: token.index,
                });
                Ok(())
            }
            ToProducer::Rewind { expected } => {
                session.cursor = expected.clamp(1, self.made + 1);
                Ok(())
            }
            other => Err(End::Harness(anyhow!("the store says {other:?}"))),
        }
    }
}

/// How a conversation ended before all was done.
enum End {
    /// It was lost, or went silent.
    Lost,
    /// The store or the way to it failed.
    Failed(IngestError),
    /// The harness did.
    Harness(anyhow::Error),
}

impl From<IngestError> for End {
    fn from(error: IngestError) -> Self {
        Self::Failed(error)
    }
}
