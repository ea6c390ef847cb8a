//! Says the same thing about the same peer only every so often: refusals come as often as heartbeats.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long one complaint stands for its repetitions.
const REPEAT_AFTER: Duration = Duration::from_secs(10);
/// Complaints remembered; peers are few, but who knocks is not for us to say.
const REMEMBERED_MAX: usize = 256;

/// Remembers what was said when.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    said: Mutex<BTreeMap<(u64, String), Instant>>,
}

impl Complaints {
    /// Whether `complaint` about `peer` is to be said now, as it was not for a while.
    pub(super) fn is_due(&self, peer: u64, complaint: &str) -> bool {
        self.is_due_at(Instant::now(), peer, complaint)
    }

    fn is_due_at(&self, now: Instant, peer: u64, complaint: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= REMEMBERED_MAX {
            said.retain(|_, at| now.duration_since(*at) < REPEAT_AFTER);
        }
        let known = said.get(&(peer, complaint.to_owned()));
        if known.is_some_and(|at| now.duration_since(*at) < REPEAT_AFTER) {
            return false;
        }
        // With more complaints than this at a time, some are said again too soon.
        if said.len() < REMEMBERED_MAX {
            said.insert((peer, complaint.to_owned()), now);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_repeated_only_after_a_while() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        assert!(complaints.is_due_at(now, 1, "full"));
        assert!(!complaints.is_due_at(now, 1, "full"));
        assert!(complaints.is_due_at(now, 1, "foreign"));
        assert!(complaints.is_due_at(now, 2, "full"));
        assert!(complaints.is_due_at(now + REPEAT_AFTER, 1, "full"));
    }

    #[test]
    fn memory_is_bounded() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        for peer in 0..2 * REMEMBERED_MAX as u64 {
            assert!(complaints.is_due_at(now, peer, "foreign"));
        }
        let said = complaints.said.lock().expect("nobody panics with it").len();
        assert_eq!(said, REMEMBERED_MAX);
    }
}
