//! Serves questions on any replica: one request a stream, answered in frames.
//!
//! A read first waits until this replica is as fresh as was asked ([`freshness`]), then says how fresh
//! it is and streams what [`crate::scan`] finds, as it is found ([`reads`]). A write by hand goes the
//! way of a batch without a name ([`write`]); deletes ([`delete`]) and rules of retention
//! ([`retention`]) are commands of their own, and so is a change of the membership by an operator
//! ([`change`]), or of what a series is ([`describe`]), or of a board ([`boards`]). Who follows what is committed is served by [`tail`],
//! for as long as both sides are there. What the peer's certificate does not let it read does
//! not exist for it.
//!
//! Bounds: a request may take as long as it says, and [`TIMEOUT_MAX`] at most; a node answers so many
//! reads at a time, shared fairly between identities, lets four times as many wait, and says
//! `OVERLOADED` to more; what all of them hold decoded is bounded as well; a part of an answer fits a
//! frame, and an answer is given up as soon as nobody reads it.

mod boards;
mod change;
mod delete;
mod describe;
mod freshness;
mod handover;
mod reads;
mod retention;
mod tail;
mod write;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::{counter, histogram};
use store_wire::endpoint::Connection;
use store_wire::frame::{FrameReceiver, FrameSender, ReceiveError, SendError};
use store_wire::identity::PeerIdentity;
use store_wire::message::{
    ErrorCode, Intent, Request, Response, RetentionRequest, RowsAsked, WireError,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::ingest::refusal::propose_error;
use crate::node::Context;
use crate::raft::Proposed;

use reads::Read;
pub use tail::SUBSCRIBERS_MAX;

/// The longest a request may take, whatever it asks for.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// Most rows, or buckets, of one answer.
pub const ROWS_MAX: u64 = 100_000_000;
/// Most bytes that one scan holds decoded at a time.
pub const DECODED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Most bytes that the groups of one question take.
pub const GROUPS_BYTES_MAX: usize = 128 * 1024 * 1024;

/// How long a stream may take to say what it asks.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer may take to read the end of an answer.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves one connection until it ends or `stop` is cancelled. Answers that have begun go on to
/// their end; the node gives them up when its time is over.
pub async fn serve(connection: Connection, context: Arc<Context>, stop: CancellationToken) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = connection.accept() => match accepted {
                Ok((sender, receiver)) => {
                    let (connection, context) = (connection.clone(), Arc::clone(&context));
                    let stop = stop.clone();
                    streams.spawn(async move {
                        answer(sender, receiver, connection.peer(), &context, &stop).await;
                    });
                }
                Err(reason) => {
                    debug!(peer = %connection.peer(), %reason, "reader's connection ended");
                    break;
                }
            },
            Some(ended) = streams.join_next() => note_panic(ended),
        }
    }
    while let Some(ended) = streams.join_next().await {
        note_panic(ended);
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a stream's task panicked");
    }
}

/// Why an answer is not whole.
enum Unanswered {
    /// The peer is to be told.
    Failed(WireError),
    /// There is nobody to tell.
    Gone,
}

impl From<WireError> for Unanswered {
    fn from(error: WireError) -> Self {
        Self::Failed(error)
    }
}

impl From<SendError> for Unanswered {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotAFrame(error) => {
                Self::Failed(WireError::new(ErrorCode::Internal, error.to_string()))
            }
            SendError::Stopped { .. } | SendError::Finished | SendError::Lost(_) => Self::Gone,
        }
    }
}

