//! `delete` and `retention`: who is asked, what is printed, how it fails.

use axum::body::Body;
use axum::http::{Request as HttpRequest, StatusCode};
use bytes::Bytes;
use query_app::api::{Admission, service};
use query_app::question::Terms;
use query_app::question::upkeep::DeleteQuestion;
use sensor_model::{Pattern, TimeRange, Timestamp, Token};
use store_wire::message::{
    ErrorCode, Intent, Member, Overdue, Request, Response, RetentionRequest, RetentionRule,
    WireError,
};
use tower::ServiceExt;

use crate::answers::{SECOND, START, failed, node, plant};
use crate::store::{Cluster, Step};

const NOW: Timestamp = Timestamp::from_nanos(START);
const DAY: [&str; 4] = ["--from", "2026-01-01", "--to", "2026-01-02"];

fn rule(pattern: &str, days: u64) -> RetentionRule {
    RetentionRule {
        pattern: Pattern::new(pattern).unwrap(),
        keep: days * 86_400_000_000_000,
    }
}

/// A leader that would delete 6 readings of 2 series, and has two rules.
pub(crate) fn leader() -> impl Fn(&Request, &Bytes) -> Vec<Step> + Send + Sync + 'static {
    let others = node(plant());
    let token = Token {
        shard: 0,
        index: 1235,
    };
    move |request, body| match request {
        Request::Delete { pattern, .. } if pattern.as_str() == "plant/none" => {
            failed(ErrorCode::NotFound)
        }
        Request::Delete {
            intent: Intent::Preview,
            ..
        } => vec![
            Response::Doomed {
                series: 2,
                readings: 6,
            }
            .into(),
        ],
        Request::Retention {
            request: RetentionRequest::Show,
            ..
        } => {
            let rules = vec![rule("plant/**", 30), rule("**", 400)];
            vec![Response::Retention { rules }.into()]
        }
        Request::Retention {
            request: RetentionRequest::Preview { .. },
            ..
        } => {
            let overdue = Overdue {
                rule: rule("plant/**", 30),
                before: Timestamp::from_nanos(START),
                segments: 3,
                bytes: 5000,
                readings: 12_345,
            };
            let rules = vec![overdue];
            vec![Response::Overdue { rules }.into()]
        }
        Request::Delete { .. } | Request::Retention { .. } => {
            vec![Response::Written { token }.into()]
        }
        _ => others(request, body),
    }
}

