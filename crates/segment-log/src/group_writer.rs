//! One thread that writes a log for many: it takes what is waiting, appends it, syncs once, and
//! completes the callbacks in the order of submission.
//!
//! Under load the groups grow by themselves, because everything that arrives during one sync
//! shares the next. There is no timer and nothing to tune but the bounds.
//!
//! - The queue is bounded in bytes ([`GroupOptions::queue_bytes_max`]); a full one makes
//!   [`GroupWriter::submit`] wait.
//! - Callbacks run on the writer thread, one after the other, under no lock. They should hand the
//!   result on and return.
//! - [`WriteError::NoSpace`] and [`WriteError::TooLarge`] concern one submission. After
//!   [`WriteError::Poisoned`] every later submission gets the same; what to do about it, such as
//!   stopping the process, is up to the callbacks.
//!
//! Shutdown: [`WriterThread::shutdown`] refuses new submissions, writes and syncs those waiting,
//! leaves a mark, and joins the thread.

mod queue;

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use tracing::error;

use crate::{
    clock,
    error::{AppendError, Poisoned, TruncateError, WriteError},
    group_writer::queue::{Queue, Taken},
    log::SegmentLog,
    options::Location,
    reader::LogReader,
};

/// One record, made of parts that are written one after the other.
pub type Record = Vec<Bytes>;

/// Called once with where each record of a submission is, or why none of them is written. Dropped
/// uncalled only when another callback of the same group panics, which ends the writer.
pub type Completion = Box<dyn FnOnce(Result<Vec<Location>, WriteError>) + Send>;

/// Something to do with the log between two groups.
type LogJob = Box<dyn FnOnce(Result<&mut SegmentLog, WriteError>) + Send>;

/// What a submission waits for before it completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The records survive a power cut.
    Synced,
    /// The records are with the operating system: they survive the end of the process. They become
    /// durable with the next sync, before anything submitted later does.
    Buffered,
}

/// Bounds of a [`GroupWriter`].
#[derive(Clone, Copy, Debug)]
pub struct GroupOptions {
    /// Bytes submitted and not yet completed. One submission may exceed it when it is alone.
    pub queue_bytes_max: usize,
    /// Bytes written and synced together.
    pub group_bytes_max: usize,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            queue_bytes_max: 64 << 20,
            group_bytes_max: 16 << 20,
        }
    }
}

/// What was written together.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Submissions completed.
    pub submissions: u64,
    /// Records appended.
    pub records: u64,
    /// Bytes of payload appended.
    pub payload_bytes: u64,
    /// Time to write and sync what was appended, if it was synced.
    pub sync_duration: Option<Duration>,
}

/// Is told of each group, on the writer thread, after it was written and before its callbacks run:
/// the place to feed metrics from.
pub trait WriteObserver: Send + 'static {
    /// A group was written, and synced if anybody asked for it.
    fn group_written(&mut self, group: &Group);
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl WriteObserver for NoObserver {
    fn group_written(&mut self, _group: &Group) {}
}

enum Job {
    Append {
        records: Vec<Record>,
        durability: Durability,
        done: Completion,
    },
    Log(LogJob),
}

/// Submits records to the writer thread. Cheap to clone.
#[derive(Clone)]
pub struct GroupWriter {
    queue: Arc<Queue<Job>>,
    reader: LogReader,
}

/// Owns the writer thread. Dropping it shuts the writer down as [`shutdown`](Self::shutdown) does,
/// and logs what went wrong.
#[derive(Debug)]
pub struct WriterThread {
    queue: Arc<Queue<Job>>,
    thread: Option<JoinHandle<Result<(), Poisoned>>>,
}

