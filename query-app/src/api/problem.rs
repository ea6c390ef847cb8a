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
    /// What the header `www-authenticate` says.
    challenge: Option<&'static str>,
}

#[derive(Serialize)]
struct Document<'a> {
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";

/// What a client of an overloaded store waits when the store does not say how long.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

impl Problem {
    /// A problem whose status follows from its code.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            retry_after: (code == ErrorCode::Overloaded).then_some(RETRY_AFTER_DEFAULT),
            ..Self::with_status(status_of(code), code.as_str(), detail)
        }
    }

    fn with_status(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            retry_after: None,
            challenge: None,
        }
    }

    /// What a layer below the routes answered with nothing but `status`.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::with_status(
                status,
                ErrorCode::BadRequest.as_str(),
                "the body is in an encoding that is not known: send it with content-encoding: gzip, or plain",
            ),
            StatusCode::NOT_FOUND => Self::new(ErrorCode::NotFound, "there is nothing here"),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::with_status(status, METHOD_NOT_ALLOWED, "see the Allow header")
            }
            status if status.is_client_error() => {
                let detail = status
                    .canonical_reason()
                    .unwrap_or("the request breaks a rule");
                Self::with_status(status, ErrorCode::BadRequest.as_str(), detail)
            }
            status => Self::with_status(
                status,
                ErrorCode::Internal.as_str(),
                "a fault of the service",
            ),
        }
    }

    /// A request without a token that lets it in.
    pub(crate) fn unauthenticated(detail: &str) -> Self {
        Self {
            challenge: Some("Bearer realm=\"tidemark\""),
            ..Self::new(ErrorCode::Unauthenticated, detail)
        }
    }

    /// The stable code.
    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }

    /// What went wrong and what to do.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The document, of the request `request_id` if that is known.
    pub(crate) fn document(&self, request_id: Option<&str>) -> Vec<u8> {
        let document = Document {
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            request_id,
        };
        serde_json::to_vec(&document).expect("plain fields are always JSON")
    }

    /// A path that is no route.
    pub(crate) fn unknown_route(path: &str) -> Self {
        Self::new(
            ErrorCode::NotFound,
            format!(
                "there is nothing at {path}: the API is under /api/v1/, and /api/v1/docs shows it"
            ),
        )
    }

    /// A route that does not take this method.
    pub(crate) async fn method_not_allowed(method: Method, OriginalUri(uri): OriginalUri) -> Self {
        let detail = format!(
            "{} does not take {method}: see the Allow header",
            uri.path()
        );
        Self::with_status(StatusCode::METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED, detail)
    }

    /// No replica answers: 503 whatever the reason, as a load balancer expects.
    pub(crate) fn not_ready(failure: &Failure) -> Self {
        let code = failure.code.as_str();
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self {
            retry_after: Some(failure.retry_after.unwrap_or(RETRY_AFTER_DEFAULT)),
            ..Self::with_status(status, code, failure.message.as_str())
        }
    }

    /// A body that is not JSON by its own account.
    pub(crate) fn unsupported_media_type() -> Self {
        let detail = "the body must be JSON: send content-type: application/json";
        let code = ErrorCode::BadRequest.as_str();
        Self::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, code, detail)
    }

    /// A change that does not say what it replaces.
    pub(crate) fn precondition_required() -> Self {
        let detail = "say which revision is replaced, so that nobody's work is lost: send if-match with the \
                      etag of the board that was read, or if-none-match: * for a new one";
        let code = ErrorCode::BadRequest.as_str();
        Self::with_status(StatusCode::PRECONDITION_REQUIRED, code, detail)
    }

    /// A body that does not arrive in time.
    pub(crate) fn slow_body() -> Self {
        let detail = "the body did not arrive in time; nothing was written";
        let code = ErrorCode::Timeout.as_str();
        Self::with_status(StatusCode::REQUEST_TIMEOUT, code, detail)
    }

    /// An answer in none of the forms asked for.
    pub(crate) fn not_acceptable(accept: &str) -> Self {
        let detail = format!(
            "accept: {accept:?} names no form this answer has: use application/json, text/csv, application/x-ndjson or, for range and last, application/vnd.apache.arrow.stream"
        );
        let code = ErrorCode::BadRequest.as_str();
        Self::with_status(StatusCode::NOT_ACCEPTABLE, code, detail)
    }
}

/// The status that says over HTTP what the code says.
const fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::Gone => StatusCode::GONE,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::KindMismatch | ErrorCode::Fenced => StatusCode::CONFLICT,
        // Only what names a revision can find another.
        ErrorCode::Conflict => StatusCode::PRECONDITION_FAILED,
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
        let mut response = (self.status, self.document(None)).into_response();
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
        if let Some(challenge) = self.challenge {
            let value = HeaderValue::from_static(challenge);
            headers.insert(header::WWW_AUTHENTICATE, value);
        }
        // `finish` adds what is not known here.
        response.extensions_mut().insert(self);
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
            (ErrorCode::Gone, 410),
            (ErrorCode::Conflict, 412),
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
