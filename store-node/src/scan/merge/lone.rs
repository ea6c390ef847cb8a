//! What a sweep passes without decoding: a chunk that stands alone, all of it wanted, told by its
//! statistics or by those of its parts.

use std::cmp::Reverse;

use column_codec::DecodeError;
use sensor_model::{Kind, Statistics};
use store_wire::message::Order;

use super::{Source, Sweep, Waiting};
use crate::scan::{Flow, ScanError, Taker};

impl Sweep<'_> {
    /// What comes next, if all its readings are wanted in one piece, `taker` takes statistics, and nothing
    /// else can have a reading among its. It waits no longer.
    pub(super) fn lone(&mut self, taker: &dyn Taker) -> Result<Option<Waiting>, ScanError> {
        if !self.open.is_empty() {
            return Ok(None);
        }
        while let Some(Reverse(next)) = self.waiting.pop() {
            if let Source::Segment(entry) = &next.source {
                self.expand(entry, next.commit)?;
                continue;
            }
            let follows = self.waiting.peek();
            let overlapping = follows.filter(|Reverse(other)| other.start_key <= next.end_key);
            if let Some(Reverse(other)) = overlapping {
                let is_segment = matches!(other.source, Source::Segment(_));
                let other = is_segment.then(|| self.waiting.pop()).flatten();
                self.waiting.push(Reverse(next));
                if let Some(Reverse(Waiting {
                    source: Source::Segment(entry),
                    commit,
                    ..
                })) = other
                {
                    self.expand(&entry, commit)?;
                    continue;
                }
                return Ok(None);
            }
            if self.is_whole(&next)
                && (taker.takes_statistics(next.first, next.last) || taker.takes_parts())
            {
                return Ok(Some(next));
            }
            self.waiting.push(Reverse(next));
            return Ok(None);
        }
        Ok(None)
    }

    /// Whether all readings of `waiting` lie in the range, and none is masked.
    fn is_whole(&self, waiting: &Waiting) -> bool {
        self.range.from.as_nanos() <= waiting.first
            && waiting.last < self.range.to.as_nanos()
            && !self.masks_of(waiting).any(|_| true)
    }

    /// Hands `waiting`, which stands alone, to `taker` by its statistics, or by those of its parts;
    /// `None` if its readings must be looked at.
    pub(super) fn without_readings(
        &mut self,
        waiting: &Waiting,
        taker: &mut dyn Taker,
    ) -> Result<Option<Flow>, ScanError> {
        self.limits.check()?;
        if taker.takes_statistics(waiting.first, waiting.last) {
            return match self.statistics(&waiting.source)? {
                Some(statistics) => taker.statistics(&statistics),
                None => Ok(None),
            };
        }
        let chunk = match &waiting.source {
            _ if self.reader.series.kind == Kind::Text => return Ok(None),
            Source::Chunk(entry, chunk) => self.reader.chunk(entry, chunk)?,
            Source::Piece(piece) if piece.is_sorted => self.reader.piece(piece)?,
            Source::Piece(_) | Source::Head(_) | Source::Segment(_) => return Ok(None),
        };
        let view = self.reader.view(&chunk)?;
        let mut part_end = |first| taker.part_end(first);
        let cut = view.parts(&mut self.scratch, &mut part_end, &mut self.parts);
        if !cut.map_err(|error| self.reader.damaged(error))? {
            return Ok(None);
        }
        self.limits.note_read(view.decoded_len())?;
        if self.order == Order::Descending {
            self.parts.reverse();
        }
        for part in &self.parts {
            match taker.statistics(part)? {
                Some(Flow::More) => {}
                Some(Flow::Enough) => return Ok(Some(Flow::Enough)),
                // A part that was cut where its bucket ends is within it, if its times are in order.
                None => {
                    let error = DecodeError::StatisticsDiffer { what: "order" };
                    return Err(self.reader.damaged(error));
                }
            }
        }
        Ok(Some(Flow::More))
    }

    fn statistics(&self, source: &Source) -> Result<Option<Statistics>, ScanError> {
        match source {
            Source::Chunk(_, chunk) => Ok(Some(chunk.statistics.clone())),
            Source::Piece(piece) if piece.is_sorted => {
                let chunk = self.reader.piece(piece)?;
                Ok(Some(self.reader.view(&chunk)?.statistics()))
            }
            Source::Piece(_) | Source::Head(_) | Source::Segment(_) => Ok(None),
        }
    }
}
