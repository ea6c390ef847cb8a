//! What boards show, looked at once for all who look.
//!
//! Nothing is asked unless somebody looks, and then at most every [`FRESH`] for one board, however many
//! look, and the less often the longer it takes. Trends are asked for again when a bucket of theirs may
//! have changed. A board is never shown in
//! an older form than before; if the store cannot be asked, what was seen last is shown, and said to be.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use query_app::board::{Standing, Tile};
use sensor_model::{BoardName, Kind, Timestamp};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::kept::{Boards, Kept};
use super::trend::{self, Trend};
use super::{standard, trend::ASKED_MAX};
use crate::answers::{LastAnswer, LastReading, Problem, RangeAnswer};
use crate::api::{self, ServerContext, last_address};
use crate::format;

/// The bounds of how long a picture is taken for true: within them, [`REST`] times as long as it took.
const FRESH: (Duration, Duration) = (Duration::from_millis(900), Duration::from_secs(30));
/// A board costs the store a fifth of the time at most.
const REST: u32 = 4;
/// How long the board that is made of the tree is.
const STANDARD_FRESH: Duration = Duration::from_secs(30);
/// The bounds of how long a trend is: within them, half a bucket.
const TREND_FRESH: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// Most series that one tile shows.
const SERIES_MAX: usize = 48;
/// How many questions are under way at a time, for all boards together.
const ASKED_AT_ONCE: usize = 8;
/// Most boards that are remembered.
const LOOKS_MAX: usize = 512;

/// Looks when somebody asks.
pub(super) struct Looks {
    context: ServerContext,
    slots: Mutex<HashMap<BoardName, Arc<Slot>>>,
    turns: Semaphore,
}

/// One board; held by whoever looks at it.
type Slot = tokio::sync::Mutex<Option<Seen>>;

/// What is remembered of a board.
#[derive(Clone)]
struct Seen {
    picture: Arc<Picture>,
    /// When it is looked at again.
    again: Instant,
    /// When the tree was looked at, for what is made of it.
    standard_at: Option<Instant>,
    trends: Trends,
}

/// Trends by path and length, with when they were asked for.
type Trends = HashMap<(String, Duration), (Arc<Trend>, Instant)>;

/// What a board shows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Picture {
    pub(super) kept: Kept,
    pub(super) tiles: Vec<Shown>,
    /// When it was looked at.
    pub(super) now: Timestamp,
    /// Why it is not fresh.
    pub(super) problem: Option<Problem>,
}

/// What one tile of a board comes to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shown {
    pub(super) tile: Tile,
    /// What it shows, ordered by path.
    pub(super) cards: Vec<Card>,
    /// How many more series match.
    pub(super) more: usize,
    /// Why it shows nothing, or what was there before.
    pub(super) problem: Option<Problem>,
}

/// The latest reading of a series, and its trend.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Card {
    pub(super) reading: LastReading,
    pub(super) trend: Option<Arc<Trend>>,
}

/// How a card is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It has a value beyond a limit.
    Out(Standing),
    /// It was silent for so long that its value tells little.
    Old,
    /// It has a value within limits, or there are none.
    Well,
}

impl Card {
    /// How it is at `now`.
    pub(super) fn state(&self, tile: &Tile, now: Timestamp) -> State {
        match self.standing(tile) {
            standing @ (Standing::Low | Standing::High) => State::Out(standing),
            _ if self.is_old(now) => State::Old,
            _ => State::Well,
        }
    }

    /// How its value lies to the limits. Texts have none.
    pub(super) fn standing(&self, tile: &Tile) -> Standing {
        let number = self.reading.value.as_f64();
        let number = number.filter(|_| self.reading.kind != Kind::Text);
        number.map_or(Standing::Free, |number| tile.standing(number))
    }

    /// Whether it was silent for longer than it usually is, as far as its trend tells.
    pub(super) fn is_old(&self, now: Timestamp) -> bool {
        let age = format::age_seconds(now, self.reading.timestamp);
        let trend = self.trend.as_deref();
        trend.is_some_and(|trend| age >= trend.old_seconds())
    }
}

impl Looks {
    pub(super) fn new(context: ServerContext) -> Self {
        Self {
            context,
            slots: Mutex::default(),
            turns: Semaphore::new(ASKED_AT_ONCE),
        }
    }

