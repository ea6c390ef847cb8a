//! Pauses between attempts: growing, bounded, jittered.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The first pause, before jitter.
const FIRST: Duration = Duration::from_millis(50);
/// The longest pause, before jitter.
const LONGEST: Duration = Duration::from_secs(2);

/// Gives one pause after the other.
#[derive(Debug)]
pub(super) struct Backoff {
    rng: ChaCha8Rng,
    pause: Duration,
}

impl Backoff {
    /// The seed tells agents apart, so that those who lost the same leader do not return together.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            pause: FIRST,
        }
    }

    /// Between half and all of a pause that doubles each time.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.pause.mul_f64(self.rng.random_range(0.5..1.0));
        self.pause = (self.pause * 2).min(LONGEST);
        pause
    }

    /// Between once and twice a pause that the store asked for, so that not all whom it asked come
    /// back together.
    pub(super) fn spread(&mut self, pause: Duration) -> Duration {
        pause.mul_f64(self.rng.random_range(1.0..2.0))
    }

    /// Begins with short pauses again.
    pub(super) const fn reset(&mut self) {
        self.pause = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_short_after_a_success() {
        let mut backoff = Backoff::new(1);
        let pauses: Vec<Duration> = (0..12).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= FIRST && pauses[0] >= FIRST / 2);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses[11] >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn a_pause_asked_for_is_kept_and_spread() {
        let mut backoff = Backoff::new(1);
        let asked = Duration::from_millis(100);
        let pauses: Vec<Duration> = (0..50).map(|_| backoff.spread(asked)).collect();
        assert!(
            pauses
                .iter()
                .all(|pause| (asked..asked * 2).contains(pause))
        );
        assert!(pauses.iter().any(|pause| *pause > asked.mul_f64(1.7)));
        assert!(pauses.iter().any(|pause| *pause < asked.mul_f64(1.3)));
    }

    #[test]
    fn two_agents_pause_differently() {
        let pauses = |seed| -> Vec<Duration> {
            let mut backoff = Backoff::new(seed);
            (0..4).map(|_| backoff.next()).collect()
        };
        assert_ne!(pauses(1), pauses(2));
        assert_eq!(pauses(1), pauses(1));
    }
}
