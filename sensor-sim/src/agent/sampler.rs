//! Asks the source for what is due and closes batches when they are full or old enough.

use std::sync::Arc;
use std::time::Duration;

use sensor_model::{SeriesDescription, Timestamp};
use store_wire::clock::Clock;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::reporter::Reporter;
use crate::batcher::Batcher;
use crate::board::Board;
use crate::delivery::SourceEnd;
use crate::intake::Intake;
use crate::outbox::OutboxError;
use crate::source::{Next, Samples, Source, SourceError};
use crate::spool::writer::Submission;

/// How long batches may take to get into the spool once sampling is over.
const GRACE: Duration = Duration::from_secs(2);

/// What a sampler needs.
pub(super) struct SamplerConfig {
    pub(super) source: Box<dyn Source>,
    pub(super) intake: Intake,
    pub(super) batch_max: u32,
    pub(super) linger: Duration,
    pub(super) duration: Option<Duration>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) board: Arc<Board>,
    pub(super) reporter: Option<Reporter>,
}

/// Drives one source.
pub(super) struct Sampler {
    config: SamplerConfig,
    batcher: Batcher,
    samples: Samples,
    /// When the batch in the making is old enough.
    linger_until: Option<Instant>,
    closed: Vec<Submission>,
    refused_told: u64,
}

/// What ended a wait.
enum Woken {
    /// The source is due again.
    Due,
    /// The batch is old enough.
    Lingered,
    /// The agent is to say how it is.
    Report,
    /// The duration is over, or somebody wants to stop.
    Over,
}

impl Sampler {
    /// `known` are the series the spool has declared.
    pub(super) fn new(config: SamplerConfig, known: &[SeriesDescription]) -> Self {
        Self {
            batcher: Batcher::new(config.batch_max, config.source.nature(), known),
            config,
            samples: Samples::default(),
            linger_until: None,
            closed: Vec::new(),
            refused_told: 0,
        }
    }

    /// Samples until the source's end, the duration's, or `halt`. What was sampled is handed over
    /// in any case, unless the intake has ended.
    pub(super) async fn run(mut self, halt: CancellationToken) -> Result<SourceEnd, SourceError> {
        let end = self
            .config
            .duration
            .map(|duration| Instant::now() + duration);
        let outcome = self.sample_until(end, &halt).await;
        self.batcher.close(&mut self.closed);
        self.report(Reporter::last);
        // Who stopped the intake knows why.
        let _ = self.hand_over(&halt).await;
        outcome
    }

    async fn sample_until(
        &mut self,
        end: Option<Instant>,
        halt: &CancellationToken,
    ) -> Result<SourceEnd, SourceError> {
        loop {
            if halt.is_cancelled() || end.is_some_and(|end| end <= Instant::now()) {
                return Ok(SourceEnd::Stopped);
            }
            let next = self.sample()?;
            self.report(Reporter::due);
            if self.hand_over(halt).await.is_err() {
                return Ok(SourceEnd::Stopped);
            }
            match next {
                Next::Immediately => {}
                Next::End => return Ok(SourceEnd::Complete),
                Next::At(due) => {
                    if self.wait(due, end, halt).await.is_err() {
                        return Ok(SourceEnd::Stopped);
                    }
                }
            }
        }
    }

    /// Takes what is due. Never waits.
    fn sample(&mut self) -> Result<Next, SourceError> {
        let now = self.config.clock.now();
        let next = self.config.source.sample(now, &mut self.samples);
        if !self.samples.readings().is_empty() {
            let position = self.config.source.position();
            self.batcher
                .add(&mut self.samples, position, &mut self.closed);
        }
        if self.batcher.is_empty() {
            self.linger_until = None;
        } else {
            let until = self
                .linger_until
                .get_or_insert_with(|| Instant::now() + self.config.linger);
            if *until <= Instant::now() {
                self.close();
            }
        }
        next
    }

    /// Waits until the source is due. `Err` when sampling is over.
    async fn wait(
        &mut self,
        due: Timestamp,
        end: Option<Instant>,
        halt: &CancellationToken,
    ) -> Result<(), OutboxError> {
        loop {
            let pause = due.as_nanos() - self.config.clock.now().as_nanos();
            let Ok(pause) = u64::try_from(pause) else {
                return Ok(());
            };
            let due_at = Instant::now() + Duration::from_nanos(pause);
            let woken = tokio::select! {
                biased;
                () = halt.cancelled() => Woken::Over,
                () = sleep_until_some(end) => Woken::Over,
                () = sleep_until_some(self.linger_until) => Woken::Lingered,
                () = sleep_until_some(self.next_report()) => Woken::Report,
                () = sleep_until(due_at) => Woken::Due,
            };
            match woken {
                Woken::Due => return Ok(()),
                Woken::Over => return Err(OutboxError::Stopped),
                Woken::Lingered => {
                    self.close();
                    self.hand_over(halt).await?;
                }
                Woken::Report => {
                    self.report(Reporter::due);
                    self.hand_over(halt).await?;
                }
            }
        }
    }

    /// Says how the agent is, if there is something to say.
    fn report(&mut self, say: impl FnOnce(&mut Reporter) -> Option<Vec<(SeriesDescription, i64)>>) {
        if let Some(report) = self.config.reporter.as_mut().and_then(say) {
            let now = self.config.clock.now();
            self.batcher.report(report, now, &mut self.closed);
        }
    }

    fn next_report(&self) -> Option<Instant> {
        self.config.reporter.as_ref().map(Reporter::next)
    }

    fn close(&mut self) {
        self.batcher.close(&mut self.closed);
        self.linger_until = None;
    }

    /// Hands closed batches over, waiting while there is no room. Once `halt` is cancelled it waits
    /// only a little: what there is no room for then is read again where the source can.
    async fn hand_over(&mut self, halt: &CancellationToken) -> Result<(), OutboxError> {
        let refused = self.batcher.refused();
        self.config.board.add_refused(refused - self.refused_told);
        self.refused_told = refused;
        for submission in self.closed.drain(..) {
            let push = self.config.intake.push(submission);
            tokio::select! {
                biased;
                pushed = push => pushed?,
                () = grace_after(halt) => return Err(OutboxError::Stopped),
            }
        }
        Ok(())
    }
}

async fn grace_after(halt: &CancellationToken) {
    halt.cancelled().await;
    sleep(GRACE).await;
}

async fn sleep_until_some(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
