//! The `store-node` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    store_node::cli::main()
}
