//! Why a question or a write failed, in the words of the outward contract.

use std::time::Duration;

use store_wire::message::{ErrorCode, WireError};

/// A failed question or write: a code for programs, one line for people.
///
/// The code says what a caller can do ([`ErrorCode::is_retryable`], [`ErrorCode::had_no_effect`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What went wrong, for a program.
    pub code: ErrorCode,
    /// What went wrong and what to do, for a person, on one line.
    pub message: String,
    /// When to try again, where the store said so.
    pub retry_after: Option<Duration>,
}

/// A parameter of a question that breaks a rule. Found before anything is sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct UsageError {
    /// The parameter, as a URL names it: `match`, `from`, `to`, `every`, …
    pub name: String,
    /// What is wrong with it and what to write instead.
    pub reason: String,
}

impl Failure {
    /// A failure with a code and a message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    /// Whether another replica may answer where this one failed.
    pub(crate) fn may_succeed_elsewhere(&self) -> bool {
        matches!(
            self.code,
            ErrorCode::Overloaded
                | ErrorCode::NoLeader
                | ErrorCode::Stale
                | ErrorCode::Gone
                | ErrorCode::Timeout
                | ErrorCode::Draining
                | ErrorCode::Internal
                | ErrorCode::Unauthenticated
        )
    }
}

impl UsageError {
    /// A refused parameter.
    pub fn new(name: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self {
            name: name.into(),
            reason: reason.to_string(),
        }
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self {
            code: error.code,
            message: error.message,
            retry_after: error.retry_after_ms.map(Duration::from_millis),
        }
    }
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Self {
        Self::new(ErrorCode::BadRequest, error.to_string())
    }
}
