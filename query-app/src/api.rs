//! The HTTP API: the same questions as the command line, the same answers, and health.
//!
//! [`router`] is the library's surface: the dashboard mounts it beside its own pages, and
//! [`crate::serve`] serves it alone. Ranges are streamed in memory bounded by a part of the answer;
//! what fails before the first part is a problem document (RFC 9457), what fails later breaks the
//! body off, so that a cut answer is never taken for a whole one.

mod cluster;
mod health;
mod last;
mod parameters;
pub mod problem;
mod range;
mod readings;
mod series;
mod tail;
mod telemetry;

use axum::Router;
use axum::extract::{DefaultBodyLimit, OriginalUri};
use axum::http::HeaderName;
use axum::middleware;
use axum::routing::get;
use tower_http::compression::CompressionLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

use crate::api::problem::Problem;
use crate::client::Client;
use crate::question::Terms;

/// Longest body of a request. A batch of 65,536 readings, the most that is written at once, has
/// about 6 MiB as JSON.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What every route needs.
#[derive(Clone)]
pub(crate) struct ApiState {
    pub(crate) client: Client,
    /// What a request gets that does not say otherwise.
    pub(crate) terms: Terms,
}

/// The routes `/api/v1/*`, `/healthz`, `/readyz` and `/metrics`, answered through `client`.
///
/// It has no fallback of its own outside `/api/v1`, so it can be merged into another router.
pub fn router(client: Client) -> Router {
    router_with(client, Terms::default())
}

/// [`router`], with other terms for requests that do not name theirs.
pub fn router_with(client: Client, terms: Terms) -> Router {
    telemetry::install();
    let api = Router::new()
        .route("/range", get(range::range))
        .route("/last", get(last::last))
        .route("/series", get(series::series))
        .route("/tail", get(tail::tail))
        .route(
            "/readings",
            axum::routing::post(readings::write).delete(readings::delete),
        )
        .route("/cluster", get(cluster::cluster))
        .method_not_allowed_fallback(Problem::method_not_allowed)
        .fallback(unknown_route)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    Router::new()
        .nest("/api/v1", api)
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(telemetry::metrics))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(telemetry::measure))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .with_state(ApiState { client, terms })
}

/// Answers for a path that is no route.
pub(crate) async fn unknown_route(OriginalUri(uri): OriginalUri) -> Problem {
    Problem::unknown_route(uri.path())
}
