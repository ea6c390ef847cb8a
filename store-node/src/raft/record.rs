//! The bytes of one record of the consensus log (see `docs/formats.md`, *Raft record*).
//!
//! All of a node's consensus is one stream of these records in one segment log: votes, entries,
//! truncations, purges and how far was committed. Only the bytes are here; what the stream adds up
//! to is decided in `recovery.rs`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use openraft::vote::RaftLeaderId;
use serde::{Deserialize, Serialize};

use super::types::{
    Address, CommittedLeaderId, Content, Entry, LeaderId, LogId, Members, Payload, Vote,
};

/// Bytes before an entry's content.
pub const HEADER_BYTES: usize = 32;
/// The version every record carries.
const VERSION: u16 = 1;

const KIND_VOTE: u8 = 1;
const KIND_ENTRY: u8 = 2;
const KIND_TRUNCATE: u8 = 3;
const KIND_PURGE: u8 = 4;
const KIND_COMMITTED: u8 = 5;

const CONTENT_BLANK: u8 = 0;
const CONTENT_COMMAND: u8 = 1;
const CONTENT_MEMBERSHIP: u8 = 2;

/// One record, read back.
#[derive(Debug, PartialEq)]
pub enum Record {
    /// A promise this node made. The greatest counts.
    Vote(Vote),
    /// The entry that follows the last one.
    Entry(Entry),
    /// Entries after this position are taken back; all of them if `None`.
    Truncate(Option<LogId>),
    /// Entries up to and including this position are no longer part of the log.
    Purge(LogId),
    /// Entries up to and including this position were known to be committed.
    Committed(Option<LogId>),
}

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than a header.
    #[error("a consensus record of {len} bytes is shorter than its header")]
    Short {
        /// How many bytes there are.
        len: usize,
    },
    /// A newer program wrote it: use that one.
    #[error("a consensus record is of version {found}; this program reads version {VERSION}")]
    Version {
        /// The version it carries.
        found: u16,
    },
    /// The record belongs to a shard this node does not have.
    #[error("a consensus record is of shard {found}, expected {expected}")]
    Shard {
        /// The shard it carries.
        found: u32,
        /// The shard of this log.
        expected: u32,
    },
    /// The kind, or a detail of it, is unknown.
    #[error("a consensus record of kind {kind} has detail {detail}, which means nothing")]
    Kind {
        /// The kind byte.
        kind: u8,
        /// The detail byte.
        detail: u8,
    },
    /// The content of a membership entry does not parse.
    #[error("the membership in a consensus record is malformed: {reason}")]
    Membership {
        /// What is wrong.
        reason: String,
    },
}

/// The parts of a vote's record.
pub fn vote(shard: u32, vote: &Vote) -> Vec<Bytes> {
    let leader = vote.leader_id;
    vec![header(
        KIND_VOTE,
        vote.committed.into(),
        shard,
        Some((&leader, 0)),
    )]
}

/// The parts of an entry's record. A command's bytes are shared, not copied.
pub fn entry(shard: u32, entry: &Entry) -> Vec<Bytes> {
    let (detail, content) = encode_content(&entry.payload);
    let id = Some((&entry.log_id.leader_id, entry.log_id.index));
    let mut parts = vec![header(KIND_ENTRY, detail, shard, id)];
    if !content.is_empty() {
        parts.push(content);
    }
    parts
}

/// The parts of a truncation's record.
pub fn truncate(shard: u32, last: Option<&LogId>) -> Vec<Bytes> {
    vec![position(KIND_TRUNCATE, shard, last)]
}

/// The parts of a purge's record.
pub fn purge(shard: u32, upto: &LogId) -> Vec<Bytes> {
    vec![position(KIND_PURGE, shard, Some(upto))]
}

/// The parts of the record that says how far was committed.
pub fn committed(shard: u32, upto: Option<&LogId>) -> Vec<Bytes> {
    vec![position(KIND_COMMITTED, shard, upto)]
}

