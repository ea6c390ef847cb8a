//! Which segments should become one next. The leader asks for it through the log, so nothing here needs
//! to be the same on every replica.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compact::{Touched, inputs};
use crate::command::COMPACTED_MAX;
use crate::segments::manifest::{SegmentEntry, SegmentId, Window};

/// So many segments of a window in a row, of like size, become one.
const RUN_MIN: usize = 4;
/// A segment joins a run unless it is so many times larger than the newer ones together.
const RUN_GROWTH: u64 = 2;
/// With so many segments in a window all of them become one.
const WINDOW_MAX: usize = 16;
/// Readings of a segment that has grown enough: it, and those before it, stay as they are.
const READINGS_MAX: u64 = 1 << 28;
/// With so many tombstones every segment that one of them touches is written anew.
const TOMBSTONES_MANY: usize = 64;

/// The segments that should become one next, if any should: of a window the newest, as long as they
/// are of like size. So each reading is written anew a few times, however many segments it begins in.
/// `all` are ordered as in the state.
pub fn plan(all: &[Arc<SegmentEntry>]) -> Option<Vec<SegmentId>> {
    let mut windows: BTreeMap<Window, Vec<&SegmentEntry>> = BTreeMap::new();
    for entry in all {
        windows.entry(entry.window).or_default().push(entry);
    }
    windows.values().find_map(|segments| {
        let run = run(&growing(segments));
        if run.len() < RUN_MIN {
            return None;
        }
        let run = in_a_row(&run, all);
        let mut named: Vec<SegmentId> = run.iter().map(|entry| entry.id()).collect();
        named.sort_unstable();
        (named.len() >= RUN_MIN && inputs(all, &named).is_some()).then_some(named)
    })
}

/// The newest of the segments of a window that may still become one, the newest first.
fn growing<'a>(segments: &[&'a SegmentEntry]) -> Vec<&'a SegmentEntry> {
    let newest = segments.iter().rev().take(COMPACTED_MAX);
    let mut readings = 0_u64;
    let fits = newest.take_while(|entry| {
        readings = readings.saturating_add(entry.readings);
        readings <= READINGS_MAX
    });
    fits.copied().collect()
}

/// Those of them, from the newest on, that are of like size; all if they are many.
fn run<'a>(growing: &[&'a SegmentEntry]) -> Vec<&'a SegmentEntry> {
    let mut bytes = 0_u64;
    let alike = growing.iter().take_while(|entry| {
        let is_alike = bytes == 0 || entry.bytes <= bytes.saturating_mul(RUN_GROWTH);
        bytes = bytes.saturating_add(entry.bytes);
        is_alike || growing.len() >= WINDOW_MAX
    });
    alike.copied().collect()
}

/// Those of a run, the newest first, between which no segment of another window stands.
fn in_a_row<'a>(run: &[&'a SegmentEntry], all: &[Arc<SegmentEntry>]) -> Vec<&'a SegmentEntry> {
    let Some(newest) = run.first() else {
        return Vec::new();
    };
    let (from, to) = (newest.window.start, newest.window.last());
    let others = all.iter().filter(|other| {
        let is_met = other.first <= to && from <= other.last;
        other.window != newest.window && other.order < newest.order && is_met
    });
    let after = others.map(|other| other.order).max();
    let in_a_row = run.iter().take_while(|entry| Some(entry.order) > after);
    in_a_row.copied().collect()
}

