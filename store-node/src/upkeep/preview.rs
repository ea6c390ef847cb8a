//! What rules of retention would let go now, changing nothing.
//!
//! Segments are judged by their directories; only series in which a rule's bound falls are looked into.
//! What is not sealed is counted as a scan counts it.

use std::sync::Arc;

use column_codec::DecodeError;
use sensor_model::{SeriesId, TimeRange, Timestamp};
use store_wire::message::{Overdue, RetentionRule as WireRule};

use super::keep_from;
use crate::scan::catalogue::matching;
use crate::scan::reader::Reader;
use crate::scan::tally::count;
use crate::scan::{Limits, ScanError, Source, read};
use crate::segments::manifest::{RetentionRule, SegmentEntry, Tombstone};
use crate::segments::segment::SegmentError;
use crate::state::selection::{Mask, masks};

/// Why it cannot be said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PreviewError {
    /// What is not sealed cannot be counted.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A segment cannot be looked into: another node may have it whole.
    #[error("a segment cannot be looked into: {0}")]
    Segment(#[from] SegmentError),
    /// A chunk cannot be read, though its checksum holds.
    #[error("a chunk cannot be read: {0}")]
    Chunk(#[from] DecodeError),
}

/// What each of `rules` lets go at `now`. Reads the disk: call it off the runtime's threads.
///
/// # Errors
/// See [`PreviewError`].
pub(crate) fn preview(
    source: Source<'_>,
    rules: &[RetentionRule],
    now: Timestamp,
    limits: &Limits,
) -> Result<Vec<Overdue>, PreviewError> {
    let overdue = |rule: &RetentionRule| overdue(source, rule, now, limits);
    rules.iter().map(overdue).collect()
}

fn overdue(
    source: Source<'_>,
    rule: &RetentionRule,
    now: Timestamp,
    limits: &Limits,
) -> Result<Overdue, PreviewError> {
    let before = keep_from(now, rule.keep);
    let mut overdue = Overdue {
        rule: WireRule {
            pattern: rule.pattern.clone(),
            keep: rule.keep,
        },
        before,
        segments: 0,
        bytes: 0,
        readings: 0,
    };
    let Ok(range) = TimeRange::new(Timestamp::MIN, before) else {
        return Ok(overdue);
    };
    let (segments, tombstones) = {
        let state = read(source.state);
        (state.segments().to_vec(), state.tombstones().to_vec())
    };
    let old = segments
        .iter()
        .filter(|entry| entry.first < before.as_nanos());
    for entry in old {
        limits.check()?;
        let old = Old::of(source, entry, rule, before, &tombstones)?;
        overdue.readings += old.readings;
        if old.is_whole && old.readings > 0 {
            overdue.segments += 1;
            overdue.bytes += entry.bytes;
        }
    }
    overdue.readings += unsealed(source, rule, range, limits)?;
    Ok(overdue)
}

/// What is old of one segment.
struct Old {
    readings: u64,
    /// Whether that is all there is.
    is_whole: bool,
}

impl Old {
    fn of(
        source: Source<'_>,
        entry: &Arc<SegmentEntry>,
        rule: &RetentionRule,
        before: Timestamp,
        tombstones: &[Tombstone],
    ) -> Result<Self, PreviewError> {
        let before = before.as_nanos();
        let newer = tombstones.iter().filter(|t| t.index > entry.masked_through);
        let newer: Vec<Tombstone> = newer.cloned().collect();
        let segment = source.library.segment(entry)?;
        let mut old = Self {
            readings: 0,
            is_whole: true,
        };
        let mut cut = Vec::new();
        {
            let state = read(source.state);
            for series in segment.directory() {
                let Some(description) = state.registry().description(series.id) else {
                    old.is_whole = false;
                    continue;
                };
                let masks = masks(&newer, &description.path, TimeRange::EVERYTHING);
                let is_gone = |first, last| {
                    let covers = |mask: &Mask| mask.first <= first && last <= mask.last;
                    masks.iter().any(covers)
                };
                if is_gone(series.first, series.last) {
                    continue;
                }
                if !rule.pattern.matches(&description.path) || before <= series.first {
                    old.is_whole = false;
                } else if series.last < before {
                    old.readings += series.readings;
                } else {
                    old.is_whole = false;
                    if !is_gone(series.first, before - 1) {
                        cut.push(series.id);
                    }
                }
            }
        }
        for id in cut {
            old.readings += cut_off(source, entry, id, before)?;
        }
        Ok(old)
    }
}

/// How many readings a segment has of a series before a time that lies among them.
fn cut_off(
    source: Source<'_>,
    entry: &SegmentEntry,
    id: SeriesId,
    before: i64,
) -> Result<u64, PreviewError> {
    let mut readings = 0;
    for chunk in &*source.library.chunks(entry, id)? {
        if chunk.last() < before {
            readings += chunk.statistics.count;
        } else if chunk.first() < before {
            let bytes = source.library.segment(entry)?.chunk(chunk)?;
            let columns = column_codec::parse(&bytes)?.decode()?;
            readings += columns.times.partition_point(|time| *time < before) as u64;
        }
    }
    Ok(readings)
}

/// How many readings of `range` are not sealed.
fn unsealed(
    source: Source<'_>,
    rule: &RetentionRule,
    range: TimeRange,
    limits: &Limits,
) -> Result<u64, ScanError> {
    let mut readings = 0;
    let counted = matching(
        source.state,
        std::slice::from_ref(&rule.pattern),
        &|_| true,
        limits,
        &mut |series| {
            for (id, description) in series {
                let Some(mut selection) = read(source.state).select(id, range) else {
                    continue;
                };
                selection.segments.clear();
                let reader = Reader {
                    payloads: source.payloads,
                    library: source.library,
                    id,
                    series: &description,
                };
                readings += count(reader, range, selection, limits)?;
            }
            Ok(())
        },
    );
    match counted {
        // A rule may be there before its series is.
        Ok(()) | Err(ScanError::UnknownSeries { .. }) => Ok(readings),
        Err(error) => Err(error),
    }
}
