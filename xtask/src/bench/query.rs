//! `cargo xtask bench query`: what questions cost, in the node and end to end through the query
//! service, warm and as the first after a start, for one client and for many.
//!
//! Time in the node is what the nodes' own histogram `tidemark_query_seconds` has counted meanwhile:
//! its mean is exact, its percentiles are read off the histogram's bounds.

mod questions;
pub(crate) mod service;
mod spread;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use local_cluster::{ClusterOptions, LocalCluster};

use self::questions::{QUESTIONS, Question};
use self::service::{Client, Service};
use self::spread::{InNode, Spread};
use super::{load, ms, nodes, stage};

/// Series of the plant: 100 devices with ten metrics each.
const DEVICES: u64 = 100;
const METRICS: u64 = 10;
/// Twelve hours of them, ten seconds apart.
const PLANT_READINGS: u64 = DEVICES * METRICS * 12 * 360;
/// Seconds of a year of 365 days.
const YEAR_S: u64 = 31_536_000;
/// Clients that ask at once.
const CLIENTS: [usize; 3] = [1, 8, 64];

/// Measures questions on a cluster of this machine.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask bench query --questions 50 --starts 2")]
pub(crate) struct QueryArguments {
    /// How often each question is asked warm, by all clients together.
    #[arg(long, default_value_t = 400)]
    questions: u64,
    /// How often each question is asked as the first after a start.
    #[arg(long, default_value_t = 5)]
    starts: usize,
    /// Part of the readings that arrived late.
    #[arg(long, default_value_t = 0.25)]
    late: f64,
    /// Only questions whose name has this in it.
    #[arg(long)]
    only: Option<String>,
    /// Measures programs of the everyday profile: to try the command.
    #[arg(long)]
    debug: bool,
    /// Folder on the disk to measure.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Runs the measurement and prints it.
pub(crate) fn run(arguments: &QueryArguments) -> Result<()> {
    println!(
        "command: cargo xtask bench query --questions {} --starts {} --late {}{}",
        arguments.questions,
        arguments.starts,
        arguments.late,
        if arguments.debug { " --debug" } else { "" },
    );
    let programs = stage::programs(arguments.debug)?;
    let dir = stage::temporary("bench-query-", arguments.dir.as_deref())?;
    let options = ClusterOptions::default();
    let mut cluster = LocalCluster::start(&programs, &dir.path().join("cluster"), &options)?;
    fill(&mut cluster, arguments.late)?;

    let only = arguments.only.as_deref().unwrap_or_default();
    let questions = QUESTIONS.iter().filter(|asked| asked.name.contains(only));
    for question in questions {
        cold(&mut cluster, question, arguments.starts)?;
        let service = Service::start(&cluster)?;
        for clients in CLIENTS {
            warm(&cluster, &service, question, clients, arguments.questions)?;
        }
    }
    nodes::print_memory("resident after the questions", &cluster)?;
    remove(cluster, dir.path())
}

/// Loads a year of one series and twelve hours of a thousand, and seals everything.
fn fill(cluster: &mut LocalCluster, late: f64) -> Result<()> {
    let (devices, metrics) = (DEVICES.to_string(), METRICS.to_string());
    let (plant, year, late) = (
        PLANT_READINGS.to_string(),
        YEAR_S.to_string(),
        late.to_string(),
    );
    let shape = ["load", "--late", &late, "--devices"];
    let plant = [&devices, "--metrics", &metrics, "--readings", &plant];
    let when = ["--period", "10s", "--start", "2026-01-01T00:00:00Z"];
    load::run(cluster, "plant", &[&shape[..], &plant, &when].concat())?;
    let year = ["1", "--metrics", "1", "--readings", &year];
    let when = ["--start", "2024-01-01T00:00:00Z", "--instance", "year"];
    load::run(cluster, "year", &[&shape[..], &year, &when].concat())?;
    nodes::seal_everything(cluster)?;
    let (files, bytes) = cluster.equal_segments()?;
    println!(
        "{} readings of {} series, sealed and compacted: {} MiB in {files} segments on each node",
        PLANT_READINGS + YEAR_S,
        DEVICES * METRICS,
        bytes >> 20,
    );
    cluster.set_settings(&[]);
    Ok(())
}

/// The first question after a start of the nodes and of the service, with no file cached.
fn cold(cluster: &mut LocalCluster, question: &Question, starts: usize) -> Result<()> {
    let mut through = Vec::new();
    let mut in_node = InNode::default();
    let mut is_cold = true;
    for _ in 0..starts {
        is_cold &= nodes::restart_cold(cluster)?;
        let service = Service::start(cluster)?;
        let before = InNode::of(cluster, question.verb)?;
        through.push(service.client().ask(question)?.0);
        in_node = in_node.and(&InNode::of(cluster, question.verb)?.since(&before));
    }
    if starts > 0 {
        let files = match is_cold {
            true => "nothing cached",
            false => "files still cached: not permitted to drop them",
        };
        let name = question.name;
        println!(
            "{name}; first after a start, {files}: {}",
            line(&through, &in_node)?
        );
    }
    Ok(())
}

/// The same question again and again, by so many clients at once.
fn warm(
    cluster: &LocalCluster,
    service: &Service,
    question: &Question,
    clients: usize,
    times: u64,
) -> Result<()> {
    let bytes = service.client().ask(question)?.1;
    let before = InNode::of(cluster, question.verb)?;
    let left = AtomicU64::new(times);
    let ask = |client: Client| -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        let take = |left: u64| left.checked_sub(1);
        while left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
        {
            times.push(client.ask(question)?.0);
        }
        Ok(times)
    };
    let begun = Instant::now();
    let asked: Vec<Result<Vec<Duration>>> = thread::scope(|scope| {
        let ask = &ask;
        let clients: Vec<_> = (0..clients)
            .map(|_| service.client())
            .map(|client| scope.spawn(move || ask(client)))
            .collect();
        let joined = clients.into_iter().map(|client| client.join());
        joined
            .map(|asked| asked.unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked"))))
            .collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    let mut through = Vec::new();
    for times in asked {
        through.extend(times?);
    }
    let in_node = InNode::of(cluster, question.verb)?.since(&before);
    let bar = match question.bar_ms {
        Some(bar) if clients == 1 => format!(" (bar {bar} ms in the node)"),
        _ => String::new(),
    };
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let rate = times as f64 / seconds;
    println!(
        "{}; {clients} clients{bar}: {}; {rate:.0} answers/s of {bytes} bytes",
        question.name,
        line(&through, &in_node)?,
    );
    Ok(())
}

/// Times of one measurement, in words.
fn line(through: &[Duration], in_node: &InNode) -> Result<String> {
    let through = Spread::of(through).context("nothing was asked")?;
    let in_node = in_node.spread().context("no node was asked")?;
    Ok(format!(
        "in the node mean {:.2}, p50 {:.2}, p99 {:.2} ms; through query-app mean {:.2}, p50 {:.2}, p99 {:.2} ms",
        ms(in_node.mean),
        ms(in_node.p50),
        ms(in_node.p99),
        ms(through.mean),
        ms(through.p50),
        ms(through.p99),
    ))
}

fn remove(cluster: LocalCluster, dir: &Path) -> Result<()> {
    cluster.stop()?;
    std::fs::remove_dir_all(dir).context("cannot remove what was measured")
}
