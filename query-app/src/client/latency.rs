//! How long something usually takes, learned from how long it took.

use std::time::Duration;

/// A smoothed mean and how far single times lie from it (RFC 6298, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Latency {
    mean: Duration,
    deviation: Duration,
}

impl Latency {
    /// Known from one time alone.
    pub(crate) fn of(first: Duration) -> Self {
        Self {
            mean: first,
            deviation: first / 2,
        }
    }

    /// Takes note of one more time.
    pub(crate) fn note(&mut self, time: Duration) {
        self.deviation = (self.deviation * 3 + self.mean.abs_diff(time)) / 4;
        self.mean = (self.mean * 7 + time) / 8;
    }

    /// The smoothed mean.
    pub(crate) const fn mean(&self) -> Duration {
        self.mean
    }

    /// What is seldom exceeded.
    pub(crate) fn bound(&self) -> Duration {
        self.mean + self.deviation * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_steady_time_is_its_own_bound_after_a_while() {
        let mut latency = Latency::of(ms(10));
        assert_eq!(latency.bound(), ms(30));
        for _ in 0..50 {
            latency.note(ms(10));
        }
        assert_eq!(latency.mean(), ms(10));
        assert!(latency.bound() < ms(11), "{latency:?}");
    }

    #[test]
    fn what_varies_has_a_bound_above_all_of_it() {
        let mut latency = Latency::of(ms(10));
        for round in 0..100 {
            latency.note(ms(if round % 2 == 0 { 5 } else { 15 }));
        }
        assert!(latency.mean() > ms(8) && latency.mean() < ms(12));
        assert!(latency.bound() > ms(15), "{latency:?}");
    }
}
