//! `cargo xtask bench …`: the figures the README quotes, each printed with what it is compared to.

mod disk;
mod failover;
mod ingest;

use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Acknowledged readings a second, acknowledgement latency beside the disk's own fdatasync, and
    /// bytes a reading in the log, on a cluster of this machine.
    Ingest(ingest::IngestArguments),
    /// How long no reading is taken when leadership is handed over, and when the leader is stopped or
    /// killed, on a cluster of this machine.
    Failover(failover::FailoverArguments),
}

/// Runs one measurement.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Ingest(arguments) => ingest::run(arguments),
        Bench::Failover(arguments) => failover::run(arguments),
    }
}
