//! Applying: what every replica does with a committed batch.

use std::time::Duration;

use store_node::state::{Outcome, State};

use crate::Work;
use crate::history::{History, Readings};

const BATCHES: u32 = 50;
/// Series of a gateway that sends one reading of each together.
const GATEWAY: u32 = 500;
const GATEWAY_BATCHES: u32 = 10;

/// Batches of ten chunks of a thousand readings.
pub(crate) fn apply() -> Work {
    let history = History::of(Readings {
        series: 2 * BATCHES,
        count: 10_000,
        period: Duration::from_secs(1),
    });
    halves(
        history,
        "batch of ten chunks",
        BATCHES as usize,
        BATCHES as usize,
    )
}

/// Batches of chunks of one reading.
pub(crate) fn apply_single() -> Work {
    let history = History::of_single(GATEWAY, 2 * GATEWAY_BATCHES);
    let readings = GATEWAY * GATEWAY_BATCHES;
    halves(
        history,
        "reading",
        GATEWAY_BATCHES as usize,
        readings as usize,
    )
}

/// Applies so many batches of `history` each time.
fn halves(history: History, unit: &'static str, batches: usize, units: usize) -> Work {
    let mut state = State::new();
    let mut entries: Vec<_> = history
        .entries()
        .map(|(index, payload)| (index, payload.clone()))
        .collect();
    let rest = entries.split_off(2);
    for (index, payload) in &entries {
        state.apply(*index, payload);
    }
    let mut rest = rest.into_iter();
    Work {
        unit,
        units,
        once: Box::new(move || {
            for (index, payload) in rest.by_ref().take(batches) {
                let outcome = state.apply(index, &payload);
                assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
            }
        }),
    }
}
