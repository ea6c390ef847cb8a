//! Pages: put together they are the whole answer, whatever is asked and however small they are.

use std::time::Duration;

use axum::http::StatusCode;
use query_app::client::answer::Part;
use query_app::question::{Cursor, RangeQuestion, RangeTexts, Terms};
use sensor_model::{Consistency, Reading, Timestamp, Token, Value, Values};
use store_wire::message::{Order, Request};

use crate::answers::{SECOND, START, freshness, node, plant, series};
use crate::http::{app, get};
use crate::store::{Cluster, FakeStore};

/// A row: of what, its time, and its values.
type Row = (String, Timestamp, Vec<Option<Value>>);

fn texts<'a>(patterns: &[&'a str]) -> RangeTexts<'a> {
    RangeTexts {
        patterns: patterns.to_vec(),
        from: Some("2026-01-01"),
        to: Some("2026-01-01T00:00:12Z"),
        ..RangeTexts::default()
    }
}

async fn rows(
    cluster: &Cluster,
    store: &FakeStore,
    texts: &RangeTexts<'_>,
) -> (Vec<Row>, Option<Cursor>) {
    let question = RangeQuestion::parse(texts, Timestamp::from_nanos(START)).unwrap();
    let client = cluster.client(store.address());
    let mut answer = client.range(&question, &Terms::default()).await.unwrap();
    let (mut rows, mut of) = (Vec::new(), String::new());
    while let Some(part) = answer.next().await.unwrap() {
        match part {
            Part::Series(series) => of = series.path.to_string(),
            Part::Group { key, .. } => of = format!("{key:?}"),
            Part::Readings(columns) => rows.extend(
                columns
                    .readings()
                    .map(|Reading { timestamp, value }| (of.clone(), timestamp, vec![Some(value)])),
            ),
            Part::Buckets(buckets) => {
                rows.extend(
                    buckets
                        .into_iter()
                        .map(|row| (of.clone(), row.start, row.values)),
                );
            }
        }
    }
    (rows, answer.summary().unwrap().next)
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_together_are_the_whole_answer() {
    let cluster = Cluster::new();
    let mut data = plant();
    data.push(series("plant/c/long", "", Values::I64((0..9).collect())));
    let store = cluster.store(node(data));
    let patterns = ["plant/**", "plant/a/on"];
    let buckets = RangeTexts {
        every: Some("2s"),
        agg: Some("last,count"),
        ..texts(&patterns)
    };
    let filled = |fill| RangeTexts {
        every: Some("1s"),
        fill: Some(fill),
        ..buckets.clone()
    };
    for asked in [
        texts(&patterns),
        buckets.clone(),
        filled("previous"),
        filled("null"),
    ] {
        for order in [Order::Ascending, Order::Descending] {
            for limit in [None, Some("3")] {
                let asked = RangeTexts {
                    order,
                    limit,
                    ..asked.clone()
                };
                let (whole, next) = rows(&cluster, &store, &asked).await;
                assert!(next.is_none() && whole.len() >= 8);
                for page in ["1", "2", "5", "1000"] {
                    let mut together = Vec::new();
                    let mut cursor: Option<String> = None;
                    loop {
                        let one = RangeTexts {
                            page: Some(page),
                            cursor: cursor.as_deref(),
                            ..asked.clone()
                        };
                        let (some, next) = rows(&cluster, &store, &one).await;
                        assert!(some.len() as u64 <= page.parse().unwrap());
                        assert!(next.is_none() || !some.is_empty());
                        together.extend(some);
                        cursor = next.map(|next| next.to_string());
                        if cursor.is_none() {
                            break;
                        }
                    }
                    assert_eq!(together, whole, "{asked:?} by {page}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_of_nothing_older_than_the_one_before_and_of_the_same_range() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let first = RangeTexts {
        page: Some("1"),
        ..texts(&["plant/**"])
    };
    let (_, next) = rows(&cluster, &store, &first).await;
    let next = next.unwrap().to_string();
    let later = RangeTexts {
        from: Some("-1s"),
        to: Some("now"),
        cursor: Some(&next),
        ..first.clone()
    };
    rows(&cluster, &store, &later).await;
    let asked = store.asked();
    let Some(Request::Range {
        question,
        consistency,
        ..
    }) = asked.last()
    else {
        panic!("{asked:?}");
    };
    assert_eq!(*consistency, Consistency::AtLeast(freshness().applied));
    assert_eq!(question.range.to.as_nanos(), START + 12 * SECOND);
    let question = RangeQuestion::parse(&later, Timestamp::from_nanos(START)).unwrap();
    let seen = |consistency| {
        let terms = Terms {
            consistency,
            ..Terms::default()
        };
        question.page.terms(&terms).consistency
    };
    let (applied, newer) = (freshness().applied, freshness().applied.index + 1);
    let token = |index| Token { index, ..applied };
    assert_eq!(
        seen(Consistency::AtLeast(token(1))),
        Consistency::AtLeast(applied)
    );
    assert_eq!(
        seen(Consistency::AtLeast(token(newer))),
        Consistency::AtLeast(token(newer))
    );
    let stale = Consistency::MaxStaleness(Duration::from_secs(5));
    assert_eq!(seen(stale), Consistency::Linearizable);
    let other = RangeTexts {
        limit: Some("7"),
        ..later
    };
    let refused = RangeQuestion::parse(&other, Timestamp::from_nanos(START)).unwrap_err();
    assert_eq!(refused.name, "cursor");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_a_header_and_the_document_say_where_to_go_on() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let app = app(&cluster, &store);
    let uri =
        "/api/v1/range?match=plant/a/on&match=plant/b/parts&from=2026-01-01&to=2026-01-02&page=3";
    let page = get(&app, uri).await;
    assert_eq!(page.status, StatusCode::OK);
    let next = page.header("tidemark-next").unwrap().to_owned();
    assert_eq!(page.json()["next"], next.as_str());
    let rest = get(&app, &format!("{uri}&cursor={next}&format=csv")).await;
    assert_eq!(rest.header("tidemark-next"), None);
    assert_eq!(
        rest.text(),
        "series,timestamp,value\nplant/b/parts,2026-01-01T00:00:01.000000000Z,-1\n"
    );
}
