//! Takes over what jobs came to on another member, when they cannot be done here.
//!
//! Unlike a snapshot it changes nothing of what was applied, so consensus has no part in it: the other
//! member sends its newest manifest, the segments that are missing are fetched, and the archive takes
//! the jobs for done.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use store_wire::frame::{FrameSender, SendError};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::{
    FetchError, PIECE_PATIENCE, Transfer, blocking,
    fetch::Received,
    install::MANIFEST_BYTES_MAX,
    serve::{Source, send_from},
};
use crate::{
    archive::{Archive, Print},
    raft::{
        message::{FromPeer, ToPeer},
        network::{AskError, Client},
        position,
        replica::Replica,
    },
    segments::manifest::Manifest,
};

/// How long to wait until this node has applied what the other had.
const APPLY_PATIENCE: Duration = Duration::from_secs(5);

/// Why a member's manifest was not taken over.
#[derive(Debug, thiserror::Error)]
enum NewestError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("what it sent is not a manifest: {0}")]
    Malformed(String),
    #[error("this node has not applied as much")]
    Behind,
    #[error("it could not be put in place")]
    Archive(#[source] io::Error),
}

impl Transfer {
    /// Sends the newest manifest.
    pub(in crate::raft) async fn serve_newest(
        &self,
        sender: &mut FrameSender,
    ) -> Result<(), SendError> {
        sender.yield_to_others();
        // Never closed.
        let _permit = self.shared.answering.acquire().await;
        let segments = Arc::clone(&self.shared.segments);
        let encode = move || {
            let manifest = segments.manifest().ok_or(io::ErrorKind::NotFound)?;
            Ok(Bytes::from(manifest.encode()))
        };
        let Ok(manifest) = blocking(encode).await else {
            sender.send(&FromPeer::NotHere, &[]).await?;
            return sender.finish().await;
        };
        let bytes = manifest.len() as u64;
        sender.send(&FromPeer::Newest { bytes }, &[]).await?;
        match send_from(&Source::Memory(manifest), 0, sender).await? {
            Ok(()) => sender.finish().await,
            Err(_) => {
                sender.reset(0);
                Ok(())
            }
        }
    }

    /// Takes over what the jobs that wait in `archive` came to on the first member that has done them
    /// and has all segments. Says whether there was one.
    ///
    /// # Cancel safety
    /// Safe: what has arrived is kept, and the jobs are taken over or not.
    pub(in crate::raft) async fn take_over_jobs(
        &self,
        replica: &Replica,
        archive: &Arc<Archive>,
    ) -> bool {
        let sources = self.sources(&replica.shared.group);
        for source in &sources {
            match self
                .take_over_from(source, &sources, replica, archive)
                .await
            {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => {
                    debug!(peer = source.target(), %error, "jobs were not taken over");
                }
            }
        }
        false
    }

    async fn take_over_from(
        &self,
        source: &Client,
        sources: &[Client],
        replica: &Replica,
        archive: &Arc<Archive>,
    ) -> Result<bool, NewestError> {
        let Some(manifest) = self.newest(source).await? else {
            return Ok(false);
        };
        if !archive.is_behind(&manifest) {
            return Ok(false);
        }
        let token = sensor_model::Token {
            shard: self.shared.shard,
            index: manifest.jobs_through.max(manifest.position.index),
        };
        let applied = replica.wait_applied(token, Instant::now() + APPLY_PATIENCE);
        applied.await.map_err(|_| NewestError::Behind)?;
        // A snapshot that is being installed comes first: it keeps its own segments.
        let _alone = self.shared.installs.alone.lock().await;
        self.keep(manifest.segments.clone()).await;
        let received = Received::default();
        for entry in &self.missing(&manifest.segments).await {
            self.fetch_segment(sources, entry, &received).await?;
        }
        let (archive, payloads) = (Arc::clone(archive), replica.shared.store.clone());
        let taken_over = blocking(move || {
            archive
                .take_over(&manifest, &payloads)
                .map_err(io::Error::other)
        });
        let taken_over = taken_over.await;
        self.keep(Vec::new()).await;
        taken_over.map_err(NewestError::Archive)
    }

    /// Takes the segments of `peer`, which differ from those in `archive` although all else is the same.
    /// Says whether it did.
    ///
    /// # Cancel safety
    /// Safe: what has arrived is kept, and the segments are taken or not.
    pub(in crate::raft) async fn adopt_segments(
        &self,
        peer: &Client,
        print: &Print,
        archive: &Arc<Archive>,
    ) -> bool {
        let adopted = async {
            let Some(manifest) = self.newest(peer).await? else {
                return Ok(false);
            };
            let is_meant = manifest.id() == print.id()
                && Manifest::hash_in(&manifest.encode()) == print.hash
                && archive.differs_in_segments(&manifest);
            if !is_meant {
                return Ok(false);
            }
            let _alone = self.shared.installs.alone.lock().await;
            self.keep(manifest.segments.clone()).await;
            let received = Received::default();
            for entry in &self.missing(&manifest.segments).await {
                let fetched = self.fetch_segment(std::slice::from_ref(peer), entry, &received);
                fetched.await?;
            }
            let archive = Arc::clone(archive);
            let adopt = move || archive.adopt_segments(&manifest).map_err(io::Error::other);
            let adopted = blocking(adopt).await;
            self.keep(Vec::new()).await;
            adopted.map_err(NewestError::Archive)
        };
        match adopted.await {
            Ok(adopted) => adopted,
            Err(error) => {
                debug!(peer = peer.target(), %error, "segments were not taken over");
                false
            }
        }
    }

    /// A member's newest manifest; `None` if it has none.
    async fn newest(&self, source: &Client) -> Result<Option<Manifest>, NewestError> {
        let malformed = |reason: &str| NewestError::Malformed(reason.to_owned());
        let mut answers = source.begin(&ToPeer::Newest, PIECE_PATIENCE).await?;
        let bytes = match self.next(source, &mut answers).await? {
            (FromPeer::Newest { bytes }, _) if bytes <= MANIFEST_BYTES_MAX => bytes,
            (FromPeer::Newest { .. }, _) => return Err(malformed("it is too long")),
            (FromPeer::NotHere, _) => return Ok(None),
            _ => return Err(AskError::Unfit.into()),
        };
        let mut manifest = Vec::new();
        while (manifest.len() as u64) < bytes {
            let (answer, piece) = self.next(source, &mut answers).await?;
            let offset = manifest.len() as u64;
            if answer != (FromPeer::Piece { offset }) || piece.is_empty() {
                return Err(AskError::Unfit.into());
            }
            manifest.extend_from_slice(&piece);
        }
        let shard = self.shared.shard;
        let decode = move || {
            let manifest = Manifest::decode(&manifest).map_err(io::Error::other)?;
            position::meta(shard, &manifest).map_err(io::Error::other)?;
            Ok(manifest)
        };
        let decoded = blocking(decode).await;
        decoded
            .map(Some)
            .map_err(|error| malformed(&error.to_string()))
    }

    async fn next(
        &self,
        source: &Client,
        answers: &mut store_wire::frame::FrameReceiver,
    ) -> Result<(FromPeer, Bytes), AskError> {
        let answer = timeout(PIECE_PATIENCE, source.answer_with_body(answers)).await;
        answer.map_err(|_| AskError::Late(PIECE_PATIENCE))?
    }
}
