//! Members that come and go for good.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_cluster::until;
use rand::RngExt;

use crate::stage::Stage;

/// How long a node that joins may take until it votes.
const PROMOTION_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a wiped node may take to find out that it must not start.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(30);

/// A node loses its disk. Under its old id it must not come back, however often it tries; it is removed,
/// and joins under a new one.
pub(super) fn wiped(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        stage.expect_writes()?;
        stage.wait(1.0..4.0)?;
        let running = stage.running();
        let id = stage.any(&running)?;
        stage.kill(id)?;
        stage.tell(&format!("node {id} loses its disk"));
        let data = stage.data(id)?;
        std::fs::remove_dir_all(&data)
            .with_context(|| format!("cannot wipe {}", data.display()))?;
        if stage.chance().random_bool(0.7) {
            refused(stage, id)?;
        }
        stage.remove_node(id)?;
        stage.expect_writes()?;
        join(stage)?;
        stage.expect_writes()?;
    }
    Ok(())
}

/// Starts a wiped node under its old id, which must end by itself.
fn refused(stage: &mut Stage, id: u64) -> Result<()> {
    stage.launch(id)?;
    let mut fallen = None;
    let waited = until("the end of a wiped node", REFUSAL_TIMEOUT, || {
        fallen = stage.cluster_mut().fallen()?;
        Ok(fallen.is_some().then_some(()))
    });
    match fallen {
        Some(fallen) if fallen.id == id && !fallen.status.success() => {
            stage.tell(&format!("node {id} refuses to start without its disk"));
        }
        Some(other) => stage.recorder().misbehaved(&other.to_string()),
        None => {
            let why = waited
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            let text = format!("node {id} was wiped and runs under its old id: {why}");
            stage.recorder().misbehaved(&text);
            stage.kill(id)?;
        }
    }
    Ok(())
}

/// One more node joins and gets its vote.
fn join(stage: &mut Stage) -> Result<u64> {
    let id = stage.add_node()?;
    stage.tell(&format!("node {id} joins"));
    stage.cluster_mut().launch(id)?;
    until(&format!("the vote of node {id}"), PROMOTION_TIMEOUT, || {
        let leader = stage.leader()?;
        let status = stage.cluster().status(leader)?;
        let members = status["members"].as_array().context("no members")?;
        let votes = |member: &&serde_json::Value| {
            member["id"].as_u64() == Some(id) && member["voter"].as_bool() == Some(true)
        };
        Ok(members.iter().find(votes).map(|_| ()))
    })?;
    stage.tell(&format!("node {id} votes"));
    Ok(id)
}

/// One to three to five to three, then up and down between three and five.
pub(super) fn grow_and_shrink(stage: &mut Stage) -> Result<()> {
    while !stage.is_over() {
        while stage.members().len() < 5 {
            join(stage)?;
            stage.expect_writes()?;
            if stage.is_over() && stage.members().len() >= 3 {
                return Ok(());
            }
            stage.wait(0.5..2.0)?;
        }
        while stage.members().len() > 3 {
            let members = stage.members();
            let id = match stage.chance().random_bool(0.4) {
                true => stage.leader()?,
                false => stage.any(&members)?,
            };
            if stage.chance().random_bool(0.3) {
                stage.kill(id)?;
            }
            stage.remove_node(id)?;
            stage.expect_writes()?;
            stage.wait(0.5..2.0)?;
        }
    }
    ensure!(stage.members().len() >= 3, "the cluster never grew");
    Ok(())
}