    /// What the board `name` shows, as of `since` or later.
    ///
    /// # Cancel safety
    /// Safe: what was seen before stays, and the next who looks asks anew.
    ///
    /// # Errors
    /// There is no such board, or nobody can say.
    pub(super) async fn look(
        &self,
        name: &str,
        since: Option<&str>,
    ) -> Result<Arc<Picture>, Problem> {
        let name =
            BoardName::new(name).map_err(|error| Problem::new("NOT_FOUND", error.to_string()))?;
        // Asked before anybody has to wait for it: it may be a position that never comes.
        let changed = match since {
            Some(since) => self.changed(&name, since).await?,
            None => None,
        };
        let slot = self.slot(&name);
        let mut seen = slot.lock().await;
        if let Some(seen) = &*seen
            && Instant::now() < seen.again
            && changed
                .as_ref()
                .is_none_or(|kept| kept.revision <= seen.picture.kept.revision)
        {
            return Ok(Arc::clone(&seen.picture));
        }
        let begun = Instant::now();
        let now = match self.seen(&name, changed, seen.as_ref()).await {
            Ok(now) => now,
            Err(problem) => {
                let mut last = match seen.clone() {
                    Some(last) if problem.code != "NOT_FOUND" => last,
                    _ => {
                        self.slots().remove(&name);
                        return Err(problem);
                    }
                };
                // What was seen stays, and is said to be from then.
                Arc::make_mut(&mut last.picture).problem = Some(problem);
                last
            }
        };
        let (least, most) = FRESH;
        let again = Instant::now() + (begun.elapsed() * REST).clamp(least, most);
        let picture = Arc::clone(&now.picture);
        *seen = Some(Seen { again, ..now });
        Ok(picture)
    }

