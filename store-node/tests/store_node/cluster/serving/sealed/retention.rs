//! Rules of retention, with the time of day moved.

use std::sync::atomic::Ordering;

use store_wire::clock::Clock;
use store_wire::message::{Overdue, RetentionRequest, RetentionRule};

use super::*;

const DAY: i64 = 86_400_000_000_000;

fn rule(pattern: &str, days: i64) -> RetentionRule {
    RetentionRule {
        pattern: Pattern::new(pattern).unwrap(),
        keep: (days * DAY).unsigned_abs(),
    }
}

async fn ask(
    client: &Client,
    cluster: &Cluster,
    request: RetentionRequest,
) -> Result<Response, WireError> {
    let leader = cluster.leader().await;
    let question = Request::Retention {
        request,
        timeout_ms: TIMEOUT_MS,
    };
    let answer = client.ask(cluster, leader, &question, Bytes::new()).await;
    Ok(answer?.pop().unwrap().0)
}

async fn preview(client: &Client, cluster: &Cluster, rules: &[RetentionRule]) -> Vec<Overdue> {
    let rules = Some(rules.to_vec());
    match ask(client, cluster, RetentionRequest::Preview { rules }).await {
        Ok(Response::Overdue { rules }) => rules,
        other => panic!("{other:?} is no preview"),
    }
}

/// Readings a minute apart, from `from` on.
fn minutes(from: i64, count: i64) -> Columns {
    const MINUTE: i64 = 60_000_000_000;
    Columns {
        times: (0..count).map(|minute| from + minute * MINUTE).collect(),
        values: Values::I64((0..count).collect()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_segments_go_when_their_time_is_over() {
    let cluster = Cluster::formed(3).await;
    let operator = Client::operator(&cluster);
    let now = SystemClock.now().as_nanos();
    let midnight = now - now.rem_euclid(DAY);
    // Three days of both, and what is not sealed; the other series shares the second day alone.
    for day in [-10, -9, -8] {
        let readings = minutes(midnight + day * DAY, 600);
        let mut written = vec![("old/a", &readings)];
        if day == -9 {
            written.push(("other/a", &readings));
        }
        operator.write(&cluster, &written).await;
    }
    let manifest = cluster.sealed().await;
    assert_eq!(manifest.segments.len(), 3);
    let late = minutes(midnight - 10 * DAY, 7);
    operator.write(&cluster, &[("old/b", &late)]).await;

    let rules = [rule("old/**", 30), rule("none/**", 1)];
    for overdue in preview(&operator, &cluster, &rules).await {
        assert_eq!(
            (overdue.segments, overdue.bytes, overdue.readings),
            (0, 0, 0)
        );
    }
    cluster
        .clock
        .ahead_secs
        .store(30 * 86_400, Ordering::Relaxed);
    let by_rule = preview(&operator, &cluster, &rules).await;
    let whole = |day: usize| &manifest.segments[day];
    assert_eq!(by_rule[0].segments, 2, "the other two hold nothing else");
    assert_eq!(by_rule[0].bytes, whole(0).bytes + whole(2).bytes);
    assert_eq!(by_rule[0].readings, 3 * 600 + 7);
    assert_eq!(by_rule[1].readings, 0);
    // Some of it; how much depends on the time of day.
    let cut = preview(&operator, &cluster, &[rule("old/a", 39)]).await;
    assert!(cut[0].readings > 0 && cut[0].readings < 3 * 600, "{cut:?}");
    let before = cut[0].before.as_nanos();
    let expected = |readings: &Columns| readings.times.partition_point(|time| *time < before);
    let days = [-10, -9, -8].map(|day| minutes(midnight + day * DAY, 600));
    let expected: usize = days.iter().map(expected).sum();
    assert_eq!(cut[0].readings, expected as u64);

    // Nothing of this changed anything.
    let shown = ask(&operator, &cluster, RetentionRequest::Show)
        .await
        .unwrap();
    assert_eq!(shown, Response::Retention { rules: Vec::new() });
    let rows = operator
        .rows(&cluster, 1, "old/*", Consistency::Any)
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);

    let set = RetentionRequest::Set {
        rules: rules.to_vec(),
    };
    let Ok(Response::Written { token }) = ask(&operator, &cluster, set).await else {
        panic!("the rules are taken");
    };
    let shown = ask(&operator, &cluster, RetentionRequest::Show)
        .await
        .unwrap();
    let rules = rules.to_vec();
    assert_eq!(shown, Response::Retention { rules });
    for id in 1..=3 {
        let context = cluster.nodes[&id].context().unwrap();
        until(|| {
            let state = context.state.read().unwrap();
            let is_done = state.is_settled() && state.segments().len() == 1;
            is_done.then_some(())
        })
        .await;
        for gone in [whole(0), whole(2)] {
            let file = cluster.segment_file(id, gone);
            until(|| cluster.bytes_of(id, &file).is_none().then_some(())).await;
        }
        let fresh = Consistency::AtLeast(token);
        let rows = operator.rows(&cluster, id, "**", fresh).await.unwrap();
        let other = ("other/a".to_owned(), minutes(midnight - 9 * DAY, 600));
        assert_eq!(rows, [other], "on node {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_for_operators_who_may_write_everything() {
    let cluster = one_node().await;
    let operator = Client::operator(&cluster);
    let narrow = Client::of(
        &cluster,
        &IssueRequest {
            write: vec![Pattern::new("line/**").unwrap()],
            ..IssueRequest::new(Role::Operator, "narrow")
        },
    );
    let reader = Client::of(&cluster, &IssueRequest::new(Role::Reader, "screen"));
    let set = |days| RetentionRequest::Set {
        rules: vec![rule("line/**", days)],
    };
    for (client, request, code) in [
        (&reader, RetentionRequest::Show, ErrorCode::Forbidden),
        (
            &reader,
            RetentionRequest::Preview { rules: None },
            ErrorCode::Forbidden,
        ),
        (&reader, set(1), ErrorCode::Forbidden),
        (&narrow, set(1), ErrorCode::Forbidden),
        (&operator, set(0), ErrorCode::BadRequest),
    ] {
        let refused = ask(client, &cluster, request.clone()).await.unwrap_err();
        assert_eq!(refused.code, code, "{request:?}: {refused}");
    }
    let shown = ask(&narrow, &cluster, RetentionRequest::Show)
        .await
        .unwrap();
    assert_eq!(shown, Response::Retention { rules: Vec::new() });
}
