//! What a replica does about the membership by itself, again and again:
//!
//! - on the leader: goes on with a change that was left behind half way, and gives learners their vote
//!   once they have caught up;
//! - on every node: keeps links to members only;
//! - on a node that was removed: says so, stands for no election, and writes it down, so that it does
//!   not start again.
//!
//! A node learns that it was removed from its own log, or, if it was away, from what the others answer.

use std::{path::PathBuf, sync::Arc, time::Duration};

use segment_log::Disk;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::{
    members::{Fence, keeps_up},
    membership::ChangeError,
    replica::Replica,
};
use crate::charter::Charter;

/// How often a replica looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long one change may take before the steward lets operators try theirs.
const CHANGE_PATIENCE: Duration = Duration::from_secs(5);

/// Where a node's charter is.
#[derive(Debug, Clone)]
pub struct Home {
    /// Every file operation.
    pub disk: Arc<dyn Disk>,
    /// The data folder.
    pub data: PathBuf,
    /// What the charter says.
    pub charter: Charter,
}

/// Looks after the membership until `stop` is cancelled.
pub(super) async fn keep(replica: Replica, home: Home, stop: CancellationToken) {
    let rounds = async {
        let mut home = Some(home);
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            keep_links(&replica);
            if let Some(Fence::Removed(_)) = replica.fence() {
                if let Some(home) = home.take() {
                    depart(&replica, home).await;
                }
            } else if replica.is_leader() {
                tidy(&replica).await;
            }
        }
    };
    stop.run_until_cancelled(rounds).await;
}

fn keep_links(replica: &Replica) {
    let metrics = replica.metrics();
    let members = metrics.membership_config.membership();
    // Before it has heard of any membership, a node that joins knows nobody to keep.
    if members.nodes().next().is_some() {
        let links = &replica.shared.network.links;
        links.retain(|peer| members.get_node(&peer).is_some());
    }
}

/// The leader's part.
async fn tidy(replica: &Replica) {
    let Ok(_turn) = replica.shared.changing.try_lock() else {
        return;
    };
    let tidied = timeout(CHANGE_PATIENCE, async {
        let metrics = replica.settled().await?;
        let members = metrics.membership_config.membership();
        let mut learners = members.learner_ids();
        match learners.find(|learner| keeps_up(&metrics, *learner)) {
            Some(learner) => replica.promote(learner).await,
            None => Ok::<(), ChangeError>(()),
        }
    });
    if let Ok(Err(error)) = tidied.await {
        debug!(%error, "the membership could not be tidied up yet");
    }
}

/// The part of a node that was removed.
async fn depart(replica: &Replica, home: Home) {
    error!(
        node = replica.id(),
        "this node was removed from the cluster: it serves no reads any more; stop it and delete its \
         data folder. To come back it joins under a new id, with an empty folder"
    );
    replica.depart();
    let Home {
        disk,
        data,
        mut charter,
    } = home;
    charter.removed = true;
    let written = tokio::task::spawn_blocking(move || charter.store(&*disk, &data));
    match written.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => error!(%error, "the removal could not be written down"),
        Err(_) => error!("writing the removal down panicked"),
    }
}