    /// The board as it is kept at `since` or later; `None` for one that is made of the tree.
    async fn changed(&self, name: &BoardName, since: &str) -> Result<Option<Kept>, Problem> {
        let boards = Boards::new(self.context.clone());
        match boards.read(name.as_str(), Some(since)).await {
            Ok(kept) => Ok(Some(kept)),
            Err(problem) if standard::stands_in(name.as_str(), &problem) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// Looks; `kept` is the board, if it was read already.
    async fn seen(
        &self,
        name: &BoardName,
        kept: Option<Kept>,
        before: Option<&Seen>,
    ) -> Result<Seen, Problem> {
        let (kept, standard_at) = match kept {
            Some(kept) => (kept, None),
            None => self.board(name.as_str(), before).await?,
        };
        let mut trends = before.map_or_else(Trends::new, |before| before.trends.clone());
        let picture = before.map(|before| &*before.picture);
        let tiles = self.tiles(&kept, picture, &mut trends).await;
        let now = self.context.clock.now();
        Ok(Seen {
            picture: Arc::new(Picture {
                kept,
                tiles,
                now,
                problem: None,
            }),
            again: Instant::now(),
            standard_at,
            trends,
        })
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<BoardName, Arc<Slot>>> {
        // Every change of it is one call, so it is whole even after a panic elsewhere.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, name: &BoardName) -> Arc<Slot> {
        let mut slots = self.slots();
        if slots.len() >= LOOKS_MAX && !slots.contains_key(name) {
            // But for those that somebody looks at now.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(slots.entry(name.clone()).or_default())
    }

    /// The board, and when the tree was looked at for it.
    async fn board(
        &self,
        name: &str,
        before: Option<&Seen>,
    ) -> Result<(Kept, Option<Instant>), Problem> {
        let boards = Boards::new(self.context.clone());
        let known = before.map(|before| before.picture.kept.token.as_str());
        let known = known.filter(|token| !token.is_empty());
        let read = match boards.read(name, known).await {
            // Only replicas that are behind are left: better an older board than none.
            Err(problem)
                if known.is_some() && matches!(problem.code.as_str(), "STALE" | "TIMEOUT") =>
            {
                boards.read(name, None).await
            }
            read => read,
        };
        match read {
            Ok(kept) => Ok((kept, None)),
            Err(problem) if standard::stands_in(name, &problem) => {
                let made = before.and_then(|before| Some((before, before.standard_at?)));
                if let Some((before, at)) = made
                    && at.elapsed() < STANDARD_FRESH
                {
                    return Ok((before.picture.kept.clone(), Some(at)));
                }
                let at = Instant::now();
                Ok((standard::board(&boards.catalog().await?), Some(at)))
            }
            Err(problem) => Err(problem),
        }
    }

    async fn tiles(
        &self,
        kept: &Kept,
        before: Option<&Picture>,
        trends: &mut Trends,
    ) -> Vec<Shown> {
        let tiles = kept.board.tiles.iter().cloned();
        let shown = stream::iter(tiles).map(|tile| self.readings(tile, before));
        let mut shown: Vec<Shown> = shown.buffered(ASKED_AT_ONCE).collect().await;
        let now = Instant::now();
        let mut wanted: BTreeMap<Duration, Vec<String>> = BTreeMap::new();
        for Shown { tile, cards, .. } in &shown {
            let length = tile.trend();
            let (least, most) = TREND_FRESH;
            let fresh = (trend::width(length) / 2).clamp(least, most);
            for card in cards.iter().filter(|card| card.reading.kind != Kind::Text) {
                let key = (card.reading.path.clone(), length);
                let is_fresh = trends.get(&key).is_some_and(|(_, at)| now - *at < fresh);
                let of_length = wanted.entry(length).or_default();
                if !is_fresh && !of_length.contains(&key.0) {
                    of_length.push(key.0);
                }
            }
        }
        let questions: Vec<(Duration, Vec<String>)> = wanted
            .iter()
            .flat_map(|(length, paths)| {
                let asked = paths.chunks(ASKED_MAX);
                asked.map(|paths| (*length, paths.to_vec()))
            })
            .collect();
        let answers = stream::iter(questions).map(|(length, paths)| self.trends(length, paths));
        let answers: Vec<_> = answers.buffer_unordered(ASKED_AT_ONCE).collect().await;
        for (key, trend) in answers.into_iter().flatten() {
            trends.insert(key, (Arc::new(trend), now));
        }
        let mut used = Trends::new();
        for Shown { tile, cards, .. } in &mut shown {
            for card in cards {
                let key = (card.reading.path.clone(), tile.trend());
                if let Some(known) = trends.get(&key) {
                    card.trend = Some(Arc::clone(&known.0));
                    used.insert(key, known.clone());
                }
            }
        }
        *trends = used;
        shown
    }

    /// The latest readings of a tile; if they cannot be had now, those of `before`.
    async fn readings(&self, tile: Tile, before: Option<&Picture>) -> Shown {
        let turn = self.turns.acquire().await;
        let asked = api::get(&self.context, &last_address(tile.pattern.as_str())).await;
        drop(turn);
        let (readings, problem) = match asked {
            Ok(LastAnswer { readings }) => (readings, None),
            Err(problem) => {
                let tiles = before.map_or(&[][..], |before| &before.tiles);
                let same = tiles.iter().find(|shown| shown.tile == tile);
                if let Some(same) = same.filter(|_| problem.code != "NOT_FOUND") {
                    let problem = Some(problem);
                    return Shown {
                        problem,
                        ..same.clone()
                    };
                }
                (Vec::new(), Some(problem))
            }
        };
        let more = readings.len().saturating_sub(SERIES_MAX);
        let cards = readings.into_iter().take(SERIES_MAX);
        let cards = cards.map(|reading| Card {
            reading,
            trend: None,
        });
        Shown {
            tile,
            cards: cards.collect(),
            more,
            problem,
        }
    }

    /// The trends of these series; none if they cannot be had, as values matter more.
    async fn trends(
        &self,
        length: Duration,
        paths: Vec<String>,
    ) -> Vec<((String, Duration), Trend)> {
        let turn = self.turns.acquire().await;
        let asked = api::get(&self.context, &trend::address(&paths, length)).await;
        drop(turn);
        let now = format::millis_of(self.context.clock.now());
        let series = asked.map_or_else(|_| Vec::new(), |answer: RangeAnswer| answer.series);
        let trends = series.iter().map(|series| {
            let key = (series.path.clone(), length);
            (key, Trend::of(series, length, now))
        });
        trends.collect()
    }
}
