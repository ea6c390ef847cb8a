//! Who is let in, and what those who are not are told.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sensor_model::SeriesPath;
use store_wire::authority::IssueRequest;
use store_wire::clock::SystemClock;
use store_wire::endpoint::{
    CloseCode, ConnectError, Endpoint, EndpointError, EndpointOptions, Protocol,
};
use store_wire::identity::{Identity, IdentityError, Role};

use super::world::{
    MovedClock, World, connected, endpoint, endpoint_at, loopback, overwrite, refused, soon,
};

const ROLES: [Role; 4] = [Role::Node, Role::Device, Role::Reader, Role::Operator];

#[tokio::test]
async fn both_sides_know_who_the_other_is() {
    let world = World::new();
    let node = world.node("1");
    let request = IssueRequest {
        write: vec!["plant/press-12/**".parse().unwrap()],
        ..IssueRequest::new(Role::Device, "press-12")
    };
    let device = endpoint(world.issue(&request, &SystemClock));
    let (dialled, accepted) = connected(&device, &node, Protocol::Ingest).await;
    assert_eq!(dialled.peer().to_string(), "spiffe://plant/node/1");
    assert_eq!(
        accepted.peer().to_string(),
        "spiffe://plant/device/press-12"
    );
    assert_eq!(accepted.peer().id(), "device/press-12");
    assert_eq!(accepted.protocol(), Protocol::Ingest);
    let may_write = |path| accepted.peer().may_write(&SeriesPath::new(path).unwrap());
    assert!(may_write("plant/press-12/temperature"));
    assert!(!may_write("plant/press-13/temperature"));
    assert!(
        !accepted
            .peer()
            .may_read(&SeriesPath::new("plant/press-12/t").unwrap())
    );
}

#[tokio::test]
async fn each_role_speaks_its_protocols_and_no_other() {
    let world = World::new();
    let node = world.node("store");
    let allowed = |role, protocol| match protocol {
        Protocol::Ingest => matches!(role, Role::Device | Role::Operator),
        Protocol::Query => matches!(role, Role::Reader | Role::Operator | Role::Node),
        Protocol::Raft => role == Role::Node,
    };
    for role in ROLES {
        let dialling = world.dialling(role);
        for protocol in Protocol::ALL {
            if allowed(role, protocol) {
                connected(&dialling, &node, protocol).await;
                continue;
            }
            let error = refused(&dialling, &node, protocol).await;
            let ConnectError::Refused { code, reason, .. } = &error else {
                panic!("{role} speaking {protocol} gave {error:?}");
            };
            assert_eq!(*code, CloseCode::Forbidden);
            assert!(reason.contains(role.as_str()) && reason.contains(protocol.as_str()));
            assert!(!error.is_retryable());
        }
    }
}

