//! What a store answers, as the rest of the program takes it: parts of a range as they arrive, lists
//! as a whole, each with the freshness of the replica that answered.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use sensor_model::{Bucket, Columns, Kind, Reading, SeriesDescription, Token};
use store_wire::message::{ErrorCode, Freshness, Response, SeriesInfo};

use crate::client::pages::{Paged, Pager};
use crate::client::ranking::Ranking;
use crate::client::rows::decode_rows;
use crate::failure::Failure;
use crate::link::{Frame, Frames, LinkError};
use crate::question::cursor::Place;
use crate::question::{Cursor, RangeQuestion};
use crate::shape::Shaper;

/// One part of the answer to a range. Series come in order of their paths, rows in order of time.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Opens a series; its rows follow.
    Series(SeriesDescription),
    /// Opens a group of series; its buckets follow.
    Group {
        /// What they share, a text for each key asked for, if they have one.
        key: Vec<Option<String>>,
        /// How many series there are.
        series: u64,
    },
    /// Readings of the open series; never empty.
    Readings(Columns),
    /// Buckets of the open series or group; never empty.
    Buckets(Vec<Bucket>),
}

/// What is known when an answer is whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Whether a limit cut rows off.
    pub truncated: bool,
    /// Where to go on, when there is more than the page has.
    pub next: Option<Cursor>,
    /// A read with this token sees all that the answer has; of a page that is followed by another, all
    /// that was applied when it began.
    pub token: Token,
}

/// The latest reading of each series, ordered by path.
#[derive(Debug, Clone, PartialEq)]
pub struct LastAnswer {
    /// Which replica answered, and how fresh it was.
    pub freshness: Freshness,
    /// A read with this token sees all that the answer has.
    pub token: Token,
    /// The readings.
    pub readings: Vec<(SeriesDescription, Reading)>,
}

/// Series, ordered by path.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesAnswer {
    /// Which replica answered, and how fresh it was.
    pub freshness: Freshness,
    /// A read with this token sees all that the answer has.
    pub token: Token,
    /// The series.
    pub series: Vec<SeriesInfo>,
}

/// A committed write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// A read with this token sees the write.
    pub token: Token,
    /// How many readings it had.
    pub readings: u64,
}

/// The answer to a range, taken part by part.
pub struct RangeAnswer {
    freshness: Freshness,
    frames: FrameReader,
    /// Where buckets become rows; `None` for raw readings.
    shaper: Option<Shaper>,
    kind: Option<Kind>,
    /// As of which position the open series is.
    seen: Option<Token>,
    /// Parts that are ready.
    ready: VecDeque<Part>,
    /// A head that waits until the rows of the series before it are taken.
    next_series: Option<Part>,
    /// Where the answer goes on.
    resumed: Option<Cursor>,
    /// Whether the buckets that come are of a group that was given before.
    is_passed_over: bool,
    pager: Option<Pager>,
    /// What is left until all rows have come.
    ranking: Option<Ranking>,
    summary: Option<Summary>,
}

/// The frames of an answer, each awaited for a bounded time.
pub(crate) struct FrameReader {
    pub(crate) ahead: Option<Frame>,
    pub(crate) frames: Frames,
    pub(crate) idle: Duration,
    /// The node that answers, as errors name it.
    pub(crate) address: String,
}

impl FrameReader {
    /// The next frame. An answer that stops short is a failure, never a shorter answer.
    ///
    /// Dropping the future loses nothing: a frame is taken whole or not at all.
    pub(crate) async fn next(&mut self) -> Result<Frame, Failure> {
        if let Some(frame) = self.ahead.take() {
            return Ok(frame);
        }
        let next = tokio::time::timeout(self.idle, self.frames.next());
        match next.await {
            Ok(Some(Ok(frame))) => match frame.response {
                Response::Failed { error } => Err(error.into()),
                _ => Ok(frame),
            },
            Ok(Some(Err(error))) => Err(lost(&self.address, &error)),
            Ok(None) => Err(Failure::new(
                ErrorCode::Internal,
                format!("{} stopped in the middle of its answer", self.address),
            )),
            Err(_) => Err(Failure::new(
                ErrorCode::Timeout,
                format!(
                    "{} sent nothing for {}: ask for less, or allow more with a longer timeout",
                    self.address,
                    sensor_model::duration::format_duration(self.idle)
                ),
            )),
        }
    }
}

fn lost(address: &str, error: &LinkError) -> Failure {
    Failure::new(
        ErrorCode::Internal,
        format!("the answer of {address} was cut off: {error}"),
    )
}

/// A frame that has no place where it came.
pub(crate) fn out_of_place(address: &str, frame: &Frame) -> Failure {
    let debug = format!("{:?}", frame.response);
    let name: String = debug
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric())
        .collect();
    Failure::new(
        ErrorCode::Internal,
        format!("{address} sent an unexpected {name} message: is it another version?"),
    )
}

/// The token of an answer that ended with `seen`; a node that does not say it goes by what it had
/// applied before.
pub(crate) fn token(freshness: &Freshness, seen: Option<Token>) -> Token {
    seen.map_or(freshness.applied, |seen| seen.max(freshness.applied))
}

impl RangeAnswer {
    pub(crate) fn new(freshness: Freshness, frames: FrameReader, shaper: Option<Shaper>) -> Self {
        Self {
            freshness,
            frames,
            shaper,
            kind: None,
            seen: None,
            ready: VecDeque::new(),
            next_series: None,
            resumed: None,
            is_passed_over: false,
            pager: None,
            ranking: None,
            summary: None,
        }
    }

