//! The command line: `store-node ca|run|verify|dump`.
//!
//! Results go to stdout, everything else to stderr; the exit code is 0 on success, 1 on failure, 2 on
//! wrong usage. Bad input is answered with one line.

mod ca;
mod dump;
mod run;
mod telemetry;
mod verify;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::CompleteEnv;

use crate::config::{ConfigError, Settings};
pub use verify::verify;

/// Tidemark's store: takes batches of readings in, replicates them, and answers questions about them.
#[derive(Debug, Parser)]
#[command(name = "store-node", version, after_help = EXAMPLE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "Example, a cluster of one on this machine:
  store-node ca init --out ca --cluster plant
  store-node ca issue --ca ca --role node --name node-1 --out node-1
  store-node run --id 1 --data data --identity node-1 --bootstrap 1=127.0.0.1:7400";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the cluster's authority and issue identities
    Ca {
        #[command(subcommand)]
        command: ca::Command,
    },
    /// Run a node
    #[command(after_help = RUN_EXAMPLE)]
    Run(Box<Settings>),
    /// Read every byte of a stopped node's data folder back; names whatever is wrong
    #[command(after_help = "Example:\n  store-node verify --data /var/lib/tidemark")]
    Verify(Data),
    /// Print what is in a stopped node's segments, as text
    #[command(after_help = DUMP_EXAMPLE)]
    Dump {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        choice: dump::Choice,
    },
}

const DUMP_EXAMPLE: &str = "Examples:
  store-node dump --data /var/lib/tidemark | less
  store-node dump --data /var/lib/tidemark --series 'plant/*/temperature' --chunks
  store-node dump --data /var/lib/tidemark --log";

const RUN_EXAMPLE: &str = "Example, the first of three:
  store-node run --id 1 --data /var/lib/tidemark --identity /etc/tidemark/identity \\
    --listen 0.0.0.0:7400 --bootstrap 1=store-1:7400,2=store-2:7400,3=store-3:7400

A fourth, while they run:
  store-node run --id 4 --data /var/lib/tidemark --identity /etc/tidemark/identity \\
    --listen 0.0.0.0:7400 --advertise store-4:7400 --join store-1:7400,store-2:7400";

#[derive(Debug, Args)]
struct Data {
    /// The node's data folder
    #[arg(long, env = "TIDEMARK_DATA", value_name = "DIR")]
    data: PathBuf,
}

/// Runs the program and says how it ended.
pub fn main() -> ExitCode {
    // A shell that completes a line asks by a variable, and gets its answer here.
    CompleteEnv::with_factory(Cli::command).complete();
    // Clap itself ends with 0 for help and 2 for wrong usage.
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("store-node: {}", one_line(&error));
            let usage = error.is::<ConfigError>();
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Ca { command } => ca::run(command),
        Command::Run(settings) => run::run(*settings),
        Command::Verify(Data { data }) => verify::run(&data),
        Command::Dump { data, choice } => dump::run(&data.data, &choice),
    }
}

/// An error with its causes on one line, none said twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string().replace('\n', " ");
        if line.contains(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    line
}
