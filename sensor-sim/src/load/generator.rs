//! Makes the batches of a load out of its series' readings (`load_walk`), encoded.
//!
//! The readings depend on the shape alone, not on how many connections share it.

use bytes::Bytes;
use column_codec::{Scratch, encode_with};
use load_walk::{LoadShape, Walk};
use sensor_model::{Attributes, Columns, Kind, PathError, SeriesDescription, Unit};
use serde::{Deserialize, Serialize};
use store_wire::batch::{BATCH_READINGS_MAX, BatchBuilder};

use crate::source::Nature;
use crate::spool::writer::Submission;
use crate::spool::{ClosedBatch, Purpose};

/// A batch closes when it has so many bytes: large enough to amortise its cost, small enough that
/// many are in flight.
const BATCH_BYTES: usize = 512 << 10;

/// Makes the batches of one connection.
#[derive(Debug)]
pub(super) struct Generator {
    walks: Vec<Walk>,
    chunk: u32,
    /// The series that comes next.
    next: usize,
    batches: u64,
    fingerprint: u32,
    undeclared: Vec<SeriesDescription>,
    /// The number of the first series, after those a spool had declared.
    first_number: u64,
    builder: BatchBuilder,
    scratch: Scratch,
    columns: Columns,
    encoded: Vec<u8>,
}

/// How far a generator has come, as it is kept in a spool.
#[derive(Debug, Serialize, Deserialize)]
struct Position {
    load: u32,
    batches: u64,
}

impl Generator {
    /// The share of `connection`, of `connections`.
    ///
    /// # Errors
    /// [`PathError`] when there are so many devices that their names become too long.
    pub(super) fn new(
        shape: &LoadShape,
        connection: u32,
        connections: u32,
    ) -> Result<Self, PathError> {
        let mut walks = Vec::new();
        for index in (0..shape.series())
            .filter(|index| index % u64::from(connections) == u64::from(connection))
        {
            walks.push(Walk::new(shape, index)?);
        }
        let description = format!("{shape:?} {connection} {connections}");
        Ok(Self {
            walks,
            chunk: shape.chunk,
            next: 0,
            batches: 0,
            fingerprint: crc32c::crc32c(description.as_bytes()),
            undeclared: Vec::new(),
            first_number: 0,
            builder: BatchBuilder::new(),
            scratch: Scratch::new(),
            columns: Columns::empty(Kind::F64),
            encoded: Vec::new(),
        })
    }

    /// Takes the numbers after those that a spool has declared, unless it has declared exactly
    /// these series.
    pub(super) fn declare(&mut self, known: &[SeriesDescription]) {
        let attributes = Attributes::from([("simulated".to_owned(), "true".to_owned())]);
        let own = self.walks.iter().map(|walk| SeriesDescription {
            path: walk.path().clone(),
            kind: Kind::F64,
            unit: Unit::new("Cel").unwrap_or_default(),
            attributes: attributes.clone(),
        });
        let own: Vec<SeriesDescription> = own.collect();
        let known_at = known.len().checked_sub(own.len());
        match known_at.filter(|from| known[*from..] == own[..]) {
            Some(from) => self.first_number = from as u64,
            None => {
                self.first_number = known.len() as u64;
                self.undeclared = own;
            }
        }
    }

    /// Goes on after the batches an earlier run has spooled. False for the position of another load.
    pub(super) fn resume(&mut self, position: &[u8]) -> bool {
        let Ok(position) = serde_json::from_slice::<Position>(position) else {
            return false;
        };
        if position.load != self.fingerprint {
            return false;
        }
        // Walks have no shortcuts: the batches are made again and thrown away.
        while self.batches < position.batches && self.next_batch().is_some() {}
        true
    }

    /// The next batch: one chunk a series, until the series or the batch's bounds come to an end.
    pub(super) fn next_batch(&mut self) -> Option<Submission> {
        while self.next < self.walks.len() {
            if self.walks[self.next].is_done() {
                self.next += 1;
                continue;
            }
            let is_full = self.builder.readings() + u64::from(self.chunk) > BATCH_READINGS_MAX
                || self.builder.bytes() > BATCH_BYTES;
            if is_full && !self.builder.is_empty() {
                return Some(self.finish());
            }
            self.add_chunk();
            self.next += 1;
        }
        self.next = 0;
        if self.builder.is_empty() {
            // A whole round without a reading: every series has had its part.
            return None;
        }
        Some(self.finish())
    }

    fn add_chunk(&mut self) {
        self.walks[self.next].take(self.chunk, &mut self.columns);
        self.encoded.clear();
        encode_with(&self.columns, &mut self.scratch, &mut self.encoded)
            .expect("a walk of at most 65,536 finite values");
        let number = self.first_number + self.next as u64;
        self.builder
            .add(number, &self.encoded, self.columns.len() as u64)
            .expect("a chunk of at most 65,536 numbers fits beside half a batch");
    }

