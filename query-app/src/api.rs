//! The HTTP API: the same questions as the command line, the same answers, and health.
//!
//! [`router`] is the library's surface: the dashboard mounts it beside its own pages, and
//! [`crate::serve`] serves it alone. Ranges are streamed in memory bounded by a part of the answer;
//! what fails before the first part is a problem document (RFC 9457), what fails later breaks the
//! body off, so that a cut answer is never taken for a whole one.
//!
//! Each route stands in [`routes`] beside its [`Operation`], which says who may use it, what its
//! parameters are and what it answers: requests are checked against that, and the OpenAPI document is
//! made of it ([`openapi`]). Who asks is settled by [`access`] before a route runs, and what is said of
//! each request in the end by [`finish`].

mod access;
mod boards;
mod cluster;
mod finish;
mod guard;
mod health;
mod last;
mod openapi;
mod operation;
mod parameters;
pub mod problem;
mod range;
mod readings;
mod series;
mod tail;
mod telemetry;

pub use access::{Caller, Tenure};

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, OriginalUri, Request};
use axum::http::header;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

use crate::api::access::{Access, Door};
use crate::api::guard::Guard;
use crate::api::operation::Operation;
use crate::api::problem::Problem;
use crate::client::Client;
use crate::question::Terms;

/// Longest body of a request, unpacked. A batch of 65,536 readings, the most that is written at once, has
/// about 6 MiB as JSON.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where the API is.
const ROOT: &str = "/api/v1";

/// What every route needs.
#[derive(Clone)]
pub(crate) struct ApiState {
    client: Client,
    /// What a request gets that does not say otherwise.
    pub(crate) terms: Terms,
    /// Whom it lets in.
    door: Door,
}

/// Who is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Whoever reaches the service.
    Anybody,
    /// Holders of a [token](crate::tokens), as far as it allows. The client must be an operator's.
    TokenHolders,
    /// Those of whom a layer before the routes says what they may do: it puts a [`Caller`] into the
    /// extensions of their requests. Nobody else.
    Callers,
}

/// The routes `/api/v1/*`, `/healthz`, `/readyz` and `/metrics`, answered through `client`.
///
/// It has no fallback of its own outside `/api/v1`, so it can be merged into another router.
pub fn router(client: Client, admission: Admission) -> Router {
    let state = state(client, Terms::default(), admission);
    dressed(routed(&state)).with_state(state)
}

/// The API as a whole service, on `terms` for requests that do not name theirs: every other path is
/// answered with a problem document.
pub fn service(client: Client, terms: Terms, admission: Admission) -> Router {
    let state = state(client, terms, admission);
    dressed(routed(&state).fallback(unknown_route)).with_state(state)
}

fn state(client: Client, terms: Terms, admission: Admission) -> ApiState {
    let door = match admission {
        Admission::Anybody => Door::Open,
        Admission::TokenHolders => Door::Tokens(Arc::new(Guard::new(client.clone()))),
        Admission::Callers => Door::Callers,
    };
    ApiState {
        client,
        terms,
        door,
    }
}

fn routed(state: &ApiState) -> Router<ApiState> {
    let (mut api, mut service) = (Router::new(), Router::new());
    for (operation, route) in routes() {
        let route = match operation.access {
            Access::Open => route,
            asked => route.route_layer(from_fn_with_state((state.clone(), asked), access::admit)),
        };
        match operation.route().strip_prefix(ROOT) {
            Some(path) => api = api.route(path, route),
            None => service = service.route(operation.path, route),
        }
    }
    let api = api
        .method_not_allowed_fallback(Problem::method_not_allowed)
        .fallback(unknown_route)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(RequestDecompressionLayer::new());
    service
        .method_not_allowed_fallback(Problem::method_not_allowed)
        .nest(ROOT, api)
}

/// What is done with every request and every answer.
fn dressed(routes: Router<ApiState>) -> Router<ApiState> {
    telemetry::install();
    routes
        .layer(from_fn(finish::finish))
        .layer(CompressionLayer::new())
        .layer(from_fn(telemetry::measure))
        .layer(telemetry::in_flight())
        .layer(PropagateRequestIdLayer::new(finish::REQUEST_ID))
        .layer(SetRequestIdLayer::new(finish::REQUEST_ID, MakeRequestUuid))
        .layer(from_fn(finish::drop_bad_request_id))
}

/// Every route, beside what is said of it.
fn routes() -> Vec<(&'static Operation, MethodRouter<ApiState>)> {
    vec![
        (&range::RANGE, get(range::range)),
        (&last::LAST, get(last::last)),
        (&readings::WRITE, post(readings::write)),
        (&readings::DELETE, delete(readings::delete)),
        (&tail::TAIL, get(tail::tail)),
        (&series::LIST, get(series::list)),
        (&series::CREATE, post(series::create)),
        (&series::CHANGE, patch(series::change)),
        (&boards::LIST, get(boards::list)),
        (&boards::SHOW, get(boards::show)),
        (&boards::WRITE, put(boards::write)),
        (&boards::REMOVE, delete(boards::remove)),
        (&cluster::CLUSTER, get(cluster::cluster)),
        (&openapi::DOCUMENT, get(openapi::document)),
        (&openapi::PAGE, get(openapi::page)),
        (&health::HEALTHZ, get(health::healthz)),
        (&health::READYZ, get(health::readyz)),
        (&telemetry::METRICS, get(telemetry::metrics)),
    ]
}

/// Answers for a path that is no route.
pub(crate) async fn unknown_route(OriginalUri(uri): OriginalUri) -> Problem {
    Problem::unknown_route(uri.path())
}

/// The body of a request that must be of one of the media types `wanted`.
///
/// Only the body is waited for here: once a write has begun, giving it up would leave its outcome unknown.
async fn body(state: &ApiState, request: Request, wanted: &[&str]) -> Result<Bytes, Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let media = content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    if !wanted.iter().any(|known| media.eq_ignore_ascii_case(known)) {
        return Err(Problem::unsupported_media_type());
    }
    let body = tokio::time::timeout(state.terms.timeout, Bytes::from_request(request, state));
    Ok(body.await.map_err(|_| Problem::slow_body())??)
}
