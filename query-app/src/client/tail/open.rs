//! How many tails a client has open, and how all of them are ended.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use store_wire::message::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::failure::Failure;

/// Most tails of a client at a time: each takes a stream of the 96 to one node.
pub const TAILS_MAX: usize = 64;

/// The tails of a client.
#[derive(Debug)]
pub(in crate::client) struct Tails {
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

/// One tail, as long as it is open.
pub(super) struct Open {
    _permit: OwnedSemaphorePermit,
    stop: CancellationToken,
}

impl Default for Tails {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(TAILS_MAX)),
            stop: CancellationToken::new(),
        }
    }
}

impl Tails {
    pub(super) fn open(&self) -> Result<Open, Failure> {
        if self.stop.is_cancelled() {
            return Err(stopping());
        }
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| {
            let message = format!(
                "{TAILS_MAX} subscribers are being served, as many as may be: try another service, or again later"
            );
            Failure::new(ErrorCode::Overloaded, message)
        })?;
        Ok(Open {
            _permit: permit,
            stop: self.stop.clone(),
        })
    }
}

impl Open {
    /// Ready when all are to end.
    pub(super) fn stopped(&self) -> impl Future<Output = Failure> + Send + use<> {
        let stop = self.stop.clone();
        async move {
            stop.cancelled_owned().await;
            stopping()
        }
    }
}

impl Client {
    /// Ends all tails: each fails with [`ErrorCode::Draining`], and no more are opened.
    pub fn end_tails(&self) {
        self.shared.tails.stop.cancel();
    }

    /// Waits until all tails are dropped, a while.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn tails_ended(&self, patience: Duration) {
        let all = u32::try_from(TAILS_MAX).unwrap_or(u32::MAX);
        let ended = self.shared.tails.permits.acquire_many(all);
        // Whoever is still there then is left alone.
        drop(tokio::time::timeout(patience, ended).await);
    }
}

fn stopping() -> Failure {
    let message = "this service is shutting down: go on at another";
    Failure::new(ErrorCode::Draining, message)
}
