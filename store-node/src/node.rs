//! One store node: wiring, lifecycle, and the order of shutting down.
//!
//! # Start
//! 1. Lock the data folder, read its charter, hold both against the configuration.
//! 2. Bind the QUIC endpoint and the HTTP listener; from here on the node answers that it is starting.
//! 3. Open the log, which rebuilds the state.
//! 4. If the folder is blank, form the cluster (`raft/formation.rs`), or join one (`raft/joining.rs`).
//! 5. Start consensus, and let producers and readers in.
//!
//! Steps 3 to 5 go on in the background after [`Node::start`] returned; [`Node::ready`] waits for
//! them. # Stop is in one place: [`Node::shutdown`].

mod bring_up;
mod claim;

pub(crate) use bring_up::SHARD;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use metrics_exporter_prometheus::PrometheusHandle;
use segment_log::{Disk, DiskLock, OsDisk};
use store_wire::{
    clock::{Clock, SystemClock},
    endpoint::{CloseCode, Connection, Endpoint, EndpointOptions, Protocol},
    identity::Identity,
    message::NodeStatus,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use crate::{
    archive::Archive,
    config::Config,
    http::Page,
    ingest::{self, streams::Streams},
    query,
    raft::{Replica, consensus::Consensus, link::Links, reception::Reception, types::OnFatal},
    scan::Memory,
    state::{Payloads, State},
    turnstile::Turnstile,
};

/// How long clients may take to read their last answers when the node ends.
const CLIENTS_PATIENCE: Duration = Duration::from_secs(1);
/// How long peers may take to hear that their connections are closed.
const GOODBYE_PATIENCE: Duration = Duration::from_millis(500);

/// What serving producers and readers needs. Shared by all their connections.
pub struct Context {
    /// This node's replica.
    pub replica: Replica,
    /// What was applied.
    pub state: Arc<RwLock<State>>,
    /// Reads chunks back from the log.
    pub payloads: Arc<dyn Payloads>,
    /// What of it is sealed.
    pub archive: Arc<Archive>,
    /// What reads may hold decoded, all together.
    pub read_memory: Arc<Memory>,
    /// How many streams of producers are open.
    pub streams: Arc<Streams>,
    /// Who follows what is committed.
    pub(crate) subscribers: Arc<Turnstile>,
    /// What was set.
    pub config: Arc<Config>,
    /// The time of day, for what readers call now.
    pub clock: Arc<dyn Clock>,
}

/// What a node stands on, and a simulation can replace.
pub struct Platform {
    /// Every file operation.
    pub disk: Arc<dyn Disk>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// The endpoint; `None` binds one where the configuration says.
    pub endpoint: Option<Endpoint>,
    /// Renders `/metrics`, if metrics are recorded in this process.
    pub metrics: Option<PrometheusHandle>,
    /// What happens when the node must not go on.
    pub on_fatal: OnFatal,
}

impl Platform {
    /// This machine's disk and clock; a node that must not go on ends the process.
    pub fn real() -> Self {
        Self {
            disk: Arc::new(OsDisk),
            clock: Arc::new(SystemClock),
            endpoint: None,
            metrics: None,
            on_fatal: OnFatal::exit(),
        }
    }
}

/// How far a node is.
#[derive(Clone)]
enum Phase {
    Starting,
    Running(Arc<Context>),
    Failed(Arc<str>),
}

/// A running node. Dropping it without [`shutdown`](Self::shutdown) leaves its tasks to the runtime.
pub struct Node {
    id: u64,
    quic: SocketAddr,
    http: SocketAddr,
    endpoint: Endpoint,
    drain_timeout: Duration,
    phase: watch::Receiver<Phase>,
    /// Steps 3 to 5.
    bringing_up: JoinHandle<Result<Option<Consensus>>>,
    links: Links,
    tasks: Tasks,
    _lock: Box<dyn DiskLock>,
}

/// The node's own tasks, in groups that end one after the other.
struct Tasks {
    /// Serving producers and readers.
    clients: (TaskTracker, CancellationToken),
    /// Taking connections, and answering members.
    peers: (TaskTracker, CancellationToken),
    /// The HTTP server.
    http: (TaskTracker, CancellationToken),
    /// Cancelled to give up starting.
    starting: CancellationToken,
    /// Cancelled to stop dialling members.
    dialling: CancellationToken,
}

impl Node {
    /// Does the first two steps and begins the others.
    ///
    /// # Errors
    /// Whatever a person has to put right, in one line.
    pub async fn start(config: Config, platform: Platform) -> Result<Self> {
        let identity = Identity::load(&config.identity).map_err(|error| one_line(&error))?;
        let (lock, charter) = {
            let (config, disk) = (config.clone(), Arc::clone(&platform.disk));
            let cluster = identity.own().cluster.clone();
            tokio::task::spawn_blocking(move || claim::claim(&*disk, &config, &cluster)).await??
        };
        let endpoint = match platform.endpoint {
            Some(endpoint) => endpoint,
            None => {
                let options = EndpointOptions {
                    clock: Arc::clone(&platform.clock),
                    ..EndpointOptions::default()
                };
                Endpoint::bind(config.listen, Arc::new(identity), &options)
                    .map_err(|error| one_line(&error))?
            }
        };
        let listener = TcpListener::bind(config.http)
            .await
            .with_context(|| format!("TCP address {} cannot be bound", config.http))?;
        let (quic, http) = (endpoint.local_address()?, listener.local_addr()?);
        info!(node = config.id, %quic, %http, data = %config.data.display(), "node starting");

        let tasks = Tasks::new();
        let links = Links::new(endpoint.clone(), tasks.dialling.clone());
        let reception = Reception::new(config.id);
        let page = Page::new(config.id, platform.metrics);
        let (phase_sender, phase) = watch::channel(Phase::Starting);
        serve_http(&tasks, listener, &page);
        tasks.peers.0.spawn(take_connections(
            endpoint.clone(),
            reception.clone(),
            phase.clone(),
            (
                tasks.clients.clone(),
                Turnstile::new("connections", config.connections_max),
            ),
            tasks.peers.clone(),
        ));
        let (id, drain_timeout) = (config.id, config.drain_timeout);
        let bringing_up = bring_up::BringUp {
            config: Arc::new(config),
            cluster: endpoint.identity().own().cluster.clone(),
            charter,
            disk: platform.disk,
            clock: platform.clock,
            on_fatal: platform.on_fatal,
            links: links.clone(),
            reception,
            quic,
            http: http.to_string(),
            page,
        };
        let starting = tasks.starting.clone();
        let bringing_up = tokio::spawn(bringing_up.run(phase_sender, starting));
        Ok(Self {
            id,
            quic,
            http,
            endpoint,
            drain_timeout,
            phase,
            bringing_up,
            links,
            tasks,
            _lock: lock,
        })
    }

    /// This node's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where it takes QUIC connections.
    pub fn address(&self) -> SocketAddr {
        self.quic
    }

    /// Where it serves HTTP.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Its replica, once consensus runs.
    pub fn replica(&self) -> Option<Replica> {
        self.context().map(|context| context.replica.clone())
    }

    /// What serving clients needs, once consensus runs.
    pub fn context(&self) -> Option<Arc<Context>> {
        match &*self.phase.borrow() {
            Phase::Running(context) => Some(Arc::clone(context)),
            Phase::Starting | Phase::Failed(_) => None,
        }
    }

    /// How it is, once consensus runs.
    pub fn status(&self) -> Option<NodeStatus> {
        self.replica().map(|replica| replica.status())
    }

    /// Waits until consensus runs and this replica has caught up with a leader.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// Why starting failed: the node only waits to be shut down then.
    pub async fn ready(&self) -> Result<()> {
        self.running().await?.replica.caught_up().await;
        Ok(())
    }

    /// Waits until consensus runs.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub async fn running(&self) -> Result<Arc<Context>> {
        let mut phase = self.phase.clone();
        let settled = phase
            .wait_for(|phase| !matches!(phase, Phase::Starting))
            .await;
        match settled.as_deref() {
            Ok(Phase::Running(context)) => Ok(Arc::clone(context)),
            Ok(Phase::Failed(reason)) => Err(anyhow!("{reason}")),
            Ok(Phase::Starting) | Err(_) => bail!("the node was stopped while it was starting"),
        }
    }

    /// Ends the node in order, within about 10 s:
    ///
    /// 1. take no more writes: producers hear that the node is draining, and go elsewhere;
    /// 2. wait for the writes on their way, and hand leadership over;
    /// 3. let clients read their last answers, and end their tasks;
    /// 4. stop consensus and close the log, synced;
    /// 5. close connections, stop dialling, stop HTTP, and give the folder free.
    ///
    /// # Errors
    /// If starting had failed, or the log could not be closed cleanly.
    pub async fn shutdown(self) -> Result<()> {
        info!(node = self.id, "node stopping");
        self.tasks.starting.cancel();
        let brought_up = self.bringing_up.await.context("starting panicked")?;
        let (consensus, failure) = match brought_up {
            Ok(consensus) => (consensus, None),
            Err(error) => (None, Some(error)),
        };
        if let Some(consensus) = &consensus {
            let deadline = Instant::now() + self.drain_timeout;
            consensus.refuse_proposals();
            self.tasks.clients.1.cancel();
            consensus.drain(deadline).await;
        }
        end(&self.tasks.clients, CLIENTS_PATIENCE).await;
        let closed = match consensus {
            Some(consensus) => consensus.stop().await,
            None => Ok(()),
        };
        debug!(node = self.id, "log closed");
        self.tasks.dialling.cancel();
        end(&self.tasks.peers, GOODBYE_PATIENCE).await;
        self.endpoint
            .close(CloseCode::Draining, "the node has stopped");
        if tokio::time::timeout(GOODBYE_PATIENCE, self.endpoint.closed())
            .await
            .is_err()
        {
            debug!("not every peer heard the goodbye");
        }
        self.links.stopped().await;
        debug!(node = self.id, "connections closed");
        end(&self.tasks.http, GOODBYE_PATIENCE).await;
        closed.context("the log could not be closed cleanly")?;
        info!(node = self.id, "node stopped");
        failure.map_or(Ok(()), Err)
    }
}

