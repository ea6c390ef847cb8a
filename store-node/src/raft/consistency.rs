//! Compares what this replica has made of the log with what the others have.
//!
//! Replicas that have applied the same entries are equal, unless there is a fault of the program or of
//! the memory: nothing that consensus or checksums would notice. So every node asks every other, again
//! and again, for two digests, and compares them with its own at the same position: of what applying
//! the newest entries came to ([`crate::state::trail`]), and of manifests, which stand for all that is
//! sealed ([`crate::archive::Print`]). A difference is an alarm, on both sides. Where it lies in segments
//! alone, and most members have the same ones, the odd one takes theirs. See
//! `docs/decisions/0016-consistency-check.md`.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::counter;
use sensor_model::Token;
use store_wire::message::Difference;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{
    message::{FromPeer, ToPeer},
    replica::Replica,
};
use crate::{archive::Print, scan::read};

/// How often every other member is asked.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// How long a member may take to apply what it is asked about.
const PATIENCE: Duration = Duration::from_secs(1);

/// What comparing with each other member came to.
#[derive(Debug, Default)]
pub(super) struct Comparisons {
    peers: Mutex<BTreeMap<u64, Compared>>,
}

/// What comparing with one member came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Compared {
    /// The last position at which both were the same.
    pub(super) equal_at: Option<u64>,
    /// That they are not, until what is sealed is the same again.
    pub(super) difference: Option<Difference>,
    /// What it said of its newest manifests.
    sealed: Vec<Print>,
}

/// What a replica has made of the log.
#[derive(Debug, Clone)]
pub(super) struct Digests {
    /// A position and the digest of what applying up to there came to.
    pub(super) applied: Option<(u64, u64)>,
    /// Of the newest manifests.
    pub(super) sealed: Vec<Print>,
}

/// Compares with every other member until `stop` is cancelled.
pub(super) async fn keep(replica: Replica, stop: CancellationToken) {
    let rounds = async {
        let mut ticks = tokio::time::interval(CHECK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let others: Vec<u64> = replica.others().into_iter().map(|(id, _)| id).collect();
            replica.shared.comparisons.retain(&others);
            // What a node has not applied yet, or not any more, is not compared.
            if replica.fence().is_none() {
                let checks = others.iter().map(|id| check(&replica, *id));
                futures::future::join_all(checks).await;
                heal(&replica).await;
            }
        }
    };
    stop.run_until_cancelled(rounds).await;
}

async fn check(replica: &Replica, peer: u64) {
    let Some((index, own)) = read(&replica.shared.state).trail().newest() else {
        return;
    };
    let metrics = replica.metrics();
    let Some(address) = metrics.membership_config.get_node(&peer) else {
        return;
    };
    let client = replica.shared.network.client(peer, address);
    let asked = client.ask(&ToPeer::Compare { index }, PATIENCE * 2).await;
    let Ok(FromPeer::Compared { applied, sealed }) = asked else {
        return;
    };
    let ours = Digests {
        applied: Some((index, own)),
        sealed: replica.shared.archive.prints(),
    };
    let theirs = Digests {
        applied: applied.map(|digest| (index, digest)),
        sealed,
    };
    counter!("tidemark_consistency_checks_total").increment(1);
    replica.shared.comparisons.note(peer, &ours, &theirs);
}

/// Takes the segments that most members have, where this replica made others of the same state.
async fn heal(replica: &Replica) {
    let shared = &replica.shared;
    let Some(own) = shared.archive.prints().pop() else {
        return;
    };
    let members = replica.others().len() + 1;
    let Some((peer, print)) = shared.comparisons.outvoted(&own, members) else {
        return;
    };
    let metrics = replica.metrics();
    let Some(address) = metrics.membership_config.get_node(&peer) else {
        return;
    };
    let client = shared.network.client(peer, address);
    let adopted = shared
        .transfer
        .adopt_segments(&client, &print, &shared.archive);
    if adopted.await {
        counter!("tidemark_segments_replaced_total").increment(1);
        error!(
            peer,
            position = print.position,
            "segments that this replica had made otherwise than most were replaced by theirs"
        );
    }
}

impl Replica {
    /// What this replica has made of the log up to `index`, for another to compare.
    pub(super) async fn digests_at(&self, index: u64) -> Digests {
        let token = Token {
            shard: self.shard(),
            index,
        };
        let applied = self.wait_applied(token, Instant::now() + PATIENCE).await;
        // One that is behind says nothing of what it has not applied.
        let digest = applied
            .ok()
            .and_then(|()| read(&self.shared.state).trail().at(index));
        Digests {
            applied: digest.map(|digest| (index, digest)),
            sealed: self.shared.archive.prints(),
        }
    }
}

impl Comparisons {
    /// What comparing with `peer` came to so far.
    pub(super) fn with(&self, peer: u64) -> Compared {
        self.peers().get(&peer).cloned().unwrap_or_default()
    }

    /// What most of so many `members` have in the place of `own`, and one that has it.
    fn outvoted(&self, own: &Print, members: usize) -> Option<(u64, Print)> {
        let peers = self.peers();
        let others = peers.iter().filter_map(|(id, compared)| {
            let mut sealed = compared.sealed.iter();
            let same_place =
                |print: &&Print| print.id() == own.id() && print.version == own.version;
            let print = sealed.find(same_place)?;
            (print.hash != own.hash).then_some((*id, *print))
        });
        let others: Vec<(u64, Print)> = others.collect();
        others.iter().copied().find(|(_, print)| {
            let same = others.iter().filter(|(_, other)| other == print);
            same.count() > members / 2
        })
    }

