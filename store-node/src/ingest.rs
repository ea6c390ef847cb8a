//! Serves producers on the leader: batches in, acknowledgements out.
//!
//! One stream is one spool. Its life, in order:
//! 1. `Hello` is answered with `Welcome` once this node has certainly applied everything that was
//!    acknowledged ([`Session::open`]); a new spool gets its epoch through the log.
//! 2. `Declare` says what the producer's numbers stand for: [`series`] opens what is permitted and
//!    unknown. What is refused is said, and later left out of batches and counted.
//! 3. Each `Batch` is checked once and thoroughly by [`intake`], waits for its part of the stream's
//!    window and of the node's byte permits, and enters the log. The next is not waited for: batches
//!    of a stream are proposed in order and are many at a time on their way.
//! 4. [`answers`] says their outcomes in the same order.
//!
//! Whether a batch counts is decided by [`crate::state`] alone, when it is applied. What is found wrong
//! here ends the stream with an error and changes nothing.

mod answers;
pub(crate) mod intake;
pub(crate) mod refusal;
pub(crate) mod series;
pub mod streams;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use sensor_model::SeriesDescription;
use store_wire::endpoint::Connection;
use store_wire::frame::{FrameReceiver, FrameSender, ReceiveError};
use store_wire::identity::PeerIdentity;
use store_wire::message::{ErrorCode, ToProducer, ToStore, WireError};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::command::{self, Position};
use crate::node::Context;
use crate::raft::ReadError;
use crate::scan::read;
use crate::state::Outcome;

use answers::{Answers, Batch, Due};
use intake::{Declared, Intake, Taken};
use refusal::{propose_error, unexpected};
use streams::OpenStream;

/// Most answers that wait to be said on a stream; further batches wait for the producer to read.
const DUE_MAX: usize = 4096;
/// Most series one stream may declare.
const DECLARED_MAX: usize = 1_000_000;
/// How long a hello may wait for this node to know how far the log is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a producer may take to read the last word.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves one connection until it ends or `stop` is cancelled. Then its streams read no more, say the
/// outcome of what is on its way, and that the node is draining.
pub async fn serve(connection: Connection, context: Arc<Context>, stop: CancellationToken) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = connection.accept() => match accepted {
                Ok((sender, receiver)) => {
                    let (connection, context, stop) = (connection.clone(), Arc::clone(&context), stop.clone());
                    streams.spawn(async move {
                        converse(sender, receiver, connection.peer(), &context, &stop).await;
                    });
                }
                Err(reason) => {
                    debug!(peer = %connection.peer(), %reason, "producer's connection ended");
                    break;
                }
            },
            Some(ended) = streams.join_next() => note_panic(ended),
        }
    }
    while let Some(ended) = streams.join_next().await {
        note_panic(ended);
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a stream's task panicked");
    }
}

/// One stream, from hello to the last word.
async fn converse(
    mut sender: FrameSender,
    mut receiver: FrameReceiver,
    peer: &PeerIdentity,
    context: &Context,
    stop: &CancellationToken,
) {
    let opened = tokio::select! {
        opened = Session::open(&mut receiver, peer, context) => opened,
        () = stop.cancelled() => Err(Ending::Failed(draining())),
    };
    let (due, dues) = mpsc::channel(DUE_MAX);
    let next = AtomicU64::new(0);
    let said = match opened {
        Ok(session) => {
            next.store(session.next_sequence, Ordering::Relaxed);
            let welcome = session.welcome();
            let mut answers = Answers::new(&mut sender, &next);
            let reading = async {
                // The channel is new and has room.
                if due.send(Due::Say(welcome)).await.is_ok() {
                    session.run(&mut receiver, &next, due, stop).await;
                }
            };
            let (said, ()) = tokio::join!(answers.run(dues), reading);
            said
        }
        Err(Ending::Failed(error)) => sender.send(&ToProducer::Failed { error }, &[]).await,
        Err(Ending::Gone) => Ok(()),
    };
    if let Err(reason) = said {
        debug!(%peer, %reason, "producer's stream ended");
        return;
    }
    if sender.finish().await.is_ok() {
        // The connection may be closed behind this: first let the producer read what was said.
        drop(timeout(LAST_WORD_TIMEOUT, sender.stopped()).await);
    }
}

