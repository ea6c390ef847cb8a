//! Makes segments of a generation.

use std::sync::Arc;
use std::time::Duration;

use sensor_model::{SeriesDescription, SeriesId, TimeRange};
use store_wire::message::Order;
use tokio::time::Instant;

use super::cut::{Cutter, Files, Standing};
use super::{Archive, JobError};
use crate::scan::merge::Sweep;
use crate::scan::reader::Reader;
use crate::scan::{Limits, ScanError};
use crate::segments::writer::CHUNKS_MAX;
use crate::state::Payloads;
use crate::state::generation::{Change, Generation};
use crate::state::selection::{Selection, masks};

impl Archive {
    /// Writes the segments of `generation`.
    pub(super) fn cut_generation(
        &self,
        generation: &Generation,
        payloads: &dyn Payloads,
    ) -> Result<Change, JobError> {
        let width = self.width(generation, payloads)?;
        let tombstones = &generation.checkpoint.tombstones;
        let mut files = Files::new(self, generation.index);
        for (id, unsealed) in &generation.series {
            let series = generation.description(*id);
            let everything = TimeRange::EVERYTHING;
            let selection = Selection {
                segments: Vec::new(),
                runs: vec![unsealed.select(everything)],
                masks: masks(tombstones, &series.path, everything),
                hold: Arc::default(),
            };
            // However short chunks were to be, a segment can hold them.
            let least = unsealed.readings().div_ceil(u64::from(CHUNKS_MAX));
            let least = u32::try_from(least).unwrap_or(u32::MAX);
            let shape = (width, generation.seal.chunk_readings.max(least));
            self.cut_series(&mut files, (*id, series), shape, selection, payloads)?;
        }
        let standing = Standing {
            order: generation.index,
            masked_through: generation.index,
        };
        Ok(Change {
            removed: Vec::new(),
            added: files.finish(standing)?,
        })
    }

    /// Cuts everything that `selection` has of one series, by windows of the width and chunks of the
    /// readings that `shape` says.
    pub(super) fn cut_series(
        &self,
        files: &mut Files<'_>,
        (id, series): (SeriesId, &SeriesDescription),
        (width, chunk_readings): (u64, u32),
        selection: Selection,
        payloads: &dyn Payloads,
    ) -> Result<(), JobError> {
        /// A job takes as long as it takes.
        const PATIENCE: Duration = Duration::from_secs(365 * 86_400);
        let limits = Limits {
            rows_max: u64::MAX,
            decoded_bytes_max: usize::MAX,
            memory: None,
            deadline: Instant::now() + PATIENCE,
        };
        let reader = self.reader(id, series, payloads);
        let mut cutter = Cutter::new(files, id, series.kind, width, chunk_readings);
        let everything = TimeRange::EVERYTHING;
        let swept =
            Sweep::new(reader, everything, Order::Ascending, selection, &limits).run(&mut cutter);
        match (cutter.failed.take(), swept) {
            (Some(failed), _) => Err(failed),
            (None, Err(ScanError::Segment { source, .. })) => Err(source.into()),
            (None, swept) => Ok(swept?),
        }
    }

    /// Reads what there is of a series.
    pub(super) fn reader<'a>(
        &'a self,
        id: SeriesId,
        series: &'a SeriesDescription,
        payloads: &'a dyn Payloads,
    ) -> Reader<'a> {
        Reader {
            payloads,
            library: &self.library,
            id,
            series,
        }
    }
}