/// One stream: a request and its answer.
async fn answer(
    mut sender: FrameSender,
    mut receiver: FrameReceiver,
    peer: &PeerIdentity,
    context: &Arc<Context>,
    stop: &CancellationToken,
) {
    let begun = Instant::now();
    let (request, body) = match timeout(REQUEST_TIMEOUT, receiver.receive::<Request>()).await {
        Ok(Ok(Some(request))) => request,
        Ok(Err(ReceiveError::NotAFrame(error))) => {
            let error = WireError::new(ErrorCode::BadRequest, error.to_string());
            return last_word(&mut sender, Some(error)).await;
        }
        Ok(Ok(None) | Err(_)) | Err(_) => return,
    };
    let verb = match &request {
        Request::Within { request, .. } => verb(request),
        request => verb(request),
    };
    let outcome = respond(&mut sender, request, body, peer, context, stop).await;
    histogram!("tidemark_query_seconds", "request" => verb).record(begun.elapsed());
    let error = match outcome {
        Ok(()) => {
            counter!("tidemark_queries_total", "request" => verb, "outcome" => "OK").increment(1);
            None
        }
        Err(Unanswered::Failed(error)) => {
            debug!(%peer, verb, %error, "request failed");
            let code = error.code.as_str();
            counter!("tidemark_queries_total", "request" => verb, "outcome" => code).increment(1);
            Some(error)
        }
        Err(Unanswered::Gone) => {
            counter!("tidemark_queries_total", "request" => verb, "outcome" => "GONE").increment(1);
            return;
        }
    };
    last_word(&mut sender, error).await;
}

/// Says what went wrong, if anything, and lets the peer read the end before the stream is dropped.
async fn last_word(sender: &mut FrameSender, error: Option<WireError>) {
    if let Some(error) = error
        && sender.queue(&Response::Failed { error }, &[]).is_err()
    {
        return;
    }
    // A peer that does not read holds nothing up: what it has not read by then is dropped.
    let said = timeout(LAST_WORD_TIMEOUT, async {
        sender.finish().await?;
        sender.stopped().await;
        Ok::<_, SendError>(())
    });
    drop(said.await);
}

async fn respond(
    sender: &mut FrameSender,
    request: Request,
    body: Bytes,
    peer: &PeerIdentity,
    context: &Arc<Context>,
    stop: &CancellationToken,
) -> Result<(), Unanswered> {
    let acting;
    let (request, peer) = match request {
        Request::Within { scope, request } => {
            check_within(&request)?;
            acting = peer.acting_within(scope);
            (*request, &acting)
        }
        request => (request, peer),
    };
    let read = match request {
        Request::Within { .. } => return Err(nested().into()),
        Request::Status => {
            let status = Box::new(context.replica.status());
            return Ok(sender.send(&Response::Status(status), &[]).await?);
        }
        Request::Write { series, timeout_ms } => {
            let deadline = deadline(timeout_ms);
            let token = write::write(context, peer, &series, body, deadline).await?;
            return Ok(sender.send(&Response::Written { token }, &[]).await?);
        }
        Request::Change { change, timeout_ms } => {
            let deadline = deadline(timeout_ms);
            let changed = change::change(&context.replica, peer, &change, deadline).await?;
            return Ok(sender.send(&changed, &[]).await?);
        }
        Request::Delete {
            pattern,
            range,
            intent,
            timeout_ms,
        } => {
            let deadline = deadline(timeout_ms);
            let deleted = delete::delete(context, peer, pattern, range, intent, deadline);
            let deleted = match intent {
                Intent::Preview => while_wanted(sender, deleted).await?,
                _ => deleted.await?,
            };
            return Ok(sender.send(&deleted, &[]).await?);
        }
        Request::Retention {
            request,
            timeout_ms,
        } => {
            let deadline = deadline(timeout_ms);
            let is_preview = matches!(request, RetentionRequest::Preview { .. });
            let answer = retention::retention(context, peer, request, deadline);
            let answer = match is_preview {
                true => while_wanted(sender, answer).await?,
                false => answer.await?,
            };
            return Ok(sender.send(&answer, &[]).await?);
        }
        Request::Describe {
            path,
            kind,
            change,
            timeout_ms,
        } => {
            let deadline = deadline(timeout_ms);
            let described =
                describe::describe(context, peer, &path, kind, &change, deadline).await?;
            return Ok(sender.send(&described, &[]).await?);
        }
        Request::Boards {
            consistency,
            timeout_ms,
        } => {
            let deadline = deadline(timeout_ms);
            return boards::list(sender, peer, context, consistency, deadline).await;
        }
        Request::Board {
            name,
            consistency,
            timeout_ms,
        } => {
            let deadline = deadline(timeout_ms);
            return boards::show(sender, peer, context, &name, consistency, deadline).await;
        }
        Request::SetBoard {
            name,
            expected,
            change,
            timeout_ms,
        } => {
            let deadline = deadline(timeout_ms);
            let set = boards::set(context, peer, name, expected, change, body, deadline);
            let token = set.await?;
            return Ok(sender.send(&Response::Written { token }, &[]).await?);
        }
        Request::Tail { patterns, after } => {
            return tail::tail(sender, patterns, after, peer, context, stop).await;
        }
        Request::Range {
            question,
            bounds,
            consistency,
            timeout_ms,
        } => {
            question
                .check()
                .map_err(|error| WireError::new(ErrorCode::BadRequest, error.to_string()))?;
            (Read::Range(question, bounds), consistency, timeout_ms)
        }
        Request::Last {
            pattern,
            consistency,
            timeout_ms,
        } => (Read::Last(pattern), consistency, timeout_ms),
        Request::Series {
            pattern,
            consistency,
            timeout_ms,
        } => (Read::Series(pattern), consistency, timeout_ms),
    };
    let (read, consistency, timeout_ms) = read;
    reads::check_permission(read.patterns(), peer)?;
    let deadline = deadline(timeout_ms);
    let turn = async {
        freshness::reach(&context.replica, consistency, deadline).await?;
        reads::turn(context, peer, deadline).await
    };
    let permit = tokio::select! {
        permit = turn => permit?,
        () = sender.stopped() => return Err(Unanswered::Gone),
    };
    reads::answer(sender, read, peer, context, deadline, permit).await
}

