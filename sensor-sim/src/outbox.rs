//! What is to be sent: every batch that is not yet acknowledged, in order.
//!
//! The spool's thread (or, without a spool on disk, the generator itself) puts batches in at one
//! end, the session takes them out at the other, and acknowledgements remove them. A batch stays
//! until it is acknowledged, so a session can always begin again where the store wants it to.
//!
//! Invariants:
//! - sequences ascend; where one is missing, its batch was dropped before it was sent;
//! - the bytes of a batch that was sent stay in memory until it is acknowledged, whatever becomes
//!   of the spool: so a batch that was sent is never counted as dropped;
//! - bytes of unsent batches are kept in memory up to [`CACHE_BYTES_MAX`]; the rest is read back
//!   from the spool when its turn comes.

mod state;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use segment_log::{LogReader, ReadError};
use sensor_model::SeriesDescription;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::state::{Lookup, State};
use crate::spool::{Acknowledged, ClosedBatch, DeadLetter, Recovered, SpoolError, SpooledBatch};
use crate::summary::Tally;

/// Bytes of unsent batches kept in memory beside the spool.
const CACHE_BYTES_MAX: usize = 8 << 20;
/// Bytes read back from the spool at a time.
const LOAD_BYTES: usize = 1 << 20;

/// Why the outbox takes or gives nothing more.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OutboxError {
    /// The spool failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A spooled batch cannot be read back.
    #[error("the spool cannot be read back: {0}")]
    Read(Arc<ReadError>),
    /// The store is ahead of this spool: sequences would be taken for repetitions.
    #[error(
        "the store has batches up to {store} from this producer, but this spool has sent none after {spool}: it is an old copy; give a new --spool"
    )]
    StoreAhead {
        /// The last sequence the store has.
        store: u64,
        /// The last sequence that can have been sent from here.
        spool: u64,
    },
    /// It was stopped.
    #[error("the agent is stopping")]
    Stopped,
}

/// A batch whose turn has come.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its sequence.
    pub sequence: u64,
    /// Sequences right before it that had to be dropped.
    pub skipped: u64,
    /// Readings those held.
    pub dropped_readings: u64,
    /// Numbers below this may be used in it.
    pub series: u32,
    /// Its bytes.
    pub bytes: Bytes,
}

/// What the session does next.
#[derive(Debug)]
pub enum Turn {
    /// Send this.
    Send(Outgoing),
    /// Nothing follows, and everything sent is acknowledged.
    Drained,
}

/// Batches between the disk and the wire.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    /// Something to send, or nothing ever again.
    changed: Notify,
    /// Room for more, without a spool.
    room: Notify,
    /// All is acknowledged, or the outbox has failed.
    drained: Notify,
    reader: Option<LogReader>,
    /// Most bytes waiting without a spool.
    memory_bytes_max: usize,
    spool_bytes: AtomicU64,
    /// Readings of all batches that were ever set aside.
    dead_readings: AtomicU64,
}

/// How the outbox and its spool are, since the spool was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Condition {
    /// Readings of all sequences so far.
    pub spooled: u64,
    /// Of those, the ones that were dropped because the spool was full.
    pub dropped: u64,
    /// Of those, the ones the store can never take, which were set aside.
    pub dead: u64,
    /// Of those, the ones that wait for acknowledgement.
    pub waiting: u64,
    /// Bytes of the spool on disk.
    pub spool_bytes: u64,
}

impl Outbox {
    /// An outbox in front of a spool.
    pub fn spooled(recovered: Recovered, series: &[SeriesDescription], reader: LogReader) -> Self {
        let mut state = State::new(recovered.acked);
        state.declare(series);
        for batch in recovered.batches {
            state.push_spooled(&batch, None);
        }
        state.all_may_be_sent();
        let outbox = Self::new(state, Some(reader), usize::MAX);
        outbox
            .dead_readings
            .store(recovered.dead_readings, Ordering::Relaxed);
        outbox
    }

    /// An outbox in memory alone: its own spool, lost with the process.
    pub fn in_memory(bytes_max: usize) -> Self {
        Self::new(State::new(Acknowledged::default()), None, bytes_max)
    }