    /// The same answer as one page of `question`.
    pub(crate) fn paged(mut self, question: &RangeQuestion) -> Self {
        self.resumed = question.page.cursor.clone();
        self.pager = Pager::new(question, self.freshness.applied);
        self
    }

    /// The same answer with the best rows of `question`, if it asks for them.
    pub(crate) fn ranked(mut self, question: &RangeQuestion) -> Self {
        self.ranking = question.ranked.map(Ranking::new);
        self
    }

    /// Which replica answers, and how fresh it is.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// The position as of which the readings of the series that was begun last are, if the replica
    /// says so: nothing that was committed later is among them, and all that was committed before is.
    pub(crate) const fn seen(&self) -> Option<Token> {
        self.seen
    }

    /// The next part, or `None` when the answer is whole.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// The answer was cut: what came before is not the whole answer. Nothing may be asked of it again.
    pub async fn next(&mut self) -> Result<Option<Part>, Failure> {
        while self.ranking.is_some() {
            let part = self.next_part().await?;
            match (part, &mut self.ranking) {
                (Some(part), Some(ranking)) => ranking.add(part),
                (_, ranking) => self.ready = ranking.take().map(Ranking::parts).unwrap_or_default(),
            }
        }
        loop {
            let Some(part) = self.next_part().await? else {
                return Ok(None);
            };
            let Some(pager) = &mut self.pager else {
                return Ok(Some(part));
            };
            let is_cut = pager.would_cut(&part);
            match pager.take(part) {
                Paged::Part(part) => {
                    if is_cut {
                        let next = pager.cursor();
                        self.end_page(next);
                    }
                    return Ok(Some(part));
                }
                Paged::Nothing => {}
                Paged::More(next) => {
                    self.end_page(next);
                    return Ok(None);
                }
            }
        }
    }

    /// The page is full: the store is told to stop, and nothing more is given.
    fn end_page(&mut self, next: Option<Cursor>) {
        self.frames.frames = futures::stream::empty().boxed();
        self.shaper = None;
        self.ready.clear();
        self.next_series = None;
        self.summary = Some(Summary {
            truncated: false,
            next,
            token: self.freshness.applied,
        });
    }

    async fn next_part(&mut self) -> Result<Option<Part>, Failure> {
        loop {
            if let Some(part) = self.take_ready() {
                return Ok(Some(part));
            }
            if self.summary.is_some() {
                return Ok(None);
            }
            let frame = self.frames.next().await?;
            self.accept(&frame)?;
        }
    }

    /// What is known at the end; `None` before [`RangeAnswer::next`] has returned `None`.
    pub fn summary(&self) -> Option<Summary> {
        let is_cut = self.shaper.as_ref().is_some_and(Shaper::is_cut);
        self.summary.clone().map(|summary| Summary {
            truncated: summary.truncated || is_cut,
            ..summary
        })
    }

    fn take_ready(&mut self) -> Option<Part> {
        if let Some(part) = self.ready.pop_front() {
            return Some(part);
        }
        if let Some(shaper) = &mut self.shaper {
            let rows = shaper.take();
            if !rows.is_empty() {
                return Some(Part::Buckets(rows));
            }
        }
        let head = self.next_series.take()?;
        if let Some(shaper) = &mut self.shaper {
            shaper.begin_series();
            if let (Some(cursor), Some(place)) = (&self.resumed, place_of(&head))
                && cursor.at == place
            {
                shaper.pass_over(cursor.through, cursor.rows);
            }
        }
        Some(head)
    }

    fn accept(&mut self, frame: &Frame) -> Result<(), Failure> {
        match (&frame.response, self.kind, &mut self.shaper) {
            (Response::SeriesHead { series, seen }, _, _) => {
                self.seen = *seen;
                self.kind = Some(series.kind);
                self.is_passed_over = false;
                self.end_series();
                self.next_series = Some(Part::Series(series.clone()));
            }
            (Response::GroupHead { key, series }, _, Some(_)) => {
                // Groups are computed anew: those before the one to go on with were given.
                let place = Place::Group(key.clone());
                let resumed = self.resumed.as_ref();
                self.is_passed_over = resumed.is_some_and(|cursor| place < cursor.at);
                self.end_series();
                if !self.is_passed_over {
                    let (key, series) = (key.clone(), *series);
                    self.next_series = Some(Part::Group { key, series });
                }
            }
            (Response::Buckets { .. }, _, Some(_)) if self.is_passed_over => {}
            (Response::Rows { count }, Some(kind), None) => {
                let columns = decode_rows(kind, *count, frame, &self.frames.address)?;
                if !columns.is_empty() {
                    self.ready.push_back(Part::Readings(columns));
                }
            }
            (Response::Buckets { buckets }, _, Some(shaper)) => shaper.push(buckets),
            (
                Response::End {
                    truncated, seen, ..
                },
                _,
                _,
            ) => {
                let (truncated, token) = (*truncated, token(&self.freshness, *seen));
                self.end_series();
                self.summary = Some(Summary {
                    truncated,
                    next: None,
                    token,
                });
            }
            _ => return Err(out_of_place(&self.frames.address, frame)),
        }
        Ok(())
    }

    fn end_series(&mut self) {
        if let Some(shaper) = &mut self.shaper {
            shaper.end_series();
        }
    }
}

/// What a head opens.
pub(crate) fn place_of(head: &Part) -> Option<Place> {
    match head {
        Part::Series(series) => Some(Place::Series(series.path.clone())),
        Part::Group { key, .. } => Some(Place::Group(key.clone())),
        Part::Readings(_) | Part::Buckets(_) => None,
    }
}
