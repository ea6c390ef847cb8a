//! Commands: what the entries of the log say, and their bytes.
//!
//! An entry's payload begins with one byte that names the command. The rare commands are CBOR behind
//! it; a batch has a compact head and then its own bytes, so that the chunks a producer
//! encoded are the bytes that are synced, replicated and read back. Reading a command copies no chunk.
//!
//! What a command *does* is [`crate::state`]'s. The bytes are defined in `docs/formats.md`, section
//! Command.

use bytes::Bytes;
use sensor_model::board::{BOARD_CONTENT_BYTES_MAX, BOARD_TITLE_BYTES_MAX};
use sensor_model::{
    BoardName, DescriptionChange, Kind, Pattern, SeriesDescription, SeriesPath, TimeRange,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store_wire::batch::{BatchError, BatchView};
use uuid::Uuid;

use crate::segments::manifest::{RetentionRule, SegmentId};
use crate::state::boards::BoardText;

/// Longest name of a producer, in bytes.
pub const PRODUCER_BYTES_MAX: usize = 512;

const OPEN_SERIES: u8 = 1;
const OPEN_PRODUCER: u8 = 2;
const APPEND: u8 = 3;
const APPEND_ONCE: u8 = 4;
const SEAL: u8 = 5;
const COMPACT: u8 = 6;
const DELETE: u8 = 7;
const SET_RETENTION: u8 = 8;
const DESCRIBE: u8 = 9;
const SET_BOARD: u8 = 10;

/// Most segments that one [`Command::Compact`] may name.
pub const COMPACTED_MAX: usize = 256;
/// Most rules of a retention.
pub const RETENTION_RULES_MAX: usize = 256;
/// Readings of a full chunk in a segment: long enough to encode well, short enough that the edge of
/// a bucket costs little to decode.
pub const CHUNK_READINGS: u32 = 4096;
/// Width of a window in ns: a day.
pub const WINDOW_NANOS: u64 = 86_400_000_000_000;
const CLAIM_NODE: u8 = 16;

/// How deep a command's CBOR may nest: a list of descriptions with attributes is three deep.
const DEPTH_MAX: usize = 16;

/// A command as it stands in an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Command<'a> {
    /// Gives each path an id, in order, unless it has one.
    OpenSeries {
        /// The series.
        series: Vec<SeriesDescription>,
    },
    /// Begins the next epoch of a producer.
    OpenProducer {
        /// Its name.
        producer: String,
    },
    /// Adds the readings of a batch.
    Append(Append<'a>),
    /// Everything before it is to go into segments.
    Seal(Seal),
    /// Segments of one window are to become one. They are named in ascending order.
    Compact {
        /// Which.
        segments: Vec<SegmentId>,
    },
    /// Readings committed before it are deleted.
    Delete {
        /// Of which series.
        pattern: Pattern,
        /// In which time; it holds an instant.
        range: TimeRange,
        /// If given: only if all series that match are among the first so many. Whoever asked knew
        /// of these, and may write them.
        known: Option<u64>,
    },
    /// How long readings are kept from now on, in place of what was set before.
    SetRetention {
        /// The rules.
        rules: Vec<RetentionRule>,
    },
    /// Changes unit and attributes of a series.
    Describe {
        /// The series.
        path: SeriesPath,
        /// Its kind, if it is to be opened where it does not exist.
        kind: Option<Kind>,
        /// What changes.
        change: DescriptionChange,
    },
    /// Writes or removes a board.
    SetBoard {
        /// Which.
        name: BoardName,
        /// The revision it must have; 0 if it must not exist.
        expected: u64,
        /// What it is to be; `None` for nothing.
        text: Option<BoardText>,
    },
    /// Gives a node id to a folder, for good.
    ClaimNode {
        /// The id.
        id: u64,
        /// What the folder calls itself; `None` if an operator only expects a node.
        incarnation: Option<Uuid>,
    },
}

/// How what is not sealed is to be cut into segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// Width of a window in ns; not 0.
    pub window: u64,
    /// Readings of a full chunk: 1 to [`column_codec::READINGS_MAX`].
    pub chunk_readings: u32,
}

impl Default for Seal {
    fn default() -> Self {
        Self {
            window: WINDOW_NANOS,
            chunk_readings: CHUNK_READINGS,
        }
    }
}

/// A batch with its name, if it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Append<'a> {
    /// Names the batch for ever, so that it is applied once. `None` for a single write by hand.
    pub position: Option<Position<'a>>,
    /// The chunks, under the cluster's series ids.
    pub batch: BatchView,
}

/// Where a batch stands in the sequence of its producer's spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position<'a> {
    /// The producer's name.
    pub producer: &'a str,
    /// The spool's epoch.
    pub epoch: u64,
    /// The batch's sequence, from 1.
    pub sequence: u64,
    /// How many sequences right before it the spool had to drop; less than `sequence`.
    pub skipped: u64,
    /// How many readings those held.
    pub dropped_readings: u64,
}

