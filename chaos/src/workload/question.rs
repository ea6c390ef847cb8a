//! One question to one node, and what its answer says: sightings of batches and single writes.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use sensor_model::{Consistency, Kind, Pattern, Reading, SeriesDescription, Token, Value, Values};
use store_wire::client::{Dialer, QueryError, request};
use store_wire::columns::decode_columns;
use store_wire::endpoint::Protocol;
use store_wire::message::{Bounds, Freshness, RangeQuestion, Request, Response};
use tokio::time::Instant;

use super::put::{put_number, put_path, put_range};
use crate::history::{Level, Sighting};
use crate::readings::{RUN, Script, Tally, Track, range, time};

/// How long an answer may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);
/// The pattern that matches the latest readings of all producers.
pub(super) const LATEST: &str = "chaos/p*/ordered";

/// A question.
pub(super) enum Question {
    /// The latest batch of every producer, of so many.
    Latest { producers: u32 },
    /// All readings of a producer from a batch on.
    Batches {
        script: Script,
        track: Track,
        from: u64,
    },
    /// Single writes of a writer.
    Puts {
        writer: u32,
        from: u64,
        through: u64,
    },
}

/// What a whole answer said.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) freshness: Option<Freshness>,
    pub(super) sightings: Vec<Sighting>,
    pub(super) oddity: Option<String>,
    /// A read at this position sees all of it.
    pub(super) token: u64,
}

/// Why there is no answer.
pub(super) enum Missed {
    /// The replica, or the way to it, failed.
    Failed(String),
    /// The harness did.
    Harness(anyhow::Error),
}

impl From<QueryError> for Missed {
    fn from(error: QueryError) -> Self {
        Self::Failed(match error {
            QueryError::Failed(error) => error.code.to_string(),
            QueryError::Timeout => "no answer in time".to_owned(),
            _ => "connection lost".to_owned(),
        })
    }
}

/// Asks one node.
pub(super) async fn ask(
    dialer: &Dialer,
    address: &str,
    level: Level,
    question: &Question,
) -> Result<Heard, Missed> {
    let connection = dialer.connect(address, Protocol::Query).await;
    let connection = connection.map_err(|_| Missed::Failed("no connection".to_owned()))?;
    let asked = question
        .request(consistency(level))
        .map_err(Missed::Harness)?;
    let deadline = Instant::now() + TIMEOUT;
    let mut answer = request(&connection, &asked, Bytes::new(), deadline).await?;
    let mut heard = Heard::default();
    let mut reading = Listening::new(question);
    while let Some((response, body)) = answer.next().await? {
        match response {
            Response::Answer { freshness } => heard.freshness = Some(freshness),
            Response::Rows { count } => {
                let columns = decode_columns(Kind::I64, count, body);
                let columns = columns.map_err(|error| Missed::Harness(error.into()))?;
                if let Values::I64(values) = columns.values {
                    let rows = columns.times.into_iter().zip(values);
                    rows.for_each(|(time, value)| reading.row(time, value));
                }
            }
            Response::End { seen, .. } => heard.token = seen.map_or(0, |seen| seen.index),
            Response::LastReadings { readings } => {
                let latest = latest(&readings);
                reading.latest.extend(latest.sightings);
                heard.oddity = heard.oddity.or(latest.oddity);
            }
            _ => {}
        }
    }
    let (sightings, oddity) = reading.end(question);
    heard.sightings = sightings;
    heard.oddity = heard.oddity.or(oddity);
    Ok(heard)
}

const fn consistency(level: Level) -> Consistency {
    match level {
        Level::Any => Consistency::Any,
        Level::MaxStaleness { ms } => Consistency::MaxStaleness(Duration::from_millis(ms)),
        Level::AtLeast { index } => Consistency::AtLeast(Token { shard: 0, index }),
        Level::Linearizable => Consistency::Linearizable,
    }
}