/// Why a stream reads no more.
enum Ending {
    /// The producer is to be told.
    Failed(WireError),
    /// There is nobody to tell, or nothing to say.
    Gone,
}

impl From<WireError> for Ending {
    fn from(error: WireError) -> Self {
        Self::Failed(error)
    }
}

impl From<ReceiveError> for Ending {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::NotAFrame(error) => Self::Failed(bad_request(error.to_string())),
            ReceiveError::Reset { .. } | ReceiveError::Stopped | ReceiveError::Lost(_) => {
                Self::Gone
            }
        }
    }
}

/// The reading half of a stream that has been welcomed.
struct Session<'a> {
    context: &'a Context,
    peer: &'a PeerIdentity,
    /// The peer's role and name, under which permits are shared: an identity gains nothing by
    /// having many connections or instances.
    name: String,
    producer: String,
    epoch: u64,
    next_sequence: u64,
    declared: HashMap<u32, Declared>,
    intake: Intake,
    stream: OpenStream,
    window: Arc<Semaphore>,
    /// The last sequence that came behind a gap.
    behind_gap: Option<u64>,
}

impl<'a> Session<'a> {
    /// Reads the hello and finds out, or assigns, where the spool stands.
    async fn open(
        receiver: &mut FrameReceiver,
        peer: &'a PeerIdentity,
        context: &'a Context,
    ) -> Result<Self, Ending> {
        let Some((hello, _)) = receiver.receive::<ToStore>().await? else {
            return Err(Ending::Gone);
        };
        let ToStore::Hello {
            shard,
            epoch,
            instance,
        } = hello
        else {
            return Err(bad_request("a stream begins with Hello".to_owned()).into());
        };
        if shard != context.replica.shard() {
            let shards = format!("shard {shard} does not exist: this cluster has shard 0 only");
            return Err(bad_request(shards).into());
        }
        let producer = producer_name(peer, instance.as_deref())?;
        let (epoch, next_sequence) = match epoch {
            None => (assign_epoch(context, peer, &producer).await?, 1),
            Some(epoch) => (epoch, next_sequence(context, &producer, epoch).await?),
        };
        let stream = context.streams.open();
        Ok(Self {
            context,
            peer,
            name: peer.id(),
            producer,
            epoch,
            next_sequence,
            declared: HashMap::new(),
            intake: Intake::default(),
            window: Arc::new(Semaphore::new(
                usize::try_from(stream.window_bytes).unwrap_or(0),
            )),
            stream,
            behind_gap: None,
        })
    }

    fn welcome(&self) -> ToProducer {
        ToProducer::Welcome {
            node: self.context.replica.id(),
            epoch: self.epoch,
            next_sequence: self.next_sequence,
            window_bytes: self.stream.window_bytes,
        }
    }

    /// Reads until the producer has finished, something is wrong, or `stop` is cancelled.
    async fn run(
        mut self,
        receiver: &mut FrameReceiver,
        next: &AtomicU64,
        due: mpsc::Sender<Due>,
        stop: &CancellationToken,
    ) {
        let ending = loop {
            let received = tokio::select! {
                received = receiver.receive::<ToStore>() => received,
                () = stop.cancelled() => break Ending::Failed(draining()),
                // The other half has said the last word.
                () = due.closed() => break Ending::Gone,
            };
            let taken = match received {
                Ok(Some((message, body))) => tokio::select! {
                    taken = self.take(message, body, next, &due) => taken,
                    () = due.closed() => break Ending::Gone,
                },
                Ok(None) => break Ending::Gone,
                Err(error) => break error.into(),
            };
            if let Err(ending) = taken {
                break ending;
            }
        };
        if let Ending::Failed(error) = ending {
            debug!(peer = %self.peer, %error, "producer's stream fails");
            // Closed means that another last word was said.
            drop(due.send(Due::Fail(error)).await);
        }
    }

