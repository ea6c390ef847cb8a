//! Applies committed entries, in order, to the replicated state.
//!
//! [`Machine`] does the applying: while the log is opened, for what was known to be committed, and
//! afterwards for the consensus library through [`StateMachine`]. It keeps no file of its own: the
//! state is that of the newest manifest and what the log says after it, and only `committed` records
//! say how far.
//!
//! A snapshot *is* a manifest. Making one is the [`Archive`]'s work, which has nothing to do with what
//! the library wants when: asked to build a snapshot, this looks up the newest manifest.

use std::{
    io,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{Stream, TryStreamExt};
use openraft::{
    OptionalSend,
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot},
};
use tokio::sync::watch;

use super::{
    position::{self, Meta, Place},
    types::{Address, CommittedLeaderId, Content, Entry, LogId, Reply, StoredMembers, Types},
};
use crate::{
    archive::Archive,
    segments::manifest::Manifest,
    state::{Outcome, State, trail::Footprint},
};

/// A snapshot with its position and membership.
pub type StoredSnapshot = Snapshot<CommittedLeaderId, u64, Address, Arc<Manifest>>;

/// The replicated state with its position.
#[derive(Debug)]
pub struct Machine {
    shard: u32,
    state: Arc<RwLock<State>>,
    applied: Option<LogId>,
    members: StoredMembers,
}

impl Machine {
    /// A machine of `shard` over `state`, which is as of `base`, or empty.
    pub fn new(shard: u32, state: Arc<RwLock<State>>, base: Option<Place>) -> Self {
        let (applied, members) = match base {
            Some(base) => (Some(base.id), base.members),
            None => (None, StoredMembers::default()),
        };
        Self {
            shard,
            state,
            applied,
            members,
        }
    }

    /// The last position applied.
    pub fn applied(&self) -> Option<LogId> {
        self.applied
    }

    /// Applies the entry that follows the last one.
    pub fn apply(&mut self, entry: &Entry) -> Option<Outcome> {
        self.pass(entry);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let leader = &entry.log_id.leader_id;
        let footprint = Footprint::of(entry.log_id.index, leader.term, leader.node_id);
        let payload = match &entry.payload {
            Content::Blank => {
                state.leave(footprint, false);
                return None;
            }
            Content::Membership(members) => {
                let members = members.nodes().map(|(id, _)| *id).collect();
                state.follow_members(&members);
                state.leave(footprint.with_members(&members), false);
                return None;
            }
            Content::Normal(payload) => &payload.0,
        };
        let outcome = state.apply(entry.log_id.index, payload);
        let is_seal = outcome == Outcome::Sealed;
        state.leave(footprint.with_command(payload, &outcome), is_seal);
        if is_seal {
            let place = Place {
                id: entry.log_id,
                members: self.members.clone(),
            };
            state.place_generation(place.to_position(self.shard));
        }
        Some(outcome)
    }

    /// Goes on to the entry that follows the last one without touching the state.
    pub(super) fn pass(&mut self, entry: &Entry) {
        debug_assert!(
            self.applied
                .is_none_or(|applied| applied.index < entry.log_id.index),
            "entries are applied in order and once"
        );
        self.applied = Some(entry.log_id);
        if let Content::Membership(members) = &entry.payload {
            self.members = StoredMembers::new(Some(entry.log_id), members.clone());
        }
    }
}

/// The machine as the consensus library drives it.
#[derive(Debug)]
pub struct StateMachine {
    machine: Machine,
    archive: Arc<Archive>,
    applied: watch::Sender<Option<u64>>,
    jumped: Arc<AtomicU64>,
}

