//! The asking side of the consensus conversation: what the library calls to reach another member.
//!
//! Appends are pipelined: requests are written as fast as the stream takes them, answers come back
//! in order, and the oldest request without an answer bounds how long a half-dead peer can hold the
//! session. Everything of a session lives in the one stream that is handed to the library, so that
//! dropping it ends the session at once; nothing of an old session can take a request that belongs
//! to the next.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::BoxStream};
use openraft::{
    OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    alias::VoteOf,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
        StreamAppendResult, TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse,
        VoteRequest, VoteResponse,
    },
};
use store_wire::frame::{FrameReceiver, FrameSender, ReceiveError, SendError};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{
    link::{Link, Links, NotConnected},
    message::{self, Assurance, FromPeer, Position, Refusal, ToPeer},
    state_machine::{NoSnapshot, StoredSnapshot},
    types::{Address, LogId, Types},
};

/// How long a request may go without an answer before the session is given up. Longer than a slow
/// disk takes to sync, shorter than anybody would wait.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// How long a session waits for a connection before the library is told to back off.
const CONNECT_PATIENCE: Duration = Duration::from_millis(200);

/// Makes the library's clients, one for each member and purpose; they share the links.
#[derive(Debug, Clone)]
pub struct Network {
    /// This node.
    pub id: u64,
    /// Its cluster.
    pub cluster: Uuid,
    /// Where it serves HTTP, for the others' status pages.
    pub http: String,
    /// Connections to the other members.
    pub links: Links,
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
            id: self.id,
            removed: Arc::clone(&self.removed),
        }
    }
}

/// Asks one member.
#[derive(Debug, Clone)]
pub struct Client {
    hello: ToPeer,
    link: Link,
    id: u64,
    removed: Arc<AtomicBool>,
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
}

impl AskError {
    /// In the library's words: whether it should back off before trying again.
    fn into_rpc(self) -> RPCError<Types> {
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
            let (mut sender, mut receiver) = self.open(patience).await?;
            sender.queue(question, &[]).map_err(SendError::from)?;
            sender.finish().await?;
            self.answer(&mut receiver).await
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

    /// A stream whose first message, not yet written, says who we are.
    async fn open(&self, patience: Duration) -> Result<(FrameSender, FrameReceiver), AskError> {
        let (mut sender, receiver) = self.link.open(patience).await?;
        sender.queue(&self.hello, &[]).map_err(SendError::from)?;
        Ok((sender, receiver))
    }

    async fn answer(&self, receiver: &mut FrameReceiver) -> Result<FromPeer, AskError> {
        match receiver.receive().await? {
            Some((FromPeer::Refused(refusal), _)) => {
                warn_refused(&self.link, &refusal);
                // A member says so only once the removal is committed, and ids are never used again.
                if matches!(refusal, Refusal::Removed { node } if node == self.id) {
                    self.removed.store(true, Ordering::Relaxed);
                }
                Err(refusal.into())
            }
            Some((answer, _)) => Ok(answer),
            None => Err(AskError::Unfit),
        }
    }

    async fn ask_vote(
        &self,
        question: ToPeer,
        option: &RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let answer = self.ask(&question, option.soft_ttl()).await;
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
    type SnapshotData = NoSnapshot;

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

    async fn full_snapshot(
        &mut self,
        _vote: VoteOf<Types>,
        snapshot: StoredSnapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        match snapshot.snapshot {}
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

/// A request on its way: what to conclude from a plain "yes", and since when.
#[derive(Debug)]
struct Awaited {
    previous: Option<LogId>,
    since: Instant,
}

type Awaiting = Arc<Mutex<VecDeque<Awaited>>>;

/// One session of appends.
struct Session<'s> {
    client: &'s Client,
    /// Writes requests until there are no more; `None` once it is done.
    sending: Option<BoxFuture<'s, Result<(), SendError>>>,
    receiver: FrameReceiver,
    awaiting: Awaiting,
}

impl<'s> Session<'s> {
    fn answers<S>(
        client: &'s Client,
        requests: S,
        sender: FrameSender,
        receiver: FrameReceiver,
    ) -> BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let awaiting = Awaiting::default();
        let session = Self {
            client,
            sending: Some(send_all(requests, sender, Arc::clone(&awaiting)).boxed()),
            receiver,
            awaiting,
        };
        futures::stream::unfold(Some(session), |session| async {
            let mut session = session?;
            match session.next().await {
                Ok(None) => None,
                Ok(Some(Ok(last))) => Some((Ok(Ok(last)), Some(session))),
                Ok(Some(Err(refused))) => Some((Ok(Err(refused)), None)),
                Err(error) => Some((Err(error.into_rpc()), None)),
            }
        })
        .boxed()
    }

    /// The next answer; `None` once every request is answered and no more come.
    async fn next(&mut self) -> Result<Option<StreamAppendResult<Types>>, AskError> {
        loop {
            let oldest = oldest(&self.awaiting);
            if self.sending.is_none() && oldest.is_none() {
                return Ok(None);
            }
            // An answer may be awaited by the time the wait below ends, so look again then.
            let deadline = oldest.unwrap_or_else(Instant::now) + ANSWER_PATIENCE;
            tokio::select! {
                sent = poll_some(&mut self.sending) => {
                    self.sending = None;
                    sent?;
                }
                answer = self.client.answer(&mut self.receiver) => {
                    return self.conclude(answer?).map(Some);
                }
                () = sleep_until(deadline) => {
                    if oldest.is_some() {
                        return Err(AskError::Late(ANSWER_PATIENCE));
                    }
                }
            }
        }
    }

    fn conclude(&self, answer: FromPeer) -> Result<StreamAppendResult<Types>, AskError> {
        let answered = lock(&self.awaiting).pop_front().ok_or(AskError::Unfit)?;
        match answer {
            FromPeer::Appended(last) => Ok(Ok(last.map(LogId::from))),
            FromPeer::HigherVote(vote) => Ok(Err(StreamAppendError::HigherVote(vote.into()))),
            FromPeer::Conflict(at) if answered.previous.map(Position::from) == Some(at) => {
                Ok(Err(StreamAppendError::Conflict(at.into())))
            }
            _ => Err(AskError::Unfit),
        }
    }
}

/// Writes every request, as fast as the stream takes them, and ends it.
async fn send_all<S>(
    mut requests: S,
    mut sender: FrameSender,
    awaiting: Awaiting,
) -> Result<(), SendError>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
{
    while let Some(request) = requests.next().await {
        let awaited = Awaited {
            previous: request.prev_log_id,
            since: Instant::now(),
        };
        lock(&awaiting).push_back(awaited);
        let (head, body) = message::append(&request);
        sender.send(&head, &body).await?;
    }
    sender.finish().await
}

async fn poll_some<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

fn oldest(awaiting: &Awaiting) -> Option<Instant> {
    lock(awaiting).front().map(|awaited| awaited.since)
}

fn lock(awaiting: &Awaiting) -> std::sync::MutexGuard<'_, VecDeque<Awaited>> {
    awaiting.lock().unwrap_or_else(PoisonError::into_inner)
}
