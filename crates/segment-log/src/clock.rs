//! The one place that looks at the clock, to measure how long a sync took.
//!
//! A duration measured here is reported and never decides anything.

use std::time::Instant;

/// Now, for measuring an interval.
#[expect(
    clippy::disallowed_methods,
    reason = "measures a sync on a plain thread, where no paused clock could advance anyway"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