impl Tasks {
    fn new() -> Self {
        let group = || (TaskTracker::new(), CancellationToken::new());
        Self {
            clients: group(),
            peers: group(),
            http: group(),
            starting: CancellationToken::new(),
            dialling: CancellationToken::new(),
        }
    }
}

/// Tells a group of tasks to end, and waits for it a while.
async fn end((tracker, stop): &(TaskTracker, CancellationToken), patience: Duration) {
    stop.cancel();
    tracker.close();
    if tokio::time::timeout(patience, tracker.wait())
        .await
        .is_err()
    {
        debug!(
            tasks = tracker.len(),
            "tasks are still running at the end of their time"
        );
    }
}

/// An error with its causes, on one line.
pub(crate) fn one_line(error: &(dyn std::error::Error + 'static)) -> anyhow::Error {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        source = cause.source();
    }
    anyhow!(line)
}

fn serve_http(tasks: &Tasks, listener: TcpListener, page: &Page) {
    let stop = tasks.http.1.clone();
    let serving = axum::serve(listener, page.routes())
        .with_graceful_shutdown(async move { stop.cancelled().await });
    tasks.http.0.spawn(async move {
        if let Err(error) = serving.await {
            warn!(%error, "the HTTP server ended");
        }
    });
}

/// Takes connections and gives each to those who speak its protocol.
async fn take_connections(
    endpoint: Endpoint,
    reception: Reception,
    phase: watch::Receiver<Phase>,
    (clients, turnstile): ((TaskTracker, CancellationToken), Arc<Turnstile>),
    peers: (TaskTracker, CancellationToken),
) {
    while let Some(Some(connection)) = peers.1.run_until_cancelled(endpoint.accept()).await {
        debug!(peer = %connection.peer(), protocol = %connection.protocol(), "connected");
        if connection.protocol() == Protocol::Raft {
            let (reception, stop) = (reception.clone(), peers.1.clone());
            peers
                .0
                .spawn(async move { reception.serve(connection, stop).await });
            continue;
        }
        match &*phase.borrow() {
            Phase::Running(context) => {
                serve_client(connection, Arc::clone(context), &clients, &turnstile);
            }
            Phase::Starting | Phase::Failed(_) => {
                connection.close(
                    CloseCode::Overloaded,
                    "the node is starting: try again shortly",
                );
            }
        }
    }
}

fn serve_client(
    connection: Connection,
    context: Arc<Context>,
    (tracker, stop): &(TaskTracker, CancellationToken),
    turnstile: &Arc<Turnstile>,
) {
    if stop.is_cancelled() {
        connection.close(
            CloseCode::Draining,
            "the node is shutting down: go to another",
        );
        return;
    }
    let entry = match turnstile.enter(connection.peer().id()) {
        Ok(entry) => entry,
        Err(crowded) => {
            debug!(peer = %connection.peer(), %crowded, "a client is not let in");
            connection.close(CloseCode::Overloaded, &crowded.to_string());
            return;
        }
    };
    let stop = stop.clone();
    tracker.spawn(async move {
        if connection.protocol() == Protocol::Ingest {
            ingest::serve(connection, context, stop).await;
        } else {
            query::serve(connection, context, stop).await;
        }
        drop(entry);
    });
}

/// The folder of the log within the data folder.
pub fn log_folder(data: &Path) -> PathBuf {
    data.join("log")
}

/// The folder of what is sealed of the one shard there is, within the data folder.
pub fn shard_folder(data: &Path) -> PathBuf {
    data.join("shards").join(SHARD.to_string())
}
