//! Changing who belongs to the cluster: what an operator asks of the leader.

use serde::{Deserialize, Serialize};

/// One change. Asking for one that has been made changes nothing and succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterChange {
    /// Expects a node: it is a learner from now on, and comes by itself with `--join`.
    Add {
        /// Its id, which was never used before.
        id: u64,
        /// Where it will take QUIC connections, `HOST:PORT`.
        address: String,
    },
    /// Takes a node out for good, dead or alive. Its id is never used again.
    Remove {
        /// The node.
        id: u64,
    },
    /// Gives a learner its vote, once it has caught up. Nodes that join get it without being asked.
    Promote {
        /// The learner.
        id: u64,
    },
    /// Lets another voter lead.
    TransferLeader {
        /// Who is to lead.
        id: u64,
    },
    /// Lets a node take no more writes, nor lead, until it is started again.
    Drain {
        /// The node.
        id: u64,
    },
}

impl ClusterChange {
    /// The node it is about.
    pub const fn node(&self) -> u64 {
        match self {
            Self::Add { id, .. }
            | Self::Remove { id }
            | Self::Promote { id }
            | Self::TransferLeader { id }
            | Self::Drain { id } => *id,
        }
    }
}
