//! The asking side of the consensus conversation: what the library calls to reach another member.
//!
//! Votes are a question and an answer each. Appends are pipelined (`network/session.rs`), snapshots are
//! offered for the other side to fetch (`transfer/offer.rs`).

mod session;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::BoxStream};
use openraft::{
    OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    alias::VoteOf,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
        TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
        VoteResponse,
    },
};
use session::Session;
pub use session::UNANSWERED_BYTES_MAX;
use store_wire::frame::{FrameReceiver, FrameSender, ReceiveError, SendError};
use tokio::{sync::watch, time::timeout};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{
    link::{Link, Links, NotConnected},
    message::{Assurance, FromPeer, Refusal, ToPeer},
    state_machine::StoredSnapshot,
    transfer::{self, Offers},
    types::{Address, LogId, Types},
};
use crate::segments::manifest::Manifest;

/// How long a session waits for a connection before the library is told to back off.
const CONNECT_PATIENCE: Duration = Duration::from_millis(200);

/// How long to wait before a snapshot is offered again to a member that did not take it over.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);

/// Makes the library's clients, one for each member and purpose; they share the links.
#[derive(Debug, Clone)]
pub struct Network {
    /// This node.
    pub id: u64,
    /// Its cluster.
    pub cluster: Uuid,
    /// Where it serves HTTP, for the others' status pages.
    pub http: String,
    /// Where it is reached by the others, `HOST:PORT`.
    pub address: String,
    /// Connections to the other members.
    pub links: Links,
    /// Snapshots that are on offer to other members.
    pub offers: Offers,
    /// The first entry that is kept for members that are behind, however far: who is further behind
    /// than this gets a snapshot instead of entries.
    pub kept_from: watch::Sender<u64>,
    /// Set once a member says that this node was removed from the cluster.
    pub removed: Arc<AtomicBool>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, address: &Address) -> Client {
        self.client(target, address)
    }
}

impl Network {
    /// A client of the member `target`.
    pub fn client(&self, target: u64, address: &Address) -> Client {
        Client {
            hello: ToPeer::Hello {
                cluster: self.cluster,
                from: self.id,
                to: target,
                http: self.http.clone(),
            },
            link: self.links.link(target, &address.quic),
            network: self.clone(),
        }
    }
}

