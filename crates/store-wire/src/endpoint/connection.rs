//! A connection whose peer is known and allowed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{CloseCode, ConnectionLost, Protocol};
use crate::frame::{FrameReceiver, FrameSender};
use crate::identity::PeerIdentity;

/// A connection to a peer that has been admitted, for one protocol. Clones are the same connection;
/// when the last one and its streams are dropped, it is closed.
#[derive(Debug, Clone)]
pub struct Connection {
    inner: quinn::Connection,
    peer: Arc<PeerIdentity>,
    protocol: Protocol,
}

impl Connection {
    pub(super) fn new(inner: quinn::Connection, peer: PeerIdentity, protocol: Protocol) -> Self {
        Self {
            inner,
            peer: Arc::new(peer),
            protocol,
        }
    }

    /// Who the peer is.
    pub fn peer(&self) -> &PeerIdentity {
        &self.peer
    }

    /// What is spoken.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where the peer is.
    pub fn remote_address(&self) -> SocketAddr {
        let address = self.inner.remote_address();
        SocketAddr::new(address.ip().to_canonical(), address.port())
    }

    /// The transport's estimate of the round trip.
    pub fn round_trip(&self) -> Duration {
        self.inner.rtt()
    }

    /// Opens a stream; waits while the peer allows no more. The peer sees it once something is sent.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// [`ConnectionLost`].
    pub async fn open(&self) -> Result<(FrameSender, FrameReceiver), ConnectionLost> {
        let (send, receive) = self.inner.open_bi().await?;
        Ok((FrameSender::new(send), FrameReceiver::new(receive)))
    }

    /// The next stream the peer opens.
    ///
    /// # Cancel safety
    /// Safe: a stream that is not handed out stays for the next call.
    ///
    /// # Errors
    /// [`ConnectionLost`].
    pub async fn accept(&self) -> Result<(FrameSender, FrameReceiver), ConnectionLost> {
        let (send, receive) = self.inner.accept_bi().await?;
        Ok((FrameSender::new(send), FrameReceiver::new(receive)))
    }

    /// Closes the connection at once. What is on its way is thrown away; the peer is told `code` and
    /// `reason`.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.inner.close(code.to_wire().into(), reason.as_bytes());
    }

    /// Waits until the connection is gone and says why.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn closed(&self) -> ConnectionLost {
        self.inner.closed().await.into()
    }

    /// Packets that have come from the peer so far.
    pub fn packets_received(&self) -> u64 {
        self.inner.stats().udp_rx.datagrams
    }

    /// Whether it is gone.
    pub fn is_closed(&self) -> bool {
        self.inner.close_reason().is_some()
    }
}
