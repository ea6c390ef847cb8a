//! Knows how fresh this replica is, without comparing anybody's clocks.
//!
//! Note the time on this node's monotonic clock, ask the leader how far is committed, wait until
//! that is applied here: from then on this replica is known to be at least as fresh as the noted
//! time. The leader answers under its lease, which costs no round of its own; the others would elect
//! no new leader while it holds.

use std::time::Duration;

use sensor_model::Token;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{message::Assurance, replica::Replica};

/// How often a replica asks: the age it shows is about this when all is well.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long one round may take before the next begins.
const ROUND_MAX: Duration = Duration::from_secs(2);

/// Keeps the replica's freshness until `stop` is cancelled.
pub(super) async fn keep(replica: Replica, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let rounds = async {
        loop {
            ticks.tick().await;
            round(&replica).await;
        }
    };
    stop.run_until_cancelled(rounds).await;
}

async fn round(replica: &Replica) {
    let asked = Instant::now();
    let deadline = asked + ROUND_MAX;
    let Ok(index) = replica.read_index(Assurance::Lease, deadline).await else {
        return;
    };
    let token = Token {
        shard: replica.shard(),
        index,
    };
    if replica.wait_applied(token, deadline).await.is_ok() {
        replica.shared.fresh.send_replace(Some(asked));
    }
}
