//! `cargo xtask bench compare`: the same readings and the same questions in Tidemark and in other
//! systems, one after the other.
//!
//! `compare/workload.rs` makes the readings, which `sensor-sim load` makes in the same way;
//! `compare/truth.rs` says what must be answered; `compare/peer.rs` is what each system must be able to do.
//! Systems that are not installed are named. The tables go into `docs/benchmarks.md`.

mod dialogue;
mod embedded;
mod forms;
mod influx;
mod measured;
pub(crate) mod peer;
mod postgres;
mod question;
mod sql;
pub(crate) mod table;
mod tidemark;
mod truth;
pub(crate) mod usage;
mod victoria;
pub(crate) mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use local_cluster::{Programs, workspace_root};

use self::embedded::{CLICKHOUSE, DUCKDB, Embedded};
use self::influx::Influx;
use self::measured::{Measured, Truth, measure};
use self::peer::{Facts, Limits, Missing, Peer};
use self::postgres::Postgres;
use self::table::Unmeasured;
use self::tidemark::Tidemark;
use self::victoria::Victoria;
use self::workload::Workload;
use super::{disk, ms, page, stage};

/// Compares Tidemark with other systems on this machine.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, to try it: cargo xtask bench compare --debug --scale 0.01 --questions 5"
)]
pub(crate) struct CompareArguments {
    /// Shortens each workload to this part of its time.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// How often each question is asked, by all clients together.
    #[arg(long, default_value_t = 200)]
    questions: u64,
    /// No question is asked any more after so many seconds.
    #[arg(long, default_value_t = 20)]
    question_seconds: u64,
    /// Only workloads whose name has this in it.
    #[arg(long)]
    only: Option<String>,
    /// Only systems whose name has this in it, beside Tidemark.
    #[arg(long)]
    peer: Option<String>,
    /// Measures programs of the everyday profile, to try the command: nothing is written to the page.
    #[arg(long)]
    debug: bool,
    /// The page whose part is replaced.
    #[arg(long)]
    page: Option<PathBuf>,
    /// Folder on the disk to measure.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// A system that can be started: its name, and how.
type Start = fn(&Programs, &Workload, &Path) -> Result<Result<Box<dyn Peer>, Missing>>;

/// The systems, Tidemark first.
const SYSTEMS: [(&str, Start); 6] = [
    ("Tidemark", |programs, _, dir| {
        Ok(Ok(Box::new(Tidemark::start(programs, dir)?)))
    }),
    ("VictoriaMetrics", |_, _, dir| {
        Ok(boxed(Victoria::start(dir)?))
    }),
    ("InfluxDB", |_, _, dir| Ok(boxed(Influx::start(dir)?))),
    ("PostgreSQL", |_, workload, dir| {
        Ok(boxed(Postgres::start(workload, dir)?))
    }),
    ("ClickHouse (chdb)", |programs, workload, dir| {
        Ok(boxed(Embedded::start(CLICKHOUSE, programs, workload, dir)?))
    }),
    ("DuckDB", |programs, workload, dir| {
        Ok(boxed(Embedded::start(DUCKDB, programs, workload, dir)?))
    }),
];

fn boxed<P: Peer + 'static>(started: Result<P, Missing>) -> Result<Box<dyn Peer>, Missing> {
    started.map(|peer| Box::new(peer) as Box<dyn Peer>)
}