/// Why bytes are not a command.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The bytes end before the command does.
    #[error("the command is cut short")]
    Truncated,
    /// The first byte names no command: it was written by a newer program.
    #[error("command {tag} is not known")]
    Unknown {
        /// The byte.
        tag: u8,
    },
    /// What follows the first byte is not the CBOR it should be.
    #[error("the command's body is not valid: {reason}")]
    NotCbor {
        /// What is wrong.
        reason: String,
    },
    /// The producer's name is not UTF-8, or too long.
    #[error("the producer's name is not UTF-8 of at most {PRODUCER_BYTES_MAX} bytes")]
    BadProducer,
    /// The sequence is 0 or the last of all, or what is skipped begins before 1.
    #[error("sequence {sequence} after {skipped} skipped ones is not a place in a spool")]
    BadSequence {
        /// The sequence.
        sequence: u64,
        /// How many are skipped.
        skipped: u64,
    },
    /// A number in it is beyond its bound.
    #[error("the command is not one that can be carried out: {reason}")]
    OutOfBounds {
        /// Which.
        reason: &'static str,
    },
    /// The batch is not one.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

/// The bytes of [`Command::OpenSeries`].
pub fn open_series(series: &[SeriesDescription]) -> Bytes {
    tagged_cbor(OPEN_SERIES, &series)
}

/// The bytes of [`Command::OpenProducer`].
pub fn open_producer(producer: &str) -> Bytes {
    tagged_cbor(OPEN_PRODUCER, &producer)
}

/// The bytes of [`Command::Seal`].
pub fn seal(seal: &Seal) -> Bytes {
    tagged_cbor(SEAL, seal)
}

/// The bytes of [`Command::Compact`].
pub fn compact(segments: &[SegmentId]) -> Bytes {
    tagged_cbor(COMPACT, &segments)
}

/// The bytes of [`Command::Delete`], of whatever matches.
pub fn delete(pattern: &Pattern, range: TimeRange) -> Bytes {
    delete_known(pattern, range, None)
}

/// The bytes of [`Command::Delete`].
pub fn delete_known(pattern: &Pattern, range: TimeRange, known: Option<u64>) -> Bytes {
    tagged_cbor(DELETE, &(pattern, range, known))
}

/// The bytes of [`Command::SetRetention`].
pub fn set_retention(rules: &[RetentionRule]) -> Bytes {
    tagged_cbor(SET_RETENTION, &rules)
}

/// The bytes of [`Command::Describe`].
pub fn describe(path: &SeriesPath, kind: Option<Kind>, change: &DescriptionChange) -> Bytes {
    tagged_cbor(DESCRIBE, &(path, kind, change))
}

/// The bytes of [`Command::SetBoard`].
pub fn set_board(name: &BoardName, expected: u64, text: Option<&BoardText>) -> Bytes {
    tagged_cbor(SET_BOARD, &(name, expected, text))
}

/// The bytes of [`Command::ClaimNode`].
pub fn claim_node(id: u64, incarnation: Option<Uuid>) -> Bytes {
    tagged_cbor(CLAIM_NODE, &(id, incarnation))
}

/// Appends the head of a [`Command::Append`] to `out`. The batch's bytes follow it
/// ([`BatchView::rewrite_into`]).
///
/// # Errors
/// [`CommandError::BadProducer`] or [`CommandError::BadSequence`]; `out` is as before.
pub fn append_head(position: Option<&Position<'_>>, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let Some(position) = position else {
        out.push(APPEND);
        return Ok(());
    };
    position.check()?;
    let name = position.producer.as_bytes();
    let name_bytes = u16::try_from(name.len()).map_err(|_| CommandError::BadProducer)?;
    out.push(APPEND_ONCE);
    out.extend_from_slice(&name_bytes.to_le_bytes());
    out.extend_from_slice(name);
    for number in [
        position.epoch,
        position.sequence,
        position.skipped,
        position.dropped_readings,
    ] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    Ok(())
}

