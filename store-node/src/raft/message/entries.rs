//! Entries on the wire: their contents are a frame's body, end to end; heads say how to cut it.

use bytes::Bytes;
use openraft::{raft::AppendEntriesRequest, vote::RaftLeaderId};
use serde::{Deserialize, Serialize};

use super::{Position, ToPeer};
use crate::raft::{
    record::{self, RecordError},
    types::{Entry, LeaderId, LogId, Types},
};

/// How to cut one entry out of a body. Written as an array, as there can be hundreds in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u8, u32)", into = "(u64, u64, u8, u32)")]
pub struct EntryHead {
    term: u64,
    node: u64,
    content: u8,
    len: u32,
}

impl From<(u64, u64, u8, u32)> for EntryHead {
    fn from((term, node, content, len): (u64, u64, u8, u32)) -> Self {
        Self {
            term,
            node,
            content,
            len,
        }
    }
}

impl From<EntryHead> for (u64, u64, u8, u32) {
    fn from(head: EntryHead) -> Self {
        (head.term, head.node, head.content, head.len)
    }
}

/// An append as a message and the slices of its body. Nothing is copied.
pub fn append(request: &AppendEntriesRequest<Types>) -> (ToPeer, Vec<Bytes>) {
    let mut heads = Vec::with_capacity(request.entries.len());
    let mut body = Vec::with_capacity(request.entries.len());
    for entry in &request.entries {
        let (content, bytes) = record::encode_content(&entry.payload);
        heads.push(EntryHead {
            term: entry.log_id.leader_id.term,
            node: entry.log_id.leader_id.node_id,
            content,
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        });
        body.push(bytes);
    }
    let message = ToPeer::Append {
        vote: request.vote.into(),
        previous: request.prev_log_id.map(Position::from),
        committed: request.leader_commit.map(Position::from),
        entries: heads,
    };
    (message, body)
}

/// Cuts the entries that follow `previous` out of a body, sharing its memory.
pub fn entries(
    previous: Option<Position>,
    heads: &[EntryHead],
    mut body: Bytes,
) -> Result<Vec<Entry>, BadAppend> {
    let first = previous.map_or(0, |previous| previous.index + 1);
    let mut entries = Vec::with_capacity(heads.len());
    for (index, head) in (first..).zip(heads) {
        let len = usize::try_from(head.len).unwrap_or(usize::MAX);
        if len > body.len() {
            return Err(BadAppend::Length);
        }
        let content = record::decode_content(head.content, body.split_to(len))?;
        entries.push(Entry {
            log_id: LogId {
                leader_id: LeaderId::new(head.term, head.node).to_committed(),
                index,
            },
            payload: content.ok_or(BadAppend::Content(head.content))?,
        });
    }
    if body.is_empty() {
        Ok(entries)
    } else {
        Err(BadAppend::Length)
    }
}

/// Why a body does not hold the entries its head announces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAppend {
    /// The lengths do not add up.
    #[error("the entries' lengths do not add up to the body")]
    Length,
    /// A content of a kind this program does not know.
    #[error("an entry has content of the unknown kind {0}")]
    Content(u8),
    /// A membership does not parse.
    #[error(transparent)]
    Record(#[from] RecordError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::{self, Content, Payload};

    fn request() -> AppendEntriesRequest<Types> {
        let id = |index| LogId {
            leader_id: LeaderId::new(3, 1),
            index,
        };
        let entry = |index, payload| Entry {
            log_id: id(index),
            payload,
        };
        AppendEntriesRequest {
            vote: types::Vote {
                leader_id: LeaderId::new(3, 1),
                committed: true,
            },
            prev_log_id: Some(id(6)),
            leader_commit: Some(id(5)),
            entries: vec![
                entry(7, Content::Blank),
                entry(8, Content::Normal(Payload(Bytes::from_static(b"one")))),
                entry(9, Content::Normal(Payload(Bytes::from_static(b"")))),
                entry(10, Content::Normal(Payload(Bytes::from_static(b"two")))),
            ],
        }
    }

    #[test]
    fn entries_arrive_as_they_were_sent() {
        let given = request();
        let (message, body) = append(&given);
        let ToPeer::Append {
            previous,
            entries: heads,
            ..
        } = message
        else {
            panic!("an append is an append");
        };
        let body = Bytes::from(body.concat());
        let read = entries(previous, &heads, body.clone()).expect("it was just encoded");
        assert_eq!(read, given.entries);
        let short = entries(previous, &heads, body.slice(1..));
        assert_eq!(short, Err(BadAppend::Length));
        let long = entries(previous, &heads[..3], body);
        assert_eq!(long, Err(BadAppend::Length));
    }
}
