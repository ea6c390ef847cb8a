//! The HTTP routes, called without a socket.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request as HttpRequest, StatusCode, Version, header};
use query_app::api::{Admission, service};
use query_app::question::Terms;
use sensor_model::{Value, Values};
use serde_json::Value as Json;
use store_wire::message::{ErrorCode, Request, Response, WireError};
use tower::ServiceExt;

use crate::answers::{
    SECOND, START, answer, end, failed, failing, head, node, plant, rows, series, status, written,
};
use crate::store::{Cluster, FakeStore, Step};

/// A response, read to its end.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    /// `None` when the body was broken off.
    body: Option<Vec<u8>>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone().unwrap()).unwrap()
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(self.body.as_ref().unwrap()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The problem document's detail, after its form was checked.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let document = self.json();
        assert_eq!(document["code"], code, "{document}");
        assert_eq!(document["status"], status, "{document}");
        assert!(document["title"].is_string(), "{document}");
        document["detail"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn app(cluster: &Cluster, store: &FakeStore) -> Router {
    service(
        cluster.client(store.address()),
        Terms::default(),
        Admission::Anybody,
    )
}

pub(crate) async fn call(app: &Router, request: HttpRequest<Body>) -> Reply {
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Reply {
        status: parts.status,
        headers: parts.headers,
        body: axum::body::to_bytes(body, usize::MAX)
            .await
            .ok()
            .map(Vec::from),
    }
}

pub(crate) async fn get(app: &Router, uri: &str) -> Reply {
    call(app, HttpRequest::get(uri).body(Body::empty()).unwrap()).await
}

async fn accepting(app: &Router, uri: &str, accept: &str) -> Reply {
    let request = HttpRequest::get(uri).header(header::ACCEPT, accept);
    call(app, request.body(Body::empty()).unwrap()).await
}

async fn post(app: &Router, body: impl Into<Body>) -> Reply {
    let request = HttpRequest::post("/api/v1/readings")
        .header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    call(app, request.body(body.into()).unwrap()).await
}

const DAY: &str = "from=2026-01-01&to=2026-01-02";

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_json_with_the_freshness_in_headers_too() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let app = app(&cluster, &store);
    let uri = format!("/api/v1/range?match=plant/b/parts&{DAY}&time=ns");
    let reply = get(&app, &uri).await;
    assert_eq!(
        reply.text(),
        format!(
            concat!(
                r#"{{"series":[{{"path":"plant/b/parts","kind":"i64","unit":"","#,
                r#""timestamps":[{},{}],"values":[9223372036854775807,-1]}}],"#,
                r#""replica":2,"applied":1234,"age_ms":3,"token":"0-1240","truncated":false}}"#,
                "\n"
            ),
            START,
            START + SECOND
        )
    );
    assert_eq!(reply.header("content-type"), Some("application/json"));
    for (name, value) in [
        ("tidemark-replica", "2"),
        ("tidemark-applied", "1234"),
        ("tidemark-age-ms", "3"),
        ("tidemark-token", "0-1240"),
    ] {
        assert_eq!(reply.header(name), Some(value));
    }
    assert!(reply.header("x-request-id").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_have_an_array_an_aggregate() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let app = app(&cluster, &store);
    let uri = "/api/v1/range?match=plant/a/temperature&from=2026-01-01T00:00:00Z\
               &to=2026-01-01T00:00:06Z&every=2s&agg=max,count&fill=null&time=ms";
    let document = get(&app, uri).await.json();
    assert_eq!(document["every"], "2s");
    let series = &document["series"][0];
    let start = START / 1_000_000;
    assert_eq!(
        series["bucket_starts"],
        serde_json::json!([start, start + 2_000, start + 4_000])
    );
    assert_eq!(series["max"], serde_json::json!([21.5, 1e300, null]));
    assert_eq!(series["count"], serde_json::json!([2, 2, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_a_parquet_file_where_that_is_asked_for() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let app = app(&cluster, &store);
    for rows in ["", "&every=1s&agg=count"] {
        let uri = format!("/api/v1/range?match=plant/**&{DAY}{rows}&format=parquet");
        let reply = get(&app, &uri).await;
        assert_eq!(
            reply.header("content-type").unwrap(),
            "application/vnd.apache.parquet"
        );
        let file = reply.body.unwrap();
        assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));
    }
    get(&app, "/api/v1/last?match=plant/**&format=parquet")
        .await
        .problem(400, "BAD_REQUEST");
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_comes_by_accept_or_by_parameter() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let app = app(&cluster, &store);
    let uri = format!("/api/v1/range?match=plant/a/on&{DAY}");
    let expected = "\
series,timestamp,value
plant/a/on,2026-01-01T00:00:00.000000000Z,true
plant/a/on,2026-01-01T00:00:01.000000000Z,false
";
    let reply = accepting(&app, &uri, "text/csv").await;
    assert_eq!(reply.text(), expected);
    assert!(
        reply
            .header("content-type")
            .unwrap()
            .starts_with("text/csv")
    );
    assert_eq!(
        get(&app, &format!("{uri}&format=csv")).await.text(),
        expected
    );
    let last = accepting(&app, "/api/v1/last?match=plant/a/on", "text/csv").await;
    assert_eq!(
        last.text(),
        "series,timestamp,value\nplant/a/on,2026-01-01T00:00:01.000000000Z,false\n"
    );
    accepting(&app, &uri, "image/png")
        .await
        .problem(406, "BAD_REQUEST");
}

#[tokio::test(flavor = "multi_thread")]
async fn last_series_and_cluster_have_their_documents() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let app = app(&cluster, &store);
    let last = get(&app, "/api/v1/last?match=plant/**").await.json();
    assert_eq!(
        last["readings"][1],
        serde_json::json!({
            "path": "plant/a/temperature", "kind": "f64", "unit": "Cel",
            "timestamp": "2026-01-01T00:00:03.000000000Z", "value": 1e300,
        })
    );
    assert_eq!(last["replica"], 2);
    let series = get(&app, "/api/v1/series").await.json();
    assert_eq!(series["series"].as_array().unwrap().len(), 4);
    assert_eq!(series["series"][1]["count"], 4);
    assert_eq!(series["series"][1]["attributes"], serde_json::json!({}));
    let nodes = get(&app, "/api/v1/cluster").await.json();
    assert_eq!(nodes["nodes"][0]["id"], 1);
    assert_eq!(nodes["nodes"][0]["role"], "leader");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_parameter_is_a_problem_that_names_it_and_nothing_is_asked() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let app = app(&cluster, &store);
    for (query, name) in [
        ("range?from=-1h", "match: "),
        ("range?match=a", "from: "),
        ("range?match=a//b&from=-1h", "match: "),
        ("range?match=a&from=2026-01-02&to=2026-01-01", "from: "),
        ("range?match=a&from=-1h&every=0s", "every: "),
        ("range?match=a&from=-1h&every=1m&agg=median", "agg: "),
        ("range?match=a&from=-1h&limit=few", "limit: "),
        ("range?match=a&from=-1h&order=up", "order: "),
        ("range?match=a&from=-1h&fil=null", "fil: "),
        ("last?match=a&match=b", "match: "),
        ("range?match=a&from=-1h&from=-2h", "from: "),
        ("range?match=a&from=-1h&by=line", "by: "),
        ("range?match=a&from=-1h&fill=null", "fill: "),
        ("range?match=a&from=-1h&top=0", "top: "),
        ("range?match=a&from=-1h&top=1&bottom=1", "bottom: "),
        ("range?match=a&from=-1h&where=80", "where: "),
        ("range?match=a&from=-1h&every=1d&tz=Mars", "tz: "),
        ("range?match=a&from=-1h&every=1h&tz=Europe/Berlin", "tz: "),
        ("range?match=a&from=-1h&page=100001", "page: "),
        ("range?match=a&from=-1h&cursor=00", "cursor: "),
        ("range?match=a&from=-1h&max-rows=0", "max-rows: "),
        ("range?match=a&from=-1h&max-bytes=5", "max-bytes: "),
        ("range?match=a&from=-1h&time=s", "time: "),
        ("range?match=a&from=-1h&format=xml", "format: "),
        ("last?match=a&consistency=most", "consistency: "),
        ("last?match=a&node=x", "node: "),
        ("last?match=a&timeout=1", "timeout: "),
        ("series?from=-1h", "from: "),
    ] {
        let detail = get(&app, &format!("/api/v1/{query}"))
            .await
            .problem(400, "BAD_REQUEST");
        assert!(detail.starts_with(name), "{query} gave {detail}");
    }
    assert!(store.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_of_the_store_has_its_status_and_code() {
    for (code, status) in [
        (ErrorCode::BadRequest, 400),
        (ErrorCode::Unauthenticated, 401),
        (ErrorCode::Forbidden, 403),
        (ErrorCode::TooLarge, 413),
        (ErrorCode::Overloaded, 503),
        (ErrorCode::Stale, 503),
        (ErrorCode::Timeout, 504),
        (ErrorCode::NoSpace, 507),
        (ErrorCode::KindMismatch, 409),
        (ErrorCode::Internal, 500),
    ] {
        let cluster = Cluster::new();
        let store = cluster.store(failing(code));
        let reply = get(&app(&cluster, &store), "/api/v1/last?match=a/**").await;
        reply.problem(status, code.as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_store_says_when_to_come_again() {
    let cluster = Cluster::new();
    let store = cluster.store(|_, _| {
        let error = WireError::overloaded("busy", 2_500);
        vec![Response::Failed { error }.into()]
    });
    let reply = get(&app(&cluster, &store), "/api/v1/last?match=a/**").await;
    reply.problem(503, "OVERLOADED");
    assert_eq!(reply.header("retry-after"), Some("3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_leader_is_a_problem_once_the_time_is_over() {
    let cluster = Cluster::new();
    let store = cluster.store(failing(ErrorCode::NoLeader));
    let uri = "/api/v1/last?match=a/**&consistency=linearizable&timeout=300ms";
    get(&app(&cluster, &store), uri)
        .await
        .problem(503, "NO_LEADER");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_series_is_a_404_that_names_the_nearest() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let app = app(&cluster, &store);
    let uri = format!("/api/v1/range?match=plant/a/temperatur&{DAY}");
    let detail = get(&app, &uri).await.problem(404, "NOT_FOUND");
    assert!(
        detail.contains("did you mean plant/a/temperature?"),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_and_methods_are_problems_too() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let app = app(&cluster, &store);
    for path in ["/", "/api/v1/ranges", "/api/v2/range"] {
        let detail = get(&app, path).await.problem(404, "NOT_FOUND");
        assert!(detail.contains(path), "{detail}");
    }
    for (method, path, allowed) in [
        (Method::PUT, "/api/v1/range", "GET,HEAD"),
        (Method::GET, "/api/v1/readings", "POST,DELETE"),
    ] {
        let request = HttpRequest::builder().method(method).uri(path);
        let reply = call(&app, request.body(Body::empty()).unwrap()).await;
        reply.problem(405, "METHOD_NOT_ALLOWED");
        assert_eq!(reply.header("allow"), Some(allowed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn posted_readings_are_written_with_the_kinds_of_their_series() {
    let cluster = Cluster::new();
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&bodies);
    let answers = node(plant());
    let store = cluster.store(move |request, body| {
        if let Request::Write { .. } = request {
            seen.lock().unwrap().push(written(body));
        }
        answers(request, body)
    });
    let app = app(&cluster, &store);
    let reply = post(
        &app,
        r#"[
            {"path":"plant/b/parts","timestamp":"2026-01-01T00:00:00Z","value":9007199254740993},
            {"path":"plant/new/level","timestamp":1767225601,"value":0.1,"unit":"m"},
            {"path":"plant/new/level","timestamp":1767225600000000000,"value":2}
        ]"#,
    )
    .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(
        reply.json(),
        serde_json::json!({"token": "0-1235", "written": 3})
    );
    assert_eq!(reply.header("tidemark-token"), Some("0-1235"));
    let batches = bodies.lock().unwrap();
    assert_eq!(
        batches[0],
        [
            (0, vec![(START, Value::I64(9_007_199_254_740_993))]),
            (
                1,
                vec![(START, Value::F64(2.0)), (START + SECOND, Value::F64(0.1))]
            ),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_body_is_refused_and_nothing_is_written() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let app = app(&cluster, &store);
    for (body, code, status, names) in [
        ("[", "BAD_REQUEST", 400, "array of readings"),
        (
            r#"[{"path":"a","timestamp":0,"value":1e999}]"#,
            "BAD_REQUEST",
            400,
            "series a",
        ),
        (
            r#"[{"path":"plant/a/temperature","timestamp":0,"value":"warm"}]"#,
            "KIND_MISMATCH",
            409,
            "plant/a/temperature",
        ),
        (
            r#"[{"path":"plant/b/parts","timestamp":0,"value":1.5}]"#,
            "KIND_MISMATCH",
            409,
            "plant/b/parts",
        ),
    ] {
        let detail = post(&app, body).await.problem(status, code);
        assert!(detail.contains(names), "{body} gave {detail}");
    }
    let long = vec![b' '; query_app::api::BODY_BYTES_MAX + 1];
    post(&app, long).await.problem(413, "TOO_LARGE");
    let plain = HttpRequest::post("/api/v1/readings").body(Body::from("[]"));
    call(&app, plain.unwrap()).await.problem(415, "BAD_REQUEST");
    assert_eq!(
        store.count(|request| matches!(request, Request::Write { .. })),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_is_given_up() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let terms = Terms {
        timeout: std::time::Duration::from_millis(200),
        ..Terms::default()
    };
    let app = service(cluster.client(store.address()), terms, Admission::Anybody);
    let dripping = futures::stream::pending::<Result<axum::body::Bytes, std::io::Error>>();
    post(&app, Body::from_stream(dripping))
        .await
        .problem(408, "TIMEOUT");
    assert!(store.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_the_first_piece_breaks_the_body_off() {
    let cluster = Cluster::new();
    let store = cluster.store(|_, _| {
        let (series, columns) = series("a", "", Values::I64(vec![1; 10_000]));
        vec![answer(), head(&series), rows(&columns), Step::Cut]
    });
    let app = app(&cluster, &store);
    let ask = |more: &str| format!("/api/v1/range?match=a&{DAY}{more}");
    let reply = get(&app, &ask("&format=csv")).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.body.is_none(), "a cut answer looked whole");
    // JSON holds a series until it is whole, so here nothing was sent yet.
    get(&app, &ask("")).await.problem(500, "INTERNAL");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_compressed_when_asked_for() {
    let cluster = Cluster::new();
    let data = vec![series("a", "", Values::I64(vec![7; 5_000]))];
    let store = cluster.store(node(data));
    let request = HttpRequest::get(format!("/api/v1/range?match=a&{DAY}&format=csv"))
        .header(header::ACCEPT_ENCODING, "gzip");
    let reply = call(&app(&cluster, &store), request.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    assert!(reply.body.unwrap().len() < 50_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_the_process_and_readiness_the_store() {
    let cluster = Cluster::new();
    let store = cluster.store(|request, _| match request {
        Request::Status => vec![Response::Status(Box::new(status(1, &["127.0.0.1:1"]))).into()],
        _ => failed(ErrorCode::Internal),
    });
    let ready = app(&cluster, &store);
    assert_eq!(get(&ready, "/healthz").await.status, StatusCode::OK);
    assert_eq!(get(&ready, "/readyz").await.status, StatusCode::OK);
    let metrics = get(&ready, "/metrics").await.text();
    assert!(
        metrics.contains("tidemark_query_http_requests_total"),
        "{metrics}"
    );

    let terms = Terms {
        timeout: std::time::Duration::from_millis(200),
        ..Terms::default()
    };
    let lonely = service(cluster.client("127.0.0.1:1"), terms, Admission::Anybody);
    assert_eq!(get(&lonely, "/healthz").await.status, StatusCode::OK);
    get(&lonely, "/readyz").await.problem(503, "TIMEOUT");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_http_1_0_cannot_tell_whole_from_broken_off_is_refused() {
    let cluster = Cluster::new();
    let long = |count: usize| {
        cluster.store(move |_, _| {
            let times = 0..i64::try_from(count).unwrap();
            let (series, _) = series("plant/a/parts", "", Values::I64(vec![]));
            let columns = sensor_model::Columns {
                times: times.clone().collect(),
                values: Values::I64(times.collect()),
            };
            let head = Response::SeriesHead { series, seen: None };
            vec![answer(), head.into(), rows(&columns), end()]
        })
    };
    for (count, is_taken) in [(10, true), (10_000, false)] {
        let store = long(count);
        let mut request = HttpRequest::get("/api/v1/range?match=plant/**&from=-1h&format=csv");
        request = request.version(Version::HTTP_10);
        let reply = call(&app(&cluster, &store), request.body(Body::empty()).unwrap()).await;
        match is_taken {
            true => assert_eq!(reply.status.as_u16(), 200),
            false => assert!(reply.problem(400, "BAD_REQUEST").contains("HTTP/1.1")),
        }
    }
}
