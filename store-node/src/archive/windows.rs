//! How wide the windows of a generation are: as its seal says, unless its readings lie in so many
//! windows that there would be too many files, or files with hardly anything in them.
//!
//! Late readings, or clocks that were wrong, may lie years apart, and a recording of a slow sensor spans
//! months with a few thousand readings. Only windows that have readings count.

use std::collections::BTreeSet;

use sensor_model::TimeRange;

use super::{Archive, JobError};
use crate::scan::ScanError;
use crate::scan::reader::Reader;
use crate::segments::manifest::Window;
use crate::state::Payloads;
use crate::state::chunks::Unsealed;
use crate::state::generation::Generation;

/// Most segments of one generation: with more windows than that, wider ones are taken.
pub(super) const WINDOWS_MAX: usize = 64;
/// So many are always taken, however few readings there are.
const WINDOWS_MIN: usize = 4;

/// Windows of one width that have readings, at most [`WINDOWS_MAX`], or `count_max`.
struct Windows {
    width: u64,
    count_max: usize,
    starts: BTreeSet<i64>,
}

impl Archive {
    /// The width of the generation's windows: as the seal says, or doubled until there are few enough.
    ///
    /// # Errors
    /// When readings cannot be read back, which is only tried if it looks as if there were too many.
    pub(super) fn width(
        &self,
        generation: &Generation,
        payloads: &dyn Payloads,
    ) -> Result<u64, JobError> {
        let readings = generation.series.iter().map(|(_, run)| run.readings());
        let mut windows = Windows {
            width: generation.seal.window,
            count_max: count_max(readings.sum(), generation.seal.chunk_readings),
            starts: BTreeSet::new(),
        };
        let mut spans = generation.series.iter().flat_map(|(_, run)| run.spans());
        if spans.all(|span| windows.add_span(span)) {
            return Ok(windows.width);
        }
        windows.starts.clear();
        for (id, run) in &generation.series {
            let reader = self.reader(*id, generation.description(*id), payloads);
            windows.add_run(run, &reader)?;
        }
        Ok(windows.width)
    }
}

/// Most windows of a generation with so many readings: no more than they fill chunks, so that what
/// comes with every file is little beside its readings, but always a few, for retention to drop.
fn count_max(readings: u64, chunk_readings: u32) -> usize {
    let chunks = readings / u64::from(chunk_readings.max(1));
    usize::try_from(chunks).map_or(WINDOWS_MAX, |chunks| chunks.clamp(WINDOWS_MIN, WINDOWS_MAX))
}

impl Windows {
    /// Counts every window that the span meets; whether there are still few enough.
    fn add_span(&mut self, (first, last): (i64, i64)) -> bool {
        let mut window = Window::of(first, self.width);
        loop {
            self.starts.insert(window.start);
            if self.starts.len() > self.count_max {
                return false;
            }
            if last <= window.last() {
                return true;
            }
            window = Window::of(window.last() + 1, self.width);
        }
    }

    fn add_run(&mut self, run: &Unsealed, reader: &Reader<'_>) -> Result<(), ScanError> {
        let selected = run.select(TimeRange::EVERYTHING);
        for piece in &selected.pieces {
            if Window::of(piece.first, self.width) == Window::of(piece.last, self.width) {
                self.add(piece.first);
                continue;
            }
            let chunk = reader.piece(piece)?;
            let columns = reader.view(&chunk)?.decode();
            self.add_all(columns.map_err(|error| reader.damaged(error))?.times);
        }
        self.add_all(selected.head.times);
        Ok(())
    }

    fn add_all(&mut self, mut times: Vec<i64>) {
        times.sort_unstable();
        let mut rest = &times[..];
        while let Some(first) = rest.first() {
            let window = self.add(*first);
            let inside = rest.partition_point(|time| *time <= window.last());
            rest = &rest[inside..];
        }
    }

    /// Counts the window of a reading at `time`; says which that is now.
    fn add(&mut self, time: i64) -> Window {
        self.starts.insert(Window::of(time, self.width).start);
        while self.starts.len() > self.count_max {
            self.width = self.width.saturating_mul(2);
            let wider = |start: &i64| Window::of(*start, self.width).start;
            self.starts = self.starts.iter().map(wider).collect();
        }
        Window::of(time, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(width: u64) -> Windows {
        Windows {
            width,
            count_max: WINDOWS_MAX,
            starts: BTreeSet::new(),
        }
    }

    /// The width after readings in the first `count` windows of 10 ns.
    fn width_of(count: i64) -> u64 {
        let mut windows = windows(10);
        windows.add_all((0..count).map(|at| at * 10).collect());
        windows.width
    }

    #[test]
    fn windows_are_doubled_when_there_are_too_many() {
        assert_eq!(width_of(64), 10);
        assert_eq!(width_of(65), 20);
        assert_eq!(width_of(128), 20);
        assert_eq!(width_of(129), 40);
        assert_eq!(width_of(10_000), 2_560);
    }

    #[test]
    fn a_window_has_a_chunk_on_average_unless_there_are_hardly_any() {
        assert_eq!(count_max(0, 4_096), WINDOWS_MIN);
        assert_eq!(count_max(5 * 4_096 - 1, 4_096), 4);
        assert_eq!(count_max(5 * 4_096, 4_096), 5);
        assert_eq!(count_max(64 * 4_096, 4_096), WINDOWS_MAX);
        assert_eq!(count_max(u64::MAX, 1), WINDOWS_MAX);
    }

    #[test]
    fn readings_far_apart_are_in_few_windows() {
        let mut windows = windows(10);
        assert!(windows.add_span((0, 639)));
        assert!(!windows.add_span((0, 640)));
        windows.starts.clear();
        windows.add_all(vec![i64::MAX - 1, i64::MIN, 0]);
        assert_eq!((windows.width, windows.starts.len()), (10, 3));
    }

    #[test]
    fn all_of_time_is_some_windows() {
        for width in [1, 3, 10, 1 << 20, (1 << 62) + 1, u64::MAX] {
            let mut windows = windows(width);
            let times = (-200..200).map(|at| at * (i64::MAX / 200));
            windows.add_all(times.chain([i64::MIN, i64::MAX - 1]).collect());
            assert!((1..=WINDOWS_MAX).contains(&windows.starts.len()), "{width}");
            assert!(windows.width >= width);
        }
    }
}
