//! What store nodes say to each other on `tidemark-raft/1` (told in `docs/protocol.md`).
//!
//! A stream carries one request, or one session of appends. Except while a cluster is being formed
//! its first message is a [`ToPeer::Hello`], which says which cluster and which node the sender means;
//! the request follows at once, without waiting for an answer. Entries travel as the frame's body,
//! end to end, exactly the bytes of the log; heads say how to cut them.
//!
//! The library's own types stay out of the wire, so that it can be upgraded without a new protocol.

mod entries;

use std::collections::BTreeMap;

pub use entries::{BadAppend, EntryHead, append, entries};
use openraft::{
    raft::{
        StreamAppendError, StreamAppendResult, TransferLeaderRequest, VoteRequest, VoteResponse,
    },
    vote::RaftLeaderId,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    joining::Newcomer,
    types::{self, LeaderId, LogId, Types},
};
use crate::{
    archive::Print,
    segments::{manifest::SegmentHash, segment::UNHASHED_BYTES},
};

/// The members a cluster is formed of: node id to `HOST:PORT`.
pub type Founders = BTreeMap<u64, String>;

/// From the node that opened the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToPeer {
    /// While forming: who are you, and where do you stand? Answered by `Introduced`.
    Introduce {
        /// Who asks.
        from: u64,
        /// The cluster the asker is to be part of.
        founders: Founders,
    },
    /// While forming: this is the cluster; write it down. Answered by `Joined`.
    Found {
        /// The founder.
        from: u64,
        /// Whom it means.
        to: u64,
        /// The new cluster's own UUID.
        cluster: Uuid,
        /// Its members.
        founders: Founders,
    },
    /// Asks to be let into the cluster, before there is anything to greet with. Answered by `Admitted`
    /// or `AskLeader`.
    Join(Newcomer),
    /// Opens every other stream.
    Hello {
        /// The cluster the sender belongs to.
        cluster: Uuid,
        /// The sender.
        from: u64,
        /// Whom it means.
        to: u64,
        /// Where the sender serves HTTP.
        http: String,
    },
    /// Entries, or none of them as a heartbeat; the body holds their contents. Answered by
    /// `Appended`, in order; many may be on their way.
    Append {
        /// The leader's vote.
        vote: Vote,
        /// The position right before the first entry.
        previous: Option<Position>,
        /// How far the leader knows to be committed.
        committed: Option<Position>,
        /// The entries, which follow each other.
        entries: Vec<EntryHead>,
    },
    /// Asks for a vote. Answered by `Voted`.
    Vote(Candidacy),
    /// Asks whether a vote would be given, changing nothing. Answered by `Voted`.
    PreVote(Candidacy),
    /// The leader hands over. Answered by `Transferred`.
    TransferLeader {
        /// The leader's vote.
        from: Vote,
        /// Who is to lead.
        to: u64,
        /// What that node must have first.
        last: Option<Position>,
    },
    /// Says little more than its `Hello`: followers have nothing else to tell each other. Answered by
    /// `Greeted`.
    Greet {
        /// Whether the sender must not be made leader.
        draining: bool,
    },
    /// The leader wants the receiver to take no more writes. Answered by `Draining`.
    Drain,
    /// Asks the leader for a position that covers everything acknowledged so far. Answered by
    /// `Index` or `NotLeader`.
    ReadIndex {
        /// How sure the leader must be that it still leads.
        assurance: Assurance,
    },
    /// From the leader to a member that lacks entries which were purged: take this snapshot over.
    /// Answered by `Installing`, once a second, then `Installed` or `NotInstalled`.
    Install(Install),
    /// Asks for a file's bytes from `offset` to its end. Answered by `Piece`s, or by `NotHere`.
    Fetch {
        /// Which file.
        file: FileName,
        /// The first byte wanted.
        offset: u64,
    },
    /// Asks for the newest manifest, of whoever cannot do the jobs that lead to it. Answered by `Newest`
    /// and `Piece`s, or by `NotHere`.
    Newest,
    /// Asks what the receiver has made of the log, to compare. Answered by `Compared`.
    Compare {
        /// The position that the sender has applied last.
        index: u64,
    },
}

