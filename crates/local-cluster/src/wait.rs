//! Waiting for a condition of another process: polled, with a deadline and a name.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition of another process is looked at.
const POLL: Duration = Duration::from_millis(20);

/// An instant by which something must have happened.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// `duration` from now.
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// Whether it has passed.
    pub fn passed(self) -> bool {
        Instant::now() >= self.0
    }
}

/// Polls `condition` until it gives a value.
///
/// # Errors
/// When `timeout` passes first: names `what` and the condition's last error.
pub fn until<T>(
    what: &str,
    timeout: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Deadline::after(timeout);
    loop {
        let last = condition();
        if let Ok(Some(value)) = last {
            return Ok(value);
        }
        if deadline.passed() {
            let why = last
                .err()
                .map_or(String::new(), |error| format!(": {error:#}"));
            bail!("{what} did not come about within {timeout:?}{why}");
        }
        std::thread::sleep(POLL);
    }
}