/// Reads a record back. `bytes` passed the segment log's checksum, so anything wrong here was
/// written wrong, or by a newer program.
pub fn decode(shard: u32, bytes: &Bytes) -> Result<Record, RecordError> {
    if bytes.len() < HEADER_BYTES {
        return Err(RecordError::Short { len: bytes.len() });
    }
    let (kind, detail) = (bytes[0], bytes[1]);
    let found = u16::from_le_bytes([bytes[2], bytes[3]]);
    if found != VERSION {
        return Err(RecordError::Version { found });
    }
    let found = u32::from_le_bytes(field(bytes, 4));
    if found != shard {
        return Err(RecordError::Shard {
            found,
            expected: shard,
        });
    }
    let leader = LeaderId::new(
        u64::from_le_bytes(field(bytes, 8)),
        u64::from_le_bytes(field(bytes, 16)),
    );
    let id = LogId {
        leader_id: leader.to_committed(),
        index: u64::from_le_bytes(field(bytes, 24)),
    };
    let unknown = RecordError::Kind { kind, detail };
    match (kind, detail) {
        (KIND_VOTE, 0 | 1) => Ok(Record::Vote(Vote {
            leader_id: leader,
            committed: detail == 1,
        })),
        (KIND_ENTRY, _) => {
            let payload = decode_content(detail, bytes.slice(HEADER_BYTES..))?.ok_or(unknown)?;
            Ok(Record::Entry(Entry {
                log_id: id,
                payload,
            }))
        }
        (KIND_TRUNCATE, 0) => Ok(Record::Truncate(None)),
        (KIND_TRUNCATE, 1) => Ok(Record::Truncate(Some(id))),
        (KIND_PURGE, 1) => Ok(Record::Purge(id)),
        (KIND_COMMITTED, 0) => Ok(Record::Committed(None)),
        (KIND_COMMITTED, 1) => Ok(Record::Committed(Some(id))),
        _ => Err(unknown),
    }
}

/// A content's tag and bytes, the same in the log and between nodes.
pub fn encode_content(content: &Content) -> (u8, Bytes) {
    match content {
        Content::Blank => (CONTENT_BLANK, Bytes::new()),
        Content::Normal(payload) => (CONTENT_COMMAND, payload.0.clone()),
        Content::Membership(members) => (CONTENT_MEMBERSHIP, encode_members(members)),
    }
}

/// The content of a tag and bytes; `None` if the tag is unknown.
pub fn decode_content(tag: u8, bytes: Bytes) -> Result<Option<Content>, RecordError> {
    Ok(match tag {
        CONTENT_BLANK if bytes.is_empty() => Some(Content::Blank),
        CONTENT_COMMAND => Some(Content::Normal(Payload(bytes))),
        CONTENT_MEMBERSHIP => Some(Content::Membership(decode_members(&bytes)?)),
        _ => None,
    })
}

/// A membership as CBOR. Ours, not the library's, so that the format stays when the library moves.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MembersOnDisk {
    /// The voters; two sets while they change.
    voters: Vec<BTreeSet<u64>>,
    /// Every member with its address, learners too.
    nodes: BTreeMap<u64, AddressOnDisk>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddressOnDisk {
    quic: String,
}

fn encode_members(members: &Members) -> Bytes {
    let on_disk = MembersOnDisk {
        voters: members.get_joint_config().clone(),
        nodes: members
            .nodes()
            .map(|(id, address)| {
                let quic = address.quic.clone();
                (*id, AddressOnDisk { quic })
            })
            .collect(),
    };
    let mut bytes = Vec::new();
    ciborium::into_writer(&on_disk, &mut bytes).expect("writing CBOR to memory cannot fail");
    Bytes::from(bytes)
}

fn decode_members(bytes: &[u8]) -> Result<Members, RecordError> {
    let malformed = |reason: String| RecordError::Membership { reason };
    let mut rest = bytes;
    let on_disk: MembersOnDisk = ciborium::de::from_reader_with_recursion_limit(&mut rest, 16)
        .map_err(|error| malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(malformed(format!("{} bytes follow it", rest.len())));
    }
    let nodes: BTreeMap<u64, Address> = on_disk
        .nodes
        .into_iter()
        .map(|(id, address)| (id, Address { quic: address.quic }))
        .collect();
    if on_disk.voters.is_empty() && nodes.is_empty() {
        return Ok(Members::default());
    }
    Members::new(on_disk.voters, nodes).map_err(|error| malformed(error.to_string()))
}

