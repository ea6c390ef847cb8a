//! The page of the cluster, before any script runs.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get as route_get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::{get, open_dashboard};

/// An API whose answers a test changes.
#[derive(Clone, Default)]
struct Stage {
    nodes: Arc<Mutex<Value>>,
}

impl Stage {
    fn show(&self, nodes: Value) {
        *self.nodes.lock().unwrap() = json!({ "nodes": nodes });
    }

    fn dashboard(&self) -> Router {
        let api = Router::new()
            .route("/api/v1/cluster", route_get(cluster))
            .route("/api/v1/last", route_get(last))
            .route("/api/v1/range", route_get(range))
            .with_state(self.clone());
        open_dashboard(api)
    }
}

async fn cluster(State(stage): State<Stage>) -> Json<Value> {
    Json(stage.nodes.lock().unwrap().clone())
}

async fn last() -> Json<Value> {
    let reading = |what: &str, value: u64| {
        json!({
            "path": format!("_tidemark/agents/press/plant/{what}"), "kind": "i64", "unit": "",
            "timestamp": "2026-11-18T12:26:30Z", "value": value,
        })
    };
    Json(json!({
        "readings": [reading("dropped", 12), reading("waiting", 345), reading("spool_bytes", 2048)],
        "replica": 2, "applied": 41, "age_ms": 7,
    }))
}

async fn range() -> Json<Value> {
    Json(json!({
        "series": [{
            "path": "_tidemark/agents/press/plant/spooled", "kind": "i64",
            "timestamps": [1_000, 11_000], "values": [100, 2_100],
        }],
        "replica": 2, "applied": 41, "age_ms": 7, "truncated": false,
    }))
}

fn node(id: u64, role: &str) -> Value {
    json!({
        "id": id, "role": role, "term": 7, "load": "ACTIVE", "commit_index": 5_000,
        "applied_index": 4_990, "series": 40, "readings": 123_456, "reads": 9,
        "disk_bytes": 3_221_225_472u64, "disk_free_bytes": 1_073_741_824u64, "age_ms": 5,
        "certificate_expires": "2026-11-28T12:00:00Z", "version": "0.1.0", "uptime_ms": 60_000,
        "members": [{ "id": id, "address": format!("store-{id}:7400") }],
        "peers": [{ "id": 2, "lag_bytes": 2_048 }],
    })
}

fn silent(id: u64) -> Value {
    json!({ "id": id, "address": "store-3:7400", "voter": true, "error": "no answer in time" })
}

async fn page(router: &Router, address: &str) -> String {
    let (status, headers, html) = get(router.clone(), address, "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["cache-control"], "no-store");
    html
}

#[tokio::test]
async fn nodes_and_agents_are_readable_before_any_script_runs() {
    let stage = Stage::default();
    stage.show(json!([node(1, "leader"), node(2, "follower"), silent(3)]));
    let html = page(&stage.dashboard(), "/cluster").await;
    for part in [
        "Node 3 has not answered since",
        "node 1 leads",
        "store-1:7400",
        "unreachable",
        "no answer in time",
        "10 · 2 KiB",
        "3 GiB used",
        "1 GiB free",
        "in 10 d",
        "7 ms behind",
        "press/plant",
        "345",
        "200",
        "123\u{202f}456",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    assert!(
        !html.contains("http://") && !html.contains("style="),
        "{html}"
    );
}

#[tokio::test]
async fn the_part_that_is_asked_for_again_is_that_of_the_page() {
    let stage = Stage::default();
    stage.show(json!([node(1, "leader"), node(2, "follower")]));
    let router = stage.dashboard();
    let whole = page(&router, "/cluster").await;
    let part = page(&router, "/cluster?fragment=1").await;
    assert!(whole.contains(&part), "{part}\nis no part of\n{whole}");
    assert!(part.contains("All 2 nodes answer; node 1 leads."), "{part}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_is_seen_at_the_next_look_and_the_new_leader_with_it() {
    let stage = Stage::default();
    stage.show(json!([node(1, "leader"), node(2, "follower")]));
    let router = stage.dashboard();
    page(&router, "/cluster?fragment=1").await;
    stage.show(json!([silent(1), node(2, "leader")]));
    tokio::time::advance(std::time::Duration::from_millis(250)).await;
    let part = page(&router, "/cluster?fragment=1").await;
    assert!(part.contains("Node 1 has not answered since"), "{part}");
    assert!(part.contains("node 2 leads"), "{part}");
}

#[tokio::test]
async fn a_store_that_is_gone_is_told_on_a_whole_page() {
    let html = page(&open_dashboard(Router::new()), "/cluster").await;
    assert!(html.contains("No node answers."), "{html}");
    assert!(html.contains("Agents are not known"), "{html}");
}
