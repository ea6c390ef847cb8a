//! A cluster's authority in a temporary folder, and endpoints with identities it issued.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sensor_model::Timestamp;
use store_wire::authority::{AUTHORITY_DAYS_DEFAULT, Authority, IssueRequest};
use store_wire::clock::{Clock, SystemClock};
use store_wire::endpoint::{ConnectError, Connection, Endpoint, EndpointOptions, Protocol};
use store_wire::identity::{Identity, Role};
use tempfile::TempDir;

/// The system's clock, moved.
pub(super) struct MovedClock {
    days: i64,
}

impl MovedClock {
    pub(super) fn by_days(days: i64) -> Self {
        Self { days }
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        const NANOS_PER_DAY: i64 = 86_400_000_000_000;
        Timestamp::from_nanos(SystemClock.now().as_nanos() + self.days * NANOS_PER_DAY)
    }
}

pub(super) struct World {
    folder: TempDir,
    pub(super) authority: Authority,
}

impl World {
    pub(super) fn new() -> Self {
        Self::of_cluster("plant")
    }

    pub(super) fn of_cluster(cluster: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(
            &folder.path().join("ca"),
            cluster,
            AUTHORITY_DAYS_DEFAULT,
            &MovedClock::by_days(-1000),
        )
        .unwrap();
        Self { folder, authority }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn issue(&self, request: &IssueRequest, clock: &dyn Clock) -> Arc<Identity> {
        let folder = self.path(&format!("{}-{}", request.role, request.name));
        self.authority.issue(request, &folder, clock).unwrap();
        Arc::new(Identity::load(&folder).unwrap())
    }

    pub(super) fn identity(&self, role: Role, name: &str) -> Arc<Identity> {
        self.issue(&IssueRequest::new(role, name), &SystemClock)
    }

    /// A node that takes connections.
    pub(super) fn node(&self, name: &str) -> Endpoint {
        endpoint(self.identity(Role::Node, name))
    }

    /// A program that dials.
    pub(super) fn dialling(&self, role: Role) -> Endpoint {
        endpoint(self.identity(role, "dialling"))
    }
}

pub(super) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(super) fn endpoint(identity: Arc<Identity>) -> Endpoint {
    Endpoint::bind(loopback(), identity, &EndpointOptions::default()).unwrap()
}

pub(super) fn endpoint_at(identity: Arc<Identity>, clock: impl Clock) -> Endpoint {
    let options = EndpointOptions {
        clock: Arc::new(clock),
        ..EndpointOptions::default()
    };
    Endpoint::bind(loopback(), identity, &options).unwrap()
}

/// Long enough for anything on this machine; only a test that fails waits for it.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it takes too long")
}

/// Both ends of a connection from `dialling` to `node`.
pub(super) async fn connected(
    dialling: &Endpoint,
    node: &Endpoint,
    protocol: Protocol,
) -> (Connection, Connection) {
    let address = node.local_address().unwrap();
    let (dialled, accepted) =
        soon(async { tokio::join!(dialling.connect(address, protocol), node.accept()) }).await;
    (dialled.unwrap(), accepted.unwrap())
}

/// Dials a node that is expected to refuse, while it takes connections.
pub(super) async fn refused(
    dialling: &Endpoint,
    node: &Endpoint,
    protocol: Protocol,
) -> ConnectError {
    let address = node.local_address().unwrap();
    soon(async {
        tokio::select! {
            outcome = dialling.connect(address, protocol) => outcome.unwrap_err(),
            admitted = node.accept() => panic!("{admitted:?} was admitted"),
        }
    })
    .await
}

/// Puts other content into a file of an identity folder.
#[expect(
    clippy::disallowed_methods,
    reason = "a test plays the person who edits the file"
)]
pub(super) fn overwrite(file: &Path, content: &str) {
    std::fs::write(file, content).unwrap();
}

/// Removes a file of an identity folder.
#[expect(
    clippy::disallowed_methods,
    reason = "a test plays the person who removes the file"
)]
pub(super) fn remove(file: &Path) {
    std::fs::remove_file(file).unwrap();
}
