//! Where readings come from: a simulated plant, this machine's own sensors, a recording.
//!
//! A source is a plain value that is asked for what is due; it has no thread, no clock and no
//! network of its own. The agent decides when to ask and what becomes of the answer.
//! Read [`Source`] first, then `plant.rs`, `host.rs` and `replay.rs`.

pub mod host;
pub mod plant;
pub mod replay;

use std::time::Duration;

use bytes::Bytes;
use sensor_model::{SeriesDescription, Timestamp, Value};

/// A source's own number of a series: its place in the order of declaration, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceSeries(pub u32);

/// One reading as a source gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Which series.
    pub series: SourceSeries,
    /// When it was taken.
    pub timestamp: Timestamp,
    /// What was read; not yet checked.
    pub value: Value,
}

/// What a source has given: the series it declared, each once, and readings not yet taken away.
#[derive(Debug, Default)]
pub struct Samples {
    series: Vec<SeriesDescription>,
    readings: Vec<Sample>,
}

/// When a source wants to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At this time of the wall clock.
    At(Timestamp),
    /// As soon as there is room for more.
    Immediately,
    /// Never: it has given everything.
    End,
}

/// What becomes of readings when there is no room for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// They are taken whether or not there is room: the oldest unsent ones make way.
    Live,
    /// They were recorded before and can wait.
    Recorded,
}

/// Why a source gives nothing more. Readings given before are good.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file cannot be read on.
    #[error("cannot read {file} beyond line {line}")]
    Read {
        /// The file.
        file: String,
        /// The last line that was read.
        line: u64,
        /// What the system or the CSV reader said.
        source: csv::Error,
    },
}

/// Something that takes readings.
///
/// What an implementation guarantees:
/// - a series is declared before its first reading, once;
/// - one call of [`Source::sample`] gives whole samplings: what belongs together (a row, an
///   instant) is never split over two calls;
/// - [`Source::position`] covers exactly what all calls so far have given.
pub trait Source: Send {
    /// Gives what is due at `now` and says when to ask again.
    ///
    /// # Errors
    /// [`SourceError`] when it cannot go on; what was pushed before stands.
    fn sample(&mut self, now: Timestamp, samples: &mut Samples) -> Result<Next, SourceError>;

    /// What becomes of its readings when there is no room.
    fn nature(&self) -> Nature;

    /// Where a later run can go on after everything given so far, for a source that can: at most
    /// 1 KiB, meaningful to this source alone.
    fn position(&self) -> Option<Bytes> {
        None
    }

    /// Goes on at a position that an earlier run of the same source left. A position of something
    /// else is ignored. Returns whether it was taken.
    fn resume(&mut self, position: &[u8]) -> bool {
        let _ = position;
        false
    }
}

impl Samples {
    /// Declares a series.
    pub fn declare(&mut self, description: SeriesDescription) -> SourceSeries {
        let number = u32::try_from(self.series.len()).expect("a source has fewer than 2^32 series");
        self.series.push(description);
        SourceSeries(number)
    }

    /// Adds a reading of a declared series.
    pub fn push(&mut self, series: SourceSeries, timestamp: Timestamp, value: Value) {
        debug_assert!((series.0 as usize) < self.series.len(), "declared before");
        self.readings.push(Sample {
            series,
            timestamp,
            value,
        });
    }

    /// Every series declared so far, in the order of their numbers.
    pub fn series(&self) -> &[SeriesDescription] {
        &self.series
    }

    /// The readings not yet taken away.
    pub fn readings(&self) -> &[Sample] {
        &self.readings
    }

    /// Takes the readings away, keeping the room they took.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Sample> {
        self.readings.drain(..)
    }
}

/// The instants at which a live source samples: multiples of a period since 1970-01-01 UTC, so
/// that a restarted agent goes on at the same instants.
#[derive(Debug, Clone)]
pub struct Ticks {
    period_ns: i64,
    next: Option<i64>,
}

/// How far behind the clock sampling is caught up; beyond, the instants in between are left out.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

impl Ticks {
    /// Ticks `rate_hz` times a second.
    ///
    /// # Panics
    /// When the rate is not between 1e-6 and 1e9: the command line checks it.
    pub fn new(rate_hz: f64) -> Self {
        assert!((1e-6..=1e9).contains(&rate_hz), "a checked rate");
        #[expect(
            clippy::cast_possible_truncation,
            reason = "between 1 and 1e15 by the rate's bounds"
        )]
        let period_ns = (1e9 / rate_hz).round() as i64;
        Self {
            period_ns: period_ns.max(1),
            next: None,
        }
    }

    /// The time between two ticks, in ns.
    pub const fn period_ns(&self) -> i64 {
        self.period_ns
    }

    /// The next tick if it is due at `now`; called again, the one after it. The first tick is the
    /// last one not after `now`. When too many were missed, they are left out and counted.
    pub fn due(&mut self, now: Timestamp) -> Option<Timestamp> {
        let now = now.as_nanos();
        let latest = now - now.rem_euclid(self.period_ns);
        let mut tick = self.next.unwrap_or(latest);
        let behind = Duration::from_nanos(u64::try_from(now - tick).ok()?);
        if behind > CATCH_UP_MAX && latest > tick {
            let missed = (latest - tick) / self.period_ns;
            tracing::warn!(
                missed,
                "sampling fell behind the clock: these instants are left out"
            );
            tick = latest;
        }
        self.next = Some(tick + self.period_ns);
        Some(Timestamp::from_nanos(tick))
    }

    /// When the next tick is due.
    pub fn next(&self) -> Next {
        self.next.map_or(Next::Immediately, |tick| {
            Next::At(Timestamp::from_nanos(tick))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: i64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    #[test]
    fn ticks_lie_on_the_grid_and_none_is_repeated_or_left_out() {
        let mut ticks = Ticks::new(10.0);
        assert_eq!(ticks.due(at(1_234_567_890)), Some(at(1_200_000_000)));
        assert_eq!(ticks.due(at(1_234_567_890)), None);
        assert_eq!(ticks.next(), Next::At(at(1_300_000_000)));
        assert_eq!(ticks.due(at(1_450_000_000)), Some(at(1_300_000_000)));
        assert_eq!(ticks.due(at(1_450_000_000)), Some(at(1_400_000_000)));
        assert_eq!(ticks.due(at(1_450_000_000)), None);
    }

    #[test]
    fn a_long_pause_is_not_caught_up() {
        let mut ticks = Ticks::new(1.0);
        assert_eq!(ticks.due(at(0)), Some(at(0)));
        let later = 3_600_000_000_000;
        assert_eq!(ticks.due(at(later + 5)), Some(at(later)));
        assert_eq!(ticks.due(at(later + 5)), None);
    }
}