/// Runs the comparison, prints it and writes it to the page.
pub(crate) fn run(arguments: &CompareArguments) -> Result<()> {
    ensure!(
        arguments.scale > 0.0 && arguments.scale <= 1000.0,
        "--scale must be above 0 and at most 1000"
    );
    let command = command(arguments);
    println!("command: {command}");
    let programs = stage::programs(arguments.debug)?;
    let dir = stage::temporary("bench-compare-", arguments.dir.as_deref())?;
    let mut text = format!("`{command}`, {}.\n\n", machine(dir.path())?);
    let only = arguments.only.as_deref().unwrap_or_default();
    let mut facts: BTreeMap<usize, Facts> = BTreeMap::new();
    for workload in workload::all(arguments.scale)
        .iter()
        .filter(|workload| workload.name.contains(only))
    {
        println!("\n{}", workload.name);
        let folder = dir.path().join("workload");
        std::fs::create_dir_all(&folder)?;
        let (measured, unmeasured) = compare(arguments, workload, &programs, &folder)?;
        let table = table::table(workload, &measured, &unmeasured);
        println!("\n{table}");
        text.push_str(&table);
        for system in measured {
            let place = SYSTEMS
                .iter()
                .position(|(name, _)| *name == system.facts.name);
            facts.insert(place.unwrap_or_default(), system.facts);
        }
        std::fs::remove_dir_all(&folder).context("cannot remove what was measured")?;
    }
    let systems = table::systems(facts.values());
    println!("{systems}");
    text.push_str(&systems);
    match (&arguments.page, arguments.debug) {
        (Some(page), _) => page::replace(page, "compare", &text),
        (None, false) => page::replace(
            &workspace_root().join("docs/benchmarks.md"),
            "compare",
            &text,
        ),
        (None, true) => Ok(()),
    }
}

/// Measures every system with one workload. Tidemark must come through; of another that does not, it is
/// said why.
fn compare(
    arguments: &CompareArguments,
    workload: &Workload,
    programs: &Programs,
    dir: &Path,
) -> Result<(Vec<Measured>, Vec<Unmeasured>)> {
    let answers = workload.questions.iter();
    let answers = answers.map(|question| truth::expected(workload, question));
    let truth = Truth {
        total: truth::total(workload)?,
        answers: answers.collect::<Result<_>>()?,
    };
    let limits = Limits {
        times: arguments.questions,
        longest: Duration::from_secs(arguments.question_seconds),
    };
    let (mut measured, mut unmeasured) = (Vec::new(), Vec::new());
    let wanted = arguments.peer.as_deref().unwrap_or_default();
    for (name, start) in SYSTEMS {
        let is_first = measured.is_empty();
        if !is_first && !name.contains(wanted) {
            continue;
        }
        let folder = dir.join("system");
        std::fs::create_dir_all(&folder)?;
        let run = || -> Result<Result<Measured, Missing>> {
            let mut peer = match start(programs, workload, &folder)? {
                Ok(peer) => peer,
                Err(missing) => return Ok(Err(missing)),
            };
            let system = measure(peer.as_mut(), workload, &truth, dir, limits)?;
            peer.stop()?;
            Ok(Ok(system))
        };
        match run() {
            Ok(Ok(system)) => measured.push(system),
            Ok(Err(Missing { install })) => {
                let why = format!("it is not installed (`{install}`)");
                println!("{name}: {why}");
                unmeasured.push((name, why));
            }
            Err(error) if is_first => return Err(error.context(name)),
            Err(error) => {
                println!("{name}: {error:#}");
                unmeasured.push((name, format!("it failed: {error:#}")));
            }
        }
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok((measured, unmeasured))
}

fn command(arguments: &CompareArguments) -> String {
    let CompareArguments {
        scale,
        questions,
        question_seconds,
        only,
        peer,
        debug,
        ..
    } = arguments;
    let mut command = format!(
        "cargo xtask bench compare --scale {scale} --questions {questions} --question-seconds {question_seconds}"
    );
    for (name, value) in [("only", only), ("peer", peer)] {
        if let Some(value) = value {
            command.push_str(&format!(" --{name} '{value}'"));
        }
    }
    if *debug {
        command.push_str(" --debug");
    }
    command
}

/// The machine in words.
fn machine(dir: &Path) -> Result<String> {
    let field = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_default()
            .to_owned();
        line.split_once(':')
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let cores = std::thread::available_parallelism()?;
    let kib: u64 = field("/proc/meminfo", "MemTotal")
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or_default();
    let sync = disk::fdatasync(dir, Duration::ZERO)?;
    Ok(format!(
        "on {cores} cores ({}) with {} GiB of memory, where an fdatasync takes {:.2} ms (p50), everything on this one machine",
        field("/proc/cpuinfo", "model name"),
        kib >> 20,
        ms(sync.p50)
    ))
}
