//! What one machine does, as a function of time: running, pausing, breaking down.
//!
//! Time is cut into blocks of ten minutes. A generator seeded by plant, machine and block decides
//! what happens inside: nothing, a pause or a breakdown, and whether one sensor falls silent for a
//! while. Each block begins and ends running, so that a block needs to know nothing of its
//! neighbours; only the count of parts is a sum over the blocks of the day, kept as it grows.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sensor_model::Timestamp;

const SECOND_NS: i64 = 1_000_000_000;
const BLOCK_NS: i64 = 600 * SECOND_NS;
const DAY_NS: i64 = 86_400 * SECOND_NS;

/// How fast a machine warms up and cools down, in s.
const WARMING_S: f64 = 60.0;

/// The generator's stream for blocks; the noise has a machine's number as its stream.
const BLOCK_STREAM: u64 = 1 << 32;

/// What a machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Idle,
    Fault,
}

/// A machine at one instant.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) state: State,
    /// How warmed up it is, 0 to 1.
    pub(super) work: f64,
    /// How far a breakdown has heated it, 0 to 1.
    pub(super) heat: f64,
    /// The daily curve, -1 in the small hours to 1 in the afternoon.
    pub(super) daily: f64,
    /// The sensor's drift since its last calibration at midnight, 0 to 1.
    pub(super) drift: f64,
    /// Parts made since midnight UTC.
    pub(super) parts: i64,
    /// The sensor that reports nothing, by its place among the machine's sensors.
    pub(super) silent_sensor: Option<usize>,
}

/// One machine's course.
#[derive(Debug)]
pub(super) struct Timeline {
    seed: u64,
    machine: u32,
    current: Option<(i64, Block)>,
    /// Up to which block of which day the running time is summed.
    summed: Option<Summed>,
}

#[derive(Debug, Clone, Copy)]
struct Summed {
    day: i64,
    /// The first block not yet summed.
    next_block: i64,
    running_ns: i64,
}

/// What happens in one block, in ns from its start.
#[derive(Debug, Clone, Copy)]
struct Block {
    stop: Option<Stop>,
    silence: Option<Silence>,
}

#[derive(Debug, Clone, Copy)]
struct Stop {
    state: State,
    from: i64,
    to: i64,
}

#[derive(Debug, Clone, Copy)]
struct Silence {
    sensor: usize,
    from: i64,
    to: i64,
}

impl State {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Fault => "fault",
        }
    }
}

impl Timeline {
    pub(super) const fn new(seed: u64, machine: u32) -> Self {
        Self {
            seed,
            machine,
            current: None,
            summed: None,
        }
    }

    /// What the machine does at `at`, making a part each `cycle_s` seconds of running.
    pub(super) fn condition_at(&mut self, at: Timestamp, cycle_s: f64) -> Condition {
        let number = at.as_nanos().div_euclid(BLOCK_NS);
        let offset = at.as_nanos().rem_euclid(BLOCK_NS);
        let block = self.block(number);
        let running_ns = self.running_before(number) + block.running_before(offset);
        let day_part = seconds(at.as_nanos().rem_euclid(DAY_NS)) / seconds(DAY_NS);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "seconds of one day over a cycle time"
        )]
        let parts = (seconds(running_ns) / cycle_s).floor() as i64;
        Condition {
            state: block.state(offset),
            work: block.work(offset),
            heat: block.heat(offset),
            daily: ((day_part - 0.375) * std::f64::consts::TAU).sin(),
            drift: day_part,
            parts,
            silent_sensor: block.silent_sensor(offset),
        }
    }

    /// The noise of this machine's sensors at `at`.
    pub(super) fn noise_at(&self, at: Timestamp) -> ChaCha8Rng {
        self.generator(u64::from(self.machine), at.as_nanos())
    }

    /// A generator that depends on its arguments alone.
    fn generator(&self, stream: u64, position: i64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        // One block of the generator (16 words) for each ns: no two instants share any.
        rng.set_word_pos(u128::from(position.cast_unsigned()) * 16);
        rng
    }

    fn block(&mut self, number: i64) -> Block {
        if let Some((current, block)) = self.current
            && current == number
        {
            return block;
        }
        let mut rng = self.generator(BLOCK_STREAM | u64::from(self.machine), number);
        let block = Block::draw(&mut rng);
        self.current = Some((number, block));
        block
    }

    /// How long the machine ran from midnight to the start of the block.
    fn running_before(&mut self, number: i64) -> i64 {
        let day = (number * BLOCK_NS).div_euclid(DAY_NS);
        let midnight = day * (DAY_NS / BLOCK_NS);
        let mut summed = self
            .summed
            .filter(|summed| summed.day == day && summed.next_block <= number)
            .unwrap_or(Summed {
                day,
                next_block: midnight,
                running_ns: 0,
            });
        while summed.next_block < number {
            summed.running_ns += self.block(summed.next_block).running_before(BLOCK_NS);
            summed.next_block += 1;
        }
        self.summed = Some(summed);
        summed.running_ns
    }
}

