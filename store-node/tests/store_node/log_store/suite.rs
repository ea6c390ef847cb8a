//! The consensus library's storage suite against this log store.
//!
//! The suite wants a state machine with snapshots beside the log; the one here exists for it alone.

use std::{io, sync::Arc};

use futures::{Stream, TryStreamExt};
use openraft::{
    OptionalSend, StorageError,
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot, SnapshotMeta},
    testing::log::{StoreBuilder, Suite},
};
use segment_log::fake::FakeDisk;
use store_node::raft::{
    log_store::LogStore,
    types::{Address, CommittedLeaderId, Content, LogId, OnFatal, Reply, StoredMembers, Types},
};

use super::open;

type Meta = SnapshotMeta<CommittedLeaderId, u64, Address>;
type Position = (Option<LogId>, StoredMembers);

/// Remembers how far it is, and nothing else.
#[derive(Debug, Default, Clone)]
struct Remembers {
    position: Position,
    snapshot: Option<(Meta, Position)>,
}

/// Builds a snapshot into the machine it was made from.
struct Builder(std::sync::Arc<std::sync::Mutex<Remembers>>);

#[derive(Debug, Default, Clone)]
struct Machine(Arc<std::sync::Mutex<Remembers>>);

impl Machine {
    fn with<T>(&self, act: impl FnOnce(&mut Remembers) -> T) -> T {
        act(&mut self.0.lock().expect("no test panics while holding it"))
    }
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Position;

    async fn build_snapshot(
        &mut self,
    ) -> io::Result<Snapshot<CommittedLeaderId, u64, Address, Position>> {
        let mut inner = self.0.lock().expect("no test panics while holding it");
        let (last_log_id, last_membership) = inner.position.clone();
        let meta = Meta {
            last_log_id,
            last_membership,
        };
        let snapshot = inner.position.clone();
        inner.snapshot = Some((meta.clone(), snapshot.clone()));
        Ok(Snapshot { meta, snapshot })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Position;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<Position> {
        Ok(self.with(|inner| inner.position.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            self.with(|inner| {
                inner.position.0 = Some(entry.log_id);
                if let Content::Membership(members) = entry.payload {
                    inner.position.1 = StoredMembers::new(Some(entry.log_id), members);
                }
            });
            if let Some(responder) = responder {
                responder.send(Reply::default());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder(Arc::clone(&self.0))
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: Position) -> io::Result<()> {
        self.with(|inner| {
            inner.position = snapshot.clone();
            inner.snapshot = Some((meta.clone(), snapshot));
        });
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<Snapshot<CommittedLeaderId, u64, Address, Position>>> {
        Ok(self.with(|inner| {
            let (meta, snapshot) = inner.snapshot.clone()?;
            Some(Snapshot { meta, snapshot })
        }))
    }
}

struct OnFakeDisk;

impl StoreBuilder<Types, LogStore, Machine, segment_log::WriterThread> for OnFakeDisk {
    async fn build(
        &self,
    ) -> Result<(segment_log::WriterThread, LogStore, Machine), StorageError<Types>> {
        let on_fatal = OnFatal::new(|line| panic!("{line}"));
        let opened = open(Arc::new(FakeDisk::new()), on_fatal, None).expect("an empty disk opens");
        Ok((opened.writer, opened.store, Machine::default()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_store_passes_the_consensus_librarys_suite() {
    Suite::test_all(OnFakeDisk).await.expect("the suite passes");
}
