//! Counts readings, from statistics wherever a chunk stands alone.

use std::slice;

use sensor_model::{Columns, Pattern, SeriesPath, Statistics, TimeRange};
use store_wire::message::Order;

use super::catalogue::matching;
use super::merge::Sweep;
use super::reader::Reader;
use super::{Flow, Limits, ScanError, Source, Taker, Totals, read};
use crate::state::selection::Selection;

/// How many readings the series that match and that `visible` lets through have in `range`, as a scan
/// would show them, and how many series have any.
///
/// # Errors
/// As [`super::range`].
pub fn tally(
    source: Source<'_>,
    pattern: &Pattern,
    range: TimeRange,
    visible: &dyn Fn(&SeriesPath) -> bool,
    limits: &Limits,
) -> Result<Totals, ScanError> {
    let mut totals = Totals::default();
    matching(
        source.state,
        slice::from_ref(pattern),
        visible,
        limits,
        &mut |series| {
            for (id, description) in series {
                let Some(selection) = read(source.state).select(id, range) else {
                    continue;
                };
                let reader = Reader {
                    payloads: source.payloads,
                    library: source.library,
                    id,
                    series: &description,
                };
                let readings = count(reader, range, selection, limits)?;
                totals.series += u64::from(readings > 0);
                totals.rows += readings;
            }
            Ok(())
        },
    )?;
    Ok(totals)
}

/// How many readings `selection` has in `range`.
pub(crate) fn count(
    reader: Reader<'_>,
    range: TimeRange,
    selection: Selection,
    limits: &Limits,
) -> Result<u64, ScanError> {
    let mut counted = Count(0);
    Sweep::new(reader, range, Order::Ascending, selection, limits).run(&mut counted)?;
    Ok(counted.0)
}

struct Count(u64);

impl Taker for Count {
    fn takes_statistics(&self, _first: i64, _last: i64) -> bool {
        true
    }

    fn readings(&mut self, _columns: &Columns, from: usize, to: usize) -> Result<Flow, ScanError> {
        self.0 += (to - from) as u64;
        Ok(Flow::More)
    }

    fn statistics(&mut self, statistics: &Statistics) -> Result<Option<Flow>, ScanError> {
        self.0 += statistics.count;
        Ok(Some(Flow::More))
    }

    fn finish(&mut self) -> Result<(), ScanError> {
        Ok(())
    }
}
