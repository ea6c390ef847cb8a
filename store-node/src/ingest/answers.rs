//! The way back to a producer: outcomes in the order of the batches, as cumulative acknowledgements.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use futures::future::BoxFuture;
use metrics::counter;
use sensor_model::Token;
use store_wire::frame::{FrameSender, SendError};
use store_wire::message::{ToProducer, WireError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::raft::{ProposeError, Proposed};
use crate::state::Outcome;

use super::refusal::{not_applied, propose_error};

/// What is owed to the producer, in the order in which it was caused.
pub(super) enum Due {
    /// The outcome of a batch.
    Batch(Batch),
    /// Something to say at once.
    Say(ToProducer),
    /// The last word.
    Fail(WireError),
}

/// A batch on its way through the log.
pub(super) struct Batch {
    pub(super) sequence: u64,
    pub(super) bytes: u64,
    pub(super) refused: Vec<(u32, u64)>,
    pub(super) outcome: BoxFuture<'static, Result<Proposed, ProposeError>>,
    /// Its part of the stream's window, free again once it is answered.
    pub(super) window: OwnedSemaphorePermit,
}

/// Says what is due.
pub(super) struct Answers<'a> {
    pub(super) sender: &'a mut FrameSender,
    /// The sequence that the store waits for, as the other half of the stream sees it.
    pub(super) next: &'a AtomicU64,
    ack: Option<Ack>,
    /// What the producer was last told to rewind to, until a batch is acknowledged again.
    rewound_to: Option<u64>,
}

/// An acknowledgement that has not been said yet.
struct Ack {
    through: u64,
    token: Token,
    duplicates: u64,
}

impl<'a> Answers<'a> {
    pub(super) const fn new(sender: &'a mut FrameSender, next: &'a AtomicU64) -> Self {
        Self {
            sender,
            next,
            ack: None,
            rewound_to: None,
        }
    }

    /// Says everything that comes through `due` until it is closed or the stream has failed.
    ///
    /// What is ready together is acknowledged together. A failure is the last thing said: batches
    /// behind it may still be committed, and the producer will find out when it sends them again.
    pub(super) async fn run(&mut self, mut due: mpsc::Receiver<Due>) -> Result<(), SendError> {
        loop {
            let next = match due.try_recv() {
                Ok(next) => next,
                Err(_) => {
                    self.flush().await?;
                    let Some(next) = due.recv().await else {
                        return Ok(());
                    };
                    next
                }
            };
            let error = match next {
                Due::Say(message) => {
                    self.say(&message)?;
                    continue;
                }
                Due::Batch(batch) => match self.settle(batch).await? {
                    None => continue,
                    Some(error) => error,
                },
                Due::Fail(error) => error,
            };
            self.say(&ToProducer::Failed { error })?;
            return self.flush().await;
        }
    }

    /// Waits for the batch's outcome and notes what is to be said; an error is to be the last word.
    async fn settle(&mut self, batch: Batch) -> Result<Option<WireError>, SendError> {
        let Batch {
            sequence,
            bytes,
            refused,
            mut outcome,
            window,
        } = batch;
        let proposed = match futures::poll!(&mut outcome) {
            Poll::Ready(proposed) => proposed,
            Poll::Pending => {
                self.flush().await?;
                outcome.await
            }
        };
        drop(window);
        let Proposed { token, outcome } = match proposed {
            Ok(proposed) => proposed,
            Err(error) => return Ok(Some(propose_error(error))),
        };
        match outcome {
            Outcome::Applied { readings } => {
                counter!("tidemark_ingest_batches_total").increment(1);
                counter!("tidemark_ingest_readings_total").increment(readings);
                counter!("tidemark_ingest_bytes_total").increment(bytes);
                self.acknowledge(sequence, token, 0, &refused)?;
            }
            Outcome::Duplicate { .. } => {
                counter!("tidemark_ingest_duplicates_total").increment(1);
                self.acknowledge(sequence, token, 1, &refused)?;
            }
            Outcome::Gap { expected } => self.rewind(expected)?,
            outcome @ Outcome::KindMismatch { .. } => {
                return Ok(Some(not_applied(outcome).of_batch(sequence)));
            }
            outcome => return Ok(Some(not_applied(outcome))),
        }
        Ok(None)
    }

    fn acknowledge(
        &mut self,
        sequence: u64,
        token: Token,
        duplicates: u64,
        refused: &[(u32, u64)],
    ) -> Result<(), SendError> {
        self.rewound_to = None;
        for (number, readings) in refused {
            counter!("tidemark_ingest_refused_readings_total").increment(*readings);
            self.say(&ToProducer::RefusedReadings {
                sequence,
                number: *number,
                readings: *readings,
            })?;
        }
        let before = self.ack.take();
        self.ack = Some(Ack {
            through: before.as_ref().map_or(0, |ack| ack.through).max(sequence),
            token,
            duplicates: before.map_or(0, |ack| ack.duplicates) + duplicates,
        });
        Ok(())
    }

    /// The log lacks batches that this stream took for proposed: another stream of the same producer
    /// was in between. One word is enough for all batches that were behind the gap.
    fn rewind(&mut self, expected: u64) -> Result<(), SendError> {
        if self.rewound_to == Some(expected) {
            return Ok(());
        }
        self.rewound_to = Some(expected);
        self.next.store(expected, Ordering::Relaxed);
        counter!("tidemark_ingest_rewinds_total").increment(1);
        self.say(&ToProducer::Rewind { expected })
    }

    /// Queues a message behind what was to be acknowledged before it.
    fn say(&mut self, message: &ToProducer) -> Result<(), SendError> {
        self.queue_ack()?;
        Ok(self.sender.queue(message, &[])?)
    }

    fn queue_ack(&mut self) -> Result<(), SendError> {
        if let Some(ack) = self.ack.take() {
            let message = ToProducer::Ack {
                through: ack.through,
                token: ack.token,
                duplicates: ack.duplicates,
            };
            self.sender.queue(&message, &[])?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), SendError> {
        self.queue_ack()?;
        self.sender.flush().await
    }
}