fn position(kind: u8, shard: u32, id: Option<&LogId>) -> Bytes {
    let present = id.is_some().into();
    header(kind, present, shard, id.map(|id| (&id.leader_id, id.index)))
}

fn header(kind: u8, detail: u8, shard: u32, id: Option<(&CommittedLeaderId, u64)>) -> Bytes {
    let (term, node, index) = match id {
        Some((leader, index)) => (leader.term, leader.node_id, index),
        None => (0, 0, 0),
    };
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES);
    bytes.put_u8(kind);
    bytes.put_u8(detail);
    bytes.put_u16_le(VERSION);
    bytes.put_u32_le(shard);
    bytes.put_u64_le(term);
    bytes.put_u64_le(node);
    bytes.put_u64_le(index);
    bytes.freeze()
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N]
        .try_into()
        .expect("the caller checked that a whole header is there")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(term: u64, node: u64, index: u64) -> LogId {
        LogId {
            leader_id: LeaderId::new(term, node),
            index,
        }
    }

    fn joined(parts: Vec<Bytes>) -> Bytes {
        Bytes::from(parts.concat())
    }

    fn members() -> Members {
        let nodes: BTreeMap<u64, Address> = (1..=4)
            .map(|node| {
                let quic = format!("10.0.0.{node}:7400");
                (node, Address { quic })
            })
            .collect();
        Members::new(vec![BTreeSet::from([1, 2, 3])], nodes).expect("every voter has an address")
    }

    #[test]
    fn every_record_reads_back_as_it_was_written() {
        for committed in [false, true] {
            let given = Vote {
                leader_id: LeaderId::new(7, 3),
                committed,
            };
            let read = decode(0, &joined(vote(0, &given)));
            assert_eq!(read, Ok(Record::Vote(given)));
        }
        for payload in [
            Content::Blank,
            Content::Normal(Payload(Bytes::from_static(b"command"))),
            Content::Normal(Payload(Bytes::new())),
            Content::Membership(members()),
            Content::Membership(Members::default()),
        ] {
            let given = Entry {
                log_id: id(u64::MAX, 2, 99),
                payload,
            };
            let read = decode(5, &joined(entry(5, &given)));
            assert_eq!(read, Ok(Record::Entry(given)));
        }
        for last in [None, Some(id(1, 2, 3))] {
            let read = decode(0, &joined(truncate(0, last.as_ref())));
            assert_eq!(read, Ok(Record::Truncate(last)));
            let read = decode(0, &joined(committed(0, last.as_ref())));
            assert_eq!(read, Ok(Record::Committed(last)));
        }
        let read = decode(0, &joined(purge(0, &id(1, 2, 3))));
        assert_eq!(read, Ok(Record::Purge(id(1, 2, 3))));
    }

    #[test]
    fn what_is_not_a_record_of_this_version_and_shard_is_named() {
        let good = joined(purge(0, &id(1, 2, 3)));
        assert_eq!(
            decode(0, &good.slice(..HEADER_BYTES - 1)),
            Err(RecordError::Short {
                len: HEADER_BYTES - 1
            })
        );
        assert_eq!(
            decode(1, &good),
            Err(RecordError::Shard {
                found: 0,
                expected: 1
            })
        );
        let mut newer = good.to_vec();
        newer[2] = 2;
        assert_eq!(
            decode(0, &Bytes::from(newer)),
            Err(RecordError::Version { found: 2 })
        );
        for (at, value) in [(0, 0), (0, 6), (1, 2)] {
            let mut unknown = good.to_vec();
            unknown[at] = value;
            assert!(matches!(
                decode(0, &Bytes::from(unknown)),
                Err(RecordError::Kind { .. })
            ));
        }
    }

    #[test]
    fn a_membership_with_bytes_after_it_is_refused() {
        let (tag, content) = encode_content(&Content::Membership(members()));
        let longer = Bytes::from([&content[..], &[0]].concat());
        assert!(matches!(
            decode_content(tag, longer),
            Err(RecordError::Membership { .. })
        ));
    }
}