impl Block {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let state = match rng.random_range(0..1000) {
            0..220 => Some(State::Idle),
            220..245 => Some(State::Fault),
            _ => None,
        };
        let stop = state.map(|state| {
            let from = rng.random_range(30..250) * SECOND_NS;
            Stop {
                state,
                from,
                to: from + rng.random_range(20..150) * SECOND_NS,
            }
        });
        let silence = rng.random_bool(0.05).then(|| {
            let from = rng.random_range(0..500) * SECOND_NS;
            Silence {
                sensor: rng.random_range(0..super::SENSORS.len()),
                from,
                to: from + rng.random_range(5..90) * SECOND_NS,
            }
        });
        Self { stop, silence }
    }

    fn state(&self, offset: i64) -> State {
        match self.stop {
            Some(stop) if stop.from <= offset && offset < stop.to => stop.state,
            _ => State::Running,
        }
    }

    fn running_before(&self, offset: i64) -> i64 {
        let stopped = self.stop.map_or(0, |stop| {
            (offset.min(stop.to) - offset.min(stop.from)).max(0)
        });
        offset - stopped
    }

    /// Cools down from 1 while stopped, warms up again afterwards.
    fn work(&self, offset: i64) -> f64 {
        1.0 - self.stop.map_or(0.0, |stop| stop.effect(offset))
    }

    /// Heats up during a breakdown, cools down afterwards.
    fn heat(&self, offset: i64) -> f64 {
        match self.stop {
            Some(stop) if stop.state == State::Fault => stop.effect(offset),
            _ => 0.0,
        }
    }

    fn silent_sensor(&self, offset: i64) -> Option<usize> {
        let silence = self.silence?;
        (silence.from <= offset && offset < silence.to).then_some(silence.sensor)
    }
}

impl Stop {
    /// 0 before, rising towards 1 during the stop, falling back afterwards.
    fn effect(&self, offset: i64) -> f64 {
        if offset < self.from {
            return 0.0;
        }
        let grown = 1.0 - (-seconds(offset.min(self.to) - self.from) / WARMING_S).exp();
        if offset < self.to {
            grown
        } else {
            grown * (-seconds(offset - self.to) / WARMING_S).exp()
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "within a day, ns are exact in a float"
)]
fn seconds(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_back_in_time_gives_what_was_given_before() {
        let at = |minute: i64| Timestamp::from_nanos(minute * 60 * SECOND_NS);
        let mut timeline = Timeline::new(5, 3);
        let forward: Vec<i64> = (0..600)
            .map(|minute| timeline.condition_at(at(minute), 3.0).parts)
            .collect();
        let mut backward: Vec<i64> = (0..600)
            .rev()
            .map(|minute| timeline.condition_at(at(minute), 3.0).parts)
            .collect();
        backward.reverse();
        assert_eq!(forward, backward);
    }

    #[test]
    fn a_stop_shows_in_state_work_and_running_time() {
        let block = Block {
            stop: Some(Stop {
                state: State::Fault,
                from: 100 * SECOND_NS,
                to: 200 * SECOND_NS,
            }),
            silence: None,
        };
        assert_eq!(block.state(99 * SECOND_NS), State::Running);
        assert_eq!(block.state(100 * SECOND_NS), State::Fault);
        assert_eq!(block.state(200 * SECOND_NS), State::Running);
        assert_eq!(block.running_before(BLOCK_NS), 500 * SECOND_NS);
        assert!(block.work(199 * SECOND_NS) < 0.2 && block.heat(199 * SECOND_NS) > 0.8);
        assert!(block.work(599 * SECOND_NS) > 0.99);
    }
}
