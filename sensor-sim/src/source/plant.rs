//! A simulated factory: lines of machines, each with eight sensors of all four kinds.
//!
//! Every reading is a function of the seed, the machine and the timestamp alone. So the same seed
//! gives the same readings at the same instants, whenever the agent was started and however often.
//! What a machine does is told block by block (see `plant/timeline.rs`): it runs, pauses, or
//! breaks down; the sensors follow that with warm-up and cooling, a daily curve, drift between
//! calibrations, noise in the sensor's own precision, and now and then a gap.

mod timeline;

use rand::RngExt;
use sensor_model::{
    Attributes, Kind, PathError, SeriesDescription, SeriesPath, Timestamp, Unit, Value,
};

use self::timeline::{Condition, State, Timeline};
use super::{Nature, Next, Samples, Source, SourceError, SourceSeries, Ticks};

/// Machines that stand in one line.
const MACHINES_A_LINE: u32 = 8;

/// The `plant` source.
#[derive(Debug)]
pub struct Plant {
    ticks: Ticks,
    machines: Vec<Machine>,
    declared: bool,
}

#[derive(Debug)]
struct Machine {
    model: &'static Model,
    timeline: Timeline,
    series: Vec<SeriesDescription>,
    numbers: Vec<SourceSeries>,
}

/// What machines of one sort have in common.
#[derive(Debug)]
struct Model {
    name: &'static str,
    /// Cold, and how much warmer at work, in degrees Celsius.
    temperature: (f64, f64),
    /// At work, in mm/s.
    vibration: f64,
    /// Idle and at work, in kW.
    power: (f64, f64),
    /// At work, in bar.
    pressure: f64,
    /// At work, turns a minute.
    speed: f64,
    /// Seconds to make one part.
    cycle_s: f64,
}

/// A machine's sensors, in the order of its series.
const SENSORS: [(&str, Kind, &str); 8] = [
    ("temperature", Kind::F64, "Cel"),
    ("vibration", Kind::F64, "mm/s"),
    ("power", Kind::F64, "kW"),
    ("pressure", Kind::F64, "bar"),
    ("speed", Kind::I64, "/min"),
    ("parts", Kind::I64, "{part}"),
    ("state", Kind::Text, ""),
    ("alarm", Kind::Bool, ""),
];

const MODELS: [Model; MACHINES_A_LINE as usize] = [
    model("press", (24.0, 22.0), 4.2, (1.1, 18.5), 160.0, 45.0, 4.0),
    model("oven", (30.0, 185.0), 0.4, (2.0, 42.0), 1.02, 12.0, 30.0),
    model("pump", (22.0, 31.0), 2.1, (0.2, 7.4), 6.3, 1450.0, 10.0),
    model("robot", (25.0, 14.0), 1.3, (0.4, 3.2), 5.9, 60.0, 6.0),
    model("mixer", (21.0, 26.0), 3.0, (0.3, 11.0), 1.4, 240.0, 90.0),
    model("lathe", (23.0, 33.0), 2.7, (0.6, 9.6), 4.8, 2200.0, 45.0),
    model(
        "compressor",
        (26.0, 54.0),
        5.1,
        (1.5, 22.0),
        8.0,
        2950.0,
        20.0,
    ),
    model("conveyor", (20.0, 9.0), 0.9, (0.1, 1.6), 5.5, 75.0, 2.0),
];

const fn model(
    name: &'static str,
    temperature: (f64, f64),
    vibration: f64,
    power: (f64, f64),
    pressure: f64,
    speed: f64,
    cycle_s: f64,
) -> Model {
    Model {
        name,
        temperature,
        vibration,
        power,
        pressure,
        speed,
        cycle_s,
    }
}

impl Plant {
    /// A plant of `machines` machines below `prefix`, sampled `rate_hz` times a second.
    ///
    /// # Errors
    /// [`PathError`] when the prefix leaves no room for line, machine and sensor.
    pub fn new(
        prefix: &SeriesPath,
        machines: u32,
        rate_hz: f64,
        seed: u64,
    ) -> Result<Self, PathError> {
        let machines = (0..machines).map(|index| Machine::new(prefix, index, seed));
        Ok(Self {
            ticks: Ticks::new(rate_hz),
            machines: machines.collect::<Result<_, _>>()?,
            declared: false,
        })
    }

