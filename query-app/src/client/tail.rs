//! Live data: what is committed, from a position on, whatever becomes of the nodes.
//!
//! A [`Tail`] follows the nearest replica. When that one is gone, or falls behind, it goes on at another
//! from the position it has got to: positions are the log's, so nothing is missed or repeated. An entry
//! is taken whole or not at all; that, and what a stream may hold unread, is all the memory it needs.
//!
//! **With history.** `Since` first gives the readings from a time on, series by series, then goes on
//! live. The replica says of each series as of which position its readings are; of that series, live
//! readings in the same range that were committed up to there are left out. So each reading comes once:
//! in the history, where it is what a range would show, or live.

mod history;
mod open;
mod position;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use sensor_model::{Columns, Consistency, Pattern, SeriesDescription, Timestamp, Token};
use store_wire::batch::BatchView;
use store_wire::message::{ErrorCode, Request, Response};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::answer::out_of_place;
use super::race;
use super::{Client, link_failure};
use crate::failure::Failure;
use crate::link::{Frame, Frames};
use crate::question::Terms;

use history::{Cuts, History};
use open::Open;
pub use open::TAILS_MAX;
pub(super) use open::Tails;
pub use position::{NotAPosition, Position};

/// A node says how far it is every two seconds; one that is silent for longer than this is gone.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long a node may take to begin: it may have to catch up, for five seconds.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(7);
/// How long a node that cannot be asked is waited for, when all others say that what follows is gone.
const GONE_PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait when no node could be followed; doubles with every further time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest of these times.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What is to be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailQuestion {
    /// Which series.
    pub patterns: Vec<Pattern>,
    /// From where on.
    pub start: Start,
}

/// From where on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// What is committed from now on.
    Now,
    /// What was committed after this.
    After(Position),
    /// Readings from this time on, then what is committed.
    Since(Timestamp),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Readings of a series.
    Readings(Tailed),
    /// Nothing more up to this position matches. Comes from time to time.
    Passed(Position),
    /// The replica that was followed is lost; another is being looked for.
    Interrupted(Failure),
}

/// Readings of a series that were committed together, or its history.
#[derive(Debug, Clone, PartialEq)]
pub struct Tailed {
    /// The series.
    pub series: Arc<SeriesDescription>,
    /// The readings, in the order in which they were written; never empty.
    pub columns: Columns,
    /// Where they stand; `None` where it is not possible to go on within them: of history, and until
    /// everything is passed that the history may have.
    place: Option<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    token: Token,
    /// Readings of the same entry before these.
    before: u64,
    is_last: bool,
}

impl Tailed {
    /// Where to go on after the reading `at`, counted from 0.
    pub fn position(&self, at: usize) -> Option<Position> {
        let Place {
            token,
            before,
            is_last,
        } = self.place?;
        let readings = match is_last && at + 1 == self.columns.len() {
            true => 0,
            false => before + at as u64 + 1,
        };
        Some(Position { token, readings })
    }
}

/// What is committed, as it comes.
pub struct Tail {
    client: Client,
    patterns: Vec<Pattern>,
    terms: Terms,
    /// Everything up to here was taken; `None` before it was said where it begins.
    after: Option<Token>,
    /// Of the entry that follows, so many readings are known.
    known: Option<Position>,
    history: Option<History>,
    cuts: Cuts,
    stream: Option<Stream>,
    ready: VecDeque<Event>,
    pause: Duration,
    /// When to look for a replica at the earliest, where the last one gave nothing.
    not_before: Option<Instant>,
    /// Since when nodes say that they do not have what follows.
    gone_since: Option<Instant>,
    /// By when a first replica must be found.
    deadline: Option<Instant>,
    open: Open,
}

/// One replica that is followed.
struct Stream {
    address: String,
    frames: Frames,
    series: HashMap<u64, Arc<SeriesDescription>>,
    /// When it last said something.
    heard: Instant,
    /// It has not led any further yet.
    is_futile: bool,
}

/// What the nodes that were asked one after the other said.
#[derive(Default)]
struct Round {
    /// One of them does not have what follows any more.
    gone: Option<Failure>,
    /// Another cannot be followed for another reason, of which a later time may be rid.
    other: Option<Failure>,
}

impl Round {
    fn note(&mut self, failure: Failure) {
        let known = match failure.code {
            ErrorCode::Gone => &mut self.gone,
            _ => &mut self.other,
        };
        // That a node did not answer says least.
        if known
            .as_ref()
            .is_none_or(|known| known.code == ErrorCode::Timeout)
        {
            *known = Some(failure);
        }
    }
}

