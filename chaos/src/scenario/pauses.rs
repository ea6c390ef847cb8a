//! Nodes that stand still for a while and do not know it.

use std::ops::Range;

use anyhow::Result;
use rand::RngExt;

use crate::stage::Stage;

/// The leader: mostly for seconds, sometimes for up to a minute.
pub(super) fn leader(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        stage.expect_writes()?;
        stage.wait(0.2..2.0)?;
        let id = stage.leader()?;
        stage.freeze(id)?;
        // Another leads by then, and takes what this one must not say any more.
        stage.expect_writes()?;
        let longest = if stage.chance().random_bool(0.1) {
            60.0
        } else {
            8.0
        };
        stage.wait(0.5..longest)?;
        stage.thaw(id)?;
    }
    Ok(())
}

/// Any node, once.
pub(super) fn once(stage: &mut Stage, seconds: Range<f64>) -> Result<()> {
    let running = stage.running();
    let id = stage.any(&running)?;
    stage.freeze(id)?;
    stage.wait(seconds)?;
    stage.thaw(id)
}
