//! The numbers that shape the transport, each with its reason.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AckFrequencyConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use socket2::{Domain, Protocol as Layer, Socket, Type};
use tracing::debug;

use crate::identity::{Identity, Role};

/// Handshakes under way at a time; more are refused. A handshake costs a signature and some KiB.
pub(super) const HANDSHAKES_MAX: usize = 1024;
/// From so many handshakes on, a newcomer must first show that it owns its address: answering costs
/// it a round trip, and those who forge addresses never get that far.
pub(super) const HANDSHAKES_TRUSTED_MAX: usize = HANDSHAKES_MAX / 4;
/// How long a handshake may take on the dialled side: a slot must come free again.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams a peer may have open at a time: a node uses a few per peer, a client one a question.
const STREAMS_MAX: u32 = 16;
/// The one stream from the dialled to the dialling side that carries the greeting.
const GREETINGS_MAX: u32 = 1;
/// Unread bytes of one stream: four whole batches, and 10 Gbit/s at 3 ms.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Unread bytes of one connection: several streams at full speed, bounded in memory.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// The same on the dialled side, for all but nodes: one stream at full speed and others beside it. A
/// node has many such connections.
const CLIENT_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES + 1024 * 1024;
/// Bytes sent and not yet acknowledged by the peer's transport.
const SEND_WINDOW_BYTES: u64 = 16 * 1024 * 1024;
/// After so long without a packet a peer is gone. Consensus notices sooner by its own heartbeats.
const IDLE_TIMEOUT_MS: u32 = 10_000;
/// Three chances within the idle timeout to be heard, on an otherwise silent connection.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Clusters are near: a lost first packet is sent again after 0.3 s rather than 1 s.
const ROUND_TRIP_GUESS: Duration = Duration::from_millis(100);
/// How long a peer may keep back what it has received, in place of 25 ms: a sender that begins slowly,
/// as each does, waits for that several times before the first thousand series are declared, and a
/// packet that is lost at the end of a burst is missed that much later. It costs a few small packets a
/// burst.
const ACKNOWLEDGEMENT_DELAY_MAX: Duration = Duration::from_millis(2);
/// The largest packet that is tried. Where the path carries it (loopback, Ethernet with jumbo frames)
/// it halves the processor time of a byte; elsewhere a few lost probes find that out. Ten of them,
/// which quinn sends with one system call, must stay below 64 KiB or the kernel refuses them all.
const PACKET_BYTES_MAX: u16 = 6000;
/// Bytes the kernel may hold for us: a burst of several batches must not be dropped while the
/// process waits for a processor. The kernel cuts this down to what it allows.
const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;

pub(super) fn endpoint_config(identity: &Identity) -> EndpointConfig {
    let mut config = match identity.own().role {
        Role::Node => node_config(identity),
        Role::Device | Role::Reader | Role::Operator => EndpointConfig::default(),
    };
    config
        .max_udp_payload_size(PACKET_BYTES_MAX)
        .expect("the size lies between 1200 and 65527");
    config
}

/// A node that was killed and started again tells its peers at once that it does not know their
/// connections (a stateless reset, RFC 9000 section 10.3), rather than leave them to the idle timeout.
/// For that the new process must know what the old one promised: both come from the node's key.
/// Other programs may run several times under one identity, where that would be wrong.
fn node_config(identity: &Identity) -> EndpointConfig {
    let root = hmac::Key::new(hmac::HMAC_SHA256, identity.key.secret_der());
    let reset_secret = hmac::sign(&root, b"tidemark stateless reset 1");
    let id_secret = hmac::sign(&root, b"tidemark connection ids 1");
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, reset_secret.as_ref());
    let id_key = id_secret.as_ref().iter().take(size_of::<u64>());
    let id_key = id_key.fold(0, |key, byte| (key << 8) | u64::from(*byte));
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    config
}

pub(super) fn server_config(tls: QuicServerConfig) -> quinn::ServerConfig {
    let mut transport = transport_config();
    // Peers never open one-way streams.
    transport.max_concurrent_uni_streams(VarInt::from_u32(0));
    // Another node is given more as soon as it is known to be one.
    transport.receive_window(VarInt::from_u32(CLIENT_WINDOW_BYTES));
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    config.max_incoming(HANDSHAKES_MAX);
    // A gateway's NAT forgets it after a while of silence, or when it restarts, and a device changes
    // networks: its packets then come from another address. The connection goes on there once the peer
    // has shown that it is reached (RFC 9000 section 9); who it is was settled by its certificate, and
    // addresses decide nothing here.
    config.migration(true);
    config.transport_config(Arc::new(transport));
    config
}

pub(super) fn client_config(tls: QuicClientConfig) -> quinn::ClientConfig {
    let mut transport = transport_config();
    transport.max_concurrent_uni_streams(VarInt::from_u32(GREETINGS_MAX));
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    config
}

fn transport_config() -> TransportConfig {
    let mut packets = MtuDiscoveryConfig::default();
    packets.upper_bound(PACKET_BYTES_MAX);
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.max_ack_delay(Some(ACKNOWLEDGEMENT_DELAY_MAX));
    let mut transport = TransportConfig::default();
    transport
        .mtu_discovery_config(Some(packets))
        .ack_frequency_config(Some(acknowledgements))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(ROUND_TRIP_GUESS)
        // Nothing is sent as datagrams.
        .datagram_receive_buffer_size(None)
        // Many packets a system call.
        .enable_segmentation_offload(true);
    transport
}

/// A UDP socket with large buffers. `[::]` takes IPv4 too.
pub(super) fn bind_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Layer::UDP))?;
    if let SocketAddr::V6(address) = address {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    debug!(
        %address,
        receive_bytes = socket.recv_buffer_size()?,
        send_bytes = socket.send_buffer_size()?,
        "socket bound"
    );
    Ok(socket.into())
}
