//! The way of a proposal into the log: permits in bytes, then a queue that keeps the order of calls.
//!
//! A proposal holds permits for its bytes from before it is queued until it has an outcome, so that
//! at most so many bytes wait for the disk and the network, whoever sends them; they are shared
//! fairly between those who send ([`FairShare`]). The queue itself is not waited for: whoever holds
//! permits has a place in it.

use std::time::Duration;

use bytes::Bytes;
use openraft::{alias::WriteResponderOf, errors::ClientWriteError, raft::ClientWriteResult};
use sensor_model::Token;
use store_wire::{frame::BODY_BYTES_MAX, message::Member};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::types::{Answer, Group, Payload, Reply, Types};
use crate::{
    fair_share::{Busy, FairShare, Share},
    state::Outcome,
};

/// The longest command: one that fits a frame's body by itself.
pub const ENTRY_BYTES_MAX: usize = BODY_BYTES_MAX;
/// The least a proposal counts for: about what its bookkeeping takes.
const PROPOSAL_BYTES_MIN: usize = 512;
/// Places in the queue for what this node proposes by itself, beyond what permits allow.
const OWN_PROPOSALS_MAX: usize = 1024;
/// When to try again where even those are taken.
const QUEUE_RETRY: Duration = Duration::from_millis(100);
/// The name under which this node proposes by itself.
const OWN: &str = "node";

/// A proposal that was committed and applied.
#[derive(Debug)]
pub struct Proposed {
    /// Where in the log it is.
    pub token: Token,
    /// What applying it came to.
    pub outcome: Outcome,
}

/// Why a proposal has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was written. Ask `leader`, if known; right after an election none is for a moment.
    #[error("this node is not the leader")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<Member>,
    },
    /// Nothing was written: the disk has no room for more. Reads go on.
    #[error("the disk is full")]
    NoSpace,
    /// Nothing was written. Slow down and send again after `retry_after`.
    #[error("too many bytes wait for their way to the log")]
    Overloaded {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Nothing was written, and never will be: a command this long does not travel.
    #[error("a command of {bytes} bytes is longer than the {ENTRY_BYTES_MAX} allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Nothing was written: the node is shutting down.
    #[error("this node is shutting down")]
    Draining,
    /// It may be committed or not: leadership was lost on the way, or the node stopped.
    #[error("the outcome is not known")]
    Unknown,
    /// Nothing was written: consensus has stopped on this node.
    #[error("consensus has stopped on this node")]
    Stopped,
}

/// Permits for a proposal's bytes.
#[derive(Debug)]
pub struct Reservation {
    share: Share,
}

/// The entrance to the log. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Proposals {
    shard: u32,
    permits: FairShare,
    queue: mpsc::Sender<Queued>,
}

/// A proposal in the queue.
#[derive(Debug)]
pub(super) struct Queued {
    payload: Bytes,
    answer: WriteResponderOf<Types>,
}

/// What comes back of a proposal that entered the queue.
type Outcomes = oneshot::Receiver<ClientWriteResult<Types>>;

impl Proposals {
    /// An entrance for `in_flight_bytes_max` bytes at a time, before which as many may wait, and the
    /// queue behind it for [`feed`].
    pub(super) fn new(shard: u32, in_flight_bytes_max: usize) -> (Self, mpsc::Receiver<Queued>) {
        let permits_max = in_flight_bytes_max.clamp(ENTRY_BYTES_MAX, u32::MAX as usize);
        let (queue, queued) = mpsc::channel(permits_max / PROPOSAL_BYTES_MIN + OWN_PROPOSALS_MAX);
        let proposals = Self {
            shard,
            permits: FairShare::new(permits_max as u64, permits_max as u64),
            queue,
        };
        (proposals, queued)
    }

