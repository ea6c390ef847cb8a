//! Random questions about a history.

use std::collections::HashSet;
use std::num::NonZeroU64;

use proptest::prelude::*;
use sensor_model::{
    Aggregate, Grid, Pattern, Percentile, SeriesPath, Stretch, TimeRange, Timestamp,
};
use store_wire::message::{Order, RangeQuestion, Resume, RowsAsked};

use super::history::SPAN;

fn times() -> impl Strategy<Value = TimeRange> {
    let edge = -10..SPAN + 10;
    prop_oneof![
        1 => Just(TimeRange::EVERYTHING),
        3 => (edge, 1..SPAN).prop_map(|(from, width)| time_range(from, from + width)),
    ]
}

fn time_range(from: i64, to: i64) -> TimeRange {
    TimeRange {
        from: Timestamp::from_nanos(from),
        to: Timestamp::from_nanos(to),
    }
}

fn aggregates_asked() -> impl Strategy<Value = Vec<Aggregate>> {
    let named = proptest::sample::select(Aggregate::NAMED.to_vec());
    let percentile = proptest::sample::select(vec![0, 5_000, 50_000, 99_900, 100_000])
        .prop_map(|n| Aggregate::Percentile(Percentile::new(n).unwrap()));
    let one = prop_oneof![6 => named, 1 => percentile];
    proptest::collection::vec(one, 1..6).prop_map(|mut asked| {
        let mut known = HashSet::new();
        asked.retain(|aggregate| known.insert(*aggregate));
        asked
    })
}

/// Buckets of one width, or of a calendar's kind over the whole of `range`.
fn grids(range: TimeRange) -> impl Strategy<Value = Grid> {
    let every = prop_oneof![Just(1), 2_u64..40, 300_u64..3_000, Just(u64::MAX)]
        .prop_map(|width| Grid::Every(NonZeroU64::new(width).unwrap()));
    let uneven = proptest::collection::vec((20_u64..900, 1_u32..4), 1..12);
    let uneven = uneven.prop_map(move |widths| {
        let mut from = range.from;
        let mut stretches = Vec::new();
        for (width, buckets) in widths {
            let width = NonZeroU64::new(width).unwrap();
            let stretch = Stretch {
                from,
                width,
                buckets,
            };
            from = stretch.end();
            stretches.push(stretch);
        }
        if from < range.to {
            let width = NonZeroU64::new(from.as_nanos().abs_diff(range.to.as_nanos())).unwrap();
            stretches.push(Stretch {
                from,
                width,
                buckets: 1,
            });
        }
        Grid::Stretches(stretches)
    });
    prop_oneof![3 => every, 2 => uneven]
}

fn rows_asked(range: TimeRange) -> impl Strategy<Value = RowsAsked> {
    let keys = prop_oneof![Just("1"), Just("2"), Just("3"), Just("attr:line")];
    let keys = keys.prop_map(|text| text.parse().unwrap());
    let by = proptest::option::weighted(0.3, proptest::collection::vec(keys, 0..3));
    let buckets = (grids(range), aggregates_asked(), by);
    let buckets = buckets.prop_map(|(grid, aggregates, by)| RowsAsked::Buckets {
        grid,
        aggregates,
        by,
    });
    prop_oneof![1 => Just(RowsAsked::Readings), 3 => buckets]
}

pub(crate) fn questions() -> impl Strategy<Value = RangeQuestion> {
    let limit = prop_oneof![3 => Just(None), 2 => (0_u64..30).prop_map(Some)];
    let order = prop_oneof![Just(Order::Ascending), Just(Order::Descending)];
    let pattern = || prop_oneof![Just("**"), Just("line/*"), Just("line/f"), Just("other/t")];
    let patterns = proptest::collection::vec(pattern(), 1..4);
    let filter = prop_oneof![
        4 => Just(None),
        1 => Just(Some("value > 40")),
        1 => Just(Some("value >= -200 and value < 100.5")),
        1 => Just(Some("value = true")),
        1 => Just(Some("value != 't7'")),
    ];
    let resume = proptest::option::weighted(0.2, (pattern(), times(), limit.clone()));
    let asked = times().prop_flat_map(|range| (Just(range), rows_asked(range)));
    (patterns, asked, filter, limit, order, resume).prop_map(
        |(patterns, (range, rows), filter, limit, order, resume)| {
            let patterns = patterns.iter().map(|text| Pattern::new(*text).unwrap());
            let is_grouped = matches!(&rows, RowsAsked::Buckets { by: Some(_), .. });
            let resume = resume
                .filter(|_| !is_grouped)
                .and_then(|(path, part, limit)| {
                    let (from, to) = (part.from.max(range.from), part.to.min(range.to));
                    Some(Resume {
                        path: SeriesPath::new(path).ok()?,
                        range: TimeRange::new(from, to).ok()?,
                        limit,
                    })
                });
            RangeQuestion {
                patterns: patterns.collect(),
                range,
                rows,
                filter: filter.map(|text| text.parse().unwrap()),
                limit,
                order,
                resume,
            }
        },
    )
}
