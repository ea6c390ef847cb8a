//! `cargo xtask bench instructions`: how many instructions the hot paths take, beside their budgets.
//!
//! The paths are those of `store-node/examples/hot_paths`, their budgets stand beside them in
//! `budgets.txt`. Instructions are counted by callgrind, so the count is the same on a busy machine and
//! on a quiet one, and a path that became dearer is known by it where no time could tell.
//! What is counted, and why that is fair, is in `docs/benchmarks.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use local_cluster::{Profile, workspace_root};

use super::stage;
use crate::host;

/// A path may take this much more than its budget: what the compiler puts inline may differ with where the
/// project lies, with its release and with those of libraries.
const ABOVE_MAX: f64 = 0.125;
/// A path that takes this much less than its budget has a budget that is too large.
const BELOW_MAX: f64 = 0.125;
/// Below the workspace's root.
const BUDGETS: &str = "store-node/examples/hot_paths/budgets.txt";
/// The function in which everything counts.
const COUNTED: &str = "*hot_paths::counted*";

/// Counts the instructions of the hot paths and compares them with their budgets.
#[derive(Debug, Default, Args)]
#[command(after_help = "Example: cargo xtask bench instructions scan-year --profiles /tmp/counts")]
pub(crate) struct InstructionsArguments {
    /// Only these paths.
    paths: Vec<String>,
    /// Makes what was counted the budgets.
    #[arg(long, conflicts_with_all = ["paths", "release"])]
    write: bool,
    /// Counts the programs as they are released; there are no budgets for these.
    #[arg(long)]
    release: bool,
    /// Leaves what callgrind wrote in this folder, for callgrind_annotate.
    #[arg(long)]
    profiles: Option<PathBuf>,
}

/// What was counted of one path, or may be.
#[derive(Debug, Clone, PartialEq)]
struct Count {
    path: String,
    instructions: f64,
    unit: String,
}

/// Counts, prints, and fails if a path is over its budget.
pub(crate) fn run(arguments: &InstructionsArguments) -> Result<()> {
    host::install_valgrind()?;
    let profile = match arguments.release {
        true => Profile::Release,
        false => Profile::Debug,
    };
    let program = local_cluster::example("store-node", "hot_paths", profile)?;
    let known = paths_of(&program)?;
    let unknown = arguments.paths.iter().find(|path| !known.contains(path));
    if let Some(unknown) = unknown {
        bail!("there is no path {unknown}: there are {}", known.join(", "));
    }
    let wanted = match arguments.paths.is_empty() {
        true => known.clone(),
        false => arguments.paths.clone(),
    };
    let temporary = stage::temporary("bench-instructions-", None)?;
    let dir = arguments.profiles.as_deref().unwrap_or(temporary.path());
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let counts = count_all(&program, wanted, dir)?;

    let file = workspace_root().join(BUDGETS);
    if arguments.write {
        fs::write(&file, table(&counts))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if arguments.release {
        print!("{}", table(&counts));
        return Ok(());
    }
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let budgets = budgets_of(&text)?;
    let named: Vec<&String> = budgets.keys().collect();
    ensure!(
        known.iter().all(|path| budgets.contains_key(path)) && named.len() == known.len(),
        "{BUDGETS} must have a budget for each of {}: run with --write",
        known.join(", ")
    );
    judge(&counts, &budgets)
}

/// The names of all paths.
fn paths_of(program: &Path) -> Result<Vec<String>> {
    let listed = Command::new(program).output();
    let listed = listed.with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(listed.status.success(), "hot_paths does not list its paths");
    let text = String::from_utf8(listed.stdout)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Counts the paths, as many at a time as there are processors.
fn count_all(program: &Path, paths: Vec<String>, dir: &Path) -> Result<Vec<Count>> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let numbered: Vec<(usize, String)> = paths.into_iter().enumerate().rev().collect();
    let (waiting, counts) = (Mutex::new(numbered), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                while let Some((number, path)) = waiting.lock().ok().and_then(|mut w| w.pop()) {
                    let count = count(program, path, dir);
                    if let Ok(mut counts) = counts.lock() {
                        counts.insert(number, count);
                    }
                }
            });
        }
    });
    let counts = counts.into_inner().context("a count panicked")?;
    counts.into_values().collect()
}

