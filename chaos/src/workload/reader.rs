//! Readers: each asks again and again at its level, one node at a time, and takes down what it saw.
//!
//! Patterns have a wildcard, so that a series that a replica does not know yet is an empty answer.
//!
//! Most questions are for the latest reading of every producer, which tells up to which batch a
//! replica is; some are for all readings of the latest batches of one producer, or writes of one writer.

use std::time::Duration;

use anyhow::{Context, Result};
use query_app::client::Client;
use query_app::question::Terms;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sensor_model::{Consistency, Pattern};
use store_wire::client::Dialer;
use store_wire::message::Bounds;
use tokio::time::sleep;

use super::question::{Heard, LATEST, Missed, Question, TIMEOUT, ask, every, latest};
use super::{Rates, Roster};
use crate::history::{Event, Level, Read, Recorder, Reply, Sighting};
use crate::readings::{Script, Track, range_from};

/// Between two questions, in ms.
const PAUSE_MS: std::ops::Range<u64> = 20..150;
/// After a failure, in ms: a node that is down is not asked in a loop.
const PAUSE_AFTER_FAILURE_MS: std::ops::Range<u64> = 50..250;
/// How often a question is for all readings of something.
const DETAIL: f64 = 0.2;
/// How many of the latest batches, or single writes, such a question is for.
const DETAIL_BATCHES: u64 = 60;
/// The bounds that are asked for with `max-staleness`, in ms.
const STALENESS_MS: std::ops::Range<u64> = 100..3000;

/// What a reader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// `any`.
    Any,
    /// `max-staleness`, of all sorts.
    MaxStaleness,
    /// `at-least`: under the token of its last answer, or of a write.
    AtLeast,
    /// `linearizable`.
    Linearizable,
}

impl Asking {
    /// All levels.
    pub const ALL: [Self; 4] = [
        Self::Any,
        Self::MaxStaleness,
        Self::AtLeast,
        Self::Linearizable,
    ];
}

/// A reader.
pub struct Reader {
    number: u32,
    asking: Asking,
    rates: Rates,
    chance: ChaCha8Rng,
    dialer: Dialer,
    roster: Roster,
    recorder: Recorder,
    /// The position of its last answer.
    token: u64,
    /// The last batch of each producer that it saw.
    seen: Vec<u64>,
}

impl Reader {
    /// A reader that has not begun.
    pub fn new(
        number: u32,
        asking: Asking,
        seed: u64,
        rates: Rates,
        dialer: Dialer,
        roster: Roster,
        recorder: Recorder,
    ) -> Self {
        Self {
            number,
            asking,
            rates,
            chance: ChaCha8Rng::seed_from_u64(seed ^ (u64::from(number) << 24)),
            dialer,
            roster,
            recorder,
            token: 0,
            seen: vec![0; rates.producers as usize],
        }
    }

    /// Asks one thing after the other, for ever.
    ///
    /// # Errors
    /// When a question of its own is none.
    pub async fn run(mut self) -> Result<()> {
        loop {
            let seats = self.roster.seats();
            if seats.is_empty() {
                sleep(TIMEOUT).await;
                continue;
            }
            let seat = &seats[self.chance.random_range(0..seats.len())];
            let level = self.level();
            let question = self.question();
            let began = self.recorder.now();
            let heard = ask(&self.dialer, &seat.address, level, &question).await;
            let pause = if heard.is_ok() {
                PAUSE_MS
            } else {
                PAUSE_AFTER_FAILURE_MS
            };
            let reply = match heard {
                Ok(heard) => self.reply(heard)?,
                Err(Missed::Failed(code)) => Reply::Failed { code },
                Err(Missed::Harness(error)) => return Err(error),
            };
            self.recorder.note(Event::Read(Read {
                reader: self.number,
                level,
                began,
                ended: self.recorder.now(),
                reply,
            }));
            sleep(Duration::from_millis(self.chance.random_range(pause))).await;
        }
    }

