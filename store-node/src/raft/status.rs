//! What a replica says about itself, for `/status`, the query protocol and metrics.

use std::{collections::BTreeMap, sync::PoisonError, time::Duration};

use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use sensor_model::Timestamp;
use store_wire::message::{DamagedSegment, Member, NodeStatus, PeerStatus, Role};

use super::{members::leader_of, replica::Replica, space::Room};
use crate::{segments::library::Damage, state::State};

/// A member that has not answered for so long cannot be reached, whatever its connection says: three
/// greetings.
const SILENT_MAX: Duration = Duration::from_secs(3);

impl Replica {
    /// How this node is.
    pub fn status(&self) -> NodeStatus {
        let shared = &self.shared;
        let (summary, sealed) = {
            let state = shared.state.read().unwrap_or_else(PoisonError::into_inner);
            (state.summary(), Sealed::of(&state))
        };
        let manifest = shared.archive.manifest();
        let metrics = shared.group.metrics().borrow_watched().clone();
        let (members, leader) = (self.members(), leader_of(&metrics));
        let matched: BTreeMap<u64, Option<u64>> = metrics
            .replication
            .iter()
            .flatten()
            .map(|(id, matched)| (*id, matched.map(|matched| matched.index)))
            .collect();
        let last = metrics.last_log_index.unwrap_or(0);
        let others = members.iter().filter(|member| member.id != shared.id);
        let peers = others
            .map(|member| self.peer(member, matched.get(&member.id).copied().flatten(), last))
            .collect();
        let held = shared.store.held();
        let committed = metrics.cluster_committed.max(metrics.local_committed);
        NodeStatus {
            id: shared.id,
            cluster: shared.cluster.clone(),
            cluster_id: shared.cluster_id.to_string(),
            role: match metrics.state {
                _ if self.is_removed() => Role::Removed,
                ServerState::Leader if leader == Some(shared.id) => Role::Leader,
                ServerState::Leader | ServerState::Candidate => Role::Candidate,
                ServerState::Follower => Role::Follower,
                ServerState::Learner | ServerState::Shutdown => Role::Learner,
            },
            term: metrics.current_term,
            leader,
            commit_index: committed.map_or(0, |id| id.index),
            applied_index: self.applied().index,
            last_snapshot: manifest.map(|manifest| manifest.position.index),
            log_first: held.map(|(first, _)| first),
            log_last: held.map(|(_, last)| last),
            log_bytes: shared.store.bytes(),
            members,
            peers,
            load: self.load(),
            series: summary.series,
            readings: summary.readings,
            disk_bytes: shared.store.bytes() + shared.archive.disk_bytes(),
            disk_free_bytes: shared.space.free_bytes(),
            disk_full: shared.space.room() != Room::Plenty,
            segments: sealed.segments,
            segment_bytes: sealed.segment_bytes,
            unsealed_bytes: sealed.unsealed_bytes,
            jobs_waiting: sealed.jobs_waiting,
            damaged_segments: shared.archive.ailing().iter().map(damaged).collect(),
            producers: summary.producers,
            age_ms: self.age().map(millis),
            reads: shared.reads.asked(),
            certificate_expires: shared
                .network
                .links
                .certificate_expires()
                .map(|end| end.to_string()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: millis(shared.started.elapsed()),
        }
    }

    fn peer(&self, member: &Member, matched_index: Option<u64>, last: u64) -> PeerStatus {
        let shared = &self.shared;
        let link = shared.network.links.get(member.id);
        let silent = shared.reception.silent_for(member.id);
        let compared = shared.comparisons.with(member.id);
        PeerStatus {
            id: member.id,
            address: member.address.clone(),
            reachable: link.is_some_and(|link| link.is_connected())
                && silent.is_none_or(|silent| silent <= SILENT_MAX),
            matched_index,
            lag_entries: matched_index.map(|matched| last.saturating_sub(matched)),
            lag_bytes: matched_index.map(|matched| shared.store.bytes_after(matched)),
            equal_at: compared.equal_at,
            difference: compared.difference,
        }
    }
}

/// What is sealed of a state, and what waits to be.
struct Sealed {
    segments: u64,
    segment_bytes: u64,
    unsealed_bytes: u64,
    jobs_waiting: u64,
}

impl Sealed {
    fn of(state: &State) -> Self {
        Self {
            segments: state.segments().len() as u64,
            segment_bytes: state.segments().iter().map(|entry| entry.bytes).sum(),
            unsealed_bytes: state.unsealed_bytes(),
            jobs_waiting: state.jobs_waiting() as u64,
        }
    }
}

fn damaged(damage: &Damage) -> DamagedSegment {
    DamagedSegment {
        hash: damage.entry.hash.to_string(),
        window: Timestamp::from_nanos(damage.entry.window.start).to_string(),
        from: damage.range.start,
        to: damage.range.end,
        reason: damage.reason.clone(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
