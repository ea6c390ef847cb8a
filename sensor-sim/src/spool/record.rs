//! The records of a spool, byte for byte. `docs/formats.md`, section Spool, has the same as tables.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use sensor_model::SeriesDescription;
use serde::{Deserialize, Serialize};

use super::Acknowledged;

const TAG_STATE: u8 = 1;
const TAG_SERIES: u8 = 2;
const TAG_BATCH: u8 = 3;
const TAG_ACKED_V1: u8 = 4;
const TAG_ACKED: u8 = 5;

/// The version of these records.
const VERSION: u8 = 1;

/// Longest position of a source.
pub const POSITION_BYTES_MAX: usize = 4 << 10;
/// More than a state can take besides its position: names are bounded by the identity.
pub(super) const STATE_BYTES_MAX: usize = 1024;
/// Declarations are cut into records of about this size.
const SERIES_RECORD_BYTES: usize = 64 << 10;

/// What a spool knows besides its batches. The last one in the log counts, and what follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) version: u8,
    pub(super) cluster: String,
    pub(super) producer: String,
    /// Assigned by the store; `None` until it has answered once.
    pub(super) epoch: Option<u64>,
    /// Every batch up to here is applied.
    pub(super) acked_through: u64,
    /// Readings of the sequences up to there.
    pub(super) acked_readings: u64,
    /// Of those, the ones that had to be dropped.
    #[serde(default)]
    pub(super) dropped_readings: u64,
    /// The last sequence whose batch was set aside.
    #[serde(default)]
    pub(super) dead_through: u64,
    /// Readings of all batches that were set aside.
    #[serde(default)]
    pub(super) dead_readings: u64,
    /// The sequence the next batch gets.
    pub(super) next_sequence: u64,
    /// Readings of all sequences before it, acknowledged, spooled or dropped.
    pub(super) readings: u64,
    /// Where the source can go on after the last batch; empty if it cannot.
    #[serde(with = "position")]
    pub(super) position: Bytes,
}

/// A batch's place in its producer's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// From 1, without gaps, within the spool's epoch.
    pub sequence: u64,
    /// Readings in the batch.
    pub readings: u32,
    /// Readings of all sequences before it: the difference between two batches tells how many
    /// readings lay between them, even when the batches that held them are gone.
    pub readings_before: u64,
}

/// One record, read or to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    State(State),
    /// The first number, and what it and the following stand for.
    Series(u32, Vec<SeriesDescription>),
    Batch {
        head: BatchHead,
        position: Bytes,
        /// Where the batch's bytes begin in the record.
        offset: u32,
    },
    /// `None` for what was dropped in a record of before there was such a count.
    Acked {
        through: u64,
        readings: u64,
        dropped: Option<u64>,
    },
}

/// Declarations as one record.
pub(super) struct SeriesRecord {
    pub(super) bytes: Bytes,
    pub(super) count: usize,
}

/// Why a record is not one of a spool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("a record of unknown type {0}: it was written by a newer program")]
    UnknownTag(u8),
    #[error("a record of version {0}: it was written by a newer program")]
    UnknownVersion(u8),
    #[error("a record that is cut short or malformed")]
    Malformed,
}

impl State {
    /// Of a spool that has taken nothing yet.
    pub(super) fn new(cluster: String, producer: String) -> Self {
        Self {
            version: VERSION,
            cluster,
            producer,
            epoch: None,
            acked_through: 0,
            acked_readings: 0,
            dropped_readings: 0,
            dead_through: 0,
            dead_readings: 0,
            next_sequence: 1,
            readings: 0,
            position: Bytes::new(),
        }
    }

    pub(super) const fn acknowledged(&self) -> Acknowledged {
        Acknowledged {
            through: self.acked_through,
            readings: self.acked_readings,
            dropped: self.dropped_readings,
        }
    }
}

