//! The outbox's contents and counts, behind one lock.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use segment_log::Location;
use sensor_model::SeriesDescription;
use tokio::time::Instant;

use super::{OutboxError, Outgoing};
use crate::spool::{Acknowledged, BatchHead, ClosedBatch, DeadLetter, Purpose, SpooledBatch};
use crate::summary::Tally;

/// One batch that is not acknowledged.
#[derive(Debug)]
struct Entry {
    head: BatchHead,
    purpose: Purpose,
    series: u32,
    /// Where it is in the spool, unless it has none or was dropped from it.
    place: Option<(Location, u32)>,
    bytes: Option<Bytes>,
    /// When it was first handed to a stream: latencies count from here.
    first_sent_at: Option<Instant>,
    /// When it was last handed to a stream.
    sent_at: Option<Instant>,
    /// Readings the store left out, by series.
    refused: BTreeMap<u32, u64>,
    /// The store can never take it: it was set aside, and is passed over.
    is_dead: bool,
}

/// Where the session is: the next sequence to send, and the readings of all before it.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    sequence: u64,
    readings: u64,
}

#[derive(Debug)]
pub(super) struct State {
    entries: VecDeque<Entry>,
    series: Vec<SeriesDescription>,
    acked: Acknowledged,
    /// The last sequence that can have reached the store: sent in this run, or found in the spool
    /// when it was opened.
    sent_last: u64,
    /// The last sequence put in.
    last: u64,
    last_readings: u64,
    cursor: Cursor,
    cached_bytes: usize,
    wake_at: u64,
    is_closed: bool,
    failure: Option<OutboxError>,
    tally: Tally,
}

/// What is at the cursor.
#[derive(Debug)]
pub(super) enum Lookup {
    Send(Outgoing),
    Load,
    Wait,
    Drained,
}

impl State {
    pub(super) fn new(acked: Acknowledged) -> Self {
        Self {
            entries: VecDeque::new(),
            series: Vec::new(),
            acked,
            sent_last: acked.through,
            last: acked.through,
            last_readings: acked.readings,
            cursor: Cursor {
                sequence: acked.through + 1,
                readings: acked.readings,
            },
            cached_bytes: 0,
            wake_at: u64::MAX,
            is_closed: false,
            failure: None,
            tally: Tally::default(),
        }
    }

    /// Takes over a list of which the beginning is known.
    pub(super) fn declare(&mut self, series: &[SeriesDescription]) {
        let known = self.series.len().min(series.len());
        self.series.extend_from_slice(&series[known..]);
    }

    pub(super) fn declare_more(&mut self, series: &[SeriesDescription]) {
        self.series.extend_from_slice(series);
    }

    pub(super) fn series(&self, first: u32, end: u32) -> Vec<(u32, SeriesDescription)> {
        let all = (0_u32..).zip(&self.series);
        all.skip(first as usize)
            .take(end.saturating_sub(first) as usize)
            .map(|(number, series)| (number, series.clone()))
            .collect()
    }

    /// Everything put in so far may have been sent by an earlier run.
    pub(super) const fn all_may_be_sent(&mut self) {
        self.sent_last = self.last;
    }

    pub(super) fn push_spooled(&mut self, batch: &SpooledBatch, bytes: Option<Bytes>) {
        let place = Some((batch.location, batch.offset));
        self.push(batch.head, batch.purpose, batch.series, place, bytes);
    }

    pub(super) fn push_in_memory(&mut self, batch: ClosedBatch) {
        let head = BatchHead {
            sequence: self.last + 1,
            readings: batch.readings,
            readings_before: self.last_readings,
        };
        let series = u32::try_from(self.series.len()).unwrap_or(u32::MAX);
        self.push(head, batch.purpose, series, None, Some(batch.bytes));
    }

    fn push(
        &mut self,
        head: BatchHead,
        purpose: Purpose,
        series: u32,
        place: Option<(Location, u32)>,
        bytes: Option<Bytes>,
    ) {
        assert!(head.sequence > self.last, "sequences ascend");
        self.last = head.sequence;
        self.last_readings = head.readings_before + u64::from(head.readings);
        self.cached_bytes += bytes.as_ref().map_or(0, Bytes::len);
        self.entries.push_back(Entry {
            head,
            purpose,
            series,
            place,
            bytes,
            first_sent_at: None,
            sent_at: None,
            refused: BTreeMap::new(),
            is_dead: false,
        });
    }

    pub(super) const fn cached_bytes(&self) -> usize {
        self.cached_bytes
    }

    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn fail(&mut self, error: OutboxError) {
        self.failure.get_or_insert(error);
    }

