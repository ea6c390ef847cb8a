//! The leader's side of a snapshot: it says what there is to take over, and waits.
//!
//! The member fetches what it lacks by itself, which may take hours, and says every second that it goes
//! on. So there is no limit to the whole, only to silence. The manifest is kept in memory, as the bytes
//! of its file, for as long as it is on offer.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, Unreachable};
use tokio::time::{Instant, timeout};
use tracing::info;

use super::{CONNECT_PATIENCE, blocking};
use crate::{
    raft::{
        message::{FromPeer, Install, Position, ToPeer},
        network::{AskError, Client},
        state_machine::StoredSnapshot,
        types::{Types, Vote},
    },
    segments::manifest::SegmentHash,
};

/// How long a member may say nothing before it is asked again. It says something every second.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The snapshots that this node offers to others. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Offers {
    offers: Arc<Mutex<Vec<Arc<Offer>>>>,
}

/// One snapshot on offer to one member.
#[derive(Debug)]
struct Offer {
    target: u64,
    position: u64,
    hash: SegmentHash,
    manifest: Bytes,
}

/// Takes an offer back when it is dropped.
#[derive(Debug)]
struct Standing {
    offers: Offers,
    offer: Arc<Offer>,
}

/// Why a member did not take a snapshot over.
#[derive(Debug, thiserror::Error)]
pub(in crate::raft) enum OfferError {
    /// It could not be asked, or fell silent.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It said why not.
    #[error("it did not take the snapshot over: {0}")]
    Declined(String),
    /// This node could not read its own manifest.
    #[error("the manifest could not be encoded")]
    Manifest(#[source] std::io::Error),
}

impl OfferError {
    /// In the library's words.
    pub(in crate::raft) fn into_rpc(self) -> RPCError<Types> {
        match self {
            Self::Ask(error) => error.into_rpc(),
            Self::Declined(_) => RPCError::Unreachable(Unreachable::new(&self)),
            Self::Manifest(_) => RPCError::Network(NetworkError::new(&self)),
        }
    }
}

impl Offers {
    /// The bytes of a manifest that is on offer.
    pub(super) fn manifest(&self, hash: SegmentHash) -> Option<Bytes> {
        let offers = self.lock();
        let offer = offers.iter().find(|offer| offer.hash == hash)?;
        Some(offer.manifest.clone())
    }

    /// Where in the log the snapshot stands that is on offer to `target`.
    pub(in crate::raft) fn position(&self, target: u64) -> Option<u64> {
        let offers = self.lock();
        let newest = offers.iter().rev().find(|offer| offer.target == target)?;
        Some(newest.position)
    }

    /// Offers a snapshot to a member. One that was offered before, and is given up, may stand a little
    /// longer.
    fn make(&self, mut offer: Offer) -> Standing {
        let mut offers = self.lock();
        // Several members share one manifest in memory.
        if let Some(same) = offers.iter().find(|other| other.hash == offer.hash) {
            offer.manifest = same.manifest.clone();
        }
        let offer = Arc::new(offer);
        offers.push(Arc::clone(&offer));
        Standing {
            offers: self.clone(),
            offer,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Offer>>> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut offers = self.offers.lock();
        offers.retain(|other| !Arc::ptr_eq(other, &self.offer));
    }
}

/// Offers `snapshot` to a member and waits until it has taken it over. Returns its vote.
///
/// # Cancel safety
/// Safe: the member notices that nobody waits, and keeps what it has fetched for the next time.
pub(in crate::raft) async fn offer(
    client: &Client,
    vote: Vote,
    snapshot: StoredSnapshot,
) -> Result<Vote, OfferError> {
    let started = Instant::now();
    let (position, jobs_through) = match snapshot.meta.last_log_id {
        Some(position) => (position, snapshot.snapshot.jobs_through),
        None => return Err(OfferError::Declined("it holds nothing".to_owned())),
    };
    let manifest = snapshot.snapshot;
    let encode = move || {
        let bytes = Bytes::from(manifest.encode());
        Ok((SegmentHash(*blake3::hash(&bytes).as_bytes()), bytes))
    };
    let (hash, manifest) = blocking(encode).await.map_err(OfferError::Manifest)?;
    let install = Install {
        vote: vote.into(),
        address: client.network().address.clone(),
        position: Position::from(position),
        jobs_through,
        manifest: hash,
        manifest_bytes: manifest.len() as u64,
    };
    let _standing = client.network().offers.make(Offer {
        target: client.target(),
        position: position.index,
        hash,
        manifest,
    });
    let peer = client.target();
    info!(peer, position = position.index, jobs_through, manifest = %hash, "offering a snapshot");
    let question = ToPeer::Install(install);
    let mut answers = client.begin(&question, CONNECT_PATIENCE).await?;
    loop {
        let answer = timeout(SILENCE_MAX, client.answer(&mut answers)).await;
        match answer.map_err(|_| AskError::Late(SILENCE_MAX))?? {
            FromPeer::Installing { .. } => {}
            FromPeer::Installed { vote } => {
                let seconds = started.elapsed().as_secs_f64();
                metrics::counter!("tidemark_snapshots_sent_total").increment(1);
                info!(
                    peer,
                    position = position.index,
                    seconds,
                    "snapshot taken over"
                );
                return Ok(vote.into());
            }
            FromPeer::NotInstalled(reason) => return Err(OfferError::Declined(reason)),
            _ => return Err(AskError::Unfit.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(target: u64, position: u64, content: &'static [u8]) -> Offer {
        Offer {
            target,
            position,
            hash: SegmentHash(*blake3::hash(content).as_bytes()),
            manifest: Bytes::from_static(content),
        }
    }

    #[test]
    fn a_manifest_is_kept_as_long_as_somebody_is_offered_it() {
        let offers = Offers::default();
        let hash = offer(1, 1, b"one").hash;
        let first = offers.make(offer(1, 10, b"one"));
        let second = offers.make(offer(2, 10, b"one"));
        assert_eq!(offers.position(2), Some(10));
        let again = offers.make(offer(1, 20, b"two"));
        drop(first);
        assert_eq!(offers.position(1), Some(20));
        drop(again);
        assert_eq!(offers.manifest(hash), Some(Bytes::from_static(b"one")));
        assert_eq!(offers.position(1), None);
        drop(second);
        assert_eq!(offers.manifest(hash), None);
    }
}