impl Record {
    /// The record's bytes. A batch is written by [`batch_prefix`] and its own bytes instead.
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::State(state) => {
                out.put_u8(TAG_STATE);
                put_cbor(&mut out, state);
            }
            Self::Series(first, series) => {
                out.put_u8(TAG_SERIES);
                put_cbor(&mut out, &(first, series));
            }
            Self::Acked {
                through,
                readings,
                dropped,
            } => {
                out.put_u8(dropped.map_or(TAG_ACKED_V1, |_| TAG_ACKED));
                out.put_u64_le(*through);
                out.put_u64_le(*readings);
                if let Some(dropped) = dropped {
                    out.put_u64_le(*dropped);
                }
            }
            Self::Batch { head, position, .. } => out.put(batch_prefix(head, position)),
        }
        out.freeze()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, RecordError> {
        let (tag, mut rest) = payload.split_first().ok_or(RecordError::Malformed)?;
        match *tag {
            TAG_STATE => {
                let state: State = cbor(rest)?;
                match state.version {
                    VERSION => Ok(Self::State(state)),
                    newer => Err(RecordError::UnknownVersion(newer)),
                }
            }
            TAG_SERIES => {
                let (first, series) = cbor(rest)?;
                Ok(Self::Series(first, series))
            }
            TAG_BATCH => decode_batch(rest, payload.len()),
            TAG_ACKED if rest.len() == 24 => Ok(Self::Acked {
                through: rest.get_u64_le(),
                readings: rest.get_u64_le(),
                dropped: Some(rest.get_u64_le()),
            }),
            TAG_ACKED_V1 if rest.len() == 16 => Ok(Self::Acked {
                through: rest.get_u64_le(),
                readings: rest.get_u64_le(),
                dropped: None,
            }),
            TAG_ACKED | TAG_ACKED_V1 => Err(RecordError::Malformed),
            unknown => Err(RecordError::UnknownTag(unknown)),
        }
    }
}

/// What stands before a batch's bytes in its record.
pub(super) fn batch_prefix(head: &BatchHead, position: &[u8]) -> Bytes {
    // A longer one is left out rather than cut: the source then begins again.
    let position = if position.len() <= POSITION_BYTES_MAX {
        position
    } else {
        &[]
    };
    let mut out = BytesMut::with_capacity(23 + position.len());
    out.put_u8(TAG_BATCH);
    out.put_u64_le(head.sequence);
    out.put_u32_le(head.readings);
    out.put_u64_le(head.readings_before);
    out.put_u16_le(u16::try_from(position.len()).expect("bounded above"));
    out.put_slice(position);
    out.freeze()
}

fn decode_batch(mut rest: &[u8], payload_len: usize) -> Result<Record, RecordError> {
    const FIXED_BYTES: usize = 22;
    if rest.len() < FIXED_BYTES {
        return Err(RecordError::Malformed);
    }
    let head = BatchHead {
        sequence: rest.get_u64_le(),
        readings: rest.get_u32_le(),
        readings_before: rest.get_u64_le(),
    };
    let position_len = usize::from(rest.get_u16_le());
    let position = rest.get(..position_len).ok_or(RecordError::Malformed)?;
    let offset = payload_len - (rest.len() - position_len);
    Ok(Record::Batch {
        head,
        position: Bytes::copy_from_slice(position),
        offset: u32::try_from(offset).map_err(|_| RecordError::Malformed)?,
    })
}

/// The declarations from number `first` on, as records.
pub(super) fn series_records(series: &[SeriesDescription], first: usize) -> Vec<SeriesRecord> {
    let mut records = Vec::new();
    let mut from = first;
    while from < series.len() {
        let mut to = from;
        let mut bytes = 0;
        while to < series.len() && (to == from || bytes < SERIES_RECORD_BYTES) {
            bytes += described_bytes(&series[to]);
            to += 1;
        }
        let number = u32::try_from(from).expect("the preamble bounds the series");
        records.push(SeriesRecord {
            bytes: Record::Series(number, series[from..to].to_vec()).encode(),
            count: to - from,
        });
        from = to;
    }
    records
}

/// About how long a description is once encoded, at most.
pub(crate) fn described_bytes(series: &SeriesDescription) -> usize {
    let attributes = series.attributes.iter();
    let attributes: usize = attributes
        .map(|(key, value)| key.len() + value.len() + 6)
        .sum();
    series.path.as_str().len() + series.unit.as_str().len() + attributes + 48
}

fn put_cbor(out: &mut BytesMut, value: &impl Serialize) {
    ciborium::into_writer(value, out.writer()).expect("memory takes every plain value");
}

