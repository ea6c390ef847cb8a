//! `chaos`: see the library. Usually run as `cargo xtask chaos`, which builds the programs first.

use std::process::ExitCode;

fn main() -> ExitCode {
    chaos::cli::main()
}
