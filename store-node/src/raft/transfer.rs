//! Moves sealed segments, and the manifests that list them, between members.
//!
//! Whoever lacks a file asks for it, by its hash, from a byte on (`Fetch`); any member that has it
//! answers. What has arrived of a file stays in a *part* until it is whole, through lost connections,
//! other sources and restarts; whole, it is synced, read back and hashed, and only taken over if the
//! hash is the one that was asked for. So it does not matter who sent what.
//!
//! - A **snapshot**: the leader tells a member that lacks purged entries of its newest manifest
//!   (`offer.rs`); the member fetches it, then the segments it lacks, and hands it to consensus
//!   (`install.rs`).
//! - A **repair**: one damaged segment is fetched from whoever has it ([`Transfer::fetch_segment`]). If
//!   the others have replaced it meanwhile, this member takes over what they have instead (`newest.rs`).
//!
//! A node fetches one file at a time and answers [`ANSWERS_MAX`] at a time, each holding one piece in
//! memory. Replication goes on beside it: its entries travel on the connection that the leader dialled,
//! files on the one that the follower dialled, where other streams go first.

mod fetch;
mod install;
mod newest;
mod offer;
mod part;
mod serve;
mod throttle;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use segment_log::{Disk, DiskFile};
use tokio::sync::{Mutex, Semaphore};
use tracing::warn;

use super::{
    message::FileName,
    network::{AskError, Client, Network},
    space::Space,
};
use crate::segments::manifest::{Manifest, SegmentEntry, SegmentHash};

pub(super) use fetch::Received;
pub use offer::Offers;
pub(super) use offer::offer;

/// Bytes of a file that travel in one frame.
const PIECE_BYTES: usize = 256 << 10;
/// How long to wait for a connection: to one that is lost, or just being dialled.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// How long the next piece may take before another source is asked.
const PIECE_PATIENCE: Duration = Duration::from_secs(10);
/// How many requests for files are answered at a time. More wait.
const ANSWERS_MAX: usize = 4;

/// The sealed segments of a shard on this node's disk, as far as moving them is concerned.
///
/// All of it may use the disk, so it is called off the runtime's threads.
pub trait SegmentStore: fmt::Debug + Send + Sync + 'static {
    /// Those of `entries` that are not here, in their order. A segment that is known to be damaged is
    /// not here.
    fn missing(&self, entries: &[SegmentEntry]) -> Vec<SegmentEntry>;

    /// Opens a segment for reading, whichever manifest lists it.
    ///
    /// # Errors
    /// `NotFound` if it is not here, or not any more.
    fn open(&self, hash: &SegmentHash) -> io::Result<Arc<dyn DiskFile>>;

    /// Where the bytes of the file with this hash gather until it is whole. Its folder need not exist.
    /// Such files may be removed whenever no fetch is under way, but see [`keep`](Self::keep).
    fn incoming(&self, hash: &SegmentHash) -> PathBuf;

    /// Takes over the file at `whole`, synced, whose bytes have the entry's hash and length: renames it
    /// to its place, durably. If the segment is here already, that is fine.
    ///
    /// # Errors
    /// `InvalidData` if what the hash is not of is wrong: the file is removed. Otherwise the disk's; the
    /// file is where it was or in its place.
    fn adopt(&self, whole: &Path, entry: &SegmentEntry) -> io::Result<()>;

    /// These segments, and what has arrived of them, are not to be removed until the next call, though
    /// no manifest of this node lists them: they are being fetched for one that does.
    fn keep(&self, entries: &[SegmentEntry]);

    /// The newest durable manifest.
    fn manifest(&self) -> Option<Arc<Manifest>>;
}

/// What moving files needs on this node. Clones share it.
#[derive(Debug, Clone)]
pub struct Transfer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    shard: u32,
    disk: Arc<dyn Disk>,
    segments: Arc<dyn SegmentStore>,
    network: Network,
    space: Space,
    /// Held by whoever fetches a file.
    fetching: Mutex<()>,
    throttle: throttle::Throttle,
    answering: Semaphore,
    installs: install::Installs,
}