fn cbor<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    const DEPTH_MAX: usize = 16;
    let mut rest = bytes;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH_MAX)
        .map_err(|_| RecordError::Malformed)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(RecordError::Malformed)
    }
}

/// A position as a CBOR byte string.
mod position {
    use bytes::Bytes;
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        struct ByteString;
        impl Visitor<'_> for ByteString {
            type Value = Bytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a byte string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::copy_from_slice(bytes))
            }
        }
        from.deserialize_bytes(ByteString)
    }
}

#[cfg(test)]
mod tests {
    use sensor_model::{Kind, SeriesPath};

    use super::*;

    #[test]
    fn records_read_back_as_they_were_written() {
        let state = State {
            epoch: Some(3),
            acked_through: 7,
            acked_readings: 70,
            dropped_readings: 10,
            dead_through: 6,
            dead_readings: 5,
            next_sequence: 12,
            readings: 120,
            position: Bytes::from_static(b"row 5"),
            ..State::new("local".to_owned(), "device/press".to_owned())
        };
        let path = |name: &str| SeriesPath::new(name).unwrap();
        let series = vec![
            SeriesDescription::new(path("a/b"), Kind::F64),
            SeriesDescription::new(path("c"), Kind::Text),
        ];
        let records = [
            Record::State(state),
            Record::Series(4, series),
            Record::Acked {
                through: 9,
                readings: 90,
                dropped: Some(20),
            },
            Record::Acked {
                through: 9,
                readings: 90,
                dropped: None,
            },
        ];
        for record in records {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn a_state_of_before_drops_were_counted_has_none() {
        let state = State::new("local".to_owned(), "device/press".to_owned());
        let mut map: ciborium::Value = ciborium::Value::serialized(&state).unwrap();
        let fields = map.as_map_mut().unwrap();
        let is_new =
            |name: &str| ["dropped_readings", "dead_through", "dead_readings"].contains(&name);
        fields.retain(|(key, _)| !is_new(key.as_text().unwrap()));
        let mut payload = vec![TAG_STATE];
        ciborium::into_writer(&map, &mut payload).unwrap();
        assert_eq!(Record::decode(&payload), Ok(Record::State(state)));
    }

    #[test]
    fn a_batch_is_found_behind_its_head_and_position() {
        let head = BatchHead {
            sequence: 5,
            readings: 1_000,
            readings_before: 4_000,
        };
        let mut payload = batch_prefix(&head, b"here").to_vec();
        payload.extend_from_slice(b"batch");
        let Ok(Record::Batch {
            head: found,
            position,
            offset,
        }) = Record::decode(&payload)
        else {
            panic!("not a batch");
        };
        assert_eq!((found, &position[..]), (head, &b"here"[..]));
        assert_eq!(&payload[offset as usize..], b"batch");
    }

    #[test]
    fn whatever_is_not_a_record_is_refused() {
        for payload in [
            &b""[..],
            &[9],
            &[TAG_STATE, 0xFF],
            &[TAG_BATCH, 1],
            &[TAG_ACKED; 4],
            &[TAG_ACKED; 17],
            &[TAG_ACKED_V1; 25],
        ] {
            assert!(Record::decode(payload).is_err(), "{payload:?}");
        }
        let mut trailing = Record::Series(0, Vec::new()).encode().to_vec();
        trailing.push(0);
        assert_eq!(Record::decode(&trailing), Err(RecordError::Malformed));
    }

    #[test]
    fn many_series_are_cut_into_records_that_follow_each_other() {
        let describe = |number: u32| {
            let path = SeriesPath::new(format!("plant/machine-{number}/temperature")).unwrap();
            SeriesDescription::new(path, Kind::F64)
        };
        let series: Vec<_> = (0..5_000).map(describe).collect();
        let records = series_records(&series, 0);
        assert!(records.len() > 1);
        let mut found = Vec::new();
        for record in records {
            let Ok(Record::Series(first, more)) = Record::decode(&record.bytes) else {
                panic!("not a declaration");
            };
            assert_eq!(first as usize, found.len());
            found.extend(more);
        }
        assert_eq!(found, series);
    }
}
