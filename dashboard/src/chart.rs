//! The chart: a thin binding to `assets/chart.js`, which draws with uPlot.
//!
//! Drawing is the browser's alone; on the server the same type exists and does nothing, so that the
//! page is written once.

#[cfg(target_arch = "wasm32")]
#[path = "chart/browser.rs"]
mod drawn;
#[cfg(not(target_arch = "wasm32"))]
#[path = "chart/server.rs"]
mod drawn;

pub use drawn::Chart;

use crate::plot::{Form, Points};

/// What one chart shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// Lines or steps.
    pub form: Form,
    /// The units of its axes, as UCUM has them.
    pub units: Vec<String>,
    /// From where to where the time axis goes, in seconds since 1970-01-01 UTC.
    pub seconds: (f64, f64),
    /// The lines.
    pub traces: Vec<Trace>,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Its name where the cursor is read.
    pub label: String,
    /// Which colour of the palette it has.
    pub place: usize,
    /// Which of the sheet's units it has.
    pub axis: usize,
    /// Whether it is what another line is compared with.
    pub is_before: bool,
    /// What is drawn.
    pub points: Points,
}
