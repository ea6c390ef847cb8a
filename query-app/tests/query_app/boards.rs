//! Boards over HTTP: made, replaced and removed by who knows what they replace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::Request as HttpRequest;
use bytes::Bytes;
use sensor_model::{BoardName, Token};
use serde_json::{Value as Json, json};
use store_wire::message::{BoardChange, BoardInfo, ErrorCode, Request, Response};

use crate::answers::{answer, end, failed, node, plant};
use crate::http::{Reply, app, call, get};
use crate::store::{Cluster, Step};

type Kept = BTreeMap<BoardName, (BoardInfo, Bytes)>;

/// A store that keeps boards as a real one does.
fn keeper() -> impl Fn(&Request, &Bytes) -> Vec<Step> + Send + Sync {
    let (kept, others) = (Arc::new(Mutex::new((1300, Kept::new()))), node(plant()));
    move |request, body| {
        let mut kept = kept.lock().unwrap();
        let (index, boards) = &mut *kept;
        match request {
            Request::Boards { .. } => {
                let boards = boards.values().map(|(board, _)| board.clone()).collect();
                vec![answer(), Response::BoardList { boards }.into(), end()]
            }
            Request::Board { name, .. } => match boards.get(name) {
                Some((board, content)) => {
                    let board = board.clone();
                    let shown = Step::Send(Response::Board { board }, content.clone());
                    vec![answer(), shown, end()]
                }
                None => failed(ErrorCode::NotFound),
            },
            Request::SetBoard {
                name,
                expected,
                change,
                ..
            } => {
                let revision = boards.get(name).map_or(0, |(board, _)| board.revision);
                if revision != *expected {
                    return failed(ErrorCode::Conflict);
                }
                *index += 1;
                match change {
                    BoardChange::Write { title } => {
                        let info = BoardInfo {
                            name: name.clone(),
                            title: title.clone(),
                            revision: *index,
                        };
                        boards.insert(name.clone(), (info, body.clone()));
                    }
                    BoardChange::Remove => drop(boards.remove(name)),
                }
                let token = Token {
                    shard: 0,
                    index: *index,
                };
                vec![Response::Written { token }.into()]
            }
            _ => others(request, body),
        }
    }
}

async fn send(
    app: &Router,
    method: &str,
    uri: &str,
    condition: (&str, &str),
    body: &Json,
) -> Reply {
    let request = HttpRequest::builder()
        .method(method)
        .uri(uri)
        .header("content-type", "application/json")
        .header(condition.0, condition.1);
    call(app, request.body(Body::from(body.to_string())).unwrap()).await
}

const HALL: &str = "/api/v1/boards/hall-1";
const NEW: (&str, &str) = ("if-none-match", "*");

