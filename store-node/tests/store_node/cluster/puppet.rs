//! A member whose strings are pulled by a test: it has a node's identity and address, says yes to
//! entries as slowly or as many at a time as it is told, or reads and says nothing, or does not even
//! read; and takes note of snapshots it is offered.

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

/// How it treats who talks to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It takes so long over each request with entries.
    Slow(Duration),
    /// It says yes once so many requests have come on a stream, to all of them.
    Together(usize),
    /// It reads everything and answers nothing.
    Mute,
    /// It takes streams and reads nothing.
    Deaf,
}

struct Seen {
    manner: Manner,
    /// Most bytes of entries that came on one stream.
    stream_bytes_max: AtomicU64,
    /// Streams that were opened.
    streams: AtomicU64,
    /// The index of the last entry it said yes to.
    last: AtomicU64,
    offered: watch::Sender<Option<Install>>,
}

impl Puppet {
    /// Takes the place of node `id`.
    pub(super) async fn of(cluster: &Cluster, id: u64, manner: Manner) -> Self {
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
            manner,
            stream_bytes_max: AtomicU64::new(0),
            streams: AtomicU64::new(0),
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

    /// Most bytes of entries that came on one stream.
    pub(super) fn stream_bytes_max(&self) -> u64 {
        self.seen.stream_bytes_max.load(Ordering::Relaxed)
    }

    /// How many streams were opened to it.
    pub(super) fn streams(&self) -> u64 {
        self.seen.streams.load(Ordering::Relaxed)
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
        seen.streams.fetch_add(1, Ordering::Relaxed);
        streams.spawn(async move {
            if seen.manner == Manner::Deaf {
                let _unread = (sender, receiver);
                return std::future::pending().await;
            }
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
    let mut stream_bytes = 0;
    let mut held = Vec::new();
    while let Some((request, body)) = receiver.receive::<ToPeer>().await? {
        let (pause, together) = match seen.manner {
            Manner::Slow(pause) => (Some(pause), 1),
            Manner::Together(requests) => (Some(Duration::ZERO), requests),
            Manner::Mute | Manner::Deaf => (None, 0),
        };
        let Some(pause) = pause else {
            stream_bytes += body.len() as u64;
            seen.stream_bytes_max
                .fetch_max(stream_bytes, Ordering::Relaxed);
            continue;
        };
        match request {
            ToPeer::Append {
                previous, entries, ..
            } => {
                let entries = message::entries(previous, &entries, body)?;
                let last = match entries.last() {
                    Some(last) => {
                        tokio::time::sleep(pause).await;
                        seen.last.fetch_max(last.log_id.index, Ordering::Relaxed);
                        Some(last.log_id.into())
                    }
                    None => previous,
                };
                held.push(FromPeer::Appended(last));
                if held.len() >= together {
                    for answer in held.drain(..) {
                        sender.send(&answer, &[]).await?;
                    }
                }
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
