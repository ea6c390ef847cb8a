//! The command line: which scenarios, how long, from which seed.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Parser;
use local_cluster::Programs;

use crate::check::check;
use crate::history;
use crate::run::{Outcome, RunOptions, run};
use crate::scenario::{SCENARIOS, Scenario, named};
use crate::workload::Rates;

/// Breaks a cluster of the real programs in every way, and checks that it keeps its promises.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask chaos",
    after_help = "Example: cargo xtask chaos --scenario leader-kills --seed 7 --minutes 5"
)]
struct Arguments {
    /// Which scenario, or `all`.
    #[arg(long, required_unless_present_any = ["list", "check"])]
    scenario: Option<String>,
    /// What chance follows from [default: another one each time].
    #[arg(long)]
    seed: Option<u64>,
    /// For how long things are broken.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// How many nodes to begin with [default: as the scenario has it].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=7))]
    nodes: Option<u64>,
    /// Folder for data, logs and histories, kept in any case [default: a temporary one, kept only if a
    /// promise was broken].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Appends one line of JSON a run to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Lists the scenarios.
    #[arg(long)]
    list: bool,
    /// Judges the history in this folder of an earlier run again.
    #[arg(long, value_name = "DIR", conflicts_with = "scenario")]
    check: Option<PathBuf>,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match execute(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether no promise was broken.
fn execute(arguments: &Arguments) -> Result<bool> {
    if arguments.list {
        for scenario in SCENARIOS {
            println!("{:<20} {}", scenario.name, scenario.about);
        }
        return Ok(true);
    }
    if let Some(dir) = &arguments.check {
        return judge_again(dir);
    }
    let scenarios = chosen(arguments.scenario.as_deref().unwrap_or_default())?;
    if !(arguments.minutes > 0.0 && arguments.minutes < 10_000.0) {
        bail!("--minutes must be more than 0");
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || {
        // The second time at once: what was started dies with the folder's owner, or by hand.
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .context("cannot listen for Ctrl-C")?;
    let seed = arguments.seed.unwrap_or_else(any_seed);
    let mut is_kept = true;
    for scenario in scenarios {
        if interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        is_kept &= one(arguments, scenario, seed, &interrupted)?;
    }
    Ok(is_kept)
}

fn chosen(name: &str) -> Result<Vec<&'static Scenario>> {
    if name == "all" {
        return Ok(SCENARIOS.iter().collect());
    }
    let scenario = named(name);
    let scenario = scenario.with_context(|| {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        format!(
            "there is no scenario {name:?}: choose all, {}",
            names.join(", ")
        )
    })?;
    Ok(vec![scenario])
}

/// Runs one scenario and prints what it comes to.
fn one(
    arguments: &Arguments,
    scenario: &Scenario,
    seed: u64,
    interrupted: &Arc<AtomicBool>,
) -> Result<bool> {
    let temporary = tempfile::Builder::new().prefix("chaos-").tempdir()?;
    let dir = match &arguments.dir {
        Some(dir) => dir.join(format!("{}-{seed}", scenario.name)),
        None => temporary.path().to_path_buf(),
    };
    let repeat = repeat(arguments, scenario, seed);
    println!("{}: {}\n  {repeat}", scenario.name, scenario.about);
    let options = RunOptions {
        seed,
        duration: Duration::from_secs_f64(arguments.minutes * 60.0),
        nodes: arguments.nodes,
        dir,
        rates: Rates::default(),
        interrupted: Arc::clone(interrupted),
    };
    let outcome = run(&Programs::built()?, scenario, &options);
    let is_kept = matches!(&outcome, Ok(outcome) if outcome.violations.is_empty());
    if !is_kept && arguments.dir.is_none() {
        let _ = temporary.keep();
    }
    let outcome = outcome?;
    print(&outcome);
    if !is_kept {
        println!("  histories and logs     {}", options.dir.display());
    }
    println!("  repeat with            {repeat}\n");
    if let Some(file) = &arguments.json {
        append(file, &outcome)?;
    }
    Ok(is_kept)
}

/// The command that runs a scenario again.
pub fn repeat_command(scenario: &str, seed: u64, minutes: f64) -> String {
    format!("cargo xtask chaos --scenario {scenario} --seed {seed} --minutes {minutes}")
}

fn repeat(arguments: &Arguments, scenario: &Scenario, seed: u64) -> String {
    let command = repeat_command(scenario.name, seed, arguments.minutes);
    let nodes = arguments.nodes.map(|nodes| format!(" --nodes {nodes}"));
    command + &nodes.unwrap_or_default()
}

fn print(outcome: &Outcome) {
    println!("{}", outcome.summary);
    for violation in &outcome.violations {
        println!("    {violation}");
    }
}

fn append(file: &Path, outcome: &Outcome) -> Result<()> {
    let line = serde_json::to_string(&outcome.summary)?;
    let mut options = File::options();
    let opened = options.create(true).append(true).open(file);
    let written = opened.and_then(|mut file| writeln!(file, "{line}"));
    written.with_context(|| format!("cannot write {}", file.display()))
}

fn judge_again(dir: &Path) -> Result<bool> {
    let violations = check(&history::load(&dir.join("history.jsonl"))?);
    for violation in &violations {
        println!("{violation}");
    }
    println!("{} broken promises", violations.len());
    Ok(violations.is_empty())
}

fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |since| since.as_secs() % 1_000_000)
}