/// What `asked` comes to, unless the peer goes first. For what may be dropped at any time.
async fn while_wanted<T>(
    sender: &FrameSender,
    asked: impl Future<Output = Result<T, WireError>>,
) -> Result<T, Unanswered> {
    tokio::select! {
        answer = asked => Ok(answer?),
        () = sender.stopped() => Err(Unanswered::Gone),
    }
}

/// Whether a request may be made within a scope: scopes are of series.
fn check_within(request: &Request) -> Result<(), WireError> {
    match request {
        Request::Change { .. } | Request::Retention { .. } => {
            let message = "a token of the API cannot change the cluster or its retention: use an \
                           identity of the role operator";
            Err(WireError::new(ErrorCode::Forbidden, message))
        }
        _ => Ok(()),
    }
}

fn nested() -> WireError {
    let message = "a scope within a scope means nothing: send the inner one alone";
    WireError::new(ErrorCode::BadRequest, message)
}

/// Commits a command and waits until it is applied.
///
/// # Cancel safety
/// It may be committed when the future is dropped.
///
/// # Errors
/// All but [`ErrorCode::Unknown`] mean that it was not committed.
async fn proposed(
    context: &Context,
    name: &str,
    payload: Bytes,
    deadline: Instant,
) -> Result<Proposed, WireError> {
    let replica = &context.replica;
    let reserved = timeout_at(deadline, replica.reserve_for(name, &payload)).await;
    let reserved = reserved.map_err(|_| {
        let late = "nothing was changed in the time allowed";
        WireError::new(ErrorCode::Timeout, late)
    })?;
    let reservation = reserved.map_err(propose_error)?;
    let proposed = timeout_at(deadline, replica.propose_reserved(reservation, payload)).await;
    let proposed = proposed.map_err(|_| {
        let unknown =
            "it was sent on, and did not end in the time allowed: look before repeating it";
        WireError::new(ErrorCode::Unknown, unknown)
    })?;
    proposed.map_err(propose_error)
}

fn deadline(timeout_ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(timeout_ms).min(TIMEOUT_MAX)
}

const fn verb(request: &Request) -> &'static str {
    match request {
        Request::Range { question, .. } => match question.rows {
            RowsAsked::Readings => "range",
            RowsAsked::Buckets { .. } => "buckets",
        },
        Request::Last { .. } => "last",
        Request::Series { .. } => "series",
        Request::Write { .. } => "write",
        Request::Tail { .. } => "tail",
        Request::Status => "status",
        Request::Change { .. } => "change",
        Request::Delete { .. } => "delete",
        Request::Retention { .. } => "retention",
        Request::Describe { .. } => "describe",
        Request::Boards { .. } => "boards",
        Request::Board { .. } => "board",
        Request::SetBoard { .. } => "set_board",
        Request::Within { .. } => "within",
    }
}
