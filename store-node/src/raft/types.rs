//! The types consensus is made of, named once.
//!
//! Everything the library is generic over is fixed here; the other files of this folder use these
//! names and the rest of the crate uses neither.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use openraft::{
    Membership, OptionalSend, RaftTypeConfig, StoredMembership,
    alias::{CommittedLeaderIdOf, LeaderIdOf, LogIdOf, VoteOf},
    impls,
    raft::responder::Responder,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::{fair_share::Share, state::Outcome};

/// How this store fills in what the consensus library leaves open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Types;

impl RaftTypeConfig for Types {
    type D = Payload;
    type R = Reply;
    type NodeId = u64;
    type Node = Address;
    type Term = u64;
    type LeaderId = impls::leader_id_adv::LeaderId<u64, u64>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = Content;
    type Entry = Entry;
    type AsyncRuntime = impls::TokioRuntime;
    type Responder<T>
        = Answer<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = impls::BoxedErrorSource;
}

/// The position of an entry and the leader that made it.
pub type LogId = LogIdOf<Types>;
/// A term and the node that leads, or wants to lead, in it.
pub type LeaderId = LeaderIdOf<Types>;
/// A leader as it is named in a [`LogId`].
pub type CommittedLeaderId = CommittedLeaderIdOf<Types>;
/// What a node has promised.
pub type Vote = VoteOf<Types>;
/// One entry of the log.
pub type Entry = openraft::Entry<CommittedLeaderId, Content>;
/// What an entry holds: nothing, a command, or a membership.
pub type Content = openraft::EntryPayload<Payload, u64, Address>;
/// Who votes and who only follows.
pub type Members = Membership<u64, Address>;
/// A membership with the position of the entry that set it.
pub type StoredMembers = StoredMembership<CommittedLeaderId, u64, Address>;
/// The running consensus group on this node.
pub type Group = openraft::Raft<Types, super::state_machine::StateMachine>;

/// A command's bytes as they stand in the log. Never printed, only measured.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Payload(#[serde(with = "payload_bytes")] pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

mod payload_bytes {
    use bytes::Bytes;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        serde_bytes::deserialize::<Vec<u8>, D>(from).map(Bytes::from)
    }
}

/// What applying an entry came to. It never leaves the node, so only the empty shell is serialised.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Reply {
    /// `None` for an entry that holds no command.
    #[serde(skip)]
    pub outcome: Option<Outcome>,
}

/// Where a member is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Address {
    /// `HOST:PORT` for QUIC.
    pub quic: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quic)
    }
}

/// Where the result of a proposal goes. The proposer may have stopped listening; that is fine.
#[derive(Debug)]
pub struct Answer<T> {
    to: oneshot::Sender<T>,
    /// Bytes of the proposal, given back once it has an outcome or none is to be had.
    _share: Share,
}

impl<T> Answer<T> {
    /// Sends the result to `to` and holds `share` until then.
    pub(super) fn new(to: oneshot::Sender<T>, share: Share) -> Self {
        Self { to, _share: share }
    }
}

impl<T: Send + 'static> Responder<Types, T> for Answer<T> {
    fn on_complete(self, result: T) {
        drop(self.to.send(result));
    }
}

/// Called once, with one line for a person, when this node must not go on: the disk failed a write
/// or a sync, or consensus broke. The program ends itself in it; a test takes note.
#[derive(Clone)]
pub struct OnFatal(Arc<dyn Fn(&str) + Send + Sync>);

impl OnFatal {
    /// Wraps what is to happen.
    pub fn new(act: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(act))
    }

    /// Says the line and ends the process with exit code 1, without unwinding or waiting.
    pub fn exit() -> Self {
        Self::new(|line| {
            tracing::error!("{line}");
            eprintln!("store-node: {line}");
            std::process::exit(1);
        })
    }

    /// Reports that this node must not go on.
    pub fn report(&self, line: &str) {
        (self.0)(line);
    }

    /// Reports a write or a sync that failed, `what` and of which file, and what is to be done.
    pub(crate) fn report_disk(&self, what: &str) {
        self.report(&format!(
            "{what}: the node stops, as what the disk holds is unknown; see what the system says of \
             the disk (dmesg), then start the node again, or replace the disk and let the node join anew"
        ));
    }
}

impl fmt::Debug for OnFatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnFatal")
    }
}
