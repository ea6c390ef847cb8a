//! The spool's own thread: takes closed batches, writes what is waiting, syncs once, and hands the
//! batches to the [`Outbox`]. Only from there are they sent, so nothing unsynced ever leaves.
//!
//! Disk work happens here alone. The queue in front is bounded in bytes ([`QUEUE_BYTES_MAX`]); who
//! pushes waits when it is full. What happens when the spool itself is full depends on the source's
//! [`Nature`]: recorded readings wait for acknowledgements, live ones push the oldest unsent out.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use sensor_model::SeriesDescription;
use tokio::sync::{Notify, oneshot};
use tracing::warn;

use super::{
    ClosedBatch, DEAD_LETTER_BYTES_MAX, DeadLetter, SetAsideError, Spool, SpoolError, SpooledBatch,
};
use crate::outbox::{Outbox, OutboxError};
use crate::source::Nature;

/// Bytes of closed batches that wait for the disk.
const QUEUE_BYTES_MAX: usize = 4 << 20;
/// How long to wait before trying a full disk again.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(1);

/// A batch on its way into the spool, with the series it uses first.
#[derive(Debug)]
pub struct Submission {
    /// The batch.
    pub batch: ClosedBatch,
    /// Series not declared before, in the order of their numbers.
    pub declared: Vec<SeriesDescription>,
    /// What happens to it when the spool is full.
    pub nature: Nature,
}

/// Hands batches to the spool's thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SpoolIntake {
    shared: Arc<Shared>,
}

/// Owns the spool's thread.
#[derive(Debug)]
pub struct SpoolWriter {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Spool, SpoolError>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    room: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    submissions: VecDeque<Submission>,
    bytes: usize,
    epoch: Option<(u64, oneshot::Sender<()>)>,
    letter: Option<Letter>,
    /// Set when acknowledgements may have made room.
    acknowledged: bool,
    is_closed: bool,
    /// Set when what does not fit must not be waited for any more.
    is_abandoned: bool,
    has_ended: bool,
}

/// What the thread took from the queue at once.
#[derive(Debug)]
struct Work {
    submissions: VecDeque<Submission>,
    epoch: Option<(u64, oneshot::Sender<()>)>,
    letter: Option<Letter>,
    is_closed: bool,
    is_abandoned: bool,
}

/// A batch to be set aside, and who waits for it.
type Letter = (DeadLetter, oneshot::Sender<Result<(), SetAsideError>>);

