//! The end of each request: problems get the request's id, whatever made them, and are logged with it.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{debug, warn};

use crate::api::problem::Problem;

/// Names a request: taken from whoever asks, or made.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Forgets an id that is too long for logs, or has more than letters, digits and `-_.:/+=`.
pub(super) async fn drop_bad_request_id(mut request: Request, next: Next) -> Response {
    let is_good = |id: &HeaderValue| {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(is_plain)
    };
    let headers = request.headers_mut();
    if headers.get(REQUEST_ID).is_some_and(|id| !is_good(id)) {
        headers.remove(REQUEST_ID);
    }
    next.run(request).await
}

/// Makes a problem document of every answer that is an error, with the request's id.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).cloned();
    let id = id
        .as_ref()
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        // What a layer answered by itself, such as a body in an encoding that it does not know.
        None => {
            let problem = Problem::of_status(status);
            let mut plain = problem.clone().into_response();
            for (name, value) in response.headers() {
                if ![header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name) {
                    plain.headers_mut().insert(name, value.clone());
                }
            }
            plain.extensions_mut().remove::<Problem>();
            response = plain;
            problem
        }
    };
    let (code, detail) = (problem.code(), problem.detail());
    if status.is_server_error() {
        warn!(request_id = id, %method, %path, %status, code, detail, "request failed");
    } else {
        debug!(request_id = id, %method, %path, %status, code, detail, "request refused");
    }
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(problem.document(Some(id)));
    response
}
