//! Hands readings over in parts that fit a frame.

use sensor_model::filter::Verdict;
use sensor_model::{Columns, Filter, Kind, Statistics, Values};

use super::{Flow, Output, Part, ScanError, Taker};

/// Most bytes of a part, as it will be written: the next row would pass this.
pub const PART_BYTES_MAX: usize = 256 * 1024;

/// Bytes a row takes beside a text's own: its time, and a value or a text's length.
const ROW_BYTES: usize = 16;

/// Collects rows of one series.
pub(crate) struct Rows<'a, 'b> {
    output: &'a mut Output<'b>,
    filter: Option<&'a Filter>,
    part: Columns,
    part_bytes: usize,
    /// How many more rows are wanted; `None` without a limit.
    wanted: Option<u64>,
}

impl<'a, 'b> Rows<'a, 'b> {
    pub(crate) const fn new(
        kind: Kind,
        limit: Option<u64>,
        filter: Option<&'a Filter>,
        output: &'a mut Output<'b>,
    ) -> Self {
        Self {
            output,
            filter,
            part: Columns::empty(kind),
            part_bytes: 0,
            wanted: limit,
        }
    }

    fn hand_over(&mut self) -> Result<(), ScanError> {
        if self.part.is_empty() {
            return Ok(());
        }
        let empty = Columns::empty(self.part.kind());
        let part = std::mem::replace(&mut self.part, empty);
        self.part_bytes = 0;
        let rows = part.len();
        self.output.part(Part::Rows(part), rows)
    }

    fn take(&mut self, columns: &Columns, from: usize, to: usize) -> Result<Flow, ScanError> {
        let wanted = self.wanted.map_or(usize::MAX, |wanted| {
            usize::try_from(wanted).unwrap_or(usize::MAX)
        });
        let end = to.min(from.saturating_add(wanted));
        let mut at = from;
        while at < end {
            let (until, bytes) =
                fitting(&columns.values, at, end, PART_BYTES_MAX - self.part_bytes);
            self.part.extend_from(columns, at, until);
            self.part_bytes += bytes;
            at = until;
            if at < end {
                self.hand_over()?;
            }
        }
        if let Some(wanted) = &mut self.wanted {
            *wanted -= (end - from) as u64;
        }
        if end < to {
            self.output.note_truncated();
            return Ok(Flow::Enough);
        }
        Ok(Flow::More)
    }
}

impl Taker for Rows<'_, '_> {
    fn takes_statistics(&self, _first: i64, _last: i64) -> bool {
        self.filter.is_some()
    }

    fn readings(&mut self, columns: &Columns, from: usize, to: usize) -> Result<Flow, ScanError> {
        match self.filter {
            None => self.take(columns, from, to),
            Some(filter) => {
                let kept = filter.keep(columns, from, to);
                self.take(&kept, 0, kept.len())
            }
        }
    }

    fn statistics(&mut self, statistics: &Statistics) -> Result<Option<Flow>, ScanError> {
        let verdict = self.filter.map(|filter| filter.verdict(statistics));
        Ok((verdict == Some(Verdict::None)).then_some(Flow::More))
    }

    fn finish(&mut self) -> Result<(), ScanError> {
        self.hand_over()
    }
}

/// How far the rows from `from` on, at most to `to`, fit `room` bytes, and how many they take.
fn fitting(values: &Values, from: usize, to: usize, room: usize) -> (usize, usize) {
    let Values::Text(texts) = values else {
        let until = to.min(from + room / ROW_BYTES);
        return (until, (until - from) * ROW_BYTES);
    };
    let mut bytes = 0;
    for (row, text) in texts[from..to].iter().enumerate() {
        let row_bytes = ROW_BYTES + text.len();
        if bytes + row_bytes > room {
            return (from + row, bytes);
        }
        bytes += row_bytes;
    }
    (to, bytes)
}