/// Why a file was not fetched. What has arrived of it is kept, unless it was wrong.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody who could be asked has it.
    #[error("no member that can be reached has {hash}")]
    NotHere {
        /// The file.
        hash: SegmentHash,
    },
    /// The source could not be asked, or stopped answering.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The source broke the rules of the conversation.
    #[error("a piece of {hash} is not what was asked for: {reason}")]
    Piece {
        /// The file.
        hash: SegmentHash,
        /// How.
        reason: &'static str,
    },
    /// What arrived is not the file. It was thrown away.
    #[error("the bytes that arrived as {hash} are others")]
    Wrong {
        /// The file.
        hash: SegmentHash,
    },
    /// This node's disk is full.
    #[error("the disk is full")]
    NoSpace,
    /// This node's disk failed.
    #[error("{hash} could not be written")]
    Disk {
        /// The file.
        hash: SegmentHash,
        /// What the disk says.
        #[source]
        source: io::Error,
    },
}

impl Transfer {
    /// Moves segments of `shard`, which are in `segments`, over `network`, fetching at most `rate` bytes a
    /// second; 0 for as fast as they come.
    pub fn new(
        shard: u32,
        disk: Arc<dyn Disk>,
        segments: Arc<dyn SegmentStore>,
        network: Network,
        space: Space,
        rate: u64,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                shard,
                disk,
                segments,
                network,
                space,
                fetching: Mutex::new(()),
                throttle: throttle::Throttle::new(rate),
                answering: Semaphore::new(ANSWERS_MAX),
                installs: install::Installs::default(),
            }),
        }
    }

    /// Fetches a segment that is not here from the first of `sources` that has it, and takes it over.
    ///
    /// # Cancel safety
    /// Safe: what has arrived is kept.
    ///
    /// # Errors
    /// See [`FetchError`]; the last source's, if each had its own.
    pub(super) async fn fetch_segment(
        &self,
        sources: &[Client],
        entry: &SegmentEntry,
        received: &Received,
    ) -> Result<(), FetchError> {
        let shared = &self.shared;
        let _alone = shared.fetching.lock().await;
        if self.missing(std::slice::from_ref(entry)).await.is_empty() {
            return Ok(());
        }
        let wanted = fetch::Wanted {
            file: FileName::Segment(entry.hash),
            bytes: entry.bytes,
        };
        let mut failure = FetchError::NotHere { hash: entry.hash };
        for source in sources {
            let fetched = match shared.fetch(source, &wanted, received).await {
                Ok(whole) => self.adopt(whole, entry).await,
                Err(error) => Err(error),
            };
            match fetched {
                Ok(()) => return Ok(()),
                Err(error) if !error.is_the_sources() => return Err(error),
                Err(error) => {
                    let (peer, file) = (source.target(), entry.hash);
                    warn!(peer, %file, %error, "a segment was not fetched");
                    failure = error;
                }
            }
        }
        Err(failure)
    }

    async fn adopt(&self, whole: PathBuf, entry: &SegmentEntry) -> Result<(), FetchError> {
        let (segments, entry) = (Arc::clone(&self.shared.segments), entry.clone());
        let hash = entry.hash;
        let adopted = blocking(move || segments.adopt(&whole, &entry)).await;
        adopted.map_err(|source| match source.kind() {
            io::ErrorKind::InvalidData => FetchError::Wrong { hash },
            _ => FetchError::Disk { hash, source },
        })
    }

    async fn missing(&self, entries: &[SegmentEntry]) -> Vec<SegmentEntry> {
        let (segments, entries) = (Arc::clone(&self.shared.segments), entries.to_vec());
        blocking(move || Ok(segments.missing(&entries)))
            .await
            .unwrap_or_default()
    }
}

/// Runs what uses the disk on a thread that may wait for it. It runs to its end, whoever stops waiting.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

impl FetchError {
    /// Whether another source may do better.
    fn is_the_sources(&self) -> bool {
        !matches!(self, Self::NoSpace | Self::Disk { .. })
    }
}
