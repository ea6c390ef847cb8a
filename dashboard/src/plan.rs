//! How a series is asked for: raw readings where they are few, buckets where they are many.
//!
//! A chart of `width` pixels shows no more than a bucket every few pixels; asking for more would
//! move bytes that nobody sees. How many readings a range holds is estimated from the catalog, and
//! a raw answer that turns out too long is asked again in buckets.

use std::time::Duration;

use sensor_model::duration::format_duration;
use sensor_model::{Kind, TimeRange};

use crate::answers::CatalogEntry;
use crate::view_state::escape;

/// Most raw readings a series that one answer brings, however wide the chart is.
pub const READINGS_MAX: u64 = 4_000;

/// Pixels of width that a bucket has at least.
const BUCKET_PIXELS: u32 = 2;

/// The widths of buckets, in seconds, that divide days, hours and minutes evenly.
const WIDTHS: [u64; 21] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
    86_400, 172_800, 604_800, 2_592_000,
];

/// What the rows of an answer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Readings as they are, at most [`READINGS_MAX`].
    Readings,
    /// Mean, minimum and maximum of buckets this wide.
    Buckets {
        /// Width of a bucket.
        every: Duration,
    },
}

/// What to ask for so that a chart `width` pixels wide is drawn well.
pub fn rows(entry: Option<&CatalogEntry>, range: TimeRange, width: u32) -> Rows {
    match entry {
        Some(entry) if entry.kind == Kind::Text => Rows::Readings,
        Some(entry) if estimate(entry, range) <= raw_max(width) => Rows::Readings,
        Some(_) => buckets(range, width),
        // Unknown to the catalog, so it is new or not there: few readings either way.
        None => Rows::Readings,
    }
}

/// Buckets that fit a chart `width` pixels wide.
pub fn buckets(range: TimeRange, width: u32) -> Rows {
    let count = u64::from((width / BUCKET_PIXELS).max(50));
    let wanted_ms = (span_ns(range) / 1_000_000).div_ceil(count);
    let every_ms = WIDTHS
        .iter()
        .map(|seconds| seconds * 1_000)
        .find(|millis| *millis >= wanted_ms)
        .unwrap_or_else(|| wanted_ms.next_multiple_of(2_592_000_000));
    Rows::Buckets {
        every: Duration::from_millis(every_ms),
    }
}

/// The address of the answer. A range of buckets begins where its first bucket does, so that a
/// moving range does not cut a bucket in two.
pub fn address(path: &str, range: TimeRange, rows: Rows) -> String {
    let path = escape(path);
    match rows {
        Rows::Readings => format!(
            "/api/v1/range?match={path}&from={}&to={}&limit={READINGS_MAX}&time=ms",
            range.from, range.to
        ),
        Rows::Buckets { every } => format!(
            "/api/v1/range?match={path}&from={}&to={}&every={}&agg=mean,min,max&time=ms",
            range.from.bucket_start(every),
            range.to,
            fixed(every)
        ),
    }
}

/// A width that always means the same time: a week would be one of the calendar.
fn fixed(every: Duration) -> String {
    const WEEK: u64 = 7 * 86_400;
    if every.as_secs().is_multiple_of(WEEK) {
        return format!("{}d", every.as_secs() / 86_400);
    }
    format_duration(every)
}

/// How many readings of a series are likely to lie in `range`, were they evenly spread.
fn estimate(entry: &CatalogEntry, range: TimeRange) -> u64 {
    let (Some(first), Some(last)) = (entry.first, entry.last) else {
        return 0;
    };
    let known = u128::from(span_ns(TimeRange {
        from: first,
        to: last,
    }));
    let overlap = u128::from(span_ns(TimeRange {
        from: first.max(range.from),
        to: range.to,
    }));
    let readings = match known {
        0 => u128::from(entry.count),
        _ => u128::from(entry.count) * overlap / known,
    };
    u64::try_from(readings).unwrap_or(u64::MAX)
}

fn raw_max(width: u32) -> u64 {
    u64::from(width).saturating_mul(2).min(READINGS_MAX)
}

fn span_ns(range: TimeRange) -> u64 {
    let span = i128::from(range.to.as_nanos()) - i128::from(range.from.as_nanos());
    u64::try_from(span.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use sensor_model::Timestamp;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange {
            from: Timestamp::from_nanos(from * SECOND),
            to: Timestamp::from_nanos(to * SECOND),
        }
    }

    fn entry(kind: Kind, count: u64, first: i64, last: i64) -> CatalogEntry {
        CatalogEntry {
            path: "a/b".to_owned(),
            kind,
            unit: String::new(),
            count,
            first: Some(Timestamp::from_nanos(first * SECOND)),
            last: Some(Timestamp::from_nanos(last * SECOND)),
        }
    }

    #[test]
    fn few_readings_are_asked_for_as_they_are() {
        let slow = entry(Kind::F64, 100_000, 0, 100_000);
        assert_eq!(
            rows(Some(&slow), range(99_000, 100_000), 800),
            Rows::Readings
        );
    }

    #[test]
    fn many_readings_are_asked_for_in_buckets_of_at_least_two_pixels() {
        let fast = entry(Kind::F64, 10_000_000, 0, 1_000_000);
        for width in [200_u32, 800, 2_000] {
            for span in [900_i64, 3_600, 86_400, 604_800] {
                let range = range(1_000_000 - span, 1_000_000);
                let Rows::Buckets { every } = rows(Some(&fast), range, width) else {
                    panic!("{span} s at 10 Hz on {width} px were asked for raw");
                };
                let buckets = u64::try_from(span).unwrap() / every.as_secs();
                assert!(buckets <= u64::from(width / 2), "{buckets} on {width} px");
                assert!(
                    buckets * 12 >= u64::from(width / 2),
                    "{buckets} on {width} px"
                );
            }
        }
    }

    #[test]
    fn text_is_never_asked_for_in_buckets() {
        let text = entry(Kind::Text, 1_000_000, 0, 1_000);
        assert_eq!(rows(Some(&text), range(0, 1_000), 800), Rows::Readings);
    }

    #[test]
    fn a_recording_of_long_ago_does_not_count_towards_today() {
        let old = entry(Kind::F64, 1_000_000, 0, 1_000_000);
        let range = range(900_000_000, 900_000_900);
        assert_eq!(estimate(&old, range), 900);
    }

    #[test]
    fn buckets_begin_on_their_own_boundary() {
        let every = Duration::from_secs(60);
        let address = address("a/b", range(90, 3_600), Rows::Buckets { every });
        assert!(
            address.contains("from=1970-01-01T00:01:00.000000000Z"),
            "{address}"
        );
        assert!(
            address.contains("every=1m&agg=mean,min,max&time=ms"),
            "{address}"
        );
    }

    #[test]
    fn a_week_is_asked_for_as_days() {
        let every = Duration::from_secs(7 * 86_400);
        let address = address("a/b", range(0, 60_000_000), Rows::Buckets { every });
        assert!(address.contains("every=7d&"), "{address}");
    }

    #[test]
    fn the_widest_range_there_is_still_has_a_width() {
        let Rows::Buckets { every } = buckets(TimeRange::EVERYTHING, 800) else {
            panic!("buckets are buckets");
        };
        assert!(every >= Duration::from_secs(2_592_000));
    }
}