fn hall() -> Json {
    json!({"title": "Hall 1", "tiles": [
        {"match": "plant/*/temperature", "label": "Temperature", "low": 10.0, "high": 80.5},
        {"match": "plant/b/parts", "trend": "6h", "unit": "1"},
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_is_made_listed_replaced_and_removed() {
    let cluster = Cluster::new();
    let store = cluster.store(keeper());
    let app = app(&cluster, &store);
    get(&app, HALL).await.problem(404, "NOT_FOUND");
    let made = send(&app, "PUT", HALL, NEW, &hall()).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.text());
    assert_eq!(
        made.json(),
        json!({"name": "hall-1", "revision": 1301, "token": "0-1301"})
    );
    assert_eq!(made.header("etag"), Some("\"1301\""));
    assert_eq!(made.header("tidemark-token"), Some("0-1301"));

    let shown = get(&app, HALL).await;
    assert_eq!(shown.header("etag"), Some("\"1301\""));
    assert_eq!(shown.header("tidemark-replica"), Some("2"));
    let document = shown.json();
    assert_eq!(document["tiles"], hall()["tiles"]);
    assert_eq!(document["title"], "Hall 1");
    assert_eq!(document["revision"], 1301);
    assert_eq!(document["applied"], 1234);
    let listed = get(&app, "/api/v1/boards?consistency=any").await.json();
    let entry = json!({"name": "hall-1", "title": "Hall 1", "revision": 1301});
    assert_eq!(listed["boards"], json!([entry]));

    let empty = json!({"title": "Hall one"});
    let replaced = send(&app, "PUT", HALL, ("if-match", "\"1301\""), &empty).await;
    assert_eq!(replaced.status.as_u16(), 200, "{}", replaced.text());
    assert_eq!(get(&app, HALL).await.json()["tiles"], json!([]));
    let removed = send(&app, "DELETE", HALL, ("if-match", "\"1302\""), &json!(null)).await;
    assert_eq!(removed.json(), json!({"token": "0-1303"}));
    get(&app, HALL).await.problem(404, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_what_they_replace_changes_nothing() {
    let cluster = Cluster::new();
    let store = cluster.store(keeper());
    let app = app(&cluster, &store);
    send(&app, "PUT", HALL, NEW, &hall()).await;
    for condition in [NEW, ("if-match", "\"7\""), ("if-match", "*")] {
        let reply = send(&app, "PUT", HALL, condition, &json!({"title": "Mine"})).await;
        reply.problem(412, "CONFLICT");
    }
    let reply = send(&app, "DELETE", HALL, ("if-match", "\"1300\""), &json!(null)).await;
    reply.problem(412, "CONFLICT");
    for method in ["PUT", "DELETE"] {
        let reply = send(&app, method, HALL, ("x-none", ""), &hall()).await;
        reply.problem(428, "BAD_REQUEST");
    }
    assert_eq!(get(&app, HALL).await.json()["revision"], 1301);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_board_is_named_and_nothing_is_sent() {
    let cluster = Cluster::new();
    let store = cluster.store(keeper());
    let app = app(&cluster, &store);
    for (board, names) in [
        (json!({"title": ""}), "title"),
        (
            json!({"title": "t", "tiles": [{"match": "a"}, {"match": "b//c"}]}),
            "b//c",
        ),
        (
            json!({"title": "t", "tiles": [{"match": "a", "low": 3, "high": 2}]}),
            "tile 1",
        ),
        (
            json!({"title": "t", "tiles": [{"match": "a", "trend": "1s"}]}),
            "trend",
        ),
        (
            json!({"title": "t", "tiles": [{"match": "a", "colour": "red"}]}),
            "colour",
        ),
        (json!(["t", []]), "object"),
    ] {
        let reply = send(&app, "PUT", HALL, NEW, &board).await;
        let detail = reply.problem(400, "BAD_REQUEST");
        assert!(detail.contains(names), "{detail}");
    }
    for name in ["Hall", "a_b", "a%20b", &"x".repeat(65)] {
        let uri = format!("/api/v1/boards/{name}");
        get(&app, &uri).await.problem(400, "BAD_REQUEST");
    }
    let long = vec!["x".repeat(64); 15].join("/");
    let tile = json!({"match": long, "label": "x".repeat(128)});
    let board = json!({"title": "t", "tiles": vec![tile; 64]});
    let reply = send(&app, "PUT", HALL, NEW, &board).await;
    reply.problem(413, "TOO_LARGE");
    assert_eq!(
        store.count(|request| matches!(request, Request::SetBoard { .. })),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_of_another_version_is_said_to_be_one() {
    let cluster = Cluster::new();
    let others = keeper();
    let store = cluster.store(move |request, body| match request {
        Request::Board { name, .. } => {
            let board = BoardInfo {
                name: name.clone(),
                title: "Hall".to_owned(),
                revision: 7,
            };
            let shown = Step::Send(
                Response::Board { board },
                Bytes::from_static(b"{\"pages\":[]}"),
            );
            vec![answer(), shown, end()]
        }
        _ => others(request, body),
    });
    let detail = get(&app(&cluster, &store), HALL)
        .await
        .problem(500, "INTERNAL");
    assert!(detail.contains("this version"), "{detail}");
}
