//! The readings that every system gets, and what it is asked about them.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Result;
use load_walk::{LoadShape, Walk};
use sensor_model::value::Kind;
use sensor_model::{Columns, Timestamp, Values};

use super::question::{Asked, Devices, Question};

/// The first reading: 2026-01-01.
pub(crate) const START: &str = "2026-01-01T00:00:00Z";
const START_MS: i64 = 1_767_225_600_000;
/// Readings of a series that arrive together.
const CHUNK: u32 = 1000;
const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
/// Buckets of the longest range.
const BUCKETS: i64 = 1000;

/// Readings of one shape.
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) shape: LoadShape,
    pub(crate) period_ms: i64,
    pub(crate) questions: Vec<Question>,
}

/// All readings of a workload together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Total {
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

/// The three shapes: a plant, one quick sensor, and many series. `scale` shortens each in time.
pub(crate) fn all(scale: f64) -> Vec<Workload> {
    vec![
        // Twelve hours.
        Workload::new(
            "1,000 devices × 10 metrics, each 10 s",
            1_000,
            10,
            10_000,
            scaled(4_320, scale),
        ),
        // As many readings as a second's of a year of 365 days.
        Workload::new("one series at 1 kHz", 1, 1, 1, scaled(31_536_000, scale)),
        Workload::new(
            "100,000 devices × 1 metric, each 10 s",
            100_000,
            1,
            10_000,
            scaled(100, scale),
        ),
    ]
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a count of readings, below 2^53"
)]
fn scaled(readings: u64, scale: f64) -> u64 {
    (readings as f64 * scale).ceil().max(2.0) as u64
}

impl Workload {
    /// `each` readings of every series, `period_ms` apart.
    fn new(name: &str, devices: u32, metrics: u32, period_ms: u32, each: u64) -> Self {
        let mut workload = Self {
            name: name.to_owned(),
            shape: LoadShape {
                devices,
                metrics,
                readings: each * u64::from(devices) * u64::from(metrics),
                chunk: CHUNK,
                seed: 1,
                start: Timestamp::from_nanos(START_MS * 1_000_000),
                period: Duration::from_millis(u64::from(period_ms)),
                late: 0.0,
            },
            period_ms: i64::from(period_ms),
            questions: Vec::new(),
        };
        workload.questions = match devices {
            1 => workload.questions_of_one(),
            _ => workload.questions_of_many(),
        };
        workload
    }

    /// Readings of each series.
    pub(crate) fn each(&self) -> u64 {
        self.shape.readings / self.shape.series()
    }

    /// The end of the range that holds everything: the first is [`START`].
    pub(crate) fn end_ms(&self) -> i64 {
        START_MS + i64::try_from(self.each()).unwrap_or(i64::MAX / 2) * self.period_ms
    }

    fn questions_of_many(&self) -> Vec<Question> {
        let whole = self.end_ms() - START_MS;
        let (some, devices) = (i64::from(self.shape.devices) / 2, self.shape.devices);
        let one = || Devices::Listed(vec![u32::try_from(some).unwrap_or(1)]);
        let every =
            |count: u32| Devices::Listed((0..count).map(|n| n * (devices / count) + 1).collect());
        let raw = whole.min(HOUR_MS);
        let each = format!("of {} devices", grouped(u64::from(devices)));
        let ask = |name: String, asked, devices, span_ms, every_s| {
            self.ask(name, asked, devices, span_ms, every_s)
        };
        vec![
            ask(
                "last reading of one series".to_owned(),
                Asked::Last,
                one(),
                whole,
                0,
            ),
            ask(
                format!("last reading of each {each}"),
                Asked::Last,
                Devices::All,
                whole,
                0,
            ),
            ask(
                format!("{} of one series, raw", span(raw)),
                Asked::Raw,
                one(),
                raw,
                0,
            ),
            ask(
                format!("{} of max by minute over 8 series", span(whole)),
                Asked::Max,
                every(8),
                whole,
                60,
            ),
            ask(
                format!("{} of max by minute over 100 series", span(whole)),
                Asked::Max,
                every(100),
                whole,
                60,
            ),
            ask(
                format!("{} of mean by hour and by device {each}", span(whole)),
                Asked::Means,
                Devices::All,
                whole,
                3600,
            ),
        ]
    }

    fn questions_of_one(&self) -> Vec<Question> {
        let whole = self.end_ms() - START_MS;
        let one = || Devices::Listed(vec![1]);
        let raw = whole.min(MINUTE_MS);
        let every_s = 1 + (whole / 1000 - 1).max(0) / BUCKETS;
        let hour = whole.min(HOUR_MS);
        vec![
            self.ask(
                "last reading of one series".to_owned(),
                Asked::Last,
                one(),
                whole,
                0,
            ),
            self.ask(
                format!("{} of one series, raw", span(raw)),
                Asked::Raw,
                one(),
                raw,
                0,
            ),
            self.ask(
                format!("{} of max by minute", span(hour)),
                Asked::Max,
                one(),
                hour,
                60,
            ),
            self.ask(
                format!(
                    "all {} readings in buckets of {every_s} s: mean, min, max",
                    grouped(self.each())
                ),
                Asked::Summary,
                one(),
                whole,
                every_s,
            ),
        ]
    }

