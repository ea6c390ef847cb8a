//! `store-node run`: one node until a signal ends it.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use metrics_exporter_prometheus::PrometheusHandle;
use segment_log::OsDisk;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use super::telemetry;
use crate::{
    config::{Config, Settings},
    node::{Node, Platform},
};

/// A node ends within 10 s of the first signal, whatever hangs.
const SHUTDOWN_MAX: Duration = Duration::from_millis(9_500);

pub(super) fn run(settings: Settings) -> Result<ExitCode> {
    let config = Config::check(&settings.with_file(&OsDisk)?)?;
    log_to_stderr();
    abort_on_panic();
    let metrics = telemetry::record()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("store-node")
        .build()
        .context("the runtime cannot be started")?;
    let outcome = runtime.block_on(serve(config, metrics));
    // Whatever still runs has had its time.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

async fn serve(config: Config, metrics: PrometheusHandle) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
    let kept_up = metrics.clone();
    let platform = Platform {
        metrics: Some(metrics),
        ..Platform::real()
    };
    let node = Arc::new(Node::start(config, platform).await?);
    tokio::spawn(telemetry::keep_up(kept_up));
    let announcing = Arc::clone(&node);
    let announced = async move {
        announcing.ready().await?;
        announce(&announcing)?;
        std::future::pending::<Result<()>>().await
    };
    let failure = tokio::select! {
        outcome = announced => outcome.err(),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    let node = Arc::into_inner(node).context("the announcement still holds the node")?;
    let stopping = tokio::time::timeout(SHUTDOWN_MAX, node.shutdown());
    tokio::select! {
        outcome = stopping => match outcome {
            Ok(outcome) => outcome?,
            Err(_) => warn!("the node did not end in its time; what was acknowledged is synced"),
        },
        _ = terminate.recv() => second_signal(),
        _ = interrupt.recv() => second_signal(),
    }
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// The one line on stdout that tells whoever started the node where it is.
fn announce(node: &Node) -> Result<()> {
    let (id, quic, http) = (node.id(), node.address(), node.http_address());
    info!(node = id, %quic, %http, "node ready");
    let mut out = std::io::stdout().lock();
    writeln!(out, "node {id} ready quic={quic} http={http}")?;
    Ok(out.flush()?)
}

/// What was acknowledged is synced anyway, so nothing is lost by ending here.
fn second_signal() {
    warn!("second signal: ending at once");
    std::process::exit(1);
}

fn log_to_stderr() {
    // The library underneath repeats every failed heartbeat; our own links say it once.
    // It also calls it an error that a stream of appends ends with it.
    let usual = "info,openraft=error,openraft::raft::stream_append=off,quinn=warn";
    let filter = EnvFilter::try_from_env("TIDEMARK_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// A panic in one task would leave a member that answers half the questions: end the process, the
/// supervisor starts it again.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}
