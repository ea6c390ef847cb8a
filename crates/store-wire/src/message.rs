//! The messages of the ingest and query conversations: the CBOR heads of frames.
//!
//! A message is only what both sides must agree on; columns and batches travel beside it as the
//! frame's body, raw. The conversations themselves are told in `docs/protocol.md`. Messages between
//! store nodes belong to `store-node`, which alone knows the consensus library.

mod board;
mod cluster;
mod ingest;
mod query;
mod range;
mod status;
mod upkeep;

pub use board::{BoardChange, BoardInfo};
pub use cluster::ClusterChange;
pub use ingest::{BatchId, ToProducer, ToStore};
pub use query::{Bounds, Freshness, Request, Response, SeriesInfo};
pub use range::{
    AGGREGATES_MAX, GROUP_KEYS_MAX, Order, PATTERNS_MAX, RangeQuestion, RangeQuestionError, Resume,
    RowsAsked,
};
pub use status::{
    DamagedSegment, Difference, Load, Member, NodeStatus, PeerStatus, ProducerStatus, Role,
};
pub use upkeep::{Intent, Overdue, RetentionRequest, RetentionRule};

use serde::{Deserialize, Serialize};

/// Why a request or a stream failed, in the words of the outward contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The request breaks a rule; repeating it unchanged cannot succeed.
    BadRequest,
    /// The series asked for by name does not exist.
    NotFound,
    /// The peer's identity is not accepted.
    Unauthenticated,
    /// The identity may not do this.
    Forbidden,
    /// A bound on bytes, readings or rows is exceeded.
    TooLarge,
    /// Nothing was done; try again after the hint, or elsewhere.
    Overloaded,
    /// This node is not the leader, or none is known. The leader is named where it is known.
    NoLeader,
    /// This replica is not as fresh as was asked.
    Stale,
    /// This node no longer knows what was committed after the position asked for. Another may.
    Gone,
    /// The time allowed ran out before anything was changed.
    Timeout,
    /// The disk is full: writes are refused while reads go on.
    NoSpace,
    /// The series exists with another kind.
    KindMismatch,
    /// The board has another revision than was expected: somebody changed it meanwhile.
    Conflict,
    /// A newer epoch of this producer exists.
    Fenced,
    /// The node is shutting down; go to another.
    Draining,
    /// A write was sent on but its outcome is not known: it may be committed.
    Unknown,
    /// A fault of the node itself.
    Internal,
}

impl ErrorCode {
    /// The code as it is spelled in problem documents and logs, such as `NO_LEADER`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "BAD_REQUEST",
            Self::NotFound => "NOT_FOUND",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::TooLarge => "TOO_LARGE",
            Self::Overloaded => "OVERLOADED",
            Self::NoLeader => "NO_LEADER",
            Self::Stale => "STALE",
            Self::Gone => "GONE",
            Self::Timeout => "TIMEOUT",
            Self::NoSpace => "NO_SPACE",
            Self::KindMismatch => "KIND_MISMATCH",
            Self::Conflict => "CONFLICT",
            Self::Fenced => "FENCED",
            Self::Draining => "DRAINING",
            Self::Unknown => "UNKNOWN",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether the same request may succeed later or on another node.
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Overloaded
                | Self::NoLeader
                | Self::Stale
                | Self::Timeout
                | Self::NoSpace
                | Self::Draining
                | Self::Unknown
        )
    }

    /// Whether it is certain that nothing was changed.
    pub const fn had_no_effect(self) -> bool {
        !matches!(self, Self::Unknown | Self::Internal)
    }
}

/// The code of the reset that ends the stream of a subscriber who did not read for too long.
pub const RESET_SLOW: u32 = 1;

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error as it crosses the wire: one line for a person, a code for a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct WireError {
    /// What went wrong, for a program.
    pub code: ErrorCode,
    /// What went wrong and what to do, for a person.
    pub message: String,
    /// The leader, where the code is [`ErrorCode::NoLeader`] and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<Member>,
    /// When to try again, in ms, where the code is [`ErrorCode::Overloaded`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The sequence of the batch at fault, where one is that can never be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
}

impl WireError {
    /// An error with a code and a message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            leader: None,
            retry_after_ms: None,
            batch: None,
        }
    }

    /// "Not the leader", naming the leader where it is known.
    pub fn not_leader(leader: Option<Member>) -> Self {
        let message = match &leader {
            Some(leader) => format!("node {} at {} is the leader", leader.id, leader.address),
            None => "no leader is known at the moment: try again shortly".to_owned(),
        };
        Self {
            code: ErrorCode::NoLeader,
            message,
            leader,
            retry_after_ms: None,
            batch: None,
        }
    }

    /// The same error, naming the batch that can never be taken.
    #[must_use]
    pub const fn of_batch(mut self, sequence: u64) -> Self {
        self.batch = Some(sequence);
        self
    }

    /// "Overloaded", with the time to wait in ms.
    pub fn overloaded(message: impl Into<String>, retry_after_ms: u64) -> Self {
        Self {
            code: ErrorCode::Overloaded,
            message: message.into(),
            leader: None,
            retry_after_ms: Some(retry_after_ms),
            batch: None,
        }
    }
}