fn is_commit(request: &Request) -> bool {
    match request {
        Request::Delete { intent, .. } => *intent == Intent::Commit,
        Request::Retention { request, .. } => matches!(request, RetentionRequest::Set { .. }),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_says_what_goes_before_and_prints_the_token_after() {
    let cluster = Cluster::new();
    let leader = cluster.store(leader());
    let named = Member {
        id: 1,
        address: leader.address().to_owned(),
        ..Member::default()
    };
    let answers = node(plant());
    let follower = cluster.store(move |request, body| match request {
        Request::Delete { .. } => {
            let error = WireError::not_leader(Some(named.clone()));
            vec![Response::Failed { error }.into()]
        }
        _ => answers(request, body),
    });
    for (format, expected) in [
        ("table", "0-1235\n"),
        ("csv", "token\n0-1235\n"),
        (
            "json",
            "{\"token\":\"0-1235\",\"series\":2,\"readings\":6}\n",
        ),
    ] {
        let arguments = [
            &["delete", "plant/*/t*", "--yes", "--format", format][..],
            &DAY,
        ]
        .concat();
        let run = cluster.run(follower.address(), &arguments).await;
        assert_eq!(
            run.stderr,
            "6 readings of 2 series that match plant/*/t*, from 2026-01-01T00:00:00.000000000Z to \
             2026-01-02T00:00:00.000000000Z\n"
        );
        assert_eq!(run.success(), expected);
    }
    assert_eq!((follower.count(is_commit), leader.count(is_commit)), (0, 3));
    let commit = leader.asked().into_iter().find(is_commit).unwrap();
    let Request::Delete { pattern, range, .. } = commit else {
        panic!("{commit:?}");
    };
    assert_eq!(pattern.as_str(), "plant/*/t*");
    let end = START + 86_400 * SECOND;
    let day = TimeRange::new(Timestamp::from_nanos(START), Timestamp::from_nanos(end));
    assert_eq!(range, day.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_without_a_terminal_must_be_meant() {
    let cluster = Cluster::new();
    let store = cluster.store(leader());
    let arguments = [&["delete", "plant/**"][..], &DAY].concat();
    let line = cluster.run(store.address(), &arguments).await.failure(2);
    assert!(line.contains("--yes"), "{line}");
    for (arguments, names) in [
        (
            vec!["delete", "a//b", "--from", "-1h", "--to", "now", "--yes"],
            "a//b",
        ),
        (vec!["delete", "a", "--from", "-1h", "--yes"], "--to"),
        (
            vec!["delete", "a", "--from", "now", "--to", "-1h", "--yes"],
            "--from",
        ),
        (vec!["retention", "set"], "PATTERN=DURATION"),
        (vec!["retention", "set", "a=30"], "30"),
        (vec!["retention", "set", "a=1d", "a=2d"], "two rules"),
    ] {
        let line = cluster.run(store.address(), &arguments).await.failure(2);
        assert!(line.contains(names), "{arguments:?} gave {line}");
    }
    assert!(store.asked().is_empty(), "{:?}", store.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_delete_deletes_nothing_and_says_why() {
    let cluster = Cluster::new();
    let store = cluster.store(leader());
    let arguments = [&["delete", "plant/none", "--yes"][..], &DAY].concat();
    let line = cluster.run(store.address(), &arguments).await.failure(1);
    assert!(
        line.contains("plant/none does not exist: did you mean"),
        "{line}"
    );

    let protected = cluster.store(|request, body| match request {
        Request::Delete { .. } => failed(ErrorCode::Forbidden),
        _ => node(plant())(request, body),
    });
    let arguments = [&["delete", "plant/**", "--yes"][..], &DAY].concat();
    let run = cluster.run(protected.address(), &arguments).await;
    run.failure(1);
    // A preview that is not answered is no delete whose outcome is unknown.
    let mute = cluster.store(|request, body| match request {
        Request::Delete { .. } => vec![Step::Cut],
        _ => node(plant())(request, body),
    });
    let question = DeleteQuestion::parse(Some("plant/**"), Some("-1h"), Some("now"), NOW).unwrap();
    let client = cluster.client(mute.address());
    let terms = Terms::default();
    let unanswered = client.doomed(&question.pattern, question.range, &terms);
    let unanswered = unanswered.await.unwrap_err();
    assert_eq!(unanswered.code, ErrorCode::Timeout);
    assert!(
        unanswered.message.contains("nothing was changed"),
        "{unanswered}"
    );
    for store in [&store, &protected, &mute] {
        assert_eq!(store.count(is_commit), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_without_an_answer_is_unknown_and_not_repeated() {
    let cluster = Cluster::new();
    let answers = leader();
    let store = cluster.store(move |request, body| match request {
        _ if is_commit(request) => vec![Step::Cut],
        _ => answers(request, body),
    });
    let arguments = [&["delete", "plant/**", "--yes"][..], &DAY].concat();
    let run = cluster.run(store.address(), &arguments).await;
    assert!(run.stderr.starts_with("6 readings"), "{run:?}");
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("may be committed"), "{run:?}");
    assert_eq!(store.count(is_commit), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_is_deleted_though_it_was_not_counted_in_time() {
    let cluster = Cluster::new();
    let answers = leader();
    let store = cluster.store(move |request, body| match request {
        Request::Delete {
            intent: Intent::Preview,
            ..
        } => failed(ErrorCode::Timeout),
        _ => answers(request, body),
    });
    let arguments = [
        &["delete", "plant/**", "--yes", "--format", "json"][..],
        &DAY,
    ]
    .concat();
    let run = cluster.run(store.address(), &arguments).await;
    assert!(run.stderr.contains("not counted"), "{run:?}");
    assert_eq!(run.success(), "{\"token\":\"0-1235\"}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_shown_previewed_set_and_cleared() {
    let cluster = Cluster::new();
    let store = cluster.store(leader());
    let shown = "pattern,keep\nplant/**,30d\n**,400d\n";
    let overdue = "pattern,keep,before,segments,bytes,readings\n\
                   plant/**,30d,2026-01-01T00:00:00.000000000Z,3,5000,12345\n";
    let rules = ["plant/**=30d", "**=400d"];
    let retention = |more: &[&'static str]| [&["retention"][..], more].concat();
    for (arguments, expected) in [
        (retention(&["show"]), shown),
        (retention(&["show", "--dry-run"]), overdue),
        (
            retention(&["set", rules[0], rules[1], "--dry-run"]),
            overdue,
        ),
        (retention(&["set", rules[0], rules[1]]), "token\n0-1235\n"),
        (retention(&["clear"]), "token\n0-1235\n"),
    ] {
        let arguments = [&arguments[..], &["--format", "csv"]].concat();
        let run = cluster.run(store.address(), &arguments).await;
        assert_eq!(run.success(), expected, "{arguments:?}");
    }
    let asked = store
        .asked()
        .into_iter()
        .filter_map(|request| match request {
            Request::Retention { request, .. } => Some(request),
            _ => None,
        });
    let rules = vec![rule("plant/**", 30), rule("**", 400)];
    let expected = [
        RetentionRequest::Show,
        RetentionRequest::Preview { rules: None },
        RetentionRequest::Preview {
            rules: Some(rules.clone()),
        },
        RetentionRequest::Set { rules },
        RetentionRequest::Set { rules: Vec::new() },
    ];
    assert_eq!(asked.collect::<Vec<_>>(), expected);

    let table = cluster
        .run(store.address(), &["retention", "show", "--dry-run"])
        .await;
    assert!(table.stderr.contains("nothing was changed"), "{table:?}");
    assert!(table.success().contains("4.9 KiB"));
    let json = ["retention", "show", "--format", "json"];
    let json = cluster.run(store.address(), &json).await.success();
    let expected = serde_json::json!({"rules": [
        {"pattern": "plant/**", "keep": "30d"},
        {"pattern": "**", "keep": "400d"},
    ]});
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&json).unwrap(),
        expected
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_are_deleted_over_http() {
    let cluster = Cluster::new();
    let store = cluster.store(leader());
    let app = service(
        cluster.client(store.address()),
        Terms::default(),
        Admission::Anybody,
    );
    let call = async |query: &str| {
        let uri = format!("/api/v1/readings?{query}");
        let request = HttpRequest::delete(uri).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        (parts.status, parts.headers, body)
    };
    let (status, headers, body) = call("match=plant/**&from=2026-01-01&to=2026-01-02").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(headers["tidemark-token"], "0-1235");
    assert_eq!(body, serde_json::json!({"token": "0-1235"}));
    assert_eq!(store.count(is_commit), 1);
    for (query, name) in [
        ("from=2026-01-01&to=2026-01-02", "match"),
        ("match=a&to=2026-01-02", "from"),
        ("match=a&from=2026-01-01", "to"),
        ("match=a&from=2026-01-02&to=2026-01-01", "from"),
        ("match=a&from=-1h&to=now&yes=1", "yes"),
    ] {
        let (status, _, body) = call(query).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.starts_with(name), "{detail}");
    }
    let (status, _, body) = call("match=plant/none&from=2026-01-01&to=now").await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::NOT_FOUND, &"NOT_FOUND".into())
    );
    assert_eq!(store.count(is_commit), 2);
}
