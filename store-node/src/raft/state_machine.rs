//! Applies committed entries, in order, to the replicated state.
//!
//! [`Machine`] does the applying: while the log is opened, for what was known to be committed, and
//! afterwards for the consensus library through [`StateMachine`]. It keeps no file of its own: the
//! state is rebuilt from the log, and only `committed` records say how far.
//!
//! Snapshots are not made or taken yet. A snapshot will be a manifest of sealed segments, built and
//! installed here ([`NoSnapshot`] is its place); until then the log is never purged, so that no
//! replica can need one.

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
};

use futures::{Stream, TryStreamExt};
use openraft::{
    OptionalSend,
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot, SnapshotMeta},
};
use tokio::sync::watch;

use super::types::{
    Address, CommittedLeaderId, Content, Entry, LogId, Reply, StoredMembers, Types,
};
use crate::state::{Outcome, State};

/// The replicated state with its position.
#[derive(Debug)]
pub struct Machine {
    state: Arc<RwLock<State>>,
    applied: Option<LogId>,
    members: StoredMembers,
}

impl Machine {
    /// A machine that has applied nothing, over an empty state.
    pub fn new(state: Arc<RwLock<State>>) -> Self {
        Self {
            state,
            applied: None,
            members: StoredMembers::default(),
        }
    }

    /// The last position applied.
    pub fn applied(&self) -> Option<LogId> {
        self.applied
    }

    /// Applies the entry that follows the last one.
    pub fn apply(&mut self, entry: &Entry) -> Option<Outcome> {
        debug_assert!(
            self.applied
                .is_none_or(|applied| applied.index < entry.log_id.index),
            "entries are applied in order and once"
        );
        self.applied = Some(entry.log_id);
        match &entry.payload {
            Content::Blank => None,
            Content::Membership(members) => {
                let ids = members.nodes().map(|(id, _)| *id).collect();
                let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                state.follow_members(&ids);
                self.members = StoredMembers::new(Some(entry.log_id), members.clone());
                None
            }
            Content::Normal(payload) => {
                let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                Some(state.apply(entry.log_id.index, &payload.0))
            }
        }
    }
}

/// The machine as the consensus library drives it.
#[derive(Debug)]
pub struct StateMachine {
    machine: Machine,
    applied: watch::Sender<Option<u64>>,
}

impl StateMachine {
    /// Goes on where opening the log left `machine`; tells `applied` of every index from then on.
    pub fn new(machine: Machine, applied: watch::Sender<Option<u64>>) -> Self {
        applied.send_replace(machine.applied().map(|id| id.index));
        Self { machine, applied }
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = NoSnapshot;
    type SnapshotBuilder = NoSnapshots;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembers)> {
        Ok((self.machine.applied, self.machine.members.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let outcome = self.machine.apply(&entry);
            self.applied.send_replace(Some(entry.log_id.index));
            if let Some(responder) = responder {
                responder.send(Reply { outcome });
            }
        }
        Ok(())
    }

    /// Declines, which the library takes in good part.
    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<NoSnapshots> {
        None
    }

    async fn get_snapshot_builder(&mut self) -> NoSnapshots {
        NoSnapshots
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta<CommittedLeaderId, u64, Address>,
        snapshot: NoSnapshot,
    ) -> io::Result<()> {
        match snapshot {}
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<StoredSnapshot>> {
        Ok(None)
    }
}

/// A snapshot of this version: there is none, and the type says so.
#[derive(Debug, Clone)]
pub enum NoSnapshot {}

/// A snapshot with its position and membership.
pub type StoredSnapshot = Snapshot<CommittedLeaderId, u64, Address, NoSnapshot>;

/// Refuses to build snapshots.
#[derive(Debug)]
pub struct NoSnapshots;

impl RaftSnapshotBuilder<Types> for NoSnapshots {
    type SnapshotData = NoSnapshot;

    async fn build_snapshot(&mut self) -> io::Result<StoredSnapshot> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this version makes no snapshots: every replica keeps the whole log",
        ))
    }
}
