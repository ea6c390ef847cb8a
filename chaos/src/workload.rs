//! What goes on while things break: producers, writers of single readings, and readers, at a bounded
//! rate, all taken down in the history.
//!
//! - [`producer`]: batches over the ingest conversation, exactly once;
//! - [`put`]: single readings through `query-app`'s client, with outcomes written, refused, unknown;
//! - [`reader`]: reads of one replica at one level each, and of any replica through `query-app`'s client.
//!
//! Whoever asks knows the nodes from the [`Roster`], which follows the membership.

pub mod producer;
pub mod put;
mod question;
pub mod reader;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use local_cluster::{Identities, until};
use query_app::client::{Client, targets::Targets};
use store_wire::client::Dialer;
use store_wire::endpoint::{Endpoint, EndpointOptions};
use store_wire::identity::Identity;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::history::Recorder;
use producer::Producer;
use put::Putter;
use reader::{Asking, Reader, Roamer};

/// How long dialling a node may take: nodes are near, and one that does not answer is left for another.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long producers may take to have everything acknowledged once nothing is broken any more.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(90);

/// How much goes on.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// How many producers.
    pub producers: u32,
    /// Batches a second of each.
    pub batches: f64,
    /// How many writers of single readings.
    pub writers: u32,
    /// Readers at each level.
    pub readers: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            producers: 6,
            batches: 40.0,
            writers: 2,
            readers: 2,
        }
    }
}

/// Where the nodes are. Clones are the same roster.
#[derive(Debug, Clone, Default)]
pub struct Roster(Arc<RwLock<Vec<Seat>>>);

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Its id.
    pub id: u64,
    /// Where clients reach it, `HOST:PORT`.
    pub address: String,
}

impl Roster {
    /// Every node, running or not.
    pub fn seats(&self) -> Vec<Seat> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// From now on these are the nodes.
    pub fn replace(&self, seats: Vec<Seat>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = seats;
    }
}

/// Everything that goes on. Dropping it ends it at once.
#[derive(Debug)]
pub struct Workload {
    /// Cancelled to have producers begin no more batches.
    enough: CancellationToken,
    /// Cancelled to end everything.
    stop: CancellationToken,
    producers: Vec<JoinHandle<Result<()>>>,
    others: Vec<JoinHandle<Result<()>>>,
}

impl Workload {
    /// Begins, on `runtime`.
    ///
    /// # Errors
    /// When an identity or a socket cannot be had.
    pub fn start(
        runtime: &Handle,
        rates: Rates,
        seed: u64,
        identities: &Identities,
        roster: &Roster,
        recorder: &Recorder,
    ) -> Result<Self> {
        let _entered = runtime.enter();
        let mut workload = Self {
            enough: CancellationToken::new(),
            stop: CancellationToken::new(),
            producers: Vec::new(),
            others: Vec::new(),
        };
        for number in 0..rates.producers {
            let folder = identities.issue("device", &format!("producer-{number}"), &[])?;
            let producer = Producer::new(
                number,
                rates.batches,
                seed,
                dialer(&folder)?,
                roster.clone(),
                recorder.clone(),
            );
            let (enough, stop) = (workload.enough.clone(), workload.stop.clone());
            let task = async move {
                stop.run_until_cancelled(producer.run(enough))
                    .await
                    .unwrap_or(Ok(()))
            };
            workload.producers.push(runtime.spawn(task));
        }
        let reading = identities.issue("reader", "reader", &[])?;
        let mut readers = 0;
        for asking in (0..rates.readers).flat_map(|_| Asking::ALL) {
            let reader = Reader::new(
                readers,
                asking,
                seed,
                rates,
                dialer(&reading)?,
                roster.clone(),
                recorder.clone(),
            );
            workload.spawn(runtime, reader.run());
            readers += 1;
        }
        let operating = identities.issue("operator", "writer", &[])?;
        let client = client_of(&operating, roster)?;
        let roaming = Roamer::new(readers, rates.producers, seed, client, recorder.clone());
        workload.spawn(runtime, roaming.run());
        for number in 0..rates.writers {
            let client = client_of(&operating, roster)?;
            let putter = Putter::new(number, seed, client, recorder.clone());
            workload.spawn(runtime, putter.run());
        }
        Ok(workload)
    }

    fn spawn(&mut self, runtime: &Handle, task: impl Future<Output = Result<()>> + Send + 'static) {
        let stop = self.stop.clone();
        let task = async move { stop.run_until_cancelled(task).await.unwrap_or(Ok(())) };
        self.others.push(runtime.spawn(task));
    }

    /// Whether something of it ended, which it only does by a mistake of the harness.
    pub fn is_broken(&self) -> bool {
        let mut tasks = self.producers.iter().chain(&self.others);
        !self.enough.is_cancelled() && tasks.any(JoinHandle::is_finished)
    }

    /// Has the producers begin no more batches, waits until all is acknowledged, and ends everything.
    ///
    /// # Errors
    /// When something was not acknowledged in time, or the harness itself failed.
    pub fn finish(mut self, runtime: &Handle) -> Result<()> {
        self.enough.cancel();
        let flushed = until("the acknowledgement of all batches", FLUSH_TIMEOUT, || {
            Ok(self
                .producers
                .iter()
                .all(JoinHandle::is_finished)
                .then_some(()))
        });
        self.stop.cancel();
        let tasks: Vec<_> = self
            .producers
            .drain(..)
            .chain(self.others.drain(..))
            .collect();
        let ends: Vec<Result<()>> = tasks
            .into_iter()
            .map(|task| {
                runtime
                    .block_on(task)
                    .context("a task of the workload panicked")?
            })
            .collect();
        ends.into_iter().collect::<Result<()>>()?;
        flushed
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Dials as the identity in `folder`, from a socket of its own.
pub(crate) fn dialer(folder: &Path) -> Result<Dialer> {
    let identity = Arc::new(Identity::load(folder)?);
    let options = EndpointOptions {
        connect_timeout: CONNECT_TIMEOUT,
        ..EndpointOptions::default()
    };
    Ok(Dialer::new(Endpoint::for_dialling(identity, &options)?))
}

/// A client of the whole cluster as the identity in `folder`, as programs have it.
fn client_of(folder: &Path, roster: &Roster) -> Result<Client> {
    let addresses: Vec<String> = roster
        .seats()
        .into_iter()
        .map(|seat| seat.address)
        .collect();
    let targets = Targets::parse(&addresses.join(","))?;
    Ok(Client::over_quic(folder, targets)?)
}
