//! The member's side of a snapshot: fetches the manifest and the segments it lacks, then hands the
//! snapshot to consensus, which has it installed.
//!
//! One at a time. A leader with a greater vote takes over from one with a lesser; what was fetched for
//! the one is there for the other, as segments are known by their content.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use openraft::{async_runtime::watch::WatchReceiver, vote::RaftLeaderId};
use store_wire::frame::{FrameSender, SendError};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    FetchError, Transfer, blocking,
    fetch::{Received, Wanted},
};
use crate::{
    raft::{
        message::{FileName, FromPeer, Install},
        network::Client,
        position::{self, Meta},
        space::Room,
        state_machine::StoredSnapshot,
        types::{Address, Group, LogId, Vote},
    },
    segments::manifest::{Manifest, SegmentEntry},
};

/// How often segments that are missing are fetched for one snapshot.
const ROUNDS: usize = 3;
/// How often the leader is told that it goes on.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// The longest manifest: some millions of series. It is read into memory.
pub(super) const MANIFEST_BYTES_MAX: u64 = 1 << 30;

/// Whose turn it is to install.
#[derive(Debug, Default)]
pub(super) struct Installs {
    newest: Mutex<Option<Turn>>,
    /// Held by whoever says what is kept.
    pub(super) alone: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Turn {
    vote: Vote,
    over: CancellationToken,
}

/// Why a snapshot was not installed. What was fetched is kept for the next.
#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the disk is full")]
    NoSpace,
    #[error("the snapshot is not what was announced: {0}")]
    Malformed(String),
    #[error("segments that were fetched are gone again")]
    Removed,
    #[error("another leader's snapshot is on its way")]
    Superseded,
    #[error("consensus has stopped")]
    Stopped,
}

impl Installs {
    /// Takes the turn, unless a greater vote has it.
    fn begin(&self, vote: Vote) -> Result<Turn, InstallError> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = &*newest {
            if turn.vote > vote {
                return Err(InstallError::Superseded);
            }
            turn.over.cancel();
        }
        let turn = Turn {
            vote,
            over: CancellationToken::new(),
        };
        *newest = Some(turn.clone());
        Ok(turn)
    }
}

