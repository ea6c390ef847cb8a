//! `cargo xtask test`: everything that continuous integration runs, in the order in which it is
//! cheapest to learn of a mistake.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use local_cluster::{Programs, workspace_root};

use crate::bench::instructions::InstructionsArguments;
use crate::system::{Plant, System, SystemOptions};
use crate::{bench, browser, host};

/// Runs everything that continuous integration runs.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask test --skip-browser")]
pub(crate) struct TestArguments {
    /// Leave out what needs chromium and npm: the tests of the page in a browser.
    #[arg(long)]
    skip_browser: bool,
}

/// The dashboard's browser part is compiled for this target.
const BROWSER_TARGET: &str = "wasm32-unknown-unknown";

/// Runs every check; stops at the first that fails.
pub(crate) fn run(arguments: &TestArguments) -> Result<()> {
    step("formatting", cargo().args(["fmt", "--all", "--check"]))?;
    step(
        "lints",
        cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    host::install_target(BROWSER_TARGET)?;
    step(
        "lints of the browser part",
        cargo()
            .args([
                "clippy",
                "-p",
                "dashboard",
                "--lib",
                "--target",
                BROWSER_TARGET,
            ])
            .args(["--", "-D", "warnings"]),
    )?;
    browser::build().context("the dashboard's browser part was not built")?;
    // One build for all that follows: building the programs alone would choose other features of
    // the libraries, and so compile them once more.
    step(
        "programs and tests",
        cargo().args(["test", "--workspace", "--no-run"]),
    )?;
    instructions()?;
    if !arguments.skip_browser {
        browser_tests(workspace_root())?;
    }
    host::install_ip();
    step(
        "tests",
        cargo().args(["test", "--workspace", "--no-fail-fast"]),
    )
}

/// Holds the hot paths to their budgets of instructions.
fn instructions() -> Result<()> {
    timed("instructions of the hot paths", || {
        bench::instructions::run(&InstructionsArguments::default())
    })
}

/// Runs the page's tests in chromium, over a whole system of their own on free ports.
fn browser_tests(root: &Path) -> Result<()> {
    host::install_chromium()?;
    let folder = root.join("dashboard/browser-tests");
    step(
        "packages of the browser tests",
        host::npm_ci(&folder)?.current_dir(&folder),
    )?;
    let programs = Programs::built()?;
    let dir = tempfile::tempdir()?;
    let options = SystemOptions {
        nodes: 3,
        base_port: None,
        dashboard_port: 0,
        plant: Some(Plant {
            devices: 6,
            rate: 5.0,
        }),
        login: false,
    };
    let mut system = System::start(&programs, dir.path(), &options)?;
    let mut tests = Command::new("npm");
    tests
        .arg("test")
        .current_dir(&folder)
        .env("DASHBOARD_URL", system.url())
        .env("DASHBOARD_PROGRAM", programs.path("dashboard"))
        .env("DEMO_JSON", dir.path().join("demo.json"));
    step("browser tests", &mut tests)?;
    // One node was killed on purpose.
    system.check()?;
    system.stop()
}

fn cargo() -> Command {
    let mut command = local_cluster::cargo();
    // What a compiler remembers for the next change would be more than all that it has built.
    command.env("CARGO_INCREMENTAL", "0");
    command
}

/// Runs one step.
fn step(name: &str, command: &mut Command) -> Result<()> {
    timed(name, || {
        let status = command
            .status()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        if !status.success() {
            bail!("{name} failed");
        }
        Ok(())
    })
}

/// Does one step, with its name before and its time after.
fn timed(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n== {name}");
    let start = Instant::now();
    let outcome = work();
    println!("== {name}: {:.0} s", start.elapsed().as_secs_f64());
    outcome
}
