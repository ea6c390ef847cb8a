//! `cargo xtask bench …`: the figures the README quotes, each printed with what it is compared to.

mod compare;
mod dashboard;
mod disk;
mod failover;
mod history;
mod ingest;
pub(crate) mod instructions;
mod load;
mod nodes;
mod overload;
mod page;
mod query;
mod rejoin;
mod scale;
mod stage;
mod storage;

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Acknowledged readings a second, acknowledgement latency beside the disk's own fdatasync, and
    /// bytes a reading in the log, on a cluster of this machine.
    Ingest(ingest::IngestArguments),
    /// How soon the dashboard's page is there, how quickly a series of many readings is zoomed, and what
    /// 20 live charts cost, in chromium.
    Dashboard(dashboard::DashboardArguments),
    /// How long no reading is taken when leadership is handed over, and when the leader is stopped or
    /// killed, on a cluster of this machine.
    Failover(failover::FailoverArguments),
    /// A store with history, a part of it late: bytes a reading, memory, starts.
    History(history::HistoryArguments),
    /// What questions cost, in the node and end to end, cold and warm, for one client and for many.
    Query(query::QueryArguments),
    /// Bytes a reading of the plant and of recordings of real sensors, beside others.
    Storage(storage::StorageArguments),
    /// A follower is lost and replaced under load: how long the load waits at most.
    Rejoin(rejoin::RejoinArguments),
    /// What several times the load that a cluster can take does to it: goodput relative to its capacity,
    /// memory, and what a small producer notices beside greedy ones.
    Overload(overload::OverloadArguments),
    /// The same readings and the same questions, in Tidemark and in other systems that this machine
    /// has, one after the other.
    Compare(compare::CompareArguments),
    /// How ingest, questions, memory and starts grow with series, history, producers and nodes.
    Scale(scale::ScaleArguments),
    /// How many instructions the hot paths take, beside their budgets, which `cargo xtask test` holds
    /// them to.
    Instructions(instructions::InstructionsArguments),
}

/// Runs one measurement.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Ingest(arguments) => ingest::run(arguments),
        Bench::Dashboard(arguments) => dashboard::run(arguments),
        Bench::Failover(arguments) => failover::run(arguments),
        Bench::History(arguments) => history::run(arguments),
        Bench::Query(arguments) => query::run(arguments),
        Bench::Storage(arguments) => storage::run(arguments),
        Bench::Rejoin(arguments) => rejoin::run(arguments),
        Bench::Overload(arguments) => overload::run(arguments),
        Bench::Compare(arguments) => compare::run(arguments),
        Bench::Scale(arguments) => scale::run(arguments),
        Bench::Instructions(arguments) => instructions::run(arguments),
    }
}

/// A duration in ms.
fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