    fn retain(&self, members: &[u64]) {
        self.peers().retain(|id, _| members.contains(id));
    }

    fn note(&self, peer: u64, ours: &Digests, theirs: &Digests) {
        let mut peers = self.peers();
        let compared = peers.entry(peer).or_default();
        compared.sealed.clone_from(&theirs.sealed);
        let was = compared.difference.take();
        compared.difference = judge(was.clone(), ours, theirs);
        match (&was, &compared.difference) {
            (None, Some(difference)) => {
                counter!("tidemark_consistency_differences_total").increment(1);
                error!(
                    peer,
                    position = difference.position,
                    what = %difference.what,
                    "this replica and another differ: one of them is wrong, see the runbook"
                );
            }
            (Some(_), None) => info!(peer, "this replica and another are the same again"),
            _ => {}
        }
        if compared.difference.is_none()
            && let (Some((index, _)), Some(_)) = (ours.applied, theirs.applied)
        {
            compared.equal_at = Some(index);
        }
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<u64, Compared>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The difference between two replicas, where one was known before. It is over when both sealed the
/// same at a later position: the manifest stands for everything before.
fn judge(known: Option<Difference>, ours: &Digests, theirs: &Digests) -> Option<Difference> {
    let pairs = ours.sealed.iter().filter_map(|own| {
        let mut theirs = theirs.sealed.iter();
        let other = theirs.find(|other| other.id() == own.id() && other.version == own.version)?;
        Some((own, own.hash == other.hash))
    });
    let newest = pairs.max_by_key(|(print, _)| print.id());
    match newest {
        Some((print, false)) => {
            return known.or_else(|| {
                Some(Difference {
                    position: print.position,
                    what: "what is sealed".to_owned(),
                })
            });
        }
        Some((print, true))
            if known
                .as_ref()
                .is_none_or(|it| it.position <= print.position) => {}
        Some(_) | None if known.is_some() => return known,
        Some(_) | None => {}
    }
    match (ours.applied, theirs.applied) {
        (Some((position, own)), Some((_, other))) if own != other => Some(Difference {
            position,
            what: "what was applied since the last seal".to_owned(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segments::manifest::SegmentHash;

    fn digests(applied: Option<(u64, u64)>, sealed: &[(u64, u8)]) -> Digests {
        let print = |(position, hash): &(u64, u8)| Print {
            position: *position,
            jobs_through: *position,
            version: 1,
            hash: SegmentHash([*hash; 32]),
        };
        Digests {
            applied,
            sealed: sealed.iter().map(print).collect(),
        }
    }

    fn position(difference: Option<Difference>) -> Option<u64> {
        difference.map(|difference| difference.position)
    }

    #[test]
    fn only_what_stands_at_the_same_place_is_compared() {
        let ours = digests(Some((50, 1)), &[(10, 1), (20, 1)]);
        for theirs in [
            digests(Some((50, 1)), &[(10, 1), (20, 1)]),
            digests(None, &[]),
            digests(None, &[(30, 9)]),
            digests(Some((50, 1)), &[(20, 1), (30, 9)]),
        ] {
            assert_eq!(judge(None, &ours, &theirs), None, "{theirs:?}");
        }
        let mut other_format = digests(None, &[(20, 9)]);
        other_format.sealed[0].version = 2;
        assert_eq!(judge(None, &ours, &other_format), None);
        assert_eq!(
            position(judge(None, &ours, &digests(Some((50, 2)), &[]))),
            Some(50)
        );
        assert_eq!(
            position(judge(None, &ours, &digests(None, &[(20, 2)]))),
            Some(20)
        );
    }

    #[test]
    fn only_most_of_the_members_outvote_one() {
        let ours = digests(None, &[(10, 1), (20, 1)]);
        let own = ours.sealed[1];
        let with = |others: &[(u64, u8)]| {
            let comparisons = Comparisons::default();
            for (peer, hash) in others {
                comparisons.note(*peer, &ours, &digests(None, &[(10, 7), (20, *hash)]));
            }
            comparisons
        };
        let outvoted = |others: &[(u64, u8)], members| {
            let found = with(others).outvoted(&own, members);
            found.map(|(_, print)| print.hash.0[0])
        };
        assert_eq!(outvoted(&[(2, 2), (3, 2)], 3), Some(2));
        assert_eq!(outvoted(&[(2, 2), (3, 2)], 4), None);
        assert_eq!(outvoted(&[(2, 2), (3, 1)], 3), None);
        assert_eq!(outvoted(&[(2, 2), (3, 3)], 3), None);
        assert_eq!(outvoted(&[(2, 2)], 2), None);
        assert_eq!(outvoted(&[(2, 1), (3, 1)], 3), None);
    }

    #[test]
    fn a_difference_lasts_until_more_is_sealed_and_the_same() {
        let known = judge(
            None,
            &digests(Some((50, 1)), &[]),
            &digests(Some((50, 2)), &[]),
        );
        // The seal began the trail anew, and nobody has finished the manifest.
        let fresh = digests(Some((70, 5)), &[(20, 1)]);
        let held = judge(known.clone(), &fresh, &fresh);
        assert_eq!(held, known);
        let sealed = digests(Some((70, 5)), &[(20, 1), (60, 1)]);
        assert_eq!(judge(known.clone(), &sealed, &sealed), None);
        let wrong = digests(Some((70, 5)), &[(20, 1), (60, 2)]);
        assert_eq!(judge(known.clone(), &sealed, &wrong), known);
    }
}
