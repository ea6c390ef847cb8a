//! Disks that fill up, are slow or fail a sync, and wall clocks that jump.

use std::ops::Range;
use std::time::Duration;

use anyhow::Result;
use rand::RngExt;

use crate::history::Event;
use crate::stage::Stage;

/// How long a node may take to meet a failing sync and to end: the next seal may be some seconds away.
const END_TIMEOUT: Duration = Duration::from_secs(60);
/// Parts of the paths whose syncs fail, each as likely.
const PARTS: [&str; 5] = ["", "/log/", "/log/", "/segments/", "/manifests/"];
/// How long a sync takes on a slow disk, in ms: an election needs two of them in 400 to 700 ms.
const SLOW_SYNC_MS: Range<u64> = 100..300;
/// By how much clocks jump at most.
const JUMP_SECONDS: i64 = 3600;
/// Bytes that are left free on a full disk: nothing at all, or less than a node keeps for itself.
const LEFT_BYTES: [u64; 2] = [0, 4 << 20];

/// A follower's disk, the leader's, or all disks.
pub(super) fn full(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        stage.expect_writes()?;
        stage.wait(1.0..4.0)?;
        let free = LEFT_BYTES[stage.chance().random_range(0..LEFT_BYTES.len())];
        let leader = stage.leader()?;
        let full = match stage.chance().random_range(0..3) {
            0 => vec![leader],
            1 => stage.members(),
            _ => {
                let followers = stage.followers()?;
                vec![stage.any(&followers)?]
            }
        };
        for id in &full {
            stage.fill(*id, free)?;
        }
        if !full.contains(&leader) {
            stage.expect_writes()?;
        }
        stage.wait(2.0..10.0)?;
        stage.make_room()?;
    }
    Ok(())
}

/// One node at a time. It must end at the first sync that fails, and must not try it again.
pub(super) fn failing_syncs(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        stage.expect_writes()?;
        stage.wait(0.5..3.0)?;
        let id = match stage.chance().random_bool(0.5) {
            true => stage.leader()?,
            false => {
                let running = stage.running();
                stage.any(&running)?
            }
        };
        let part = PARTS[stage.chance().random_range(0..PARTS.len())];
        stage.tell(&format!("syncs of {part:?} fail on node {id}"));
        let before = stage.cluster().node(id)?.faults()?.syncs_failed()?;
        stage.cluster().node(id)?.faults()?.fail_syncs(part)?;
        match stage.cluster_mut().wait_fallen(id, END_TIMEOUT) {
            Ok((status, _)) if status.code() == Some(1) => {
                stage.tell(&format!("node {id} ended, as it must"));
            }
            Ok((status, story)) => {
                let text = format!("node {id} ended with {status} at a failed sync\n{story}");
                stage.recorder().misbehaved(&text);
            }
            Err(error) => {
                let text = format!("node {id} goes on with failing syncs: {error:#}");
                stage.recorder().misbehaved(&text);
                stage.kill(id)?;
            }
        }
        let failed = stage.cluster().node(id)?.faults()?.syncs_failed()? - before;
        stage.tell(&format!("{failed} syncs failed; the disk is well again"));
        stage.cluster().node(id)?.faults()?.lift()?;
        stage.expect_writes()?;
        stage.wait(0.0..3.0)?;
        stage.start(id)?;
    }
    Ok(())
}

/// Every sync of every node takes a known time: nothing may be acknowledged sooner. In between a node is
/// killed, so that whoever leads then is held to it as well.
pub(super) fn slow_syncs(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        stage.expect_writes()?;
        let ms = stage.chance().random_range(SLOW_SYNC_MS);
        stage.tell(&format!("every sync of every node takes {ms} ms"));
        delay_syncs(stage, ms)?;
        stage.wait(4.0..10.0)?;
        if stage.chance().random_bool(0.5) {
            let id = stage.leader()?;
            stage.kill(id)?;
            stage.expect_writes()?;
            stage.start(id)?;
            stage.wait(2.0..5.0)?;
        }
        stage.tell("syncs are fast again");
        delay_syncs(stage, 0)?;
        stage.wait(0.5..2.0)?;
    }
    Ok(())
}

fn delay_syncs(stage: &Stage, ms: u64) -> Result<()> {
    let note = |ms| {
        let at = stage.recorder().now();
        stage.recorder().note(Event::SyncsTake { at, ms });
    };
    // What is noted never claims more than is so.
    note(0);
    for id in stage.members() {
        let faults = stage.cluster().node(id)?.faults()?;
        faults.delay_syncs(Duration::from_millis(ms))?;
    }
    if ms > 0 {
        note(ms);
    }
    Ok(())
}

/// Some clocks or all, each by another time, and after a while back.
pub(super) fn clocks(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        for id in stage.members() {
            let seconds = match stage.chance().random_range(0..4) {
                0 => 0,
                1 => -JUMP_SECONDS,
                2 => JUMP_SECONDS,
                _ => stage.chance().random_range(-JUMP_SECONDS..=JUMP_SECONDS),
            };
            stage.tell(&format!("the clock of node {id} is {seconds} s ahead"));
            stage.cluster().node(id)?.faults()?.jump_clock(seconds)?;
        }
        stage.expect_writes()?;
        stage.wait(0.5..3.0)?;
        if stage.chance().random_bool(0.4) {
            // Certificates are looked at again, and leaders elected, under these clocks.
            let running = stage.running();
            let id = stage.any(&running)?;
            stage.kill(id)?;
            stage.expect_writes()?;
            stage.start(id)?;
        }
        stage.expect_writes()?;
        stage.wait(0.5..3.0)?;
    }
    Ok(())
}
