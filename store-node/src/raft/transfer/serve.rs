//! Answers those who fetch files.

use std::{io, sync::Arc};

use bytes::Bytes;
use segment_log::DiskFile;
use store_wire::frame::{FrameSender, SendError};
use tokio::time::timeout;
use tracing::warn;

use super::{PIECE_BYTES, PIECE_PATIENCE, Transfer, blocking};
use crate::raft::message::{FileName, FromPeer};

/// Where a file's bytes come from.
pub(super) enum Source {
    Memory(Bytes),
    Disk(Arc<dyn DiskFile>),
}

impl Source {
    /// The bytes from `offset` on, [`PIECE_BYTES`] at most; none at the end.
    async fn piece(&self, offset: u64) -> io::Result<Bytes> {
        match self {
            Self::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let from = from.min(bytes.len());
                let to = from.saturating_add(PIECE_BYTES).min(bytes.len());
                Ok(bytes.slice(from..to))
            }
            Self::Disk(file) => {
                let file = Arc::clone(file);
                blocking(move || {
                    let left = file.len()?.saturating_sub(offset);
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
                    let mut piece = vec![0; len];
                    file.read_exact_at(&mut piece, offset)?;
                    Ok(piece.into())
                })
                .await
            }
        }
    }
}

impl Transfer {
    /// Sends a file from `offset` to its end. What cannot be read ends the stream before that, which
    /// whoever fetches takes for a source that failed.
    pub(in crate::raft) async fn serve(
        &self,
        file: FileName,
        offset: u64,
        sender: &mut FrameSender,
    ) -> Result<(), SendError> {
        sender.yield_to_others();
        // Never closed.
        let _permit = self.shared.answering.acquire().await;
        let source = match self.source(file).await {
            Ok(source) => source,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    warn!(file = %file.hash(), %error, "a segment that was asked for cannot be read");
                }
                sender.send(&FromPeer::NotHere, &[]).await?;
                return sender.finish().await;
            }
        };
        match send_from(&source, offset, sender).await? {
            Ok(()) => sender.finish().await,
            Err(error) => {
                warn!(file = %file.hash(), %error, "a segment that was asked for was not sent");
                sender.reset(0);
                Ok(())
            }
        }
    }

    async fn source(&self, file: FileName) -> io::Result<Source> {
        match file {
            FileName::Manifest(hash) => {
                let offered = self.shared.network.offers.manifest(hash);
                offered
                    .map(Source::Memory)
                    .ok_or_else(|| io::ErrorKind::NotFound.into())
            }
            FileName::Segment(hash) => {
                let segments = Arc::clone(&self.shared.segments);
                let opened = blocking(move || segments.open(&hash)).await;
                opened.map(Source::Disk)
            }
        }
    }
}

/// Sends everything from `offset` on.
pub(super) async fn send_from(
    source: &Source,
    mut offset: u64,
    sender: &mut FrameSender,
) -> Result<io::Result<()>, SendError> {
    loop {
        let piece = match source.piece(offset).await {
            Ok(piece) if piece.is_empty() => return Ok(Ok(())),
            Ok(piece) => piece,
            Err(error) => return Ok(Err(error)),
        };
        let len = piece.len() as u64;
        let (head, body) = (FromPeer::Piece { offset }, [piece]);
        match timeout(PIECE_PATIENCE, sender.send(&head, &body)).await {
            Ok(sent) => sent?,
            Err(_) => return Ok(Err(io::ErrorKind::TimedOut.into())),
        }
        metrics::counter!("tidemark_transfer_sent_bytes_total").increment(len);
        offset += len;
    }
}
