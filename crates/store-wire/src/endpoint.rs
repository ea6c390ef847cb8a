//! Connections between programs of one cluster: one UDP port, three protocols.
//!
//! An [`Endpoint`] dials and is dialled. Before a [`Connection`] is handed out, on either side, the
//! peer's certificate has been verified, belongs to the same cluster, and its role may speak the
//! protocol that was negotiated; the dialled side is a node. Who is refused is told why, in a text
//! that says what to do, and the dialling side finds that text in its [`ConnectError`].
//!
//! The socket and the runtime are injected ([`Endpoint::new`]), so that a simulation can replace
//! them; [`Endpoint::bind`] uses the real ones. Numbers that shape the transport are in `transport`,
//! each with its reason.

mod accept;
mod connect;
mod connection;
mod lost;
mod protocol;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{AsyncUdpSocket, Runtime};

pub use connect::ConnectError;
pub use connection::Connection;
pub use lost::{CloseCode, ConnectionLost};
pub use protocol::Protocol;

use crate::clock::{Clock, SystemClock};
use crate::identity::{Identity, IdentityError, Role};
use crate::tls::{self, TlsError};

/// What can be chosen about an endpoint.
#[derive(Clone)]
pub struct EndpointOptions {
    /// How long dialling may take, handshake and all.
    pub connect_timeout: Duration,
    /// The clock that certificates' dates are held against.
    pub clock: Arc<dyn Clock>,
}

impl Default for EndpointOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            clock: Arc::new(SystemClock),
        }
    }
}

impl std::fmt::Debug for EndpointOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointOptions")
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

/// Why an endpoint cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address cannot be used.
    #[error("UDP address {address} cannot be bound: is another program using it?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The socket does not work.
    #[error("the socket cannot be used")]
    Socket {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Our own certificate is not valid today.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Our own certificate or key does not suit TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Dials peers and takes connections on one UDP socket. Clones are the same endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    inner: quinn::Endpoint,
    identity: Arc<Identity>,
    /// How to dial, by [`Protocol`].
    dial: [quinn::ClientConfig; Protocol::ALL.len()],
    connect_timeout: Duration,
    handshakes: Arc<tokio::sync::Mutex<accept::Handshakes>>,
}

impl Endpoint {
    /// An endpoint on a socket and a runtime of the caller's.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub fn new(
        socket: Arc<dyn AsyncUdpSocket>,
        runtime: Arc<dyn Runtime>,
        identity: Arc<Identity>,
        options: &EndpointOptions,
    ) -> Result<Self, EndpointError> {
        identity.check_dates(options.clock.now())?;
        let server = match identity.own().role {
            Role::Node => {
                let tls = tls::server_config(&identity, Arc::clone(&options.clock))?;
                Some(transport::server_config(tls))
            }
            Role::Device | Role::Reader | Role::Operator => None,
        };
        let [ingest, query, raft] = Protocol::ALL.map(|protocol| {
            let tls = tls::client_config(&identity, protocol, Arc::clone(&options.clock))?;
            Ok::<_, TlsError>(transport::client_config(tls))
        });
        let inner = quinn::Endpoint::new_with_abstract_socket(
            transport::endpoint_config(&identity),
            server,
            socket,
            runtime,
        )
        .map_err(|source| EndpointError::Socket { source })?;
        Ok(Self {
            inner,
            identity,
            dial: [ingest?, query?, raft?],
            connect_timeout: options.connect_timeout,
            handshakes: Arc::default(),
        })
    }

    /// An endpoint on a real UDP socket, in the current tokio runtime. Port 0 takes any.
    ///
    /// # Errors
    /// See [`EndpointError`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(
        address: SocketAddr,
        identity: Arc<Identity>,
        options: &EndpointOptions,
    ) -> Result<Self, EndpointError> {
        let socket = transport::bind_socket(address)
            .map_err(|source| EndpointError::Bind { address, source })?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let socket = runtime
            .wrap_udp_socket(socket)
            .map_err(|source| EndpointError::Socket { source })?;
        Self::new(socket, runtime, identity, options)
    }

    /// An endpoint for a program that only dials: any port, IPv6 and IPv4 where this machine has both.
    ///
    /// # Errors
    /// See [`EndpointError`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn for_dialling(
        identity: Arc<Identity>,
        options: &EndpointOptions,
    ) -> Result<Self, EndpointError> {
        let any_v6 = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0));
        let any_v4 = SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, 0));
        match Self::bind(any_v6, Arc::clone(&identity), options) {
            Err(EndpointError::Bind { .. }) => Self::bind(any_v4, identity, options),
            outcome => outcome,
        }
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// [`EndpointError::Socket`].
    pub fn local_address(&self) -> Result<SocketAddr, EndpointError> {
        self.inner
            .local_addr()
            .map_err(|source| EndpointError::Socket { source })
    }

    /// Our own identity.
    pub const fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Closes every connection and takes no more.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.inner.close(code.to_wire().into(), reason.as_bytes());
    }

    /// Waits until peers have been told that their connections are closed; bounded by the transport.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn closed(&self) {
        self.inner.wait_idle().await;
    }
}
