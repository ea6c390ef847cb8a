//! Who leads, when it is not left to elections: handing over, and not leading any more.

use std::{cmp::Reverse, collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    members::{keeps_up, listed},
    membership::{ChangeError, not_a_member},
    message::{FromPeer, ToPeer},
    replica::Replica,
};

/// How long a hand-over may take before the node goes on without it.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(2);
/// How long a node may take to say that it could lead.
const GREETING_PATIENCE: Duration = Duration::from_millis(500);

impl Replica {
    /// Takes no more proposals, does not stand for election, and hands leadership over, until the node
    /// is started again.
    pub(super) async fn drain(&self) {
        info!("draining");
        self.refuse_proposals();
        self.shared.group.runtime_config().elect(false);
        if self.is_leader()
            && let Err(error) = self.hand_over().await
        {
            info!(%error, "leadership was not handed over");
        }
    }

    /// Takes no more proposals.
    pub(super) fn refuse_proposals(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        // Who waits for sealing to keep up is to hear of it.
        self.shared.backlog.release();
    }

    /// Greets the member `id` and takes note of whether it is draining. Whether it could lead.
    pub(super) async fn greet(&self, id: u64, patience: Duration) -> bool {
        let metrics = self.metrics();
        let Some(address) = metrics.membership_config.get_node(&id) else {
            return false;
        };
        let draining = self.is_draining();
        let client = self.shared.network.client(id, address);
        match client.ask(&ToPeer::Greet { draining }, patience).await {
            Ok(FromPeer::Greeted { draining }) => {
                self.shared.reception.note_answer(id, draining);
                !draining
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Lets the most advanced voter that is there lead. Returns who leads afterwards.
    pub(super) async fn hand_over(&self) -> Result<u64, ChangeError> {
        let metrics = self.leading()?;
        let matched = |voter: &u64| {
            let matched = metrics.replication.as_ref().and_then(|to| to.get(voter));
            Reverse(matched.copied().flatten())
        };
        let mut successors: Vec<u64> = metrics
            .membership_config
            .voter_ids()
            .filter(|voter| *voter != self.id() && keeps_up(&metrics, *voter))
            .collect();
        successors.sort_by_key(matched);
        for successor in successors {
            // Once it is told to take over, this leader is none any more, so make sure first.
            if self.greet(successor, GREETING_PATIENCE).await {
                return self.transfer(successor).await;
            }
        }
        Err(ChangeError::Refused {
            reason: "no other voter can take over leadership".to_owned(),
        })
    }

    /// Lets the voter `id` lead.
    pub(super) async fn transfer_to(&self, id: u64) -> Result<(), ChangeError> {
        let refused = |reason| Err(ChangeError::Refused { reason });
        let metrics = self.leading()?;
        if id == self.id() {
            return Ok(());
        }
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        if !voters.contains(&id) {
            return refused(format!(
                "node {id} is not a voter: leadership can go to {}",
                listed(&voters)
            ));
        }
        let is_there = self.wait_metrics(|metrics| keeps_up(metrics, id)).await;
        if !(is_there && self.greet(id, GREETING_PATIENCE).await) {
            return refused(if self.shared.reception.is_draining(id) {
                format!("node {id} is draining: start it again first")
            } else {
                format!("node {id} cannot be reached or lacks entries: it cannot lead")
            });
        }
        match self.transfer(id).await? {
            leader if leader == id => Ok(()),
            leader => refused(format!(
                "node {leader} was faster than node {id} and leads now"
            )),
        }
    }

    /// Lets node `id` take no more writes, nor lead; one node at a time, so that somebody is left to.
    pub(super) async fn drain_node(&self, id: u64) -> Result<(), ChangeError> {
        let refused = |reason| Err(ChangeError::Refused { reason });
        let metrics = self.leading()?;
        let members = metrics.membership_config.membership();
        let Some(address) = members.get_node(&id) else {
            return Err(not_a_member(id, &metrics));
        };
        let others: Vec<u64> = members.voter_ids().filter(|voter| *voter != id).collect();
        let able = others.iter().map(|other| async {
            if *other == self.id() {
                return !self.is_draining();
            }
            self.greet(*other, GREETING_PATIENCE).await && keeps_up(&metrics, *other)
        });
        let able = futures::future::join_all(able).await;
        let reception = &self.shared.reception;
        if let Some(other) = others.iter().find(|other| reception.is_draining(**other)) {
            return refused(format!(
                "node {other} is draining: start it again before draining another"
            ));
        }
        if !able.contains(&true) {
            return refused(format!("without node {id} nobody could lead"));
        }
        if id == self.id() {
            self.drain().await;
            return Ok(());
        }
        let client = self.shared.network.client(id, address);
        match client.ask(&ToPeer::Drain, HAND_OVER_PATIENCE).await {
            Ok(FromPeer::Draining) => Ok(()),
            Ok(_) => Err(ChangeError::Unknown),
            Err(error) => refused(format!("node {id} cannot be asked: {error}")),
        }
    }

    /// Returns who leads afterwards.
    async fn transfer(&self, successor: u64) -> Result<u64, ChangeError> {
        let group = &self.shared.group;
        info!(successor, "handing leadership over");
        let asked = group.trigger().transfer_leader(successor).await;
        asked.map_err(|_| ChangeError::Stopped)?;
        let mut metrics = group.metrics();
        let own = self.id();
        let changed = metrics.wait_until(|m| m.current_leader.is_some_and(|leader| leader != own));
        match timeout(HAND_OVER_PATIENCE, changed).await {
            Ok(Ok(metrics)) => {
                let leader = metrics.current_leader.unwrap_or(successor);
                info!(leader, "leadership handed over");
                Ok(leader)
            }
            Ok(Err(_)) => Err(ChangeError::Stopped),
            Err(_) => {
                warn!(successor, "leadership was not taken over in time");
                Err(ChangeError::Unknown)
            }
        }
    }
}
