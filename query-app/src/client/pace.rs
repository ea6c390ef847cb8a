//! How long answers take to begin, by what is asked: when it is worth asking another replica as well.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store_wire::message::Request;

use super::latency::Latency;

/// How long to wait where nothing is known yet.
const UNKNOWN: Duration = Duration::from_millis(400);
/// Asking twice sooner than this would save nothing that anybody notices.
const LEAST: Duration = Duration::from_millis(10);
/// No answer is waited for longer than this before another replica is asked.
const MOST: Duration = Duration::from_millis(750);

/// What was learned of each kind of question. Rows of a long range take longer to begin than a last
/// value, so one number for both would hedge the one always and the other never.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    kinds: Mutex<[Option<Latency>; 4]>,
}

impl Pace {
    /// After how long such a question is asked of another replica as well.
    pub(crate) fn hedge_after(&self, request: &Request) -> Duration {
        let known = self.kinds()[kind(request)];
        known.map_or(UNKNOWN, |latency| latency.bound().clamp(LEAST, MOST))
    }

    /// Takes note of how long an answer took to begin.
    pub(crate) fn note(&self, request: &Request, took: Duration) {
        match &mut self.kinds()[kind(request)] {
            Some(latency) => latency.note(took),
            unknown => *unknown = Some(Latency::of(took)),
        }
    }

    fn kinds(&self) -> MutexGuard<'_, [Option<Latency>; 4]> {
        // A hint, as good after a panic elsewhere as before.
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kind(request: &Request) -> usize {
    match request {
        Request::Within { request, .. } => kind(request),
        Request::Range { .. } => 0,
        Request::Last { .. } => 1,
        Request::Series { .. } => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_for_one_kind_says_nothing_of_another() {
        let pace = Pace::default();
        let last = Request::Status;
        assert_eq!(pace.hedge_after(&last), UNKNOWN);
        for _ in 0..50 {
            pace.note(&last, Duration::from_millis(30));
        }
        let after = pace.hedge_after(&last);
        assert!(after >= Duration::from_millis(30), "{after:?}");
        assert!(after < Duration::from_millis(33), "{after:?}");
        let series = Request::Series {
            pattern: sensor_model::Pattern::everything(),
            consistency: sensor_model::Consistency::Any,
            timeout_ms: 1,
        };
        assert_eq!(pace.hedge_after(&series), UNKNOWN);
    }

    #[test]
    fn hedging_is_never_hectic_and_never_given_up() {
        let pace = Pace::default();
        for (took, expected) in [(Duration::ZERO, LEAST), (Duration::from_secs(60), MOST)] {
            for _ in 0..100 {
                pace.note(&Request::Status, took);
            }
            assert_eq!(pace.hedge_after(&Request::Status), expected);
        }
    }
}
