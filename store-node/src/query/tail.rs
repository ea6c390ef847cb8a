//! Live data: every batch from a position on, as this replica applies it.
//!
//! Nothing is queued for a subscriber. Its task follows this node's own log as far as it has been
//! applied, and sends of each entry the chunks asked for, as they stand there: whoever reads slowly
//! lags behind, in the log, and costs no memory for it. A position is an index of the log, the same on
//! every node, so a subscriber goes on at any of them.
//!
//! - Entries that came to nothing when they were applied are left out ([`crate::state::voids`]), so
//!   that a batch which stands in the log twice is sent once.
//! - What was purged, or is not known to be void or not, is `GONE` on this node; another may have it.
//! - A subscriber that takes nothing for [`SLOW_MAX`] is dropped.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use sensor_model::{Consistency, Pattern, SeriesDescription, SeriesId, SeriesPath, Token};
use store_wire::frame::{FrameSender, SendError};
use store_wire::identity::PeerIdentity;
use store_wire::message::{
    ErrorCode, PATTERNS_MAX, RESET_SLOW, RangeQuestionError, Response, WireError,
};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::reads::{LIST_BYTES_MAX, check_permission, series_bytes};
use super::{Unanswered, freshness};
use crate::command::Command;
use crate::node::Context;
use crate::raft::{FollowError, Run};
use crate::scan::read;
use crate::state::State;

/// Subscribers of a node at a time; one identity may have a quarter of them.
pub const SUBSCRIBERS_MAX: usize = 256;

/// How often a subscriber hears how far it is.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a subscriber may take nothing.
const SLOW_MAX: Duration = Duration::from_secs(30);
/// How long a replica may have heard of no leader before its subscribers do better elsewhere.
const AGE_MAX: Duration = Duration::from_secs(10);
/// A subscriber asked again after so long is told the same.
const CROWDED_RETRY_MS: u64 = 1_000;
/// How long a replica may need to get as far as the subscriber.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends what follows `after`, until either side has enough.
pub(super) async fn tail(
    sender: &mut FrameSender,
    patterns: Vec<Pattern>,
    after: Option<Token>,
    peer: &PeerIdentity,
    context: &Arc<Context>,
    stop: &CancellationToken,
) -> Result<(), Unanswered> {
    if !(1..=PATTERNS_MAX).contains(&patterns.len()) {
        let error = RangeQuestionError::Count {
            what: "patterns",
            count: patterns.len(),
            most: PATTERNS_MAX,
        };
        return Err(WireError::new(ErrorCode::BadRequest, error.to_string()).into());
    }
    check_permission(&patterns, peer)?;
    let entered = context.subscribers.enter(peer.id());
    let _entry =
        entered.map_err(|crowded| WireError::overloaded(crowded.to_string(), CROWDED_RETRY_MS))?;
    let replica = &context.replica;
    let consistency = after.map_or(Consistency::Any, Consistency::AtLeast);
    freshness::reach(replica, consistency, Instant::now() + REACH_TIMEOUT).await?;
    let after = match after {
        Some(after) => after,
        None => {
            check_known(&patterns, &read(&context.state))?;
            replica.applied()
        }
    };
    let mut subscription = Subscription {
        context,
        peer,
        patterns,
        after: after.index,
        known: Vec::new(),
        said: Instant::now(),
    };
    subscription.check_there()?;
    let freshness = freshness::now(replica);
    sender
        .queue(&Response::Tailing { freshness, after }, &[])
        .map_err(SendError::from)?;
    flush(sender).await?;
    let gone = sender.stopped();
    tokio::select! {
        ended = subscription.run(sender) => ended,
        () = gone => Err(Unanswered::Gone),
        () = stop.cancelled() => {
            let reason = "the node is shutting down: go on at another";
            Err(WireError::new(ErrorCode::Draining, reason).into())
        }
    }
}

/// A path that nobody has written is refused, as everywhere: it is misspelt, as a rule.
fn check_known(patterns: &[Pattern], state: &State) -> Result<(), WireError> {
    for pattern in patterns {
        if let Ok(path) = SeriesPath::new(pattern.as_str())
            && state.registry().find(&path).is_none()
        {
            let message = format!("series {path} does not exist");
            return Err(WireError::new(ErrorCode::NotFound, message));
        }
    }
    Ok(())
}

