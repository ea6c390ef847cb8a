//! Who belongs to the cluster and keeps up, as this node sees it, and whether this node belongs to it.

use std::{collections::BTreeSet, sync::PoisonError, time::Duration};

use openraft::{Instant as _, RaftMetrics, async_runtime::watch::WatchReceiver};
use store_wire::message::Member;

use super::{replica::Replica, types::Types};
use crate::state::nodes::Standing;

/// A node has caught up when it lacks at most so many entries: about what is on its way to a node that
/// keeps up under load.
const LAG_ENTRIES_MAX: u64 = 1_024;
/// A node is there when the leader has heard from it within this: ten heartbeats.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// A leader whom no majority has answered for so long leads nobody: far longer than the lease in which
/// the others elect no other.
const MAJORITY_HEARD_WITHIN: Duration = Duration::from_secs(3);
/// What the library says of itself.
pub(super) type Metrics = RaftMetrics<Types>;

/// Who belongs to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Who votes; two sets while they change.
    pub voters: Vec<BTreeSet<u64>>,
    /// Who only follows.
    pub learners: BTreeSet<u64>,
}

/// Why a replica serves no reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fence {
    /// It was taken out of the cluster.
    #[error("node {0} was removed from the cluster")]
    Removed(u64),
    /// It has not applied as much as the entry that made it a member.
    #[error("node {0} is joining the cluster and has not caught up yet")]
    Joining(u64),
}

impl Replica {
    /// Who belongs to the cluster, as this node has it in force.
    pub fn membership(&self) -> Membership {
        let metrics = self.metrics();
        let members = metrics.membership_config.membership();
        Membership {
            voters: members.get_joint_config().clone(),
            learners: members.learner_ids().collect(),
        }
    }

    /// Every member, ordered by id.
    pub fn members(&self) -> Vec<Member> {
        let nodes = self.metrics();
        let nodes = nodes.membership_config.nodes();
        nodes.filter_map(|(id, _)| self.member(*id)).collect()
    }

    /// Why this replica serves no reads, if it must not: what it has is not the cluster's, or not any
    /// more.
    pub fn fence(&self) -> Option<Fence> {
        let id = self.id();
        if self.is_removed() {
            return Some(Fence::Removed(id));
        }
        match self.standing(id) {
            Some(Standing::Member) => None,
            Some(Standing::Removed) => Some(Fence::Removed(id)),
            Some(Standing::Claimed) | None => Some(Fence::Joining(id)),
        }
    }

    /// Whether node `id` is known here to have been removed for good.
    pub(super) fn was_removed(&self, id: u64) -> bool {
        self.standing(id) == Some(Standing::Removed)
    }

    /// Where node `id` stands in what is applied here; `None` if there never was one.
    pub(super) fn standing(&self, id: u64) -> Option<Standing> {
        let state = &self.shared.state;
        let state = state.read().unwrap_or_else(PoisonError::into_inner);
        state.nodes().standing(id)
    }

    /// What the library says now.
    pub(super) fn metrics(&self) -> Metrics {
        self.shared.group.metrics().borrow_watched().clone()
    }
}

/// Who leads, in the words of one node; nobody, if it is that node itself and it has lost the majority.
/// The library lets such a leader be one for ever, which waits for acknowledgements that never come.
pub(super) fn leader_of(metrics: &Metrics) -> Option<u64> {
    let leader = metrics.current_leader?;
    let has_majority = || {
        let is_alone = metrics
            .membership_config
            .voter_ids()
            .all(|id| id == metrics.id);
        let heard = metrics.last_quorum_acked.as_ref();
        is_alone || heard.is_some_and(|heard| heard.elapsed() <= MAJORITY_HEARD_WITHIN)
    };
    (leader != metrics.id || has_majority()).then_some(leader)
}

/// Whether node `id` has caught up and is there, as the leader sees it.
pub(super) fn keeps_up(metrics: &Metrics, id: u64) -> bool {
    let heard = metrics.heartbeat.as_ref().and_then(|heard| heard.get(&id));
    let is_there = heard
        .and_then(Option::as_ref)
        .is_some_and(|heard| heard.elapsed() <= HEARD_WITHIN);
    let matched = metrics.replication.as_ref().and_then(|to| to.get(&id));
    let matched = matched
        .and_then(Option::as_ref)
        .map(|matched| matched.index);
    let last = metrics.last_log_index.unwrap_or(0);
    is_there && matched.is_some_and(|matched| has_caught_up(matched, last))
}

const fn has_caught_up(matched: u64, last: u64) -> bool {
    last.saturating_sub(matched) <= LAG_ENTRIES_MAX
}

/// Ids as a person writes them.
pub(super) fn listed(ids: &BTreeSet<u64>) -> String {
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    ids.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_caught_up_within_the_bound() {
        assert!(has_caught_up(10, 10 + LAG_ENTRIES_MAX));
        assert!(!has_caught_up(10, 11 + LAG_ENTRIES_MAX));
        // What the leader says of itself may be older than what it says of others.
        assert!(has_caught_up(11, 10));
    }
}
