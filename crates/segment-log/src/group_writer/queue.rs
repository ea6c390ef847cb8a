//! The bounded queue between those who submit and the one thread that writes.
//!
//! Bounded in bytes of payload. Bytes count from the submission until its callback has run, so the
//! bound holds for everything the writer keeps in memory. Who submits into a full queue waits.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
};

/// Counted for each job beside its payload, so that empty jobs are bounded too.
const JOB_BYTES: usize = 256;

/// A first-in first-out queue of jobs with sizes.
#[derive(Debug)]
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    /// Signalled when there is a job, or when the queue was closed.
    work: Condvar,
    /// Signalled when bytes were released, or when the queue was closed.
    room: Condvar,
    bytes_max: usize,
}

#[derive(Debug)]
struct State<J> {
    jobs: VecDeque<(usize, J)>,
    /// Bytes waiting and bytes taken but not yet released.
    bytes: usize,
    closed: bool,
    /// The thread that takes jobs; it must never wait for itself.
    consumer: Option<ThreadId>,
}

/// Jobs taken together.
#[derive(Debug)]
pub(crate) struct Taken<J> {
    pub(crate) jobs: Vec<J>,
    /// To be given back with [`Queue::release`].
    pub(crate) bytes: usize,
}

impl<J> Queue<J> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let state = State {
            jobs: VecDeque::new(),
            bytes: 0,
            closed: false,
            consumer: None,
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Condvar::new(),
            bytes_max,
        }
    }

    /// Adds a job, waiting for room. Gives the job back if the queue is closed. A job larger than
    /// the bound is taken once the queue is empty. The consumer itself never waits.
    pub(crate) fn push(&self, payload_bytes: usize, job: J) -> Result<(), J> {
        let bytes = payload_bytes.saturating_add(JOB_BYTES);
        let mut state = self.state();
        while !state.closed && !self.fits(&state, bytes) {
            if state.consumer == Some(thread::current().id()) {
                break;
            }
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.admit(&mut state, bytes, job)
    }

    /// As [`push`](Self::push), but `Err` right away when there is no room.
    pub(crate) fn try_push(&self, payload_bytes: usize, job: J) -> Result<(), J> {
        let bytes = payload_bytes.saturating_add(JOB_BYTES);
        let mut state = self.state();
        if !self.fits(&state, bytes) {
            return Err(job);
        }
        self.admit(&mut state, bytes, job)
    }

    fn fits(&self, state: &State<J>, bytes: usize) -> bool {
        state.bytes == 0 || state.bytes.saturating_add(bytes) <= self.bytes_max
    }

    fn admit(&self, state: &mut State<J>, bytes: usize, job: J) -> Result<(), J> {
        if state.closed {
            return Err(job);
        }
        state.bytes = state.bytes.saturating_add(bytes);
        state.jobs.push_back((bytes, job));
        self.work.notify_one();
        Ok(())
    }

    /// Waits for jobs and takes those at the front up to about `bytes_max`, at least one. None
    /// once the queue is closed and empty.
    pub(crate) fn take(&self, bytes_max: usize) -> Option<Taken<J>> {
        let mut state = self.state();
        state.consumer = Some(thread::current().id());
        while state.jobs.is_empty() {
            if state.closed {
                return None;
            }
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut taken = Taken {
            jobs: Vec::new(),
            bytes: 0,
        };
        while let Some((bytes, _)) = state.jobs.front() {
            if !taken.jobs.is_empty() && taken.bytes + bytes > bytes_max {
                break;
            }
            if let Some((bytes, job)) = state.jobs.pop_front() {
                taken.bytes += bytes;
                taken.jobs.push(job);
            }
        }
        Some(taken)
    }

    /// Says that `bytes` of jobs taken are done with.
    pub(crate) fn release(&self, bytes: usize) {
        let mut state = self.state();
        state.bytes = state.bytes.saturating_sub(bytes);
        drop(state);
        self.room.notify_all();
    }

    /// Refuses jobs from now on; those waiting can still be taken.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    /// Closes the queue and takes away all that waits.
    pub(crate) fn drain(&self) -> Vec<J> {
        self.close();
        let mut state = self.state();
        let jobs = state.jobs.drain(..).map(|(_, job)| job).collect();
        state.bytes = 0;
        jobs
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state().jobs.is_empty()
    }

    /// Bytes submitted and not yet completed.
    pub(crate) fn bytes(&self) -> usize {
        self.state().bytes
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        // No code of others runs under this lock, so a panic elsewhere leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