impl SpoolWriter {
    /// Starts the thread. What was recovered must be in the outbox already.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(spool: Spool, outbox: Arc<Outbox>) -> std::io::Result<(SpoolIntake, Self)> {
        let shared = Arc::new(Shared::default());
        let worker = Worker {
            spool,
            outbox,
            shared: Arc::clone(&shared),
            written: Vec::new(),
        };
        let thread = thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || worker.run())?;
        let intake = SpoolIntake {
            shared: Arc::clone(&shared),
        };
        Ok((intake, Self { shared, thread }))
    }

    /// Spools what is waiting as far as it fits, ends the thread and gives the spool back.
    ///
    /// # Errors
    /// [`SpoolError`] when the thread had failed.
    pub fn join(self) -> Result<Spool, SpoolError> {
        {
            let mut queue = self.shared.lock();
            queue.is_closed = true;
            queue.is_abandoned = true;
            self.shared.work.notify_one();
        }
        match self.thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl SpoolIntake {
    /// Hands a batch over, waiting while the queue is full.
    ///
    /// # Cancel safety
    /// Dropped while waiting, the batch is not handed over.
    ///
    /// # Errors
    /// [`OutboxError::Stopped`] when the thread has ended; the outbox knows why.
    pub async fn push(&self, submission: Submission) -> Result<(), OutboxError> {
        let bytes = submission.batch.bytes.len();
        loop {
            let room = self.shared.room.notified();
            {
                let mut queue = self.shared.lock();
                if queue.is_closed || queue.has_ended {
                    return Err(OutboxError::Stopped);
                }
                if queue.submissions.is_empty() || queue.bytes + bytes <= QUEUE_BYTES_MAX {
                    queue.bytes += bytes;
                    queue.submissions.push_back(submission);
                    self.shared.work.notify_one();
                    return Ok(());
                }
            }
            room.await;
        }
    }

    /// Says that nothing follows.
    pub fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.work.notify_one();
    }

    /// Wakes the thread because acknowledgements may let something be purged.
    pub fn acknowledged(&self) {
        self.shared.lock().acknowledged = true;
        self.shared.work.notify_one();
    }

    /// Keeps the epoch durably before returning.
    ///
    /// # Cancel safety
    /// Safe: it is kept all the same.
    ///
    /// # Errors
    /// [`OutboxError::Stopped`] when the thread has ended.
    pub async fn keep_epoch(&self, epoch: u64) -> Result<(), OutboxError> {
        let (done, kept) = oneshot::channel();
        {
            let mut queue = self.shared.lock();
            if queue.has_ended {
                return Err(OutboxError::Stopped);
            }
            queue.epoch = Some((epoch, done));
            self.shared.work.notify_one();
        }
        kept.await.map_err(|_| OutboxError::Stopped)
    }

    /// Puts a batch that will not be sent again into a file of its own, durably, before returning.
    ///
    /// # Cancel safety
    /// Safe: it is set aside all the same.
    ///
    /// # Errors
    /// [`SetAsideError`]; the batch is still in the spool then.
    pub async fn set_aside(&self, letter: DeadLetter) -> Result<(), SetAsideError> {
        let (done, set_aside) = oneshot::channel();
        {
            let mut queue = self.shared.lock();
            if queue.has_ended {
                return Err(SetAsideError::NoSpool);
            }
            queue.letter = Some((letter, done));
            self.shared.work.notify_one();
        }
        set_aside.await.unwrap_or(Err(SetAsideError::NoSpool))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change under this lock is a single step, so a panic leaves nothing half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Worker {
    spool: Spool,
    outbox: Arc<Outbox>,
    shared: Arc<Shared>,
    /// Appended and not yet synced.
    written: Vec<(SpooledBatch, Bytes)>,
}

impl Worker {
    fn run(mut self) -> Result<Spool, SpoolError> {
        let outcome = self.write_until_joined();
        {
            let mut queue = self.shared.lock();
            queue.has_ended = true;
            queue.epoch = None;
            queue.letter = None;
        }
        self.shared.room.notify_waiters();
        match outcome {
            Ok(()) => Ok(self.spool),
            Err(error) => {
                self.outbox.fail(OutboxError::Spool(error.clone()));
                Err(error)
            }
        }
    }

    fn write_until_joined(&mut self) -> Result<(), SpoolError> {
        let mut waiting = VecDeque::new();
        let mut is_complete = false;
        loop {
            let work = self.take(waiting.is_empty(), is_complete);
            self.take_acknowledgements()?;
            if let Some((epoch, kept)) = work.epoch {
                self.spool.set_epoch(epoch)?;
                // Whoever asked may have gone meanwhile.
                let _ = kept.send(());
            }
            if let Some((letter, done)) = work.letter {
                // As above.
                let _ = done.send(self.set_aside(&letter));
            }
            waiting.extend(work.submissions);
            self.write(&mut waiting)?;
            self.outbox.note_spool_bytes(self.spool.bytes());
            if work.is_closed && waiting.is_empty() && !is_complete {
                // Epochs and acknowledgements may still come.
                self.outbox.close();
                is_complete = true;
            }
            if work.is_abandoned {
                return Ok(());
            }
        }
    }

    /// Waits for something to do. Batches are taken only when none is left from before, so that
    /// the queue stays bounded.
    fn take(&self, takes_batches: bool, is_complete: bool) -> Work {
        let mut queue = self.shared.lock();
        loop {
            let has_batches = takes_batches && !queue.submissions.is_empty();
            let is_closed = queue.is_closed && takes_batches && !is_complete;
            let is_asked = queue.acknowledged
                || queue.epoch.is_some()
                || queue.letter.is_some()
                || queue.is_abandoned;
            if has_batches || is_closed || is_asked {
                break;
            }
            let waited = self.shared.work.wait_timeout(queue, NO_SPACE_PAUSE);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = guard;
            if timeout.timed_out() && !takes_batches {
                break;
            }
        }
        queue.acknowledged = false;
        let submissions = if takes_batches {
            queue.bytes = 0;
            std::mem::take(&mut queue.submissions)
        } else {
            VecDeque::new()
        };
        let work = Work {
            is_closed: queue.is_closed && queue.submissions.is_empty(),
            is_abandoned: queue.is_abandoned,
            submissions,
            epoch: queue.epoch.take(),
            letter: queue.letter.take(),
        };
        drop(queue);
        self.shared.room.notify_waiters();
        work
    }

    fn take_acknowledgements(&mut self) -> Result<(), SpoolError> {
        self.spool.acknowledge(self.outbox.acknowledged())?;
        self.outbox.wake_spool_at(self.spool.purgeable_at());
        Ok(())
    }

    fn set_aside(&mut self, letter: &DeadLetter) -> Result<(), SetAsideError> {
        let (file, dead_readings) = self.spool.set_aside(letter, DEAD_LETTER_BYTES_MAX)?;
        self.outbox.bury(letter.sequence, dead_readings);
        warn!(
            file = %file.display(),
            readings = letter.readings,
            "a batch that the store can never take was set aside: see what is wrong with it"
        );
        Ok(())
    }

    /// Spools as many of `waiting` as there is room for, and makes them sendable.
    fn write(&mut self, waiting: &mut VecDeque<Submission>) -> Result<(), SpoolError> {
        while let Some(submission) = waiting.front_mut() {
            for series in submission.declared.drain(..) {
                self.spool.declare(series)?;
            }
            if !self.write_one(submission)? {
                // Any acknowledgement may help.
                self.outbox.wake_spool_at(0);
                break;
            }
            waiting.pop_front();
        }
        self.publish()
    }

    /// False when there is no room and none can be made.
    fn write_one(&mut self, submission: &Submission) -> Result<bool, SpoolError> {
        let batch = &submission.batch;
        loop {
            if self.spool.make_room(batch.bytes.len())? {
                match self.spool.append(batch) {
                    Ok(spooled) => {
                        self.written.push((spooled, batch.bytes.clone()));
                        return Ok(true);
                    }
                    Err(SpoolError::NoSpace) => {}
                    Err(error) => return Err(error),
                }
            }
            if submission.nature == Nature::Recorded || !self.drop_oldest()? {
                return Ok(false);
            }
        }
    }

    /// Syncs what was appended and makes it sendable.
    fn publish(&mut self) -> Result<(), SpoolError> {
        if !self.written.is_empty() {
            self.spool.sync()?;
            let written = std::mem::take(&mut self.written);
            self.outbox.publish(self.spool.series(), written);
        }
        Ok(())
    }

    /// Makes room by dropping the oldest segment. False when there is nothing to drop.
    fn drop_oldest(&mut self) -> Result<bool, SpoolError> {
        // What goes must be in the outbox before, or it would be offered there afterwards.
        self.publish()?;
        match self.spool.drop_oldest() {
            Ok(through) => {
                let readings = self.outbox.drop_through(through);
                warn!(
                    readings,
                    "the spool is full: the oldest unsent readings are dropped; raise --spool-max or restore the connection"
                );
                Ok(true)
            }
            Err(SpoolError::NoSpace) => {
                warn!("no space left for the spool: waiting for some");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
