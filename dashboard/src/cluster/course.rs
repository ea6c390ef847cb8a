//! How fast something grows, from a few counts of it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Over how long a rate is taken.
const WINDOW: Duration = Duration::from_secs(6);
/// Most counts that are kept.
const COUNTS_MAX: usize = 32;

/// A few counts of something that grows, and when they were taken.
#[derive(Debug, Default)]
pub(super) struct Course {
    counts: VecDeque<(Instant, u64)>,
}

impl Course {
    /// Adds a count that was taken now. One that is smaller than the last begins anew: the counter
    /// did.
    pub(super) fn note(&mut self, count: u64) {
        let now = Instant::now();
        if self.counts.back().is_some_and(|(_, last)| *last > count) {
            self.counts.clear();
        }
        self.counts.push_back((now, count));
        // The last one before the window is its beginning.
        while self.counts.len() > COUNTS_MAX
            || (self.counts.len() > 2 && now.duration_since(self.counts[1].0) >= WINDOW)
        {
            self.counts.pop_front();
        }
    }

    /// How many a second; `None` before the second count.
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    pub(super) fn rate(&self) -> Option<f64> {
        let ((began, first), (ended, last)) = (self.counts.front()?, self.counts.back()?);
        let seconds = ended.duration_since(*began).as_secs_f64();
        (seconds > 0.0).then(|| (last - first) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_that_of_the_last_seconds_and_begins_anew_with_the_counter() {
        let mut course = Course::default();
        course.note(0);
        assert_eq!(course.rate(), None);
        for second in 1..=100 {
            tokio::time::advance(Duration::from_secs(1)).await;
            course.note(if second <= 50 {
                second * 10
            } else {
                500 + (second - 50) * 100
            });
        }
        assert_eq!(course.rate(), Some(100.0));
        assert!(course.counts.len() <= COUNTS_MAX);
        course.note(3);
        assert_eq!(course.rate(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_often_keeps_so_many_counts() {
        let mut course = Course::default();
        for count in 0..1_000 {
            tokio::time::advance(Duration::from_millis(10)).await;
            course.note(count);
        }
        assert_eq!(course.counts.len(), COUNTS_MAX);
    }
}