    fn level(&mut self) -> Level {
        match self.asking {
            Asking::Any => Level::Any,
            Asking::MaxStaleness => Level::MaxStaleness {
                ms: self.chance.random_range(STALENESS_MS),
            },
            Asking::AtLeast => Level::AtLeast {
                // As often with the token of the latest write of all.
                index: match self.recorder.token() {
                    Some(latest) if self.chance.random_bool(0.5) => latest.max(self.token),
                    _ => self.token,
                },
            },
            Asking::Linearizable => Level::Linearizable,
        }
    }

    fn question(&mut self) -> Question {
        if !self.chance.random_bool(DETAIL) {
            return Question::Latest {
                producers: self.rates.producers,
            };
        }
        let writers = self.rates.writers;
        if writers > 0 && self.chance.random_bool(0.3) {
            let writer = self.chance.random_range(0..writers);
            let through = self.recorder.puts(writer).max(1);
            let from = through.saturating_sub(DETAIL_BATCHES).max(1);
            return Question::Puts {
                writer,
                from,
                through,
            };
        }
        let producer = self.chance.random_range(0..self.rates.producers.max(1));
        let track = Track::ALL[self.chance.random_range(0..Track::ALL.len())];
        let seen = self.seen.get(producer as usize).copied().unwrap_or(0);
        let from = range_from(track, seen.saturating_sub(DETAIL_BATCHES).max(1));
        Question::Batches {
            script: Script { producer },
            track,
            from,
        }
    }

    fn reply(&mut self, heard: Heard) -> Result<Reply> {
        let freshness = heard.freshness.context("an answer without its freshness")?;
        for sighting in &heard.sightings {
            if let Sighting::Batches { producer, through } = sighting
                && let Some(seen) = self.seen.get_mut(*producer as usize)
            {
                *seen = (*seen).max(*through);
            }
        }
        self.token = self.token.max(heard.token).max(freshness.applied.index);
        Ok(Reply::Answered {
            replica: freshness.replica,
            applied: freshness.applied.index,
            sightings: heard.sightings,
            oddity: heard.oddity,
        })
    }
}

/// A reader that lets `query-app`'s client choose the replica: always linearizable, so that whatever the
/// client does, hedging, going elsewhere, waiting for an election, must not show.
pub struct Roamer {
    number: u32,
    producers: u32,
    chance: ChaCha8Rng,
    client: Client,
    recorder: Recorder,
}

impl Roamer {
    /// A reader that has not begun.
    pub fn new(number: u32, producers: u32, seed: u64, client: Client, recorder: Recorder) -> Self {
        Self {
            number,
            producers,
            chance: ChaCha8Rng::seed_from_u64(seed ^ (u64::from(number) << 24)),
            client,
            recorder,
        }
    }

    /// Asks one thing after the other, for ever.
    ///
    /// # Errors
    /// When its own question is none.
    pub async fn run(mut self) -> Result<()> {
        let pattern = Pattern::new(LATEST)?;
        let terms = Terms {
            consistency: Consistency::Linearizable,
            node: None,
            timeout: TIMEOUT,
            bounds: Bounds::default(),
        };
        loop {
            let began = self.recorder.now();
            let reply = match self.client.last(&pattern, &terms).await {
                Ok(answer) => {
                    let heard = latest(&answer.readings);
                    Reply::Answered {
                        replica: answer.freshness.replica,
                        applied: answer.freshness.applied.index,
                        sightings: every(self.producers, &heard.sightings),
                        oddity: heard.oddity,
                    }
                }
                Err(failure) => Reply::Failed {
                    code: failure.code.to_string(),
                },
            };
            self.recorder.note(Event::Read(Read {
                reader: self.number,
                level: Level::Linearizable,
                began,
                ended: self.recorder.now(),
                reply,
            }));
            sleep(Duration::from_millis(self.chance.random_range(PAUSE_MS))).await;
        }
    }
}
