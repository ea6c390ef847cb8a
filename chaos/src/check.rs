//! The checker: holds a history against the promises, rule by rule.
//!
//! [`Rule`] lists the rules with their numbers; `docs/chaos.md` explains them. A write whose outcome is
//! unknown may be there or not; nothing is concluded from it, except that it is there once at most, on
//! all nodes or on none, and only after it was sent.
//!
//! Each rule is its own function, and each has tests with planted histories that break it.

mod known;
mod reads;
mod replicas;
#[cfg(test)]
mod tests;
mod writes;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::history::{Event, Read};

use known::Known;

/// How soon the cluster takes writes again once nothing is broken any more.
pub const RECOVERY_MAX: Duration = Duration::from_secs(30);
/// Most violations of one rule that are told; the rest is only counted.
const TOLD_MAX: usize = 5;

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Every acknowledged reading is on every node at the end, with its value.
    Kept,
    /// Every reading that is there was applied exactly once.
    Once,
    /// No reading is seen that was not sent before, or whose write was refused.
    NotInvented,
    /// The batches of a producer are seen in order and whole: never one without those before it.
    InOrder,
    /// At the end all nodes have the same readings, and where they are at the same position of the
    /// log, the same files.
    Same,
    /// A read with the token of a write sees the write, or fails.
    Token,
    /// Reads under one token never go backwards.
    Forwards,
    /// A linearizable read sees all that was acknowledged before it began.
    Linearizable,
    /// A read with `max-staleness=D` sees all that was acknowledged more than D before it began.
    Fresh,
    /// The leader that a node names is of no election before that of the one it named before.
    LeadersAscend,
    /// Once nothing is broken any more, writes are taken again within 30 s.
    Recovers,
    /// Nothing is acknowledged sooner than a majority can have synced it.
    Synced,
    /// No node ends by itself, panics, leaves damaged files, or forgets what it acknowledged, unless
    /// that was the fault.
    Behaves,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// How.
    pub text: String,
}

impl Rule {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Kept,
        Self::Once,
        Self::NotInvented,
        Self::InOrder,
        Self::Same,
        Self::Token,
        Self::Forwards,
        Self::Linearizable,
        Self::Fresh,
        Self::LeadersAscend,
        Self::Recovers,
        Self::Synced,
        Self::Behaves,
    ];

    /// Its number in `docs/chaos.md`.
    pub fn number(self) -> usize {
        1 + Self::ALL.iter().take_while(|rule| **rule != self).count()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, text } = self;
        write!(f, "rule {} ({rule:?}): {text}", rule.number())
    }
}

/// Judges a whole history: every way in which it breaks a rule, in the order of the rules, at most
/// five a rule in full.
pub fn check(events: &[Event]) -> Vec<Violation> {
    let known = Known::of(events);
    let mut found = Vec::new();
    let mut last_of_reader: BTreeMap<u32, &Read> = BTreeMap::new();
    for event in events {
        match event {
            Event::Read(read) => {
                reads::check(&known, read, &mut found);
                reads::check_forwards(&mut last_of_reader, read, &mut found);
            }
            Event::Welcomed { .. } | Event::Recovered { .. } | Event::Misbehaved { .. } => {
                writes::check(&known, event, &mut found);
            }
            _ => {}
        }
    }
    writes::check_leaders(events, &mut found);
    writes::check_syncs(&known, events, &mut found);
    replicas::check(&known, events, &mut found);
    shortened(found)
}

/// In the order of the rules, with a count instead of what is too much to tell.
fn shortened(mut found: Vec<Violation>) -> Vec<Violation> {
    found.sort_by_key(|violation| violation.rule);
    let mut told = Vec::new();
    for same in found.chunk_by(|one, other| one.rule == other.rule) {
        told.extend_from_slice(&same[..same.len().min(TOLD_MAX)]);
        if let Some(more) = same.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
            let text = format!("and {more} more like these");
            let rule = same[0].rule;
            told.push(Violation { rule, text });
        }
    }
    told
}