    /// Permits for `bytes` for `name`, as soon as it is its turn.
    ///
    /// # Cancel safety
    /// Safe: the place in the line is lost.
    pub(super) async fn reserve(
        &self,
        name: &str,
        bytes: usize,
    ) -> Result<Reservation, ProposeError> {
        let count = permits_of(bytes)?;
        let share = self.permits.acquire(name, count).await;
        let share =
            share.map_err(|Busy { retry_after }| ProposeError::Overloaded { retry_after })?;
        Ok(Reservation { share })
    }

    /// Permits for `bytes` of what this node proposes by itself: it keeps a busy node going, and must
    /// not stand in the line with what makes it busy.
    pub(super) fn reserve_own(&self, bytes: usize) -> Result<Reservation, ProposeError> {
        let share = self.permits.take(OWN, permits_of(bytes)?);
        Ok(Reservation { share })
    }

    /// Queues a proposal now; the future tells its outcome.
    pub(super) fn enter(
        &self,
        reservation: Reservation,
        payload: Bytes,
    ) -> Result<Outcomes, ProposeError> {
        if payload.len() > ENTRY_BYTES_MAX {
            let bytes = payload.len();
            return Err(ProposeError::TooLarge { bytes });
        }
        let (to, outcome) = oneshot::channel();
        let answer = Answer::new(to, reservation.share);
        self.queue
            .try_send(Queued { payload, answer })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Closed(_) => ProposeError::Stopped,
                // Permits bound the number of proposals but this node's own below the capacity.
                mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded {
                    retry_after: QUEUE_RETRY,
                },
            })?;
        Ok(outcome)
    }

    /// Whether more is asked for than there are permits.
    pub(super) fn is_overloaded(&self) -> bool {
        self.permits.is_overloaded()
    }

    /// Bytes of permits that are taken, and of those that are waited for.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.permits.held(), self.permits.waiting())
    }

    /// Waits until every proposal has an outcome.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn settled(&self) {
        self.permits.settled().await;
    }

    /// Turns an outcome into words; `leader` names who leads now.
    pub(super) fn conclude(
        shard: u32,
        outcome: Result<ClientWriteResult<Types>, oneshot::error::RecvError>,
        leader: impl FnOnce(Option<u64>) -> Option<Member>,
    ) -> Result<Proposed, ProposeError> {
        match outcome {
            Ok(Ok(response)) => {
                let index = response.log_id.index;
                let Reply { outcome } = response.data;
                Ok(Proposed {
                    token: Token { shard, index },
                    outcome: outcome.ok_or(ProposeError::Unknown)?,
                })
            }
            Ok(Err(ClientWriteError::ForwardToLeader(forward))) => Err(ProposeError::NotLeader {
                leader: leader(forward.leader_id),
            }),
            Ok(Err(error)) => {
                debug!(%error, "the outcome of a proposal is not known");
                Err(ProposeError::Unknown)
            }
            // The library dropped it: consensus stopped with the proposal inside.
            Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// The shard proposals go to.
    pub(super) fn shard(&self) -> u32 {
        self.shard
    }
}

/// Hands queued proposals to the library, in order, until the queue is closed or consensus stops.
pub(super) async fn feed(group: Group, mut queued: mpsc::Receiver<Queued>) {
    while let Some(Queued { payload, answer }) = queued.recv().await {
        // Waits while the library's own queue, of messages, is full.
        let fed = group.client_write_ff(Payload(payload), Some(answer)).await;
        if fed.is_err() {
            return;
        }
    }
}

fn permits_of(bytes: usize) -> Result<u64, ProposeError> {
    if bytes > ENTRY_BYTES_MAX {
        return Err(ProposeError::TooLarge { bytes });
    }
    Ok(bytes.max(PROPOSAL_BYTES_MIN) as u64)
}

/// As a future that owns what it needs.
pub(super) async fn settle(
    entered: Result<Outcomes, ProposeError>,
    shard: u32,
    leader: impl FnOnce(Option<u64>) -> Option<Member> + Send + 'static,
) -> Result<Proposed, ProposeError> {
    Proposals::conclude(shard, entered?.await, leader)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// Permits, if they are to be had without waiting.
    fn now(proposals: &Proposals, bytes: usize) -> Option<Reservation> {
        // Without the runtime's own turns, which would look like waiting.
        let reserved = tokio::task::unconstrained(proposals.reserve("device/a", bytes));
        let reserved = reserved.now_or_never()?;
        Some(reserved.expect("the line is long enough"))
    }

    #[tokio::test]
    async fn permits_bound_bytes_and_come_back() {
        let (proposals, _queue) = Proposals::new(0, 2 * ENTRY_BYTES_MAX);
        let first = now(&proposals, ENTRY_BYTES_MAX).expect("there is room");
        let second = now(&proposals, ENTRY_BYTES_MAX).expect("there is room");
        assert!(now(&proposals, 1).is_none(), "there is no room");
        assert!(proposals.is_overloaded());
        drop(first);
        let third = now(&proposals, 1).expect("there is room again");
        drop((second, third));
        proposals.settled().await;
        assert!(!proposals.is_overloaded());
        assert_eq!(proposals.bytes(), (0, 0));
    }

    #[tokio::test]
    async fn as_many_bytes_may_wait_as_may_be_on_their_way_and_no_more() {
        let (proposals, _queue) = Proposals::new(0, ENTRY_BYTES_MAX);
        let _all = now(&proposals, ENTRY_BYTES_MAX).expect("there is room");
        let mut waits = std::pin::pin!(proposals.reserve("device/a", ENTRY_BYTES_MAX));
        assert!(futures::poll!(&mut waits).is_pending());
        let refused = proposals.reserve("device/a", 1).await;
        let refused = refused.expect_err("the line is full");
        assert!(matches!(refused, ProposeError::Overloaded { .. }));
        // Somebody else is not refused because of that: the one with more in the line gives way.
        let mut other = std::pin::pin!(proposals.reserve("device/b", 1));
        assert!(futures::poll!(&mut other).is_pending());
        let gave_way = waits.await.expect_err("it had more in the line");
        assert!(matches!(gave_way, ProposeError::Overloaded { .. }));
    }

    #[tokio::test]
    async fn what_the_node_proposes_by_itself_waits_for_nobody() {
        let (proposals, _queue) = Proposals::new(0, ENTRY_BYTES_MAX);
        let _all = now(&proposals, ENTRY_BYTES_MAX).expect("there is room");
        assert!(now(&proposals, 1).is_none());
        proposals.reserve_own(1).expect("it goes before all");
    }

    #[tokio::test]
    async fn every_holder_of_permits_has_a_place_in_the_queue() {
        let (proposals, mut queue) = Proposals::new(0, 2 * ENTRY_BYTES_MAX);
        let mut entered = 0;
        while let Some(reservation) = now(&proposals, 1) {
            drop(
                proposals
                    .enter(reservation, Bytes::new())
                    .expect("there is a place"),
            );
            entered += 1;
        }
        assert!(entered > 1000);
        for _ in 0..OWN_PROPOSALS_MAX {
            let own = proposals.reserve_own(1).expect("it goes before all");
            drop(
                proposals
                    .enter(own, Bytes::new())
                    .expect("there is a place"),
            );
        }
        let beyond = proposals.reserve_own(1).expect("it goes before all");
        let beyond = proposals.enter(beyond, Bytes::new());
        assert!(matches!(beyond, Err(ProposeError::Overloaded { .. })));
        queue.close();
        while queue.recv().await.is_some() {}
        let late = now(&proposals, 1).expect("the queue gave its permits back");
        let late = proposals.enter(late, Bytes::new());
        assert_eq!(late.err(), Some(ProposeError::Stopped));
    }

    #[test]
    fn a_command_that_fits_no_frame_is_refused() {
        let (proposals, _queue) = Proposals::new(0, 0);
        let bytes = ENTRY_BYTES_MAX + 1;
        let refused = proposals.reserve_own(bytes).expect_err("it fits no frame");
        assert_eq!(refused, ProposeError::TooLarge { bytes });
        now(&proposals, ENTRY_BYTES_MAX).expect("it just fits");
    }
}
