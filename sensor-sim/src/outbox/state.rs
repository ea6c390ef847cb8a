//! The outbox's contents and counts, behind one lock.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use segment_log::Location;
use sensor_model::SeriesDescription;
use tokio::time::Instant;

use super::{OutboxError, Outgoing};
use crate::spool::{BatchHead, ClosedBatch, SpooledBatch};
use crate::summary::Tally;

/// One batch that is not acknowledged.
#[derive(Debug)]
struct Entry {
    head: BatchHead,
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
    acked_through: u64,
    acked_readings: u64,
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
    pub(super) fn new(acked_through: u64, acked_readings: u64) -> Self {
        Self {
            entries: VecDeque::new(),
            series: Vec::new(),
            acked_through,
            acked_readings,
            sent_last: acked_through,
            last: acked_through,
            last_readings: acked_readings,
            cursor: Cursor {
                sequence: acked_through + 1,
                readings: acked_readings,
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
        self.push(batch.head, batch.series, place, bytes);
    }

    pub(super) fn push_in_memory(&mut self, batch: ClosedBatch) {
        let head = BatchHead {
            sequence: self.last + 1,
            readings: batch.readings,
            readings_before: self.last_readings,
        };
        let series = u32::try_from(self.series.len()).unwrap_or(u32::MAX);
        self.push(head, series, None, Some(batch.bytes));
    }

    fn push(
        &mut self,
        head: BatchHead,
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
            series,
            place,
            bytes,
            first_sent_at: None,
            sent_at: None,
            refused: BTreeMap::new(),
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
        self.is_closed && self.entries.is_empty()
    }

    pub(super) fn lookup(&self) -> Lookup {
        let Some(entry) = self.entries.get(self.position(self.cursor.sequence)) else {
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
        let position = self.position(self.cursor.sequence);
        let Some(entry) = self
            .entries
            .get_mut(position)
            .filter(|entry| entry.head.sequence == sequence)
        else {
            return false;
        };
        if entry.sent_at.is_none() {
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
        if store < self.acked_through {
            tracing::error!(
                acknowledged = self.acked_through,
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
                None => self.acked_readings,
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
        self.acked_through >= self.wake_at
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
            self.acked_readings = entry.head.readings_before + u64::from(entry.head.readings);
            if let Some(sent_at) = entry.first_sent_at {
                let refused: u64 = entry.refused.values().sum();
                self.tally.refused += refused;
                self.tally.acked += u64::from(entry.head.readings).saturating_sub(refused);
                if let Some(acked_at) = acked_at {
                    self.tally.acknowledged(sent_at, acked_at);
                }
            }
        }
        self.acked_through = self.acked_through.max(through);
    }

    pub(super) fn refuse(&mut self, sequence: u64, number: u32, readings: u64) {
        let position = self.position(sequence);
        match self.entries.get_mut(position) {
            // Told again for a batch that was sent again, it counts once.
            Some(entry) if entry.head.sequence == sequence => {
                entry.refused.insert(number, readings);
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
            if index < end && !was_sent {
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

    pub(super) const fn acknowledged(&self) -> (u64, u64) {
        (self.acked_through, self.acked_readings)
    }

    pub(super) const fn wake_spool_at(&mut self, sequence: u64) {
        self.wake_at = sequence;
    }

    pub(super) fn waiting_readings(&self) -> u64 {
        let entries = self.entries.iter();
        entries.map(|entry| u64::from(entry.head.readings)).sum()
    }

    /// When the oldest batch sent in this session was sent.
    pub(super) fn oldest_sent(&self) -> Option<Instant> {
        let oldest = self.entries.front()?;
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
mod tests {
    use super::*;

    fn spooled(sequence: u64, readings_before: u64) -> SpooledBatch {
        SpooledBatch {
            head: BatchHead {
                sequence,
                readings: 10,
                readings_before,
            },
            series: 1,
            location: Location {
                segment: 1,
                offset: 64,
                len: 5,
            },
            offset: 0,
        }
    }

    /// Batches 1 to `count` of 10 readings each.
    fn state_with(count: u64) -> State {
        let mut state = State::new(0, 0);
        for sequence in 1..=count {
            let bytes = Bytes::from_static(b"batch");
            state.push_spooled(&spooled(sequence, (sequence - 1) * 10), Some(bytes));
        }
        state
    }

    /// `(sequence, skipped, dropped)` of everything that can be sent now.
    fn send_all(state: &mut State) -> Vec<(u64, u64, u64)> {
        let mut sent = Vec::new();
        while let Lookup::Send(outgoing) = state.lookup() {
            assert!(state.begin_send(outgoing.sequence, Instant::now()));
            sent.push((
                outgoing.sequence,
                outgoing.skipped,
                outgoing.dropped_readings,
            ));
        }
        sent
    }

    #[test]
    fn unsent_batches_are_dropped_and_counted_with_the_next_one() {
        let mut state = state_with(5);
        assert_eq!(state.drop_through(3), 30);
        assert_eq!(send_all(&mut state), [(4, 3, 30), (5, 0, 0)]);
        assert_eq!(state.tally().dropped, 30);
        assert_eq!(state.tally().sent, 20);
    }

    #[test]
    fn batches_that_were_sent_are_not_dropped_and_can_be_sent_again() {
        let mut state = state_with(2);
        assert_eq!(send_all(&mut state).len(), 2);
        for sequence in 3..=6 {
            let bytes = Bytes::from_static(b"batch");
            state.push_spooled(&spooled(sequence, (sequence - 1) * 10), Some(bytes));
        }
        assert_eq!(state.drop_through(4), 20);
        assert_eq!(send_all(&mut state), [(5, 2, 20), (6, 0, 0)]);
        state.begin_session(1).unwrap();
        let again = [(1, 0, 0), (2, 0, 0), (5, 2, 20), (6, 0, 0)];
        assert_eq!(send_all(&mut state), again);
        assert_eq!(state.tally().sent, 40, "sent again is not sent twice");
    }

    #[test]
    fn what_the_store_has_applied_is_not_sent_again_and_not_counted_as_dropped() {
        let mut state = state_with(5);
        send_all(&mut state);
        state.begin_session(4).unwrap();
        assert_eq!(state.tally().acked, 30);
        assert_eq!(send_all(&mut state), [(4, 0, 0), (5, 0, 0)]);
    }

    #[test]
    fn a_rewind_sends_again_from_there() {
        let mut state = state_with(4);
        send_all(&mut state);
        state.rewind(3);
        assert_eq!(send_all(&mut state), [(3, 0, 0), (4, 0, 0)]);
    }

    #[test]
    fn a_store_that_is_ahead_is_not_sent_anything() {
        let mut state = state_with(3);
        state.all_may_be_sent();
        state.push_spooled(&spooled(4, 30), Some(Bytes::from_static(b"batch")));
        assert!(state.begin_session(4).is_ok());
        // The fourth was never sent: what the store has under its number is something else.
        let refused = state.begin_session(5);
        assert!(matches!(
            refused,
            Err(OutboxError::StoreAhead { store: 4, spool: 3 })
        ));
    }

    #[test]
    fn refused_readings_are_not_acknowledged_ones_and_count_once() {
        let mut state = state_with(2);
        send_all(&mut state);
        state.refuse(1, 0, 4);
        state.refuse(1, 0, 4);
        state.acknowledge(2, 0, Instant::now());
        assert_eq!((state.tally().acked, state.tally().refused), (16, 4));
    }

    #[test]
    fn batches_not_in_memory_are_asked_for_in_order_and_bounded() {
        let mut state = State::new(0, 0);
        for sequence in 1..=4 {
            state.push_spooled(&spooled(sequence, (sequence - 1) * 10), None);
        }
        assert!(matches!(state.lookup(), Lookup::Load));
        let asked = |state: &State, bytes| -> Vec<u64> {
            let wanted = state.to_load(bytes).into_iter();
            wanted.map(|(sequence, ..)| sequence).collect()
        };
        assert_eq!(asked(&state, 10), [1, 2]);
        state.loaded(1, Bytes::from_static(b"batch"));
        assert_eq!(send_all(&mut state), [(1, 0, 0)]);
        assert_eq!(asked(&state, 100), [2, 3, 4]);
    }
}
