//! Changing who belongs to the cluster: one node at a time, by the leader.
//!
//! A change of voters is the library's two steps: a *joint* configuration, in which majorities of the
//! old and of the new voters decide, and then the new one alone. Each change names the membership it
//! was decided on, so that one made in between is never overwritten. If the leader is lost between the
//! two steps the joint configuration stays in force; the next leader goes on from there
//! (`steward.rs`), always forward.
//!
//! What would leave the cluster without a majority that keeps up is refused, and never forced.

use std::{collections::BTreeSet, future::Future, sync::PoisonError, time::Duration};

use openraft::{
    ChangeMembers, Precondition,
    async_runtime::watch::WatchReceiver,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
};
use store_wire::message::{ClusterChange, Member};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info};
use uuid::Uuid;

use super::{
    members::{Metrics, keeps_up, listed},
    proposals::ProposeError,
    replica::Replica,
    types::{Address, Types},
};
use crate::{
    command,
    config::MEMBERS_MAX,
    state::{
        Outcome,
        nodes::{Holder, Standing},
    },
};

/// How long a node may take to be there, or a majority to be found, before a change is refused for it.
const KEEP_UP_PATIENCE: Duration = Duration::from_secs(2);
/// How long a change that came too late waits at most before it is decided on anew.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Nothing was changed. Ask `leader`, if known.
    #[error("this node is not the leader")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<Member>,
    },
    /// Nothing was changed: there is no such member.
    #[error(
        "node {id} is not a member of the cluster: its members are {}",
        listed(members)
    )]
    NotAMember {
        /// Who was named.
        id: u64,
        /// Who there is.
        members: BTreeSet<u64>,
    },
    /// Nothing was changed, as it would break a rule.
    #[error("{reason}")]
    Refused {
        /// Which, and what to do.
        reason: String,
    },
    /// Nothing was changed: another change did not end in time.
    #[error("another change of the membership is under way: try again shortly")]
    Busy,
    /// Nothing was changed: the disk has no room.
    #[error("the disk is full")]
    NoSpace,
    /// It may be made or not.
    #[error(
        "the change did not end in the time allowed: it may be made yet, `query-app status` shows it"
    )]
    Unknown,
    /// Nothing was changed: consensus has stopped on this node.
    #[error("consensus has stopped on this node")]
    Stopped,
}

impl Replica {
    /// Makes a change, if this node leads, and waits until it is committed.
    ///
    /// # Cancel safety
    /// The change may be made when the future is dropped.
    ///
    /// # Errors
    /// All but [`ChangeError::Unknown`] mean that nothing was changed.
    pub async fn change(
        &self,
        change: &ClusterChange,
        deadline: Instant,
    ) -> Result<(), ChangeError> {
        self.in_turn(deadline, || async {
            match change {
                ClusterChange::Add { id, address } => self.enrol(*id, address, None).await,
                ClusterChange::Remove { id } => self.remove(*id).await,
                ClusterChange::Promote { id } => self.promote(*id).await,
                ClusterChange::TransferLeader { id } => self.transfer_to(*id).await,
                ClusterChange::Drain { id } => self.drain_node(*id).await,
            }
        })
        .await
    }

    /// Lets a blank folder in as node `id`, if this node leads.
    pub(super) async fn admit(
        &self,
        id: u64,
        address: &str,
        incarnation: Uuid,
        deadline: Instant,
    ) -> Result<(), ChangeError> {
        self.in_turn(deadline, || self.enrol(id, address, Some(incarnation)))
            .await
    }

    /// Makes a change when no other is being made from here, and again if one came in between.
    async fn in_turn<F>(&self, deadline: Instant, make: impl Fn() -> F) -> Result<(), ChangeError>
    where
        F: Future<Output = Result<(), ChangeError>>,
    {
        let turn = timeout_at(deadline, self.shared.changing.lock());
        let _turn = turn.await.map_err(|_| ChangeError::Busy)?;
        let made = async {
            loop {
                let mut metrics = self.shared.group.metrics();
                match make().await {
                    Err(ChangeError::Busy) => {}
                    outcome => return outcome,
                }
                // It was decided on what is not so any more; soon this node sees what is.
                drop(timeout(LOOK_AGAIN, metrics.changed()).await);
            }
        };
        timeout_at(deadline, made)
            .await
            .unwrap_or(Err(ChangeError::Unknown))
    }

    /// Gives a learner its vote if it has caught up; waits a while for that.
    pub(super) async fn promote(&self, id: u64) -> Result<(), ChangeError> {
        let metrics = self.settled().await?;
        let members = metrics.membership_config.membership();
        if members.get_node(&id).is_none() {
            return Err(not_a_member(id, &metrics));
        }
        if members.voter_ids().any(|voter| voter == id) {
            return Ok(());
        }
        if !self.wait_metrics(|m| keeps_up(m, id)).await {
            let reason = format!(
                "node {id} has not caught up, so that its vote could stop the others: it gets it by \
                 itself as soon as it has"
            );
            return Err(ChangeError::Refused { reason });
        }
        let voters = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
        self.commit(voters, &metrics).await?;
        info!(node = id, "learner is a voter now");
        Ok(())
    }