    /// Pushes what every sensor shows at `at`.
    pub fn readings_at(&mut self, at: Timestamp, samples: &mut Samples) {
        if !self.declared {
            for machine in &mut self.machines {
                machine.declare(samples);
            }
            self.declared = true;
        }
        for machine in &mut self.machines {
            machine.readings_at(at, samples);
        }
    }
}

impl Source for Plant {
    fn sample(&mut self, now: Timestamp, samples: &mut Samples) -> Result<Next, SourceError> {
        while let Some(tick) = self.ticks.due(now) {
            self.readings_at(tick, samples);
        }
        Ok(self.ticks.next())
    }

    fn nature(&self) -> Nature {
        Nature::Live
    }
}

impl Machine {
    fn new(prefix: &SeriesPath, index: u32, seed: u64) -> Result<Self, PathError> {
        let line = index / MACHINES_A_LINE + 1;
        let model = &MODELS[(index % MACHINES_A_LINE) as usize];
        let attributes = Attributes::from([
            ("line".to_owned(), line.to_string()),
            ("machine".to_owned(), model.name.to_owned()),
            ("simulated".to_owned(), "true".to_owned()),
        ]);
        let describe = |(sensor, kind, unit): &(&str, Kind, &str)| {
            let path = format!("{prefix}/line-{line}/{}-{line}/{sensor}", model.name);
            Ok(SeriesDescription {
                path: SeriesPath::new(path)?,
                kind: *kind,
                unit: Unit::new(*unit).unwrap_or_default(),
                attributes: attributes.clone(),
            })
        };
        Ok(Self {
            model,
            timeline: Timeline::new(seed, index),
            series: SENSORS.iter().map(describe).collect::<Result<_, _>>()?,
            numbers: Vec::new(),
        })
    }

    fn declare(&mut self, samples: &mut Samples) {
        let declared = self.series.drain(..);
        self.numbers = declared.map(|series| samples.declare(series)).collect();
    }

    fn readings_at(&mut self, at: Timestamp, samples: &mut Samples) {
        let condition = self.timeline.condition_at(at, self.model.cycle_s);
        let values = self
            .model
            .values(&condition, &mut self.timeline.noise_at(at));
        for (sensor, value) in values.into_iter().enumerate() {
            if condition.silent_sensor != Some(sensor) {
                samples.push(self.numbers[sensor], at, value);
            }
        }
    }
}

impl Model {
    /// What the sensors show, in the order of [`SENSORS`].
    fn values(&self, condition: &Condition, rng: &mut impl RngExt) -> [Value; 8] {
        let mut noise = |scale: f64| scale * bell(rng);
        let heat = condition.heat;
        let work = condition.work;
        let (cold, rise) = self.temperature;
        let temperature = cold
            + rise * (work * 0.9 + 0.1)
            + rise * 0.35 * heat
            + 2.5 * condition.daily
            + 0.6 * condition.drift
            + noise(0.15);
        let (idle, full) = self.power;
        let power =
            idle + (full - idle) * work * (0.85 + 0.15 * condition.daily) + noise(0.02 * full);
        let vibration = self.vibration * (0.05 + work + 1.8 * heat) + noise(0.03 * self.vibration);
        let pressure =
            self.pressure * (1.0 - 0.04 * (1.0 - work) - 0.3 * heat) + noise(0.004 * self.pressure);
        let turning = if condition.state == State::Running {
            1.0
        } else {
            0.0
        };
        let speed = turning * (self.speed + noise(0.004 * self.speed));
        [
            Value::F64(rounded(temperature, 10.0)),
            Value::F64(rounded(vibration.max(0.0), 100.0)),
            Value::F64(rounded(power.max(0.0), 10.0)),
            Value::F64(rounded(pressure.max(0.0), 100.0)),
            Value::I64(whole(speed)),
            Value::I64(condition.parts),
            Value::Text(condition.state.as_str().to_owned()),
            Value::Bool(condition.state == State::Fault),
        ]
    }
}

/// Noise around 0, mostly within ±1: the sum of four uniform draws.
fn bell(rng: &mut impl RngExt) -> f64 {
    let sum: f64 = (0..4).map(|_| rng.random_range(-1.0..1.0)).sum();
    sum / 2.0
}

