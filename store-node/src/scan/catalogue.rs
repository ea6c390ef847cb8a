//! Which series there are, and the latest reading of each: answered from memory, unless a delete may
//! have taken it.

use std::sync::RwLock;

use sensor_model::{
    Columns, Pattern, Reading, SeriesDescription, SeriesId, SeriesPath, Statistics, TimeRange,
    Timestamp,
};
use store_wire::message::{Order, SeriesInfo};

use super::merge::Sweep;
use super::reader::Reader;
use super::{Flow, Limits, Matched, ScanError, Source, Taker, read};
use crate::segments::manifest::Uncertain;
use crate::state::State;

/// How many paths are looked at under one lock.
const PAGE_PATHS: usize = 1024;

/// Calls `take` with the visible series that match `pattern`, ordered by path, some at a time.
///
/// # Errors
/// [`ScanError::UnknownSeries`] when `pattern` is a path at which no visible series is,
/// [`ScanError::Deadline`], or what `take` returns.
pub(crate) fn matching(
    state: &RwLock<State>,
    pattern: &Pattern,
    visible: &dyn Fn(&SeriesPath) -> bool,
    limits: &Limits,
    take: &mut dyn FnMut(Vec<Matched>) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    let mut after = None;
    let mut found = false;
    loop {
        limits.check_deadline()?;
        let page = read(state)
            .registry()
            .page(pattern, after.as_ref(), PAGE_PATHS);
        let mut series = page.series;
        series.retain(|(_, series)| visible(&series.path));
        if !series.is_empty() {
            found = true;
            take(series)?;
        }
        after = page.next_after;
        if after.is_none() {
            break;
        }
    }
    match SeriesPath::new(pattern.as_str()) {
        Ok(path) if !found => Err(ScanError::UnknownSeries { path }),
        _ => Ok(()),
    }
}

/// Hands over each visible series that matches and has readings, with its latest, ordered by path.
///
/// # Errors
/// As [`super::range`].
pub fn last(
    source: Source<'_>,
    pattern: &Pattern,
    visible: &dyn Fn(&SeriesPath) -> bool,
    limits: &Limits,
    sink: &mut dyn FnMut(Vec<(SeriesDescription, Reading)>) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    matching(source.state, pattern, visible, limits, &mut |series| {
        let mut latest = Vec::with_capacity(series.len());
        for mut known in known(source.state, series) {
            known.resolve_last(source, limits)?;
            if let Some(last) = known.info.last {
                latest.push((known.info.description, last));
            }
        }
        sink(latest)
    })
}

/// Hands over each visible series that matches, with what is known of its readings, ordered by path.
///
/// # Errors
/// As [`super::range`].
pub fn series(
    source: Source<'_>,
    pattern: &Pattern,
    visible: &dyn Fn(&SeriesPath) -> bool,
    limits: &Limits,
    sink: &mut dyn FnMut(Vec<SeriesInfo>) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    matching(source.state, pattern, visible, limits, &mut |series| {
        let mut infos = Vec::with_capacity(series.len());
        for mut known in known(source.state, series) {
            known.resolve_first(source, limits)?;
            known.resolve_last(source, limits)?;
            infos.push(known.info);
        }
        sink(infos)
    })
}

/// What is known of a series without looking at its readings.
struct Known {
    id: SeriesId,
    info: SeriesInfo,
    uncertain: Uncertain,
}

fn known(state: &RwLock<State>, series: Vec<Matched>) -> Vec<Known> {
    let state = read(state);
    let known = series.into_iter().filter_map(|(id, description)| {
        let readings = state.readings(id)?;
        let info = SeriesInfo {
            description: SeriesDescription::clone(&description),
            count: readings.count(),
            first: readings.first().map(Timestamp::from_nanos),
            last: readings.last().cloned(),
        };
        let uncertain = readings.uncertain();
        Some(Known {
            id,
            info,
            uncertain,
        })
    });
    known.collect()
}

impl Known {
    fn resolve_first(&mut self, source: Source<'_>, limits: &Limits) -> Result<(), ScanError> {
        if self.uncertain.first {
            let first = self.outermost(source, Order::Ascending, limits)?;
            self.info.first = first.map(|reading| reading.timestamp);
        }
        Ok(())
    }

    fn resolve_last(&mut self, source: Source<'_>, limits: &Limits) -> Result<(), ScanError> {
        if self.uncertain.last {
            self.info.last = self.outermost(source, Order::Descending, limits)?;
        }
        Ok(())
    }

    fn outermost(
        &self,
        source: Source<'_>,
        order: Order,
        limits: &Limits,
    ) -> Result<Option<Reading>, ScanError> {
        outermost(source, self.id, &self.info.description, order, limits)
    }
}

/// The first reading of a series in `order` that was not deleted.
fn outermost(
    source: Source<'_>,
    id: SeriesId,
    series: &SeriesDescription,
    order: Order,
    limits: &Limits,
) -> Result<Option<Reading>, ScanError> {
    let everything = TimeRange::EVERYTHING;
    let Some(selection) = read(source.state).select(id, everything) else {
        return Ok(None);
    };
    let reader = Reader {
        payloads: source.payloads,
        library: source.library,
        id,
        series,
    };
    let mut first = First(None);
    Sweep::new(reader, everything, order, selection, limits).run(&mut first)?;
    Ok(first.0)
}

/// Takes the first reading.
struct First(Option<Reading>);

impl Taker for First {
    fn takes_statistics(&self, _first: i64, _last: i64) -> bool {
        false
    }

    fn readings(&mut self, columns: &Columns, from: usize, to: usize) -> Result<Flow, ScanError> {
        if from == to {
            return Ok(Flow::More);
        }
        self.0 = columns.reading(from);
        Ok(Flow::Enough)
    }

    fn statistics(&mut self, _statistics: Statistics) -> Result<Flow, ScanError> {
        unreachable!("a reading is never made of statistics")
    }

    fn finish(&mut self) -> Result<(), ScanError> {
        Ok(())
    }
}