    /// Waits until the membership is committed and not joint, going on with a change that was left
    /// behind half way.
    pub(super) async fn settled(&self) -> Result<Metrics, ChangeError> {
        loop {
            let metrics = self.leading()?;
            let in_force = &metrics.membership_config;
            if metrics.committed_membership_config != *in_force {
                let entry = *in_force.log_id();
                let mut changes = self.shared.group.metrics();
                let settled = changes.wait_until(|m| {
                    m.current_leader != Some(m.id)
                        || *m.membership_config.log_id() != entry
                        || m.committed_membership_config == m.membership_config
                });
                settled.await.map_err(|_| ChangeError::Stopped)?;
                continue;
            }
            if in_force.membership().get_joint_config().len() == 1 {
                return Ok(metrics);
            }
            info!(membership = %in_force.membership(), "going on with a change that was left half way");
            let nothing_more = ChangeMembers::AddVoterIds(BTreeSet::new());
            self.commit(nothing_more, &metrics).await?;
        }
    }

    /// Claims `id` for a folder, or for a node that is expected, and makes it a learner.
    async fn enrol(
        &self,
        id: u64,
        address: &str,
        incarnation: Option<Uuid>,
    ) -> Result<(), ChangeError> {
        let metrics = self.settled().await?;
        self.check_claim(id, incarnation)?;
        check_place(&metrics, id, address)?;
        let claim = self.propose(command::claim_node(id, incarnation)).await;
        match claim.map_err(claim_error)?.outcome {
            Outcome::NodeClaimed => {}
            _ => {
                self.check_claim(id, incarnation)?;
                return Err(ChangeError::Unknown);
            }
        }
        let members = metrics.membership_config.membership();
        if members.get_node(&id).is_none() {
            let quic = address.to_owned();
            let learner = [(id, Address { quic })].into();
            self.commit(ChangeMembers::AddNodes(learner), &metrics)
                .await?;
            info!(node = id, address, "node is a learner now");
        }
        Ok(())
    }

    async fn remove(&self, id: u64) -> Result<(), ChangeError> {
        let metrics = self.settled().await?;
        let members = metrics.membership_config.membership();
        if members.get_node(&id).is_none() {
            return match self.standing(id) {
                Some(Standing::Removed) => Ok(()),
                _ => Err(not_a_member(id, &metrics)),
            };
        }
        let mut voters: BTreeSet<u64> = members.voter_ids().collect();
        let change = if voters.remove(&id) {
            self.check_quorum(id, &voters).await?;
            if id == self.id() {
                // Whoever leads next takes this node out.
                let leader = self.hand_over().await?;
                return Err(ChangeError::NotLeader {
                    leader: self.member(leader),
                });
            }
            ChangeMembers::RemoveVoters(BTreeSet::from([id]))
        } else {
            ChangeMembers::RemoveNodes(BTreeSet::from([id]))
        };
        self.commit(change, &metrics).await?;
        info!(node = id, "node was removed");
        Ok(())
    }

    /// Refuses to leave voters of whom no majority keeps up: writes would stop with the change, and
    /// nobody could take it back.
    async fn check_quorum(&self, without: u64, voters: &BTreeSet<u64>) -> Result<(), ChangeError> {
        if voters.is_empty() {
            let reason = format!(
                "node {without} is the only voter: nobody would be left; let another node join first"
            );
            return Err(ChangeError::Refused { reason });
        }
        let able = |metrics: &Metrics| -> BTreeSet<u64> {
            let able = voters.iter().copied();
            able.filter(|voter| *voter == metrics.id || keeps_up(metrics, *voter))
                .collect()
        };
        if self
            .wait_metrics(|metrics| able(metrics).len() > voters.len() / 2)
            .await
        {
            return Ok(());
        }
        let able = able(&self.leading()?);
        let unable: BTreeSet<u64> = voters.difference(&able).copied().collect();
        Err(ChangeError::Refused {
            reason: format!(
                "without node {without} the voters would be {}, and no majority of them could go on, \
                 as {} cannot be reached or lacks entries: start it, or remove it first",
                listed(voters),
                listed(&unable)
            ),
        })
    }

    /// Refuses an id that is somebody else's for good.
    fn check_claim(&self, id: u64, incarnation: Option<Uuid>) -> Result<(), ChangeError> {
        let state = &self.shared.state;
        let state = state.read().unwrap_or_else(PoisonError::into_inner);
        let Some(record) = state.nodes().record(id) else {
            return Ok(());
        };
        let next = state.nodes().next_free();
        let holder = record.holder;
        let reason = if record.standing == Standing::Removed {
            format!(
                "node {id} was removed from this cluster, and an id is never used again: take a new \
                 one, such as {next}"
            )
        } else if holder == Holder::Expected || incarnation.map(Holder::Folder) == Some(holder) {
            return Ok(());
        } else {
            format!(
                "id {id} belongs to a node of this cluster already; if this is that node with an empty \
                 folder, its data is lost and it must not vote under its old id: remove it (`query-app \
                 cluster remove {id}`) and let it join under a new one, such as {next}"
            )
        };
        Err(ChangeError::Refused { reason })
    }

