//! Whom to ask: the nodes a user named and the members learned of, the nearest that is fresh and has
//! room first, those that failed lately last.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sensor_model::Consistency;
use store_wire::client::Target;
use store_wire::message::{Load, Member, NodeStatus, Role};
use tokio::time::Instant;

use super::latency::Latency;
use crate::failure::UsageError;

/// How long a node that failed once is asked only after the others. Doubles with every further time.
const PENALTY_MIN: Duration = Duration::from_secs(1);
/// The longest of these times.
const PENALTY_MAX: Duration = Duration::from_secs(30);
/// How often every node is asked how it is, while questions come.
const SURVEY_EVERY: Duration = Duration::from_secs(5);
/// A node that is farther than the one preferred so far by no more than this is as near: going back
/// and forth between two would only show readers two ages in turn.
const NEARER_BY: Duration = Duration::from_millis(1);

/// The nodes to ask, in order of preference.
#[derive(Debug)]
pub struct Targets {
    named: Vec<String>,
    learned: Mutex<Learned>,
}

#[derive(Debug)]
struct Learned {
    nodes: BTreeMap<String, Node>,
    members: Vec<Member>,
    leader: Option<String>,
    /// The nearest node, until another is nearer by more than a little.
    preferred: Option<String>,
    next_survey: Instant,
}

/// What is known of a node.
#[derive(Debug, Default)]
struct Node {
    failed: Option<Failed>,
    seen: Option<Seen>,
}

/// That it failed.
#[derive(Debug, Clone, Copy)]
struct Failed {
    /// How often in a row.
    times: u32,
    /// Until when that counts.
    until: Instant,
}

/// What it said when it was last asked how it is.
#[derive(Debug, Clone, Copy)]
struct Seen {
    latency: Latency,
    takes_work: bool,
    applied: u64,
    age: Option<Duration>,
}

