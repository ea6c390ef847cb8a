//! What the page knows, and how it is kept fresh.
//!
//! A question is what the address says and how wide the page is. It is asked when it changes; while
//! the page is live, what is committed after its answer is followed and added. Until an answer is
//! there the old drawing stays; an answer to a question that is no longer asked is dropped; a failed
//! refresh leaves the drawing and says why. A question under way is never asked twice, so a slow store
//! is not flooded.

#[cfg(target_arch = "wasm32")]
mod asking;
#[cfg(target_arch = "wasm32")]
mod following;
pub mod merge;

use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;
use sensor_model::{TimeRange, Timestamp};

use crate::answers::{Catalog, Cluster, LastReading, Problem};
use crate::initial::Initial;
use crate::plot::Drawing;
use crate::view_state::ViewState;

/// The width that is planned for before the page has been measured.
const WIDTH_DEFAULT: u32 = 900;
/// Smaller changes of width are not worth another question.
const WIDTH_STEP: u32 = 50;

/// The connection over which a live page follows what is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// None: the page is not live, or has just begun.
    None,
    /// It is there.
    Open,
    /// It was lost, or cannot be had; the page goes on trying.
    Lost,
}

impl Link {
    /// The link in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Open => "open",
            Self::Lost => "lost",
        }
    }
}

/// What the page knows. Signals all: copies share it.
#[derive(Clone, Copy)]
pub struct Feed {
    /// What the page is to show.
    pub view: ReadSignal<ViewState>,
    /// What the time is.
    pub now: RwSignal<Timestamp>,
    /// Which series there are.
    pub catalog: RwSignal<Arc<Catalog>>,
    /// Why the catalog could not be had, if it could not.
    pub catalog_problem: RwSignal<Option<Problem>>,
    /// The latest reading of each selected series that has one.
    pub latest: RwSignal<Vec<LastReading>>,
    /// How the nodes are.
    pub cluster: RwSignal<Result<Cluster, Problem>>,
    /// What is drawn.
    pub drawing: RwSignal<Option<Arc<Drawing>>>,
    /// Why the last refresh failed, if it did.
    pub trouble: RwSignal<Option<Problem>>,
    /// How what is committed is followed.
    pub link: RwSignal<Link>,
    width: RwSignal<u32>,
    #[cfg(target_arch = "wasm32")]
    asking: asking::Asking,
    #[cfg(target_arch = "wasm32")]
    following: following::Following,
}

impl Feed {
    /// What the first rendering knows; nothing is asked yet.
    pub fn new(view: ReadSignal<ViewState>, initial: &Initial) -> Self {
        let (catalog, catalog_problem) = match &initial.catalog {
            Ok(catalog) => (catalog.clone(), None),
            Err(problem) => (Catalog::default(), Some(problem.clone())),
        };
        Self {
            view,
            now: RwSignal::new(initial.now),
            catalog: RwSignal::new(Arc::new(catalog)),
            catalog_problem: RwSignal::new(catalog_problem),
            latest: RwSignal::new(initial.latest.clone()),
            cluster: RwSignal::new(initial.cluster.clone()),
            drawing: RwSignal::new(None),
            trouble: RwSignal::new(None),
            link: RwSignal::new(Link::None),
            width: RwSignal::new(WIDTH_DEFAULT),
            #[cfg(target_arch = "wasm32")]
            asking: asking::Asking::new(),
            #[cfg(target_arch = "wasm32")]
            following: following::Following::new(),
        }
    }

    /// Begins to ask. On the server nobody does: the page is rendered with what is known.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn start(self) {}

    /// Takes note of how wide the charts are, in pixels.
    pub fn measured(self, width: u32) {
        let width = (width / WIDTH_STEP).max(1) * WIDTH_STEP;
        if self.width.get_untracked() != width {
            self.width.set(width);
        }
    }

    /// Whether what is drawn is not yet what the address says.
    pub fn is_waiting(self) -> bool {
        let view = self.view.get();
        !view.series.is_empty()
            && view.range(self.now.get_untracked(), None).is_ok()
            && self
                .drawing
                .with(|drawing| drawing.as_ref().is_none_or(|drawing| drawing.view != view))
    }

    /// The time from the first to just after the last reading of the selected series.
    pub fn known_range(self, view: &ViewState) -> Option<TimeRange> {
        let catalog = self.catalog.get_untracked();
        let entries = || view.series.iter().filter_map(|path| catalog.entry(path));
        let latest = self.latest.with_untracked(|latest| {
            let selected = latest
                .iter()
                .filter(|last| view.series.contains(&last.path));
            selected.map(|last| last.timestamp).max()
        });
        let from = entries().filter_map(|entry| entry.first).min()?;
        let to = entries()
            .filter_map(|entry| entry.last)
            .chain(latest)
            .max()?;
        Some(TimeRange {
            from,
            to: to.saturating_add(Duration::from_millis(1)),
        })
    }
}
