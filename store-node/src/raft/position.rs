//! A position of the log as manifests name it, and as consensus does.
//!
//! A manifest knows nothing of consensus: it carries the id of its entry as numbers, and the membership
//! in force there as bytes. The bytes are the record of the entry that set it, exactly as it stands in
//! the log (see `docs/formats.md`, *Raft record*), so they have a version and their own position; they
//! are empty where no membership was ever set.

use bytes::Bytes;
use openraft::{storage::SnapshotMeta, vote::RaftLeaderId};

use super::{
    record::{self, Record, RecordError},
    types::{Address, CommittedLeaderId, Content, Entry, LeaderId, LogId, Members, StoredMembers},
};
use crate::segments::manifest::{Manifest, Position};

/// What the consensus library knows of a snapshot.
pub type Meta = SnapshotMeta<CommittedLeaderId, u64, Address>;

/// A position and the membership in force there.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The entry.
    pub id: LogId,
    /// The membership in force once it is applied.
    pub members: StoredMembers,
}

impl Place {
    /// As a manifest of `shard` names it. The same on every replica.
    pub fn to_position(&self, shard: u32) -> Position {
        Position {
            index: self.id.index,
            term: self.id.leader_id.term,
            node: self.id.leader_id.node_id,
            members: members_record(shard, &self.members),
        }
    }

    /// What a manifest of `shard` names.
    ///
    /// # Errors
    /// When the bytes of the membership are not one.
    pub fn of(shard: u32, position: &Position) -> Result<Self, RecordError> {
        Ok(Self {
            id: LogId {
                leader_id: LeaderId::new(position.term, position.node).to_committed(),
                index: position.index,
            },
            members: stored_members(shard, &position.members)?,
        })
    }

    /// What the consensus library is told of a snapshot that stands here.
    pub fn into_meta(self) -> Meta {
        Meta {
            last_log_id: Some(self.id),
            last_membership: self.members,
        }
    }
}

/// What the consensus library is told of `manifest`.
///
/// # Errors
/// As [`Place::of`].
pub fn meta(shard: u32, manifest: &Manifest) -> Result<Meta, RecordError> {
    Place::of(shard, &manifest.position).map(Place::into_meta)
}

fn members_record(shard: u32, members: &StoredMembers) -> Vec<u8> {
    let Some(set_by) = *members.log_id() else {
        return Vec::new();
    };
    let entry = Entry {
        log_id: set_by,
        payload: Content::Membership(members.membership().clone()),
    };
    record::entry(shard, &entry).concat()
}

fn stored_members(shard: u32, bytes: &[u8]) -> Result<StoredMembers, RecordError> {
    if bytes.is_empty() {
        return Ok(StoredMembers::new(None, Members::default()));
    }
    match record::decode(shard, &Bytes::copy_from_slice(bytes))? {
        Record::Entry(Entry {
            log_id,
            payload: Content::Membership(members),
        }) => Ok(StoredMembers::new(Some(log_id), members)),
        _ => Err(RecordError::Membership {
            reason: "the record is of another kind".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::raft::types::Payload;

    fn id(term: u64, node: u64, index: u64) -> LogId {
        LogId {
            leader_id: LeaderId::new(term, node),
            index,
        }
    }

    fn members() -> Members {
        let nodes: BTreeMap<u64, Address> = (1..=3)
            .map(|node| {
                let quic = format!("10.0.0.{node}:7400");
                (node, Address { quic })
            })
            .collect();
        Members::new(vec![BTreeSet::from([1, 2])], nodes).expect("every voter has an address")
    }

    #[test]
    fn a_place_reads_back_from_the_position_in_a_manifest() {
        for members in [
            StoredMembers::default(),
            StoredMembers::new(Some(id(2, 1, 5)), members()),
        ] {
            let given = Place {
                id: id(7, 3, 99),
                members,
            };
            let position = given.to_position(4);
            assert_eq!((position.index, position.term, position.node), (99, 7, 3));
            assert_eq!(Place::of(4, &position), Ok(given));
        }
    }

    #[test]
    fn bytes_that_are_no_membership_of_this_shard_are_refused() {
        let given = Place {
            id: id(7, 3, 99),
            members: StoredMembers::new(Some(id(2, 1, 5)), members()),
        };
        let position = given.to_position(4);
        let of_shard = Place::of(5, &position);
        assert!(matches!(of_shard, Err(RecordError::Shard { .. })));
        let command = Entry {
            log_id: id(2, 1, 5),
            payload: Content::Normal(Payload(Bytes::from_static(b"x"))),
        };
        let other = Position {
            members: record::entry(4, &command).concat(),
            ..position
        };
        assert!(matches!(
            Place::of(4, &other),
            Err(RecordError::Membership { .. })
        ));
        let cut = Position {
            members: position.members[..20].to_vec(),
            ..position
        };
        assert!(matches!(Place::of(4, &cut), Err(RecordError::Short { .. })));
    }
}
