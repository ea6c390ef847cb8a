//! Whom to ask: the targets a user named, those that failed lately last.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store_wire::client::Target;
use store_wire::message::Member;
use tokio::time::Instant;

use crate::failure::UsageError;

/// How long a node that failed is asked only after the others.
const PENALTY: Duration = Duration::from_secs(5);

/// The nodes to ask, in order of preference.
#[derive(Debug)]
pub struct Targets {
    named: Vec<String>,
    learned: Mutex<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    /// Nodes that failed, and until when that counts.
    avoided: HashMap<String, Instant>,
    members: Vec<Member>,
    leader: Option<String>,
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
            learned: Mutex::default(),
        })
    }

    /// The targets a user named.
    pub fn named(&self) -> &[String] {
        &self.named
    }

    /// Whom to ask, first things first: the named targets in their order, then members learned of,
    /// and those that failed lately at the end.
    pub(crate) fn in_order(&self) -> Vec<String> {
        let now = Instant::now();
        let mut learned = self.learned();
        learned.avoided.retain(|_, until| *until > now);
        let mut order = self.named.clone();
        for member in &learned.members {
            if !order.contains(&member.address) {
                order.push(member.address.clone());
            }
        }
        order.sort_by_key(|address| learned.avoided.contains_key(address));
        order
    }

    /// Whom to send a write to: the leader where it is known, then the others.
    pub(crate) fn for_writes(&self) -> Vec<String> {
        let mut order = self.in_order();
        if let Some(leader) = self.learned().leader.clone() {
            order.retain(|address| *address != leader);
            order.insert(0, leader);
        }
        order
    }

    pub(crate) fn note_failure(&self, address: &str) {
        let mut learned = self.learned();
        learned
            .avoided
            .insert(address.to_owned(), Instant::now() + PENALTY);
        if learned.leader.as_deref() == Some(address) {
            learned.leader = None;
        }
    }

    pub(crate) fn note_success(&self, address: &str) {
        self.learned().avoided.remove(address);
    }

    pub(crate) fn note_members(&self, members: &[Member]) {
        self.learned().members = members.to_vec();
    }

    pub(crate) fn note_leader(&self, address: Option<String>) {
        self.learned().leader = address;
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        // What is learned is only a hint: after a panic elsewhere it is as good as before.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn checked(text: &str) -> Result<String, UsageError> {
    let target: Target = text
        .parse()
        .map_err(|error| UsageError::new("target", error))?;
    Ok(target.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_port_is_the_default_one() {
        let targets = Targets::parse("a, b:1,[::1],[::1]:2").unwrap();
        assert_eq!(targets.named(), ["a:7400", "b:1", "[::1]:7400", "[::1]:2"]);
    }

    #[test]
    fn a_bad_target_is_named() {
        for bad in ["", "a,,b", "a:b", "a:70000", "http://a", "a b"] {
            let refused = Targets::parse(bad).unwrap_err();
            assert_eq!(refused.name, "target", "{bad:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_failed_is_asked_last_for_a_while() {
        let targets = Targets::parse("a,b").unwrap();
        targets.note_failure("a:7400");
        assert_eq!(targets.in_order(), ["b:7400", "a:7400"]);
        tokio::time::advance(PENALTY).await;
        assert_eq!(targets.in_order(), ["a:7400", "b:7400"]);
    }

    #[test]
    fn members_learned_of_come_after_the_named_targets() {
        let targets = Targets::parse("a").unwrap();
        let member = |address: &str| Member {
            address: address.to_owned(),
            ..Member::default()
        };
        targets.note_members(&[member("b:7400"), member("a:7400")]);
        targets.note_leader(Some("c:7400".to_owned()));
        assert_eq!(targets.in_order(), ["a:7400", "b:7400"]);
        assert_eq!(targets.for_writes(), ["c:7400", "a:7400", "b:7400"]);
    }
}
