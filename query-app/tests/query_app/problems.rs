//! Every problem that the API documents, provoked once: what is not provoked here is not documented, and the
//! other way round.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request as HttpRequest;
use query_app::api::{Admission, BODY_BYTES_MAX, service};
use query_app::question::Terms;
use store_wire::message::{ErrorCode, Request};

use crate::answers::{failed, failing, node, plant};
use crate::http::{app, call, get};
use crate::store::Cluster;

const LAST: &str = "/api/v1/last?match=plant/**&timeout=300ms";

fn posting(content_type: &str, body: impl Into<Body>) -> HttpRequest<Body> {
    HttpRequest::post("/api/v1/readings")
        .header("content-type", content_type)
        .body(body.into())
        .unwrap()
}

fn reading(path: &str) -> String {
    format!(r#"[{{"path":"{path}","timestamp":0,"value":true}}]"#)
}

fn getting(uri: &str) -> HttpRequest<Body> {
    HttpRequest::get(uri).body(Body::empty()).unwrap()
}

/// Status and code of the answer, whose form is checked.
async fn provoked(app: &Router, request: HttpRequest<Body>) -> (u64, String) {
    let reply = call(app, request).await;
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json")
    );
    let document = reply.json();
    assert_eq!(document["status"], reply.status.as_u16(), "{document}");
    assert_eq!(
        document["request_id"].as_str(),
        reply.header("x-request-id"),
        "{document}"
    );
    assert!(
        document["title"].is_string() && document["detail"].is_string(),
        "{document}"
    );
    let code = document["code"].as_str().unwrap().to_owned();
    (document["status"].as_u64().unwrap(), code)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_problem_is_provoked_and_no_other() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let sound = app(&cluster, &store);
    let terms = Terms {
        timeout: Duration::from_millis(300),
        ..Terms::default()
    };
    let hasty = service(cluster.client(store.address()), terms, Admission::Anybody);
    let alone = service(cluster.client("127.0.0.1:1"), terms, Admission::Anybody);
    let guarded = service(
        cluster.client(store.address()),
        terms,
        Admission::TokenHolders,
    );

    let store = cluster.store(failing(ErrorCode::Gone));
    let purged = service(cluster.client(store.address()), terms, Admission::Anybody);
    let following = HttpRequest::get("/api/v1/tail?match=a/b&after=0-1")
        .header("accept", "text/event-stream")
        .body(Body::empty());

    let dripping = futures::stream::pending::<Result<Bytes, std::io::Error>>();
    let packed = HttpRequest::post("/api/v1/readings")
        .header("content-type", "application/json")
        .header("content-encoding", "snappy")
        .body(Body::from("x"));
    let unacceptable = HttpRequest::get(LAST)
        .header("accept", "image/png")
        .body(Body::empty());
    let long = vec![b' '; BODY_BYTES_MAX + 1];
    let json = "application/json";
    let mut found = BTreeSet::new();
    for (app, request, expected) in [
        (
            &sound,
            getting("/api/v1/range?match=a"),
            (400, "BAD_REQUEST"),
        ),
        (&guarded, getting(LAST), (401, "UNAUTHENTICATED")),
        (
            &sound,
            getting("/api/v1/last?match=plant/none"),
            (404, "NOT_FOUND"),
        ),
        (&purged, following.unwrap(), (410, "GONE")),
        (&sound, getting("/api/v1/none"), (404, "NOT_FOUND")),
        (&sound, getting("/none"), (404, "NOT_FOUND")),
        (
            &sound,
            getting("/api/v1/readings"),
            (405, "METHOD_NOT_ALLOWED"),
        ),
        (&sound, unacceptable.unwrap(), (406, "BAD_REQUEST")),
        (
            &hasty,
            posting(json, Body::from_stream(dripping)),
            (408, "TIMEOUT"),
        ),
        (
            &sound,
            posting(json, reading("plant/b/parts")),
            (409, "KIND_MISMATCH"),
        ),
        (&sound, posting(json, long), (413, "TOO_LARGE")),
        (
            &sound,
            posting("text/plain", reading("a")),
            (415, "BAD_REQUEST"),
        ),
        (&sound, packed.unwrap(), (415, "BAD_REQUEST")),
        (&alone, getting("/readyz"), (503, "TIMEOUT")),
    ] {
        let (status, code) = provoked(app, request).await;
        assert_eq!((status, code.as_str()), expected);
        found.insert((status, code));
    }
    for (code, status) in [
        (ErrorCode::Forbidden, 403),
        (ErrorCode::Internal, 500),
        (ErrorCode::Overloaded, 503),
        (ErrorCode::NoLeader, 503),
        (ErrorCode::Stale, 503),
        (ErrorCode::Draining, 503),
        (ErrorCode::Timeout, 504),
    ] {
        let store = cluster.store(failing(code));
        let refused = provoked(&app(&cluster, &store), getting(LAST)).await;
        assert_eq!(refused, (status, code.as_str().to_owned()));
        found.insert(refused);
    }
    for (code, status) in [(ErrorCode::Unknown, 504), (ErrorCode::NoSpace, 507)] {
        let others = node(plant());
        let store = cluster.store(move |request, body| match request {
            Request::Write { .. } => failed(code),
            _ => others(request, body),
        });
        let request = posting(json, reading("plant/a/on"));
        let refused = provoked(&app(&cluster, &store), request).await;
        assert_eq!(refused, (status, code.as_str().to_owned()));
        found.insert(refused);
    }
    let putting = || HttpRequest::put("/api/v1/boards/hall").header("content-type", json);
    let board = || Body::from(r#"{"title":"Hall"}"#);
    let store = cluster.store(failing(ErrorCode::Conflict));
    let late = putting().header("if-match", "\"7\"").body(board());
    for (app, request, expected) in [
        (&app(&cluster, &store), late, (412, "CONFLICT")),
        (&sound, putting().body(board()), (428, "BAD_REQUEST")),
    ] {
        let (status, code) = provoked(app, request.unwrap()).await;
        assert_eq!((status, code.as_str()), expected);
        found.insert((status, code));
    }
    let document = get(&sound, "/api/v1/openapi.json").await.json();
    let listed = document["x-problem-codes"].as_array().unwrap().iter();
    let listed: BTreeSet<(u64, String)> = listed
        .map(|said| {
            let code = said["code"].as_str().unwrap().to_owned();
            (said["status"].as_u64().unwrap(), code)
        })
        .collect();
    assert_eq!(found, listed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_the_store_may_answer_with_is_documented_where_it_may() {
    let cluster = Cluster::new();
    let document = {
        let store = cluster.store(node(plant()));
        get(&app(&cluster, &store), "/api/v1/openapi.json")
            .await
            .json()
    };
    // Not of HTTP: a producer alone is fenced, and only the store's own leader refuses a kind on a read.
    for (code, method, path, uri) in [
        (
            ErrorCode::TooLarge,
            "get",
            "/api/v1/range",
            "/api/v1/range?match=a/*&from=-1h",
        ),
        (
            ErrorCode::Stale,
            "get",
            "/api/v1/series",
            "/api/v1/series?timeout=300ms",
        ),
        (
            ErrorCode::NoSpace,
            "delete",
            "/api/v1/readings",
            "/api/v1/readings?match=a&from=-1h&to=now",
        ),
        (
            ErrorCode::Overloaded,
            "delete",
            "/api/v1/readings",
            "/api/v1/readings?match=a&from=-1h&to=now",
        ),
    ] {
        let store = cluster.store(failing(code));
        let request = HttpRequest::builder()
            .method(method.to_uppercase().as_str())
            .uri(uri);
        let (status, _) =
            provoked(&app(&cluster, &store), request.body(Body::empty()).unwrap()).await;
        let said = &document["paths"][path][method]["responses"][status.to_string()];
        let about = said["description"].as_str().unwrap_or_default();
        assert!(
            about.contains(code.as_str()),
            "{method} {path} {status}: {about}"
        );
    }
}
