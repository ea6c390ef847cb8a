//! The command line: what is asked, of whom, and how the answer is written.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 success, 1 failure, 2 wrong usage.
//! A reader that closes the pipe early ends the program quietly.

mod commands;
mod flags;
mod output;
mod usage;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::flags::CommonFlags;
use crate::cli::output::Output;
use crate::client::Client;
use crate::failure::{Failure, UsageError};
use crate::format::Format;
use crate::question::Terms;

/// Asks a Tidemark cluster: readings, buckets, latest values, series, and how its nodes are.
#[derive(Debug, Parser)]
#[command(
    name = "query-app",
    version,
    after_help = "Example:\n  query-app --target 127.0.0.1:7400 --identity operator last 'plant/**'\n\n\
                  Every flag with [env: …] can be set there instead."
)]
pub struct Cli {
    #[command(flatten)]
    common: CommonFlags,
    #[command(subcommand)]
    command: Command,
}

/// What is asked.
#[derive(Debug, Subcommand)]
enum Command {
    /// Readings of a range of time, or buckets of them
    Range(commands::range::RangeArgs),
    /// The latest reading of each series
    Last(commands::last::LastArgs),
    /// Which series there are
    Series(commands::series::SeriesArgs),
    /// What is committed, as it comes
    Tail(commands::tail::TailArgs),
    /// Writes one reading and prints the token of its commit
    Put(commands::put::PutArgs),
    /// Takes readings away, after asking
    Delete(commands::delete::DeleteArgs),
    /// How long readings are kept; for operators
    Retention(commands::retention::RetentionArgs),
    /// How the nodes of the cluster are
    Status(commands::status::StatusArgs),
    /// Changes who belongs to the cluster; for operators
    Cluster(commands::cluster::ClusterArgs),
    /// Who may use the HTTP API; for operators
    Token(commands::token::TokenArgs),
    /// Serves the HTTP API
    Serve(commands::serve::ServeArgs),
}

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The command was called wrongly; nothing was asked.
    #[error("{}", usage::named_as_flag(.0))]
    Usage(#[from] UsageError),
    /// The store refused or could not be asked.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The result could not be written.
    #[error("cannot write the result: {0}")]
    Output(#[source] std::io::Error),
    /// The reader of the output has gone: not an error of ours.
    #[error("the output was closed")]
    Closed,
    /// Something else, with its context.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

/// Everything a command needs beside its own arguments.
pub(crate) struct Context<'a> {
    pub(crate) client: &'a Client,
    pub(crate) terms: Terms,
    pub(crate) format: Format,
    pub(crate) output: &'a mut Output,
}

/// Runs the program with `arguments` (the first is its name).
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error),
    };
    let mut output = Output::standard();
    let ended = run(cli, &mut output);
    match ended {
        Ok(()) | Err(CommandError::Closed) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            match error {
                CommandError::Usage(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(cli: Cli, output: &mut Output) -> Result<(), CommandError> {
    let asked = cli.command.checked()?;
    let checked = cli.common.checked()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| anyhow::Error::new(error).context("cannot start the runtime"))?;
    init_tracing(&asked);
    runtime.block_on(async {
        let (terms, format) = (checked.terms, checked.format);
        let client = flags::connect(checked)?;
        let context = Context {
            client: &client,
            terms,
            format,
            output,
        };
        let ended = asked.run(context).await;
        client.close().await;
        ended
    })
}

/// Logs to stderr: of the service what changes its state, of a command only what went wrong.
/// `TIDEMARK_LOG` sets another filter.
fn init_tracing(asked: &Asked) {
    let default = match asked {
        Asked::Serve(_) => "info",
        _ => "error",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("TIDEMARK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// A command whose arguments were checked: from here on only the store can refuse it.
enum Asked {
    Range(Box<crate::question::RangeQuestion>),
    Last(sensor_model::Pattern),
    Series(commands::series::SeriesCommand),
    Tail(crate::client::tail::TailQuestion),
    Put(crate::client::batch::LooseReading),
    Delete(commands::delete::DeleteCommand),
    Retention(commands::retention::RetentionCommand),
    Status,
    Change(store_wire::message::ClusterChange),
    Token(commands::token::TokenCommand),
    Serve(commands::serve::ServeCommand),
}

impl Command {
    fn checked(self) -> Result<Asked, CommandError> {
        Ok(match self {
            Self::Range(args) => Asked::Range(Box::new(args.checked()?)),
            Self::Last(args) => Asked::Last(args.checked()?),
            Self::Series(args) => Asked::Series(args.checked()?),
            Self::Tail(args) => Asked::Tail(args.checked()?),
            Self::Put(args) => Asked::Put(args.checked()?),
            Self::Delete(args) => Asked::Delete(args.checked()?),
            Self::Retention(args) => Asked::Retention(args.checked()?),
            Self::Status(_) => Asked::Status,
            Self::Cluster(args) => Asked::Change(args.checked()?),
            Self::Token(args) => Asked::Token(args.checked()?),
            Self::Serve(args) => Asked::Serve(args.checked()?),
        })
    }
}

impl Asked {
    async fn run(self, context: Context<'_>) -> Result<(), CommandError> {
        match self {
            Self::Range(question) => commands::range::run(*question, context).await,
            Self::Last(pattern) => commands::last::run(pattern, context).await,
            Self::Series(command) => commands::series::run(command, context).await,
            Self::Tail(question) => commands::tail::run(question, context).await,
            Self::Put(reading) => commands::put::run(reading, context).await,
            Self::Delete(command) => commands::delete::run(command, context).await,
            Self::Retention(command) => commands::retention::run(command, context).await,
            Self::Status => commands::status::run(context).await,
            Self::Change(change) => commands::cluster::run(change, context).await,
            Self::Token(command) => commands::token::run(command, context).await,
            Self::Serve(command) => commands::serve::run(command, context).await,
        }
    }
}
