//! Short runs of some scenarios, as continuous integration has them. Each prints its seed and the
//! command that repeats it; `TIDEMARK_CHAOS_SEED` and `TIDEMARK_CHAOS_SECONDS` choose others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chaos::cli::repeat_command;
use chaos::run::{RunOptions, run};
use chaos::scenario::named;
use chaos::workload::Rates;
use local_cluster::Programs;

const SEED: u64 = 4;
const SECONDS: u64 = 10;
/// One cluster at a time: several would measure each other's load.
static TURN: Mutex<()> = Mutex::new(());

fn chosen(variable: &str, usual: u64) -> Result<u64> {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{variable} is not a number")),
        Err(_) => Ok(usual),
    }
}

fn keeps_its_promises(scenario: &str) -> Result<()> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (seed, seconds) = (
        chosen("TIDEMARK_CHAOS_SEED", SEED)?,
        chosen("TIDEMARK_CHAOS_SECONDS", SECONDS)?,
    );
    let repeat = repeat_command(scenario, seed, seconds as f64 / 60.0);
    println!("seed {seed}, repeat with: {repeat}");
    let dir = tempfile::tempdir()?;
    let options = RunOptions {
        seed,
        duration: Duration::from_secs(seconds),
        nodes: None,
        dir: dir.path().join("run"),
        rates: Rates::default(),
        interrupted: Arc::default(),
    };
    let scenario = named(scenario).context("no such scenario")?;
    let outcome = run(&Programs::built()?, scenario, &options)?;
    println!("{}", outcome.summary);
    let told: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
    if !told.is_empty() {
        println!("histories and logs are in {}", dir.keep().display());
    }
    ensure!(told.is_empty(), "{}\n{repeat}", told.join("\n"));
    ensure!(outcome.summary.acknowledged > 0, "nothing was acknowledged");
    Ok(())
}

#[test]
fn killed_leaders() -> Result<()> {
    keeps_its_promises("leader-kills")
}

#[test]
fn all_killed_at_once() -> Result<()> {
    keeps_its_promises("all-killed")
}

#[test]
fn partitions() -> Result<()> {
    keeps_its_promises("partition")
}

#[test]
fn a_wiped_disk() -> Result<()> {
    keeps_its_promises("wiped-disk")
}
