//! Which readings of a series arrive late, and how late: what a link that comes and goes makes of them.
//!
//! Readings are late in stretches of some dozens, which arrive together: most some minutes late, many
//! some hours, a few some days. A few of them had arrived in time, with another value that is then
//! replaced.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::LoadShape;

/// Most readings of a stretch.
const STRETCH_MAX: u32 = 64;
/// One in so many late readings corrects one that had arrived in time.
pub(super) const CORRECTED_ONE_IN: u32 = 50;
/// Set in the number of every random stream of lateness: those without are the walks'.
const STREAM: u64 = 1 << 63;

const MINUTE_NS: u64 = 60_000_000_000;
const HOUR_NS: u64 = 60 * MINUTE_NS;
const DAY_NS: u64 = 24 * HOUR_NS;

/// When one reading arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// When it is made.
    InTime,
    /// Only when the reading with the number `due` is made.
    Late { due: u64 },
    /// In time with another value, and as it is when the reading with the number `due` is made.
    Corrected { due: u64 },
}

/// Decides about the readings of one series.
#[derive(Debug)]
pub(super) struct Lateness {
    rng: ChaCha8Rng,
    fraction: f64,
    period_ns: u64,
    /// The number of the first reading after the current stretch.
    end: u64,
    /// When the current stretch arrives, if it is late.
    due: Option<u64>,
}

impl Lateness {
    /// Of series `index`.
    pub(super) fn new(shape: &LoadShape, index: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(shape.seed);
        rng.set_stream(STREAM | index);
        Self {
            rng,
            fraction: shape.late,
            period_ns: u64::try_from(shape.period.as_nanos())
                .unwrap_or(u64::MAX)
                .max(1),
            end: 0,
            due: None,
        }
    }

    /// When the reading with `number` arrives; asked once for each, in order.
    pub(super) fn of(&mut self, number: u64) -> Arrival {
        if self.fraction == 0.0 {
            return Arrival::InTime;
        }
        if number >= self.end {
            self.end = number + 1 + u64::from(self.rng.next_u32() % STRETCH_MAX);
            let is_late = f64::from(self.rng.next_u32()) < self.fraction * 2_f64.powi(32);
            self.due = is_late.then(|| self.end + self.delay());
        }
        match self.due {
            None => Arrival::InTime,
            Some(due) if self.rng.next_u32().is_multiple_of(CORRECTED_ONE_IN) => {
                Arrival::Corrected { due }
            }
            Some(due) => Arrival::Late { due },
        }
    }

    /// How late a stretch is, in readings: at least one after its end.
    fn delay(&mut self) -> u64 {
        let (least_ns, most_ns) = match self.rng.next_u32() % 8 {
            0..4 => (MINUTE_NS, HOUR_NS),
            4..7 => (HOUR_NS, DAY_NS),
            _ => (DAY_NS, 7 * DAY_NS),
        };
        let delay_ns = least_ns + self.rng.next_u64() % (most_ns - least_ns);
        delay_ns / self.period_ns + 1
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sensor_model::Timestamp;

    use super::*;

    fn arrivals(late: f64, seed: u64) -> Vec<Arrival> {
        let shape = LoadShape {
            devices: 1,
            metrics: 1,
            readings: 1_000_000,
            chunk: 1,
            seed,
            start: Timestamp::from_nanos(0),
            period: Duration::from_secs(10),
            late,
        };
        let mut lateness = Lateness::new(&shape, 0);
        (0..shape.readings)
            .map(|number| lateness.of(number))
            .collect()
    }

    #[test]
    fn the_fraction_is_late_by_minutes_hours_and_days() {
        let mut minutes = 0;
        let mut hours = 0;
        let mut days = 0;
        for (number, arrival) in (0..).zip(arrivals(0.25, 1)) {
            let (Arrival::Late { due } | Arrival::Corrected { due }) = arrival else {
                continue;
            };
            let late_ns = (due - number) * 10_000_000_000;
            let stretch_ns = u64::from(STRETCH_MAX) * 10_000_000_000;
            assert!((MINUTE_NS..=7 * DAY_NS + stretch_ns).contains(&late_ns));
            match late_ns {
                0..HOUR_NS => minutes += 1,
                HOUR_NS..DAY_NS => hours += 1,
                _ => days += 1,
            }
        }
        let late: u32 = minutes + hours + days;
        assert!((230_000..270_000).contains(&late), "{late}");
        assert!(
            minutes > hours && hours > days && days > 20_000,
            "{minutes} {hours} {days}"
        );
    }

    #[test]
    fn none_and_all_can_be_late_and_a_seed_decides_which() {
        assert!(
            arrivals(0.0, 1)
                .iter()
                .all(|arrival| *arrival == Arrival::InTime)
        );
        assert!(
            arrivals(1.0, 1)
                .iter()
                .all(|arrival| *arrival != Arrival::InTime)
        );
        assert!(arrivals(0.5, 1) == arrivals(0.5, 1));
        assert!(arrivals(0.5, 1) != arrivals(0.5, 2));
    }
}
