//! Serves HTTP until it is told to stop.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::client::Client;

/// How long requests under way may take to finish after the service was told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// How long subscribers may take to hear that the service stops.
pub const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves `app`, whose subscribers follow the store through `client`, on `listener` until `shutdown` is
/// ready, then tells subscribers to go on elsewhere and lets requests under way finish for a
/// bounded time.
///
/// Dropping the future stops at once.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    client: Client,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let draining = CancellationToken::new();
    let (told, subscribers) = (draining.clone(), client.clone());
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        shutdown.await;
        info!("stopping: requests under way may finish");
        subscribers.end_tails();
        told.cancel();
    });
    let overdue = async {
        draining.cancelled().await;
        tokio::time::sleep(DRAIN_TIMEOUT).await;
    };
    tokio::select! {
        ended = server.into_future() => {
            // A WebSocket is no request under way any more.
            client.tails_ended(GOODBYE_TIMEOUT).await;
            ended
        }
        () = overdue => {
            warn!("requests were still under way and are broken off");
            Ok(())
        }
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
