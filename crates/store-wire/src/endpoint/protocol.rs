//! The three protocols, and who may speak which.

use std::fmt;

use crate::identity::Role;

/// What a connection is for. Its version is in the name that TLS negotiates (ALPN): a side that does
/// not know the version offered ends the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Producers send batches.
    Ingest,
    /// Clients ask questions.
    Query,
    /// Nodes replicate.
    Raft,
}

impl Protocol {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Query, Self::Raft];

    /// The name and version that are negotiated.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "tidemark-ingest/1",
            Self::Query => "tidemark-query/1",
            Self::Raft => "tidemark-raft/1",
        }
    }

    pub(crate) const fn alpn(self) -> &'static [u8] {
        self.as_str().as_bytes()
    }

    pub(crate) fn from_alpn(alpn: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.alpn() == alpn)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Whether a peer of this role may speak it to a node.
    pub const fn is_open_to(self, role: Role) -> bool {
        match self {
            Self::Ingest => matches!(role, Role::Device | Role::Operator),
            Self::Query => matches!(role, Role::Reader | Role::Operator | Role::Node),
            Self::Raft => matches!(role, Role::Node),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
