//! Keeps one connection to each other member, and says whether it lives.
//!
//! Dialling happens in a task of its own, so that a request that gives up after a tenth of a second
//! does not end a handshake that takes a little longer. A lost connection is dialled again at once,
//! a failed attempt after a pause that doubles up to [`PAUSE_MAX`].

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sensor_model::Timestamp;
use store_wire::{
    endpoint::{CloseCode, ConnectError, Connection, Endpoint, Protocol},
    frame::{FrameReceiver, FrameSender},
};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use super::complaints::Complaints;

/// The pause after the first failed attempt to dial.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause between attempts: how long a member that came back may go unnoticed.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How often it is looked whether anything came.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A connection on which nothing came at so many looks leads nowhere: 5 s, and a sign of life comes every
/// 3 s. The transport sends less and less often while packets are lost, and would notice that they arrive
/// again only after about as long as the network was cut.
const SILENT_LOOKS: u32 = 10;

/// Links to every member this node ever talked to. Clones share them.
#[derive(Clone)]
pub struct Links {
    shared: Arc<Shared>,
}

struct Shared {
    /// Given up once the links are stopped, so that whoever still holds one does not hold the port.
    endpoint: Mutex<Option<Endpoint>>,
    links: Mutex<BTreeMap<u64, Link>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A link to one member. Clones share it.
#[derive(Debug, Clone)]
pub struct Link {
    target: u64,
    address: Arc<str>,
    connection: watch::Receiver<Option<Connection>>,
    complaints: Arc<Complaints>,
}

/// There is no connection to the member at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("node {target} is not connected")]
pub struct NotConnected {
    /// The member.
    pub target: u64,
}

impl Links {
    /// No links yet. They are dialled from `endpoint` until `stop` is cancelled.
    pub fn new(endpoint: Endpoint, stop: CancellationToken) -> Self {
        let shared = Shared {
            endpoint: Mutex::new(Some(endpoint)),
            links: Mutex::default(),
            tasks: TaskTracker::new(),
            stop,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The link to `target`, dialled from now on if it is new, or has another address than before.
    pub fn link(&self, target: u64, address: &str) -> Link {
        let mut links = self.lock();
        if let Some(link) = links.get(&target).filter(|link| *link.address == *address) {
            return link.clone();
        }
        let (connected, connection) = watch::channel(None);
        let link = Link {
            target,
            address: address.into(),
            connection,
            complaints: Arc::default(),
        };
        if let Some(endpoint) = self.endpoint().clone() {
            let address = Arc::clone(&link.address);
            let stop = self.shared.stop.clone();
            let dialling = keep_connected(endpoint, target, address, connected, stop);
            self.shared.tasks.spawn(dialling);
        }
        links.insert(target, link.clone());
        link
    }

    /// Forgets the links to all but these nodes. One that is still held goes on until it is not.
    pub fn retain(&self, members: impl Fn(u64) -> bool) {
        self.lock().retain(|target, _| members(*target));
    }

    /// Dials `HOST:PORT` once, where the node there is not known yet.
    ///
    /// # Cancel safety
    /// Safe: a connection half made is given up.
    pub async fn dial(&self, address: &str) -> Result<Connection, ConnectError> {
        let endpoint = self.endpoint().clone();
        let endpoint = endpoint.ok_or_else(|| ConnectError::NotDialled {
            target: address.to_owned(),
            reason: "the node is stopping".to_owned(),
        })?;
        dial(&endpoint, address).await
    }

    /// From when on the certificate that is shown to others is not valid any more.
    pub fn certificate_expires(&self) -> Option<Timestamp> {
        let endpoint = self.endpoint();
        let endpoint = endpoint.as_ref()?;
        Some(endpoint.identity().own().not_after)
    }

    /// The link to `target`, if there is one.
    pub fn get(&self, target: u64) -> Option<Link> {
        self.lock().get(&target).cloned()
    }

    /// Waits until the dialling tasks are gone. Cancel `stop` first.
    pub async fn stopped(&self) {
        self.endpoint().take();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    fn endpoint(&self) -> MutexGuard<'_, Option<Endpoint>> {
        let endpoint = &self.shared.endpoint;
        endpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Link>> {
        self.shared
            .links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Links").field(&*self.lock()).finish()
    }
}

impl Link {
    /// The member at the other end.
    pub fn target(&self) -> u64 {
        self.target
    }

    /// Whether there is a connection, so that a question would reach the member.
    pub fn is_connected(&self) -> bool {
        let connection = self.connection.borrow();
        connection.as_ref().is_some_and(|live| !live.is_closed())
    }

    /// Whether `complaint` about the member is to be said now, as it was not for a while.
    pub(super) fn is_due(&self, complaint: &str) -> bool {
        self.complaints.is_due(self.target, complaint)
    }

    /// Opens a stream, waiting up to `patience` for a connection.
    ///
    /// # Cancel safety
    /// Safe: a stream that was opened and not used costs the peer nothing.
    pub async fn open(
        &self,
        patience: Duration,
    ) -> Result<(FrameSender, FrameReceiver), NotConnected> {
        let gone = NotConnected {
            target: self.target,
        };
        let mut connection = self.connection.clone();
        let opened = tokio::time::timeout(patience, async {
            let live = connection
                .wait_for(|live| live.as_ref().is_some_and(|live| !live.is_closed()))
                .await
                .map_err(|_| gone)?
                .clone();
            let live = live.ok_or(gone)?;
            live.open().await.map_err(|_| gone)
        });
        opened.await.unwrap_or(Err(gone))
    }
}

/// Dials until `stop` is cancelled, or nobody holds the link any more.
async fn keep_connected(
    endpoint: Endpoint,
    target: u64,
    address: Arc<str>,
    connected: watch::Sender<Option<Connection>>,
    stop: CancellationToken,
) {
    let dialling = async {
        let mut pause = PAUSE_MIN;
        let mut complained = false;
        loop {
            match dial(&endpoint, &address).await {
                Ok(connection) => {
                    info!(peer = target, %address, "peer connected");
                    (pause, complained) = (PAUSE_MIN, false);
                    connected.send_replace(Some(connection.clone()));
                    let lost = tokio::select! {
                        lost = connection.closed() => lost.to_string(),
                        () = silence(&connection) => {
                            connection.close(CloseCode::Done, "nothing was heard of the peer");
                            "nothing was heard of it for 5 s".to_owned()
                        }
                    };
                    connected.send_replace(None);
                    warn!(peer = target, %address, reason = lost, "peer lost");
                }
                Err(error) if complained => {
                    debug!(peer = target, %address, %error, "peer still not connected");
                }
                Err(error) => {
                    complained = true;
                    warn!(peer = target, %address, %error, "peer not connected, trying on");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = connected.closed() => debug!(peer = target, %address, "peer is not needed any more"),
        () = dialling => {}
    }
    connected.send_replace(None);
}

/// Completes when nothing has come for [`SILENT_LOOKS`].
async fn silence(connection: &Connection) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    // A process that was stopped has not heard yet what came meanwhile.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut received, mut silent) = (connection.packets_received(), 0);
    while silent < SILENT_LOOKS {
        looks.tick().await;
        let now = connection.packets_received();
        silent = if now == received { silent + 1 } else { 0 };
        received = now;
    }
}

/// Dials every address of `HOST:PORT` in turn.
async fn dial(endpoint: &Endpoint, address: &str) -> Result<Connection, ConnectError> {
    let not_resolved = |source| ConnectError::NotResolved {
        target: address.to_owned(),
        source,
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host(address)
        .await
        .map_err(|source| not_resolved(Some(source)))?;
    let mut failure = not_resolved(None);
    for socket in found {
        match endpoint.connect_to(socket, host, Protocol::Raft).await {
            Ok(connection) => return Ok(connection),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