impl Transfer {
    /// Takes over the snapshot that the leader `from` offers, telling it how it goes.
    pub(in crate::raft) async fn install(
        &self,
        group: &Group,
        from: u64,
        install: Install,
        sender: &mut FrameSender,
    ) -> Result<(), SendError> {
        let received = Received::default();
        let nobody_waits = sender.stopped();
        let work = self.take_over(group, from, &install, &received);
        let (mut work, mut nobody_waits) = (std::pin::pin!(work), std::pin::pin!(nobody_waits));
        let mut tell = tokio::time::interval(TELL_EVERY);
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                () = &mut nobody_waits => {
                    info!(peer = from, "the leader gave its snapshot up");
                    return Ok(());
                }
                _ = tell.tick() => {
                    let received = received.bytes();
                    sender.send(&FromPeer::Installing { received }, &[]).await?;
                }
            }
        };
        let answer = match outcome {
            Ok(vote) => FromPeer::Installed { vote: vote.into() },
            Err(error) => {
                warn!(peer = from, %error, "a snapshot was not installed");
                FromPeer::NotInstalled(error.to_string())
            }
        };
        sender.send(&answer, &[]).await?;
        sender.finish().await
    }

    /// Fetches what is missing and has it installed. Returns this node's vote.
    async fn take_over(
        &self,
        group: &Group,
        from: u64,
        install: &Install,
        received: &Received,
    ) -> Result<Vote, InstallError> {
        let vote = Vote::from(install.vote);
        let position = LogId::from(install.position);
        // Consensus takes what no leader can have said for a reason to panic.
        if position.leader_id > vote.leader_id.to_committed() {
            let reason = format!("a leader of {vote} cannot have {position}");
            return Err(InstallError::Malformed(reason));
        }
        let (own, committed) = {
            let metrics = group.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.vote, metrics.local_committed)
        };
        let is_here = committed.is_some_and(|committed| committed.index >= position.index);
        if own > vote || is_here {
            return Ok(own);
        }
        let turn = self.shared.installs.begin(vote)?;
        let fetching = async {
            let _alone = self.shared.installs.alone.lock().await;
            self.fetch_snapshot(group, from, install, received).await
        };
        let Some(fetched) = turn.over.run_until_cancelled(fetching).await else {
            return Err(InstallError::Superseded);
        };
        let snapshot = fetched?;
        info!(
            peer = from,
            position = position.index,
            received = received.bytes(),
            "installing a snapshot"
        );
        let installed = group.install_full_snapshot(vote, snapshot).await;
        let response = installed.map_err(|_| InstallError::Stopped)?;
        metrics::counter!("tidemark_snapshots_installed_total").increment(1);
        self.tidy(install).await;
        Ok(response.vote)
    }

    /// The snapshot, all of whose segments are here.
    async fn fetch_snapshot(
        &self,
        group: &Group,
        from: u64,
        install: &Install,
        received: &Received,
    ) -> Result<StoredSnapshot, InstallError> {
        if self.shared.space.room() >= Room::Scarce {
            return Err(InstallError::NoSpace);
        }
        let leader = self.leader(group, from, &install.address);
        // Only who offers a manifest has it; a segment, anybody may have.
        let (manifest, meta) = self.fetch_manifest(&leader, install, received).await?;
        let others = self.sources(group);
        let others = others.into_iter().filter(|other| other.target() != from);
        let sources: Vec<Client> = std::iter::once(leader).chain(others).collect();
        self.keep(manifest.segments.clone()).await;
        // Looked for once more after they were fetched, whatever tidied up meanwhile: a manifest is
        // installed with all of its segments or not at all.
        for _ in 0..ROUNDS {
            let missing = self.missing(&manifest.segments).await;
            if missing.is_empty() {
                let snapshot = Arc::new(manifest);
                return Ok(StoredSnapshot { meta, snapshot });
            }
            info!(
                peer = from,
                position = manifest.position.index,
                segments = manifest.segments.len(),
                missing = missing.len(),
                bytes = missing.iter().map(|entry| entry.bytes).sum::<u64>(),
                "fetching the segments of a snapshot"
            );
            for entry in &missing {
                self.fetch_segment(&sources, entry, received).await?;
            }
        }
        Err(InstallError::Removed)
    }

    async fn fetch_manifest(
        &self,
        leader: &Client,
        install: &Install,
        received: &Received,
    ) -> Result<(Manifest, Meta), InstallError> {
        let bytes = install.manifest_bytes;
        if bytes > MANIFEST_BYTES_MAX {
            let reason = format!("a manifest of {bytes} bytes");
            return Err(InstallError::Malformed(reason));
        }
        let wanted = Wanted {
            file: FileName::Manifest(install.manifest),
            bytes,
        };
        let shared = &self.shared;
        let _alone = shared.fetching.lock().await;
        let whole = shared.fetch(leader, &wanted, received).await?;
        let disk = Arc::clone(&shared.disk);
        let read = blocking(move || Ok(Manifest::decode(&segment_log::read_file(&*disk, &whole)?)));
        let hash = install.manifest;
        let decoded = read
            .await
            .map_err(|source| FetchError::Disk { hash, source })?;
        let malformed = |reason: String| InstallError::Malformed(reason);
        let manifest = decoded.map_err(|error| malformed(error.to_string()))?;
        let meta = position::meta(shared.shard, &manifest)
            .map_err(|error| malformed(error.to_string()))?;
        let announced = (Some(LogId::from(install.position)), install.jobs_through);
        if (meta.last_log_id, manifest.jobs_through) != announced {
            return Err(malformed("the manifest stands elsewhere".to_owned()));
        }
        Ok((manifest, meta))
    }

    /// Lets go what was needed until the snapshot was in place.
    async fn tidy(&self, install: &Install) {
        self.keep(Vec::new()).await;
        let (disk, segments) = (
            Arc::clone(&self.shared.disk),
            Arc::clone(&self.shared.segments),
        );
        let hash = install.manifest;
        let removed = blocking(move || disk.remove(&segments.incoming(&hash))).await;
        if let Err(error) = removed {
            debug!(manifest = %hash, %error, "what was fetched of a manifest is left behind");
        }
    }

    pub(super) async fn keep(&self, entries: Vec<SegmentEntry>) {
        let segments = Arc::clone(&self.shared.segments);
        let kept = blocking(move || {
            segments.keep(&entries);
            Ok(())
        });
        // What is not kept is found missing before the snapshot is installed.
        drop(kept.await);
    }

    /// The leader, where it is known to be reached; where it says itself if this node knows nobody yet.
    fn leader(&self, group: &Group, id: u64, said: &str) -> Client {
        let metrics = group.metrics();
        let metrics = metrics.borrow_watched();
        let known = metrics.membership_config.get_node(&id).cloned();
        let address = known.unwrap_or_else(|| Address {
            quic: said.to_owned(),
        });
        self.shared.network.client(id, &address)
    }

    /// The other members that are connected: they can be asked for segments.
    pub(in crate::raft) fn sources(&self, group: &Group) -> Vec<Client> {
        let network = &self.shared.network;
        let metrics = group.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.nodes();
        members
            .filter(|(id, _)| **id != network.id)
            .map(|(id, address)| network.client(*id, address))
            .filter(Client::is_connected)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::LeaderId;

    fn vote(term: u64) -> Vote {
        Vote {
            leader_id: LeaderId::new(term, 1),
            committed: true,
        }
    }

    #[test]
    fn a_leader_with_a_greater_vote_takes_over_and_one_with_a_lesser_does_not() {
        let installs = Installs::default();
        let first = installs.begin(vote(2)).expect("nobody has the turn");
        let again = installs.begin(vote(2)).expect("it gave the first up");
        assert!(first.over.is_cancelled());
        let lesser = installs.begin(vote(1));
        assert!(matches!(lesser, Err(InstallError::Superseded)));
        assert!(!again.over.is_cancelled());
        let greater = installs.begin(vote(3)).expect("it leads");
        assert!(again.over.is_cancelled() && !greater.over.is_cancelled());
    }
}
