//! Members that come and go for good.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_cluster::{text, until};
use rand::RngExt;

use crate::stage::Stage;

/// How long a node that joins may take until it votes.
const PROMOTION_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a wiped node is given to find out that it must not start.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a node may take to say whether it is ready.
const HTTP_TIMEOUT: Duration = Duration::from_secs(1);

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

/// Starts a wiped node under its old id. It must not come to serve anything: it ends by itself, or
/// waits where nobody is left to tell it that it was wiped.
fn refused(stage: &mut Stage, id: u64) -> Result<()> {
    stage.launch(id)?;
    let http = stage.cluster().node(id)?.http.clone();
    let mut serves = false;
    let ended = until("the end of a wiped node", REFUSAL_TIMEOUT, || {
        let ready = text(&http, "/readyz", HTTP_TIMEOUT);
        serves = ready.is_ok_and(|(status, _)| status == 200);
        let fallen = stage.cluster_mut().fallen()?;
        Ok((fallen.is_some() || serves).then_some(fallen))
    });
    match ended {
        Ok(Some(fallen)) if fallen.id == id && !fallen.status.success() => {
            stage.tell(&format!("node {id} refuses to start without its disk"));
        }
        Ok(Some(other)) => stage.recorder().misbehaved(&other.to_string()),
        Ok(None) => {
            let text = format!("node {id} was wiped, and serves under its old id");
            stage.recorder().misbehaved(&text);
            stage.kill(id)?;
        }
        Err(_) => {
            stage.tell(&format!("node {id} waits without its disk"));
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
