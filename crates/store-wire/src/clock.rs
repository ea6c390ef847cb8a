//! The wall clock, as something that can be replaced.
//!
//! Certificates have dates, readings have timestamps and answers have an age: all of them ask a
//! [`Clock`]. Intervals and deadlines do not: they are `tokio::time::Instant`s.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sensor_model::Timestamp;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Now. May jump, also backwards.
    fn now(&self) -> Timestamp;
}

/// This machine's clock: the one place that reads it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that others inject"
    )]
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp::from_nanos(0).saturating_add(since),
            Err(before) => Timestamp::from_nanos(0).saturating_sub(before.duration()),
        }
    }
}

/// Whole seconds since 1970-01-01 UTC; 0 before that.
pub(crate) fn unix_time(timestamp: Timestamp) -> Duration {
    Duration::from_nanos(u64::try_from(timestamp.as_nanos()).unwrap_or(0))
}