    pub(super) fn failure(&self) -> Option<OutboxError> {
        self.failure.clone()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.is_closed && self.entries.iter().all(|entry| entry.is_dead)
    }

    /// The entry that is to be sent next.
    fn at_cursor(&self) -> Option<&Entry> {
        let from = self.position(self.cursor.sequence);
        self.entries.range(from..).find(|entry| !entry.is_dead)
    }

    pub(super) fn lookup(&self) -> Lookup {
        let Some(entry) = self.at_cursor() else {
            return if self.is_drained() {
                Lookup::Drained
            } else {
                Lookup::Wait
            };
        };
        let Some(bytes) = entry.bytes.clone() else {
            return Lookup::Load;
        };
        let before = entry.head.readings_before;
        Lookup::Send(Outgoing {
            sequence: entry.head.sequence,
            skipped: entry.head.sequence - self.cursor.sequence,
            dropped_readings: before.saturating_sub(self.cursor.readings),
            series: entry.series,
            bytes,
        })
    }

    pub(super) fn begin_send(&mut self, sequence: u64, now: Instant) -> bool {
        if self.at_cursor().map(|entry| entry.head.sequence) != Some(sequence) {
            return false;
        }
        let position = self.position(sequence);
        let Some(entry) = self.entries.get_mut(position) else {
            return false;
        };
        if entry.sent_at.is_none() && entry.purpose == Purpose::Readings {
            self.tally.sent += u64::from(entry.head.readings);
        }
        entry.first_sent_at.get_or_insert(now);
        entry.sent_at = Some(now);
        self.sent_last = self.sent_last.max(sequence);
        self.cursor = Cursor {
            sequence: sequence + 1,
            readings: entry.head.readings_before + u64::from(entry.head.readings),
        };
        true
    }

    pub(super) fn begin_session(&mut self, next_sequence: u64) -> Result<(), OutboxError> {
        let store = next_sequence.saturating_sub(1);
        if store > self.sent_last {
            let error = OutboxError::StoreAhead {
                store,
                spool: self.sent_last,
            };
            self.fail(error.clone());
            return Err(error);
        }
        if store < self.acked.through {
            tracing::error!(
                acknowledged = self.acked.through,
                store,
                "the store has forgotten batches that it had acknowledged: they cannot be sent again"
            );
        }
        self.remove_through(store, None);
        self.rewind(next_sequence);
        Ok(())
    }

    pub(super) fn rewind(&mut self, expected: u64) {
        let position = self.position(expected);
        let readings = match self.entries.get(position) {
            Some(entry) if entry.head.sequence == expected => entry.head.readings_before,
            // It was dropped: what lies between the batch before and the batch after is lost.
            _ => match position
                .checked_sub(1)
                .and_then(|index| self.entries.get(index))
            {
                Some(before) => before.head.readings_before + u64::from(before.head.readings),
                None => self.acked.readings,
            },
        };
        self.cursor = Cursor {
            sequence: expected,
            readings,
        };
    }

    pub(super) fn acknowledge(&mut self, through: u64, duplicates: u64, now: Instant) -> bool {
        self.tally.duplicates_suppressed += duplicates;
        self.remove_through(through.min(self.last), Some(now));
        self.acked.through >= self.wake_at
    }

    /// Removes what is applied. An acknowledgement that came with a welcome tells no latency.
    fn remove_through(&mut self, through: u64, acked_at: Option<Instant>) {
        while let Some(entry) = self.entries.front()
            && entry.head.sequence <= through
        {
            let Some(entry) = self.entries.pop_front() else {
                break;
            };
            self.cached_bytes -= entry.bytes.as_ref().map_or(0, Bytes::len);
            // What lay between was dropped, and the store was told so with this batch.
            self.acked.dropped += entry
                .head
                .readings_before
                .saturating_sub(self.acked.readings);
            self.acked.readings = entry.head.readings_before + u64::from(entry.head.readings);
            if entry.is_dead || entry.purpose == Purpose::Report {
                continue;
            }
            if let Some(sent_at) = entry.first_sent_at {
                let refused: u64 = entry.refused.values().sum();
                self.tally.refused += refused;
                self.tally.acked += u64::from(entry.head.readings).saturating_sub(refused);
                if let Some(acked_at) = acked_at {
                    self.tally.acknowledged(sent_at, acked_at);
                }
            }
        }
        self.acked.through = self.acked.through.max(through);
    }

