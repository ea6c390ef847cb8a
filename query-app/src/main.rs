//! `query-app`: asks a Tidemark cluster from the command line and serves the HTTP API.

use std::process::ExitCode;

fn main() -> ExitCode {
    query_app::cli::main(std::env::args_os())
}
