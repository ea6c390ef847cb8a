//! What the rest of the node asks of consensus.

use std::{
    future::Future,
    io,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use openraft::{EntryPayload, ServerState, async_runtime::watch::WatchReceiver};
use sensor_model::Token;
use store_wire::message::{Load, Member};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use super::{
    backlog::Backlog,
    consistency::Comparisons,
    log_store::LogStore,
    members::leader_of,
    message::{Assurance, FromPeer, Refusal},
    network::Network,
    proposals::{self, Proposals, ProposeError, Proposed, Reservation},
    reception::{self, Reception},
    space::{Room, Space},
    transfer::{FetchError, Received, Transfer},
    types::{Address, Entry, Group, LogId},
};
use crate::{
    archive::Archive, command, fair_share::FairShare, segments::manifest::SegmentEntry,
    state::State,
};

/// How long to wait before asking again who leads.
const LEADER_PAUSE: Duration = Duration::from_millis(20);

/// This node's replica of one shard. Clones are the same.
#[derive(Debug, Clone)]
pub struct Replica {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: u64,
    pub(super) cluster: String,
    pub(super) cluster_id: Uuid,
    pub(super) group: Group,
    pub(super) store: LogStore,
    pub(super) state: Arc<RwLock<State>>,
    pub(super) network: Network,
    pub(super) reception: Reception,
    pub(super) space: Space,
    pub(super) backlog: Backlog,
    pub(super) transfer: Transfer,
    pub(super) archive: Arc<Archive>,
    pub(super) proposals: Proposals,
    pub(super) reads: FairShare,
    pub(super) applied: watch::Receiver<Option<u64>>,
    pub(super) draining: AtomicBool,
    /// Held while the membership is being changed from this node.
    pub(super) changing: tokio::sync::Mutex<()>,
    pub(super) fresh: watch::Sender<Option<Instant>>,
    pub(super) comparisons: Comparisons,
    pub(super) started: Instant,
}

/// What a command is for: what makes room is still taken when there is little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Readings,
    Upkeep,
}

impl Use {
    fn of(payload: &Bytes) -> Self {
        if command::is_of_upkeep(payload) {
            Self::Upkeep
        } else {
            Self::Readings
        }
    }
}

/// Why a position was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// Not in time. It may be reached later, or never: a token can be of a cluster that lost it.
    #[error("this replica did not get so far in time")]
    Timeout,
    /// The position is of a shard this node does not have.
    #[error("this node has no shard {0}")]
    NoSuchShard(u32),
    /// Consensus has stopped on this node.
    #[error("consensus has stopped on this node")]
    Stopped,
}

/// Why a read cannot be linearizable here and now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader could say how far it is.
    #[error("no leader answers")]
    NoLeader {
        /// Who led last, as far as this node knows.
        leader: Option<Member>,
    },
    /// The leader answered, and this replica did not get so far in time.
    #[error("this replica did not catch up in time")]
    Timeout,
    /// Consensus has stopped on this node.
    #[error("consensus has stopped on this node")]
    Stopped,
}