/// To the sensor's precision: the float nearest to the decimal number.
fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "thousands of turns a minute at most"
)]
fn whole(value: f64) -> i64 {
    value.round() as i64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::source::Sample;

    const HOUR_NS: i64 = 3_600_000_000_000;
    const START_NS: i64 = 1_790_000_000_000_000_000;

    fn plant(machines: u32, seed: u64) -> Plant {
        Plant::new(&SeriesPath::new("plant").unwrap(), machines, 1.0, seed).unwrap()
    }

    /// What the plant shows each `step_s` seconds from `from_ns` on.
    fn readings(
        plant: &mut Plant,
        from_ns: i64,
        count: i64,
        step_s: i64,
    ) -> (Samples, Vec<Sample>) {
        let mut samples = Samples::default();
        for step in 0..count {
            let at = Timestamp::from_nanos(from_ns + step * step_s * 1_000_000_000);
            plant.readings_at(at, &mut samples);
        }
        let taken = samples.drain().collect();
        (samples, taken)
    }

    #[test]
    fn the_same_seed_gives_the_same_readings_wherever_sampling_began() {
        let (_, whole) = readings(&mut plant(10, 7), START_NS, 7_200, 1);
        let later = START_NS + HOUR_NS;
        let (_, half) = readings(&mut plant(10, 7), later, 3_600, 1);
        let from_later: Vec<Sample> = whole
            .into_iter()
            .filter(|sample| sample.timestamp.as_nanos() >= later)
            .collect();
        assert_eq!(from_later, half);
    }

    #[test]
    fn another_seed_gives_other_readings() {
        let (_, one) = readings(&mut plant(2, 1), START_NS, 60, 1);
        let (_, other) = readings(&mut plant(2, 2), START_NS, 60, 1);
        assert_ne!(one, other);
    }

    #[test]
    fn a_day_has_every_state_gaps_and_only_legal_values_of_the_declared_kind() {
        let (samples, taken) = readings(&mut plant(8, 1), START_NS, 24 * 360, 10);
        let mut states = BTreeMap::new();
        for sample in &taken {
            let series = &samples.series()[sample.series.0 as usize];
            sample.value.check().unwrap();
            assert_eq!(sample.value.kind(), series.kind, "{}", series.path);
            if let Value::Text(state) = &sample.value {
                *states.entry(state.clone()).or_insert(0_u64) += 1;
            }
        }
        assert_eq!(
            states.keys().map(String::as_str).collect::<Vec<_>>(),
            ["fault", "idle", "running"]
        );
        assert!(states["running"] > 20 * states["fault"], "{states:?}");
        let complete = 24 * 360 * 8 * SENSORS.len();
        let missing = complete - taken.len();
        assert!(
            missing > 0 && missing < complete / 50,
            "{missing} gaps of {complete}"
        );
    }

    #[test]
    fn parts_count_up_within_a_day_and_begin_again_at_midnight() {
        let (samples, taken) = readings(&mut plant(1, 3), START_NS, 2 * 24 * 60, 60);
        let parts: Vec<(i64, i64)> = taken
            .iter()
            .filter(|s| {
                samples.series()[s.series.0 as usize]
                    .path
                    .as_str()
                    .ends_with("/parts")
            })
            .filter_map(|s| match s.value {
                Value::I64(parts) => Some((s.timestamp.as_nanos() / (24 * HOUR_NS), parts)),
                _ => None,
            })
            .collect();
        for pair in parts.windows(2) {
            let ((day, count), (next_day, next_count)) = (pair[0], pair[1]);
            assert!(day != next_day || next_count >= count, "{pair:?}");
        }
        assert!(parts.iter().any(|(_, count)| *count > 10_000));
        assert!(parts.windows(2).any(|pair| pair[1].1 < pair[0].1));
    }

    #[test]
    fn a_prefix_without_room_is_refused_by_name() {
        let prefix = SeriesPath::new(vec!["a"; 14].join("/")).unwrap();
        let error = Plant::new(&prefix, 1, 1.0, 0).unwrap_err();
        assert!(error.to_string().contains("line-1"), "{error}");
    }
}
