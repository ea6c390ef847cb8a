//! Nodes that are killed, or asked to stop.

use anyhow::Result;
use rand::RngExt;

use super::{partitions, pauses, weather};
use crate::stage::Stage;

/// The leader, again and again; sometimes the next one before the first is back.
pub(super) fn leaders(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        let first = stage.leader()?;
        stage.kill(first)?;
        let mut down = vec![first];
        if stage.chance().random_bool(0.25) {
            // Soon after, or once another leads: no majority is left until one is back.
            stage.wait(0.0..1.5)?;
            let running = stage.running();
            let second = stage.any(&running)?;
            stage.kill(second)?;
            down.push(second);
        } else {
            stage.expect_writes()?;
            stage.wait(0.0..3.0)?;
        }
        for id in stage.shuffled(&down) {
            stage.launch(id)?;
            stage.wait(0.0..0.5)?;
        }
        stage.expect_writes()?;
        stage.wait(0.2..3.0)?;
    }
    Ok(())
}

/// Followers; sometimes so that they fall behind the log that the leader keeps.
pub(super) fn followers(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        let followers = stage.followers()?;
        let id = stage.any(&followers)?;
        stage.kill(id)?;
        stage.expect_writes()?;
        if stage.chance().random_bool(0.2) {
            stage.wait(15.0..30.0)?;
        } else {
            stage.wait(0.0..2.0)?;
        }
        stage.start(id)?;
        stage.wait(0.2..2.0)?;
    }
    Ok(())
}

/// Everybody at once, as in a power cut.
pub(super) fn all(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        stage.expect_writes()?;
        stage.wait(1.0..5.0)?;
        let running = stage.running();
        for id in stage.shuffled(&running) {
            stage.kill(id)?;
        }
        let members = stage.members();
        for id in stage.shuffled(&members) {
            stage.wait(0.0..1.0)?;
            stage.launch(id)?;
        }
    }
    Ok(())
}

/// One after the other is asked to stop, as for an upgrade.
pub(super) fn rolling(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        for id in stage.members() {
            if stage.is_over() {
                break;
            }
            stage.terminate(id)?;
            stage.expect_writes()?;
            stage.wait(0.0..2.0)?;
            stage.start(id)?;
            stage.expect_writes()?;
        }
    }
    Ok(())
}

/// All sorts of faults that go well together, a few at a time.
pub(super) fn mixed(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        match stage.chance().random_range(0..6) {
            0 => {
                let running = stage.running();
                let id = stage.any(&running)?;
                stage.kill(id)?;
                stage.wait(0.0..4.0)?;
            }
            1 => pauses::once(stage, 0.5..8.0)?,
            2 => partitions::once(stage)?,
            3 => weather::set(stage, weather::BAD),
            4 => {
                let running = stage.running();
                let id = stage.any(&running)?;
                stage.terminate(id)?;
            }
            _ => {
                stage.mend()?;
                stage.expect_writes()?;
            }
        }
        stage.wait(0.5..4.0)?;
        if stage.running().len() <= stage.members().len() / 2 {
            stage.mend()?;
            stage.expect_writes()?;
        }
    }
    Ok(())
}
