//! The answering side of the consensus conversation: who is let in, and what is passed on.
//!
//! What a node answers depends on its [`Stage`]. Before it is a running member it only says where it
//! stands, or takes a new cluster's identity from the founder; after that every stream must first name
//! the cluster and this node, so that a foreign or wiped node gets a clear refusal and no say. Who
//! names the cluster was let in once, and is answered even if this node has not heard of it yet: a
//! replica that lags behind must not keep the others from electing a leader. Only who was removed for
//! good is refused. Blank nodes that want to join are answered in `admission.rs`.

mod appends;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use openraft::{
    ReadPolicy,
    errors::{LinearizableReadError, RaftError},
    raft::TransferLeaderRequest,
};
use store_wire::{
    endpoint::Connection,
    frame::{FrameReceiver, FrameSender, ReceiveError, SendError},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use super::{
    complaints::Complaints,
    log_store::LogStore,
    message::{Assurance, Founders, FromPeer, Refusal, Standing, ToPeer},
    replica::Replica,
    transfer::Transfer,
    types::{Group, LogId},
};

/// Answers other members. Clones are the same.
#[derive(Clone)]
pub struct Reception {
    shared: Arc<Shared>,
}

struct Shared {
    id: u64,
    stage: Mutex<Stage>,
    peers: Mutex<BTreeMap<u64, Peer>>,
    complaints: Complaints,
}

/// What another member said of itself.
#[derive(Default)]
struct Peer {
    http: String,
    draining: bool,
    /// When it answered last.
    heard: Option<Instant>,
}

/// What this node can answer for.
pub enum Stage {
    /// It does not know yet: its folder is being read.
    Starting,
    /// It belongs to no cluster and waits for the founder.
    Blank {
        /// The cluster it was told to be part of.
        founders: Founders,
        /// Where a founder's word goes.
        found: mpsc::Sender<FoundRequest>,
    },
    /// It has written a cluster down, and consensus does not run yet.
    Joined {
        /// The cluster.
        cluster: Uuid,
        /// Whether its log holds entries of the cluster.
        has_entries: bool,
    },
    /// Consensus runs.
    Running(Arc<RunningMember>),
    /// Consensus has ended.
    Stopping,
}

/// What a running member answers with.
pub struct RunningMember {
    /// Its cluster.
    pub cluster: Uuid,
    /// The replica.
    pub replica: Replica,
    /// The consensus group.
    pub group: Group,
    /// Its log.
    pub store: LogStore,
    /// Gives and takes sealed segments.
    pub transfer: Transfer,
}

/// The founder's word: write this cluster down, then answer.
#[derive(Debug)]
pub struct FoundRequest {
    /// The founder.
    pub from: u64,
    /// The cluster's UUID.
    pub cluster: Uuid,
    /// Its members.
    pub founders: Founders,
    /// `Ok` once it is durable.
    pub done: oneshot::Sender<Result<(), Refusal>>,
}

/// Why a stream ended early. For the log: the peer has been told, or is gone.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Receive(#[from] ReceiveError),
}

