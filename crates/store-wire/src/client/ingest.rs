//! A producer's side of the ingest conversation.
//!
//! [`IngestSession::open`] says hello and waits for the welcome. From then on [`IngestSender`] and
//! [`IngestReceiver`] may be used side by side: the sender waits while the store's window is full of
//! unacknowledged bytes, and every acknowledgement that the receiver hands out makes room again. So
//! someone must keep receiving while someone sends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sensor_model::SeriesDescription;
use tokio::sync::Notify;

use crate::endpoint::{Connection, ConnectionLost};
use crate::frame::{FrameReceiver, FrameSender, ReceiveError, SendError};
use crate::message::{ToProducer, ToStore, WireError};

/// What a producer says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpoolHello {
    /// The shard the batches are for.
    pub shard: u32,
    /// The spool's epoch; `None` when the spool is new.
    pub epoch: Option<u64>,
    /// Tells several producers of one identity apart.
    pub instance: Option<String>,
}

/// What the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// The node that answered.
    pub node: u64,
    /// The spool's epoch from now on.
    pub epoch: u64,
    /// The first sequence the store has not applied.
    pub next_sequence: u64,
    /// At most so many bytes of batches may be unacknowledged at a time.
    pub window_bytes: u64,
}

/// Why the conversation is over. What was sent and not acknowledged is to be sent again.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The store ended it and says why.
    #[error(transparent)]
    Failed(#[from] WireError),
    /// The store finished the stream without a word.
    #[error("the store ended the conversation")]
    Ended,
    /// The store said something that has no place here.
    #[error("the store answered out of turn")]
    OutOfTurn,
    /// Sending failed.
    #[error("sending failed")]
    Send(#[from] SendError),
    /// Receiving failed.
    #[error("receiving failed")]
    Receive(#[from] ReceiveError),
}

impl From<ConnectionLost> for IngestError {
    fn from(lost: ConnectionLost) -> Self {
        Self::Receive(ReceiveError::Lost(lost))
    }
}

/// An ingest conversation that has been welcomed.
#[derive(Debug)]
pub struct IngestSession {
    /// What the store said.
    pub welcome: Welcome,
    /// Sends declarations and batches.
    pub sender: IngestSender,
    /// Receives acknowledgements and refusals.
    pub receiver: IngestReceiver,
}

impl IngestSession {
    /// Opens a stream, says hello and waits for the welcome.
    ///
    /// # Cancel safety
    /// Safe: the stream is given up.
    ///
    /// # Errors
    /// See [`IngestError`]; a node that is not the leader gives [`IngestError::Failed`] and names it.
    pub async fn open(connection: &Connection, hello: SpoolHello) -> Result<Self, IngestError> {
        let (mut sender, mut receiver) = connection.open().await?;
        let SpoolHello {
            shard,
            epoch,
            instance,
        } = hello;
        let hello = ToStore::Hello {
            shard,
            epoch,
            instance,
        };
        sender.send(&hello, &[]).await?;
        let welcome = match receiver.receive::<ToProducer>().await? {
            Some((
                ToProducer::Welcome {
                    node,
                    epoch,
                    next_sequence,
                    window_bytes,
                },
                _,
            )) => Welcome {
                node,
                epoch,
                next_sequence,
                window_bytes,
            },
            Some((ToProducer::Failed { error }, _)) => return Err(error.into()),
            Some(_) => return Err(IngestError::OutOfTurn),
            None => return Err(IngestError::Ended),
        };
        let window = Arc::new(Window::new(welcome.window_bytes));
        Ok(Self {
            welcome,
            sender: IngestSender {
                frames: sender,
                window: Arc::clone(&window),
            },
            receiver: IngestReceiver {
                frames: receiver,
                window,
            },
        })
    }
}

/// The sending half. Dropping it finishes the stream.
#[derive(Debug)]
pub struct IngestSender {
    frames: FrameSender,
    window: Arc<Window>,
}

impl IngestSender {
    /// Says what series numbers stand for.
    ///
    /// # Cancel safety
    /// The declaration is queued at once; if the future is dropped, it goes out before what is sent next.
    ///
    /// # Errors
    /// See [`IngestError`].
    pub async fn declare(
        &mut self,
        series: Vec<(u32, SeriesDescription)>,
    ) -> Result<(), IngestError> {
        Ok(self.frames.send(&ToStore::Declare { series }, &[]).await?)
    }

    /// Waits until a batch of `bytes` bytes fits the window. A batch larger than the whole window fits
    /// when nothing is in flight.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// [`IngestError::Ended`] when the receiving half is gone or has failed.
    pub async fn ready(&self, bytes: usize) -> Result<(), IngestError> {
        self.window.room_for(bytes as u64).await
    }

    /// Sends a batch, once it fits the window.
    ///
    /// # Cancel safety
    /// Up to the moment the window has room nothing has happened. From then on the batch is queued
    /// and counts as sent: sending it again sends it twice, which the store notices and ignores. To
    /// know which it was, await [`ready`](Self::ready) first.
    ///
    /// # Errors
    /// See [`IngestError`].
    pub async fn send(
        &mut self,
        sequence: u64,
        skipped: u64,
        dropped_readings: u64,
        batch: Bytes,
    ) -> Result<(), IngestError> {
        self.ready(batch.len()).await?;
        let bytes = batch.len() as u64;
        let head = ToStore::Batch {
            sequence,
            skipped,
            dropped_readings,
        };
        self.frames
            .queue(&head, &[batch])
            .map_err(SendError::from)?;
        self.window.sent(sequence, bytes);
        Ok(self.frames.flush().await?)
    }

    /// Bytes sent and not yet acknowledged.
    pub fn in_flight_bytes(&self) -> u64 {
        self.window.lock().bytes
    }

    /// Says that nothing follows. Acknowledgements still come.
    ///
    /// # Cancel safety
    /// Safe: call it again.
    ///
    /// # Errors
    /// See [`IngestError`].
    pub async fn finish(&mut self) -> Result<(), IngestError> {
        Ok(self.frames.finish().await?)
    }
}

/// The receiving half. Dropping it ends the conversation: a sender that waits for room is woken.
#[derive(Debug)]
pub struct IngestReceiver {
    frames: FrameReceiver,
    window: Arc<Window>,
}

impl IngestReceiver {
    /// The next message. `Ack` and `Rewind` have already made room in the window when they are handed
    /// out; after `Rewind` the caller sends again from the sequence it names.
    ///
    /// # Cancel safety
    /// Safe. Made for `select!`.
    ///
    /// # Errors
    /// See [`IngestError`]: `Failed` from the store arrives as [`IngestError::Failed`].
    pub async fn receive(&mut self) -> Result<ToProducer, IngestError> {
        let outcome = self.next().await;
        if outcome.is_err() {
            self.window.close();
        }
        outcome
    }

    async fn next(&mut self) -> Result<ToProducer, IngestError> {
        let Some((message, _)) = self.frames.receive::<ToProducer>().await? else {
            return Err(IngestError::Ended);
        };
        match &message {
            ToProducer::Ack { through, .. } => self.window.acknowledged(*through),
            ToProducer::Rewind { expected } => self.window.rewound(*expected),
            ToProducer::Failed { error } => return Err(error.clone().into()),
            ToProducer::Welcome { .. } => return Err(IngestError::OutOfTurn),
            ToProducer::Refused { .. } | ToProducer::RefusedReadings { .. } => {}
        }
        Ok(message)
    }
}

impl Drop for IngestReceiver {
    fn drop(&mut self) {
        self.window.close();
    }
}

/// Credits in bytes: what is sent and not yet acknowledged, never more than the store allows.
#[derive(Debug)]
struct Window {
    bytes_max: u64,
    in_flight: Mutex<InFlight>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct InFlight {
    /// Sequence and length of each batch in the order they were sent.
    batches: VecDeque<(u64, u64)>,
    bytes: u64,
    is_closed: bool,
}

impl Window {
    fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            in_flight: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn room_for(&self, bytes: u64) -> Result<(), IngestError> {
        loop {
            // Registered before looking, so that a change in between is not missed.
            let changed = self.changed.notified();
            {
                let in_flight = self.lock();
                if in_flight.is_closed {
                    return Err(IngestError::Ended);
                }
                let fits = in_flight.bytes.saturating_add(bytes) <= self.bytes_max;
                if fits || in_flight.batches.is_empty() {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    fn sent(&self, sequence: u64, bytes: u64) {
        let mut in_flight = self.lock();
        in_flight.batches.push_back((sequence, bytes));
        in_flight.bytes += bytes;
    }

    fn acknowledged(&self, through: u64) {
        self.release(|sequence| sequence <= through);
    }

    /// The store has thrown away everything from `expected` on.
    fn rewound(&self, expected: u64) {
        self.release(|sequence| sequence >= expected);
    }

    fn release(&self, is_done: impl Fn(u64) -> bool) {
        let mut in_flight = self.lock();
        in_flight
            .batches
            .retain(|(sequence, _)| !is_done(*sequence));
        in_flight.bytes = in_flight.batches.iter().map(|(_, bytes)| bytes).sum();
        drop(in_flight);
        self.changed.notify_waiters();
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_waiters();
    }
}