impl GroupWriter {
    /// Starts the thread that owns `log` from now on.
    pub fn spawn(
        log: SegmentLog,
        options: GroupOptions,
        observer: impl WriteObserver,
    ) -> std::io::Result<(Self, WriterThread)> {
        let queue = Arc::new(Queue::new(options.queue_bytes_max));
        let reader = log.reader();
        let writer = Writer {
            queue: Arc::clone(&queue),
            log,
            group_bytes_max: options.group_bytes_max,
            observer,
        };
        let thread = thread::Builder::new()
            .name("segment-log".to_owned())
            .spawn(move || writer.run())?;
        Ok((
            Self {
                queue: Arc::clone(&queue),
                reader,
            },
            WriterThread {
                queue,
                thread: Some(thread),
            },
        ))
    }

    /// Appends `records`, all or none, after everything submitted before, and calls `done` on the
    /// writer thread once they are as durable as asked.
    ///
    /// Waits while the queue is full; never for the disk beyond that. If the writer was shut down,
    /// `done` is called with [`WriteError::Stopped`] before this returns, on this thread.
    pub fn submit(&self, records: Vec<Record>, durability: Durability, done: Completion) {
        let bytes = payload_bytes(&records);
        if let Err(job) = self.queue.push(
            bytes,
            Job::Append {
                records,
                durability,
                done,
            },
        ) {
            job.refuse();
        }
    }

    /// As [`submit`](Self::submit) without ever waiting: gives the records and the callback back
    /// when the queue is full, or closed.
    pub fn try_submit(
        &self,
        records: Vec<Record>,
        durability: Durability,
        done: Completion,
    ) -> Result<(), (Vec<Record>, Completion)> {
        let bytes = payload_bytes(&records);
        match self.queue.try_push(
            bytes,
            Job::Append {
                records,
                durability,
                done,
            },
        ) {
            Err(Job::Append { records, done, .. }) => Err((records, done)),
            Ok(()) | Err(Job::Log(_)) => Ok(()),
        }
    }

    /// Runs `job` on the writer thread with the log, after everything submitted before was
    /// completed and before anything submitted later is appended.
    ///
    /// For what is rare: rotating, truncating, setting the preamble. `job` gets
    /// [`WriteError::Stopped`] instead if the writer was shut down.
    pub fn with_log(&self, job: impl FnOnce(Result<&mut SegmentLog, WriteError>) + Send + 'static) {
        if let Err(job) = self.queue.push(0, Job::Log(Box::new(job))) {
            job.refuse();
        }
    }

    /// Removes the segments below `segment`, see [`SegmentLog::purge_before`]. Calls `done` with
    /// the number removed.
    pub fn purge_before(
        &self,
        segment: u64,
        done: impl FnOnce(Result<u64, WriteError>) + Send + 'static,
    ) {
        self.with_log(move |log| {
            done(log.and_then(|log| Ok(log.purge_before(segment)?)));
        });
    }

    /// Takes back the records after `location`, see [`SegmentLog::truncate_after`].
    pub fn truncate_after(
        &self,
        location: Location,
        done: impl FnOnce(Result<Result<(), TruncateError>, WriteError>) + Send + 'static,
    ) {
        self.with_log(move |log| done(log.map(|log| log.truncate_after(location))));
    }

    /// Reads records that were completed.
    pub fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// Bytes submitted and not yet completed.
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }
}

impl std::fmt::Debug for GroupWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupWriter")
            .field("queued_bytes", &self.queued_bytes())
            .finish()
    }
}

impl WriterThread {
    /// Completes everything submitted so far, closes the log and joins the thread. Returns the
    /// failure that closed the log, if one did.
    ///
    /// Must not be called from a callback.
    pub fn shutdown(mut self) -> Result<(), Poisoned> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), Poisoned> {
        self.queue.close();
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panicked)) => panic::resume_unwind(panicked),
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        if thread::panicking() {
            // A second panic would abort the process and hide the first.
            self.queue.close();
            drop(self.thread.take().map(JoinHandle::join));
        } else if let Err(poisoned) = self.stop() {
            error!(error = %poisoned, "the log was not closed cleanly");
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Append {
                records,
                durability,
                ..
            } => {
                write!(f, "Append({} records, {durability:?})", records.len())
            }
            Self::Log(_) => f.write_str("Log"),
        }
    }
}

