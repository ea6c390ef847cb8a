//! The producers: which batches of each have been applied.
//!
//! This table is what makes a batch take effect exactly once, whatever is retried, replayed or
//! failed over: it is changed only by entries of the log, in their order.

use std::collections::BTreeMap;

use store_wire::message::ProducerStatus;

use crate::command::Position;
use crate::segments::manifest::ProducerRecord;

/// Every producer by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Producers {
    by_name: BTreeMap<String, Producer>,
}

/// What is known of one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// The epoch of its current spool, from 1.
    pub epoch: u64,
    /// The sequence that comes next, from 1: every lower one has been applied or dropped.
    pub next_sequence: u64,
    /// How many readings its spools had to drop, as they say.
    pub dropped_readings: u64,
}

/// What is to be done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one.
    Apply,
    /// It has been applied: leave it, acknowledge it again.
    Duplicate {
        /// The sequence that comes next.
        next: u64,
    },
    /// Batches before it are missing: leave it.
    Gap {
        /// The sequence that must come first.
        expected: u64,
    },
    /// A newer spool of the producer has begun: leave it.
    Fenced {
        /// The newer epoch.
        epoch: u64,
    },
    /// Its epoch was never assigned: leave it.
    Unassigned {
        /// The producer's epoch; 0 when there is no such producer.
        epoch: u64,
    },
}

impl Producers {
    /// The producers of a manifest.
    pub(super) fn restored(records: &[ProducerRecord]) -> Self {
        let known = |record: &ProducerRecord| {
            let producer = Producer {
                epoch: record.epoch,
                next_sequence: record.next_sequence,
                dropped_readings: record.dropped_readings,
            };
            (record.name.clone(), producer)
        };
        Self {
            by_name: records.iter().map(known).collect(),
        }
    }

    /// As they stand in a manifest, ordered by name.
    pub(super) fn records(&self) -> Vec<ProducerRecord> {
        let record = |(name, producer): (&String, &Producer)| ProducerRecord {
            name: name.clone(),
            epoch: producer.epoch,
            next_sequence: producer.next_sequence,
            dropped_readings: producer.dropped_readings,
        };
        self.by_name.iter().map(record).collect()
    }

    /// What is known of `name`.
    pub fn find(&self, name: &str) -> Option<&Producer> {
        self.by_name.get(name)
    }

    /// Begins the next epoch of `name` and returns it. Batches of older epochs are fenced from now on.
    pub fn open(&mut self, name: String) -> u64 {
        let producer = self.by_name.entry(name).or_insert(Producer {
            epoch: 0,
            next_sequence: 1,
            dropped_readings: 0,
        });
        producer.epoch += 1;
        producer.next_sequence = 1;
        producer.epoch
    }

    /// What is to be done with the batch at `position`.
    pub fn judge(&self, position: &Position<'_>) -> Verdict {
        let Some(producer) = self.find(position.producer) else {
            return Verdict::Unassigned { epoch: 0 };
        };
        let (epoch, next) = (producer.epoch, producer.next_sequence);
        if position.epoch < epoch {
            Verdict::Fenced { epoch }
        } else if position.epoch > epoch {
            Verdict::Unassigned { epoch }
        } else if position.sequence < next {
            Verdict::Duplicate { next }
        } else if position.sequence - position.skipped > next {
            Verdict::Gap { expected: next }
        } else {
            Verdict::Apply
        }
    }

    /// Notes that the batch at `position`, judged [`Verdict::Apply`], has been applied.
    pub fn advance(&mut self, position: &Position<'_>) {
        if let Some(producer) = self.by_name.get_mut(position.producer) {
            producer.next_sequence = position.sequence + 1;
            producer.dropped_readings = producer
                .dropped_readings
                .saturating_add(position.dropped_readings);
        }
    }

    /// Every producer, ordered by name.
    pub fn statuses(&self) -> Vec<ProducerStatus> {
        let status = |(name, producer): (&String, &Producer)| ProducerStatus {
            producer: name.clone(),
            epoch: producer.epoch,
            next_sequence: producer.next_sequence,
            dropped_readings: producer.dropped_readings,
        };
        self.by_name.iter().map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, sequence: u64, skipped: u64) -> Position<'static> {
        Position {
            producer: "device/a",
            epoch,
            sequence,
            skipped,
            dropped_readings: skipped * 10,
        }
    }

    fn producers_at(next: u64) -> Producers {
        let mut producers = Producers::default();
        producers.open("device/a".to_owned());
        for sequence in 1..next {
            assert_eq!(producers.judge(&at(1, sequence, 0)), Verdict::Apply);
            producers.advance(&at(1, sequence, 0));
        }
        producers
    }

    #[test]
    fn only_the_next_sequence_applies() {
        let producers = producers_at(4);
        let duplicate = Verdict::Duplicate { next: 4 };
        let gap = Verdict::Gap { expected: 4 };
        assert_eq!(producers.judge(&at(1, 3, 0)), duplicate);
        assert_eq!(producers.judge(&at(1, 4, 0)), Verdict::Apply);
        assert_eq!(producers.judge(&at(1, 5, 0)), gap);
    }

    #[test]
    fn skipped_sequences_bridge_a_gap_and_their_readings_are_counted() {
        let mut producers = producers_at(4);
        assert_eq!(producers.judge(&at(1, 7, 2)), Verdict::Gap { expected: 4 });
        assert_eq!(producers.judge(&at(1, 7, 3)), Verdict::Apply);
        // The producer dropped what the store had applied without its knowing.
        assert_eq!(producers.judge(&at(1, 7, 6)), Verdict::Apply);
        producers.advance(&at(1, 7, 3));
        let producer = producers.find("device/a").unwrap();
        assert_eq!((producer.next_sequence, producer.dropped_readings), (8, 30));
    }

    #[test]
    fn a_new_epoch_begins_at_one_and_fences_the_old() {
        let mut producers = producers_at(4);
        assert_eq!(producers.open("device/a".to_owned()), 2);
        assert_eq!(producers.judge(&at(1, 4, 0)), Verdict::Fenced { epoch: 2 });
        assert_eq!(producers.judge(&at(1, 1, 0)), Verdict::Fenced { epoch: 2 });
        assert_eq!(producers.judge(&at(2, 1, 0)), Verdict::Apply);
        assert_eq!(
            producers.judge(&at(3, 1, 0)),
            Verdict::Unassigned { epoch: 2 }
        );
    }

    #[test]
    fn a_producer_that_was_never_opened_has_no_epoch() {
        assert_eq!(
            Producers::default().judge(&at(1, 1, 0)),
            Verdict::Unassigned { epoch: 0 }
        );
    }
}
