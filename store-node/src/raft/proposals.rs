//! The way of a proposal into the log: permits in bytes, then a queue that keeps the order of calls.
//!
//! A proposal holds permits for its bytes from before it is queued until it has an outcome, so that
//! at most so many bytes wait for the disk and the network, whoever sends them. The queue itself is
//! not waited for: whoever holds permits has a place in it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use openraft::{alias::WriteResponderOf, errors::ClientWriteError, raft::ClientWriteResult};
use sensor_model::Token;
use store_wire::{frame::BODY_BYTES_MAX, message::Member};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};
use tracing::debug;

use super::types::{Answer, Group, Payload, Reply, Types};
use crate::state::Outcome;

/// The longest command: one that fits a frame's body by itself.
pub const ENTRY_BYTES_MAX: usize = BODY_BYTES_MAX;
/// The least a proposal counts for: about what its bookkeeping takes.
const PROPOSAL_BYTES_MIN: usize = 512;
/// When to try again after being told that there are no permits: some syncs later.
const RETRY_AFTER: Duration = Duration::from_millis(20);

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
    #[error("too many bytes are on their way to the log")]
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
    permit: OwnedSemaphorePermit,
}

/// The entrance to the log. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Proposals {
    shard: u32,
    permits: Arc<Semaphore>,
    permits_max: usize,
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
    /// An entrance for `in_flight_bytes_max` bytes at a time, and the queue behind it for [`feed`].
    pub(super) fn new(shard: u32, in_flight_bytes_max: usize) -> (Self, mpsc::Receiver<Queued>) {
        let permits_max = in_flight_bytes_max.clamp(ENTRY_BYTES_MAX, u32::MAX as usize);
        let (queue, queued) = mpsc::channel(permits_max / PROPOSAL_BYTES_MIN);
        let proposals = Self {
            shard,
            permits: Arc::new(Semaphore::new(permits_max)),
            permits_max,
            queue,
        };
        (proposals, queued)
    }

    /// Permits for `bytes`, as soon as there are enough; first come, first served.
    ///
    /// # Cancel safety
    /// Safe: the place in the line is lost.
    pub(super) async fn reserve(&self, bytes: usize) -> Result<Reservation, ProposeError> {
        let count = permits_of(bytes)?;
        let permit = Arc::clone(&self.permits).acquire_many_owned(count).await;
        let permit = permit.map_err(|_| ProposeError::Stopped)?;
        Ok(Reservation { permit })
    }

    /// Permits for `bytes` now, or never.
    pub(super) fn try_reserve(&self, bytes: usize) -> Result<Reservation, ProposeError> {
        let count = permits_of(bytes)?;
        match Arc::clone(&self.permits).try_acquire_many_owned(count) {
            Ok(permit) => Ok(Reservation { permit }),
            Err(TryAcquireError::NoPermits) => Err(ProposeError::Overloaded {
                retry_after: RETRY_AFTER,
            }),
            Err(TryAcquireError::Closed) => Err(ProposeError::Stopped),
        }
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
        let answer = Answer::new(to, reservation.permit);
        // Permits bound the number of proposals below the queue's capacity, so it can only be closed.
        self.queue
            .try_send(Queued { payload, answer })
            .map_err(|_| ProposeError::Stopped)?;
        Ok(outcome)
    }

    /// The share of permits that are taken, 0 to 1.
    pub(super) fn fullness(&self) -> f64 {
        let free = self.permits.available_permits();
        #[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
        let free = free as f64 / self.permits_max as f64;
        1.0 - free
    }

    /// Waits until every proposal has an outcome.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn settled(&self) {
        let all = u32::try_from(self.permits_max).unwrap_or(u32::MAX);
        // Given back at once; closed permits mean that there is nothing to wait for.
        drop(self.permits.acquire_many(all).await);
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

fn permits_of(bytes: usize) -> Result<u32, ProposeError> {
    if bytes > ENTRY_BYTES_MAX {
        return Err(ProposeError::TooLarge { bytes });
    }
    let bytes = bytes.max(PROPOSAL_BYTES_MIN);
    u32::try_from(bytes).map_err(|_| ProposeError::TooLarge { bytes })
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
    use super::*;

    #[tokio::test]
    async fn permits_bound_bytes_and_come_back() {
        let (proposals, _queue) = Proposals::new(0, 2 * ENTRY_BYTES_MAX);
        let first = proposals
            .try_reserve(ENTRY_BYTES_MAX)
            .expect("there is room");
        let second = proposals
            .try_reserve(ENTRY_BYTES_MAX)
            .expect("there is room");
        let refused = proposals.try_reserve(1).expect_err("there is no room");
        assert!(matches!(refused, ProposeError::Overloaded { .. }));
        assert!(proposals.fullness() > 0.99);
        drop(first);
        let third = proposals.reserve(1).await.expect("there is room again");
        drop((second, third));
        proposals.settled().await;
        assert!(proposals.fullness() < 0.01);
    }

    #[tokio::test]
    async fn every_holder_of_permits_has_a_place_in_the_queue() {
        let (proposals, mut queue) = Proposals::new(0, 2 * ENTRY_BYTES_MAX);
        let mut entered = 0;
        while let Ok(reservation) = proposals.try_reserve(1) {
            drop(
                proposals
                    .enter(reservation, Bytes::new())
                    .expect("there is a place"),
            );
            entered += 1;
        }
        assert!(entered > 1000);
        queue.close();
        let late = proposals.enter(
            {
                while queue.recv().await.is_some() {}
                proposals
                    .try_reserve(1)
                    .expect("the queue gave its permits back")
            },
            Bytes::new(),
        );
        assert_eq!(late.err(), Some(ProposeError::Stopped));
    }

    #[test]
    fn a_command_that_fits_no_frame_is_refused() {
        let (proposals, _queue) = Proposals::new(0, 0);
        let bytes = ENTRY_BYTES_MAX + 1;
        let refused = proposals.try_reserve(bytes).expect_err("it fits no frame");
        assert_eq!(refused, ProposeError::TooLarge { bytes });
        proposals
            .try_reserve(ENTRY_BYTES_MAX)
            .expect("it just fits");
    }
}
