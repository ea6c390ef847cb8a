//! The agent: samples a source, spools what it gives, and delivers it to the store exactly once.
//!
//! The life of a reading here:
//! 1. [`Sampler`](sampler::Sampler) asks the [`Source`] for what is due, on its own task.
//! 2. The [`Batcher`](crate::batcher::Batcher) groups it by series, encodes each run as a chunk and
//!    closes a batch after `batch_max` readings or `linger`.
//! 3. The spool's thread gives the batch its sequence and syncs it (`spool/writer.rs`).
//! 4. From the [`Outbox`](crate::outbox::Outbox) a [`Courier`](crate::courier::Courier) sends it to
//!    the leader, again if need be, until it is acknowledged.
//! 5. Acknowledged batches leave the outbox, and the spool by whole segments.
//!
//! Beside the source's readings go the agent's own (`agent/reporter.rs`): what it dropped, what waits.

mod reporter;
mod sampler;

use std::sync::Arc;
use std::time::Duration;

use sensor_model::SeriesPath;
use sensor_model::reserved::agent_folder;
use store_wire::clock::Clock;
use store_wire::identity::Role;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::reporter::Reporter;
use self::sampler::{Sampler, SamplerConfig};
use crate::board::Board;
use crate::delivery::{Delivered, Delivery, DeliveryConfig, DeliveryError, SourceEnd};
use crate::source::{Source, SourceError};
use crate::summary::Summary;

/// What to sample, and how.
pub struct AgentConfig {
    /// Where readings come from.
    pub source: Box<dyn Source>,
    /// Where they go.
    pub delivery: DeliveryConfig,
    /// Most readings in a batch.
    pub batch_max: u32,
    /// How long a reading waits for others before its batch closes.
    pub linger: Duration,
    /// Sample for so long; to the source's end when `None`.
    pub duration: Option<Duration>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// How often the agent says how it is, in series below `_tidemark/`; never when `None`.
    pub report_every: Option<Duration>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Counts and latencies.
    pub summary: Summary,
    /// Readings that are not acknowledged.
    pub remaining: u64,
    /// What went wrong.
    pub errors: Vec<RunError>,
}

/// What can go wrong in a run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The source cannot go on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The delivery did not start or did not end well.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

/// Runs until the source's end, the duration's, or until `stop` is cancelled; then delivers what is
/// left. `stop` leaves undelivered readings in the spool.
///
/// # Cancel safety
/// Not safe: cancel `stop` instead.
///
/// # Errors
/// [`DeliveryError`] when nothing was begun.
pub async fn run(
    config: AgentConfig,
    board: Arc<Board>,
    stop: CancellationToken,
) -> Result<Outcome, DeliveryError> {
    let started = tokio::time::Instant::now();
    let mut source = config.source;
    let folder = report_folder(&config.delivery);
    let (delivery, resumed) = Delivery::start(config.delivery, &board).await?;
    if let Some(position) = &resumed.position
        && source.resume(position)
    {
        info!("going on where the spool left off");
    }
    let sampler = Sampler::new(
        SamplerConfig {
            source,
            intake: delivery.intake(),
            batch_max: config.batch_max,
            linger: config.linger,
            duration: config.duration,
            clock: config.clock,
            board: Arc::clone(&board),
            reporter: folder.zip(config.report_every).map(|(folder, every)| {
                Reporter::new(&folder, every, delivery.outbox(), Arc::clone(&board))
            }),
        },
        &resumed.series,
    );
    let halt = stop.child_token();
    let sampling = tokio::spawn(sampler.run(halt.clone()));
    let given_up = delivery.given_up();
    let watch = tokio::spawn(async move {
        given_up.cancelled().await;
        halt.cancel();
    });
    let (end, source_error) = match sampling.await {
        Ok(Ok(end)) => (end, None),
        Ok(Err(error)) => (SourceEnd::Stopped, Some(RunError::Source(error))),
        Err(_) => (SourceEnd::Stopped, Some(DeliveryError::Task.into())),
    };
    watch.abort();
    let Delivered { remaining, error } = delivery.finish(end, &stop).await;
    let errors = source_error
        .into_iter()
        .chain(error.map(RunError::Delivery))
        .collect();
    Ok(Outcome {
        summary: board.tally().summary(started, board.reconnects()),
        remaining,
        errors,
    })
}

/// Where this agent's own series are; nowhere if the store would not take them.
fn report_folder(delivery: &DeliveryConfig) -> Option<SeriesPath> {
    let own = delivery.endpoint.identity().own();
    let instance = delivery.instance.as_deref()?;
    let folder = agent_folder(&own.name, instance).ok()?;
    (own.role == Role::Device).then_some(folder)
}
