//! A writer of single readings, through `query-app`'s client: each is written once, whatever becomes
//! of it, and its outcome is taken down as written, refused or unknown.

use std::time::Duration;

use anyhow::Result;
use query_app::client::Client;
use query_app::client::batch::{Literal, LooseReading};
use query_app::question::Terms;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sensor_model::{Consistency, Kind, SeriesPath, TimeRange, Timestamp, Unit};
use store_wire::message::{Bounds, ErrorCode};
use tokio::time::sleep;

use crate::history::{Event, Fate, Recorder};

/// How long a write may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Between two writes, in ms.
const PAUSE_MS: std::ops::Range<u64> = 50..250;
/// The timestamp before all others: 2026-01-01.
const BASE_NANOS: i64 = 1_767_225_600_000_000_000;

/// The series of a writer.
pub fn put_path(writer: u32) -> String {
    format!("chaos/put-{writer}")
}

/// The writer of a series.
pub fn writer_of(path: &str) -> Option<u32> {
    path.strip_prefix("chaos/put-")?.parse().ok()
}

/// The timestamp of a write, in ns.
pub fn put_time(number: u64) -> i64 {
    BASE_NANOS + i64::try_from(number).expect("small") * 1_000_000_000
}

/// The value of a write.
pub fn put_value(writer: u32, number: u64) -> i64 {
    (i64::from(writer) << 40) | i64::try_from(number).expect("small")
}

/// The number of the write that gave a reading; `None` where no write could.
pub fn put_number(writer: u32, time_nanos: i64, value: i64) -> Option<u64> {
    let number = u64::try_from(value - put_value(writer, 0)).ok()?;
    let is_it = number < 1 << 40 && number > 0 && put_time(number) == time_nanos;
    is_it.then_some(number)
}

/// The range of the writes `from..=through`.
///
/// # Errors
/// When `from` is greater than `through`.
pub fn put_range(from: u64, through: u64) -> Result<TimeRange> {
    Ok(TimeRange::new(
        Timestamp::from_nanos(put_time(from)),
        Timestamp::from_nanos(put_time(through) + 1),
    )?)
}

/// A writer.
pub struct Putter {
    number: u32,
    chance: ChaCha8Rng,
    client: Client,
    recorder: Recorder,
}

impl Putter {
    /// A writer that has not begun.
    pub fn new(number: u32, seed: u64, client: Client, recorder: Recorder) -> Self {
        Self {
            number,
            chance: ChaCha8Rng::seed_from_u64(seed ^ (u64::from(number) << 16)),
            client,
            recorder,
        }
    }

    /// Writes one reading after the other, for ever.
    ///
    /// # Errors
    /// When its own path is none.
    pub async fn run(mut self) -> Result<()> {
        let path = SeriesPath::new(put_path(self.number))?;
        let terms = Terms {
            consistency: Consistency::Any,
            node: None,
            timeout: TIMEOUT,
            bounds: Bounds::default(),
        };
        for number in 1.. {
            let reading = LooseReading {
                path: path.clone(),
                timestamp: Timestamp::from_nanos(put_time(number)),
                literal: Literal::Number(put_value(self.number, number).to_string()),
                unit: Unit::default(),
                kind: Some(Kind::I64),
            };
            // Taken down as unknown should the run end in the middle.
            let mut attempt = Attempt {
                recorder: &self.recorder,
                event: Some(Event::Put {
                    began: self.recorder.now(),
                    ended: self.recorder.now(),
                    writer: self.number,
                    number,
                    fate: Fate::Unknown,
                }),
            };
            let outcome = self.client.write(vec![reading], &terms).await;
            attempt.settle(match outcome {
                Ok(written) => Fate::Written {
                    index: written.token.index,
                },
                Err(failure) => match failure.code {
                    ErrorCode::Unknown | ErrorCode::Internal => Fate::Unknown,
                    _ => Fate::Refused,
                },
            });
            sleep(Duration::from_millis(self.chance.random_range(PAUSE_MS))).await;
        }
        Ok(())
    }
}

/// A write under way: taken down when it is settled, or given up.
struct Attempt<'a> {
    recorder: &'a Recorder,
    event: Option<Event>,
}

impl Attempt<'_> {
    fn settle(&mut self, outcome: Fate) {
        if let Some(Event::Put { ended, fate, .. }) = &mut self.event {
            *ended = self.recorder.now();
            *fate = outcome;
        }
        self.note();
    }

    fn note(&mut self) {
        if let Some(event) = self.event.take() {
            self.recorder.note(event);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.note();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_tells_which_write_gave_it() {
        assert_eq!(put_number(1, put_time(7), put_value(1, 7)), Some(7));
        assert_eq!(put_number(0, put_time(7), put_value(1, 7)), None);
        assert_eq!(put_number(1, put_time(8), put_value(1, 7)), None);
        assert_eq!(writer_of(&put_path(12)), Some(12));
        assert_eq!(writer_of("chaos/p1/ordered"), None);
    }
}
