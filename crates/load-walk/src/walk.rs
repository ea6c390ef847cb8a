//! One series of a load: a random walk in steps of 0.1, a reading each period, and the order in which
//! its readings arrive.
//!
//! Values come from a generator seeded by the load's seed and the series' number, lateness
//! (`lateness.rs`) from another: so a load with late readings comes to the same history as one without.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sensor_model::{Columns, PathError, SeriesPath, Values};

use crate::LoadShape;
use crate::lateness::{Arrival, Lateness};

/// One series on its way.
#[derive(Debug)]
pub struct Walk {
    path: SeriesPath,
    start_ns: i64,
    period_ns: i64,
    rng: ChaCha8Rng,
    /// Randomness of which some is left: a word holds several steps.
    random: u32,
    /// How many steps are left in it.
    steps_left: u32,
    tenths: i64,
    made: u64,
    total: u64,
    lateness: Lateness,
    /// Readings that were made and are still to arrive, the next first.
    held: BinaryHeap<Reverse<Held>>,
}

/// A late reading: it arrives right before the reading with the number `due` is made.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: u64,
    number: u64,
    tenths: i64,
}

impl Walk {
    /// Series `index` of the shape's.
    ///
    /// # Errors
    /// [`PathError`] when there are so many devices that its name becomes too long.
    pub fn new(shape: &LoadShape, index: u64) -> Result<Self, PathError> {
        let series = shape.series();
        let (device, metric) = (
            index / u64::from(shape.metrics) + 1,
            index % u64::from(shape.metrics) + 1,
        );
        let mut rng = ChaCha8Rng::seed_from_u64(shape.seed);
        rng.set_stream(index);
        let from_100_to_300 = i64::from(rng.next_u32() % 2_000) + 1_000;
        Ok(Self {
            path: SeriesPath::new(format!("load/d{device:04}/m{metric:02}"))?,
            start_ns: shape.start.as_nanos(),
            period_ns: i64::try_from(shape.period.as_nanos()).unwrap_or(i64::MAX),
            rng,
            random: 0,
            steps_left: 0,
            tenths: from_100_to_300,
            made: 0,
            // The first series get one more where the total cannot be divided.
            total: shape.readings / series + u64::from(index < shape.readings % series),
            lateness: Lateness::new(shape, index),
            held: BinaryHeap::new(),
        })
    }

    /// The series.
    pub fn path(&self) -> &SeriesPath {
        &self.path
    }

    /// Whether every reading has arrived.
    pub fn is_done(&self) -> bool {
        self.made == self.total && self.held.is_empty()
    }

    /// Replaces what is in `columns`, which are floats, by the next readings: `count`, or as many as
    /// are left.
    ///
    /// # Panics
    /// When `columns` are not floats.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a walk stays far below 2^53 tenths"
    )]
    pub fn take(&mut self, count: u32, columns: &mut Columns) {
        let Values::F64(values) = &mut columns.values else {
            unreachable!("made as floats");
        };
        columns.times.clear();
        values.clear();
        for _ in 0..count {
            let Some((number, tenths)) = self.next_arrival() else {
                break;
            };
            let number = i64::try_from(number).expect("fewer than 2^63 readings");
            let after = number.saturating_mul(self.period_ns);
            columns.times.push(self.start_ns.saturating_add(after));
            values.push(tenths as f64 / 10.0);
        }
    }

    /// The number and the value of the reading that arrives next.
    fn next_arrival(&mut self) -> Option<(u64, i64)> {
        loop {
            let made = self.made;
            let is_due = |held: &Reverse<Held>| held.0.due <= made || made == self.total;
            if self.held.peek().is_some_and(is_due) {
                return self.held.pop().map(|held| (held.0.number, held.0.tenths));
            }
            if made == self.total {
                return None;
            }
            self.made += 1;
            self.tenths += self.step();
            let (due, is_corrected) = match self.lateness.of(made) {
                Arrival::InTime => return Some((made, self.tenths)),
                Arrival::Late { due } => (due, false),
                Arrival::Corrected { due } => (due, true),
            };
            self.held.push(Reverse(Held {
                due,
                number: made,
                tenths: self.tenths,
            }));
            if is_corrected {
                /// Far enough to be seen, near enough to be believed.
                const WRONG_BY: i64 = 10;
                return Some((made, self.tenths + WRONG_BY));
            }
        }
    }

    /// -3 to 3 tenths. The draws do not depend on how many are taken at a time.
    fn step(&mut self) -> i64 {
        const STEPS_A_WORD: u32 = 9;
        if self.steps_left == 0 {
            self.random = self.rng.next_u32();
            self.steps_left = STEPS_A_WORD;
        }
        let step = i64::from(self.random % 7) - 3;
        self.random /= 7;
        self.steps_left -= 1;
        step
    }
}
