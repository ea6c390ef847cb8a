//! Fetches one file from one source, going on where it stopped, whoever the source was then.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tracing::info;

use super::{CONNECT_PATIENCE, FetchError, PIECE_PATIENCE, Shared, blocking, part::Part};
use crate::raft::{
    message::{FileName, FromPeer, ToPeer},
    network::{AskError, Client},
    space::Room,
};

/// A file to fetch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) file: FileName,
    pub(super) bytes: u64,
}

/// Bytes that have arrived, of all files fetched for one purpose.
#[derive(Debug, Default)]
pub(in crate::raft) struct Received(AtomicU64);

impl Received {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Fetches a file. It is whole, synced and the right one when this returns; the caller takes it over
    /// from where it is.
    pub(super) async fn fetch(
        &self,
        source: &Client,
        wanted: &Wanted,
        received: &Received,
    ) -> Result<PathBuf, FetchError> {
        let hash = wanted.file.hash();
        let failed = |source| FetchError::Disk { hash, source };
        let started = Instant::now();
        let (disk, path) = (Arc::clone(&self.disk), self.segments.incoming(&hash));
        let bytes = wanted.bytes;
        let part = blocking(move || Part::open(disk, path, bytes))
            .await
            .map_err(failed)?;
        let offset = part.len().map_err(failed)?;
        if offset > 0 {
            metrics::counter!("tidemark_transfers_resumed_total").increment(1);
            info!(file = %hash, offset, bytes, "going on with a file");
        }
        self.receive(source, wanted, &part, offset, received)
            .await?;
        let whole = part.clone();
        let unhashed = wanted.file.unhashed_bytes();
        if !blocking(move || whole.is_whole(hash, unhashed))
            .await
            .map_err(failed)?
        {
            metrics::counter!("tidemark_transfers_wrong_total").increment(1);
            return Err(FetchError::Wrong { hash });
        }
        metrics::counter!("tidemark_transfers_total").increment(1);
        metrics::histogram!("tidemark_transfer_seconds").record(started.elapsed().as_secs_f64());
        Ok(part.path().to_owned())
    }

    /// Receives what is missing from `offset` on.
    async fn receive(
        &self,
        source: &Client,
        wanted: &Wanted,
        part: &Part,
        mut offset: u64,
        received: &Received,
    ) -> Result<(), FetchError> {
        if offset == wanted.bytes {
            return Ok(());
        }
        let hash = wanted.file.hash();
        let question = ToPeer::Fetch {
            file: wanted.file,
            offset,
        };
        let mut answers = source.begin(&question, CONNECT_PATIENCE).await?;
        while offset < wanted.bytes {
            let answer = timeout(PIECE_PATIENCE, source.answer_with_body(&mut answers)).await;
            let (answer, piece) = answer.map_err(|_| AskError::Late(PIECE_PATIENCE))??;
            let broken = |reason| FetchError::Piece { hash, reason };
            match answer {
                FromPeer::Piece { offset: at } if at == offset => {}
                FromPeer::Piece { .. } => return Err(broken("it does not follow the one before")),
                FromPeer::NotHere => return Err(FetchError::NotHere { hash }),
                _ => return Err(AskError::Unfit.into()),
            }
            if piece.is_empty() || piece.len() as u64 > wanted.bytes - offset {
                return Err(broken("it does not fit the file's length"));
            }
            let len = piece.len() as u64;
            self.write(part, offset, piece).await.map_err(|source| {
                if source.kind() == io::ErrorKind::StorageFull {
                    FetchError::NoSpace
                } else {
                    FetchError::Disk { hash, source }
                }
            })?;
            offset += len;
            received.0.fetch_add(len, Ordering::Relaxed);
            metrics::counter!("tidemark_transfer_received_bytes_total").increment(len);
            // The source is held back by the stream's window.
            self.throttle.take(len).await;
        }
        Ok(())
    }

    async fn write(&self, part: &Part, offset: u64, piece: Bytes) -> io::Result<()> {
        // The log needs what is left of the disk more.
        if self.space.room() >= Room::Scarce {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.space.note_written(piece.len() as u64);
        let part = part.clone();
        blocking(move || part.write(offset, &piece)).await
    }
}
