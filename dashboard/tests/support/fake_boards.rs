//! Boards as the HTTP API keeps them, in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value as Document, json};

use super::problem;

/// The last index, and the boards by name.
type Kept = Arc<Mutex<(u64, BTreeMap<String, Document>)>>;

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/api/v1/boards", get(list))
        .route("/api/v1/boards/{name}", get(show).put(write).delete(remove))
        .with_state(Kept::default())
}

async fn list(State(kept): State<Kept>) -> Response {
    let kept = kept.lock().expect("nobody panics with it");
    let boards: Vec<&Document> = kept.1.values().collect();
    fresh(json!({ "boards": boards }), kept.0)
}

async fn show(State(kept): State<Kept>, Path(name): Path<String>, uri: Uri) -> Response {
    let kept = kept.lock().expect("nobody panics with it");
    let asked = uri
        .query()
        .and_then(|query| query.split_once("at-least%3D0-"));
    let asked = asked.map(|(_, rest)| rest.split('&').next().unwrap_or(rest));
    if asked.is_some_and(|index| index.parse::<u64>().is_ok_and(|index| index > kept.0)) {
        let detail = "no replica is as far as that";
        return problem(StatusCode::SERVICE_UNAVAILABLE, "STALE", detail);
    }
    match kept.1.get(&name) {
        Some(board) => fresh(board.clone(), kept.0),
        None => absent(&name),
    }
}

async fn write(
    State(kept): State<Kept>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(mut board): Json<Document>,
) -> Response {
    let mut kept = kept.lock().expect("nobody panics with it");
    if let Err(refusal) = expected(&kept.1, &name, &headers) {
        return refusal;
    }
    kept.0 += 1;
    let index = kept.0;
    board["name"] = json!(name);
    board["revision"] = json!(index);
    kept.1.insert(name, board);
    fresh(json!({ "revision": index }), index)
}

async fn remove(
    State(kept): State<Kept>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let mut kept = kept.lock().expect("nobody panics with it");
    if let Err(refusal) = expected(&kept.1, &name, &headers) {
        return refusal;
    }
    kept.0 += 1;
    kept.1.remove(&name);
    fresh(json!({}), kept.0)
}

fn expected(
    boards: &BTreeMap<String, Document>,
    name: &str,
    headers: &HeaderMap,
) -> Result<(), Response> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_so = match boards.get(name) {
        None => text(header::IF_NONE_MATCH) == Some("*"),
        Some(board) => text(header::IF_MATCH) == Some(&format!("\"{}\"", board["revision"])),
    };
    let detail = "somebody changed it meanwhile";
    is_so
        .then_some(())
        .ok_or_else(|| problem(StatusCode::PRECONDITION_FAILED, "CONFLICT", detail))
}

fn absent(name: &str) -> Response {
    let detail = format!("board {name} does not exist");
    problem(StatusCode::NOT_FOUND, "NOT_FOUND", &detail)
}

fn fresh(mut document: Document, index: u64) -> Response {
    document["token"] = json!(format!("0-{index}"));
    Json(document).into_response()
}