/// Asks one member.
#[derive(Debug, Clone)]
pub struct Client {
    hello: ToPeer,
    link: Link,
    network: Network,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The member cannot be reached; nothing was asked.
    #[error(transparent)]
    NotConnected(#[from] NotConnected),
    /// The question may have arrived or not.
    #[error("the question could not be sent")]
    Send(#[from] SendError),
    /// The question arrived, or did not; no answer came.
    #[error("no answer came")]
    Receive(#[from] ReceiveError),
    /// The member will not talk.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The member answered something else than what was asked.
    #[error("the answer does not fit the question, or is missing")]
    Unfit,
    /// No answer came in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The member lacks entries that are not kept for it any longer.
    #[error("the member is too far behind: it gets a snapshot")]
    Behind,
}

impl AskError {
    /// In the library's words: whether it should back off before trying again.
    pub(super) fn into_rpc(self) -> RPCError<Types> {
        match self {
            Self::NotConnected(_) | Self::Refused(_) => {
                RPCError::Unreachable(Unreachable::new(&self))
            }
            _ => RPCError::Network(NetworkError::new(&self)),
        }
    }
}

impl Client {
    /// Asks one question on a stream of its own.
    ///
    /// # Cancel safety
    /// Safe for the connection; whether the question arrived is not known.
    pub async fn ask(&self, question: &ToPeer, patience: Duration) -> Result<FromPeer, AskError> {
        let asking = async {
            let mut answers = self.begin(question, patience).await?;
            self.answer(&mut answers).await
        };
        match timeout(patience, asking).await {
            Ok(outcome) => outcome,
            Err(_) => Err(AskError::Late(patience)),
        }
    }

    /// Asks the leader for a position that covers everything acknowledged before the question.
    pub async fn read_index(
        &self,
        assurance: Assurance,
        patience: Duration,
    ) -> Result<Result<u64, Option<u64>>, AskError> {
        let question = ToPeer::ReadIndex { assurance };
        match self.ask(&question, patience).await? {
            FromPeer::Index(position) => Ok(Ok(LogId::from(position).index)),
            FromPeer::NotLeader(leader) => Ok(Err(leader)),
            _ => Err(AskError::Unfit),
        }
    }

    /// Asks a question that has many answers, waiting up to `patience` for a connection. Dropping
    /// what it returns tells the member that nobody waits any more.
    ///
    /// # Cancel safety
    /// As [`ask`](Self::ask).
    pub(super) async fn begin(
        &self,
        question: &ToPeer,
        patience: Duration,
    ) -> Result<FrameReceiver, AskError> {
        let (mut sender, receiver) = self.open(patience).await?;
        sender.queue(question, &[]).map_err(SendError::from)?;
        sender.finish().await?;
        Ok(receiver)
    }

    /// The member that is asked.
    pub(super) fn target(&self) -> u64 {
        self.link.target()
    }

    /// Whether a question would reach the member.
    pub(super) fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    /// The node that asks.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// A stream whose first message, not yet written, says who we are.
    async fn open(&self, patience: Duration) -> Result<(FrameSender, FrameReceiver), AskError> {
        let (mut sender, receiver) = self.link.open(patience).await?;
        sender.queue(&self.hello, &[]).map_err(SendError::from)?;
        Ok((sender, receiver))
    }

    /// The next answer to a question.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn answer(&self, receiver: &mut FrameReceiver) -> Result<FromPeer, AskError> {
        Ok(self.answer_with_body(receiver).await?.0)
    }

    /// As [`answer`](Self::answer), with the bytes that come with it.
    pub(super) async fn answer_with_body(
        &self,
        receiver: &mut FrameReceiver,
    ) -> Result<(FromPeer, Bytes), AskError> {
        match receiver.receive().await? {
            Some((FromPeer::Refused(refusal), _)) => {
                warn_refused(&self.link, &refusal);
                // A member says so only once the removal is committed, and ids are never used again.
                if matches!(refusal, Refusal::Removed { node } if node == self.network.id) {
                    self.network.removed.store(true, Ordering::Relaxed);
                }
                Err(refusal.into())
            }
            Some(answer) => Ok(answer),
            None => Err(AskError::Unfit),
        }
    }

    async fn ask_vote(
        &self,
        question: ToPeer,
        option: &RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let answer = self.ask(&question, option.hard_ttl()).await;
        match answer.map_err(AskError::into_rpc)? {
            FromPeer::Voted {
                vote,
                granted,
                last,
            } => Ok(VoteResponse {
                vote: vote.into(),
                vote_granted: granted,
                last_log_id: last.map(LogId::from),
            }),
            _ => Err(AskError::Unfit.into_rpc()),
        }
    }
}

/// A refusal that somebody must act on is said aloud; the others pass by themselves.
fn warn_refused(link: &Link, refusal: &Refusal) {
    let peer = link.target();
    let passes = matches!(refusal, Refusal::Starting { .. } | Refusal::Stopping { .. });
    if passes || !link.is_due(&refusal.to_string()) {
        debug!(peer, %refusal, "peer refuses to talk");
    } else {
        warn!(peer, %refusal, "peer refuses to talk");
    }
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = Arc<Manifest>;

    /// Not used by the library, which appends through [`stream_append`](Self::stream_append).
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let one = futures::stream::iter([request]);
        let mut answers = self.stream_append(one, option).await?;
        match answers.next().await {
            Some(result) => Ok(result?.into()),
            None => Err(AskError::Unfit.into_rpc()),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        requests: S,
        _option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        async move {
            let (sender, receiver) = self
                .open(CONNECT_PATIENCE)
                .await
                .map_err(AskError::into_rpc)?;
            Ok(Session::answers(self, requests, sender, receiver))
        }
        .boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(ToPeer::Vote(request.into()), &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(ToPeer::PreVote(request.into()), &option)
            .await
    }

    /// Takes as long as it takes: the library's limit is for a request and its answer.
    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: StoredSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let offering = async {
            let taken_over = transfer::offer(self, vote, snapshot).await;
            if let Err(error) = &taken_over {
                if self.link.is_due(&error.to_string()) {
                    warn!(peer = self.target(), %error, "a snapshot was not taken over, trying on");
                }
                // What stands in the way is seldom gone at once.
                tokio::time::sleep(SNAPSHOT_PAUSE).await;
            }
            taken_over
        };
        tokio::select! {
            closed = cancel => Err(closed.into()),
            taken_over = offering => match taken_over {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(error) => Err(error.into_rpc().into()),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let expected = *request.from_leader();
        let answer = self.ask(&request.into(), option.soft_ttl()).await;
        match answer.map_err(AskError::into_rpc)? {
            FromPeer::Transferred(Ok(())) => Ok(Ok(())),
            FromPeer::Transferred(Err(reason)) => {
                info!(reason, "a peer did not take part in handing over");
                let actual = expected;
                Ok(Err(TransferLeaderError::VoteChanged { expected, actual }))
            }
            _ => Err(AskError::Unfit.into_rpc()),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        // The link dials by itself; asking it costs nothing, so asking often is fine.
        Some(Backoff::new(std::iter::repeat(CONNECT_PATIENCE)))
    }
}
