//! How a node is: the same document on the wire and at `GET /status`.

use serde::{Deserialize, Serialize};

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Member {
    /// The node's id; never used again for another.
    pub id: u64,
    /// Where it takes QUIC connections, `HOST:PORT`.
    pub address: String,
    /// Where it serves health and metrics, `HOST:PORT`; empty when unknown.
    #[serde(default)]
    pub http: String,
    /// Whether it votes. One that does not is a learner: it follows until it has caught up.
    #[serde(default)]
    pub voter: bool,
}

/// What a node is in the consensus group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes writes and replicates them.
    Leader,
    /// Votes and follows.
    Follower,
    /// Follows without a vote.
    Learner,
    /// Asks for votes, or leads and has not heard from a majority for 3 s.
    Candidate,
    /// Was taken out of the cluster for good: it serves no reads.
    Removed,
}

/// Whether a node takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Load {
    /// It does.
    Active,
    /// It refuses what it has no room for.
    Overloaded,
    /// It is shutting down.
    Draining,
}

/// How one node sees another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The peer's id.
    pub id: u64,
    /// Where it takes QUIC connections.
    pub address: String,
    /// Whether it answered lately. On a follower: whether it is known to be reachable.
    pub reachable: bool,
    /// The last log position known to be synced there; known on the leader only.
    pub matched_index: Option<u64>,
    /// How many entries it lacks; known on the leader only.
    pub lag_entries: Option<u64>,
    /// How many bytes of the leader's log those are; known on the leader only.
    #[serde(default)]
    pub lag_bytes: Option<u64>,
    /// The last position at which what both had applied was compared and the same.
    #[serde(default)]
    pub equal_at: Option<u64>,
    /// That what both have made of the log is not the same.
    #[serde(default)]
    pub difference: Option<Difference>,
}

/// What two replicas differ in that should be the same: one of them is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The position at which it was found.
    pub position: u64,
    /// What differs there.
    pub what: String,
}

/// What the replicated state knows of one producer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerStatus {
    /// The producer's name.
    pub producer: String,
    /// Its current epoch.
    pub epoch: u64,
    /// The sequence it must send next.
    pub next_sequence: u64,
    /// How many readings it had to drop because its spool was full.
    pub dropped_readings: u64,
}

/// A sealed segment of which a node has no whole copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedSegment {
    /// Its BLAKE3, in hexadecimal digits: the name of its file.
    pub hash: String,
    /// When its window of time begins, RFC 3339.
    pub window: String,
    /// The first byte in which the damage lies.
    pub from: u64,
    /// Where the damage ends at most.
    pub to: u64,
    /// What is wrong.
    pub reason: String,
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node's id.
    pub id: u64,
    /// The cluster's name, as in every identity.
    pub cluster: String,
    /// The cluster's own UUID, empty until it is formed.
    pub cluster_id: String,
    /// What it is in the consensus group.
    pub role: Role,
    /// The current term.
    pub term: u64,
    /// The leader it knows of.
    pub leader: Option<u64>,
    /// The last position known to be committed.
    pub commit_index: u64,
    /// The last position visible to reads.
    pub applied_index: u64,
    /// The position of the last snapshot, if there is one: everything up to there is in sealed segments.
    pub last_snapshot: Option<u64>,
    /// The first position that its log holds, if it holds any.
    #[serde(default)]
    pub log_first: Option<u64>,
    /// The last position that its log holds.
    #[serde(default)]
    pub log_last: Option<u64>,
    /// Bytes of its log.
    #[serde(default)]
    pub log_bytes: u64,
    /// Every member of the cluster, this node included, ordered by id.
    pub members: Vec<Member>,
    /// How this node sees the others.
    pub peers: Vec<PeerStatus>,
    /// Whether it takes work.
    pub load: Load,
    /// How many series there are.
    pub series: u64,
    /// How many readings were applied, repeated timestamps counted each time.
    pub readings: u64,
    /// Bytes on its disk: log, segments and manifests.
    pub disk_bytes: u64,
    /// Bytes that may still be written to that disk, its reserve included.
    #[serde(default)]
    pub disk_free_bytes: u64,
    /// Whether the disk is full: with less than the reserve free, readings are refused with `NO_SPACE`
    /// while this node leads.
    #[serde(default)]
    pub disk_full: bool,
    /// How many sealed segments it serves.
    #[serde(default)]
    pub segments: u64,
    /// Bytes of them.
    #[serde(default)]
    pub segment_bytes: u64,
    /// Bytes of commands whose readings are not in segments yet.
    #[serde(default)]
    pub unsealed_bytes: u64,
    /// How many jobs wait: sealing, compacting, reclaiming.
    #[serde(default)]
    pub jobs_waiting: u64,
    /// Segments that are damaged or missing here and not yet repaired, ordered by hash.
    #[serde(default)]
    pub damaged_segments: Vec<DamagedSegment>,
    /// Every producer, ordered by name.
    pub producers: Vec<ProducerStatus>,
    /// Time in ms since this replica last knew that it had applied all that a leader had committed.
    pub age_ms: Option<u64>,
    /// How many reads it was asked for since it started.
    #[serde(default)]
    pub reads: u64,
    /// From when on its certificate is not valid any more, RFC 3339.
    #[serde(default)]
    pub certificate_expires: Option<String>,
    /// The program's version.
    pub version: String,
    /// How long it has been running, in ms.
    pub uptime_ms: u64,
}