    /// Acts on one message.
    ///
    /// # Cancel safety
    /// Dropped only when the stream is over: a batch was then proposed or was not.
    async fn take(
        &mut self,
        message: ToStore,
        body: Bytes,
        next: &AtomicU64,
        due: &mpsc::Sender<Due>,
    ) -> Result<(), Ending> {
        match message {
            ToStore::Hello { .. } => Err(bad_request("a stream has one Hello".to_owned()).into()),
            ToStore::Declare { series } => self.declare(series, due).await,
            ToStore::Batch {
                sequence,
                skipped,
                dropped_readings,
            } => {
                let producer = std::mem::take(&mut self.producer);
                let position = Position {
                    producer: &producer,
                    epoch: self.epoch,
                    sequence,
                    skipped,
                    dropped_readings,
                };
                let outcome = self.batch(&position, body, next, due).await;
                self.producer = producer;
                outcome
            }
        }
    }

    async fn declare(
        &mut self,
        series: Vec<(u32, SeriesDescription)>,
        due: &mpsc::Sender<Due>,
    ) -> Result<(), Ending> {
        let mut numbers = Vec::with_capacity(series.len());
        let mut wanted = Vec::with_capacity(series.len());
        for (number, series) in series {
            match self.declared.get(&number) {
                Some(known) if known.path != series.path || known.kind != series.kind => {
                    let taken = format!(
                        "number {number} stands for series {} of kind {}: use another for {}",
                        known.path, known.kind, series.path
                    );
                    return Err(bad_request(taken).into());
                }
                Some(_) => {}
                None => {
                    numbers.push(number);
                    wanted.push(series);
                }
            }
        }
        if self.declared.len() + numbers.len() > DECLARED_MAX {
            let many = format!("a stream may declare {DECLARED_MAX} series at most");
            return Err(WireError::new(ErrorCode::TooLarge, many).into());
        }
        let results = series::open(self.context, self.peer, &wanted).await?;
        for ((number, series), result) in numbers.into_iter().zip(wanted).zip(results) {
            let id = match result {
                Ok(id) => Some(id),
                Err(series::Refusal { code, message }) => {
                    let refused = ToProducer::Refused {
                        number,
                        code,
                        message,
                    };
                    say(due, refused).await?;
                    None
                }
            };
            let SeriesDescription { path, kind, .. } = series;
            self.declared.insert(number, Declared { path, kind, id });
        }
        Ok(())
    }

    /// Checks a batch, waits for room, and proposes it.
    async fn batch(
        &mut self,
        position: &Position<'_>,
        body: Bytes,
        next: &AtomicU64,
        due: &mpsc::Sender<Due>,
    ) -> Result<(), Ending> {
        let sequence = position.sequence;
        let expected = next.load(Ordering::Relaxed);
        if sequence.saturating_sub(position.skipped) > expected {
            return self.behind_gap(sequence, expected, due).await;
        }
        self.behind_gap = None;
        let bytes = body.len();
        let declared = |number| self.declared.get(&u32::try_from(number).ok()?);
        let taken = self.intake.take(body, Some(position), declared);
        let Taken {
            payload, refused, ..
        } = taken.map_err(|error| WireError::from(error).of_batch(sequence))?;

        // One batch always fits: alone, it takes the whole window.
        let permits = (bytes as u64).min(self.stream.window_bytes);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let window = Arc::clone(&self.window).acquire_many_owned(permits).await;
        let window = window.map_err(|_| Ending::Gone)?;
        let replica = &self.context.replica;
        let reservation = replica
            .reserve(&self.name, payload.len())
            .await
            .map_err(propose_error)?;
        let outcome = Box::pin(replica.propose_reserved(reservation, payload));
        next.fetch_max(sequence + 1, Ordering::Relaxed);
        let batch = Batch {
            sequence,
            bytes: bytes as u64,
            refused,
            outcome,
            window,
        };
        due.send(Due::Batch(batch)).await.map_err(|_| Ending::Gone)
    }

