//! Which series there are, and the latest reading of each: answered from memory, unless a delete may
//! have taken it.

use std::collections::VecDeque;
use std::slice;
use std::sync::RwLock;

use sensor_model::{
    Pattern, Reading, SeriesDescription, SeriesId, SeriesPath, TimeRange, Timestamp,
};
use store_wire::message::{Order, SeriesInfo};

use super::lookback::First;
use super::merge::Sweep;
use super::reader::Reader;
use super::{Limits, Matched, ScanError, Source, read};
use crate::segments::manifest::Uncertain;
use crate::state::State;

/// How many paths are looked at under one lock.
const PAGE_PATHS: usize = 1024;

/// Calls `take` with the visible series that match any of `patterns`, ordered by path, each once, some
/// at a time.
///
/// # Errors
/// [`ScanError::UnknownSeries`] when a pattern is a path at which no visible series is, before anything
/// is taken; [`ScanError::Deadline`], or what `take` returns.
pub(crate) fn matching(
    state: &RwLock<State>,
    patterns: &[Pattern],
    visible: &dyn Fn(&SeriesPath) -> bool,
    limits: &Limits,
    take: &mut dyn FnMut(Vec<Matched>) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    let mut pages: Vec<Pages<'_>> = patterns.iter().map(Pages::new).collect();
    for pages in &mut pages {
        pages.refill(state, visible, limits)?;
        if let (Ok(path), None) = (
            SeriesPath::new(pages.pattern.as_str()),
            pages.series.front(),
        ) {
            return Err(ScanError::UnknownSeries { path });
        }
    }
    loop {
        let series = joined(&mut pages);
        if series.is_empty() {
            return Ok(());
        }
        take(series)?;
        for pages in &mut pages {
            pages.refill(state, visible, limits)?;
        }
    }
}

/// The series that match one pattern, page by page.
struct Pages<'a> {
    pattern: &'a Pattern,
    /// Those looked up and not yet taken; empty only when none are left.
    series: VecDeque<Matched>,
    after: Option<SeriesPath>,
    is_over: bool,
}

impl<'a> Pages<'a> {
    const fn new(pattern: &'a Pattern) -> Self {
        Self {
            pattern,
            series: VecDeque::new(),
            after: None,
            is_over: false,
        }
    }

    /// Looks up the next page, when all series of the one before were taken.
    fn refill(
        &mut self,
        state: &RwLock<State>,
        visible: &dyn Fn(&SeriesPath) -> bool,
        limits: &Limits,
    ) -> Result<(), ScanError> {
        while self.series.is_empty() && !self.is_over {
            limits.check()?;
            let (pattern, after) = (self.pattern, self.after.as_ref());
            let page = read(state).registry().page(pattern, after, PAGE_PATHS);
            let series = page.series.into_iter();
            let seen = series.filter(|(_, series)| visible(&series.path));
            self.series = seen.collect();
            self.after = page.next_after;
            self.is_over = self.after.is_none();
        }
        Ok(())
    }
}

/// Takes series from all pages in order of their paths, each once, until one of the pages must be
/// refilled.
fn joined(pages: &mut [Pages<'_>]) -> Vec<Matched> {
    let mut joined = Vec::new();
    loop {
        let must_refill = |pages: &Pages<'_>| pages.series.is_empty() && !pages.is_over;
        let fronts = pages.iter().filter_map(|pages| pages.series.front());
        let first = fronts.min_by(|a, b| a.1.path.cmp(&b.1.path)).cloned();
        let (Some(first), false) = (first, pages.iter().any(must_refill)) else {
            return joined;
        };
        for pages in &mut *pages {
            pages.series.pop_front_if(|(id, _)| *id == first.0);
        }
        joined.push(first);
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
    matching(
        source.state,
        slice::from_ref(pattern),
        visible,
        limits,
        &mut |series| {
            let mut latest = Vec::with_capacity(series.len());
            for mut known in known(source.state, series) {
                known.resolve_last(source, limits)?;
                if let Some(last) = known.info.last {
                    latest.push((known.info.description, last));
                }
            }
            sink(latest)
        },
    )
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
    matching(
        source.state,
        slice::from_ref(pattern),
        visible,
        limits,
        &mut |series| {
            let mut infos = Vec::with_capacity(series.len());
            for mut known in known(source.state, series) {
                known.resolve_first(source, limits)?;
                known.resolve_last(source, limits)?;
                infos.push(known.info);
            }
            sink(infos)
        },
    )
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
    let mut first = First::default();
    Sweep::new(reader, everything, order, selection, limits).run(&mut first)?;
    Ok(first.reading)
}
