//! The readings of a load: random walks that depend on their shape alone.
//!
//! `sensor-sim load` sends them to a store, and `cargo xtask bench compare` gives the very same to other
//! systems. How they are encoded, batched and sent is no matter of this crate.
//!
//! Read [`Walk`] first.

mod lateness;
mod walk;

use std::time::Duration;

use sensor_model::Timestamp;

pub use walk::Walk;

/// What a load consists of.
#[derive(Debug, Clone)]
pub struct LoadShape {
    /// Simulated devices.
    pub devices: u32,
    /// Metrics of each.
    pub metrics: u32,
    /// Readings over all series.
    pub readings: u64,
    /// Readings of one series in one batch.
    pub chunk: u32,
    /// Seed of the values.
    pub seed: u64,
    /// The first reading's time.
    pub start: Timestamp,
    /// From one reading of a series to the next.
    pub period: Duration,
    /// So much of all readings arrives late, from 0 for none to 1.
    pub late: f64,
}

impl LoadShape {
    /// How many series there are: those of a device follow one another.
    pub fn series(&self) -> u64 {
        u64::from(self.devices) * u64::from(self.metrics)
    }
}
