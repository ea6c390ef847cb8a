//! The dialling side: who answered, and what went wrong if nobody did.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use quinn::{ConnectionError, TransportErrorCode};
use rustls::AlertDescription;
use tokio::time::timeout;

use super::accept::{Greeting, Refusal, check_cluster, peer_of};
use super::{CloseCode, Connection, ConnectionLost, Endpoint, Protocol};
use crate::frame::{FrameReceiver, ReceiveError};
use crate::identity::{Host, Identity, PeerIdentity, Role};

/// Why there is no connection. Nothing was asked of the peer.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The target is not `HOST[:PORT]`.
    #[error("{target:?} is not a target: write HOST or HOST:PORT, such as store-1.example:7400")]
    BadTarget {
        /// The refused text.
        target: String,
    },
    /// The host has no address.
    #[error("{target} has no address: check the name")]
    NotResolved {
        /// What was dialled.
        target: String,
        /// What the resolver says.
        #[source]
        source: Option<std::io::Error>,
    },
    /// Nothing answered in time.
    #[error(
        "{target} did not answer within {after:?}: check the address, that a node runs there, and that UDP gets through"
    )]
    Unreachable {
        /// What was dialled.
        target: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The peer does not accept our certificate.
    #[error("{target} does not accept {}: {reason}", certificate.display())]
    Unauthenticated {
        /// What was dialled.
        target: String,
        /// The file of our certificate.
        certificate: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The peer's certificate is not accepted by us.
    #[error("{target} is not to be trusted: {reason}")]
    Untrusted {
        /// What was dialled.
        target: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The peer does not speak this version of the protocol.
    #[error("{target} does not speak {protocol}: one of the two programs is too old")]
    VersionMismatch {
        /// What was dialled.
        target: String,
        /// What we offered.
        protocol: Protocol,
    },
    /// The peer does not let us in, although it knows who we are.
    #[error("{target} refuses the connection ({code}): {reason}")]
    Refused {
        /// What was dialled.
        target: String,
        /// Why, for a program.
        code: CloseCode,
        /// Why, and what to do.
        reason: String,
    },
    /// The connection broke while it was being made.
    #[error("the connection to {target} broke while it was being made")]
    Lost {
        /// What was dialled.
        target: String,
        /// How.
        #[source]
        source: ConnectionLost,
    },
    /// The endpoint is closed or cannot reach such an address.
    #[error("{target} cannot be dialled from here: {reason}")]
    NotDialled {
        /// What was dialled.
        target: String,
        /// Why.
        reason: String,
    },
}

impl ConnectError {
    /// Whether dialling the same target again later may succeed without anyone changing anything.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::NotResolved { .. } | Self::Unreachable { .. } | Self::Lost { .. } => true,
            Self::Refused { code, .. } => {
                matches!(code, CloseCode::Overloaded | CloseCode::Draining)
            }
            Self::BadTarget { .. }
            | Self::Unauthenticated { .. }
            | Self::Untrusted { .. }
            | Self::VersionMismatch { .. }
            | Self::NotDialled { .. } => false,
        }
    }
}

impl Endpoint {
    /// Dials an address.
    ///
    /// # Cancel safety
    /// Safe: a connection half made is given up.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(
        &self,
        address: SocketAddr,
        protocol: Protocol,
    ) -> Result<Connection, ConnectError> {
        self.connect_to(address, &address.ip().to_string(), protocol)
            .await
    }

    /// Dials an address that `host` stands for. A node whose certificate names hosts must name this one.
    ///
    /// # Cancel safety
    /// Safe: a connection half made is given up.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect_to(
        &self,
        address: SocketAddr,
        host: &str,
        protocol: Protocol,
    ) -> Result<Connection, ConnectError> {
        let dial = Dial {
            identity: &self.identity,
            target: target_name(address, host),
            protocol,
        };
        let config = self.dial[protocol.index()].clone();
        let connecting = self
            .inner
            .connect_with(config, address, host)
            .map_err(|error| ConnectError::NotDialled {
                target: dial.target.clone(),
                reason: error.to_string(),
            })?;
        match timeout(self.connect_timeout, dial.complete(connecting, host)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ConnectError::Unreachable {
                target: dial.target,
                after: self.connect_timeout,
            }),
        }
    }
}

/// One attempt to connect, with what its errors have to name.
struct Dial<'a> {
    identity: &'a Identity,
    target: String,
    protocol: Protocol,
}

