//! What a range may and may not ask.

use sensor_model::Aggregate;

use super::calendar::Every;
use super::*;

const NOW: Timestamp = Timestamp::from_nanos(1_763_632_800_000_000_000);

fn texts<'a>() -> RangeTexts<'a> {
    RangeTexts {
        patterns: vec!["plant/**"],
        from: Some("-1h"),
        ..RangeTexts::default()
    }
}

fn fault(texts: &RangeTexts<'_>) -> String {
    RangeQuestion::parse(texts, NOW).unwrap_err().to_string()
}

#[test]
fn a_range_ends_now_unless_told_otherwise() {
    let question = RangeQuestion::parse(&texts(), NOW).unwrap();
    assert_eq!(question.range.to, NOW);
    assert_eq!(question.rows, Rows::Readings);
}

#[test]
fn buckets_have_the_mean_unless_told_otherwise() {
    let question = RangeQuestion::parse(
        &RangeTexts {
            every: Some("5m"),
            ..texts()
        },
        NOW,
    );
    let Rows::Buckets(buckets) = question.unwrap().rows else {
        panic!("no buckets");
    };
    assert_eq!(buckets.every, Every::Fixed(Duration::from_secs(300)));
    assert_eq!(buckets.aggregates, [Aggregate::Mean]);
    assert_eq!((buckets.fill, buckets.by), (Fill::None, None));
}

#[test]
fn what_asks_for_buckets_without_a_width_has_one_over_the_range() {
    let asked = [
        RangeTexts {
            agg: Some("max"),
            ..texts()
        },
        RangeTexts {
            top: Some("3"),
            ..texts()
        },
        RangeTexts {
            every: Some("all"),
            tz: Some("Europe/Berlin"),
            ..texts()
        },
    ];
    for texts in asked {
        let question = RangeQuestion::parse(&texts, NOW).unwrap();
        let Rows::Buckets(buckets) = question.rows else {
            panic!("no buckets");
        };
        assert_eq!(buckets.every, Every::All);
        let inside = question.range.to.saturating_sub(Duration::from_nanos(1));
        for time in [question.range.from, inside] {
            assert_eq!(buckets.grid.bucket_of(time), question.range);
        }
    }
}

#[test]
fn each_fault_names_its_parameter() {
    let cases = [
        (
            "match: ",
            RangeTexts {
                patterns: vec!["a//b"],
                ..texts()
            },
        ),
        (
            "match: ",
            RangeTexts {
                patterns: Vec::new(),
                ..texts()
            },
        ),
        (
            "from: ",
            RangeTexts {
                from: None,
                ..texts()
            },
        ),
        (
            "from: ",
            RangeTexts {
                from: Some("soon"),
                ..texts()
            },
        ),
        (
            "from: ",
            RangeTexts {
                to: Some("-2h"),
                ..texts()
            },
        ),
        (
            "to: ",
            RangeTexts {
                to: Some("2026-13-01"),
                ..texts()
            },
        ),
        (
            "every: ",
            RangeTexts {
                every: Some("5"),
                ..texts()
            },
        ),
        (
            "every: ",
            RangeTexts {
                every: Some("0s"),
                ..texts()
            },
        ),
        (
            "fill-max: ",
            RangeTexts {
                fill_max: Some("1h"),
                ..texts()
            },
        ),
        (
            "agg: ",
            RangeTexts {
                every: Some("1m"),
                agg: Some("median"),
                ..texts()
            },
        ),
        (
            "agg: ",
            RangeTexts {
                every: Some("1m"),
                agg: Some("min,min"),
                ..texts()
            },
        ),
        (
            "fill: ",
            RangeTexts {
                every: Some("1m"),
                fill: Some("zero"),
                ..texts()
            },
        ),
        (
            "fill: ",
            RangeTexts {
                every: Some("1us"),
                fill: Some("null"),
                ..texts()
            },
        ),
        (
            "fill-max: ",
            RangeTexts {
                every: Some("1m"),
                fill: Some("null"),
                fill_max: Some("5m"),
                ..texts()
            },
        ),
        (
            "by: ",
            RangeTexts {
                by: Some("line-2"),
                ..texts()
            },
        ),
        (
            "by: ",
            RangeTexts {
                every: Some("1m"),
                by: Some("line"),
                ..texts()
            },
        ),
        (
            "tz: ",
            RangeTexts {
                tz: Some("Berlin"),
                ..texts()
            },
        ),
        (
            "where: ",
            RangeTexts {
                filter: Some("value"),
                ..texts()
            },
        ),
        (
            "page: ",
            RangeTexts {
                page: Some("0"),
                ..texts()
            },
        ),
        (
            "cursor: ",
            RangeTexts {
                cursor: Some("abc"),
                ..texts()
            },
        ),
        (
            "limit: ",
            RangeTexts {
                limit: Some("0"),
                ..texts()
            },
        ),
        (
            "limit: ",
            RangeTexts {
                limit: Some("-1"),
                ..texts()
            },
        ),
    ];
    for (name, texts) in cases {
        let message = fault(&texts);
        assert!(message.starts_with(name), "{texts:?} gave {message}");
    }
}

#[test]
fn a_reversed_range_shows_both_ends() {
    let message = fault(&RangeTexts {
        from: Some("2026-01-02"),
        to: Some("2026-01-01"),
        ..texts()
    });
    assert!(
        message.contains("2026-01-02T00:00:00.000000000Z"),
        "{message}"
    );
    assert!(message.contains("reversed"), "{message}");
}

#[test]
fn a_date_is_one_of_the_zone_that_is_named() {
    let of = |tz| {
        let texts = RangeTexts {
            from: Some("2026-07-01"),
            to: Some("2026-07-02T00:00:00Z"),
            tz,
            ..texts()
        };
        RangeQuestion::parse(&texts, NOW).unwrap().range.from
    };
    assert_eq!(of(None).to_string(), "2026-07-01T00:00:00.000000000Z");
    assert_eq!(
        of(Some("Europe/Berlin")).to_string(),
        "2026-06-30T22:00:00.000000000Z"
    );
}
