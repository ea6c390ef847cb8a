//! `sensor-sim`: the edge agent and simulator.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::CommandFactory as _;
use clap_complete::CompleteEnv;
use segment_log::OsDisk;
use sensor_sim::agent::Outcome;
use sensor_sim::board::Board;
use sensor_sim::cli::{self, Plan, TemporarySpool, World};
use sensor_sim::progress::ProgressLine;
use sensor_sim::spool::DEAD_LETTERS_DIR;
use sensor_sim::{agent, load};
use store_wire::clock::SystemClock;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

fn main() -> ExitCode {
    // A shell that completes a line asks by a variable, and gets its answer here.
    CompleteEnv::with_factory(cli::Arguments::command).complete();
    let arguments = match cli::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let json = match &arguments.command {
        Some(cli::Command::Load(load)) => load.common.json,
        None => arguments.agent.common.json,
    };
    let line = ProgressLine::new(!json);
    line.log();
    match run(arguments, &line, json) {
        Ok(code) => code,
        Err(error) => {
            line.clear();
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: cli::Arguments, line: &ProgressLine, json: bool) -> Result<ExitCode> {
    let world = World {
        disk: Arc::new(OsDisk),
        clock: Arc::new(SystemClock),
    };
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone()).context("cannot listen for signals")?;
    let board = Arc::new(Board::default());
    let plan = cli::plan(arguments, &world)?;
    let (outcome, temporary) = tokio::select! {
        outcome = carry_out(plan, &board, stop) => outcome?,
        () = line.show(Arc::clone(&board)) => unreachable!("shown until the run ends"),
    };
    line.clear();
    if let Some(temporary) = temporary {
        clean_up(&temporary, &outcome, &world);
    }
    Ok(report(&outcome, json))
}

async fn carry_out(
    plan: Plan,
    board: &Arc<Board>,
    stop: CancellationToken,
) -> Result<(Outcome, Option<TemporarySpool>)> {
    match plan {
        Plan::Agent(config, temporary) => {
            if let Some(temporary) = &temporary {
                let dir = temporary.dir.display();
                info!("spool in {dir}; give --spool DIR to keep readings over a restart");
            }
            let outcome = agent::run(*config, Arc::clone(board), stop).await?;
            Ok((outcome, temporary))
        }
        Plan::Load(config) => Ok((load::run(*config, Arc::clone(board), stop).await?, None)),
    }
}

/// SIGINT and SIGTERM end the run in order; a second one ends it at once.
fn stop_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        info!("stopping: waiting a few seconds for acknowledgements");
        stop.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(1);
    });
    Ok(())
}

/// A spool nobody named is of no use once it is empty.
fn clean_up(temporary: &TemporarySpool, outcome: &Outcome, world: &World) {
    let dir = temporary.dir.display();
    if outcome.summary.dead > 0 {
        warn!("readings that the store can never take are in {dir}/{DEAD_LETTERS_DIR}");
    } else if outcome.remaining > 0 {
        warn!("unacknowledged readings are in {dir}: run again with --spool {dir} to send them");
    } else if let Err(error) = world.disk.remove_dir_all(&temporary.dir) {
        warn!("cannot remove {dir}: {error}");
    }
}

/// Prints the summary and says what went wrong.
fn report(outcome: &Outcome, json: bool) -> ExitCode {
    let summary = &outcome.summary;
    if json {
        println!("{}", summary.to_json());
    } else {
        eprintln!(
            "{} readings acknowledged of {} sent in {:.1} s ({}/s); p50 {:.2} ms, p99 {:.2} ms",
            summary.acked,
            summary.sent,
            summary.seconds,
            summary.readings_per_second,
            summary.ack_ms.p50,
            summary.ack_ms.p99,
        );
    }
    let mut is_complete = true;
    for error in &outcome.errors {
        is_complete = false;
        let mut told = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(deeper) = cause {
            let more = deeper.to_string();
            if !told.contains(&more) {
                told = format!("{told}: {more}");
            }
            cause = deeper.source();
        }
        eprintln!("error: {told}");
    }
    for (count, what) in [
        (outcome.remaining, "are not acknowledged"),
        (summary.refused, "were refused"),
        (
            summary.dead,
            "were set aside because the store can never take them",
        ),
        (summary.dropped, "were dropped because the spool was full"),
    ] {
        if count > 0 {
            is_complete = false;
            eprintln!("error: {count} readings {what}");
        }
    }
    if is_complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