impl Client {
    /// Begins to follow what is committed. The first replica must be found within the time allowed;
    /// later ones are looked for as long as it takes.
    ///
    /// # Errors
    /// A [`Failure`] whose code says what can be done; [`ErrorCode::Gone`] if no node has what follows
    /// the position.
    pub async fn tail(&self, question: &TailQuestion, terms: &Terms) -> Result<Tail, Failure> {
        let (after, known) = match question.start {
            Start::After(position) => (Some(position.whole()), Some(position)),
            Start::Now | Start::Since(_) => (None, None),
        };
        let open = self.shared.tails.open()?;
        let mut tail = Tail {
            open,
            client: self.clone(),
            patterns: question.patterns.clone(),
            terms: *terms,
            after,
            known: known.filter(|position| position.readings > 0),
            history: None,
            cuts: Cuts::default(),
            stream: None,
            ready: VecDeque::new(),
            pause: PAUSE_MIN,
            not_before: None,
            gone_since: None,
            deadline: Some(Instant::now() + terms.timeout),
        };
        match question.start {
            Start::Since(from) => tail.begin_history(from).await?,
            Start::Now | Start::After(_) => tail.connect().await?,
        }
        tail.deadline = None;
        Ok(tail)
    }
}

impl Tail {
    /// The last position up to which everything was given, if it can be gone on from.
    pub fn position(&self) -> Option<Position> {
        if self.history.is_some() || !self.cuts.is_empty() || !self.ready.is_empty() {
            return None;
        }
        self.known.or(self.after.map(Position::after))
    }

    /// What happens next.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// What cannot be helped by waiting or going elsewhere. Nothing may be asked of it again.
    pub async fn next(&mut self) -> Result<Event, Failure> {
        let stopped = self.open.stopped();
        tokio::select! {
            biased;
            failure = stopped => Err(failure),
            event = self.advance() => event,
        }
    }

