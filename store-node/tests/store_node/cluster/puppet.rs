//! A member whose strings are pulled by a test: it has a node's identity and address, says yes to
//! entries as slowly as it is told, and takes note of snapshots it is offered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use store_node::raft::message::{self, FromPeer, Install, ToPeer};
use store_wire::{
    endpoint::{Connection, Endpoint, EndpointOptions},
    frame::{FrameReceiver, FrameSender},
    identity::Identity,
};
use tokio::{sync::watch, task::JoinSet};

use super::{Cluster, within};

/// In place of a node that was stopped.
pub(super) struct Puppet {
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

struct Seen {
    /// How long it takes over each request with entries.
    pause: Duration,
    /// The index of the last entry it said yes to.
    last: AtomicU64,
    offered: watch::Sender<Option<Install>>,
}

impl Puppet {
    /// Takes the place of node `id`.
    pub(super) async fn of(cluster: &Cluster, id: u64, pause: Duration) -> Self {
        let folder = cluster.identities.path().join(id.to_string());
        let identity = Arc::new(Identity::load(&folder).expect("an identity"));
        let endpoint = within(async {
            loop {
                let options = EndpointOptions::default();
                match Endpoint::bind(cluster.address(id), Arc::clone(&identity), &options) {
                    Ok(endpoint) => return endpoint,
                    // The runtime closes the node's own socket in its own time.
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        })
        .await;
        let seen = Arc::new(Seen {
            pause,
            last: AtomicU64::new(0),
            offered: watch::Sender::new(None),
        });
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Some(connection) = endpoint.accept().await {
                connections.spawn(serve(connection, Arc::clone(&shared)));
            }
        });
        Self {
            seen,
            _tasks: tasks,
        }
    }

    /// The index of the last entry it has said yes to.
    pub(super) fn last(&self) -> u64 {
        self.seen.last.load(Ordering::Relaxed)
    }

    /// Waits until it is offered a snapshot.
    pub(super) async fn offered(&self) -> Install {
        let mut offered = self.seen.offered.subscribe();
        let found = within(offered.wait_for(Option::is_some)).await;
        found
            .expect("the sender lives")
            .clone()
            .expect("it is some")
    }
}

async fn serve(connection: Connection, seen: Arc<Seen>) {
    let mut streams = JoinSet::new();
    while let Ok((sender, receiver)) = connection.accept().await {
        let seen = Arc::clone(&seen);
        streams.spawn(async move {
            // A stream that breaks is no concern of a puppet's.
            drop(answer(sender, receiver, &seen).await);
        });
    }
}

async fn answer(
    mut sender: FrameSender,
    mut receiver: FrameReceiver,
    seen: &Seen,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let hello = receiver.receive::<ToPeer>().await?;
    assert!(
        matches!(hello, Some((ToPeer::Hello { .. }, _))),
        "{hello:?}"
    );
    while let Some((request, body)) = receiver.receive::<ToPeer>().await? {
        match request {
            ToPeer::Append {
                previous, entries, ..
            } => {
                let entries = message::entries(previous, &entries, body)?;
                let last = match entries.last() {
                    Some(last) => {
                        tokio::time::sleep(seen.pause).await;
                        seen.last.fetch_max(last.log_id.index, Ordering::Relaxed);
                        Some(last.log_id.into())
                    }
                    None => previous,
                };
                sender.send(&FromPeer::Appended(last), &[]).await?;
            }
            ToPeer::Install(install) => {
                seen.offered.send_replace(Some(install));
                // And never more a word of it.
                std::future::pending::<()>().await;
            }
            ToPeer::Greet { .. } => {
                let greeted = FromPeer::Greeted { draining: false };
                sender.send(&greeted, &[]).await?;
            }
            ToPeer::ReadIndex { .. } => sender.send(&FromPeer::NotLeader(None), &[]).await?,
            // It gives no votes.
            _ => return Ok(()),
        }
    }
    Ok(())
}
