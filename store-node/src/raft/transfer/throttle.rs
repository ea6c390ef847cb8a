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
        let Some(rate) = self.rate else {
            return;
        };
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let until = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let earliest = now.checked_sub(CREDIT_MAX).unwrap_or(now);
            *paid = (*paid).max(earliest) + time;
            *paid
        };
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn time_of(throttle: &Throttle, pieces: u64) -> Duration {
        let begun = Instant::now();
        for _ in 0..pieces {
            throttle.take(1 << 18).await;
        }
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_fetched_keeps_to_the_rate_however_long_nothing_was() {
        let throttle = Throttle::new(1 << 20);
        let time = time_of(&throttle, 40).await;
        assert!(time <= Duration::from_secs(10), "{time:?}");
        assert!(time >= Duration::from_secs(10) - CREDIT_MAX, "{time:?}");
        tokio::time::advance(Duration::from_secs(3600)).await;
        let time = time_of(&throttle, 40).await;
        assert!(time >= Duration::from_secs(10) - CREDIT_MAX, "{time:?}");
        assert_eq!(time_of(&Throttle::new(0), 1_000).await, Duration::ZERO);
    }
}