/// Whether so much of a segment is deleted that it should be written anew.
pub(crate) const fn is_worn(entry: &SegmentEntry, touched: Touched, tombstones: usize) -> bool {
    let gone = entry.readings.saturating_sub(touched.readings_left);
    touched.is_touched && (gone * 8 >= entry.readings || tombstones >= TOMBSTONES_MANY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segments::manifest::SegmentHash;

    const DAY: u64 = 100;

    /// Segments, each of a window, with so many bytes, in order.
    fn segments(of: &[(i64, u64, u64)]) -> Vec<Arc<SegmentEntry>> {
        let entry = |(order, (start, width, bytes)): (u64, &(i64, u64, u64))| {
            let window = Window::of(*start, *width);
            Arc::new(SegmentEntry {
                hash: SegmentHash([0; 32]),
                bytes: *bytes,
                created: order,
                order,
                masked_through: order,
                window,
                readings: *bytes,
                series: 1,
                first: window.start,
                last: window.last(),
            })
        };
        (1..).zip(of).map(entry).collect()
    }

    /// The orders of what is planned.
    fn planned(of: &[(i64, u64, u64)]) -> Vec<u64> {
        let planned = plan(&segments(of)).unwrap_or_default();
        planned.iter().map(|id| id.created).collect()
    }

    #[test]
    fn four_of_like_size_become_one_and_three_do_not() {
        let of = [(0, DAY, 10); 4];
        assert!(planned(&of[..3]).is_empty());
        assert_eq!(planned(&of), [1, 2, 3, 4]);
        let next = i64::try_from(DAY).unwrap();
        let of = [(0, DAY, 10), (0, DAY, 10), (next, DAY, 10), (next, DAY, 10)];
        assert!(planned(&of).is_empty());
    }

    #[test]
    fn what_is_much_larger_is_left_until_there_are_many() {
        let mut of = vec![(0, DAY, 10_000)];
        of.extend([(0, DAY, 10); 4]);
        assert_eq!(planned(&of), [2, 3, 4, 5]);
        of.extend([(0, DAY, 10); WINDOW_MAX - 5]);
        assert_eq!(planned(&of).len(), WINDOW_MAX);
        of.remove(1);
        assert_eq!(planned(&of).len(), WINDOW_MAX - 2);
    }

    #[test]
    fn what_has_grown_enough_is_left_for_good() {
        let grown = |readings| {
            let mut of = vec![(0, DAY, readings)];
            of.extend([(0, DAY, 10); WINDOW_MAX]);
            planned(&of).len()
        };
        let room = READINGS_MAX - 10 * WINDOW_MAX as u64;
        assert_eq!(grown(room), WINDOW_MAX + 1);
        assert_eq!(grown(room + 1), WINDOW_MAX);
    }

    #[test]
    fn no_more_are_planned_than_a_command_may_name() {
        let of = vec![(0, DAY, 10); COMPACTED_MAX];
        assert_eq!(planned(&of).len(), COMPACTED_MAX);
        let of = vec![(0, DAY, 10); COMPACTED_MAX + 1];
        assert_eq!(planned(&of).len(), COMPACTED_MAX);
    }

    #[test]
    fn a_wider_window_between_them_parts_a_run_and_does_not_end_it() {
        let wide = (0, 3 * DAY, 10);
        let mut of = vec![(0, DAY, 10); 5];
        of.insert(2, wide);
        assert!(planned(&of).is_empty());
        of.push((0, DAY, 10));
        assert_eq!(planned(&of), [4, 5, 6, 7]);
        // Elsewhere in time it parts nothing.
        of[2] = (i64::try_from(3 * DAY).unwrap(), 3 * DAY, 10);
        assert_eq!(planned(&of), [1, 2, 4, 5, 6, 7]);
    }

    #[test]
    fn an_eighth_deleted_is_worn() {
        let entry = &segments(&[(0, DAY, 80)])[0];
        let is_worn = |readings_left, tombstones| {
            let is_touched = true;
            let touched = Touched {
                is_touched,
                readings_left,
            };
            is_worn(entry, touched, tombstones)
        };
        assert!(is_worn(70, 1) && !is_worn(71, 1));
        assert!(is_worn(80, TOMBSTONES_MANY) && !is_worn(80, TOMBSTONES_MANY - 1));
        let is_touched = false;
        let readings_left = 80;
        assert!(!super::is_worn(
            entry,
            Touched {
                is_touched,
                readings_left
            },
            usize::MAX
        ));
    }
}