#[tokio::test]
async fn a_node_of_another_authority_is_not_trusted() {
    let (world, other) = (World::new(), World::new());
    let node = other.node("1");
    let error = refused(&world.dialling(Role::Device), &node, Protocol::Ingest).await;
    let ConnectError::Untrusted { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(reason.contains("ca.pem"), "{reason}");
}

/// An identity of `world` that trusts the authority of `other` too.
fn trusting_both(world: &World, other: &World, role: Role) -> Arc<Identity> {
    let folder = world.path("both");
    let request = IssueRequest {
        hosts: match role {
            Role::Node => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            Role::Device | Role::Reader | Role::Operator => Vec::new(),
        },
        ..IssueRequest::new(role, "both")
    };
    world
        .authority
        .issue(&request, &folder, &SystemClock)
        .unwrap();
    let both = [world, other].map(|w| std::fs::read_to_string(w.path("ca/ca.pem")).unwrap());
    overwrite(&folder.join("ca.pem"), &both.concat());
    Arc::new(Identity::load(&folder).unwrap())
}

#[tokio::test]
async fn a_client_of_another_authority_is_told_so() {
    let (world, other) = (World::new(), World::new());
    let node = world.node("1");
    let error = refused(
        &endpoint(trusting_both(&other, &world, Role::Device)),
        &node,
        Protocol::Ingest,
    )
    .await;
    let ConnectError::Unauthenticated {
        certificate,
        reason,
        ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert!(certificate.ends_with("both/cert.pem"));
    assert!(
        reason.contains("another authority") && reason.contains("plant"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_node_of_another_cluster_is_not_trusted() {
    let (world, other) = (World::new(), World::of_cluster("mine"));
    let node = endpoint(trusting_both(&world, &other, Role::Node));
    let stranger = endpoint(trusting_both(&other, &world, Role::Reader));
    let error = refused_by_dialler(&stranger, &node).await;
    let ConnectError::Untrusted { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(reason.contains("spiffe://plant/node/both"), "{reason}");
    assert!(reason.contains("mine"), "{reason}");
}

#[tokio::test]
async fn a_client_of_another_cluster_is_refused() {
    let (world, other) = (World::new(), World::of_cluster("mine"));
    let node = endpoint(trusting_both(&world, &other, Role::Node));
    let identity = raw_identity(&other, Role::Reader);
    let client = raw_client(&world, b"tidemark-query/1", Some(identity));
    let error = ended(&client, &node).await;
    let quinn::ConnectionError::ApplicationClosed(close) = &error else {
        panic!("{error:?}");
    };
    let code = u32::try_from(close.error_code.into_inner()).unwrap();
    assert_eq!(CloseCode::from_wire(code), CloseCode::Unauthenticated);
    let reason = String::from_utf8_lossy(&close.reason);
    assert!(reason.contains("another cluster than plant"), "{reason}");
}

#[tokio::test]
async fn an_expired_client_is_told_when_its_certificate_was_valid() {
    let world = World::new();
    let node = world.node("1");
    let request = IssueRequest {
        days: 10,
        ..IssueRequest::new(Role::Device, "old")
    };
    let identity = world.issue(&request, &MovedClock::by_days(-20));
    // Its own clock is late, or it would not have started.
    let device = endpoint_at(identity, MovedClock::by_days(-15));
    let node_identity = IssueRequest::new(Role::Node, "long");
    let long_valid = world.issue(&node_identity, &MovedClock::by_days(-100));
    let node_known_to_both = endpoint(long_valid);
    let error = refused(&device, &node_known_to_both, Protocol::Ingest).await;
    let ConnectError::Unauthenticated {
        certificate,
        reason,
        ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert!(certificate.ends_with("device-old/cert.pem"));
    assert!(reason.contains("store-node ca issue"), "{reason}");
    // Its late clock does not accept a node that was certified after it.
    let error = refused(&device, &node, Protocol::Ingest).await;
    assert!(
        matches!(&error, ConnectError::Untrusted { reason, .. } if reason.contains("clock")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_client_whose_certificate_is_not_valid_yet_is_refused() {
    let world = World::new();
    let node = endpoint(world.issue(
        &IssueRequest::new(Role::Node, "long"),
        &MovedClock::by_days(-100),
    ));
    let identity = world.issue(
        &IssueRequest::new(Role::Device, "early"),
        &MovedClock::by_days(20),
    );
    let device = endpoint_at(identity, MovedClock::by_days(21));
    let error = refused(&device, &node, Protocol::Ingest).await;
    assert!(
        matches!(&error, ConnectError::Unauthenticated { reason, .. } if reason.contains("clock")),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_endpoint_does_not_start_with_an_identity_that_is_not_valid_today() {
    let world = World::new();
    let start = |days, name| {
        let request = IssueRequest {
            days: 10,
            ..IssueRequest::new(Role::Node, name)
        };
        let identity = world.issue(&request, &MovedClock::by_days(days));
        Endpoint::bind(loopback(), identity, &EndpointOptions::default()).unwrap_err()
    };
    let error = start(-20, "expired");
    assert!(matches!(
        error,
        EndpointError::Identity(IdentityError::Expired { .. })
    ));
    assert!(
        error.to_string().contains("node-expired/cert.pem"),
        "{error}"
    );
    let error = start(20, "early");
    assert!(matches!(
        error,
        EndpointError::Identity(IdentityError::NotYetValid { .. })
    ));
}

#[tokio::test]
async fn a_node_whose_certificate_has_expired_is_not_trusted() {
    let world = World::new();
    let request = IssueRequest {
        days: 10,
        ..IssueRequest::new(Role::Node, "old")
    };
    let identity = world.issue(&request, &MovedClock::by_days(-20));
    let node = endpoint_at(identity, MovedClock::by_days(-15));
    let error = refused(&world.dialling(Role::Reader), &node, Protocol::Query).await;
    let ConnectError::Untrusted { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(reason.contains("not valid at this time"), "{reason}");
}

#[tokio::test]
async fn a_node_with_hosts_is_dialled_by_one_of_them() {
    let world = World::new();
    let request = |name: &str, host: &str| IssueRequest {
        hosts: vec!["store-1.example".to_owned(), host.to_owned()],
        ..IssueRequest::new(Role::Node, name)
    };
    let reader = world.dialling(Role::Reader);
    let known = endpoint(world.issue(&request("known", "127.0.0.1"), &SystemClock));
    connected(&reader, &known, Protocol::Query).await;
    let address = known.local_address().unwrap();
    let (by_name, _accepted) = soon(async {
        tokio::join!(
            reader.connect_to(address, "Store-1.example", Protocol::Query),
            known.accept()
        )
    })
    .await;
    by_name.unwrap();
    let unknown = endpoint(world.issue(&request("unknown", "10.1.2.3"), &SystemClock));
    let error = refused_by_dialler(&reader, &unknown).await;
    let ConnectError::Untrusted { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(reason.contains("store-1.example, 10.1.2.3"), "{reason}");
    assert!(reason.contains("--host 127.0.0.1"), "{reason}");
}

/// As `refused`, where it is the dialling side that refuses: the node may have admitted it by then.
async fn refused_by_dialler(dialling: &Endpoint, node: &Endpoint) -> ConnectError {
    let address = node.local_address().unwrap();
    let serve = async { while node.accept().await.is_some() {} };
    soon(async {
        tokio::select! {
            outcome = dialling.connect(address, Protocol::Query) => outcome.unwrap_err(),
            () = serve => panic!("the node stopped"),
        }
    })
    .await
}

#[tokio::test]
async fn nobody_at_the_address_is_unreachable() {
    let world = World::new();
    let identity = world.identity(Role::Reader, "reader");
    let options = EndpointOptions {
        connect_timeout: Duration::from_millis(200),
        ..EndpointOptions::default()
    };
    let reader = Endpoint::bind(loopback(), identity, &options).unwrap();
    // Bound and never read: nobody else can take the port meanwhile.
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let address = silent.local_addr().unwrap();
    let error = soon(reader.connect(address, Protocol::Query))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }));
    assert!(error.is_retryable());
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

/// A client below our own layers, to do what they would not.
fn raw_client(world: &World, alpn: &[u8], identity: Option<RawIdentity>) -> quinn::Endpoint {
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read_to_string(world.path("ca/ca.pem")).unwrap();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config.enable_early_data = true;
    let mut endpoint = quinn::Endpoint::client(loopback()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(
        QuicClientConfig::try_from(config).unwrap(),
    )));
    endpoint
}

type RawIdentity = (
    Vec<CertificateDer<'static>>,
    rustls::pki_types::PrivateKeyDer<'static>,
);

fn raw_identity(world: &World, role: Role) -> RawIdentity {
    let folder = world.path(&format!("raw-{role}"));
    let request = IssueRequest::new(role, "raw");
    world
        .authority
        .issue(&request, &folder, &SystemClock)
        .unwrap();
    let read = |name| std::fs::read_to_string(folder.join(name)).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(read("cert.pem").as_bytes()).unwrap()];
    let key = PemObject::from_pem_slice(read("key.pem").as_bytes()).unwrap();
    (chain, key)
}

/// How a node that is dialled through `localhost` ends the connection.
async fn ended(client: &quinn::Endpoint, node: &Endpoint) -> quinn::ConnectionError {
    let address = node.local_address().unwrap();
    soon(async {
        let dial = async {
            match client.connect(address, "localhost").unwrap().await {
                Ok(connection) => connection.closed().await,
                Err(error) => error,
            }
        };
        tokio::select! {
            error = dial => error,
            admitted = node.accept() => panic!("{admitted:?} was admitted"),
        }
    })
    .await
}

fn node_named_localhost(world: &World) -> Endpoint {
    let request = IssueRequest {
        hosts: vec!["localhost".to_owned()],
        ..IssueRequest::new(Role::Node, "localhost")
    };
    endpoint(world.issue(&request, &SystemClock))
}

const CERTIFICATE_REQUIRED: u64 = 0x100 + 116;
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let world = World::new();
    let node = node_named_localhost(&world);
    let client = raw_client(&world, b"tidemark-query/1", None);
    let error = ended(&client, &node).await;
    let quinn::ConnectionError::ConnectionClosed(close) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(
        u64::from(close.error_code),
        CERTIFICATE_REQUIRED,
        "{error:?}"
    );
}

#[tokio::test]
async fn another_version_of_a_protocol_is_refused() {
    let world = World::new();
    let node = node_named_localhost(&world);
    let client = raw_client(
        &world,
        b"tidemark-query/2",
        Some(raw_identity(&world, Role::Reader)),
    );
    let error = ended(&client, &node).await;
    let quinn::ConnectionError::ConnectionClosed(close) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(
        u64::from(close.error_code),
        NO_APPLICATION_PROTOCOL,
        "{error:?}"
    );
}

/// Answers connections with the certificate of `role`, offering `alpn`, outside our own layers.
fn raw_server(world: &World, role: Role, alpn: &[u8]) -> quinn::Endpoint {
    let (chain, key) = raw_identity(world, role);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let config = QuicServerConfig::try_from(config).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(config));
    quinn::Endpoint::server(config, loopback()).unwrap()
}

async fn dialled_raw(world: &World, server: &quinn::Endpoint) -> ConnectError {
    let reader = world.dialling(Role::Reader);
    let address = server.local_addr().unwrap();
    let serve = async {
        while let Some(incoming) = server.accept().await {
            let _ = incoming.await;
        }
    };
    soon(async {
        tokio::select! {
            outcome = reader.connect(address, Protocol::Query) => outcome.unwrap_err(),
            () = serve => panic!("the server stopped"),
        }
    })
    .await
}

#[tokio::test]
async fn a_server_that_is_not_a_node_is_not_trusted() {
    let world = World::new();
    let server = raw_server(&world, Role::Device, b"tidemark-query/1");
    let error = dialled_raw(&world, &server).await;
    let ConnectError::Untrusted { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(reason.contains("not that of a node"), "{reason}");
}

#[tokio::test]
async fn a_server_of_another_version_is_named_as_such() {
    let world = World::new();
    let server = raw_server(&world, Role::Node, b"tidemark-query/2");
    let error = dialled_raw(&world, &server).await;
    assert!(
        matches!(
            error,
            ConnectError::VersionMismatch {
                protocol: Protocol::Query,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn nothing_is_resumed() {
    let world = World::new();
    let node = node_named_localhost(&world);
    let client = raw_client(
        &world,
        b"tidemark-query/1",
        Some(raw_identity(&world, Role::Reader)),
    );
    let address = node.local_address().unwrap();
    for _ in 0..2 {
        let connecting = client.connect(address, "localhost").unwrap();
        // A client that holds a ticket of an earlier connection could send early data.
        let connecting = connecting.into_0rtt().map(|_| ()).unwrap_err();
        let (connection, accepted) = soon(async { tokio::join!(connecting, node.accept()) }).await;
        let (connection, accepted) = (connection.unwrap(), accepted.unwrap());
        // The greeting comes behind any ticket.
        let mut greeting = soon(connection.accept_uni()).await.unwrap();
        soon(greeting.read_to_end(1024)).await.unwrap();
        connection.close(0_u32.into(), b"done");
        soon(accepted.closed()).await;
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_holds_up_no_other() {
    let world = World::new();
    let node = world.node("1");
    let address = node.local_address().unwrap();
    // First packets of real handshakes whose senders then fall silent.
    let mut silent = Vec::new();
    for _ in 0..8 {
        let client = raw_client_of_one_packet(&world, address).await;
        silent.push(client);
    }
    let device = world.dialling(Role::Device);
    connected(&device, &node, Protocol::Ingest).await;
}

/// Sends the first packet of a handshake to `address` and never another.
async fn raw_client_of_one_packet(
    world: &World,
    address: std::net::SocketAddr,
) -> std::net::UdpSocket {
    // The packet is caught on its way to a socket that nobody answers from.
    let trap = tokio::net::UdpSocket::bind(loopback()).await.unwrap();
    let client = raw_client(world, b"tidemark-query/1", None);
    let connecting = client
        .connect(trap.local_addr().unwrap(), "localhost")
        .unwrap();
    let mut packet = vec![0; 2048];
    let (bytes, _) = soon(trap.recv_from(&mut packet)).await.unwrap();
    drop(connecting);
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    silent.send_to(&packet[..bytes], address).unwrap();
    silent
}