impl Reception {
    /// A node that has just started.
    pub fn new(id: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                id,
                stage: Mutex::new(Stage::Starting),
                peers: Mutex::default(),
                complaints: Complaints::default(),
            }),
        }
    }

    /// Answers for `stage` from now on.
    pub fn enter(&self, stage: Stage) {
        *self.stage() = stage;
    }

    /// Where the member `id` serves HTTP, if it has said so.
    pub fn http_of(&self, id: u64) -> Option<String> {
        Some(self.peers().get(&id)?.http.clone())
    }

    /// Whether the member `id` said last that it must not be made leader.
    pub fn is_draining(&self, id: u64) -> bool {
        self.peers().get(&id).is_some_and(|peer| peer.draining)
    }

    /// Takes note that the member `id` answered a greeting.
    pub(super) fn note_answer(&self, id: u64, draining: bool) {
        let mut peers = self.peers();
        let peer = peers.entry(id).or_default();
        peer.draining = draining;
        peer.heard = Some(Instant::now());
    }

    /// How long ago the member `id` answered a greeting; `None` if it never did.
    pub(super) fn silent_for(&self, id: u64) -> Option<Duration> {
        let heard = self.peers().get(&id)?.heard?;
        Some(heard.elapsed())
    }

    /// Takes note of what the member `id` said.
    pub(super) fn note_draining(&self, id: u64, draining: bool) {
        if let Some(peer) = self.peers().get_mut(&id) {
            peer.draining = draining;
        }
    }

    /// Answers the streams of one connection until it ends or `stop` is cancelled.
    pub async fn serve(&self, connection: Connection, stop: CancellationToken) {
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                stream = connection.accept() => match stream {
                    Ok((sender, receiver)) => {
                        let this = self.clone();
                        streams.spawn(async move {
                            if let Err(error) = this.answer(sender, receiver).await {
                                debug!(%error, "a consensus stream ended early");
                            }
                        });
                    }
                    Err(lost) => {
                        debug!(reason = %lost, "a consensus connection ended");
                        break;
                    }
                },
                Some(_) = streams.join_next() => {}
            }
        }
        streams.shutdown().await;
    }

    async fn answer(
        &self,
        mut sender: FrameSender,
        mut receiver: FrameReceiver,
    ) -> Result<(), StreamError> {
        let Some((first, _)) = receiver.receive::<ToPeer>().await? else {
            return Ok(());
        };
        let answer = match first {
            ToPeer::Introduce { from, founders } => self.introduce(from, &founders),
            ToPeer::Found {
                from,
                to,
                cluster,
                founders,
            } => self.found(from, to, cluster, founders).await,
            ToPeer::Join(newcomer) => self.admit_newcomer(newcomer).await,
            ToPeer::Hello {
                cluster,
                from,
                to,
                http,
            } => match self.admit(cluster, from, to, http) {
                Ok(member) => return self.converse(&member, from, sender, receiver).await,
                Err(refusal) => FromPeer::Refused(refusal),
            },
            _ => malformed("the first message is not a greeting"),
        };
        sender.send(&answer, &[]).await?;
        Ok(sender.finish().await?)
    }

    fn introduce(&self, from: u64, founders: &Founders) -> FromPeer {
        let standing = match &*self.stage() {
            Stage::Starting | Stage::Stopping => Standing::Starting,
            Stage::Blank { founders, .. } => Standing::Blank(founders.clone()),
            Stage::Joined {
                cluster,
                has_entries,
            } => formed(*cluster, *has_entries),
            Stage::Running(member) => {
                let formed = formed(member.cluster, !member.store.is_empty());
                let due = self.shared.complaints.is_due(from, "blank");
                if due && matches!(formed, Standing::Formed(_)) {
                    warn!(
                        peer = from,
                        founders = ?founders,
                        "a node without data asks to form a cluster: it was wiped, or it is not meant \
                         to be here; it gets no vote"
                    );
                }
                formed
            }
        };
        FromPeer::Introduced {
            id: self.shared.id,
            standing,
        }
    }

    async fn found(&self, from: u64, to: u64, cluster: Uuid, founders: Founders) -> FromPeer {
        let id = self.shared.id;
        if to != id {
            return FromPeer::Refused(Refusal::OtherNode { id });
        }
        let found = match &*self.stage() {
            Stage::Starting | Stage::Stopping => {
                return FromPeer::Refused(Refusal::Starting { id });
            }
            Stage::Joined { cluster: own, .. } => return rejoin(id, *own, cluster),
            Stage::Running(member) => return rejoin(id, member.cluster, cluster),
            Stage::Blank { found, .. } => found.clone(),
        };
        let (done, written) = oneshot::channel();
        let request = FoundRequest {
            from,
            cluster,
            founders,
            done,
        };
        if found.send(request).await.is_err() {
            return FromPeer::Refused(Refusal::Starting { id });
        }
        match written.await {
            Ok(Ok(())) => FromPeer::Joined,
            Ok(Err(refusal)) => FromPeer::Refused(refusal),
            Err(_) => FromPeer::Refused(Refusal::Starting { id }),
        }
    }

    /// Lets in who means this node and belongs to its cluster.
    fn admit(
        &self,
        cluster: Uuid,
        from: u64,
        to: u64,
        http: String,
    ) -> Result<Arc<RunningMember>, Refusal> {
        let id = self.shared.id;
        let member = self.running()?;
        let refusal = if cluster != member.cluster {
            let cluster = member.cluster;
            Refusal::OtherCluster { id, cluster }
        } else if to != id {
            Refusal::OtherNode { id }
        } else if from == id {
            not_understood("the sender says that it is the receiver")
        } else if member.replica.was_removed(from) {
            Refusal::Removed { node: from }
        } else {
            if member.replica.member(from).is_some() {
                self.peers().entry(from).or_default().http = http;
            }
            return Ok(member);
        };
        self.complain(from, &refusal);
        Err(refusal)
    }

    /// The running member, or why there is none.
    pub(super) fn running(&self) -> Result<Arc<RunningMember>, Refusal> {
        let id = self.shared.id;
        match &*self.stage() {
            Stage::Running(member) => Ok(Arc::clone(member)),
            Stage::Stopping => Err(Refusal::Stopping { id }),
            Stage::Starting | Stage::Blank { .. } | Stage::Joined { .. } => {
                Err(Refusal::Starting { id })
            }
        }
    }

    /// Says that `peer` was refused, unless that was said lately.
    pub(super) fn complain(&self, peer: u64, refusal: &Refusal) {
        if self.shared.complaints.is_due(peer, &refusal.to_string()) {
            warn!(peer, %refusal, "a node was refused");
        }
    }

    /// Serves the request that follows the greeting.
    async fn converse(
        &self,
        member: &RunningMember,
        from: u64,
        mut sender: FrameSender,
        mut receiver: FrameReceiver,
    ) -> Result<(), StreamError> {
        let id = self.shared.id;
        let stopping = || FromPeer::Refused(Refusal::Stopping { id });
        let answer = match receiver.receive::<ToPeer>().await? {
            None => return Ok(()),
            Some((first @ ToPeer::Append { .. }, body)) => {
                let replica = member.replica.clone();
                let requests = appends::Requests::new(replica, (first, body), receiver);
                return appends::append(member, requests, sender).await;
            }
            Some((ToPeer::Vote(candidacy), _)) => {
                let answer = member.group.vote(candidacy.into()).await;
                answer.map_or_else(|_| stopping(), FromPeer::from)
            }
            Some((ToPeer::PreVote(candidacy), _)) => {
                let answer = member.group.pre_vote(candidacy.into()).await;
                answer.map_or_else(|_| stopping(), FromPeer::from)
            }
            Some((ToPeer::TransferLeader { from, to, last }, _)) => {
                let last = last.map(LogId::from);
                let request = TransferLeaderRequest::new(from.into(), to, last);
                match member.group.handle_transfer_leader(request).await {
                    Ok(outcome) => {
                        FromPeer::Transferred(outcome.map_err(|error| error.to_string()))
                    }
                    Err(_) => stopping(),
                }
            }
            Some((ToPeer::Install(install), _)) => {
                let transfer = &member.transfer;
                let installed = transfer.install(&member.group, from, install, &mut sender);
                return Ok(installed.await?);
            }
            Some((ToPeer::Fetch { file, offset }, _)) => {
                return Ok(member.transfer.serve(file, offset, &mut sender).await?);
            }
            Some((ToPeer::Greet { draining }, _)) => {
                self.note_draining(from, draining);
                let draining = member.replica.is_draining();
                FromPeer::Greeted { draining }
            }
            Some((ToPeer::Drain, _)) => {
                member.replica.drain().await;
                FromPeer::Draining
            }
            Some((ToPeer::Newest, _)) => {
                return Ok(member.transfer.serve_newest(&mut sender).await?);
            }
            Some((ToPeer::Compare { index }, _)) => {
                let digests = member.replica.digests_at(index).await;
                FromPeer::Compared {
                    applied: digests.applied.map(|(_, digest)| digest),
                    sealed: digests.sealed,
                }
            }
            Some((ToPeer::ReadIndex { assurance }, _)) => read_index(&member.group, assurance)
                .await
                .unwrap_or_else(stopping),
            Some(_) => malformed("the message does not follow a greeting"),
        };
        sender.send(&answer, &[]).await?;
        Ok(sender.finish().await?)
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<u64, Peer>> {
        let peers = &self.shared.peers;
        peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        let stage = &self.shared.stage;
        stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Reception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reception")
            .field("id", &self.shared.id)
            .finish_non_exhaustive()
    }
}

