//! `sensor-sim load`: synthetic readings as fast as the store takes them, to measure it.
//!
//! Each connection is a producer of its own with a share of the series. A thread per connection
//! makes readings (`load_walk`) and encodes them (`load/generator.rs`); they wait in memory, or in a spool where
//! one is asked for, and go the same way as an agent's from there.

mod generator;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use segment_log::Disk;
use sensor_model::PathError;
use store_wire::endpoint::{Endpoint, EndpointError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use load_walk::LoadShape;

use self::generator::Generator;
use crate::agent::{Outcome, RunError};
use crate::board::Board;
use crate::delivery::{Delivery, DeliveryConfig, DeliveryError, SourceEnd, Storage};
use crate::intake::Intake;

/// Bytes of batches that wait in memory, over all connections.
const MEMORY_BYTES: usize = 64 << 20;
/// The instance of a load's producers.
const INSTANCE: &str = "load";

/// A load to run.
pub struct LoadConfig {
    /// What to send.
    pub shape: LoadShape,
    /// How many producers share it.
    pub connections: u32,
    /// Readings a second of all of them together; `None` for as fast as the store takes them.
    pub rate: Option<f64>,
    /// Makes an endpoint for each connection.
    pub endpoint: Box<dyn Fn() -> Result<Endpoint, EndpointError> + Send>,
    /// Where to begin looking for the leader.
    pub targets: Vec<String>,
    /// Tells this load's producers apart from others of the identity.
    pub instance: Option<String>,
    /// Spool on disk, in a folder for each connection.
    pub spool: Option<LoadSpool>,
    /// Give up after so long without a leader.
    pub patience: Option<Duration>,
}

/// Where a load is spooled.
#[derive(Debug, Clone)]
pub struct LoadSpool {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The folder.
    pub dir: PathBuf,
    /// The bound of each connection's spool.
    pub bytes_max: u64,
}

/// Why a load was not begun.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No spool.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// The numbers of devices or metrics make no legal names.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The system gives no thread.
    #[error("cannot start a generator's thread")]
    Thread(#[source] std::io::Error),
}

/// One connection under way.
struct Lane {
    delivery: Delivery,
    generated: oneshot::Receiver<SourceEnd>,
}

/// Sends everything and waits for its acknowledgement.
///
/// # Cancel safety
/// Not safe: cancel `stop` instead.
///
/// # Errors
/// [`LoadError`] when nothing was begun.
pub async fn run(
    config: LoadConfig,
    board: Arc<Board>,
    stop: CancellationToken,
) -> Result<Outcome, LoadError> {
    let started = tokio::time::Instant::now();
    let mut lanes = Vec::new();
    for connection in 0..config.connections {
        lanes.push(start_lane(&config, connection, &board, &stop).await?);
    }
    // All at once: each says goodbye to the store, and that takes a while.
    let mut finishing = JoinSet::new();
    for Lane {
        delivery,
        generated,
    } in lanes
    {
        let stop = stop.clone();
        finishing.spawn(async move {
            let end = generated.await.unwrap_or(SourceEnd::Stopped);
            delivery.finish(end, &stop).await
        });
    }
    let mut remaining = 0;
    let mut errors = Vec::new();
    while let Some(finished) = finishing.join_next().await {
        let error = match finished {
            Ok(delivered) => {
                remaining += delivered.remaining;
                delivered.error
            }
            Err(_) => Some(DeliveryError::Task),
        };
        errors.extend(error.map(RunError::Delivery));
    }
    Ok(Outcome {
        summary: board.tally().summary(started, board.reconnects()),
        remaining,
        errors,
    })
}

async fn start_lane(
    config: &LoadConfig,
    connection: u32,
    board: &Arc<Board>,
    stop: &CancellationToken,
) -> Result<Lane, LoadError> {
    let mut generator = Generator::new(&config.shape, connection, config.connections)?;
    let instance = config.instance.as_deref().unwrap_or(INSTANCE);
    let (delivery, resumed) = Delivery::start(
        DeliveryConfig {
            endpoint: (config.endpoint)()?,
            targets: config.targets.clone(),
            instance: Some(match config.connections {
                1 => instance.to_owned(),
                _ => format!("{instance}-{}", connection + 1),
            }),
            storage: storage(config, connection),
            patience: config.patience,
            seed: config.shape.seed ^ u64::from(connection),
        },
        board,
    )
    .await?;
    if let Some(position) = &resumed.position
        && generator.resume(position)
    {
        info!(connection, "going on where the spool left off");
    }
    generator.declare(&resumed.series);
    let halt = stop.child_token();
    let given_up = delivery.given_up();
    let watched = halt.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = given_up.cancelled() => watched.cancel(),
            () = watched.cancelled() => {}
        }
    });
    let (done, generated) = oneshot::channel();
    let intake = delivery.intake();
    let pace = config.rate.map(|rate| rate / f64::from(config.connections));
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name(format!("load-{}", connection + 1))
        .spawn(move || {
            let end = runtime.block_on(generate(generator, pace, &intake, &halt));
            halt.cancel();
            // Nobody waits for the end of a run that was given up.
            let _ = done.send(end);
        })
        .map_err(LoadError::Thread)?;
    Ok(Lane {
        delivery,
        generated,
    })
}

/// Hands over what `generator` makes, at `pace` readings a second if there is one.
async fn generate(
    mut generator: Generator,
    pace: Option<f64>,
    intake: &Intake,
    halt: &CancellationToken,
) -> SourceEnd {
    let mut due = tokio::time::Instant::now();
    while let Some(submission) = generator.next_batch() {
        let readings = submission.batch.readings;
        let pushed = async {
            tokio::time::sleep_until(due).await;
            intake.push(submission).await
        };
        tokio::select! {
            biased;
            () = halt.cancelled() => return SourceEnd::Stopped,
            pushed = pushed => if pushed.is_err() {
                return SourceEnd::Stopped;
            },
        }
        if let Some(pace) = pace {
            due += Duration::from_secs_f64(f64::from(readings) / pace);
        }
    }
    SourceEnd::Complete
}

fn storage(config: &LoadConfig, connection: u32) -> Storage {
    match &config.spool {
        None => Storage::Memory {
            bytes_max: MEMORY_BYTES / config.connections.max(1) as usize,
        },
        Some(spool) => Storage::Spool {
            disk: Arc::clone(&spool.disk),
            dir: match config.connections {
                1 => spool.dir.clone(),
                _ => spool.dir.join((connection + 1).to_string()),
            },
            bytes_max: spool.bytes_max,
        },
    }
}
