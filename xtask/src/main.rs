//! The project's own commands: `cargo xtask demo`, `cargo xtask test`, `cargo xtask bench …`,
//! `cargo xtask chaos …`, `cargo xtask browser`.

// These commands drive programs from outside; they are no part of the store, whose file operations
// and clocks are injected.
#![expect(
    clippy::disallowed_methods,
    reason = "drives real programs with real files and time"
)]

mod bench;
mod browser;
mod chaos;
mod checks;
mod demo;
mod host;
mod system;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tidemark's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds everything, starts a whole system on this machine and prints the dashboard's address.
    Demo(demo::DemoArguments),
    /// Runs everything that continuous integration runs.
    Test(checks::TestArguments),
    /// Measures, and prints the figures the README quotes.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Breaks a cluster of the real programs in every way, and checks that it keeps its promises.
    Chaos(chaos::ChaosArguments),
    /// Builds the dashboard's browser part.
    Browser,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => checks::run(&arguments),
        Command::Bench(bench) => bench::run(&bench),
        Command::Chaos(arguments) => return chaos::run(&arguments),
        Command::Browser => browser::build().map(|_| ()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