impl Dial<'_> {
    async fn complete(
        &self,
        connecting: quinn::Connecting,
        host: &str,
    ) -> Result<Connection, ConnectError> {
        let inner = connecting.await.map_err(|error| self.failed(error))?;
        let peer = match peer_of(&inner).and_then(|peer| self.examine(peer, host)) {
            Ok(peer) => peer,
            Err(Refusal { code, reason }) => {
                inner.close(code.to_wire().into(), reason.as_bytes());
                return Err(ConnectError::Untrusted {
                    target: self.target.clone(),
                    reason,
                });
            }
        };
        let greeting = inner
            .accept_uni()
            .await
            .map_err(|error| self.failed(error))?;
        let mut receiver = FrameReceiver::new(greeting);
        match receiver.receive::<Greeting>().await {
            Ok(Some(_)) => Ok(Connection::new(inner, peer, self.protocol)),
            Err(ReceiveError::Lost(lost)) => Err(self.lost(lost)),
            Ok(None) | Err(_) => Err(ConnectError::VersionMismatch {
                target: self.target.clone(),
                protocol: self.protocol,
            }),
        }
    }

    /// Whether this is a node of our cluster, and the one that was meant.
    fn examine(&self, peer: PeerIdentity, host: &str) -> Result<PeerIdentity, Refusal> {
        check_cluster(&peer, &self.identity.own().cluster)?;
        check_node(&peer)?;
        check_host(&peer, &Host::new(host))?;
        Ok(peer)
    }

    fn lost(&self, lost: ConnectionLost) -> ConnectError {
        let target = self.target.clone();
        match lost {
            ConnectionLost::Broken { source } => self.failed(source),
            ConnectionLost::Closed {
                code: CloseCode::Unauthenticated,
                reason,
            } => ConnectError::Unauthenticated {
                target,
                certificate: self.identity.certificate_file(),
                reason,
            },
            ConnectionLost::Closed { code, reason } => ConnectError::Refused {
                target,
                code,
                reason,
            },
            source => ConnectError::Lost { target, source },
        }
    }

    fn failed(&self, error: ConnectionError) -> ConnectError {
        let target = self.target.clone();
        match &error {
            // The peer ended the handshake.
            ConnectionError::ConnectionClosed(close) => {
                let reason = String::from_utf8_lossy(&close.reason);
                match alert_of(close.error_code) {
                    Some(AlertDescription::NoApplicationProtocol) => {
                        ConnectError::VersionMismatch {
                            target,
                            protocol: self.protocol,
                        }
                    }
                    Some(alert) => ConnectError::Unauthenticated {
                        target,
                        certificate: self.identity.certificate_file(),
                        reason: self.remedy(alert, &reason),
                    },
                    None => ConnectError::Lost {
                        target,
                        source: error.into(),
                    },
                }
            }
            // We ended it, by what `tls` found.
            ConnectionError::TransportError(failure) if alert_of(failure.code).is_some() => {
                ConnectError::Untrusted {
                    target,
                    reason: self.distrust(alert_of(failure.code), &failure.reason),
                }
            }
            ConnectionError::VersionMismatch => ConnectError::VersionMismatch {
                target,
                protocol: self.protocol,
            },
            ConnectionError::ApplicationClosed(_) => self.lost(error.into()),
            _ => ConnectError::Lost {
                target,
                source: error.into(),
            },
        }
    }

    /// What to do when the peer answers our certificate with an alert.
    fn remedy(&self, alert: AlertDescription, reason: &str) -> String {
        match alert {
            AlertDescription::UnknownCA | AlertDescription::DecryptError => format!(
                "it was issued by another authority than the node's; use an identity issued by the authority of cluster {} that the node belongs to ({reason})",
                self.identity.own().cluster
            ),
            AlertDescription::CertificateExpired => format!(
                "it is valid from {} to {}, which the node's clock is outside of; issue a new one with `store-node ca issue`, or set the clocks ({reason})",
                self.identity.own().not_before,
                self.identity.own().not_after
            ),
            _ => format!("use an identity issued with `store-node ca issue` ({reason})"),
        }
    }

    /// What to do when the peer's certificate is not to be believed.
    fn distrust(&self, alert: Option<AlertDescription>, reason: &str) -> String {
        match alert {
            Some(AlertDescription::UnknownCA | AlertDescription::DecryptError) => format!(
                "its certificate was not issued by the authority in {}; check the address, and that the identity is of the same cluster ({reason})",
                self.identity.authority_file().display()
            ),
            Some(AlertDescription::CertificateExpired) => format!(
                "its certificate is not valid at this time; issue a new one for the node with `store-node ca issue`, or set the clocks ({reason})"
            ),
            Some(AlertDescription::UnsupportedCertificate) => {
                format!("its certificate is not that of a node; check the address ({reason})")
            }
            _ => format!("its certificate cannot be accepted ({reason})"),
        }
    }
}

fn check_node(peer: &PeerIdentity) -> Result<(), Refusal> {
    if peer.role == Role::Node {
        return Ok(());
    }
    Err(Refusal {
        code: CloseCode::Unauthenticated,
        reason: format!("{peer} answers, which is not a node: check the address"),
    })
}

fn check_host(peer: &PeerIdentity, host: &Host) -> Result<(), Refusal> {
    if peer.hosts.is_empty() || peer.hosts.contains(host) {
        return Ok(());
    }
    let hosts: Vec<String> = peer.hosts.iter().map(Host::to_string).collect();
    Err(Refusal {
        code: CloseCode::Unauthenticated,
        reason: format!(
            "{peer} answers, whose certificate is for {} and not for {host}: dial it by one of those, or issue a certificate with `--host {host}`",
            hosts.join(", ")
        ),
    })
}

/// `host:port`, and the address where that is not the same.
fn target_name(address: SocketAddr, host: &str) -> String {
    match Host::new(host) {
        Host::Address(_) => address.to_string(),
        Host::Name(name) => format!("{name}:{} ({})", address.port(), address.ip()),
    }
}

/// The TLS alert inside a transport error, if it is one (RFC 9001, section 4.8).
fn alert_of(code: TransportErrorCode) -> Option<AlertDescription> {
    const CRYPTO_ERRORS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;
    let code = u64::from(code);
    if !CRYPTO_ERRORS.contains(&code) {
        return None;
    }
    u8::try_from(code - CRYPTO_ERRORS.start())
        .ok()
        .map(AlertDescription::from)
}
