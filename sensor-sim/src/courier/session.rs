//! One conversation with the leader: batches out, acknowledgements in, side by side.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use sensor_model::SeriesDescription;
use store_wire::client::{IngestError, IngestReceiver, IngestSender, IngestSession};
use store_wire::endpoint::ConnectError;
use store_wire::message::ToProducer;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::patience::{DECLARED, Patience};
use crate::intake::Intake;
use crate::outbox::{Outbox, OutboxError, Turn};
use crate::spool::described_bytes;

/// Declarations are sent in messages of about this size, well below a frame's bound.
const DECLARATION_BYTES: usize = 64 << 10;

/// Why a session is over before everything was delivered.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionEnd {
    #[error("{}", Chain(.0))]
    NotConnected(ConnectError),
    #[error("{}", Chain(.0))]
    Ingest(#[from] IngestError),
    #[error("the leader does not answer")]
    Stalled,
    #[error("{0}")]
    Outbox(#[from] OutboxError),
}

/// An error with its causes, on one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// When the leader was last heard of, and how long it may be silent from then on.
#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Instant,
    allowed: Duration,
}

impl Heard {
    /// The leader has been given so many series to open, too.
    fn declared(&mut self, series: usize) {
        let series = u32::try_from(series).unwrap_or(u32::MAX);
        self.allowed = self.allowed.saturating_add(DECLARED.saturating_mul(series));
    }
}

/// Delivers until nothing follows and all is acknowledged, or the session ends.
///
/// # Cancel safety
/// Safe: what is not acknowledged stays in the outbox.
pub(super) async fn run(
    session: IngestSession,
    outbox: &Outbox,
    intake: &Intake,
    refused: &mut BTreeSet<u32>,
    patience: &mut Patience,
) -> Result<(), SessionEnd> {
    let IngestSession {
        mut sender,
        receiver,
        ..
    } = session;
    let (heard, last_heard) = watch::channel(Heard {
        at: Instant::now(),
        allowed: patience.allowed(),
    });
    let delivered = tokio::select! {
        outcome = send(&mut sender, outbox, &heard) => outcome,
        Err(end) = receive(receiver, outbox, intake, refused, (patience, &heard)) => Err(end),
        () = stall(outbox, &last_heard) => Err(SessionEnd::Stalled),
    };
    if delivered.is_ok() {
        // All is acknowledged: whether the goodbye arrives changes nothing.
        let _ = sender.finish().await;
    }
    delivered
}

async fn send(
    sender: &mut IngestSender,
    outbox: &Outbox,
    heard: &watch::Sender<Heard>,
) -> Result<(), SessionEnd> {
    let mut declared = 0;
    loop {
        let outgoing = match outbox.next().await? {
            Turn::Send(outgoing) => outgoing,
            Turn::Drained => return Ok(()),
        };
        if outgoing.series > declared {
            for series in messages(outbox.series(declared, outgoing.series)) {
                heard.send_modify(|heard| heard.declared(series.len()));
                sender.declare(series).await?;
            }
            declared = outgoing.series;
        }
        sender.ready(outgoing.bytes.len()).await?;
        // While waiting for room the store may have asked to begin again elsewhere.
        if outbox.begin_send(outgoing.sequence) {
            sender
                .send(
                    outgoing.sequence,
                    outgoing.skipped,
                    outgoing.dropped_readings,
                    outgoing.bytes,
                )
                .await?;
        }
    }
}

async fn receive(
    mut receiver: IngestReceiver,
    outbox: &Outbox,
    intake: &Intake,
    refused: &mut BTreeSet<u32>,
    (patience, heard): (&mut Patience, &watch::Sender<Heard>),
) -> Result<Infallible, SessionEnd> {
    loop {
        let message = receiver.receive().await?;
        let silence = heard.borrow().at.elapsed();
        if let Some(waited) = outbox.oldest_wait() {
            patience.heard(silence.min(waited));
        }
        heard.send_replace(Heard {
            at: Instant::now(),
            allowed: patience.allowed(),
        });
        match message {
            ToProducer::Ack {
                through,
                duplicates,
                ..
            } => {
                if outbox.acknowledge(through, duplicates) {
                    intake.acknowledged();
                }
            }
            ToProducer::Rewind { expected } => {
                debug!(expected, "the store asks to begin again");
                outbox.rewind(expected);
            }
            ToProducer::Refused {
                number,
                code,
                message,
            } => {
                if refused.insert(number) {
                    let series = outbox.series_name(number);
                    warn!("series {series} is refused ({code}): {message}");
                }
            }
            ToProducer::RefusedReadings {
                sequence,
                number,
                readings,
            } => outbox.refuse(sequence, number, readings),
            ToProducer::Welcome { .. } | ToProducer::Failed { .. } => {
                return Err(IngestError::OutOfTurn.into());
            }
        }
    }
}

/// Completes when batches are in flight and nothing has been heard for as long as is allowed.
async fn stall(outbox: &Outbox, last_heard: &watch::Receiver<Heard>) {
    loop {
        let Heard { at, allowed } = *last_heard.borrow();
        let quiet = at.elapsed();
        let silence = outbox.oldest_wait().map(|waiting| waiting.min(quiet));
        match silence {
            Some(silence) if silence >= allowed => return,
            silence => {
                let rest = allowed.saturating_sub(silence.unwrap_or_default());
                sleep_until(Instant::now() + rest).await;
            }
        }
    }
}

/// Declarations cut into messages that fit a frame.
fn messages(series: Vec<(u32, SeriesDescription)>) -> Vec<Vec<(u32, SeriesDescription)>> {
    let mut messages = Vec::new();
    let mut message = Vec::new();
    let mut bytes = 0;
    for declaration in series {
        bytes += described_bytes(&declaration.1);
        message.push(declaration);
        if bytes >= DECLARATION_BYTES {
            messages.push(std::mem::take(&mut message));
            bytes = 0;
        }
    }
    if !message.is_empty() {
        messages.push(message);
    }
    messages
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::time::{advance, timeout};

    use super::*;
    use crate::spool::{ClosedBatch, Purpose};

    #[tokio::test(start_paused = true)]
    async fn a_leader_may_take_longer_for_many_new_series_than_for_none() {
        let outbox = Outbox::in_memory(1 << 20);
        let batch = ClosedBatch {
            bytes: Bytes::from_static(b"a batch"),
            readings: 1,
            position: None,
            purpose: Purpose::Readings,
        };
        outbox.push(batch, &[]).await.unwrap();
        outbox.begin_session(1).unwrap();
        assert!(outbox.begin_send(1));
        let allowed = Duration::from_secs(1);
        let (heard, last_heard) = watch::channel(Heard {
            at: Instant::now(),
            allowed,
        });
        heard.send_modify(|heard| heard.declared(20_000));
        let in_all = allowed + 20_000 * DECLARED;
        let stalled = || timeout(Duration::ZERO, stall(&outbox, &last_heard));
        advance(in_all - Duration::from_millis(2)).await;
        assert!(stalled().await.is_err());
        advance(Duration::from_millis(2)).await;
        assert!(stalled().await.is_ok());
    }
}
