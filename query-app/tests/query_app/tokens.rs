//! Tokens: made and revoked by commands, asked for by a service, and what it asks the store for their holders.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::Request as HttpRequest;
use futures::StreamExt;
use query_app::api::{Admission, service};
use query_app::question::Terms;
use sensor_model::{Kind, Reading, SeriesDescription, SeriesPath, Timestamp, Value};
use store_wire::message::{ErrorCode, Request, Response};
use tower::ServiceExt;

use crate::answers::{answer, end, failed, freshness, node, plant, written};
use crate::http::{Reply, call};
use crate::store::{Cluster, FakeStore, Step};

/// The records that the store keeps, by series.
type Kept = Arc<Mutex<std::collections::BTreeMap<SeriesPath, (i64, Value)>>>;

/// A store that keeps tokens as it is told, and has a plant.
fn keeper(kept: &Kept) -> impl Fn(&Request, &axum::body::Bytes) -> Vec<Step> + Send + Sync + use<> {
    let (kept, others) = (Arc::clone(kept), node(plant()));
    move |request, body| match request {
        Request::Write { series, .. } => {
            for (number, readings) in written(body) {
                let path = &series[usize::try_from(number).unwrap()].path;
                for reading in readings {
                    kept.lock().unwrap().insert(path.clone(), reading);
                }
            }
            others(request, body)
        }
        Request::Last { pattern, .. } if pattern.as_str().starts_with("_tidemark/") => {
            let kept = kept.lock().unwrap();
            let readings = kept.iter().map(|(path, (time, value))| {
                let series = SeriesDescription::new(path.clone(), Kind::Text);
                let timestamp = Timestamp::from_nanos(*time);
                let value = value.clone();
                (series, Reading { timestamp, value })
            });
            let readings = readings.collect();
            vec![answer(), Response::LastReadings { readings }.into(), end()]
        }
        Request::Within { request, .. } if matches!(**request, Request::Tail { .. }) => {
            let (freshness, after) = (freshness(), freshness().applied);
            vec![Response::Tailing { freshness, after }.into(), Step::Hang]
        }
        _ => others(request, body),
    }
}