impl Replica {
    /// Proposes a command of this node's own. It enters the log in the order of the calls, whenever
    /// the returned future is polled; dropping the future does not take the command back.
    ///
    /// Waits for no permits; see [`reserve`](Self::reserve) for what others ask for.
    pub fn propose(
        &self,
        payload: Bytes,
    ) -> impl Future<Output = Result<Proposed, ProposeError>> + Send + 'static + use<> {
        let entered = self.ready_to_propose(Use::of(&payload)).and_then(|()| {
            let reservation = self.shared.proposals.reserve_own(payload.len())?;
            self.shared.proposals.enter(reservation, payload)
        });
        self.settle(entered)
    }

    /// Waits for permits for readings of `bytes` bytes that `name` (a peer's role and name) sends, and
    /// for sealing to keep up: the pressure that slows producers down, each according to what it has
    /// under way.
    ///
    /// # Cancel safety
    /// Safe: the place in the line is lost.
    ///
    /// # Errors
    /// [`ProposeError::Overloaded`] when too much waits, and this name has most of it.
    pub async fn reserve(&self, name: &str, bytes: usize) -> Result<Reservation, ProposeError> {
        self.reserve_to(Use::Readings, name, bytes).await
    }

    /// As [`reserve`](Self::reserve), for a command that may be of upkeep.
    ///
    /// # Cancel safety
    /// Safe: the place in the line is lost.
    pub async fn reserve_for(
        &self,
        name: &str,
        payload: &Bytes,
    ) -> Result<Reservation, ProposeError> {
        self.reserve_to(Use::of(payload), name, payload.len()).await
    }

    async fn reserve_to(
        &self,
        to: Use,
        name: &str,
        bytes: usize,
    ) -> Result<Reservation, ProposeError> {
        self.ready_to_propose(to)?;
        let reservation = self.shared.proposals.reserve(name, bytes).await?;
        if to == Use::Readings {
            // With permits, so that what waits for this is bounded as well.
            self.shared.backlog.wait().await;
            self.ready_to_propose(to)?;
        }
        Ok(reservation)
    }

    /// As [`propose`](Self::propose), with permits for at least as many bytes.
    pub fn propose_reserved(
        &self,
        reservation: Reservation,
        payload: Bytes,
    ) -> impl Future<Output = Result<Proposed, ProposeError>> + Send + 'static + use<> {
        let entered = self
            .ready_to_propose(Use::of(&payload))
            .and_then(|()| self.shared.proposals.enter(reservation, payload));
        self.settle(entered)
    }

    fn settle(
        &self,
        entered: Result<
            tokio::sync::oneshot::Receiver<openraft::raft::ClientWriteResult<super::types::Types>>,
            ProposeError,
        >,
    ) -> impl Future<Output = Result<Proposed, ProposeError>> + Send + 'static + use<> {
        let this = self.clone();
        let shard = self.shard();
        proposals::settle(entered, shard, move |leader| this.member(leader?))
    }

    /// Refuses what the library would refuse later, and what it knows nothing of.
    fn ready_to_propose(&self, purpose: Use) -> Result<(), ProposeError> {
        if self.is_draining() {
            return Err(ProposeError::Draining);
        }
        if !self.is_leader() {
            return Err(ProposeError::NotLeader {
                leader: self.leader(),
            });
        }
        let space = &self.shared.space;
        match (space.room(), purpose) {
            // What is under way comes on top, here and on the others, whose disks are as full.
            (Room::Plenty, Use::Readings) if !space.has_room_for(self.proposal_bytes().0) => {
                Err(ProposeError::NoSpace)
            }
            (Room::Plenty, _) | (Room::Low | Room::Scarce, Use::Upkeep) => Ok(()),
            (Room::Low | Room::Scarce, Use::Readings) | (Room::Exhausted, _) => {
                Err(ProposeError::NoSpace)
            }
        }
    }

    /// Whether this node's disk has room for so many bytes more that stay.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        self.shared.space.has_room_for(bytes)
    }

    /// Takes note of how many bytes of commands are not sealed here.
    pub(crate) fn note_unsealed(&self, bytes: u64) {
        self.shared.backlog.note(bytes);
    }

    /// Refuses entries from the leader when there is no place for them: the disk is full, or too much
    /// waits to be sealed.
    pub(super) fn takes_entries(&self, entries: &[Entry]) -> Result<(), Refusal> {
        let id = self.shared.id;
        let brings_readings = |entry: &Entry| match &entry.payload {
            EntryPayload::Normal(payload) => Use::of(&payload.0) == Use::Readings,
            EntryPayload::Blank | EntryPayload::Membership(_) => false,
        };
        let full_at = match entries.iter().any(brings_readings) {
            true => Room::Scarce,
            false => Room::Exhausted,
        };
        if self.shared.space.room() >= full_at {
            Err(Refusal::NoSpace { id })
        } else if self.shared.backlog.is_refused() {
            Err(Refusal::Unsealed { id })
        } else {
            Ok(())
        }
    }

    /// This node's id.
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// The shard this replica is of.
    pub fn shard(&self) -> u32 {
        self.shared.proposals.shard()
    }

    /// Who leads, as far as this node knows.
    pub fn leader(&self) -> Option<Member> {
        self.member(leader_of(&self.metrics())?)
    }

    /// Whether this node leads, as far as it knows: a majority has answered it lately.
    pub fn is_leader(&self) -> bool {
        let metrics = self.shared.group.metrics();
        let metrics = metrics.borrow_watched();
        metrics.state == ServerState::Leader && leader_of(&metrics) == Some(self.shared.id)
    }

    /// The member `id`, if it is one.
    pub(super) fn member(&self, id: u64) -> Option<Member> {
        let metrics = self.shared.group.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.membership();
        let address = members.get_node(&id)?.quic.clone();
        let voter = members.voter_ids().any(|voter| voter == id);
        drop(metrics);
        Some(Member {
            id,
            address,
            http: self.http_of(id),
            voter,
        })
    }

    /// The other members, with their addresses.
    pub(super) fn others(&self) -> Vec<(u64, Address)> {
        let metrics = self.shared.group.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.nodes();
        members
            .filter(|(id, _)| **id != self.shared.id)
            .map(|(id, address)| (*id, address.clone()))
            .collect()
    }

    pub(super) fn http_of(&self, id: u64) -> String {
        if id == self.shared.id {
            return self.shared.network.http.clone();
        }
        self.shared.reception.http_of(id).unwrap_or_default()
    }

    /// The last position applied here.
    pub fn applied(&self) -> Token {
        let index = (*self.shared.applied.borrow()).unwrap_or(0);
        Token {
            shard: self.shard(),
            index,
        }
    }

    /// Tells of every index that is applied here.
    pub fn applied_changes(&self) -> watch::Receiver<Option<u64>> {
        self.shared.applied.clone()
    }

    /// The log, to be followed.
    pub fn log(&self) -> &LogStore {
        &self.shared.store
    }

    /// How long ago this replica was certainly as fresh as the leader; `None` if it never was since
    /// it started. Measured on this node's own monotonic clock alone.
    pub fn age(&self) -> Option<Duration> {
        let fresh = *self.shared.fresh.borrow();
        fresh.map(|fresh| fresh.elapsed())
    }

    /// Waits until this replica was as fresh as the leader for the first time since it started.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn caught_up(&self) {
        let mut fresh = self.shared.fresh.subscribe();
        // The sender lives as long as this replica.
        drop(fresh.wait_for(Option::is_some).await);
    }

    /// Whether this node is known to have been removed from the cluster.
    pub fn is_removed(&self) -> bool {
        self.shared.network.removed.load(Ordering::Relaxed)
    }

    /// Takes no part in elections any more: this node was removed.
    pub(super) fn depart(&self) {
        self.shared.network.removed.store(true, Ordering::Relaxed);
        self.shared.group.runtime_config().elect(false);
    }

    /// Whether this node takes no more writes and does not lead.
    pub(super) fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Whether this node takes work.
    pub fn load(&self) -> Load {
        if self.is_draining() {
            Load::Draining
        } else if self.shared.proposals.is_overloaded()
            || self.shared.reads.is_overloaded()
            || self.shared.backlog.is_held()
            || self.shared.space.room() != Room::Plenty
        {
            Load::Overloaded
        } else {
            Load::Active
        }
    }

    /// Permits for reads, one each: what bounds them on this node.
    pub fn reads(&self) -> &FairShare {
        &self.shared.reads
    }

    /// Bytes of proposals under way, and of those that wait.
    pub fn proposal_bytes(&self) -> (u64, u64) {
        self.shared.proposals.bytes()
    }

    /// Waits until `token` is applied here.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn wait_applied(&self, token: Token, deadline: Instant) -> Result<(), WaitError> {
        if token.shard != self.shard() {
            return Err(WaitError::NoSuchShard(token.shard));
        }
        let mut applied = self.shared.applied.clone();
        let reached = applied.wait_for(|applied| applied.is_some_and(|index| index >= token.index));
        match timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(WaitError::Stopped),
            Err(_) => Err(WaitError::Timeout),
        }
    }

    /// Fetches a segment that is missing here from another member, the first that has it, and puts it
    /// in its place: the repair of one that was set aside. Does nothing if it is not missing.
    ///
    /// # Cancel safety
    /// Safe: what has arrived is kept, and the next attempt goes on with it.
    ///
    /// # Errors
    /// `NotFound` if no member that can be reached has it, `StorageFull` if this disk has no room, and
    /// whatever else stood in the way; try again later.
    pub async fn fetch_segment(&self, entry: &SegmentEntry) -> io::Result<()> {
        let transfer = &self.shared.transfer;
        let sources = transfer.sources(&self.shared.group);
        let received = Received::default();
        let fetched = transfer.fetch_segment(&sources, entry, &received);
        fetched.await.map_err(|error| {
            let kind = match &error {
                FetchError::NotHere { .. } => io::ErrorKind::NotFound,
                FetchError::NoSpace => io::ErrorKind::StorageFull,
                _ => io::ErrorKind::Other,
            };
            io::Error::new(kind, error)
        })
    }

    /// Takes over what the jobs that wait here came to on another member. Says whether there was one
    /// that has done them.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn take_over_jobs(&self) -> bool {
        let transfer = &self.shared.transfer;
        transfer.take_over_jobs(self, &self.shared.archive).await
    }

    /// Waits until this replica shows everything that was acknowledged before the call: asks the
    /// leader how far that is, and waits until it is applied here.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn linearizable(&self, deadline: Instant) -> Result<(), ReadError> {
        let index = self.read_index(Assurance::Quorum, deadline).await?;
        let token = Token {
            shard: self.shard(),
            index,
        };
        match self.wait_applied(token, deadline).await {
            Ok(()) => Ok(()),
            Err(WaitError::Timeout | WaitError::NoSuchShard(_)) => Err(ReadError::Timeout),
            Err(WaitError::Stopped) => Err(ReadError::Stopped),
        }
    }

    /// Asks whoever leads, until somebody says a position or the deadline passes.
    pub(super) async fn read_index(
        &self,
        assurance: Assurance,
        deadline: Instant,
    ) -> Result<u64, ReadError> {
        loop {
            let Ok(answer) = timeout_at(deadline, self.ask_leader(assurance, deadline)).await
            else {
                return Err(ReadError::NoLeader {
                    leader: self.leader(),
                });
            };
            if let Some(index) = answer? {
                return Ok(index);
            }
            let again = Instant::now() + LEADER_PAUSE;
            if again >= deadline {
                return Err(ReadError::NoLeader {
                    leader: self.leader(),
                });
            }
            tokio::time::sleep_until(again).await;
        }
    }

    /// Asks the leader this node knows of, which may be itself; `None` if it does not say.
    async fn ask_leader(
        &self,
        assurance: Assurance,
        deadline: Instant,
    ) -> Result<Option<u64>, ReadError> {
        let leader = self.shared.group.metrics().borrow_watched().current_leader;
        let Some(leader) = leader else {
            return Ok(None);
        };
        if leader == self.shared.id {
            return match reception::read_index(&self.shared.group, assurance).await {
                Some(FromPeer::Index(position)) => Ok(Some(LogId::from(position).index)),
                Some(_) => Ok(None),
                None => Err(ReadError::Stopped),
            };
        }
        let address = {
            let metrics = self.shared.group.metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.get_node(&leader).cloned()
        };
        let Some(address) = address else {
            return Ok(None);
        };
        let client = self.shared.network.client(leader, &address);
        let patience = deadline.saturating_duration_since(Instant::now());
        match client.read_index(assurance, patience).await {
            Ok(Ok(index)) => Ok(Some(index)),
            Ok(Err(_)) | Err(_) => Ok(None),
        }
    }
}
