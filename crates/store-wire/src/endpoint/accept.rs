//! The dialled side: handshakes, and who is let in.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use quinn::crypto::rustls::HandshakeData;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::transport::{
    CONNECTION_WINDOW_BYTES, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, HANDSHAKES_TRUSTED_MAX,
};
use super::{CloseCode, Connection, ConnectionLost, Endpoint, Protocol};
use crate::frame::FrameSender;
use crate::identity::{Identity, PeerIdentity};

/// What the dialled side says first, on a stream of its own: you are let in. A dialling side that
/// has not read it yet does not know whether its certificate was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Greeting {
    /// The node's name, for logs; who it is says its certificate.
    pub(super) name: String,
}

/// Handshakes under way. They advance while someone waits in [`Endpoint::accept`].
#[derive(Default)]
pub(super) struct Handshakes(FuturesUnordered<BoxFuture<'static, Option<Connection>>>);

/// Why a peer whose certificate was believed is not let in: told to the peer, word for word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: CloseCode,
    pub(super) reason: String,
}

impl Endpoint {
    /// The next connection that has been admitted; `None` once the endpoint is closed. Only nodes
    /// are dialled: with any other identity there is never one.
    ///
    /// Handshakes run side by side: one that is slow, or never ends, holds up no other. They advance
    /// only while this is awaited, so await it in a loop that does nothing long in between. Where
    /// several tasks await it, each connection goes to one of them.
    ///
    /// # Cancel safety
    /// Safe: handshakes under way stay with the endpoint.
    pub async fn accept(&self) -> Option<Connection> {
        // Held while waiting, so that handshakes survive the waiter; other waiters only queue up.
        let mut handshakes = self.handshakes.lock().await;
        loop {
            tokio::select! {
                incoming = self.inner.accept() => match incoming {
                    Some(incoming) => self.begin(incoming, &handshakes.0),
                    None => return None,
                },
                Some(outcome) = handshakes.0.next(), if !handshakes.0.is_empty() => {
                    if outcome.is_some() {
                        return outcome;
                    }
                }
            }
        }
    }

    fn begin(
        &self,
        incoming: quinn::Incoming,
        handshakes: &FuturesUnordered<BoxFuture<'static, Option<Connection>>>,
    ) {
        let address = incoming.remote_address();
        if handshakes.len() >= HANDSHAKES_MAX {
            debug!(%address, "connection refused: too many handshakes");
            incoming.refuse();
        } else if handshakes.len() >= HANDSHAKES_TRUSTED_MAX && incoming.may_retry() {
            // Cannot fail: `may_retry` was just asked.
            let _ = incoming.retry();
        } else {
            let identity = Arc::clone(&self.identity);
            handshakes.push(Box::pin(async move {
                match timeout(HANDSHAKE_TIMEOUT, admit(incoming, &identity)).await {
                    Ok(Ok(connection)) => Some(connection),
                    Ok(Err(lost)) => {
                        debug!(%address, error = %lost, "handshake failed");
                        None
                    }
                    Err(_) => {
                        debug!(%address, "handshake timed out");
                        None
                    }
                }
            }));
        }
    }
}

impl std::fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Handshakes").field(&self.0.len()).finish()
    }
}

/// Completes a handshake, looks at who is there, and greets or refuses.
async fn admit(
    incoming: quinn::Incoming,
    identity: &Identity,
) -> Result<Connection, ConnectionLost> {
    let inner = incoming.await?;
    let (peer, protocol) = match examine(&inner, identity) {
        Ok(admitted) => admitted,
        Err(Refusal { code, reason }) => {
            let address = inner.remote_address();
            warn!(%address, %code, reason, "peer refused");
            inner.close(code.to_wire().into(), reason.as_bytes());
            return Err(inner.closed().await.into());
        }
    };
    if protocol == Protocol::Raft {
        inner.set_receive_window(CONNECTION_WINDOW_BYTES.into());
    }
    let mut sender = FrameSender::new(inner.open_uni().await?);
    let name = identity.own().name.clone();
    // If the greeting cannot be sent, the connection is gone, and whoever uses it finds out.
    if sender.queue(&Greeting { name }, &[]).is_ok() {
        let _ = sender.finish().await;
    }
    Ok(Connection::new(inner, peer, protocol))
}

fn examine(
    inner: &quinn::Connection,
    identity: &Identity,
) -> Result<(PeerIdentity, Protocol), Refusal> {
    let peer = peer_of(inner)?;
    let protocol = protocol_of(inner).ok_or_else(|| Refusal {
        code: CloseCode::Protocol,
        reason: "no protocol was negotiated".to_owned(),
    })?;
    check_cluster(&peer, &identity.own().cluster)?;
    check_role(&peer, protocol)?;
    Ok((peer, protocol))
}

/// Who the certificate shown in the handshake names.
pub(super) fn peer_of(inner: &quinn::Connection) -> Result<PeerIdentity, Refusal> {
    let refused = |reason: String| Refusal {
        code: CloseCode::Unauthenticated,
        reason,
    };
    let chain = inner
        .peer_identity()
        .and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    let Some(certificate) = chain.as_ref().and_then(|chain| chain.first()) else {
        return Err(refused(
            "no certificate was shown: use an identity issued with `store-node ca issue`"
                .to_owned(),
        ));
    };
    PeerIdentity::from_certificate(certificate)
        .map_err(|error| refused(format!("the certificate is not an identity: {error}")))
}

fn protocol_of(inner: &quinn::Connection) -> Option<Protocol> {
    let data = inner.handshake_data()?.downcast::<HandshakeData>().ok()?;
    Protocol::from_alpn(data.protocol.as_deref()?)
}

pub(super) fn check_cluster(peer: &PeerIdentity, cluster: &str) -> Result<(), Refusal> {
    if peer.cluster == cluster {
        return Ok(());
    }
    Err(Refusal {
        code: CloseCode::Unauthenticated,
        reason: format!(
            "{peer} belongs to another cluster than {cluster}: use an identity issued for {cluster}"
        ),
    })
}

fn check_role(peer: &PeerIdentity, protocol: Protocol) -> Result<(), Refusal> {
    if protocol.is_open_to(peer.role) {
        return Ok(());
    }
    Err(Refusal {
        code: CloseCode::Forbidden,
        reason: format!(
            "{peer} has the role {} and may not speak {protocol}: use an identity of another role",
            peer.role
        ),
    })
}
