//! How long a leader may be silent while batches wait, before it is given up.
//!
//! A leader that was killed says nothing, and the transport needs 10 s to notice. One that is busy, or
//! whose disk is slow, is silent for a while, too, and giving it up costs it the batches in flight once
//! more. So the silence that is allowed follows the silences that ended by themselves, and grows with each
//! leader that was given up in vain.

use std::time::Duration;

/// What is allowed where acknowledgements come quickly: about what an election takes.
const LEAST: Duration = Duration::from_secs(1);
/// What is allowed at most.
const MOST: Duration = Duration::from_secs(4);
/// What each series that was declared may take beside that: on a busy store of 2 cores it takes 30 µs,
/// and nothing is acknowledged meanwhile.
pub(super) const DECLARED: Duration = Duration::from_micros(100);
/// So many times the longest silence of late.
const FACTOR: u32 = 4;

/// The silence that is allowed.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// The longest silence of late that ended by itself; one that was long ago counts less.
    longest: Duration,
    /// Leaders given up one after the other.
    given_up: u32,
}

impl Patience {
    /// How long to wait now.
    pub(super) fn allowed(&self) -> Duration {
        let least = LEAST * (1 << self.given_up.min(4));
        (self.longest * FACTOR).max(least).min(MOST)
    }

    /// The leader spoke after `silence` in which batches waited.
    pub(super) fn heard(&mut self, silence: Duration) {
        self.longest = silence.max(self.longest * 63 / 64);
        self.given_up = 0;
    }

    /// The leader was given up.
    pub(super) const fn gave_up(&mut self) {
        self.given_up = self.given_up.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_quick_leader_is_given_up_soon_and_a_slow_one_is_not() {
        let mut patience = Patience::default();
        assert_eq!(patience.allowed(), LEAST);
        patience.heard(ms(5));
        assert_eq!(patience.allowed(), LEAST);
        patience.heard(ms(600));
        assert_eq!(patience.allowed(), ms(2_400));
        patience.heard(ms(5));
        assert!(patience.allowed() > ms(2_300));
        patience.heard(ms(3_000));
        assert_eq!(patience.allowed(), MOST);
        // It is quick again, for long.
        for _ in 0..500 {
            patience.heard(ms(5));
        }
        assert_eq!(patience.allowed(), LEAST);
    }

    #[test]
    fn who_gives_up_in_vain_waits_longer_the_next_time() {
        let mut patience = Patience::default();
        let allowed: Vec<Duration> = (0..40)
            .map(|_| {
                patience.gave_up();
                patience.allowed()
            })
            .collect();
        assert_eq!(allowed[..3], [ms(2_000), ms(4_000), ms(4_000)]);
        assert_eq!(allowed[39], MOST);
        patience.heard(ms(5));
        assert_eq!(patience.allowed(), LEAST);
    }
}
