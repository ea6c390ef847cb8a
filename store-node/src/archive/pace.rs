//! How fast jobs may go, and when one is given up.
//!
//! Sealing goes as fast as it can: what is not sealed takes memory. Compacting rests between
//! stretches of work, so that over any longer time it takes no more than its share of one core and of the
//! disk: the slower the machine is just then, the longer it rests. When another job waits behind it, it
//! goes as fast as it can as well.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::JobError;

/// Work is so long, at least, before it rests.
const STRETCH: Duration = Duration::from_millis(10);

/// The part of time that compaction may work, in percent: 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(NonZeroU32);

impl Share {
    /// Half of the time.
    pub const HALF: Self = Self(NonZeroU32::new(50).expect("50 is not 0"));

    /// `None` unless `percent` is 1 to 100.
    pub fn of_percent(percent: u32) -> Option<Self> {
        let percent = NonZeroU32::new(percent)?;
        (percent.get() <= 100).then_some(Self(percent))
    }

    /// How long to rest after `worked`.
    fn rest_after(self, worked: Duration) -> Duration {
        worked * (100 - self.0.get()) / self.0.get()
    }
}

/// What interrupts jobs.
#[derive(Debug, Default)]
pub(super) struct Pace {
    is_stopping: AtomicBool,
    /// How many wait for jobs to give way.
    waiting: AtomicUsize,
    /// For how long compaction was to rest so far, in ns.
    rested: AtomicU64,
    turns: Mutex<()>,
    /// One of the others has changed.
    changed: Condvar,
}

/// While it lives, jobs give way.
pub(super) struct Waiting<'a>(&'a Pace);

/// Work that rests.
#[derive(Debug)]
pub(super) struct Breath {
    share: Share,
    /// When it last began to work.
    since: Instant,
}

impl Pace {
    /// Lets every job be given up, for good.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.tell();
    }

    /// Lets jobs be given up until the answer is dropped.
    pub(super) fn give_way(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.tell();
        Waiting(self)
    }

    /// Waits until nobody waits for jobs to give way.
    pub(super) fn let_pass(&self) -> Result<(), JobError> {
        let is_blocked = |_: &mut ()| matches!(self.check(), Err(JobError::Superseded));
        let waited = self.changed.wait_while(self.turns(), is_blocked);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.check()
    }

    /// Whether a job may go on.
    pub(super) fn check(&self) -> Result<(), JobError> {
        if self.is_stopping.load(Ordering::SeqCst) {
            Err(JobError::Stopping)
        } else if self.waiting.load(Ordering::SeqCst) > 0 {
            Err(JobError::Superseded)
        } else {
            Ok(())
        }
    }

    /// Waits for `time`, or until the job is to be given up.
    pub(super) fn rest(&self, time: Duration) -> Result<(), JobError> {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.rested.fetch_add(nanos, Ordering::Relaxed);
        let goes_on = |_: &mut ()| self.check().is_ok();
        let waited = self.changed.wait_timeout_while(self.turns(), time, goes_on);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.check()
    }

    /// For how long compaction was to rest so far.
    pub(super) fn rested(&self) -> Duration {
        Duration::from_nanos(self.rested.load(Ordering::Relaxed))
    }

    /// Wakes who waits. The lock makes sure that nobody is about to wait for what was just told.
    fn tell(&self) {
        drop(self.turns());
        self.changed.notify_all();
    }

    fn turns(&self) -> MutexGuard<'_, ()> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        self.0.tell();
    }
}

impl Breath {
    pub(super) const fn new(share: Share, now: Instant) -> Self {
        Self { share, since: now }
    }

    /// How long to rest now, if it has worked long enough for that. [`resume`](Self::resume) follows.
    pub(super) fn due(&self, now: Instant) -> Option<Duration> {
        let worked = now.saturating_duration_since(self.since);
        let rest = self.share.rest_after(worked);
        (worked >= STRETCH && !rest.is_zero()).then_some(rest)
    }

    /// Work goes on.
    pub(super) const fn resume(&mut self, now: Instant) {
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    const FOREVER: Duration = Duration::from_secs(365 * 86_400);

    #[test]
    fn rests_keep_work_within_its_share() {
        let begun = Instant::now();
        for (percent, rest_ms) in [
            (100, None),
            (50, Some(30)),
            (25, Some(90)),
            (1, Some(2_970)),
        ] {
            let share = Share::of_percent(percent).unwrap();
            let breath = Breath::new(share, begun);
            let early = begun + STRETCH - Duration::from_nanos(1);
            assert_eq!(breath.due(early), None, "{percent}");
            let late = begun + Duration::from_millis(30);
            let rest = rest_ms.map(Duration::from_millis);
            assert_eq!(breath.due(late), rest, "{percent}");
        }
    }

    #[test]
    fn a_stretch_begins_when_work_goes_on() {
        let begun = Instant::now();
        let mut breath = Breath::new(Share::HALF, begun);
        breath.resume(begun + FOREVER);
        assert_eq!(breath.due(begun + FOREVER), None);
        assert_eq!(breath.due(begun + FOREVER + STRETCH), Some(STRETCH));
    }

    #[test]
    fn a_share_is_some_of_the_time_and_at_most_all() {
        let is_share = |percent| Share::of_percent(percent).is_some();
        assert!(!is_share(0) && is_share(1) && is_share(100) && !is_share(101));
    }

    #[test]
    fn a_rest_ends_at_once_when_the_node_stops_or_somebody_waits() {
        let pace = Pace::default();
        for is_stop in [false, true] {
            std::thread::scope(|scope| {
                let (begins, begun) = sync_channel(1);
                let pace = &pace;
                let resting = scope.spawn(move || {
                    begins.send(()).unwrap();
                    pace.rest(FOREVER)
                });
                begun.recv().unwrap();
                if is_stop {
                    pace.stop();
                    let outcome = resting.join().unwrap();
                    assert!(matches!(outcome, Err(JobError::Stopping)), "{outcome:?}");
                } else {
                    let _waiting = pace.give_way();
                    let outcome = resting.join().unwrap();
                    assert!(matches!(outcome, Err(JobError::Superseded)), "{outcome:?}");
                }
            });
        }
    }

    #[test]
    fn jobs_go_on_when_nobody_waits_any_more() {
        let pace = Pace::default();
        let (one, other) = (pace.give_way(), pace.give_way());
        std::thread::scope(|scope| {
            let passing = scope.spawn(|| pace.let_pass());
            drop(one);
            assert!(matches!(pace.check(), Err(JobError::Superseded)));
            drop(other);
            assert!(passing.join().unwrap().is_ok());
        });
        assert!(pace.check().is_ok());
        assert!(pace.rest(Duration::ZERO).is_ok());
    }
}
