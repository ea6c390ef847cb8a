//! One producer's way to the store: outbox, spool and courier, started and stopped together.
//!
//! Order of shutdown: the source has stopped; the intake is closed, so the spool's thread writes
//! what is waiting and ends; the courier delivers until all is acknowledged, or is cut off; the
//! endpoint is closed; the spool is closed last, because acknowledgements end in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use segment_log::Disk;
use sensor_model::SeriesDescription;
use store_wire::client::Dialer;
use store_wire::endpoint::{CloseCode, Endpoint};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::board::Board;
use crate::courier::{Courier, CourierConfig, CourierError};
use crate::intake::Intake;
use crate::outbox::{Outbox, OutboxError};
use crate::spool::writer::SpoolWriter;
use crate::spool::{Acknowledged, OpenError, Owner, Recovered, Spool, SpoolError, SpoolOptions};

/// How long acknowledgements are waited for once the user wants to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long a goodbye to the store may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// What a delivery needs.
#[derive(Debug)]
pub struct DeliveryConfig {
    /// The endpoint to dial from; used by this delivery alone.
    pub endpoint: Endpoint,
    /// Where to begin looking for the leader.
    pub targets: Vec<String>,
    /// Tells several producers of one identity apart.
    pub instance: Option<String>,
    /// Where batches wait.
    pub storage: Storage,
    /// Give up after so long without a leader.
    pub patience: Option<Duration>,
    /// Seed of jitter and salts.
    pub seed: u64,
}

/// Where batches wait for their acknowledgement.
#[derive(Debug)]
pub enum Storage {
    /// On disk, synced before they are sent.
    Spool {
        /// The disk.
        disk: Arc<dyn Disk>,
        /// The spool's folder.
        dir: PathBuf,
        /// Its bound.
        bytes_max: u64,
    },
    /// In memory, at most so many bytes.
    Memory {
        /// The bound.
        bytes_max: usize,
    },
}

/// Why a delivery did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The spool cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The spool failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The courier gave up.
    #[error(transparent)]
    Courier(#[from] CourierError),
    /// The system gives no thread.
    #[error("cannot start the spool's thread")]
    Thread(#[source] std::io::Error),
    /// A part of the agent panicked.
    #[error("a task of the agent ended unexpectedly")]
    Task,
}

/// What was there when a delivery started.
#[derive(Debug, Default)]
pub struct Resumed {
    /// Series the spool has declared, by number.
    pub series: Vec<SeriesDescription>,
    /// Where the source can go on.
    pub position: Option<Bytes>,
}

/// A delivery under way.
#[derive(Debug)]
pub struct Delivery {
    outbox: Arc<Outbox>,
    intake: Intake,
    writer: Option<SpoolWriter>,
    courier: JoinHandle<Result<(), CourierError>>,
    given_up: CancellationToken,
    endpoint: Endpoint,
}

/// How a delivery ended.
#[derive(Debug)]
pub struct Delivered {
    /// Readings that are not acknowledged; on disk, where there is a spool.
    pub remaining: u64,
    /// What went wrong.
    pub error: Option<DeliveryError>,
}

/// Whether a source has given everything it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceEnd {
    /// It has: a later run begins anew.
    Complete,
    /// It was stopped: a later run goes on.
    Stopped,
}

impl Delivery {
    /// Opens the spool and begins to deliver.
    ///
    /// # Errors
    /// [`DeliveryError`] when the spool cannot be opened.
    pub async fn start(
        config: DeliveryConfig,
        board: &Arc<Board>,
    ) -> Result<(Self, Resumed), DeliveryError> {
        let own = config.endpoint.identity().own();
        let producer = match &config.instance {
            Some(instance) => format!("{}#{instance}", own.id()),
            None => own.id(),
        };
        let owner = Owner {
            cluster: own.cluster.clone(),
            producer,
        };
        let opened = match config.storage {
            Storage::Memory { bytes_max } => Opened::in_memory(bytes_max),
            Storage::Spool {
                disk,
                dir,
                bytes_max,
            } => {
                let options = SpoolOptions {
                    bytes_max,
                    salt: config.seed,
                };
                let spool = tokio::task::spawn_blocking(move || {
                    let (spool, recovered) = Spool::open(disk, &dir, &owner, options)?;
                    Ok::<_, OpenError>(Opened::spooled(spool, recovered, &dir))
                });
                spool.await.map_err(|_| DeliveryError::Task)??
            }
        };
        let (intake, writer) = match opened.spool {
            Some(spool) => {
                let (intake, writer) = SpoolWriter::spawn(spool, Arc::clone(&opened.outbox))
                    .map_err(DeliveryError::Thread)?;
                (Intake::Spool(intake), Some(writer))
            }
            None => (Intake::Memory(Arc::clone(&opened.outbox)), None),
        };
        board.add(Arc::clone(&opened.outbox));
        let courier = Courier::new(
            CourierConfig {
                dialer: Dialer::new(config.endpoint.clone()),
                targets: config.targets,
                instance: config.instance,
                epoch: opened.epoch,
                patience: config.patience,
                seed: config.seed,
            },
            Arc::clone(&opened.outbox),
            intake.clone(),
            Arc::clone(board),
        );
        let given_up = CancellationToken::new();
        let opened_outbox = Arc::clone(&opened.outbox);
        let delivery = Self {
            outbox: opened.outbox,
            intake,
            writer,
            courier: tokio::spawn(deliver(courier, opened_outbox, given_up.clone())),
            given_up,
            endpoint: config.endpoint,
        };
        Ok((delivery, opened.resumed))
    }