impl Targets {
    /// Reads `HOST[:PORT][,HOST…]`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// A [`UsageError`] naming `target` and the part at fault.
    pub fn parse(text: &str) -> Result<Self, UsageError> {
        let named = text
            .split(',')
            .map(|target| checked(target.trim()))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            named,
            learned: Mutex::new(Learned {
                nodes: BTreeMap::new(),
                members: Vec::new(),
                leader: None,
                preferred: None,
                next_survey: Instant::now() + SURVEY_EVERY,
            }),
        })
    }

    /// The targets a user named.
    pub fn named(&self) -> &[String] {
        &self.named
    }

    /// Whom to ask on such terms, first things first: nodes known to be fresh enough and to have room,
    /// the nearest of them first; then the others; those that failed lately at the end. Nodes of which
    /// nothing is known keep the order in which they were named.
    pub(crate) fn in_order(&self, consistency: Consistency) -> Vec<String> {
        let now = Instant::now();
        let learned = self.learned();
        let mut order = self.known(&learned);
        order.sort_by_cached_key(|address| learned.rank(address, consistency, now));
        order
    }

    /// Whom to send a write to: the leader where it is known, then the others.
    pub(crate) fn for_writes(&self) -> Vec<String> {
        let mut order = self.in_order(Consistency::Any);
        if let Some(leader) = self.learned().leader.clone() {
            order.retain(|address| *address != leader);
            order.insert(0, leader);
        }
        order
    }

    /// Every node there is to ask how it is, if it is time for that.
    pub(crate) fn due_for_survey(&self) -> Option<Vec<String>> {
        let now = Instant::now();
        let mut learned = self.learned();
        if now < learned.next_survey {
            return None;
        }
        learned.next_survey = now + SURVEY_EVERY;
        Some(self.known(&learned))
    }

    /// Takes note that a node failed; `pause` is when it wants to be asked again, where it said so.
    pub(crate) fn note_failure(&self, address: &str, pause: Option<Duration>) {
        let mut learned = self.learned();
        let node = learned.nodes.entry(address.to_owned()).or_default();
        let times = node.failed.map_or(0, |failed| failed.times);
        let doubled = PENALTY_MIN.saturating_mul(1 << times.min(8));
        node.failed = Some(Failed {
            times: times + 1,
            until: Instant::now() + pause.unwrap_or(doubled).min(PENALTY_MAX),
        });
        if learned.leader.as_deref() == Some(address) {
            learned.leader = None;
        }
    }

    pub(crate) fn note_success(&self, address: &str) {
        if let Some(node) = self.learned().nodes.get_mut(address) {
            node.failed = None;
        }
    }

    /// Takes note of how a node said it is, and how long it took to say so.
    pub(crate) fn note_status(&self, address: &str, status: &NodeStatus, took: Duration) {
        let mut learned = self.learned();
        let node = learned.nodes.entry(address.to_owned()).or_default();
        let mut latency = node.seen.map_or(Latency::of(took), |seen| seen.latency);
        latency.note(took);
        node.seen = Some(Seen {
            latency,
            takes_work: status.load == Load::Active && status.role != Role::Removed,
            applied: status.applied_index,
            age: status.age_ms.map(Duration::from_millis),
        });
        learned.choose();
    }

    /// Takes note that a node did not say how it is: it is not near.
    pub(crate) fn note_silence(&self, address: &str) {
        let mut learned = self.learned();
        if let Some(node) = learned.nodes.get_mut(address) {
            node.seen = None;
        }
        learned.choose();
    }

    pub(crate) fn note_members(&self, members: &[Member]) {
        let mut learned = self.learned();
        learned.members = members.to_vec();
        let named = &self.named;
        let Learned { nodes, members, .. } = &mut *learned;
        nodes.retain(|address, _| {
            named.contains(address) || members.iter().any(|member| member.address == *address)
        });
    }

    /// Takes note of who belongs to the cluster and who leads, in the words of a member.
    pub(crate) fn note_cluster(&self, status: &NodeStatus) {
        self.note_members(&status.members);
        let mut members = status.members.iter();
        if let Some(leader) = members.find(|member| Some(member.id) == status.leader) {
            self.note_leader(Some(leader.address.clone()));
        }
    }

    pub(crate) fn note_leader(&self, address: Option<String>) {
        self.learned().leader = address;
    }

    /// The named targets in their order, then members learned of.
    fn known(&self, learned: &Learned) -> Vec<String> {
        let mut known = self.named.clone();
        for member in &learned.members {
            if !known.contains(&member.address) {
                known.push(member.address.clone());
            }
        }
        known
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        // What is learned is only a hint: after a panic elsewhere it is as good as before.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Learned {
    /// What is less is asked first.
    fn rank(&self, address: &str, consistency: Consistency, now: Instant) -> impl Ord + use<> {
        let node = self.nodes.get(address);
        let failed = node.and_then(|node| node.failed);
        let is_avoided = failed.is_some_and(|failed| failed.until > now);
        let seen = node.and_then(|node| node.seen);
        let is_unfit = seen.is_some_and(|seen| !seen.takes_work || !seen.satisfies(consistency));
        let is_preferred = self.preferred.as_deref() == Some(address);
        let distance = seen.map_or(Duration::MAX, |seen| seen.latency.mean());
        (is_avoided, is_unfit, !is_preferred, distance)
    }

    /// Prefers the nearest node, or stays with one that is as near.
    fn choose(&mut self) {
        let distance = |address: &str| Some(self.nodes.get(address)?.seen?.latency.mean());
        let near = self.nodes.iter().filter_map(|(address, node)| {
            let seen = node.seen.filter(|seen| seen.takes_work)?;
            Some((seen.latency.mean(), address))
        });
        let Some((least, nearest)) = near.min() else {
            self.preferred = None;
            return;
        };
        let held = self.preferred.as_deref().and_then(distance);
        if held.is_none_or(|held| held > least * 3 / 2 + NEARER_BY) {
            self.preferred = Some(nearest.clone());
        }
    }
}

impl Seen {
    /// Whether the replica would answer at once. What it said is some seconds old: an answer does not
    /// depend on it, only who is asked first.
    fn satisfies(&self, consistency: Consistency) -> bool {
        match consistency {
            Consistency::Any | Consistency::Linearizable => true,
            Consistency::MaxStaleness(bound) => self.age.is_some_and(|age| age <= bound),
            Consistency::AtLeast(token) => self.applied >= token.index,
        }
    }
}

fn checked(text: &str) -> Result<String, UsageError> {
    let target: Target = text
        .parse()
        .map_err(|error| UsageError::new("target", error))?;
    Ok(target.to_string())
}

#[cfg(test)]
mod tests;
