//! How a series is asked for: raw readings where they are few, buckets where they are many.
//!
//! A chart of `width` pixels shows no more than a bucket every few pixels; asking for more would
//! move bytes that nobody sees. How many readings a range holds is estimated from the catalog, and
//! a raw answer that turns out too long is asked again in buckets.

use std::time::Duration;

use sensor_model::duration::{format_duration, parse_duration};
use sensor_model::{Kind, TimeRange};

use crate::answers::CatalogEntry;
use crate::plot::Drawing;
use crate::view_state::{Setting, ViewState, escape};

/// Most raw readings a series that one answer brings, however wide the chart is.
pub const READINGS_MAX: u64 = 4_000;

/// Pixels of width that a bucket has at least.
const BUCKET_PIXELS: u32 = 2;

/// Most buckets of a width that the reader chose; narrower ones are chosen for them then.
const BUCKETS_MAX: u64 = 10_000;

/// The widths of buckets, in ms, that divide days, hours, minutes and seconds evenly.
const WIDTHS_MS: [u64; 30] = [
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
    604_800_000,
    2_592_000_000,
];

/// What the rows of an answer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Readings as they are, at most [`READINGS_MAX`].
    Readings,
    /// Aggregates of buckets this wide.
    Buckets {
        /// Width of a bucket.
        every: Duration,
    },
}

/// What to ask for so that a chart `width` pixels wide is drawn well, as far as the reader has not
/// chosen otherwise.
pub fn rows(entry: Option<&CatalogEntry>, range: TimeRange, width: u32, view: &ViewState) -> Rows {
    let is_chosen =
        !view.setting(Setting::Aggregate).is_empty() || !view.setting(Setting::Bucket).is_empty();
    match entry {
        Some(entry) if entry.kind == Kind::Text => Rows::Readings,
        Some(entry) if entry.kind != Kind::Bool && is_chosen => buckets(range, width, view),
        Some(entry) if estimate(entry, range) <= raw_max(width) => Rows::Readings,
        Some(_) => buckets(range, width, view),
        // Unknown to the catalog, so it is new or not there: few readings either way.
        None => Rows::Readings,
    }
}

/// Buckets of the width that the reader has chosen, or that fit a chart `width` pixels wide.
pub fn buckets(range: TimeRange, width: u32, view: &ViewState) -> Rows {
    let span_ms = span_ns(range) / 1_000_000;
    let chosen = parse_duration(view.setting(Setting::Bucket)).ok();
    let chosen = chosen.filter(|every| {
        u128::from(span_ms) <= every.as_millis().saturating_mul(u128::from(BUCKETS_MAX))
    });
    if let Some(every) = chosen {
        return Rows::Buckets { every };
    }
    let count = u64::from((width / BUCKET_PIXELS).max(50));
    let wanted_ms = span_ms.div_ceil(count);
    let every_ms = WIDTHS_MS
        .into_iter()
        .find(|millis| *millis >= wanted_ms)
        .unwrap_or_else(|| wanted_ms.next_multiple_of(2_592_000_000));
    Rows::Buckets {
        every: Duration::from_millis(every_ms),
    }
}

/// The aggregate that a line shows, and those of its band. States have no other.
pub fn aggregates(kind: Option<Kind>, view: &ViewState) -> &str {
    match (kind, view.setting(Setting::Aggregate)) {
        (Some(Kind::Bool), _) | (_, "") => "mean,min,max",
        (_, chosen) => chosen,
    }
}

/// The address of the answer. A range of buckets begins where its first bucket does, so that a
/// moving range does not cut a bucket in two.
pub fn address(path: &str, range: TimeRange, rows: Rows, aggregates: &str) -> String {
    let path = escape(path);
    let question = question(range, rows, aggregates);
    match rows {
        Rows::Readings => {
            format!("/api/v1/range?match={path}&{question}&limit={READINGS_MAX}&time=ms")
        }
        Rows::Buckets { .. } => format!("/api/v1/range?match={path}&{question}&time=ms"),
    }
}

/// The question that answers what is drawn, of all its series: in buckets, if one has them.
pub fn shown(drawing: &Drawing) -> String {
    let every = drawing.series.iter().filter_map(|drawn| drawn.every).max();
    let rows = every.map_or(Rows::Readings, |every| Rows::Buckets { every });
    let mut shown = String::new();
    for drawn in &drawing.series {
        if let Ok(answer) = &drawn.answer
            && (every.is_none() || answer.kind != Kind::Text)
        {
            shown.push_str(&format!("match={}&", escape(&drawn.path)));
        }
    }
    shown + &question(drawing.range, rows, aggregates(None, &drawing.view))
}

fn question(range: TimeRange, rows: Rows, aggregates: &str) -> String {
    match rows {
        Rows::Readings => format!("from={}&to={}", range.from, range.to),
        Rows::Buckets { every } => format!(
            "from={}&to={}&every={}&agg={}",
            range.from.bucket_start(every),
            range.to,
            fixed(every),
            escape(aggregates)
        ),
    }
}

/// A width that always means the same time: a week would be one of the calendar.
pub fn fixed(every: Duration) -> String {
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

    fn view(query: &str) -> ViewState {
        ViewState::parse(query)
    }

    #[test]
    fn a_chosen_bucket_or_aggregate_counts_even_for_few_readings_up_to_a_bound() {
        let slow = entry(Kind::F64, 100, 0, 100_000);
        let minute = Rows::Buckets {
            every: Duration::from_secs(60),
        };
        let asked = |to, query| rows(Some(&slow), range(0, to), 800, &view(query));
        assert_eq!(asked(600_000, "every=1m"), minute);
        assert_ne!(asked(600_001, "every=1m"), minute);
        assert!(matches!(asked(100, "agg=p95"), Rows::Buckets { .. }));
        assert_eq!(asked(100, "every=nonsense&agg="), asked(100, "agg=max"));
        let flag = entry(Kind::Bool, 100, 0, 100_000);
        let flag = rows(Some(&flag), range(0, 100), 800, &view("agg=p95"));
        assert_eq!(flag, Rows::Readings);
    }

    #[test]
    fn few_readings_are_asked_for_as_they_are() {
        let slow = entry(Kind::F64, 100_000, 0, 100_000);
        assert_eq!(
            rows(Some(&slow), range(99_000, 100_000), 800, &view("")),
            Rows::Readings
        );
    }

    #[test]
    fn many_readings_are_asked_for_in_buckets_of_at_least_two_pixels() {
        let fast = entry(Kind::F64, 10_000_000, 0, 1_000_000);
        for width in [200_u32, 800, 2_000] {
            for span in [900_i64, 3_600, 86_400, 604_800] {
                let range = range(1_000_000 - span, 1_000_000);
                let Rows::Buckets { every } = rows(Some(&fast), range, width, &view("")) else {
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
        let view = view("agg=max&every=1s");
        assert_eq!(
            rows(Some(&text), range(0, 1_000), 800, &view),
            Rows::Readings
        );
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
        let address = address(
            "a/b",
            range(90, 3_600),
            Rows::Buckets { every },
            "mean,min,max",
        );
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
        let address = address("a/b", range(0, 60_000_000), Rows::Buckets { every }, "max");
        assert!(address.contains("every=7d&"), "{address}");
    }

    #[test]
    fn the_widest_range_there_is_still_has_a_width() {
        let Rows::Buckets { every } = buckets(TimeRange::EVERYTHING, 800, &view("")) else {
            panic!("buckets are buckets");
        };
        assert!(every >= Duration::from_secs(2_592_000));
    }
}
