//! Errors as problem documents (RFC 9457) with a stable `code`.

use std::time::Duration;

use axum::extract::OriginalUri;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use store_wire::message::ErrorCode;

use crate::failure::{Failure, UsageError};
use crate::format::FormatError;

/// An error as HTTP answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<Duration>,
}

#[derive(Serialize)]
struct Document<'a> {
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
}

/// What a client of an overloaded store waits when the store does not say how long.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

impl Problem {
    /// A problem whose status follows from its code.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            status: status_of(code),
            code: code.as_str(),
            detail: detail.into(),
            retry_after: (code == ErrorCode::Overloaded).then_some(RETRY_AFTER_DEFAULT),
        }
    }

    /// A path that is no route.
    pub(crate) fn unknown_route(path: &str) -> Self {
        Self::new(
            ErrorCode::NotFound,
            format!(
                "there is nothing at {path}: the API is under /api/v1/ (range, last, series, readings, cluster)"
            ),
        )
    }

    /// A route that does not take this method.
    pub(crate) async fn method_not_allowed(method: Method, OriginalUri(uri): OriginalUri) -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: "METHOD_NOT_ALLOWED",
            detail: format!(
                "{} does not take {method}: see the Allow header",
                uri.path()
            ),
            retry_after: None,
        }
    }

    /// No replica answers: 503 whatever the reason, as a load balancer expects.
    pub(crate) fn not_ready(failure: &Failure) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: failure.code.as_str(),
            detail: failure.message.clone(),
            retry_after: None,
        }
    }

    /// A body that is not JSON by its own account.
    pub(crate) fn unsupported_media_type() -> Self {
        Self {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            code: ErrorCode::BadRequest.as_str(),
            detail: "the body must be JSON: send content-type: application/json".to_owned(),
            retry_after: None,
        }
    }

    /// A body that does not arrive in time.
    pub(crate) fn slow_body() -> Self {
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            code: ErrorCode::Timeout.as_str(),
            detail: "the body did not arrive in time; nothing was written".to_owned(),
            retry_after: None,
        }
    }

    /// An answer in none of the forms asked for.
    pub(crate) fn not_acceptable(accept: &str) -> Self {
        Self {
            status: StatusCode::NOT_ACCEPTABLE,
            code: ErrorCode::BadRequest.as_str(),
            detail: format!(
                "accept: {accept:?} names no form this answer has: use application/json, text/csv, application/x-ndjson or, for range and last, application/vnd.apache.arrow.stream"
            ),
            retry_after: None,
        }
    }
}

/// The status that says over HTTP what the code says.
const fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::KindMismatch | ErrorCode::Fenced => StatusCode::CONFLICT,
        ErrorCode::Overloaded | ErrorCode::NoLeader | ErrorCode::Stale | ErrorCode::Draining => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        // A gateway may repeat a request after 502 or 503, which an unknown write must not be.
        ErrorCode::Timeout | ErrorCode::Unknown => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
        };
        let body = serde_json::to_vec(&document).expect("four plain fields are always JSON");
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(retry_after) = self.retry_after {
            // Whole seconds, rounded up: the header knows nothing finer.
            let seconds = retry_after.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                headers.insert(header::RETRY_AFTER, value);
            }
        }
        response
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let mut problem = Self::new(failure.code, failure.message);
        problem.retry_after = failure.retry_after.or(problem.retry_after);
        problem
    }
}

impl From<UsageError> for Problem {
    fn from(error: UsageError) -> Self {
        Self::new(ErrorCode::BadRequest, error.to_string())
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        Self::new(ErrorCode::TooLarge, error.to_string())
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let detail = format!(
                "the body is longer than {} bytes: write it in several requests",
                super::BODY_BYTES_MAX
            );
            return Self::new(ErrorCode::TooLarge, detail);
        }
        Self::new(ErrorCode::BadRequest, rejection.body_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_status() {
        let expected = [
            (ErrorCode::BadRequest, 400),
            (ErrorCode::Unauthenticated, 401),
            (ErrorCode::Forbidden, 403),
            (ErrorCode::NotFound, 404),
            (ErrorCode::KindMismatch, 409),
            (ErrorCode::TooLarge, 413),
            (ErrorCode::Overloaded, 503),
            (ErrorCode::NoLeader, 503),
            (ErrorCode::Stale, 503),
            (ErrorCode::Timeout, 504),
            (ErrorCode::Unknown, 504),
            (ErrorCode::NoSpace, 507),
        ];
        for (code, status) in expected {
            let response = Problem::new(code, "x").into_response();
            assert_eq!(response.status().as_u16(), status, "{code}");
        }
    }

    #[test]
    fn an_overloaded_store_says_when_to_come_again_in_whole_seconds() {
        let failure = Failure {
            code: ErrorCode::Overloaded,
            message: "busy".to_owned(),
            retry_after: Some(Duration::from_millis(1_200)),
        };
        let response = Problem::from(failure).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }
}
