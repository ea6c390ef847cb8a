//! What a run shows while it goes on: counts of all its outboxes, and where they are connected.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::outbox::Outbox;
use crate::summary::Tally;

/// Shared by everything that runs and whatever shows it.
#[derive(Debug, Default)]
pub struct Board {
    outboxes: Mutex<Vec<Arc<Outbox>>>,
    leader: Mutex<Option<String>>,
    reconnects: AtomicU64,
    refused: AtomicU64,
}

impl Board {
    /// Counts the batches of `outbox` in from now on.
    pub fn add(&self, outbox: Arc<Outbox>) {
        lock(&self.outboxes).push(outbox);
    }

    /// A session began, the first of its courier or another one.
    pub fn connected(&self, target: &str, is_again: bool) {
        *lock(&self.leader) = Some(target.to_owned());
        if is_again {
            self.reconnects.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A session ended.
    pub fn disconnected(&self) {
        *lock(&self.leader) = None;
    }

    /// Readings that were refused before they reached an outbox.
    pub fn add_refused(&self, readings: u64) {
        self.refused.fetch_add(readings, Ordering::Relaxed);
    }

    /// Where the last session that began goes to, if it goes on.
    pub fn leader(&self) -> Option<String> {
        lock(&self.leader).clone()
    }

    /// How often a connection had to be made again.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// The counts of all outboxes together.
    pub fn tally(&self) -> Tally {
        let mut total = Tally::default();
        for outbox in lock(&self.outboxes).iter() {
            total.merge(&outbox.tally());
        }
        total.refused += self.refused.load(Ordering::Relaxed);
        total
    }

    /// Readings that wait for acknowledgement.
    pub fn waiting_readings(&self) -> u64 {
        let outboxes = lock(&self.outboxes);
        outboxes
            .iter()
            .map(|outbox| outbox.waiting_readings())
            .sum()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Single assignments under these locks: a panic leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
