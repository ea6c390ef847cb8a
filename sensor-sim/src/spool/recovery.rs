//! Opening a spool: what it holds is what its records say, in order.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use segment_log::{Disk, Location, SegmentLog};
use sensor_model::SeriesDescription;

use super::record::{self, Record, State};
use super::{
    Acknowledged, BatchHead, Owner, Purpose, RECORD_EXTRA_BYTES, SegmentUse, Spool, SpoolError,
    SpoolOptions, SpooledBatch, log_options,
};

/// What a spool held when it was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Batches not known to be acknowledged, in order.
    pub batches: Vec<SpooledBatch>,
    /// What is known to be acknowledged.
    pub acked: Acknowledged,
    /// Readings of all batches that were ever set aside.
    pub dead_readings: u64,
    /// Where the source can go on.
    pub position: Option<Bytes>,
    /// Bytes of an interrupted write that were cut: never sent.
    pub torn_bytes: u64,
}

/// Why a spool was not opened. Each names the folder.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another agent is using it.
    #[error("the spool {dir} is in use by another agent: give each agent its own --spool")]
    InUse {
        /// The folder.
        dir: String,
    },
    /// It belongs to another producer: its sequences mean nothing for this one.
    #[error(
        "the spool {dir} belongs to {found} of cluster {cluster}, not to {wanted}: use that identity and --instance, or another --spool"
    )]
    NotOurs {
        /// The folder.
        dir: String,
        /// Whose it is.
        found: String,
        /// In which cluster.
        cluster: String,
        /// Who asked.
        wanted: String,
    },
    /// What is in it is not what was written; nothing was changed.
    #[error(
        "the spool {dir} is damaged, and what was not sent of it is lost: move the folder away and start again"
    )]
    Damaged {
        /// The folder.
        dir: String,
        /// Where.
        source: segment_log::OpenError,
    },
    /// It cannot be read: it is of a newer version, or the disk fails.
    #[error("cannot open the spool {dir}")]
    Log {
        /// The folder.
        dir: String,
        /// What the log says.
        source: segment_log::OpenError,
    },
    /// It cannot be written.
    #[error("cannot write the spool {dir}")]
    Write {
        /// The folder.
        dir: String,
        /// Why.
        source: SpoolError,
    },
}

/// What the records tell, one after the other.
#[derive(Debug, Default)]
struct Reading {
    state: Option<State>,
    series: Vec<SeriesDescription>,
    batches: Vec<SpooledBatch>,
    segments: VecDeque<SegmentUse>,
    /// The last record.
    end: Option<Location>,
}

/// Why the records make no spool.
#[derive(Debug, thiserror::Error)]
enum Contradiction {
    #[error(transparent)]
    Record(#[from] record::RecordError),
    #[error("a batch before the spool's state")]
    NoState,
    #[error("batch {found} where {expected} is next")]
    Sequence { found: u64, expected: u64 },
    #[error("series {found} is declared where {expected} is next")]
    Series { found: u32, expected: usize },
}

/// See [`Spool::open`].
pub(super) fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    owner: &Owner,
    options: SpoolOptions,
) -> Result<(Spool, Recovered), OpenError> {
    let name = dir.display().to_string();
    let mut reading = Reading::default();
    let opened = SegmentLog::open(
        Arc::clone(&disk),
        dir,
        log_options(&options),
        &mut |location, payload| Ok(reading.take(location, payload)?),
    );
    let (log, found) = opened.map_err(|source| match source {
        segment_log::OpenError::InUse { .. } => OpenError::InUse { dir: name.clone() },
        source @ (segment_log::OpenError::Corrupt { .. }
        | segment_log::OpenError::Missing { .. }
        | segment_log::OpenError::Visit { .. }) => OpenError::Damaged {
            dir: name.clone(),
            source,
        },
        source => OpenError::Log {
            dir: name.clone(),
            source,
        },
    })?;
    let is_new = reading.state.is_none();
    let state = reading
        .state
        .unwrap_or_else(|| State::new(owner.cluster.clone(), owner.producer.clone()));
    if (&state.cluster, &state.producer) != (&owner.cluster, &owner.producer) {
        return Err(OpenError::NotOurs {
            dir: name,
            found: state.producer,
            cluster: state.cluster,
            wanted: owner.producer.clone(),
        });
    }
    let acked = state.acknowledged();
    let recovered = Recovered {
        batches: reading
            .batches
            .into_iter()
            .filter(|batch| batch.head.sequence > acked.through)
            .collect(),
        acked,
        dead_readings: state.dead_readings,
        position: (!state.position.is_empty()).then(|| state.position.clone()),
        torn_bytes: found.torn.map_or(0, |torn| torn.bytes),
    };
    let mut spool = Spool {
        log,
        disk,
        dir: dir.to_owned(),
        options,
        acked_written: acked.through,
        state,
        series_bytes: reading
            .series
            .iter()
            .map(|series| record::described_bytes(series) as u64)
            .sum(),
        active_end: reading.end.map_or(0, |end| {
            u64::from(end.offset) + u64::from(end.len) + RECORD_EXTRA_BYTES
        }),
        series_written: reading.series.len(),
        series: reading.series,
        segments: reading.segments,
    };
    let written = if is_new {
        spool.write_state()
    } else if recovered.batches.is_empty() && !spool.series.is_empty() {
        spool.forget_series()
    } else {
        Ok(())
    };
    written.map_err(|source| OpenError::Write { dir: name, source })?;
    Ok((spool, recovered))
}