    /// What has happened already, if anything.
    pub fn ready(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    async fn advance(&mut self) -> Result<Event, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if let Some(history) = &mut self.history {
                match history.next(&mut self.cuts).await? {
                    Some((series, columns)) => {
                        let place = None;
                        return Ok(Event::Readings(Tailed {
                            series,
                            columns,
                            place,
                        }));
                    }
                    None => self.history = None,
                }
                continue;
            }
            let Some(stream) = &mut self.stream else {
                self.connect().await?;
                continue;
            };
            let frame = match timeout_at(stream.heard + SILENCE_MAX, stream.frames.next()).await {
                Ok(Some(Ok(frame))) => {
                    stream.heard = Instant::now();
                    Ok(frame)
                }
                Ok(Some(Err(error))) => Err(link_failure(error)),
                Ok(None) => Err(self.interrupted("ended the stream")),
                Err(_) => Err(self.interrupted("is silent")),
            };
            if let Err(failure) = frame.and_then(|frame| self.accept(frame)) {
                self.leave(failure);
            }
        }
    }

    fn interrupted(&self, what: &str) -> Failure {
        let address = self.stream.as_ref().map_or("", |stream| &stream.address);
        Failure::new(ErrorCode::Timeout, format!("{address} {what}"))
    }

    /// Lets the replica go; the next is looked for when more is asked for.
    fn leave(&mut self, failure: Failure) {
        if let Some(stream) = self.stream.take() {
            self.note_failure(&stream.address, &failure);
            if stream.is_futile {
                self.not_before = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
        }
        self.ready.push_back(Event::Interrupted(failure));
    }

    fn note_failure(&self, address: &str, failure: &Failure) {
        let targets = &self.client.shared.targets;
        targets.note_failure(address, failure.retry_after);
    }

    /// Finds a replica that goes on from where this is.
    async fn connect(&mut self) -> Result<(), Failure> {
        if let Some(not_before) = self.not_before {
            sleep_until(not_before).await;
            self.not_before = None;
        }
        loop {
            let consistency = self.after.map_or(Consistency::Any, Consistency::AtLeast);
            let terms = Terms {
                consistency,
                ..self.terms
            };
            let now = Instant::now();
            let deadline = self.deadline.unwrap_or(now + self.terms.timeout);
            let mut round = Round::default();
            match self.client.candidates(&terms, deadline).await {
                Ok(candidates) => {
                    for address in candidates {
                        match self.begin(&address).await {
                            Ok(()) => return Ok(()),
                            Err(failure) => round.note(self.refused(&address, failure)?),
                        }
                    }
                }
                Err(failure) => round.note(failure),
            }
            self.check_patience(round, deadline)?;
            sleep(self.pause).await;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
    }

    /// Whether to ask the next.
    fn refused(&self, address: &str, failure: Failure) -> Result<Failure, Failure> {
        if !failure.may_succeed_elsewhere() {
            return Err(failure);
        }
        if failure.code != ErrorCode::Gone {
            self.note_failure(address, &failure);
        }
        Ok(failure)
    }

    /// When nobody could be followed: gives up if that will not change by waiting, which it will not where
    /// every node says that it is gone, and hardly where those that do not say so cannot be asked for long.
    fn check_patience(&mut self, round: Round, deadline: Instant) -> Result<(), Failure> {
        let now = Instant::now();
        let is_first = self.deadline.is_some();
        let is_late = is_first && now + self.pause >= deadline;
        let Some(gone) = round.gone else {
            self.gone_since = None;
            let other = round.other;
            let last = other.unwrap_or_else(|| self.interrupted("no node is known"));
            return if is_late { Err(last) } else { Ok(()) };
        };
        let since = *self.gone_since.get_or_insert(now);
        let patience = match round.other {
            None if is_first => Duration::ZERO,
            None => self.terms.timeout,
            Some(_) => GONE_PATIENCE,
        };
        if now >= since + patience {
            return Err(gone);
        }
        match round.other {
            Some(other) if is_late => Err(other),
            _ => Ok(()),
        }
    }

    /// Follows the node at `address`.
    async fn begin(&mut self, address: &str) -> Result<(), Failure> {
        let request = self.client.scoped(Request::Tail {
            patterns: self.patterns.clone(),
            after: self.after,
        });
        let shared = &self.client.shared;
        let begun = timeout(BEGIN_TIMEOUT, race::begin(&*shared.link, address, request)).await;
        let late = |_| {
            let message = format!("{address} did not answer in time");
            Failure::new(ErrorCode::Timeout, message)
        };
        let (first, frames) = begun.map_err(late)??;
        let Response::Tailing { after, .. } = first.response else {
            return Err(out_of_place(address, &first));
        };
        shared.targets.note_success(address);
        self.after = self.after.or(Some(after));
        self.stream = Some(Stream {
            address: address.to_owned(),
            frames,
            series: HashMap::new(),
            heard: Instant::now(),
            is_futile: true,
        });
        self.gone_since = None;
        Ok(())
    }

    fn accept(&mut self, frame: Frame) -> Result<(), Failure> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        match frame.response {
            Response::Declared { series } => {
                let series = series
                    .into_iter()
                    .map(|(id, series)| (id, Arc::new(series)));
                stream.series.extend(series);
            }
            Response::Tailed { position } if Some(position) > self.after => {
                let entry = stream.decoded(frame.body)?;
                stream.is_futile = false;
                self.pause = PAUSE_MIN;
                self.take(position, entry);
            }
            Response::Passed { position, .. } => {
                stream.is_futile = false;
                self.pause = PAUSE_MIN;
                self.after = self.after.max(Some(position));
                self.known = self.known.filter(|known| known.token > position);
                self.cuts.pass(position);
                if let Some(position) = self.position() {
                    self.ready.push_back(Event::Passed(position));
                }
            }
            Response::Failed { error } => return Err(error.into()),
            _ => return Err(out_of_place(&stream.address, &frame)),
        }
        Ok(())
    }

    /// Takes the entry at `token`, but for what is known of it.
    fn take(&mut self, token: Token, entry: Vec<(Arc<SeriesDescription>, Columns)>) {
        let known = self.known.take().filter(|known| known.token == token);
        let known = known.map_or(0, |known| known.readings);
        let is_resumable = self.cuts.is_passed_by(token);
        let mut before = 0;
        let total: u64 = entry.iter().map(|(_, columns)| columns.len() as u64).sum();
        for (series, columns) in entry {
            let begin = before;
            before += columns.len() as u64;
            let skipped = usize::try_from(known.saturating_sub(begin)).unwrap_or(usize::MAX);
            let skipped = skipped.min(columns.len());
            let columns = if skipped == 0 {
                columns
            } else {
                let mut rest = Columns::empty(series.kind);
                rest.extend_from(&columns, skipped, columns.len());
                rest
            };
            let columns = self.cuts.outside(&series, columns, token);
            if columns.is_empty() {
                continue;
            }
            let place = is_resumable.then_some(Place {
                token,
                before: begin + skipped as u64,
                is_last: before == total,
            });
            self.ready.push_back(Event::Readings(Tailed {
                series,
                columns,
                place,
            }));
        }
        self.after = Some(token);
        self.cuts.pass(token);
    }
}

impl Stream {
    /// The readings of an entry.
    fn decoded(&self, body: Bytes) -> Result<Vec<(Arc<SeriesDescription>, Columns)>, Failure> {
        let unreadable = |reason: &dyn std::fmt::Display| {
            let message = format!(
                "{} sent readings that cannot be read: {reason}",
                self.address
            );
            Failure::new(ErrorCode::Internal, message)
        };
        let batch = BatchView::parse_rewritten(body).map_err(|error| unreadable(&error))?;
        let chunks = batch.chunks().slices().map(|(id, chunk)| {
            let series = self.series.get(&id);
            let series = series.ok_or_else(|| unreadable(&"a series was not declared"))?;
            let chunk = column_codec::parse(chunk).map_err(|error| unreadable(&error))?;
            if chunk.kind() != series.kind {
                return Err(unreadable(&"a chunk is not of its series' kind"));
            }
            let columns = chunk.decode().map_err(|error| unreadable(&error))?;
            Ok((Arc::clone(series), columns))
        });
        chunks.collect()
    }
}
