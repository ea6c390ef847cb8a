//! Asking every node how it is, beside the questions: who is near, fresh and has room.
//!
//! A question never waits for it. It is asked while questions come and not otherwise, so that a program
//! that asks once, or rests, disturbs nobody.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store_wire::message::{NodeStatus, Request, Response, Role};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::out_of_place;
use super::race::begin;
use super::targets::Targets;
use crate::failure::Failure;
use crate::link::Link;

/// How long a node may take to be reached, and to say how it is.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Surveys under way. They end with this.
#[derive(Debug, Default)]
pub(super) struct Surveys {
    asking: Mutex<JoinSet<()>>,
}

impl Surveys {
    /// Begins to ask every node, if it is time for that.
    pub(super) fn begin_if_due(&self, link: &Arc<dyn Link>, targets: &Arc<Targets>) {
        let Some(nodes) = targets.due_for_survey() else {
            return;
        };
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        // What was begun before has ended by now, as each node is asked for a bounded time.
        while asking.try_join_next().is_some() {}
        for address in nodes {
            let (link, targets) = (Arc::clone(link), Arc::clone(targets));
            asking.spawn(async move { look(&*link, &targets, &address).await });
        }
    }
}

/// Takes note of how one node is.
async fn look(link: &dyn Link, targets: &Targets, address: &str) {
    let asked = async {
        link.reach(address).await.ok()?;
        // Connecting takes longer than an answer, and is done once.
        let since = Instant::now();
        let status = status(link, address).await.ok()?;
        Some((status, since.elapsed()))
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Some((status, took))) => {
            targets.note_status(address, &status, took);
            if status.role != Role::Removed {
                targets.note_cluster(&status);
            }
        }
        Ok(None) | Err(_) => targets.note_silence(address),
    }
}

/// How the node at `address` is, in its own words.
pub(super) async fn status(link: &dyn Link, address: &str) -> Result<Box<NodeStatus>, Failure> {
    let (first, _) = begin(link, address, Request::Status).await?;
    match first.response {
        Response::Status(status) => Ok(status),
        _ => Err(out_of_place(address, &first)),
    }
}