async fn made(cluster: &Cluster, store: &FakeStore, scopes: &[&str]) -> (String, String) {
    let mut arguments = vec!["token", "create", "--name", "test", "--format", "json"];
    arguments.extend(scopes);
    let made = cluster.run(store.address(), &arguments).await.success();
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

async fn asking(app: &Router, token: Option<&str>, uri: &str) -> Reply {
    let mut request = HttpRequest::get(uri);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    call(app, request.body(Body::empty()).unwrap()).await
}

const LAST: &str = "/api/v1/last?match=plant/a/on";

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_kept_as_a_hash_shown_once_and_revoked_in_its_place() {
    let cluster = Cluster::new();
    let kept = Kept::default();
    let store = cluster.store(keeper(&kept));
    let (id, token) = made(
        &cluster,
        &store,
        &["--read", "plant/**", "--expires", "30d"],
    )
    .await;
    let secret = token.rsplit('_').next().unwrap().to_owned();
    let record = |kept: &Kept| {
        let kept = kept.lock().unwrap();
        let (path, (time, value)) = kept.first_key_value().unwrap();
        assert_eq!(path.as_str(), format!("_tidemark/api-tokens/{id}"));
        assert_eq!(kept.len(), 1);
        let Value::Text(text) = value else {
            panic!("{value:?}");
        };
        assert!(!text.contains(&secret), "{text}");
        (*time, text.clone())
    };
    let (time, _) = record(&kept);
    let listed = cluster
        .run(store.address(), &["token", "list", "--format", "csv"])
        .await;
    let listed = listed.success();
    assert!(
        listed.contains(&format!("{id},test,valid,plant/**,,,,")),
        "{listed}"
    );
    assert!(!listed.contains(&secret), "{listed}");

    let revoked = cluster
        .run(store.address(), &["token", "revoke", &id])
        .await;
    assert_eq!(revoked.success(), "0-1235\n");
    let (again, text) = record(&kept);
    assert_eq!(
        again, time,
        "a delete in between could bring the token back"
    );
    assert!(text.contains("revoked"), "{text}");
    let listed = cluster
        .run(store.address(), &["token", "list"])
        .await
        .success();
    assert!(listed.contains("revoked"), "{listed}");
    let line = cluster
        .run(store.address(), &["token", "revoke", "0123"])
        .await
        .failure(1);
    assert!(
        line.contains("0123") && line.contains("token list"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_of_token_names_what_is_wrong() {
    let cluster = Cluster::new();
    for (arguments, names) in [
        (&["create", "--name", "a"][..], "--read"),
        (&["create", "--name", "", "--read", "**"], "--name"),
        (&["create", "--name", "a", "--read", "a//b"], "a//b"),
        (
            &["create", "--name", "a", "--read", "**", "--expires", "soon"],
            "soon",
        ),
    ] {
        let mut all = vec!["token"];
        all.extend(arguments);
        let line = cluster.run("127.0.0.1:1", &all).await.failure(2);
        assert!(line.contains(names), "{arguments:?} gave {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holders_are_let_in_with_their_scope_and_nobody_else() {
    let cluster = Cluster::new();
    let kept = Kept::default();
    let store = cluster.store(keeper(&kept));
    let (_, reads) = made(&cluster, &store, &["--read", "plant/**"]).await;
    let (_, writes) = made(&cluster, &store, &["--write", "plant/a/**"]).await;
    let (_, past) = made(&cluster, &store, &["--read", "**", "--expires", "1ms"]).await;
    let client = cluster.client(store.address());
    let app = service(client, Terms::default(), Admission::TokenHolders);

    for nobody in [
        None,
        Some(""),
        Some("x"),
        Some(past.as_str()),
        Some(&reads[..reads.len() - 1]),
    ] {
        let refused = asking(&app, nobody, LAST).await;
        refused.problem(401, "UNAUTHENTICATED");
        assert!(
            refused
                .header("www-authenticate")
                .unwrap()
                .starts_with("Bearer")
        );
    }
    assert_eq!(
        store.count(|request| matches!(request, Request::Within { .. })),
        0
    );
    assert_eq!(asking(&app, Some(&reads), LAST).await.status.as_u16(), 200);
    let asked = store.asked();
    let within = asked.iter().rev().find_map(|request| match request {
        Request::Within { scope, request } => Some((scope, &**request)),
        _ => None,
    });
    let (scope, request) = within.unwrap();
    assert_eq!(scope.read[0].as_str(), "plant/**");
    assert!(scope.write.is_empty());
    assert!(matches!(request, Request::Last { .. }), "{request:?}");

    asking(&app, Some(&writes), LAST)
        .await
        .problem(403, "FORBIDDEN");
    asking(&app, Some(&reads), "/metrics")
        .await
        .problem(403, "FORBIDDEN");
    asking(&app, Some(&reads), "/api/v1/cluster")
        .await
        .problem(403, "FORBIDDEN");
    for open in [
        "/healthz",
        "/readyz",
        "/api/v1/openapi.json",
        "/api/v1/docs",
    ] {
        assert_eq!(
            asking(&app, None, open).await.status.as_u16(),
            200,
            "{open}"
        );
    }
    let document = asking(&app, None, "/api/v1/openapi.json").await.json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let asks = operation["security"].is_array();
            let uri = path.replace("{path}", "a");
            let request = HttpRequest::builder()
                .method(method.to_uppercase().as_str())
                .uri(uri);
            let reply = call(&app, request.body(Body::empty()).unwrap()).await;
            assert_eq!(reply.status.as_u16() == 401, asks, "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_is_dropped_when_its_token_is_revoked() {
    let cluster = Cluster::new();
    let kept = Kept::default();
    let store = cluster.store(keeper(&kept));
    let (id, reads) = made(&cluster, &store, &["--read", "plant/**"]).await;
    let app = service(
        cluster.client(store.address()),
        Terms::default(),
        Admission::TokenHolders,
    );
    let request = HttpRequest::get("/api/v1/tail?match=plant/**")
        .header("accept", "text/event-stream")
        .header("authorization", format!("Bearer {reads}"));
    let answer = app.oneshot(request.body(Body::empty()).unwrap()).await;
    let mut events = answer.unwrap().into_body().into_data_stream();
    let first = events.next().await.unwrap().unwrap();
    assert!(first.starts_with(b": following"), "{first:?}");
    let revoked = cluster
        .run(store.address(), &["token", "revoke", &id])
        .await;
    revoked.success();
    let mut rest = Vec::new();
    while let Some(event) = events.next().await {
        rest.extend_from_slice(&event.unwrap());
    }
    let rest = String::from_utf8(rest).unwrap();
    assert!(
        rest.contains("event: error") && rest.contains("UNAUTHENTICATED"),
        "{rest}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tokens_cannot_be_read_nobody_is_let_in() {
    let cluster = Cluster::new();
    let kept = Kept::default();
    let token = {
        let store = cluster.store(keeper(&kept));
        made(&cluster, &store, &["--read", "**"]).await.1
    };
    let store = cluster.store(|_, _| failed(ErrorCode::Stale));
    let client = cluster.client(store.address());
    let app = service(client, Terms::default(), Admission::TokenHolders);
    let refused = asking(&app, Some(&token), LAST).await;
    refused.problem(503, "OVERLOADED");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let store = cluster.store(|_, _| failed(ErrorCode::Forbidden));
    let serving = ["serve", "--http", "127.0.0.1:0", "--auth", "tokens"];
    let line = cluster.run(store.address(), &serving).await.failure(1);
    assert!(line.starts_with("error"), "{line}");
}