    /// Where batches go in.
    pub fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// What is on its way.
    pub fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.outbox)
    }

    /// Cancelled when the courier has given up: what comes after is not delivered any more.
    pub fn given_up(&self) -> CancellationToken {
        self.given_up.clone()
    }

    /// Delivers what is left and stops everything. Once `stop` is cancelled, waits only a little.
    ///
    /// # Cancel safety
    /// Not safe: the spool may be left open until the process ends.
    pub async fn finish(mut self, end: SourceEnd, stop: &CancellationToken) -> Delivered {
        self.intake.close();
        let cut_off = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let delivered = tokio::select! {
            outcome = &mut self.courier => Some(outcome),
            () = cut_off => None,
        };
        let mut error = match delivered {
            Some(Ok(Ok(()))) => None,
            Some(Ok(Err(error))) => Some(DeliveryError::Courier(error)),
            Some(Err(_)) => Some(DeliveryError::Task),
            None => {
                self.courier.abort();
                None
            }
        };
        self.endpoint.close(CloseCode::Done, "the agent is done");
        // A goodbye that does not arrive only costs the store a timeout.
        let _ = timeout(GOODBYE, self.endpoint.closed()).await;
        let remaining = self.outbox.waiting_readings();
        if let Some(writer) = self.writer.take() {
            let acknowledged = self.outbox.acknowledged();
            let is_complete = end == SourceEnd::Complete && remaining == 0 && error.is_none();
            let closed =
                tokio::task::spawn_blocking(move || close_spool(writer, acknowledged, is_complete));
            match closed.await {
                Ok(Ok(())) => {}
                Ok(Err(failed)) => error = error.or(Some(DeliveryError::Spool(failed))),
                Err(_) => error = error.or(Some(DeliveryError::Task)),
            }
        }
        Delivered { remaining, error }
    }
}

/// Runs the courier; when it gives up, whoever puts batches in is told.
async fn deliver(
    courier: Courier,
    outbox: Arc<Outbox>,
    given_up: CancellationToken,
) -> Result<(), CourierError> {
    let outcome = courier.run().await;
    if outcome.is_err() {
        outbox.fail(OutboxError::Stopped);
        given_up.cancel();
    }
    outcome
}

fn close_spool(
    writer: SpoolWriter,
    acknowledged: Acknowledged,
    is_complete: bool,
) -> Result<(), SpoolError> {
    let mut spool = writer.join()?;
    spool.acknowledge(acknowledged)?;
    if is_complete {
        spool.forget_position()?;
    }
    spool.close()
}

/// Storage that is ready.
struct Opened {
    outbox: Arc<Outbox>,
    spool: Option<Spool>,
    epoch: Option<u64>,
    resumed: Resumed,
}

impl Opened {
    fn in_memory(bytes_max: usize) -> Self {
        Self {
            outbox: Arc::new(Outbox::in_memory(bytes_max)),
            spool: None,
            epoch: None,
            resumed: Resumed::default(),
        }
    }

    fn spooled(spool: Spool, recovered: Recovered, dir: &Path) -> Self {
        let dir = dir.display();
        if recovered.torn_bytes > 0 {
            warn!(%dir, bytes = recovered.torn_bytes, "the spool's last write was interrupted: its batches were never sent, their readings are read again where the source can");
        }
        if !recovered.batches.is_empty() {
            let readings: u64 = recovered
                .batches
                .iter()
                .map(|batch| u64::from(batch.head.readings))
                .sum();
            info!(%dir, readings, "the spool holds unacknowledged readings: sending them first");
        }
        let resumed = Resumed {
            series: spool.series().to_vec(),
            position: recovered.position.clone(),
        };
        let outbox = Outbox::spooled(recovered, spool.series(), spool.reader());
        outbox.note_spool_bytes(spool.bytes());
        Self {
            outbox: Arc::new(outbox),
            epoch: spool.epoch(),
            spool: Some(spool),
            resumed,
        }
    }
}
