//! Which series there are, and the latest reading of each: answered from memory.

use std::sync::RwLock;

use sensor_model::{Pattern, Reading, SeriesDescription, SeriesPath, Timestamp};
use store_wire::message::SeriesInfo;

use super::{Limits, Matched, ScanError, read};
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
    state: &RwLock<State>,
    pattern: &Pattern,
    visible: &dyn Fn(&SeriesPath) -> bool,
    limits: &Limits,
    sink: &mut dyn FnMut(Vec<(SeriesDescription, Reading)>) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    matching(state, pattern, visible, limits, &mut |series| {
        let latest = {
            let state = read(state);
            let latest = |(id, description): Matched| {
                let reading = state.readings(id)?.last()?.clone();
                Some((SeriesDescription::clone(&description), reading))
            };
            series.into_iter().filter_map(latest).collect()
        };
        sink(latest)
    })
}

/// Hands over each visible series that matches, with what is known of its readings, ordered by path.
///
/// # Errors
/// As [`super::range`].
pub fn series(
    state: &RwLock<State>,
    pattern: &Pattern,
    visible: &dyn Fn(&SeriesPath) -> bool,
    limits: &Limits,
    sink: &mut dyn FnMut(Vec<SeriesInfo>) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    matching(state, pattern, visible, limits, &mut |series| {
        let infos = {
            let state = read(state);
            let info = |(id, description): Matched| {
                let readings = state.readings(id)?;
                Some(SeriesInfo {
                    description: SeriesDescription::clone(&description),
                    count: readings.count(),
                    first: readings.first().map(Timestamp::from_nanos),
                    last: readings.last().cloned(),
                })
            };
            series.into_iter().filter_map(info).collect()
        };
        sink(infos)
    })
}