impl StateMachine {
    /// Goes on where opening the log left `machine`; tells `applied` of every index from then on, and
    /// before that `jumped` of one that was got to without applying what is before it.
    pub fn new(
        machine: Machine,
        archive: Arc<Archive>,
        applied: watch::Sender<Option<u64>>,
        jumped: Arc<AtomicU64>,
    ) -> Self {
        applied.send_replace(machine.applied().map(|id| id.index));
        Self {
            machine,
            archive,
            applied,
            jumped,
        }
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Arc<Manifest>;
    type SnapshotBuilder = Found;

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

    /// Declines while there is no manifest, which the library takes in good part. It never insists:
    /// it does that for a log that was purged, and no log is purged or opened without a manifest.
    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Found> {
        let found = self.get_snapshot_builder().await;
        found.manifest.is_some().then_some(found)
    }

    async fn get_snapshot_builder(&mut self) -> Found {
        Found {
            shard: self.machine.shard,
            manifest: self.archive.manifest(),
        }
    }

    /// Takes over a manifest of the leader, all of whose segments have been fetched. The library
    /// calls this and [`apply`](Self::apply) one at a time, so the machine and the state move together.
    async fn install_snapshot(&mut self, meta: &Meta, snapshot: Arc<Manifest>) -> io::Result<()> {
        let archive = Arc::clone(&self.archive);
        let install = move || archive.install(Arc::unwrap_or_clone(snapshot));
        tokio::task::spawn_blocking(install)
            .await
            .map_err(io::Error::other)??;
        self.machine.applied = meta.last_log_id;
        self.machine.members = meta.last_membership.clone();
        if let Some(last) = meta.last_log_id {
            self.jumped.store(last.index, Ordering::Release);
        }
        self.applied
            .send_replace(meta.last_log_id.map(|id| id.index));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<StoredSnapshot>> {
        let newest = self.archive.manifest();
        newest
            .map(|manifest| stored(self.machine.shard, manifest))
            .transpose()
    }
}

/// Builds a snapshot by having found it: the newest manifest.
#[derive(Debug)]
pub struct Found {
    shard: u32,
    manifest: Option<Arc<Manifest>>,
}

impl RaftSnapshotBuilder<Types> for Found {
    type SnapshotData = Arc<Manifest>;

    async fn build_snapshot(&mut self) -> io::Result<StoredSnapshot> {
        let none = || io::Error::new(io::ErrorKind::NotFound, "there is no manifest yet");
        let manifest = self.manifest.clone().ok_or_else(none)?;
        stored(self.shard, manifest)
    }
}

fn stored(shard: u32, snapshot: Arc<Manifest>) -> io::Result<StoredSnapshot> {
    let meta = position::meta(shard, &snapshot).map_err(io::Error::other)?;
    Ok(StoredSnapshot { meta, snapshot })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::vote::RaftLeaderId;
    use segment_log::fake::FakeDisk;

    use super::*;
    use crate::archive::ArchiveOptions;
    use crate::raft::types::{LeaderId, Members};
    use crate::state::voids::Voids;

    const SHARD: u32 = 3;

    fn id(term: u64, index: u64) -> LogId {
        LogId {
            leader_id: LeaderId::new(term, 1),
            index,
        }
    }

    fn place() -> Place {
        let nodes = BTreeMap::from([(
            1,
            Address {
                quic: "a:1".to_owned(),
            },
        )]);
        let members = Members::new(vec![BTreeSet::from([1])], nodes).expect("it has an address");
        Place {
            id: id(4, 20),
            members: StoredMembers::new(Some(id(2, 5)), members),
        }
    }

    fn manifest() -> Manifest {
        Manifest {
            position: place().to_position(SHARD),
            jobs_through: 20,
            total: 0,
            series: Vec::new(),
            producers: Vec::new(),
            nodes: Vec::new(),
            boards: Vec::new(),
            tombstones: Vec::new(),
            retention: Vec::new(),
            voids: Some(Voids::default()),
            segments: Vec::new(),
        }
    }

    fn machine(disk: &FakeDisk) -> (StateMachine, watch::Receiver<Option<u64>>) {
        let state = Arc::default();
        let options = ArchiveOptions {
            disk: Arc::new(disk.clone()),
            dir: "/data/shards/3".into(),
            shard: SHARD,
            cache_bytes: 0,
        };
        let archive = Archive::open(options, Arc::clone(&state));
        let archive = Arc::new(archive.expect("a healthy disk"));
        let base = archive
            .manifest()
            .map(|manifest| Place::of(SHARD, &manifest.position).expect("it was just made"));
        let (sender, applied) = watch::channel(None);
        let machine = Machine::new(SHARD, state, base);
        let machine = StateMachine::new(machine, archive, sender, Arc::default());
        (machine, applied)
    }

    #[tokio::test]
    async fn there_is_no_snapshot_before_there_is_a_manifest() {
        let (mut machine, applied) = machine(&FakeDisk::new());
        let current = machine.get_current_snapshot().await;
        assert!(current.expect("nothing is wrong").is_none());
        let builder = machine.try_create_snapshot_builder(false).await;
        assert!(builder.is_none());
        assert_eq!(*applied.borrow(), None);
    }

    #[tokio::test]
    async fn what_is_installed_is_the_snapshot_and_where_the_machine_stands() {
        let disk = FakeDisk::new();
        let (mut fresh, applied) = machine(&disk);
        let meta = place().into_meta();
        let installed = fresh.install_snapshot(&meta, Arc::new(manifest())).await;
        installed.expect("a healthy disk");
        assert_eq!(*applied.borrow(), Some(20));
        // It is durable: another machine over what a power cut leaves stands there as well.
        let (after, _) = machine(&disk.power_cut());
        for mut machine in [fresh, after] {
            let (applied, members) = machine.applied_state().await.expect("in memory");
            assert_eq!((applied, members), (Some(id(4, 20)), place().members));
            let current = machine.get_current_snapshot().await.expect("it is whole");
            let current = current.expect("it was installed");
            assert_eq!((&current.meta, &*current.snapshot), (&meta, &manifest()));
            let mut builder = machine.try_create_snapshot_builder(false).await;
            let builder = builder.as_mut().expect("there is a manifest");
            let built = builder.build_snapshot().await.expect("it is whole");
            assert_eq!(built.meta, meta);
        }
    }
}