    pub(super) fn refuse(&mut self, sequence: u64, number: u32, readings: u64) {
        let position = self.position(sequence);
        match self.entries.get_mut(position) {
            // Told again for a batch that was sent again, it counts once.
            Some(entry) if entry.head.sequence == sequence => {
                if entry.purpose == Purpose::Readings {
                    entry.refused.insert(number, readings);
                }
            }
            _ => {
                self.tally.refused += readings;
                self.tally.acked = self.tally.acked.saturating_sub(readings);
            }
        }
    }

    pub(super) fn drop_through(&mut self, through: u64) -> u64 {
        let mut dropped = 0;
        let end = self.position(through + 1);
        let mut kept = VecDeque::with_capacity(self.entries.len());
        for (index, mut entry) in std::mem::take(&mut self.entries).into_iter().enumerate() {
            let was_sent = entry.sent_at.is_some() && entry.bytes.is_some();
            if index < end && !was_sent && !entry.is_dead {
                dropped += u64::from(entry.head.readings);
                self.cached_bytes -= entry.bytes.as_ref().map_or(0, Bytes::len);
                continue;
            }
            if index < end {
                entry.place = None;
            }
            kept.push_back(entry);
        }
        self.entries = kept;
        self.tally.dropped += dropped;
        dropped
    }

    /// The batches to read back, from the cursor on.
    pub(super) fn to_load(&self, bytes_max: usize) -> Vec<(u64, Location, u32)> {
        let mut bytes = 0;
        let from = self.position(self.cursor.sequence);
        self.entries
            .range(from..)
            .filter(|entry| !entry.is_dead)
            .take_while(|entry| entry.bytes.is_none())
            .map_while(|entry| Some((entry.head.sequence, entry.place?)))
            .take_while(|(_, (location, _))| {
                let begun = bytes < bytes_max;
                bytes += location.len as usize;
                begun
            })
            .map(|(sequence, (location, offset))| (sequence, location, offset))
            .collect()
    }

    pub(super) fn loaded(&mut self, sequence: u64, bytes: Bytes) {
        let position = self.position(sequence);
        if let Some(entry) = self.entries.get_mut(position)
            && entry.head.sequence == sequence
            && entry.bytes.is_none()
        {
            self.cached_bytes += bytes.len();
            entry.bytes = Some(bytes);
        }
    }

    pub(super) const fn acknowledged(&self) -> Acknowledged {
        self.acked
    }

    /// Readings of all sequences so far.
    pub(super) const fn last_readings(&self) -> u64 {
        self.last_readings
    }

    /// Readings dropped among all sequences so far: what is missing between the batches.
    pub(super) fn dropped(&self) -> u64 {
        let mut end = self.acked.readings;
        let mut dropped = self.acked.dropped;
        for entry in &self.entries {
            dropped += entry.head.readings_before.saturating_sub(end);
            end = entry.head.readings_before + u64::from(entry.head.readings);
        }
        dropped + self.last_readings.saturating_sub(end)
    }

    pub(super) fn dead_letter(&self, sequence: u64) -> Option<DeadLetter> {
        let entry = self.entries.get(self.position(sequence))?;
        let is_it = entry.head.sequence == sequence && !entry.is_dead;
        let bytes = entry.bytes.clone().filter(|_| is_it)?;
        Some(DeadLetter {
            sequence,
            readings: entry.head.readings,
            bytes,
            series: self.series[..entry.series as usize].to_vec(),
        })
    }

    pub(super) fn bury(&mut self, sequence: u64) {
        let position = self.position(sequence);
        if let Some(entry) = self.entries.get_mut(position)
            && entry.head.sequence == sequence
            && !entry.is_dead
        {
            entry.is_dead = true;
            self.cached_bytes -= entry.bytes.take().map_or(0, |bytes| bytes.len());
            self.tally.dead += u64::from(entry.head.readings);
        }
    }

    pub(super) const fn wake_spool_at(&mut self, sequence: u64) {
        self.wake_at = sequence;
    }

    pub(super) fn waiting_readings(&self) -> u64 {
        let alive = self.entries.iter().filter(|entry| !entry.is_dead);
        alive.map(|entry| u64::from(entry.head.readings)).sum()
    }

    /// When the oldest batch sent in this session was sent.
    pub(super) fn oldest_sent(&self) -> Option<Instant> {
        let oldest = self.entries.iter().find(|entry| !entry.is_dead)?;
        let sent_in_session = oldest.head.sequence < self.cursor.sequence;
        oldest.sent_at.filter(|_| sent_in_session)
    }

    pub(super) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The first entry whose sequence is not below `sequence`.
    fn position(&self, sequence: u64) -> usize {
        self.entries
            .partition_point(|entry| entry.head.sequence < sequence)
    }
}

#[cfg(test)]
mod tests;
