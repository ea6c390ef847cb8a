//! How often one may try to log in under a name.
//!
//! After [`FREE`] attempts that failed, each further one has to wait, longer each time, up to
//! [`WAIT_MAX`]. Names fall into a fixed number of slots by a keyed hash, whether there is such a
//! user or not: what is held does not grow, and an answer does not tell who exists. Two names that
//! share a slot share their failures, which makes somebody wait at worst.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const SLOTS: usize = 1024;
/// Attempts that need not wait.
const FREE: u32 = 5;
/// The longest that one has to wait. Whoever knows a name can make its owner wait so long, no more.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// After so long without an attempt all is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);

/// The attempts that failed lately.
pub(super) struct Attempts {
    keyed: RandomState,
    slots: Mutex<Vec<Slot>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    failures: u32,
    last: Option<Instant>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            keyed: RandomState::new(),
            slots: Mutex::new(vec![Slot::default(); SLOTS]),
        }
    }
}

impl Attempts {
    /// Counts an attempt under `name`, as one that fails until [`succeeded`](Self::succeeded).
    ///
    /// # Errors
    /// How long to wait; the attempt is not made and not counted.
    pub(super) fn begin(&self, name: &str) -> Result<(), Duration> {
        self.slot(name, |slot| {
            let now = Instant::now();
            let since = slot.last.map(|last| now.duration_since(last));
            if since.is_none_or(|since| since >= FORGOTTEN_AFTER) {
                *slot = Slot::default();
            }
            let wait = slot.wait();
            let waited = since.unwrap_or(Duration::MAX);
            if waited < wait {
                return Err(wait - waited);
            }
            slot.failures = slot.failures.saturating_add(1);
            slot.last = Some(now);
            Ok(())
        })
    }

    /// Forgets the failures under `name`.
    pub(super) fn succeeded(&self, name: &str) {
        self.slot(name, |slot| *slot = Slot::default());
    }

    fn slot<T>(&self, name: &str, with: impl FnOnce(&mut Slot) -> T) -> T {
        let place = self.keyed.hash_one(name) % SLOTS as u64;
        // A slot is whole after every statement, so it is even after a panic elsewhere.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        with(&mut slots[usize::try_from(place).unwrap_or_default()])
    }
}

impl Slot {
    fn wait(self) -> Duration {
        match self.failures.checked_sub(FREE) {
            None => Duration::ZERO,
            Some(beyond) => Duration::from_secs(1 << beyond.min(10)).min(WAIT_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn five_attempts_are_free_and_then_each_waits_longer_up_to_a_bound() {
        let attempts = Attempts::default();
        for _ in 0..FREE {
            assert_eq!(attempts.begin("anna"), Ok(()));
        }
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            let wait = Duration::from_secs(wait);
            assert_eq!(attempts.begin("anna"), Err(wait));
            tokio::time::advance(wait - Duration::from_millis(1)).await;
            assert!(attempts.begin("anna").is_err());
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(attempts.begin("anna"), Ok(()), "{wait:?}");
        }
        attempts.succeeded("anna");
        assert_eq!(attempts.begin("anna"), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_forgotten_after_a_while_and_many_names_take_no_more_room() {
        let attempts = Attempts::default();
        for _ in 0..FREE {
            assert_eq!(attempts.begin("anna"), Ok(()));
        }
        tokio::time::advance(FORGOTTEN_AFTER).await;
        for _ in 0..FREE {
            assert_eq!(attempts.begin("anna"), Ok(()));
        }
        for number in 0..10_000 {
            let _ = attempts.begin(&format!("user-{number}"));
        }
        assert_eq!(attempts.slots.lock().unwrap().len(), SLOTS);
    }
}
