//! What a store answers, as the rest of the program takes it: parts of a range as they arrive, lists
//! as a whole, each with the freshness of the replica that answered.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use sensor_model::{Columns, Kind, Reading, SeriesDescription, Token};
use store_wire::message::{ErrorCode, Freshness, Response, SeriesInfo};

use crate::client::rows::decode_rows;
use crate::failure::Failure;
use crate::link::{Frame, Frames, LinkError};
use crate::shape::{BucketRow, Shaper};

/// One part of the answer to a range. Series come in order of their paths, rows in order of time.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Opens a series; its rows follow.
    Series(SeriesDescription),
    /// Readings of the open series; never empty.
    Readings(Columns),
    /// Buckets of the open series; never empty.
    Buckets(Vec<BucketRow>),
}

/// What is known when an answer is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Whether a limit cut rows off.
    pub truncated: bool,
    /// A read with this token sees all that the answer has.
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
    /// Parts that are ready.
    ready: VecDeque<Part>,
    /// A series head that waits until the rows of the series before it are taken.
    next_series: Option<SeriesDescription>,
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
            ready: VecDeque::new(),
            next_series: None,
            summary: None,
        }
    }

    /// Which replica answers, and how fresh it is.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// The next part, or `None` when the answer is whole.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// The answer was cut: what came before is not the whole answer. Nothing may be asked of it again.
    pub async fn next(&mut self) -> Result<Option<Part>, Failure> {
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
        self.summary.map(|summary| Summary {
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
        let series = self.next_series.take()?;
        if let Some(shaper) = &mut self.shaper {
            shaper.begin_series();
        }
        Some(Part::Series(series))
    }

    fn accept(&mut self, frame: &Frame) -> Result<(), Failure> {
        match (&frame.response, self.kind, &mut self.shaper) {
            (Response::SeriesHead { series }, _, _) => {
                self.kind = Some(series.kind);
                self.end_series();
                self.next_series = Some(series.clone());
            }
            (Response::Rows { count }, Some(kind), None) => {
                let columns = decode_rows(kind, *count, frame, &self.frames.address)?;
                if !columns.is_empty() {
                    self.ready.push_back(Part::Readings(columns));
                }
            }
            (Response::Buckets { buckets }, Some(_), Some(shaper)) => shaper.push(buckets),
            (
                Response::End {
                    truncated, seen, ..
                },
                _,
                _,
            ) => {
                let (truncated, token) = (*truncated, token(&self.freshness, *seen));
                self.end_series();
                self.summary = Some(Summary { truncated, token });
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
