//! What operators' tools see: health, readiness, metrics, status.
//!
//! Plain HTTP without authentication, on loopback unless told otherwise; nothing here changes
//! anything, and no reading leaves through it.

use std::sync::{Arc, OnceLock};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use store_wire::message::{Load, NodeStatus, Role};

use crate::raft::Replica;

/// What the routes answer from. Clones are the same.
#[derive(Clone)]
pub struct Page {
    shared: Arc<Shared>,
}

struct Shared {
    id: u64,
    replica: OnceLock<Replica>,
    metrics: Option<PrometheusHandle>,
}

impl Page {
    /// The page of a node that has just started. Without a handle `/metrics` has nothing to show.
    pub fn new(id: u64, metrics: Option<PrometheusHandle>) -> Self {
        Self {
            shared: Arc::new(Shared {
                id,
                replica: OnceLock::new(),
                metrics,
            }),
        }
    }

    /// From now on the page shows this replica.
    pub fn show(&self, replica: Replica) {
        // Set once, when consensus starts; a second replica in one node would be a bug elsewhere.
        drop(self.shared.replica.set(replica));
    }

    /// The routes.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(render_metrics))
            .route("/status", get(status))
            .with_state(self.clone())
    }
}

/// 200 while the process lives.
async fn healthz() -> &'static str {
    "ok\n"
}

/// 200 only while the node can serve reads. A replica that has lost the others still serves `any`
/// reads, and says how old they are, so losing the leader alone does not make it unready; not being a
/// member does.
async fn readyz(State(page): State<Page>) -> Response {
    let Some(replica) = page.shared.replica.get() else {
        return not_yet("the node is starting");
    };
    if replica.load() == Load::Draining {
        return not_yet("the node is draining");
    }
    if let Some(fence) = replica.fence() {
        return not_yet(&fence.to_string());
    }
    "ready\n".into_response()
}

async fn status(State(page): State<Page>) -> Response {
    match page.shared.replica.get() {
        Some(replica) => Json(replica.status()).into_response(),
        None => {
            let starting = json!({ "id": page.shared.id, "error": "the node is starting" });
            (StatusCode::SERVICE_UNAVAILABLE, Json(starting)).into_response()
        }
    }
}

async fn render_metrics(State(page): State<Page>) -> Response {
    let Some(metrics) = &page.shared.metrics else {
        return (
            StatusCode::NOT_FOUND,
            "metrics are not recorded in this process\n",
        )
            .into_response();
    };
    if let Some(replica) = page.shared.replica.get() {
        set_gauges(&replica.status());
        set_load(replica);
    }
    metrics.run_upkeep();
    metrics.render().into_response()
}

fn not_yet(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}

/// What is under way and what waits, and whether that is too much.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn set_load(replica: &Replica) {
    let set = |name: &'static str, value: u64| metrics::gauge!(name).set(value as f64);
    let (under_way, waiting) = replica.proposal_bytes();
    set("tidemark_in_flight_bytes", under_way);
    set("tidemark_waiting_bytes", waiting);
    set("tidemark_reads", replica.reads().held());
    set("tidemark_reads_waiting", replica.reads().waiting());
    set(
        "tidemark_overloaded",
        (replica.load() == Load::Overloaded).into(),
    );
}

/// Gauges are set when somebody looks.
#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; 53 bits show any count this store can hold"
)]
fn set_gauges(status: &NodeStatus) {
    let set = |name: &'static str, value: u64| metrics::gauge!(name).set(value as f64);
    set("tidemark_commit_index", status.commit_index);
    set("tidemark_applied_index", status.applied_index);
    set("tidemark_term", status.term);
    set("tidemark_is_leader", (status.role == Role::Leader).into());
    set("tidemark_series", status.series);
    set("tidemark_readings", status.readings);
    set("tidemark_disk_bytes", status.disk_bytes);
    set("tidemark_disk_free_bytes", status.disk_free_bytes);
    set("tidemark_disk_full", status.disk_full.into());
    set("tidemark_log_held_bytes", status.log_bytes);
    set("tidemark_log_first_index", status.log_first.unwrap_or(0));
    set("tidemark_log_last_index", status.log_last.unwrap_or(0));
    set("tidemark_snapshot_index", status.last_snapshot.unwrap_or(0));
    set("tidemark_segments", status.segments);
    set("tidemark_segment_bytes", status.segment_bytes);
    set("tidemark_unsealed_bytes", status.unsealed_bytes);
    set("tidemark_jobs_waiting", status.jobs_waiting);
    let ailing = status.damaged_segments.len() as u64;
    set("tidemark_segments_unrepaired", ailing);
    set("tidemark_uptime_ms", status.uptime_ms);
    if let Some(age) = status.age_ms {
        set("tidemark_age_ms", age);
    }
    for peer in &status.peers {
        let id = peer.id.to_string();
        metrics::gauge!("tidemark_peer_reachable", "peer" => id.clone())
            .set(f64::from(u8::from(peer.reachable)));
        metrics::gauge!("tidemark_peer_differs", "peer" => id.clone())
            .set(f64::from(u8::from(peer.difference.is_some())));
        if let Some(lag) = peer.lag_entries {
            metrics::gauge!("tidemark_peer_lag_entries", "peer" => id.clone()).set(lag as f64);
        }
        if let Some(lag) = peer.lag_bytes {
            metrics::gauge!("tidemark_peer_lag_bytes", "peer" => id).set(lag as f64);
        }
    }
}