    /// Commits one step after the other of a change of the membership that `seen` has in force.
    async fn commit(
        &self,
        change: ChangeMembers<u64, Address>,
        seen: &Metrics,
    ) -> Result<(), ChangeError> {
        let decided_on = Precondition::LastMembershipLogId {
            last_membership_log_id: *seen.membership_config.log_id(),
        };
        // Who is no voter any more is no member any more: nobody is made a learner again.
        let group = &self.shared.group;
        let outcome = group
            .change_membership_if(change, false, [decided_on])
            .await;
        match outcome {
            Ok(_) => Ok(()),
            Err(RaftError::Fatal(_)) => Err(ChangeError::Stopped),
            Err(RaftError::APIError(error)) => {
                debug!(%error, "a change of the membership was not made");
                Err(self.change_error(error))
            }
        }
    }

    fn change_error(&self, error: ClientWriteError<Types>) -> ChangeError {
        match error {
            ClientWriteError::ForwardToLeader(forward) => ChangeError::NotLeader {
                leader: forward.leader_id.and_then(|leader| self.member(leader)),
            },
            ClientWriteError::LogEntryDiscarded(_) => ChangeError::Unknown,
            ClientWriteError::PreconditionFailed(_)
            | ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)) => {
                ChangeError::Busy
            }
            ClientWriteError::ChangeMembershipError(error) => ChangeError::Refused {
                reason: error.to_string(),
            },
        }
    }

    /// What the library says now, if this node leads.
    pub(super) fn leading(&self) -> Result<Metrics, ChangeError> {
        if self.is_leader() {
            return Ok(self.metrics());
        }
        Err(ChangeError::NotLeader {
            leader: self.leader(),
        })
    }

    /// Whether it comes to `condition` within a while.
    pub(super) async fn wait_metrics(&self, condition: impl Fn(&Metrics) -> bool + Send) -> bool {
        let mut metrics = self.shared.group.metrics();
        let reached = metrics.wait_until(condition);
        matches!(timeout(KEEP_UP_PATIENCE, reached).await, Ok(Ok(_)))
    }
}

/// Refuses a node for which there is no room, or at another node's address.
fn check_place(metrics: &Metrics, id: u64, address: &str) -> Result<(), ChangeError> {
    let members = metrics.membership_config.membership();
    let refused = |reason| Err(ChangeError::Refused { reason });
    if let Some(known) = members.get_node(&id) {
        if known.quic == address {
            return Ok(());
        }
        return refused(format!(
            "node {id} is expected at {}, not at {address}: give it that --advertise, or remove it and \
             take a new id",
            known.quic
        ));
    }
    if let Some((other, _)) = members.nodes().find(|(_, node)| node.quic == address) {
        return refused(format!(
            "{address} is the address of node {other}: remove that node first (`query-app cluster \
             remove {other}`) if this one takes its place, or give this one another"
        ));
    }
    if members.nodes().count() >= MEMBERS_MAX {
        return refused(format!(
            "the cluster has {MEMBERS_MAX} members, and more make no sense: remove one first"
        ));
    }
    Ok(())
}

pub(super) fn not_a_member(id: u64, metrics: &Metrics) -> ChangeError {
    let members = metrics.membership_config.nodes().map(|(id, _)| *id);
    ChangeError::NotAMember {
        id,
        members: members.collect(),
    }
}

fn claim_error(error: ProposeError) -> ChangeError {
    match error {
        ProposeError::NotLeader { leader } => ChangeError::NotLeader { leader },
        ProposeError::NoSpace => ChangeError::NoSpace,
        ProposeError::Overloaded { .. } => ChangeError::Busy,
        ProposeError::Unknown | ProposeError::TooLarge { .. } => ChangeError::Unknown,
        ProposeError::Draining | ProposeError::Stopped => ChangeError::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_refused_at_the_bound_and_at_anothers_address() {
        let with = |count: u64| {
            let mut metrics = Metrics::new_initial(1);
            let nodes = (1..=count).map(|id| {
                let quic = format!("store-{id}:7400");
                (id, Address { quic })
            });
            let nodes: std::collections::BTreeMap<u64, Address> = nodes.collect();
            let members = super::super::types::StoredMembers::new(None, nodes.into());
            metrics.membership_config = members.into();
            metrics
        };
        let most = MEMBERS_MAX as u64;
        check_place(&with(most - 1), most, "new:7400").expect("there is room for one");
        let full = check_place(&with(most), most + 1, "new:7400").expect_err("there is none");
        assert!(full.to_string().contains("7 members"), "{full}");
        check_place(&with(3), 3, "store-3:7400").expect("it is a member already");
        let moved =
            check_place(&with(3), 3, "elsewhere:7400").expect_err("it is expected elsewhere");
        assert!(moved.to_string().contains("expected at store-3"), "{moved}");
        let taken = check_place(&with(3), 4, "store-2:7400").expect_err("it is node 2's");
        assert!(taken.to_string().contains("remove 2"), "{taken}");
    }
}
