//! The last reading before a range, which pairs and means over time begin with.

use sensor_model::filter::Verdict;
use sensor_model::{Columns, Filter, Reading, Statistics, TimeRange, Timestamp};
use store_wire::message::Order;

use super::merge::Sweep;
use super::reader::Reader;
use super::{Flow, Limits, ScanError, Taker};
use crate::state::selection::Selection;

/// Looks for the reading when it is first asked for.
pub(crate) struct Lookback<'a> {
    reader: Reader<'a>,
    range: TimeRange,
    filter: Option<&'a Filter>,
    limits: &'a Limits,
    selection: Option<Selection>,
}

impl<'a> Lookback<'a> {
    /// Looks before `from` into `selection`, which is of all that time; without one
    /// there is nothing, or nothing wanted.
    pub(crate) fn new(
        reader: Reader<'a>,
        from: Timestamp,
        filter: Option<&'a Filter>,
        limits: &'a Limits,
        selection: Option<Selection>,
    ) -> Self {
        Self {
            reader,
            range: before(from),
            filter,
            limits,
            selection,
        }
    }

    /// The reading; `None` when asked again.
    pub(crate) fn reading(&mut self) -> Result<Option<Reading>, ScanError> {
        let Some(selection) = self.selection.take() else {
            return Ok(None);
        };
        let mut first = First {
            filter: self.filter,
            reading: None,
        };
        let order = Order::Descending;
        Sweep::new(self.reader, self.range, order, selection, self.limits).run(&mut first)?;
        Ok(first.reading)
    }
}

/// All of time before `from`.
pub(crate) const fn before(from: Timestamp) -> TimeRange {
    TimeRange {
        from: Timestamp::MIN,
        to: from,
    }
}

/// Takes the first reading that a filter lets through.
#[derive(Default)]
pub(crate) struct First<'a> {
    pub(crate) filter: Option<&'a Filter>,
    pub(crate) reading: Option<Reading>,
}

impl Taker for First<'_> {
    fn takes_statistics(&self, _first: i64, _last: i64) -> bool {
        self.filter.is_some()
    }

    fn readings(&mut self, columns: &Columns, from: usize, to: usize) -> Result<Flow, ScanError> {
        let readings = (from..to).filter_map(|at| columns.reading(at));
        let is_let = |reading: &Reading| {
            self.filter
                .is_none_or(|filter| filter.matches(&reading.value))
        };
        self.reading = readings.into_iter().find(is_let);
        Ok(match self.reading {
            Some(_) => Flow::Enough,
            None => Flow::More,
        })
    }

    fn statistics(&mut self, statistics: &Statistics) -> Result<Option<Flow>, ScanError> {
        let verdict = self.filter.map(|filter| filter.verdict(statistics));
        Ok((verdict == Some(Verdict::None)).then_some(Flow::More))
    }

    fn finish(&mut self) -> Result<(), ScanError> {
        Ok(())
    }
}