impl Job {
    /// Completes a job that the writer will not take.
    fn refuse(self) {
        match self {
            Self::Append { done, .. } => done(Err(WriteError::Stopped)),
            Self::Log(job) => job(Err(WriteError::Stopped)),
        }
    }
}

/// The writer thread's own.
struct Writer<O> {
    queue: Arc<Queue<Job>>,
    log: SegmentLog,
    group_bytes_max: usize,
    observer: O,
}

impl<O: WriteObserver> Writer<O> {
    fn run(mut self) -> Result<(), Poisoned> {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| self.write_until_closed()));
        // Normally nothing waits any more; after a panic in a callback nothing may wait for ever.
        for job in self.queue.drain() {
            job.refuse();
        }
        match outcome {
            Ok(()) => self.log.close(),
            Err(panicked) => panic::resume_unwind(panicked),
        }
    }

    fn write_until_closed(&mut self) {
        while let Some(Taken { jobs, bytes }) = self.queue.take(self.group_bytes_max) {
            let mut group = OpenGroup::default();
            for job in jobs {
                match job {
                    Job::Append {
                        records,
                        durability,
                        done,
                    } => {
                        let result = self.log.append_all(&records);
                        group.add(&records, durability, result, done);
                    }
                    Job::Log(job) => {
                        self.finish(std::mem::take(&mut group));
                        job(Ok(&mut self.log));
                    }
                }
            }
            self.finish(group);
            self.queue.release(bytes);
            if self.queue.is_empty() {
                self.use_idle_time();
            }
        }
    }

    /// Writes the group, syncs if anybody asked for it, and completes everybody.
    fn finish(&mut self, group: OpenGroup) {
        if group.submissions.is_empty() {
            return;
        }
        let started = clock::now();
        let written = match group.durability {
            Some(Durability::Synced) => self.log.sync(),
            Some(Durability::Buffered) => self.log.flush(),
            None => Ok(()),
        };
        let synced = group.durability == Some(Durability::Synced);
        let sync_duration = synced.then(|| started.elapsed());
        if written.is_ok() && group.durability.is_some() {
            self.observer.group_written(&Group {
                submissions: group.submissions.len() as u64,
                records: group.records,
                payload_bytes: group.payload_bytes,
                sync_duration,
            });
        }
        for (result, done) in group.submissions {
            done(match (&written, result) {
                (Err(poisoned), Ok(_)) => Err(WriteError::Poisoned(poisoned.clone())),
                (_, result) => result,
            });
        }
    }

    /// Does ahead what the next group would otherwise wait for. A failure poisons the log, which
    /// the next submission is told.
    fn use_idle_time(&mut self) {
        let done = self
            .log
            .mark_synced()
            .and_then(|()| self.log.extend_ahead());
        if let Err(poisoned) = done {
            error!(error = %poisoned, "the log failed while idle");
        }
    }
}

/// Submissions appended and not yet completed.
#[derive(Default)]
struct OpenGroup {
    submissions: Vec<(Result<Vec<Location>, WriteError>, Completion)>,
    /// The most that a submission which was appended asks for.
    durability: Option<Durability>,
    records: u64,
    payload_bytes: u64,
}

impl OpenGroup {
    fn add(
        &mut self,
        records: &[Record],
        durability: Durability,
        result: Result<Vec<Location>, AppendError>,
        done: Completion,
    ) {
        if result.is_ok() {
            self.records += records.len() as u64;
            self.payload_bytes += payload_bytes(records) as u64;
            if self.durability != Some(Durability::Synced) {
                self.durability = Some(durability);
            }
        }
        self.submissions
            .push((result.map_err(WriteError::from), done));
    }
}

fn payload_bytes(records: &[Record]) -> usize {
    records.iter().flatten().map(Bytes::len).sum()
}