/// What is known of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing yet.
    Nothing,
    /// It was not asked for, or may not be read.
    Unwanted,
    /// It was declared.
    Declared,
}

struct Subscription<'a> {
    context: &'a Context,
    peer: &'a PeerIdentity,
    patterns: Vec<Pattern>,
    /// Everything up to this index is in the stream.
    after: u64,
    /// By series id.
    known: Vec<Known>,
    /// When the subscriber last heard how far it is.
    said: Instant,
}

impl Subscription<'_> {
    async fn run(&mut self, sender: &mut FrameSender) -> Result<(), Unanswered> {
        let mut applied = self.context.replica.applied_changes();
        loop {
            let through = applied.borrow_and_update().unwrap_or(0);
            while self.after < through {
                self.go_on(through, sender).await?;
            }
            let due = self.said + HEARTBEAT;
            tokio::select! {
                changed = applied.changed() => if changed.is_err() {
                    let reason = "consensus has stopped on this node";
                    return Err(WireError::new(ErrorCode::Draining, reason).into());
                },
                () = sleep_until(due) => {
                    self.check_fresh()?;
                    self.say_passed(sender)?;
                    flush(sender).await?;
                }
            }
        }
    }

    /// Sends some of what follows, at least one entry.
    async fn go_on(&mut self, through: u64, sender: &mut FrameSender) -> Result<(), Unanswered> {
        let log = self.context.replica.log();
        let followed = log.follow(self.after, through).await;
        let run = followed.map_err(|error| self.refused(&error))?;
        let voids = read(&self.context.state)
            .voids()
            .between(self.after, run.through);
        let voids = voids.ok_or_else(|| self.gone())?;
        self.send(&run, &voids, sender)?;
        self.after = run.through;
        if self.said.elapsed() >= HEARTBEAT {
            self.say_passed(sender)?;
        }
        flush(sender).await
    }

    fn send(
        &mut self,
        run: &Run,
        voids: &[u64],
        sender: &mut FrameSender,
    ) -> Result<(), Unanswered> {
        for (index, payload) in &run.commands {
            if voids.binary_search(index).is_ok() {
                continue;
            }
            // What is no command came to nothing when it was applied.
            let Ok(Command::Append(append)) = Command::parse(payload) else {
                continue;
            };
            let ids = append.batch.chunks().slices().map(|(id, _)| id);
            let declared = self.look_up(ids);
            declare(declared, sender)?;
            let wanted = |id| self.is_wanted(id).then_some(SeriesId(id));
            let mut chunks = append.batch.chunks().slices();
            if !chunks.any(|(id, _)| self.is_wanted(id)) {
                continue;
            }
            let body = append.batch.rewrite(wanted);
            let body = body.map_err(|error| internal(&error))?;
            let position = self.token(*index);
            queue(sender, &Response::Tailed { position }, body)?;
            counter!("tidemark_tail_batches_total").increment(1);
        }
        Ok(())
    }

    /// Finds out of series that are new to this stream whether they are wanted; gives those that are.
    fn look_up(&mut self, ids: impl Iterator<Item = u64>) -> Vec<(u64, Arc<SeriesDescription>)> {
        let is_new = |id: &u64| self.known(*id) == Known::Nothing;
        let new: Vec<u64> = ids.filter(is_new).collect();
        if new.is_empty() {
            return Vec::new();
        }
        let mut declared = Vec::new();
        let state = read(&self.context.state);
        for id in new {
            let Some(series) = state.registry().description(SeriesId(id)) else {
                continue;
            };
            let Ok(at) = usize::try_from(id) else {
                continue;
            };
            if self.known.len() <= at {
                self.known.resize(at + 1, Known::Nothing);
            }
            let mut patterns = self.patterns.iter();
            let is_wanted = patterns.any(|pattern| pattern.matches(&series.path))
                && self.peer.may_read(&series.path);
            if is_wanted && self.known[at] != Known::Declared {
                declared.push((id, Arc::clone(series)));
            }
            self.known[at] = match is_wanted {
                true => Known::Declared,
                false => Known::Unwanted,
            };
        }
        declared
    }

    fn known(&self, id: u64) -> Known {
        let known = usize::try_from(id).ok().and_then(|at| self.known.get(at));
        known.copied().unwrap_or(Known::Nothing)
    }

    fn is_wanted(&self, id: u64) -> bool {
        self.known(id) == Known::Declared
    }

    fn say_passed(&mut self, sender: &mut FrameSender) -> Result<(), Unanswered> {
        self.said = Instant::now();
        let passed = Response::Passed {
            freshness: freshness::now(&self.context.replica),
            position: self.token(self.after),
        };
        queue(sender, &passed, Bytes::new())
    }

    /// A replica that hears of no leader, or is no member, has nothing more to tell.
    fn check_fresh(&self) -> Result<(), WireError> {
        let replica = &self.context.replica;
        if let Some(fence) = replica.fence() {
            return Err(WireError::new(
                ErrorCode::Stale,
                format!("{fence}: ask another"),
            ));
        }
        if replica.age().is_none_or(|age| age > AGE_MAX) {
            let message = format!(
                "replica {} has not heard of a leader for a while: go on at another",
                replica.id()
            );
            return Err(WireError::new(ErrorCode::Stale, message));
        }
        Ok(())
    }

    /// Whether what follows is there, and known to be void or not.
    fn check_there(&self) -> Result<(), WireError> {
        let log_from = self.context.replica.log().first_kept();
        let known_from = read(&self.context.state).voids().known_from();
        if self.after + 1 < log_from.max(known_from) {
            return Err(self.gone());
        }
        Ok(())
    }

    fn gone(&self) -> WireError {
        let replica = &self.context.replica;
        let message = format!(
            "node {} no longer has what was committed after {}: take the history from some time on, or              what is committed from now on",
            replica.id(),
            self.token(self.after)
        );
        WireError::new(ErrorCode::Gone, message)
    }

    fn refused(&self, error: &FollowError) -> WireError {
        match error {
            FollowError::Gone { .. } => self.gone(),
            FollowError::Unreadable(_) => internal(error),
        }
    }

    fn token(&self, index: u64) -> Token {
        let shard = self.context.replica.shard();
        Token { shard, index }
    }
}

