//! What was sent and acknowledged by when: the bounds that reads and replicas are held against.

use std::collections::BTreeMap;

use crate::history::{Event, Fate, Moment};

/// Everything about writes in a history.
#[derive(Debug, Default)]
pub(super) struct Known {
    producers: BTreeMap<u32, Producer>,
    writers: BTreeMap<u32, Vec<Put>>,
}

#[derive(Debug, Default)]
struct Producer {
    /// When each batch was sent first, from the first batch on.
    sent: Vec<Moment>,
    /// Acknowledgements that went beyond all before, by time.
    acked: Vec<Ack>,
    /// Acknowledgements, by token: up to this index, these batches.
    by_index: BTreeMap<u64, u64>,
}

#[derive(Debug, Clone, Copy)]
struct Ack {
    at: Moment,
    through: u64,
}

/// One single write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Put {
    pub(super) began: Moment,
    pub(super) ended: Moment,
    pub(super) fate: Fate,
}

impl Known {
    pub(super) fn of(events: &[Event]) -> Self {
        let mut known = Self::default();
        for event in events {
            known.add(event);
        }
        for producer in known.producers.values_mut() {
            producer.raise();
        }
        known
    }

    fn add(&mut self, event: &Event) {
        match event {
            Event::Sent { at, producer, .. } => {
                self.producers.entry(*producer).or_default().sent.push(*at);
            }
            Event::Acked {
                at,
                producer,
                through,
                index,
            } => {
                let producer = self.producers.entry(*producer).or_default();
                let before = producer.acked.last().map_or(0, |ack| ack.through);
                if *through > before {
                    let (at, through) = (*at, *through);
                    producer.acked.push(Ack { at, through });
                }
                let known = producer.by_index.entry(*index).or_default();
                *known = (*known).max(*through);
            }
            Event::Put {
                began,
                ended,
                writer,
                fate,
                ..
            } => {
                let (began, ended, fate) = (*began, *ended, *fate);
                let puts = self.writers.entry(*writer).or_default();
                puts.push(Put { began, ended, fate });
            }
            _ => {}
        }
    }

    /// The producers, by number.
    pub(super) fn producers(&self) -> impl Iterator<Item = u32> {
        self.producers.keys().copied()
    }

    /// The writers of single readings, by number.
    pub(super) fn writers(&self) -> impl Iterator<Item = u32> {
        self.writers.keys().copied()
    }

    /// Up to which batch `producer` had an acknowledgement by `moment`.
    pub(super) fn acked(&self, producer: u32, moment: Moment) -> u64 {
        let Some(producer) = self.producers.get(&producer) else {
            return 0;
        };
        let count = producer.acked.partition_point(|ack| ack.at <= moment);
        count
            .checked_sub(1)
            .map_or(0, |last| producer.acked[last].through)
    }

    /// Up to which batch a replica has `producer`'s that has applied the log up to `index`, going by
    /// the tokens of acknowledgements, whenever they came.
    pub(super) fn acked_within(&self, producer: u32, index: u64) -> u64 {
        let producer = self.producers.get(&producer);
        let within = producer.and_then(|producer| producer.by_index.range(..=index).next_back());
        within.map_or(0, |(_, through)| *through)
    }

    /// Up to which batch `producer` had sent by `moment`.
    pub(super) fn sent(&self, producer: u32, moment: Moment) -> u64 {
        self.producers.get(&producer).map_or(0, |producer| {
            producer.sent.partition_point(|at| *at <= moment) as u64
        })
    }

    /// When `producer` sent a batch first.
    pub(super) fn sent_at(&self, producer: u32, sequence: u64) -> Option<Moment> {
        let at = usize::try_from(sequence).ok()?.checked_sub(1)?;
        self.producers.get(&producer)?.sent.get(at).copied()
    }

    /// The single writes of `writer`, the first has number 1.
    pub(super) fn puts(&self, writer: u32) -> &[Put] {
        self.writers.get(&writer).map_or(&[], Vec::as_slice)
    }

    /// One of them.
    pub(super) fn put(&self, writer: u32, number: u64) -> Option<Put> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.puts(writer).get(at).copied()
    }
}

impl Producer {
    /// A later token stands for all that earlier ones stand for.
    fn raise(&mut self) {
        let mut highest = 0;
        for through in self.by_index.values_mut() {
            highest = highest.max(*through);
            *through = highest;
        }
    }
}