/// From the node that accepted the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromPeer {
    /// Answers `Introduce`.
    Introduced {
        /// Who answers.
        id: u64,
        /// Where it stands.
        standing: Standing,
    },
    /// Answers `Found`: written down, durably.
    Joined,
    /// Answers `Join`: this is the cluster; write it down.
    Admitted {
        /// The cluster's UUID.
        cluster: Uuid,
    },
    /// Answers `Join`: only the leader lets anybody in, and is there, if it is known.
    AskLeader {
        /// `HOST:PORT`.
        address: Option<String>,
    },
    /// Answers `Append`: everything up to here is synced and the same as the leader's.
    Appended(Option<Position>),
    /// Answers `Append`: this position is not what the leader thinks.
    Conflict(Position),
    /// Answers `Append`: somebody else leads.
    HigherVote(Vote),
    /// Answers `Vote` and `PreVote`.
    Voted {
        /// The voter's vote afterwards.
        vote: Vote,
        /// Whether it is given.
        granted: bool,
        /// The voter's last entry.
        last: Option<Position>,
    },
    /// Answers `TransferLeader`; `Err` says why not.
    Transferred(Result<(), String>),
    /// Answers `Greet`.
    Greeted {
        /// Whether the receiver must not be made leader.
        draining: bool,
    },
    /// Answers `Drain`: it is.
    Draining,
    /// Answers `ReadIndex`.
    Index(Position),
    /// Answers `ReadIndex`: ask this one, if it is known.
    NotLeader(Option<u64>),
    /// Answers `Install`: it goes on; so many bytes of it have arrived.
    Installing {
        /// Bytes.
        received: u64,
    },
    /// Answers `Install`: the snapshot is in place, or what is here is newer; or somebody else leads.
    Installed {
        /// The member's vote afterwards.
        vote: Vote,
    },
    /// Answers `Install`: not this time, and why. What has arrived is kept for the next.
    NotInstalled(String),
    /// Answers `Fetch` and `Newest`: the body holds the bytes from here on. The stream ends with the file.
    Piece {
        /// Of the body's first byte.
        offset: u64,
    },
    /// Answers `Newest`: so many bytes follow.
    Newest {
        /// How long the manifest's file is.
        bytes: u64,
    },
    /// Answers `Fetch` and `Newest`: no such file, at least not any more.
    NotHere,
    /// Answers `Compare`.
    Compared {
        /// The digest of what was applied since the last seal before the position asked about; none if
        /// the receiver has not applied as much, or so much more that it has forgotten.
        applied: Option<u64>,
        /// Of its newest manifests.
        sealed: Vec<Print>,
    },
    /// Answers anything. The stream ends.
    Refused(Refusal),
}

/// Where a node stands while a cluster is being formed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It belongs to no cluster and has been told to be part of this one.
    Blank(Founders),
    /// It has written a cluster down and has no entry of it yet.
    Joined(Uuid),
    /// It has entries of a cluster.
    Formed(Uuid),
    /// It has just started and does not know yet.
    Starting,
}

/// Why a node will not talk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The sender belongs to another cluster.
    #[error("node {id} belongs to cluster {cluster}, not to the sender's")]
    OtherCluster {
        /// Who refuses.
        id: u64,
        /// Its cluster.
        cluster: Uuid,
    },
    /// The sender meant another node.
    #[error("this is node {id}, not the one the sender means")]
    OtherNode {
        /// Who refuses.
        id: u64,
    },
    /// The sender was taken out of the cluster for good.
    #[error("node {node} was removed from this cluster")]
    Removed {
        /// The sender.
        node: u64,
    },
    /// The sender is not let into the cluster.
    #[error("{reason}")]
    NotAdmitted {
        /// Why, and what to do.
        reason: String,
    },
    /// The node was given other founders, so the two will never form a cluster.
    #[error("node {id} was started with another --bootstrap list")]
    OtherFounders {
        /// Who refuses.
        id: u64,
    },
    /// The node is not ready to talk yet.
    #[error("node {id} is still starting")]
    Starting {
        /// Who refuses.
        id: u64,
    },
    /// The node has too much to seal before it can take more.
    #[error("sealing on node {id} does not keep up")]
    Unsealed {
        /// Who refuses.
        id: u64,
    },
    /// The node's disk is full.
    #[error("the disk of node {id} is full")]
    NoSpace {
        /// Who refuses.
        id: u64,
    },
    /// Consensus has stopped on that node.
    #[error("node {id} is stopping")]
    Stopping {
        /// Who refuses.
        id: u64,
    },
    /// The sender broke the protocol.
    #[error("the request is malformed: {reason}")]
    Malformed {
        /// How.
        reason: String,
    },
}