    fn new(state: State, reader: Option<LogReader>, memory_bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            room: Notify::new(),
            drained: Notify::new(),
            reader,
            memory_bytes_max,
            spool_bytes: AtomicU64::new(0),
            dead_readings: AtomicU64::new(0),
        }
    }

    /// Adds batches that are synced in the spool.
    pub fn publish(&self, series: &[SeriesDescription], batches: Vec<(SpooledBatch, Bytes)>) {
        let mut state = self.lock();
        state.declare(series);
        for (batch, bytes) in batches {
            let fits = state.cached_bytes() + bytes.len() <= CACHE_BYTES_MAX;
            state.push_spooled(&batch, fits.then_some(bytes));
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Adds a batch without a spool, waiting while too much is unacknowledged.
    ///
    /// # Cancel safety
    /// Dropped while waiting, the batch is not added.
    ///
    /// # Errors
    /// [`OutboxError`] when nothing is sent any more.
    pub async fn push(
        &self,
        batch: ClosedBatch,
        declared: &[SeriesDescription],
    ) -> Result<(), OutboxError> {
        loop {
            {
                let mut state = self.lock();
                if let Some(error) = state.failure() {
                    return Err(error);
                }
                let bytes = state.cached_bytes();
                if bytes == 0 || bytes + batch.bytes.len() <= self.memory_bytes_max {
                    state.declare_more(declared);
                    state.push_in_memory(batch);
                    drop(state);
                    self.changed.notify_one();
                    return Ok(());
                }
            }
            // One permit is kept, so a change before this wait ends it at once.
            self.room.notified().await;
        }
    }

    /// Nothing follows.
    pub fn close(&self) {
        self.lock().close();
        self.changed.notify_one();
        self.drained.notify_one();
    }

    /// Ends everything with `error`, unless it has failed before.
    pub fn fail(&self, error: OutboxError) {
        self.lock().fail(error);
        self.changed.notify_one();
        self.room.notify_one();
        self.drained.notify_one();
    }

    /// The first batch not yet sent in this session, waiting for one.
    ///
    /// # Cancel safety
    /// Safe: a batch counts as sent only with [`Outbox::begin_send`].
    ///
    /// # Errors
    /// [`OutboxError`] when the outbox has failed.
    pub async fn next(&self) -> Result<Turn, OutboxError> {
        loop {
            let lookup = {
                let state = self.lock();
                if let Some(error) = state.failure() {
                    return Err(error);
                }
                state.lookup()
            };
            match lookup {
                Lookup::Send(outgoing) => return Ok(Turn::Send(outgoing)),
                Lookup::Load => self.load().await?,
                Lookup::Drained => return Ok(Turn::Drained),
                Lookup::Wait => self.changed.notified().await,
            }
        }
    }

    /// Marks a batch as sent. False when it is not the next one any more, because the store has
    /// asked to begin again elsewhere meanwhile.
    pub fn begin_send(&self, sequence: u64) -> bool {
        self.lock().begin_send(sequence, Instant::now())
    }

    /// Begins a session: the store has applied everything before `next_sequence`.
    ///
    /// # Errors
    /// [`OutboxError::StoreAhead`].
    pub fn begin_session(&self, next_sequence: u64) -> Result<(), OutboxError> {
        let outcome = self.lock().begin_session(next_sequence);
        self.after_acknowledgement();
        outcome
    }

    /// Every batch up to and including `through` is acknowledged. Returns whether the spool's
    /// thread should look.
    pub fn acknowledge(&self, through: u64, duplicates: u64) -> bool {
        let wake = self.lock().acknowledge(through, duplicates, Instant::now());
        self.after_acknowledgement();
        wake
    }

    /// The store waits for `expected`.
    pub fn rewind(&self, expected: u64) {
        self.lock().rewind(expected);
        self.changed.notify_one();
    }

    /// The store left `readings` readings of one series out of a batch.
    pub fn refuse(&self, sequence: u64, number: u32, readings: u64) {
        self.lock().refuse(sequence, number, readings);
    }

    /// Forgets the unsent batches up to `through`, which the spool had to drop. Returns how many
    /// readings they held.
    pub fn drop_through(&self, through: u64) -> u64 {
        self.lock().drop_through(through)
    }

    /// A batch that was sent and that the store can never take, as it is to be set aside.
    pub fn dead_letter(&self, sequence: u64) -> Option<DeadLetter> {
        self.lock().dead_letter(sequence)
    }

    /// A batch was set aside: it is not sent again, and the next one says that it was skipped.
    /// `dead_readings` counts those of all dead letters.
    pub fn bury(&self, sequence: u64, dead_readings: u64) {
        self.dead_readings.store(dead_readings, Ordering::Relaxed);
        self.lock().bury(sequence);
        self.after_acknowledgement();
    }

    /// The spool on disk takes so many bytes.
    pub fn note_spool_bytes(&self, bytes: u64) {
        self.spool_bytes.store(bytes, Ordering::Relaxed);
    }

    /// How the outbox and its spool are.
    pub fn condition(&self) -> Condition {
        let state = self.lock();
        Condition {
            spooled: state.last_readings(),
            dropped: state.dropped(),
            dead: self.dead_readings.load(Ordering::Relaxed),
            waiting: state.waiting_readings(),
            spool_bytes: self.spool_bytes.load(Ordering::Relaxed),
        }
    }

    /// Waits until nothing follows and all is acknowledged.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// [`OutboxError`] when the outbox has failed.
    pub async fn drained(&self) -> Result<(), OutboxError> {
        loop {
            {
                let state = self.lock();
                if let Some(error) = state.failure() {
                    return Err(error);
                }
                if state.is_drained() {
                    return Ok(());
                }
            }
            self.drained.notified().await;
        }
    }

    /// What is acknowledged so far.
    pub fn acknowledged(&self) -> Acknowledged {
        self.lock().acknowledged()
    }

    /// From which acknowledgement on the spool's thread has something to do.
    pub fn wake_spool_at(&self, sequence: u64) {
        self.lock().wake_spool_at(sequence);
    }

    /// The series from number `first` up to `end`, for a declaration.
    pub fn series(&self, first: u32, end: u32) -> Vec<(u32, SeriesDescription)> {
        self.lock().series(first, end)
    }

    /// What a number stands for.
    pub fn series_name(&self, number: u32) -> String {
        let series = self.series(number, number.saturating_add(1));
        series.into_iter().next().map_or_else(
            || format!("number {number}"),
            |(_, series)| series.path.to_string(),
        )
    }

    /// Readings that wait for acknowledgement, sent or not.
    pub fn waiting_readings(&self) -> u64 {
        self.lock().waiting_readings()
    }

    /// How long the oldest batch that was sent in this session has been waiting.
    pub fn oldest_wait(&self) -> Option<Duration> {
        self.lock().oldest_sent().map(|sent| sent.elapsed())
    }

    /// The counts so far.
    pub fn tally(&self) -> Tally {
        self.lock().tally().clone()
    }

    fn after_acknowledgement(&self) {
        self.room.notify_one();
        self.changed.notify_one();
        self.drained.notify_one();
    }

    /// Reads the next batches back from the spool.
    async fn load(&self) -> Result<(), OutboxError> {
        let Some(reader) = self.reader.clone() else {
            return Ok(());
        };
        let wanted = self.lock().to_load(LOAD_BYTES);
        let read = tokio::task::spawn_blocking(move || {
            let read = wanted.into_iter().map(|(sequence, location, offset)| {
                let record = reader.read(location)?;
                Ok((sequence, record.slice(offset as usize..)))
            });
            read.collect::<Vec<Result<(u64, Bytes), ReadError>>>()
        });
        let read = read.await.map_err(|_| OutboxError::Stopped)?;
        let mut state = self.lock();
        for outcome in read {
            match outcome {
                Ok((sequence, bytes)) => state.loaded(sequence, bytes),
                // Dropped meanwhile, and so gone from here as well, or about to be.
                Err(ReadError::Gone { .. }) => {}
                Err(error) => return Err(OutboxError::Read(Arc::new(error))),
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under this lock is a bug that ends the process' work anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
