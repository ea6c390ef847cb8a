//! Whole nodes in one process, over real QUIC on loopback and disks in memory.

#[cfg(test)]
mod appends;
#[cfg(test)]
mod consistency;
mod formation;
mod http;
#[cfg(test)]
mod membership;
#[cfg(test)]
mod partitions;
mod puppet;
mod purging;
mod replication;
#[cfg(test)]
mod serving;
mod snapshots;
mod transfer;
#[cfg(test)]
mod wires;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use segment_log::fake::FakeDisk;
use sensor_model::Timestamp;
use store_node::{
    command,
    config::Config,
    node::{Node, Platform},
    raft::{ProposeError, Proposed, Replica, types::OnFatal},
    state::Outcome,
};
use store_wire::{
    authority::{Authority, IssueRequest},
    clock::{Clock, SystemClock},
    endpoint::{Endpoint, EndpointOptions},
    identity::{Identity, Role},
};
use tempfile::TempDir;
use tracing_subscriber::EnvFilter;

/// How long anything may take on a loaded machine before a test calls it never.
const NEVER: Duration = Duration::from_secs(30);

/// The time of day, moved ahead.
#[derive(Debug, Default)]
struct MovedClock {
    ahead_secs: AtomicU64,
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead_secs.load(Ordering::Relaxed);
        SystemClock.now().saturating_add(Duration::from_secs(ahead))
    }
}

/// A cluster whose nodes can be stopped, started, and robbed of their disks.
struct Cluster {
    identities: TempDir,
    own_loopback: Ipv4Addr,
    members: BTreeMap<u64, String>,
    /// Where members listen whose packets take another way than straight there.
    behind: BTreeMap<u64, SocketAddr>,
    /// Those of the members that come with `--join`.
    newcomers: BTreeSet<u64>,
    disks: BTreeMap<u64, FakeDisk>,
    nodes: BTreeMap<u64, Node>,
    log_bytes_max: u64,
    /// What is set otherwise on each node.
    adjust: fn(&mut Config),
    clock: Arc<MovedClock>,
    /// What nodes said when they could not go on.
    fatal: Arc<Mutex<Vec<String>>>,
}

impl Cluster {
    /// Blank nodes `1..=size`, none of them running; their ports are free.
    fn blank(size: u64) -> Self {
        log_if_asked();
        let identities = tempfile::tempdir().expect("a folder for identities");
        Authority::create(&identities.path().join("ca"), "plant", 3650, &SystemClock)
            .expect("an authority");
        let mut cluster = Self {
            identities,
            own_loopback: own_loopback(),
            members: BTreeMap::new(),
            behind: BTreeMap::new(),
            newcomers: BTreeSet::new(),
            disks: BTreeMap::new(),
            nodes: BTreeMap::new(),
            log_bytes_max: 1 << 30,
            adjust: |_| {},
            clock: Arc::default(),
            fatal: Arc::default(),
        };
        for id in 1..=size {
            cluster.outfit(id);
        }
        cluster
    }

    /// Gives a node an identity, an address and an empty disk.
    fn outfit(&mut self, id: u64) {
        let authority =
            Authority::load(&self.identities.path().join("ca")).expect("it was just made");
        let request = IssueRequest::new(Role::Node, id.to_string());
        let folder = self.identities.path().join(id.to_string());
        authority
            .issue(&request, &folder, &SystemClock)
            .expect("an identity");
        let socket = std::net::UdpSocket::bind((self.own_loopback, 0)).expect("a free port");
        let address = socket.local_addr().expect("a bound socket");
        self.members.insert(id, address.to_string());
        self.disks.insert(id, FakeDisk::with_seed(id));
    }

    /// A cluster of `size` with all nodes ready.
    async fn formed(size: u64) -> Self {
        let mut cluster = Self::blank(size);
        cluster.form().await;
        cluster
    }

    /// Starts all nodes and waits until they are ready.
    async fn form(&mut self) {
        let ids: Vec<u64> = self.members.keys().copied().collect();
        for id in &ids {
            self.start(*id).await;
        }
        for id in &ids {
            self.ready(*id).await;
        }
    }

    fn config(&self, id: u64) -> Config {
        let identity = self.identities.path().join(id.to_string());
        let is_newcomer = self.newcomers.contains(&id);
        let mut founders = self.members.clone();
        founders.retain(|member, _| !self.newcomers.contains(member));
        let to_ask = founders.values().cloned().collect();
        let mut config = Config {
            join: is_newcomer.then_some(to_ask),
            bootstrap: (!is_newcomer).then_some(founders),
            listen: self.behind.get(&id).copied().unwrap_or(self.address(id)),
            segment_bytes_max: 1 << 20,
            tail_cache_bytes: 64 << 10,
            log_bytes_max: self.log_bytes_max,
            log_keep_bytes: 0,
            ..Config::on_loopback(id, Path::new("/data"), &identity)
        };
        (self.adjust)(&mut config);
        config
    }

