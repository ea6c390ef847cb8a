//! Keeps what is fetched to a rate.

use std::{
    num::NonZeroU64,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// What may be caught up of time in which nothing was fetched.
const CREDIT_MAX: Duration = Duration::from_millis(100);

/// Bytes a second at most, over everything this node fetches.
#[derive(Debug)]
pub(super) struct Throttle {
    /// None for as fast as it comes.
    rate: Option<NonZeroU64>,
    /// When what was fetched so far would be paid for.
    paid: Mutex<Instant>,
}

impl Throttle {
    /// At most `rate` bytes a second; 0 for as fast as it comes.
    pub(super) fn new(rate: u64) -> Self {
        Self {
            rate: NonZeroU64::new(rate),
            paid: Mutex::new(Instant::now()),
        }
    }

    /// Waits as long as `bytes` take that have just arrived.
    ///
    /// # Cancel safety
    /// Safe: they count all the same.
    pub(super) async fn take(&self, bytes: u64) {
        if let Some(until) = self.paid_at(Instant::now(), bytes) {
            sleep_until(until).await;
        }
    }

    /// When `bytes` are paid for that arrived at `now`.
    fn paid_at(&self, now: Instant, bytes: u64) -> Option<Instant> {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate?.get());
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(CREDIT_MAX).unwrap_or(now);
        *paid = (*paid).max(earliest) + time;
        Some(*paid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When so many pieces have arrived that come as fast as they may, from `now` on.
    fn arrived(throttle: &Throttle, mut now: Instant, pieces: u64) -> Instant {
        for _ in 0..pieces {
            now = throttle
                .paid_at(now, 1 << 18)
                .map_or(now, |paid| paid.max(now));
        }
        now
    }

    #[test]
    fn what_is_fetched_keeps_to_the_rate_however_long_nothing_was() {
        let throttle = Throttle::new(1 << 20);
        let mut begun = Instant::now();
        for _ in 0..2 {
            let time = arrived(&throttle, begun, 40) - begun;
            assert!(time <= Duration::from_secs(10), "{time:?}");
            assert!(time >= Duration::from_secs(10) - CREDIT_MAX, "{time:?}");
            begun += Duration::from_secs(3600);
        }
        assert_eq!(arrived(&Throttle::new(0), begun, 1_000), begun);
    }
}
