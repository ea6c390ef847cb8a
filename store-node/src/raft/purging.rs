//! Decides how far the log is purged: what a durable manifest holds is not needed here any more, but
//! it may be needed by a member that is a little behind.
//!
//! - As long as the log is small, entries stay that a connected member lacks, or that will follow the
//!   snapshot which a member is fetching. A member that is not connected holds nothing back.
//! - A log that has grown beyond its bound is purged all the same. The sessions of members that are
//!   further behind end; they get snapshots.
//!
//! The consensus library takes snapshots for its own and purges what they hold; here it is told that
//! there is one, waited until it knows, and told how far to purge. The leader's word is needed for no
//! other log than its own.

use std::{sync::Arc, time::Duration};

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::replica::Replica;
use crate::archive::Archive;

/// How often members that held entries back are looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps purging behind `archive` until `stop` is cancelled.
pub(super) async fn keep(
    replica: Replica,
    archive: Arc<Archive>,
    log_bytes_max: u64,
    stop: CancellationToken,
) {
    let mut purging = Purging {
        replica,
        log_bytes_max,
        asked: None,
    };
    let mut purgeable = archive.purgeable();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let rounds = async {
        loop {
            let manifest = *purgeable.borrow_and_update();
            if let Some(manifest) = manifest {
                purging.round(manifest.position).await;
            }
            tokio::select! {
                changed = purgeable.changed() => if changed.is_err() { return },
                _ = ticks.tick() => {}
            }
        }
    };
    stop.run_until_cancelled(rounds).await;
}

struct Purging {
    replica: Replica,
    log_bytes_max: u64,
    /// How far the library was asked to purge.
    asked: Option<u64>,
}

impl Purging {
    async fn round(&mut self, position: u64) {
        if self.asked >= Some(position) || !self.is_known(position).await {
            return;
        }
        let shared = &self.replica.shared;
        let store = &shared.store;
        let bytes = store.bytes().saturating_sub(store.kept_bytes());
        let is_large = bytes > self.log_bytes_max;
        let Some(through) = through(position, is_large, &self.needs()) else {
            return;
        };
        if self.asked >= Some(through) {
            return;
        }
        info!(through, position, bytes, is_large, "purging the log");
        // It fails only when consensus has stopped.
        if shared.group.trigger().purge_log(through).await.is_ok() {
            self.asked = Some(through);
        }
        if is_large {
            let next = through + 1;
            shared
                .network
                .kept_from
                .send_if_modified(|kept| std::mem::replace(kept, next.max(*kept)) < next);
        }
    }

    /// Makes the library know of a snapshot at `position`; whether it does.
    async fn is_known(&self, position: u64) -> bool {
        let group = &self.replica.shared.group;
        let mut metrics = group.metrics();
        let knows = |index: Option<u64>| index >= Some(position);
        if knows(metrics.borrow_watched().snapshot.map(|id| id.index)) {
            return true;
        }
        if group.trigger().snapshot().await.is_err() {
            return false;
        }
        let known = metrics.wait_until(|metrics| knows(metrics.snapshot.map(|id| id.index)));
        matches!(timeout(LOOK_EVERY, known).await, Ok(Ok(_)))
    }

    /// The last entry that each connected member has, or will have; nothing on a follower.
    fn needs(&self) -> Vec<Option<u64>> {
        let shared = &self.replica.shared;
        let metrics = shared.group.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.iter().flatten();
        matched
            .filter(|(id, _)| **id != shared.id)
            .filter(|(id, _)| {
                let link = shared.network.links.get(**id);
                link.is_some_and(|link| link.is_connected())
            })
            .map(|(id, matched)| {
                let fetched = shared.network.offers.position(*id);
                matched.map(|matched| matched.index).max(fetched)
            })
            .collect()
    }
}

/// How far to purge behind a manifest at `position`, given the last entries that others have.
fn through(position: u64, is_large: bool, needs: &[Option<u64>]) -> Option<u64> {
    if is_large {
        return Some(position);
    }
    let last = needs.iter().copied().min().unwrap_or(Some(position));
    last.map(|last| last.min(position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_log_keeps_what_a_connected_member_lacks() {
        assert_eq!(through(100, false, &[]), Some(100));
        assert_eq!(through(100, false, &[Some(100), Some(120)]), Some(100));
        assert_eq!(through(100, false, &[Some(99), Some(120)]), Some(99));
        assert_eq!(through(100, false, &[None, Some(120)]), None);
    }

    #[test]
    fn a_large_log_keeps_nothing_for_others() {
        assert_eq!(through(100, true, &[None, Some(3)]), Some(100));
    }
}