fn declare(
    series: Vec<(u64, Arc<SeriesDescription>)>,
    sender: &mut FrameSender,
) -> Result<(), Unanswered> {
    let mut list = Vec::new();
    let mut list_bytes = 0;
    for (id, series) in series {
        let bytes = series_bytes(&series);
        if list_bytes + bytes > LIST_BYTES_MAX && !list.is_empty() {
            let series = std::mem::take(&mut list);
            queue(sender, &Response::Declared { series }, Bytes::new())?;
            list_bytes = 0;
        }
        list_bytes += bytes;
        list.push((id, SeriesDescription::clone(&series)));
    }
    if list.is_empty() {
        return Ok(());
    }
    queue(sender, &Response::Declared { series: list }, Bytes::new())
}

fn queue(sender: &mut FrameSender, head: &Response, body: Bytes) -> Result<(), Unanswered> {
    let queued = sender.queue(head, &[body]);
    queued.map_err(|error| SendError::from(error).into())
}

/// Writes what is queued. A subscriber that does not take it in time is dropped: what it has of the
/// stream is whole, and it can go on at its position when it has time.
async fn flush(sender: &mut FrameSender) -> Result<(), Unanswered> {
    let Ok(flushed) = timeout(SLOW_MAX, sender.flush()).await else {
        debug!("a subscriber is too slow");
        counter!("tidemark_tail_slow_total").increment(1);
        sender.reset(RESET_SLOW);
        return Err(Unanswered::Gone);
    };
    Ok(flushed?)
}

fn internal(error: &dyn std::error::Error) -> WireError {
    error!(%error, source = ?error.source(), "the log cannot be read to a subscriber");
    WireError::new(ErrorCode::Internal, error.to_string())
}
