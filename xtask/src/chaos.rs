//! `cargo xtask chaos`: builds the programs and the harness, and runs the harness in this one's place.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use clap::Args;
use local_cluster::{Profile, Programs};

/// The harness and the programs that it runs.
const PACKAGES: [&str; 4] = ["chaos", "store-node", "sensor-sim", "query-app"];

/// Breaks a cluster of the real programs in every way, and checks that it keeps its promises.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "Example: cargo xtask chaos --scenario leader-kills --seed 7 --minutes 5"
)]
pub(crate) struct ChaosArguments {
    /// What the harness is told; `--help` lists it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs the harness; returns only if it cannot be built or run.
pub(crate) fn run(arguments: &ChaosArguments) -> ExitCode {
    let failure = match Programs::build(&PACKAGES, Profile::Debug) {
        Ok(programs) => {
            let mut harness = programs.command("chaos");
            let error = harness.args(&arguments.arguments).exec();
            format!("cannot run the chaos harness: {error}")
        }
        Err(error) => format!("{error:#}"),
    };
    eprintln!("error: {failure}");
    ExitCode::FAILURE
}
