//! Serves HTTP/1.1 until it is told to stop.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::client::Client;

/// What clients may take of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time but for WebSockets, which have a bound of their own. Others wait to be taken.
    pub connections: usize,
    /// How long the head of a request may take to come, the first of a connection as well as any later
    /// one: an idle connection ends then.
    pub head: Duration,
    /// How long a client may take nothing of what is sent to it. Longer than a subscriber may, who is told
    /// why it is dropped.
    pub stalled: Duration,
}

impl Default for Limits {
    /// 1,024 connections, 30 s for a head, 40 s without taking anything.
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(30),
            stalled: Duration::from_secs(40),
        }
    }
}

/// How long requests under way may take to finish after the service was told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// How long subscribers may take to hear that the service stops.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves `app`, whose subscribers follow the store through `client`, on `listener` until `shutdown` is
/// ready, then tells subscribers to go on elsewhere and lets requests under way finish for a
/// bounded time.
///
/// Dropping the future takes no more requests; those under way go on.
pub async fn serve(
    mut listener: TcpListener,
    app: Router,
    client: Client,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let stopping = CancellationToken::new();
    let _stopping = stopping.clone().drop_guard();
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            // Nothing but a lack of sockets fails here, and that is waited out.
            (place, Listener::accept(&mut listener).await.0)
        };
        let (place, stream) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        let connection = connection(stream, app.clone(), limits, stopping.clone());
        connections.spawn(async move {
            connection.await;
            drop(place);
        });
    }
    info!("stopping: requests under way may finish");
    drop(listener);
    client.end_tails();
    stopping.cancel();
    connections.close();
    match timeout(DRAIN_TIMEOUT, connections.wait()).await {
        // A WebSocket is no request under way any more.
        Ok(()) => client.tails_ended(GOODBYE_TIMEOUT).await,
        Err(_) => warn!("requests were still under way and are broken off"),
    }
}

/// Answers the requests of one connection until it ends; once `stopping`, those under way.
async fn connection(stream: TcpStream, app: Router, limits: Limits, stopping: CancellationToken) {
    // Answers leave as they are written: none waits for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a connection cannot be set to send at once");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.stalled));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(app),
        )
        .with_upgrades();
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stopping.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended");
    }
}

/// Ready once the process is asked to stop (SIGTERM, or Ctrl-C).
///
/// # Errors
/// When the signals cannot be listened for.
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