impl<'a> Command<'a> {
    /// Reads a command. A batch's directory, bounds and checksum are checked; its chunks are not
    /// looked into.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn parse(payload: &'a Bytes) -> Result<Self, CommandError> {
        let (&tag, body) = payload.split_first().ok_or(CommandError::Truncated)?;
        match tag {
            OPEN_SERIES => from_cbor(body).map(|series| Self::OpenSeries { series }),
            OPEN_PRODUCER => {
                let producer: String = from_cbor(body)?;
                check_producer(&producer)?;
                Ok(Self::OpenProducer { producer })
            }
            APPEND => Ok(Self::Append(Append {
                position: None,
                batch: BatchView::parse_rewritten(payload.slice(1..))?,
            })),
            APPEND_ONCE => {
                let mut rest = body;
                let position = Position::take(&mut rest)?;
                let batch = payload.slice(payload.len() - rest.len()..);
                Ok(Self::Append(Append {
                    position: Some(position),
                    batch: BatchView::parse_rewritten(batch)?,
                }))
            }
            SEAL => {
                let seal: Seal = from_cbor(body)?;
                let readings = seal.chunk_readings as usize;
                let is_chunk = (1..=column_codec::READINGS_MAX).contains(&readings);
                ensure(seal.window > 0, "a window has no width")?;
                ensure(is_chunk, "a chunk cannot have so many readings")?;
                Ok(Self::Seal(seal))
            }
            COMPACT => {
                let segments: Vec<SegmentId> = from_cbor(body)?;
                let ascends = segments.is_sorted_by(|a, b| a < b);
                ensure(!segments.is_empty(), "no segment is named")?;
                ensure(
                    segments.len() <= COMPACTED_MAX,
                    "too many segments are named",
                )?;
                ensure(ascends, "the segments named do not ascend")?;
                Ok(Self::Compact { segments })
            }
            DELETE => {
                let (pattern, range, known): (Pattern, TimeRange, Option<u64>) = from_cbor(body)?;
                ensure(range.from < range.to, "the range holds no instant")?;
                Ok(Self::Delete {
                    pattern,
                    range,
                    known,
                })
            }
            SET_RETENTION => {
                let rules: Vec<RetentionRule> = from_cbor(body)?;
                ensure(
                    rules.len() <= RETENTION_RULES_MAX,
                    "there are too many rules",
                )?;
                Ok(Self::SetRetention { rules })
            }
            DESCRIBE => {
                let (path, kind, change) = from_cbor(body)?;
                Ok(Self::Describe { path, kind, change })
            }
            SET_BOARD => {
                let (name, expected, text): (_, u64, Option<BoardText>) = from_cbor(body)?;
                let fits = |text: &BoardText| {
                    text.title.len() <= BOARD_TITLE_BYTES_MAX
                        && text.content.len() <= BOARD_CONTENT_BYTES_MAX
                };
                ensure(text.as_ref().is_none_or(fits), "the board is too long")?;
                Ok(Self::SetBoard {
                    name,
                    expected,
                    text,
                })
            }
            CLAIM_NODE => {
                let (id, incarnation) = from_cbor(body)?;
                Ok(Self::ClaimNode { id, incarnation })
            }
            tag => Err(CommandError::Unknown { tag }),
        }
    }
}

const fn ensure(holds: bool, reason: &'static str) -> Result<(), CommandError> {
    if holds {
        Ok(())
    } else {
        Err(CommandError::OutOfBounds { reason })
    }
}

impl<'a> Position<'a> {
    fn check(&self) -> Result<(), CommandError> {
        check_producer(self.producer)?;
        if self.sequence == u64::MAX || self.skipped >= self.sequence {
            return Err(CommandError::BadSequence {
                sequence: self.sequence,
                skipped: self.skipped,
            });
        }
        Ok(())
    }

    fn take(rest: &mut &'a [u8]) -> Result<Self, CommandError> {
        let name_bytes = u16::from_le_bytes(take_array(rest)?);
        let name = rest
            .split_off(..usize::from(name_bytes))
            .ok_or(CommandError::Truncated)?;
        let producer = std::str::from_utf8(name).map_err(|_| CommandError::BadProducer)?;
        let mut number = || take_array(rest).map(u64::from_le_bytes);
        let position = Self {
            producer,
            epoch: number()?,
            sequence: number()?,
            skipped: number()?,
            dropped_readings: number()?,
        };
        position.check()?;
        Ok(position)
    }
}

/// Whether a command keeps the store going and brings no readings: it is small, and may make room.
pub fn is_of_upkeep(payload: &[u8]) -> bool {
    let tag = payload.first();
    tag.is_some_and(|tag| [SEAL, COMPACT, DELETE, SET_RETENTION, CLAIM_NODE].contains(tag))
}

fn check_producer(producer: &str) -> Result<(), CommandError> {
    if producer.len() > PRODUCER_BYTES_MAX {
        return Err(CommandError::BadProducer);
    }
    Ok(())
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], CommandError> {
    let (array, behind) = rest.split_first_chunk().ok_or(CommandError::Truncated)?;
    *rest = behind;
    Ok(*array)
}

fn tagged_cbor(tag: u8, value: &impl Serialize) -> Bytes {
    let mut bytes = vec![tag];
    ciborium::into_writer(value, &mut bytes)
        .expect("plain values written to memory are always encodable");
    bytes.into()
}

/// Reads one CBOR item that is all of `bytes`.
fn from_cbor<T: DeserializeOwned>(mut bytes: &[u8]) -> Result<T, CommandError> {
    let value =
        ciborium::de::from_reader_with_recursion_limit(&mut bytes, DEPTH_MAX).map_err(|error| {
            CommandError::NotCbor {
                reason: error.to_string(),
            }
        })?;
    if bytes.is_empty() {
        Ok(value)
    } else {
        Err(CommandError::NotCbor {
            reason: format!("{} bytes of garbage follow it", bytes.len()),
        })
    }
}

#[cfg(test)]
mod tests;
