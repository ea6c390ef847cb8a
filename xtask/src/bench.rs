//! `cargo xtask bench …`: the figures the README quotes, each printed with what it is compared to.

mod disk;
mod ingest;
mod overload;

use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Acknowledged readings a second, acknowledgement latency beside the disk's own fdatasync, and
    /// bytes a reading in the log, on a cluster of this machine.
    Ingest(ingest::IngestArguments),
    /// What several times the load that a cluster can take does to it: goodput relative to its capacity,
    /// memory, and what a small producer notices beside greedy ones.
    Overload(overload::OverloadArguments),
}

/// Runs one measurement.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Ingest(arguments) => ingest::run(arguments),
        Bench::Overload(arguments) => overload::run(arguments),
    }
}