    fn finish(&mut self) -> Submission {
        self.batches += 1;
        let readings = u32::try_from(self.builder.readings()).expect("bounded by the builder");
        let position = Position {
            load: self.fingerprint,
            batches: self.batches,
        };
        Submission {
            batch: ClosedBatch {
                bytes: self.builder.finish(),
                readings,
                position: serde_json::to_vec(&position).ok().map(Bytes::from),
                purpose: Purpose::Readings,
            },
            declared: std::mem::take(&mut self.undeclared),
            nature: Nature::Recorded,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use sensor_model::{Timestamp, Values};
    use store_wire::batch::BatchView;

    use super::*;

    fn shape(readings: u64, chunk: u32) -> LoadShape {
        LoadShape {
            devices: 3,
            metrics: 5,
            readings,
            chunk,
            seed: 7,
            start: Timestamp::from_nanos(1_000_000_000_000),
            period: Duration::from_secs(1),
            late: 0.0,
        }
    }

    type Table = BTreeMap<(String, i64), f64>;

    /// Everything a generator makes, no reading twice, and how many chunks each batch has.
    fn table(generator: &mut Generator) -> (Table, Vec<usize>) {
        let (table, chunks, replaced) = replayed(generator);
        assert_eq!(replaced, 0);
        (table, chunks)
    }

    /// What a store has after everything a generator makes, how many chunks each batch has, and how
    /// many readings were replaced by others.
    fn replayed(generator: &mut Generator) -> (Table, Vec<usize>, usize) {
        let mut table = Table::new();
        let mut chunks = Vec::new();
        let mut replaced = 0;
        generator.declare(&[]);
        while let Some(submission) = generator.next_batch() {
            let view = BatchView::parse(submission.batch.bytes).unwrap();
            let mut count = 0;
            let mut readings = 0;
            for (number, chunk) in view.chunks() {
                let columns = column_codec::parse(&chunk).unwrap().decode().unwrap();
                let path = &generator.walks[usize::try_from(number).unwrap()].path();
                let Values::F64(values) = &columns.values else {
                    panic!("not floats");
                };
                for (time, value) in columns.times.iter().zip(values) {
                    let earlier = table.insert((path.to_string(), *time), *value);
                    replaced += usize::from(earlier.is_some());
                }
                count += 1;
                readings += columns.len();
            }
            assert_eq!(readings, submission.batch.readings as usize);
            chunks.push(count);
        }
        (table, chunks, replaced)
    }

    #[test]
    fn late_readings_come_to_the_same_history_whatever_the_chunk_and_the_connections() {
        let in_order = table(&mut Generator::new(&shape(200_000, 1_000), 0, 1).unwrap()).0;
        let mut corrected = None;
        for (chunk, connections) in [(1_000, 1), (7, 2)] {
            let (mut parts, mut replaced) = (Table::new(), 0);
            for connection in 0..connections {
                let shape = LoadShape {
                    late: 0.25,
                    ..shape(200_000, chunk)
                };
                let mut generator = Generator::new(&shape, connection, connections).unwrap();
                let (part, _, more) = replayed(&mut generator);
                parts.extend(part);
                replaced += more;
            }
            assert!(
                parts == in_order,
                "chunk {chunk}, {connections} connections"
            );
            assert_eq!(*corrected.get_or_insert(replaced), replaced);
        }
        // One in 50 of a quarter.
        let corrected = corrected.unwrap();
        assert!((700..1_300).contains(&corrected), "{corrected}");
    }

    #[test]
    fn every_reading_is_made_once_whatever_the_chunk_and_the_connections() {
        let whole = table(&mut Generator::new(&shape(1_007, 10), 0, 1).unwrap()).0;
        assert_eq!(whole.len(), 1_007);
        for (chunk, connections) in [(1, 1), (1_000, 1), (10, 4)] {
            let mut parts = Table::new();
            for connection in 0..connections {
                let shape = shape(1_007, chunk);
                let mut generator = Generator::new(&shape, connection, connections).unwrap();
                parts.extend(table(&mut generator).0);
            }
            assert!(parts == whole, "chunk {chunk}, {connections} connections");
        }
    }

    #[test]
    fn a_chunk_of_one_makes_batches_with_one_reading_of_each_series() {
        let (_, chunks) = table(&mut Generator::new(&shape(150, 1), 0, 1).unwrap());
        assert_eq!(chunks, [15; 10]);
    }

    #[test]
    fn large_chunks_keep_batches_within_their_bounds() {
        let shape = LoadShape {
            devices: 10,
            metrics: 10,
            ..shape(3_000_000, 10_000)
        };
        let (made, chunks) = table(&mut Generator::new(&shape, 0, 1).unwrap());
        assert_eq!(made.len(), 3_000_000);
        assert!(chunks.iter().all(|count| *count <= 6), "{chunks:?}");
    }

    #[test]
    fn resuming_makes_the_batches_that_were_missing() {
        let whole = table(&mut Generator::new(&shape(1_007, 10), 0, 1).unwrap()).0;
        let mut first = Generator::new(&shape(1_007, 10), 0, 1).unwrap();
        first.declare(&[]);
        first.next_batch();
        let position = first.next_batch().unwrap().batch.position.unwrap();
        let mut second = Generator::new(&shape(1_007, 10), 0, 1).unwrap();
        assert!(second.resume(&position));
        let rest = table(&mut second).0;
        assert_eq!(rest.len(), 1_007 - 2 * 150);
        assert!(
            rest.iter()
                .all(|(key, value)| whole[key].to_bits() == value.to_bits())
        );
        let mut other = Generator::new(&shape(1_008, 10), 0, 1).unwrap();
        assert!(!other.resume(&position));
    }
}