    /// A question about the last `span_ms`, which begin and end with a bucket.
    fn ask(
        &self,
        name: String,
        asked: Asked,
        devices: Devices,
        span_ms: i64,
        every_s: i64,
    ) -> Question {
        let every_ms = (every_s * 1000).max(1);
        let to_ms = self.end_ms();
        let from_ms = (to_ms - span_ms).div_euclid(every_ms) * every_ms;
        let to_ms = (to_ms + every_ms - 1).div_euclid(every_ms) * every_ms;
        Question {
            name,
            asked,
            devices,
            from_ms,
            to_ms,
            every_s,
        }
    }

    /// Gives every reading, in the order in which `sensor-sim load` sends them: of each device in turn
    /// so many rows of all its metrics, again and again. `each` gets the device, times in ms, and the
    /// values of every metric.
    pub(crate) fn blocks(
        &self,
        mut each: impl FnMut(u32, &[i64], &[Vec<f64>]) -> Result<()>,
    ) -> Result<()> {
        let mut walks = self.walks()?;
        let metrics = usize::try_from(self.shape.metrics)?;
        let mut times = Vec::new();
        let mut values = vec![Vec::new(); metrics];
        let mut columns = Columns::empty(Kind::F64);
        loop {
            let mut rows = 0;
            for (device, walks) in (1..).zip(walks.chunks_mut(metrics)) {
                for (walk, values) in walks.iter_mut().zip(&mut values) {
                    take(walk, self.shape.chunk, &mut columns, &mut times, values);
                }
                rows += times.len();
                if !times.is_empty() {
                    each(device, &times, &values)?;
                }
            }
            if rows == 0 {
                return Ok(());
            }
        }
    }

    /// Gives every reading of the first metric of `device`, until `each` has enough.
    pub(crate) fn readings(
        &self,
        device: u32,
        mut each: impl FnMut(i64, f64) -> ControlFlow<()>,
    ) -> Result<()> {
        let index = u64::from(device - 1) * u64::from(self.shape.metrics);
        let mut walk = Walk::new(&self.shape, index)?;
        let (mut columns, mut times, mut values) =
            (Columns::empty(Kind::F64), Vec::new(), Vec::new());
        while !walk.is_done() {
            take(
                &mut walk,
                self.shape.chunk,
                &mut columns,
                &mut times,
                &mut values,
            );
            for (time, value) in times.iter().zip(&values) {
                if each(*time, *value).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn walks(&self) -> Result<Vec<Walk>> {
        let walk = |index| Ok(Walk::new(&self.shape, index)?);
        (0..self.shape.series()).map(walk).collect()
    }
}

/// Takes the next readings of a series: times in ms, and values.
fn take(
    walk: &mut Walk,
    count: u32,
    columns: &mut Columns,
    times: &mut Vec<i64>,
    values: &mut Vec<f64>,
) {
    walk.take(count, columns);
    times.clear();
    times.extend(columns.times.iter().map(|time| time / 1_000_000));
    values.clear();
    if let Values::F64(taken) = &columns.values {
        values.extend_from_slice(taken);
    }
}

/// A length of time in words.
#[expect(clippy::cast_precision_loss, reason = "for display")]
fn span(ms: i64) -> String {
    let (unit, name) = match ms {
        HOUR_MS.. => (HOUR_MS, "h"),
        MINUTE_MS.. => (MINUTE_MS, "min"),
        _ => (1000, "s"),
    };
    let number = format!("{:.1}", ms as f64 / unit as f64);
    format!("{} {name}", number.trim_end_matches(".0"))
}

/// A number with its thousands set off.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_single_series_are_the_same_readings() {
        let workload = Workload::new("small", 3, 2, 10_000, 1_007);
        let (mut count, mut of_second) = (0, Vec::new());
        let each = |device, times: &[i64], values: &[Vec<f64>]| {
            assert_eq!(values.len(), 2);
            count += times.len() * values.len();
            if device == 2 {
                of_second.extend(times.iter().copied().zip(values[0].iter().copied()));
            }
            Ok(())
        };
        workload.blocks(each).expect("it works");
        assert_eq!(count as u64, workload.shape.readings);
        let mut alone = Vec::new();
        let each = |time, value| {
            alone.push((time, value));
            ControlFlow::Continue(())
        };
        workload.readings(2, each).expect("it works");
        assert_eq!(alone, of_second);
        assert_eq!(
            alone.last().map(|last| last.0 + 10_000),
            Some(workload.end_ms())
        );
    }

    #[test]
    fn questions_begin_and_end_with_a_bucket_and_cover_their_readings() {
        for workload in all(0.0021) {
            for question in &workload.questions {
                let every = question.every_ms().max(1);
                assert_eq!(
                    (question.from_ms % every, question.to_ms % every),
                    (0, 0),
                    "{question:?}"
                );
                assert!(question.to_ms >= workload.end_ms(), "{question:?}");
            }
        }
        assert_eq!(grouped(31_536_000), "31,536,000");
        assert_eq!(grouped(100), "100");
    }
}