/// How sure a leader must be before it answers a `ReadIndex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Assurance {
    /// A majority confirms it after the question: for linearizable reads.
    Quorum,
    /// Its lease holds: for knowing how fresh a replica is.
    Lease,
}

/// A position in the log and the leader that filled it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    term: u64,
    node: u64,
    index: u64,
}

/// What a node has promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    term: u64,
    node: u64,
    committed: bool,
}

/// Someone who wants to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidacy {
    vote: Vote,
    last: Option<Position>,
    /// The leader itself asked for it.
    transfer: bool,
}

/// A snapshot to take over: a manifest and the segments it lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    /// The leader's vote.
    pub vote: Vote,
    /// Where the leader is reached, for a member that knows nobody yet.
    pub address: String,
    /// Where in the log the manifest stands.
    pub position: Position,
    /// The last job done in it.
    pub jobs_through: u64,
    /// The BLAKE3 of the manifest's file.
    pub manifest: SegmentHash,
    /// How long that file is.
    pub manifest_bytes: u64,
}

/// A file, by the BLAKE3 of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileName {
    /// The manifest of an `Install` that is under way.
    Manifest(SegmentHash),
    /// A sealed segment.
    Segment(SegmentHash),
}

impl FileName {
    /// The hash of the file's bytes.
    pub fn hash(&self) -> SegmentHash {
        match self {
            Self::Manifest(hash) | Self::Segment(hash) => *hash,
        }
    }

    /// How many bytes at its end the hash is not of: there a segment says it itself.
    pub const fn unhashed_bytes(&self) -> u64 {
        match self {
            Self::Manifest(_) => 0,
            Self::Segment(_) => UNHASHED_BYTES,
        }
    }
}

impl From<LogId> for Position {
    fn from(id: LogId) -> Self {
        Self {
            term: id.leader_id.term,
            node: id.leader_id.node_id,
            index: id.index,
        }
    }
}

impl From<Position> for LogId {
    fn from(position: Position) -> Self {
        Self {
            leader_id: LeaderId::new(position.term, position.node).to_committed(),
            index: position.index,
        }
    }
}

impl From<types::Vote> for Vote {
    fn from(vote: types::Vote) -> Self {
        Self {
            term: vote.leader_id.term,
            node: vote.leader_id.node_id,
            committed: vote.committed,
        }
    }
}

impl From<Vote> for types::Vote {
    fn from(vote: Vote) -> Self {
        Self {
            leader_id: LeaderId::new(vote.term, vote.node),
            committed: vote.committed,
        }
    }
}

impl From<VoteRequest<Types>> for Candidacy {
    fn from(request: VoteRequest<Types>) -> Self {
        Self {
            vote: request.vote.into(),
            last: request.last_log_id.map(Position::from),
            transfer: request.leadership_transfer,
        }
    }
}

impl From<Candidacy> for VoteRequest<Types> {
    fn from(candidacy: Candidacy) -> Self {
        Self {
            vote: candidacy.vote.into(),
            last_log_id: candidacy.last.map(LogId::from),
            leadership_transfer: candidacy.transfer,
        }
    }
}

impl From<VoteResponse<Types>> for FromPeer {
    fn from(response: VoteResponse<Types>) -> Self {
        Self::Voted {
            vote: response.vote.into(),
            granted: response.vote_granted,
            last: response.last_log_id.map(Position::from),
        }
    }
}

impl From<TransferLeaderRequest<Types>> for ToPeer {
    fn from(request: TransferLeaderRequest<Types>) -> Self {
        Self::TransferLeader {
            from: (*request.from_leader()).into(),
            to: *request.to_node_id(),
            last: request.last_log_id().copied().map(Position::from),
        }
    }
}

impl From<StreamAppendResult<Types>> for FromPeer {
    fn from(result: StreamAppendResult<Types>) -> Self {
        match result {
            Ok(last) => Self::Appended(last.map(Position::from)),
            Err(StreamAppendError::Conflict(at)) => Self::Conflict(at.into()),
            Err(StreamAppendError::HigherVote(vote)) => Self::HigherVote(vote.into()),
        }
    }
}