impl Question {
    fn request(&self, consistency: Consistency) -> Result<Request> {
        let timeout_ms = u64::try_from(TIMEOUT.as_millis())?;
        let (pattern, range) = match self {
            Self::Latest { .. } => {
                return Ok(Request::Last {
                    pattern: Pattern::new(LATEST)?,
                    consistency,
                    timeout_ms,
                });
            }
            Self::Batches {
                script,
                track,
                from,
            } => {
                let through = match track {
                    Track::Register => 1,
                    Track::Ordered | Track::Shuffled => from + 1_000_000,
                };
                (wild(&script.path(*track)), range(*from, through)?)
            }
            Self::Puts {
                writer,
                from,
                through,
            } => (wild(&put_path(*writer)), put_range(*from, *through)?),
        };
        Ok(Request::Range {
            question: Box::new(RangeQuestion::new(Pattern::new(pattern)?, range)),
            bounds: Bounds::default(),
            consistency,
            timeout_ms,
        })
    }
}

/// A pattern that matches `path` and, for a number at its end, nothing else that there is.
fn wild(path: &str) -> String {
    path.replacen("chaos/", "chao*/", 1)
}

/// What has been heard of an answer so far.
struct Listening {
    tally: Option<Tally>,
    writer: Option<u32>,
    puts: Vec<u64>,
    oddity: Option<String>,
    latest: Vec<Sighting>,
}

impl Listening {
    fn new(question: &Question) -> Self {
        let (tally, writer) = match question {
            Question::Latest { .. } => (None, None),
            Question::Batches {
                script,
                track,
                from,
            } => (Some(Tally::new(*script, *track, *from)), None),
            Question::Puts { writer, .. } => (None, Some(*writer)),
        };
        Self {
            tally,
            writer,
            puts: Vec::new(),
            oddity: None,
            latest: Vec::new(),
        }
    }

    fn row(&mut self, time: i64, value: i64) {
        if let Some(tally) = &mut self.tally {
            tally.add(time, value);
        } else if let Some(writer) = self.writer {
            match put_number(writer, time, value) {
                Some(number) => self.puts.push(number),
                None => {
                    self.oddity = Some(format!("writer {writer} never wrote {value:#x} at {time}"))
                }
            }
        }
    }

    fn end(self, question: &Question) -> (Vec<Sighting>, Option<String>) {
        match question {
            Question::Latest { producers } => (every(*producers, &self.latest), self.oddity),
            Question::Batches { script, .. } => {
                let found = self.tally.map(Tally::found);
                let through = found.as_ref().map_or(0, |found| found.through);
                let producer = script.producer;
                let sighting = Sighting::Batches { producer, through };
                (vec![sighting], found.and_then(|found| found.oddity))
            }
            Question::Puts {
                writer,
                from,
                through,
            } => {
                let sighting = Sighting::Puts {
                    writer: *writer,
                    from: *from,
                    through: *through,
                    seen: self.puts,
                };
                (vec![sighting], self.oddity)
            }
        }
    }
}

/// A sighting of every producer: of those that were not in the answer, nothing.
pub(super) fn every(producers: u32, seen: &[Sighting]) -> Vec<Sighting> {
    let missing = (0..producers).filter(|number| {
        let is_it = |sighting: &Sighting| matches!(sighting, Sighting::Batches { producer, .. } if producer == number);
        !seen.iter().any(is_it)
    });
    let nothing = missing.map(|producer| Sighting::Batches {
        producer,
        through: 0,
    });
    seen.iter().cloned().chain(nothing).collect()
}

/// What the latest readings of producers tell.
pub(super) fn latest(readings: &[(SeriesDescription, Reading)]) -> Heard {
    let mut heard = Heard::default();
    for (series, reading) in readings {
        let path = series.path.as_str();
        let Some((script, track)) = Script::of_path(path) else {
            continue;
        };
        let Value::I64(value) = reading.value else {
            continue;
        };
        let nanos = reading.timestamp.as_nanos();
        match script.origin(value) {
            Some((through, place)) if time(track, through, place) == nanos && place == RUN - 1 => {
                let producer = script.producer;
                heard
                    .sightings
                    .push(Sighting::Batches { producer, through });
            }
            _ => {
                heard.oddity = Some(format!(
                    "{path} ends with {value:#x} at {nanos}, which nobody ended a batch with"
                ))
            }
        }
    }
    heard
}