impl Spool {
    /// Nothing is waiting, so no number is in use: begins to count series anew, lest those that
    /// came and went over the years be declared for ever.
    fn forget_series(&mut self) -> Result<(), SpoolError> {
        self.series.clear();
        self.series_bytes = 0;
        self.rotate()?;
        self.log.purge_before(self.log.last_segment())?;
        self.segments.clear();
        Ok(())
    }
}

impl Reading {
    fn take(&mut self, location: Location, payload: &[u8]) -> Result<(), Contradiction> {
        if self.end.is_none_or(|end| end.segment != location.segment) {
            // Each segment begins with every declaration that counts.
            self.series.clear();
        }
        self.end = Some(location);
        match Record::decode(payload)? {
            Record::State(state) => self.state = Some(state),
            Record::Series(first, series) => self.take_series(first, series)?,
            Record::Batch {
                head,
                position,
                offset,
            } => self.take_batch(location, head, position, offset)?,
            Record::Acked {
                through,
                readings,
                dropped,
            } => {
                let state = self.state.as_mut().ok_or(Contradiction::NoState)?;
                state.acked_through = through;
                state.acked_readings = readings;
                state.dropped_readings = dropped.unwrap_or(state.dropped_readings);
            }
        }
        Ok(())
    }

    fn take_series(
        &mut self,
        first: u32,
        series: Vec<SeriesDescription>,
    ) -> Result<(), Contradiction> {
        if first as usize != self.series.len() {
            return Err(Contradiction::Series {
                found: first,
                expected: self.series.len(),
            });
        }
        self.series.extend(series);
        Ok(())
    }

    fn take_batch(
        &mut self,
        location: Location,
        head: BatchHead,
        position: Bytes,
        offset: u32,
    ) -> Result<(), Contradiction> {
        let state = self.state.as_mut().ok_or(Contradiction::NoState)?;
        if head.sequence != state.next_sequence {
            return Err(Contradiction::Sequence {
                found: head.sequence,
                expected: state.next_sequence,
            });
        }
        state.next_sequence += 1;
        state.readings = head.readings_before + u64::from(head.readings);
        if !position.is_empty() {
            state.position = position;
        }
        match self.segments.back_mut() {
            Some(last) if last.number == location.segment => last.last_sequence = head.sequence,
            _ => self.segments.push_back(SegmentUse {
                number: location.segment,
                last_sequence: head.sequence,
            }),
        }
        self.batches.push(SpooledBatch {
            head,
            series: u32::try_from(self.series.len()).expect("the preamble bounds the series"),
            location,
            offset,
            // The record does not say; it only matters for what a run counts.
            purpose: Purpose::Readings,
        });
        Ok(())
    }
}
