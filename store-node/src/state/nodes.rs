//! Every node id the cluster ever used: whose it is, and what became of it.
//!
//! The membership forgets a node once it is removed; this table does not, so that an id is never
//! given to another node, nor to the same one after it lost its disk. An id belongs to a *folder*: a
//! blank folder makes up an incarnation before it asks to join, and the first incarnation to claim an
//! id through the log has it for good. See `docs/decisions/0014-joining.md`.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Node ids by their history.
///
/// Invariants:
/// - an id is never taken out;
/// - a holder that is a folder never changes;
/// - what was removed stays removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nodes {
    known: BTreeMap<u64, NodeRecord>,
}

/// One id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The id.
    pub id: u64,
    /// Whose it is.
    pub holder: Holder,
    /// Whether it is in the membership.
    pub standing: Standing,
}

/// Whose an id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    /// The node the cluster was founded with.
    Founder,
    /// Nobody's yet: an operator expects a node.
    Expected,
    /// The folder with this incarnation.
    Folder(Uuid),
}

/// Where an id stands with regard to the membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It was claimed and is no member yet.
    Claimed,
    /// It is a member, voter or learner.
    Member,
    /// It was a member. It never will be again.
    Removed,
}

impl Nodes {
    /// The table as it was when its `records` were taken.
    pub fn restored(records: impl IntoIterator<Item = NodeRecord>) -> Self {
        let known = records.into_iter().map(|record| (record.id, record));
        Self {
            known: known.collect(),
        }
    }

    /// Every id, ascending.
    pub fn records(&self) -> impl Iterator<Item = &NodeRecord> {
        self.known.values()
    }

    /// What is known of `id`; `None` if it was never used.
    pub fn record(&self, id: u64) -> Option<&NodeRecord> {
        self.known.get(&id)
    }

    /// Where `id` stands; `None` if it was never used.
    pub fn standing(&self, id: u64) -> Option<Standing> {
        self.known.get(&id).map(|record| record.standing)
    }

    /// The least id above all that were used.
    pub fn next_free(&self) -> u64 {
        let last = self.known.last_key_value();
        last.map_or(1, |(id, _)| id.saturating_add(1))
    }

    /// Gives `id` to the folder `incarnation`, or notes that a node is expected under it. Whether it
    /// has it now; what is claimed again by the same changes nothing.
    pub(super) fn claim(&mut self, id: u64, incarnation: Option<Uuid>) -> bool {
        let wanted = incarnation.map_or(Holder::Expected, Holder::Folder);
        match self.known.entry(id) {
            Entry::Vacant(free) => {
                free.insert(NodeRecord {
                    id,
                    holder: wanted,
                    standing: Standing::Claimed,
                });
                true
            }
            Entry::Occupied(mut taken) => {
                let record = taken.get_mut();
                if record.standing == Standing::Removed {
                    return false;
                }
                if record.holder == Holder::Expected {
                    record.holder = wanted;
                }
                record.holder == wanted
            }
        }
    }

    /// Takes note of a committed membership.
    pub(super) fn follow(&mut self, members: &BTreeSet<u64>) {
        for record in self.known.values_mut() {
            if record.standing == Standing::Member && !members.contains(&record.id) {
                record.standing = Standing::Removed;
            }
        }
        for id in members {
            let founder = NodeRecord {
                id: *id,
                holder: Holder::Founder,
                standing: Standing::Member,
            };
            let record = self.known.entry(*id).or_insert(founder);
            if record.standing == Standing::Claimed {
                record.standing = Standing::Member;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Option<Uuid> = Some(Uuid::from_u128(1));
    const TWO: Option<Uuid> = Some(Uuid::from_u128(2));

    fn founded(members: &[u64]) -> Nodes {
        let mut nodes = Nodes::default();
        nodes.follow(&members.iter().copied().collect());
        nodes
    }

    #[test]
    fn a_founders_id_is_never_given_to_a_folder() {
        let mut nodes = founded(&[1, 2, 3]);
        assert!(!nodes.claim(3, ONE));
        assert!(!nodes.claim(3, None));
        assert_eq!(nodes.next_free(), 4);
    }

    #[test]
    fn the_first_folder_has_the_id_and_may_say_so_again() {
        let mut nodes = founded(&[1]);
        assert!(nodes.claim(4, ONE));
        assert_eq!(nodes.standing(4), Some(Standing::Claimed));
        assert!(nodes.claim(4, ONE));
        assert!(!nodes.claim(4, TWO));
        assert!(!nodes.claim(4, None));
        nodes.follow(&BTreeSet::from([1, 4]));
        assert_eq!(nodes.standing(4), Some(Standing::Member));
        assert!(nodes.claim(4, ONE) && !nodes.claim(4, TWO));
    }

    #[test]
    fn an_expected_id_is_the_first_comers() {
        let mut nodes = founded(&[1]);
        assert!(nodes.claim(2, None) && nodes.claim(2, None));
        nodes.follow(&BTreeSet::from([1, 2]));
        assert!(nodes.claim(2, ONE));
        assert!(!nodes.claim(2, TWO));
    }

    #[test]
    fn what_was_removed_never_comes_back() {
        let mut nodes = founded(&[1, 2]);
        assert!(nodes.claim(3, ONE));
        nodes.follow(&BTreeSet::from([1, 2, 3]));
        nodes.follow(&BTreeSet::from([1]));
        for id in [2, 3] {
            assert_eq!(nodes.standing(id), Some(Standing::Removed));
            assert!(!nodes.claim(id, ONE), "{id}");
            assert!(!nodes.claim(id, TWO), "{id}");
            assert!(!nodes.claim(id, None), "{id}");
        }
        assert_eq!(nodes.next_free(), 4);
    }

    #[test]
    fn a_claim_outlives_memberships_without_it() {
        let mut nodes = founded(&[1]);
        assert!(nodes.claim(2, ONE));
        nodes.follow(&BTreeSet::from([1]));
        assert_eq!(nodes.standing(2), Some(Standing::Claimed));
        assert!(!nodes.claim(2, TWO));
    }

    #[test]
    fn records_restore_the_table() {
        let mut nodes = founded(&[1, 2]);
        assert!(nodes.claim(7, ONE) && nodes.claim(8, None));
        nodes.follow(&BTreeSet::from([2, 7]));
        let again = Nodes::restored(nodes.records().copied());
        assert_eq!(again, nodes);
    }
}
