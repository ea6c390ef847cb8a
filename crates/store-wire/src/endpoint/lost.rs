//! Why connections end.

use std::fmt;

/// Why a connection was closed on purpose, for a program. The text beside it is for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// All is said.
    Done,
    /// The peer's identity is not accepted.
    Unauthenticated,
    /// The peer's role may not speak this protocol.
    Forbidden,
    /// The peer broke the protocol.
    Protocol,
    /// The node has no room for another connection.
    Overloaded,
    /// The node is shutting down.
    Draining,
    /// A code this program does not know.
    Other(u32),
}

impl CloseCode {
    /// The code on the wire.
    pub const fn to_wire(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::Unauthenticated => 1,
            Self::Forbidden => 2,
            Self::Protocol => 3,
            Self::Overloaded => 4,
            Self::Draining => 5,
            Self::Other(code) => code,
        }
    }

    /// The code from the wire.
    pub const fn from_wire(code: u32) -> Self {
        match code {
            0 => Self::Done,
            1 => Self::Unauthenticated,
            2 => Self::Forbidden,
            3 => Self::Protocol,
            4 => Self::Overloaded,
            5 => Self::Draining,
            code => Self::Other(code),
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Unauthenticated => f.write_str("unauthenticated"),
            Self::Forbidden => f.write_str("forbidden"),
            Self::Protocol => f.write_str("protocol"),
            Self::Overloaded => f.write_str("overloaded"),
            Self::Draining => f.write_str("draining"),
            Self::Other(code) => write!(f, "code {code}"),
        }
    }
}

/// Why a connection is gone. Whatever was on its way may or may not have arrived.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectionLost {
    /// The peer closed it and says why.
    #[error("the peer closed the connection ({code}): {reason}")]
    Closed {
        /// Why, for a program.
        code: CloseCode,
        /// Why, for a person.
        reason: String,
    },
    /// This side closed it.
    #[error("the connection has been closed on this side")]
    ClosedHere,
    /// Nothing was heard from the peer for the idle timeout.
    #[error("the connection timed out: nothing was heard from the peer")]
    TimedOut,
    /// The peer has started again and does not know the connection.
    #[error("the peer does not know the connection any more: it was probably restarted")]
    Restarted,
    /// QUIC or TLS failed.
    #[error("the connection broke")]
    Broken {
        /// How.
        #[source]
        source: quinn::ConnectionError,
    },
}

impl From<quinn::ConnectionError> for ConnectionLost {
    fn from(error: quinn::ConnectionError) -> Self {
        match error {
            quinn::ConnectionError::ApplicationClosed(close) => Self::Closed {
                code: CloseCode::from_wire(
                    u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX),
                ),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            quinn::ConnectionError::LocallyClosed => Self::ClosedHere,
            quinn::ConnectionError::TimedOut => Self::TimedOut,
            quinn::ConnectionError::Reset => Self::Restarted,
            source => Self::Broken { source },
        }
    }
}