    /// A batch that comes after one that never came. The producer is told once; what it had on its way
    /// by then is dropped in silence.
    async fn behind_gap(
        &mut self,
        sequence: u64,
        expected: u64,
        due: &mpsc::Sender<Due>,
    ) -> Result<(), Ending> {
        let is_told = self.behind_gap.is_some_and(|before| before < sequence);
        self.behind_gap = Some(sequence);
        if is_told {
            return Ok(());
        }
        counter!("tidemark_ingest_rewinds_total").increment(1);
        say(due, ToProducer::Rewind { expected }).await
    }
}

async fn say(due: &mpsc::Sender<Due>, message: ToProducer) -> Result<(), Ending> {
    due.send(Due::Say(message)).await.map_err(|_| Ending::Gone)
}

/// `role/name`, and `#instance` where one identity runs several producers.
fn producer_name(peer: &PeerIdentity, instance: Option<&str>) -> Result<String, WireError> {
    const INSTANCE_BYTES_MAX: usize = 64;
    let Some(instance) = instance else {
        return Ok(peer.id());
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if (1..=INSTANCE_BYTES_MAX).contains(&instance.len()) && instance.bytes().all(allowed) {
        Ok(format!("{}#{instance}", peer.id()))
    } else {
        let shown: String = instance.chars().take(INSTANCE_BYTES_MAX).collect();
        Err(bad_request(format!(
            "instance {shown:?} is not allowed: use 1 to {INSTANCE_BYTES_MAX} letters, digits, `_`, `-` and `.`"
        )))
    }
}

/// Begins the producer's next epoch.
async fn assign_epoch(
    context: &Context,
    peer: &PeerIdentity,
    producer: &str,
) -> Result<u64, WireError> {
    let payload = command::open_producer(producer);
    let replica = &context.replica;
    let reservation = replica
        .reserve(&peer.id(), payload.len())
        .await
        .map_err(propose_error)?;
    let proposed = replica.propose_reserved(reservation, payload).await;
    match proposed.map_err(propose_error)?.outcome {
        Outcome::ProducerOpened { epoch } => Ok(epoch),
        outcome => Err(unexpected(&format!(
            "opening a producer came to {outcome:?}"
        ))),
    }
}

/// The sequence that comes next in an epoch assigned earlier.
async fn next_sequence(context: &Context, producer: &str, epoch: u64) -> Result<u64, WireError> {
    let replica = &context.replica;
    if !replica.is_leader() {
        return Err(WireError::not_leader(replica.leader()));
    }
    // A new leader may not have applied yet what was acknowledged by the one before.
    let deadline = Instant::now() + HELLO_TIMEOUT;
    replica.linearizable(deadline).await.map_err(read_error)?;
    let known = read(&context.state).producers().find(producer).copied();
    let (current, next) = known.map_or((0, 1), |known| (known.epoch, known.next_sequence));
    match epoch.cmp(&current) {
        std::cmp::Ordering::Equal => Ok(next),
        std::cmp::Ordering::Less => Err(WireError::new(
            ErrorCode::Fenced,
            format!(
                "epoch {current} of {producer} has begun: this spool, of epoch {epoch}, is an older one"
            ),
        )),
        std::cmp::Ordering::Greater => Err(bad_request(format!(
            "{producer} was never given epoch {epoch} by this cluster: its spool is of another cluster; start it with an empty one"
        ))),
    }
}

/// What is said when this node cannot find out how far the log is.
pub(crate) fn read_error(error: ReadError) -> WireError {
    match error {
        ReadError::NoLeader { leader } => WireError::not_leader(leader),
        ReadError::Timeout => WireError::new(ErrorCode::Timeout, error.to_string()),
        ReadError::Stopped => WireError::new(ErrorCode::Draining, error.to_string()),
    }
}

fn draining() -> WireError {
    WireError::new(
        ErrorCode::Draining,
        "this node is shutting down: go to another",
    )
}

fn bad_request(message: String) -> WireError {
    WireError::new(ErrorCode::BadRequest, message)
}
