//! What a series is, changed by command and over HTTP.

use axum::body::Body;
use axum::http::Request as HttpRequest;
use sensor_model::{DescriptionChange, Kind};
use serde_json::json;
use store_wire::message::Request;

use crate::answers::{node, plant};
use crate::http::{Reply, app, call};
use crate::store::{Cluster, FakeStore};

/// The last description that was asked for.
fn described(store: &FakeStore) -> (String, Option<Kind>, DescriptionChange) {
    let asked = store.asked().into_iter().rev();
    let mut descriptions = asked.filter_map(|request| match request {
        Request::Describe {
            path, kind, change, ..
        } => Some((path.to_string(), kind, change)),
        _ => None,
    });
    descriptions.next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn series_set_says_what_changes_and_prints_the_token() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let set = ["series", "set", "plant/a/on", "--unit", "1"];
    let attributes = ["--attr", "hall=3=b", "--unset", "line"];
    let arguments = [&set[..], &attributes].concat();
    let run = cluster.run(store.address(), &arguments).await;
    assert_eq!(run.success(), "0-1236\n");
    let (path, kind, change) = described(&store);
    assert_eq!((path.as_str(), kind), ("plant/a/on", None));
    assert_eq!(change.unit.unwrap().as_str(), "1");
    assert_eq!(change.attributes["hall"].as_deref(), Some("3=b"));
    assert_eq!(change.attributes["line"], None);

    let opened = ["series", "set", "plant/new", "--kind", "text"];
    cluster.run(store.address(), &opened).await.success();
    assert_eq!(described(&store).1, Some(Kind::Text));
    let absent = ["series", "set", "plant/a/o", "--unit", "1"];
    let line = cluster.run(store.address(), &absent).await.failure(1);
    assert!(line.contains("did you mean plant/a/on?"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_of_series_set_names_what_is_wrong() {
    let cluster = Cluster::new();
    for (arguments, names) in [
        (&["a"][..], "--attr"),
        (&["a//b", "--unit", "1"], "a//b"),
        (&["a", "--unit", "m s"], "--unit"),
        (&["a", "--attr", "hall"], "KEY=VALUE"),
        (&["a", "--attr", "hall=3", "--unset", "hall"], "--unset"),
    ] {
        let all = [&["series", "set"][..], arguments].concat();
        let line = cluster.run("127.0.0.1:1", &all).await.failure(2);
        assert!(line.contains(names), "{arguments:?} gave {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn series_are_opened_and_patched_over_http() {
    let cluster = Cluster::new();
    let store = cluster.store(node(plant()));
    let app = app(&cluster, &store);
    let send = async |method: &str, uri: &str, body: serde_json::Value| -> Reply {
        let request = HttpRequest::builder().method(method).uri(uri);
        let request = request.header("content-type", "application/json");
        call(&app, request.body(Body::from(body.to_string())).unwrap()).await
    };
    let new = json!({"path": "plant/new", "kind": "f64", "attributes": {"hall": "3"}});
    let reply = send("POST", "/api/v1/series", new).await;
    assert_eq!(reply.status.as_u16(), 201);
    assert_eq!(reply.header("tidemark-token"), Some("0-1236"));
    let expected = json!({
        "path": "plant/new", "kind": "f64", "unit": "", "attributes": {"hall": "3"}, "token": "0-1236",
    });
    assert_eq!(reply.json(), expected);
    let known = json!({"path": "plant/a/on", "kind": "bool"});
    let reply = send("POST", "/api/v1/series", known).await;
    assert_eq!(reply.status.as_u16(), 200);
    let other = json!({"path": "plant/a/on", "kind": "text"});
    let reply = send("POST", "/api/v1/series", other).await;
    reply.problem(409, "KIND_MISMATCH");

    let patch = json!({"unit": null, "attributes": {"hall": null, "line": "2"}});
    for path in ["plant/a/on", "plant%2Fa%2Fon"] {
        let uri = format!("/api/v1/series/{path}");
        let reply = send("PATCH", &uri, patch.clone()).await;
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
        let (path, kind, change) = described(&store);
        assert_eq!((path.as_str(), kind), ("plant/a/on", None));
        assert_eq!(change.unit.unwrap().as_str(), "");
        assert_eq!(change.attributes["hall"], None);
    }
    for (uri, body) in [
        ("/api/v1/series/plant//a", patch.clone()),
        ("/api/v1/series/plant/a/on", json!({"kind": "text"})),
        ("/api/v1/series/plant/a/on", json!({"attributes": null})),
        ("/api/v1/series/plant/a/on?x=1", patch),
    ] {
        send("PATCH", uri, body).await.problem(400, "BAD_REQUEST");
    }
}
