//! Makes segments of a generation.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sensor_model::{SeriesDescription, SeriesId, TimeRange};
use store_wire::message::Order;
use tokio::time::Instant;

use super::cut::{Cutter, Files, Standing};
use super::{Archive, JobError};
use crate::scan::merge::{Reader, Sweep};
use crate::scan::{Limits, ScanError};
use crate::segments::manifest::Window;
use crate::state::Payloads;
use crate::state::generation::{Change, Generation};
use crate::state::selection::{Selection, masks};

/// Most segments of one generation: with more windows than that, wider ones are taken.
const WINDOWS_MAX: usize = 64;

impl Archive {
    /// Writes the segments of `generation`.
    pub(super) fn cut_generation(
        &self,
        generation: &Generation,
        payloads: &dyn Payloads,
    ) -> Result<Change, JobError> {
        let width = width(generation);
        let tombstones = &generation.checkpoint.tombstones;
        let mut files = Files::new(self, generation.index);
        for (id, unsealed) in &generation.series {
            let at = usize::try_from(id.0).ok();
            let Some(summary) = at.and_then(|at| generation.checkpoint.series.get(at)) else {
                unreachable!("every series of a generation is in its checkpoint");
            };
            let series = summary.description();
            let everything = TimeRange::EVERYTHING;
            let selection = Selection {
                segments: Vec::new(),
                runs: vec![unsealed.select(everything)],
                masks: masks(tombstones, &series.path, everything),
                hold: Arc::default(),
            };
            let shape = (width, generation.seal.chunk_readings);
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
            deadline: Instant::now() + PATIENCE,
        };
        let reader = Reader {
            payloads,
            library: &self.library,
            id,
            series,
        };
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
}

/// The width of the generation's windows: as the seal says, or doubled until there are few enough.
fn width(generation: &Generation) -> u64 {
    let mut width = generation.seal.window;
    loop {
        let mut windows = BTreeSet::new();
        let spans = generation.series.iter().flat_map(|(_, run)| run.spans());
        for (first, last) in spans {
            let mut window = Window::of(first, width);
            while windows.len() <= WINDOWS_MAX {
                windows.insert(window);
                if last <= window.last() {
                    break;
                }
                window = Window::of(window.last() + 1, width);
            }
        }
        if windows.len() <= WINDOWS_MAX {
            return width;
        }
        width = width.saturating_mul(2);
    }
}