    fn address(&self, id: u64) -> SocketAddr {
        self.members[&id].parse().expect("an address")
    }

    /// Starts a node; waits for a predecessor's socket to be closed, which the runtime does in its
    /// own time.
    async fn try_start(&mut self, config: Config) -> anyhow::Result<u64> {
        within(async {
            loop {
                match self.start_once(config.clone()).await {
                    Err(error) if error.to_string().contains("cannot be bound") => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    outcome => return outcome,
                }
            }
        })
        .await
    }

    async fn start_once(&mut self, config: Config) -> anyhow::Result<u64> {
        let id = config.id;
        let fatal = Arc::clone(&self.fatal);
        let platform = Platform {
            disk: Arc::new(self.disks[&id].clone()),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            on_fatal: OnFatal::new(move |line| {
                fatal
                    .lock()
                    .expect("nobody panics with it")
                    .push(line.to_owned());
            }),
            ..Platform::real()
        };
        let node = Node::start(config, platform).await?;
        self.nodes.insert(id, node);
        Ok(id)
    }

    async fn start(&mut self, id: u64) {
        let config = self.config(id);
        self.try_start(config).await.expect("the node starts");
    }

    async fn ready(&self, id: u64) {
        let ready = self.nodes[&id].ready();
        within(ready).await.expect("the node becomes ready");
    }

    /// Stops a node in order.
    async fn stop(&mut self, id: u64) {
        let node = self.nodes.remove(&id).expect("the node runs");
        within(node.shutdown())
            .await
            .expect("the node stops cleanly");
        self.disks.insert(id, self.disks[&id].restart());
    }

    fn replica(&self, id: u64) -> Replica {
        self.nodes[&id].replica().expect("consensus runs")
    }

    /// Waits until some running node leads and says so itself.
    async fn leader(&self) -> u64 {
        until(|| {
            let mut replicas = self.nodes.values().filter_map(Node::replica);
            replicas
                .find(Replica::is_leader)
                .map(|replica| replica.id())
        })
        .await
    }

    /// Opens an epoch of the producer `name`, whoever leads, as often as it takes; returns the
    /// answer that came in the end.
    async fn open_producer(&self, name: &str) -> Proposed {
        let payload = command::open_producer(name);
        within(async {
            loop {
                let leader = self.leader().await;
                match self.replica(leader).propose(payload.clone()).await {
                    Ok(proposed) => return proposed,
                    Err(ProposeError::NotLeader { .. } | ProposeError::Overloaded { .. }) => {
                        tokio::task::yield_now().await;
                    }
                    Err(error) => panic!("a healthy cluster takes proposals: {error}"),
                }
            }
        })
        .await
    }
}

/// `TIDEMARK_LOG=debug` shows what the nodes of a failing test did.
fn log_if_asked() {
    let Ok(filter) = EnvFilter::try_from_env("TIDEMARK_LOG") else {
        return;
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer();
    // Another test of this process may have been first.
    drop(log.try_init());
}

/// A loopback address for one cluster alone, so that its ports stay its own while a node is down.
fn own_loopback() -> Ipv4Addr {
    static CLUSTERS: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high, low, CLUSTERS.fetch_add(1, Ordering::Relaxed))
}

fn epoch(proposed: &Proposed) -> u64 {
    match proposed.outcome {
        Outcome::ProducerOpened { epoch } => epoch,
        ref other => panic!("opening a producer opens it: {other:?}"),
    }
}

/// The epoch a replica knows of a producer.
fn known_epoch(replica: &Replica, name: &str) -> Option<u64> {
    let producers = replica.status().producers;
    let known = producers.into_iter().find(|known| known.producer == name);
    known.map(|known| known.epoch)
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(NEVER, future)
        .await
        .expect("it happens before the test calls it never")
}

/// Looks again and again until there is something.
async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    within(async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// An endpoint with an identity of this cluster that is no member's.
fn stranger(cluster: &Cluster) -> Endpoint {
    let folder = cluster.identities.path().join("1");
    let identity = Identity::load(&folder).expect("an identity");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Endpoint::bind(any, Arc::new(identity), &EndpointOptions::default()).expect("a free port")
}