fn count(program: &Path, path: String, dir: &Path) -> Result<Count> {
    let profile = dir.join(format!("{path}.callgrind"));
    let counted = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
        .arg(&path)
        .output()
        .context("cannot run valgrind")?;
    let said = String::from_utf8_lossy(&counted.stdout);
    let outcome = said.trim().split_once(' ');
    let (true, Some((units, unit))) = (counted.status.success(), outcome) else {
        let complaint = String::from_utf8_lossy(&counted.stderr);
        bail!("{path} could not be counted: {said}{complaint}");
    };
    let written = fs::read_to_string(&profile)
        .with_context(|| format!("cannot read {}", profile.display()))?;
    let total = written
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))
        .context("callgrind wrote no total")?;
    let (total, units): (f64, f64) = (total.trim().parse()?, units.parse()?);
    ensure!(total > 0.0, "callgrind saw no call of {COUNTED}");
    Ok(Count {
        path,
        instructions: total / units,
        unit: unit.to_owned(),
    })
}

/// The file of budgets.
fn table(counts: &[Count]) -> String {
    let mut text = "\
# Instructions that each hot path may take, in the everyday profile, as callgrind counts them.
# Compared by `cargo xtask test` and `cargo xtask bench instructions`, written by the latter with --write.
"
    .to_owned();
    for count in counts {
        let Count {
            path,
            instructions,
            unit,
        } = count;
        text.push_str(&format!("{path:<14} {instructions:>12.2} a {unit}\n"));
    }
    text
}

fn budgets_of(text: &str) -> Result<BTreeMap<String, Count>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let budgets = lines.map(|line| {
        let parsed = line
            .split_once(" a ")
            .and_then(|(count, unit)| Some((count.split_once(' ')?, unit)));
        let ((path, instructions), unit) =
            parsed.with_context(|| format!("{BUDGETS}: {line:?} is no budget"))?;
        let budget = Count {
            path: path.to_owned(),
            instructions: instructions.trim().parse()?,
            unit: unit.to_owned(),
        };
        Ok((path.to_owned(), budget))
    });
    budgets.collect()
}

/// Prints each count beside its budget.
fn judge(counts: &[Count], budgets: &BTreeMap<String, Count>) -> Result<()> {
    println!("{:<14} {:>12} {:>12}", "path", "instructions", "budget");
    let mut over = Vec::new();
    for count in counts {
        let budget = &budgets[&count.path];
        ensure!(
            budget.unit == count.unit,
            "the budget of {} is for a {}, and a {} was counted",
            count.path,
            budget.unit,
            count.unit
        );
        let above = count.instructions / budget.instructions - 1.0;
        let note = if above > ABOVE_MAX {
            over.push(count.path.as_str());
            ": too many"
        } else if above < -BELOW_MAX {
            ": lower the budget"
        } else {
            ""
        };
        println!(
            "{:<14} {:>12.2} {:>12.2} a {} ({:+.1} %{note})",
            count.path,
            count.instructions,
            budget.instructions,
            count.unit,
            above * 100.0,
        );
    }
    ensure!(
        over.is_empty(),
        "over budget: {}. Find out why (--profiles FOLDER, then callgrind_annotate); if it is worth it, \
         raise the budget in {BUDGETS} (--write)",
        over.join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, instructions: f64) -> Count {
        Count {
            path: path.to_owned(),
            instructions,
            unit: "batch of ten".to_owned(),
        }
    }

    #[test]
    fn budgets_read_back_as_they_were_written() {
        let counts = [count("encode", 12.5), count("scan-rows", 123_456_789.0)];
        let budgets = budgets_of(&table(&counts)).unwrap();
        assert_eq!(budgets.into_values().collect::<Vec<_>>(), counts);
        assert!(budgets_of("encode 12.5\n").is_err());
    }

    #[test]
    fn a_path_above_its_budget_fails_and_one_below_does_not() {
        let budgets = budgets_of(&table(&[count("encode", 1_000.0)])).unwrap();
        for (counted, is_within) in [(100.0, true), (1_125.0, true), (1_126.0, false)] {
            let judged = judge(&[count("encode", counted)], &budgets);
            assert_eq!(judged.is_ok(), is_within, "{counted}");
        }
    }
}
