//! The command line: what is asked, of whom, and how the answer is written.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 success, 1 failure, 2 wrong usage.
//! A reader that closes the pipe early ends the program quietly.

mod bar;
mod commands;
mod flags;
mod output;
mod paths;
mod terminal;
mod usage;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::CompleteEnv;

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
    /// Latest readings and the cluster's health, live on the terminal
    Top(commands::top::TopArgs),
    /// Writes one reading and prints the token of its commit
    Put(commands::put::PutArgs),
    /// Takes readings away, after asking
    Delete(commands::delete::DeleteArgs),
    /// Writes the readings of a range to a CSV or Parquet file
    Export(commands::export::ExportArgs),
    /// Writes the readings of CSV and Parquet files to the store
    Import(commands::import::ImportArgs),
    /// How long readings are kept; for operators
    Retention(commands::retention::RetentionArgs),
    /// How the nodes of the cluster are
    Status(commands::status::StatusArgs),
    /// Changes who belongs to the cluster; for operators
    Cluster(commands::cluster::ClusterArgs),
    /// Who may use the HTTP API; for operators
    Token(commands::token::TokenArgs),
    /// The same commands at a prompt
    Repl(commands::repl::ReplArgs),
    /// Serves the HTTP API
    Serve(commands::serve::ServeArgs),
    /// Prints the completions of a shell
    Completions(commands::manual::CompletionsArgs),
    /// Writes man pages
    Man(commands::manual::ManArgs),
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
    /// What went wrong was told before.
    #[error("it failed with exit code {code}")]
    Told {
        /// How the program ends.
        code: u8,
    },
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

impl CommandError {
    /// How a program ends with it.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Told { code } => *code,
            Self::Usage(_) => 2,
            _ => 1,
        }
    }
}

/// Runs the program with `arguments` (the first is its name).
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // A shell that completes a line asks by a variable, and gets its answer here.
    CompleteEnv::with_factory(Cli::command).complete();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(usage::report(&error)),
    };
    let mut output = Output::standard();
    match run(cli, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, CommandError::Closed | CommandError::Told { .. }) {
                output.error(&error);
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli, output: &mut Output) -> Result<(), CommandError> {
    let asked = match cli.command {
        Command::Completions(args) => return args.run(output),
        Command::Man(args) => return args.run(output),
        command => command.checked()?,
    };
    let checked = cli.common.checked()?;
    asked.check_format(checked.format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| anyhow::Error::new(error).context("cannot start the runtime"))?;
    init_tracing(&asked);
    runtime.block_on(async {
        if matches!(asked, Asked::Top(_) | Asked::Repl) && std::io::stdin().is_terminal() {
            terminal::give_back_when_stopped()
                .map_err(|error| anyhow::Error::new(error).context("cannot listen for signals"))?;
        }
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
    Top(commands::top::TopCommand),
    Export(Box<commands::export::ExportCommand>),
    Import(commands::import::ImportCommand),
    Repl,
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
            Self::Top(args) => Asked::Top(args.checked()?),
            Self::Export(args) => Asked::Export(Box::new(args.checked()?)),
            Self::Import(args) => Asked::Import(args.checked()?),
            Self::Repl(_) => Asked::Repl,
            Self::Serve(args) => Asked::Serve(args.checked()?),
            Self::Completions(_) | Self::Man(_) => {
                let reason = "not at the prompt: run it on its own";
                return Err(UsageError::new("COMMAND", reason).into());
            }
        })
    }
}

impl Asked {
    /// Refuses a form that the answer does not have.
    fn check_format(&self, format: Format) -> Result<(), UsageError> {
        let has_arrow = matches!(self, Self::Range(_) | Self::Last(_));
        if format != Format::Arrow {
            return Ok(());
        }
        let reason = if !has_arrow {
            "arrow is a form of range and last alone: use table, csv, json or ndjson"
        } else if std::io::stdout().is_terminal() {
            "arrow is not for a terminal: send it to a file or a pipe"
        } else {
            return Ok(());
        };
        Err(UsageError::new("format", reason))
    }

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
            Self::Top(command) => commands::top::run(command, context).await,
            Self::Export(command) => commands::export::run(*command, context).await,
            Self::Import(command) => commands::import::run(command, context).await,
            Self::Repl => commands::repl::run(context).await,
            Self::Serve(command) => commands::serve::run(command, context).await,
        }
    }
}