/// The position a leader gives for reads; `None` if consensus has stopped.
pub(super) async fn read_index(group: &Group, assurance: Assurance) -> Option<FromPeer> {
    let policy = match assurance {
        Assurance::Quorum => ReadPolicy::ReadIndex,
        Assurance::Lease => ReadPolicy::LeaseRead,
    };
    match group.get_read_linearizer(policy).await {
        Ok(linearizer) => Some(FromPeer::Index((*linearizer.read_log_id().log_id()).into())),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
            Some(FromPeer::NotLeader(forward.leader_id))
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
            Some(FromPeer::NotLeader(None))
        }
        Err(RaftError::Fatal(_)) => None,
    }
}

fn formed(cluster: Uuid, has_entries: bool) -> Standing {
    if has_entries {
        Standing::Formed(cluster)
    } else {
        Standing::Joined(cluster)
    }
}

/// A founder that did not hear our answer asks again.
fn rejoin(id: u64, own: Uuid, offered: Uuid) -> FromPeer {
    if own == offered {
        FromPeer::Joined
    } else {
        FromPeer::Refused(Refusal::OtherCluster { id, cluster: own })
    }
}

fn malformed(reason: &str) -> FromPeer {
    FromPeer::Refused(not_understood(reason))
}

fn not_understood(reason: &str) -> Refusal {
    Refusal::Malformed {
        reason: reason.to_owned(),
    }
}
