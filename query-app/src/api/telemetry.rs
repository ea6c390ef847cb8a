//! What the service measures of itself, as Prometheus text.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::Instant;
use tower_http::metrics::InFlightRequestsLayer;
use tower_http::metrics::in_flight_requests::InFlightRequestsCounter;
use tracing::warn;

use crate::api::access::Access;
use crate::api::operation::{Answer, Operation, faults};
use crate::api::problem::Problem;

const REQUESTS: &str = "tidemark_query_http_requests_total";
const SECONDS: &str = "tidemark_query_http_response_seconds";
const IN_FLIGHT: &str = "tidemark_query_http_in_flight";

pub(super) const METRICS: Operation = Operation {
    method: "get",
    path: "/metrics",
    id: "metrics",
    summary: "What the service counts and measures, as Prometheus text",
    access: Access::Admin,
    parameters: &[],
    body: None,
    answer: Answer::Text,
    faults: faults::HEALTH,
};

/// From a cached value to the longest a question may take by default.
const SECONDS_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];

/// One recorder a process, however many routers there are.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
/// How many times were observed. Without a listener of its own the exporter takes them into its histograms
/// only when told to, so it is, each time so many wait.
static OBSERVED: AtomicU64 = AtomicU64::new(0);
const OBSERVED_MAX: u64 = 1024;
/// Requests whose answers are not yet sent to their end, of all routers.
static UNDER_WAY: OnceLock<InFlightRequestsCounter> = OnceLock::new();

/// Installs the recorder, unless the program already has one of its own, which then counts.
pub(super) fn install() {
    RECORDER.get_or_init(|| {
        let built = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(SECONDS.to_owned()), &SECONDS_BUCKETS)
            .and_then(PrometheusBuilder::install_recorder);
        match built {
            Ok(handle) => {
                describe_counter!(REQUESTS, "Requests answered, by route, method and status.");
                describe_gauge!(
                    IN_FLIGHT,
                    "Requests whose answers are not yet sent to their end."
                );
                describe_histogram!(SECONDS, "Seconds until an answer began, by route.");
                Some(handle)
            }
            Err(error) => {
                warn!(%error, "metrics are recorded elsewhere in this process");
                None
            }
        }
    });
}

/// Counts requests until their answers are sent to the end.
pub(super) fn in_flight() -> InFlightRequestsLayer {
    InFlightRequestsLayer::new(UNDER_WAY.get_or_init(InFlightRequestsCounter::new).clone())
}

/// Counts a request and how long its answer took to begin.
pub(super) async fn measure(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = method_label(request.method());
    // The route, not the path: paths are without number.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    counter!(REQUESTS, "route" => route.clone(), "method" => method, "status" => status)
        .increment(1);
    histogram!(SECONDS, "route" => route).record(began.elapsed().as_secs_f64());
    if OBSERVED
        .fetch_add(1, Ordering::Relaxed)
        .is_multiple_of(OBSERVED_MAX)
        && let Some(Some(handle)) = RECORDER.get()
    {
        handle.run_upkeep();
    }
    response
}

/// A method as labels have it: whatever a client makes up is one.
fn method_label(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let label = known.into_iter().find(|known| *known == method.as_str());
    label.unwrap_or("other")
}

/// `GET /metrics`.
pub(super) async fn metrics() -> Response {
    match RECORDER.get() {
        Some(Some(handle)) => {
            handle.run_upkeep();
            let under_way = UNDER_WAY.get().map_or(0, InFlightRequestsCounter::get);
            #[expect(clippy::cast_precision_loss, reason = "there are not 2^52 of them")]
            gauge!(IN_FLIGHT).set(under_way as f64);
            let content = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
            (content, handle.render()).into_response()
        }
        _ => Problem::of_status(StatusCode::NOT_FOUND).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_that_clients_make_up_are_one_label() {
        assert_eq!(method_label(&Method::DELETE), "DELETE");
        let made_up = Method::from_bytes(b"BREW").expect("a token is a method");
        assert_eq!(method_label(&made_up), "other");
    }
}
