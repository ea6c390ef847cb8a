//! What a run did: counts, latencies, and the JSON line at its end.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

/// Counts of one run. Readings, unless said otherwise.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Handed to the store for the first time in this run.
    pub sent: u64,
    /// Of those, acknowledged by the store.
    pub acked: u64,
    /// Of those, left out by the store: not permitted, or of another kind.
    pub refused: u64,
    /// Dropped unsent because the spool was full.
    pub dropped: u64,
    /// Set aside because the store can never take them.
    pub dead: u64,
    /// Batches the store had applied before and suppressed.
    pub duplicates_suppressed: u64,
    /// From handing a batch to the stream to its acknowledgement.
    pub latency: Latency,
    /// The longest time without an acknowledgement while a batch waited for one.
    pub gap_max: Duration,
    /// When an acknowledgement last came.
    last_ack_at: Option<Instant>,
}

/// A histogram of latencies.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

/// The end of a run, as it is printed with `--json`.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Readings handed to the store.
    pub sent: u64,
    /// Readings acknowledged.
    pub acked: u64,
    /// Batches the store had applied before and suppressed.
    pub duplicates_suppressed: u64,
    /// Readings dropped because the spool was full.
    pub dropped: u64,
    /// Readings set aside because the store can never take them.
    pub dead: u64,
    /// Readings refused, by the store or because they were no legal values.
    pub refused: u64,
    /// How often a connection had to be made again.
    pub reconnects: u64,
    /// From the start to the last acknowledgement; goodbyes do not count.
    pub seconds: f64,
    /// Acknowledged readings over that time.
    pub readings_per_second: f64,
    /// Latencies of acknowledgements.
    pub ack_ms: AckMillis,
    /// The longest time in ms that one connection saw no acknowledgement while it waited for one.
    pub ack_gap_ms: f64,
}

/// Latencies of acknowledgements in ms; 0 when there were none.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct AckMillis {
    /// Half were faster.
    pub p50: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
    /// 999 of 1,000 were faster.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Default for Latency {
    fn default() -> Self {
        // Microseconds, to 3 digits, up to ten minutes; slower counts as that.
        const SLOWEST_US: u64 = 600_000_000;
        Self(Histogram::new_with_max(SLOWEST_US, 3).expect("legal bounds"))
    }
}

impl Latency {
    /// Counts one latency in.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros);
    }

    /// Counts all of `other` in.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    fn at(&self, quantile: f64) -> f64 {
        millis(self.0.value_at_quantile(quantile))
    }

    fn as_millis(&self) -> AckMillis {
        AckMillis {
            p50: self.at(0.5),
            p99: self.at(0.99),
            p999: self.at(0.999),
            max: millis(self.0.max()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most ten minutes in us")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

impl Tally {
    /// Counts the acknowledgement in of a batch that was first sent at `sent_at`.
    pub fn acknowledged(&mut self, sent_at: Instant, acked_at: Instant) {
        self.latency.record(acked_at - sent_at);
        let waited_since = self.last_ack_at.map_or(sent_at, |at| at.max(sent_at));
        self.gap_max = self.gap_max.max(acked_at - waited_since);
        self.last_ack_at = Some(acked_at);
    }

    /// Counts all of `other` in.
    pub fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acked += other.acked;
        self.refused += other.refused;
        self.dropped += other.dropped;
        self.dead += other.dead;
        self.duplicates_suppressed += other.duplicates_suppressed;
        self.latency.merge(&other.latency);
        self.gap_max = self.gap_max.max(other.gap_max);
        self.last_ack_at = self.last_ack_at.max(other.last_ack_at);
    }

    /// The summary of a run that began at `started`.
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
    pub fn summary(&self, started: Instant, reconnects: u64) -> Summary {
        let ended = self.last_ack_at.unwrap_or_else(Instant::now);
        let elapsed = ended.saturating_duration_since(started);
        let seconds = (elapsed.as_secs_f64() * 1000.0).round() / 1000.0;
        Summary {
            sent: self.sent,
            acked: self.acked,
            duplicates_suppressed: self.duplicates_suppressed,
            dropped: self.dropped,
            dead: self.dead,
            refused: self.refused,
            reconnects,
            seconds,
            readings_per_second: (self.acked as f64 / elapsed.as_secs_f64().max(1e-9)).round(),
            ack_ms: self.latency.as_millis(),
            ack_gap_ms: self.gap_max.as_secs_f64() * 1e3,
        }
    }
}

impl Summary {
    /// The one line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers under plain names")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_from_the_last_acknowledgement_and_only_while_something_waits() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let gap = |tally: &Tally| tally.gap_max.as_millis();
        let mut tally = Tally::default();
        tally.acknowledged(at(0), at(20));
        assert_eq!(gap(&tally), 20);
        // Sent before the last acknowledgement: waited for since then.
        tally.acknowledged(at(10), at(50));
        assert_eq!(gap(&tally), 30);
        // Nothing was waited for in between.
        tally.acknowledged(at(9_000), at(9_005));
        assert_eq!(gap(&tally), 30);
        let mut both = Tally::default();
        both.merge(&tally);
        assert_eq!(gap(&both), 30);
    }

    #[test]
    fn the_line_has_the_promised_fields_and_whole_counts() {
        let mut tally = Tally {
            sent: 10,
            acked: 9,
            refused: 1,
            ..Tally::default()
        };
        for ms in 1..=1000 {
            tally.latency.record(Duration::from_millis(ms));
        }
        let started = Instant::now();
        tally.last_ack_at = Some(started + Duration::from_secs(3));
        let mut all = Tally::default();
        all.merge(&tally);
        let line = all.summary(started, 2).to_json();
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        let names: Vec<&str> = parsed
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        for name in [
            "sent",
            "acked",
            "duplicates_suppressed",
            "dropped",
            "reconnects",
            "seconds",
            "readings_per_second",
            "ack_ms",
            "refused",
            "ack_gap_ms",
        ] {
            assert!(names.contains(&name), "{name} is not in {line}");
        }
        assert_eq!(parsed["readings_per_second"], 3.0);
        let p99 = parsed["ack_ms"]["p99"].as_f64().unwrap();
        assert!((985.0..995.0).contains(&p99), "{p99}");
        assert!(!line.contains('\n'));
    }
}
