//! `cargo xtask bench scale`: how ingest, questions, memory and starts grow with series, history,
//! producers and nodes. Each point is a cluster of its own; the tables and plots go into
//! `docs/benchmarks.md` and `docs/images/`.

mod plot;
mod point;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use local_cluster::{Programs, workspace_root};

use self::plot::{Panel, plot};
use self::point::{Point, Setup, measure};
use super::compare::table::three;
use super::compare::workload::grouped;
use super::{page, stage};

/// Measures how a cluster of this machine grows.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, to try it: cargo xtask bench scale --debug --readings 100000 --series-max 10000 --history-max 1000000 --producers-max 10"
)]
pub(crate) struct ScaleArguments {
    /// What to grow; everything if left out.
    #[arg(long)]
    only: Option<Axis>,
    /// Readings, where history does not grow.
    #[arg(long, default_value_t = 10_000_000)]
    readings: u64,
    /// Series grow tenfold from 1,000 up to this.
    #[arg(long, default_value_t = 1_000_000)]
    series_max: u64,
    /// History grows tenfold from a million readings up to this.
    #[arg(long, default_value_t = 100_000_000)]
    history_max: u64,
    /// Producers grow tenfold from one up to this.
    #[arg(long, default_value_t = 1_000)]
    producers_max: u64,
    /// How often each question is asked.
    #[arg(long, default_value_t = 200)]
    questions: u64,
    /// Measures programs of the everyday profile, to try the command: nothing is written to the page.
    #[arg(long)]
    debug: bool,
    /// Folder of the page and of its images, in place of the project's.
    #[arg(long)]
    docs: Option<PathBuf>,
    /// Folder on the disk to measure.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Axis {
    Series,
    History,
    Producers,
    Nodes,
}

/// A point, and how large it is along its axis.
type AtSize = (u64, Point);

/// What a column of a table and a panel of a plot shows.
struct Column {
    name: &'static str,
    of: fn(&Point) -> f64,
}

const COLUMNS: [Column; 5] = [
    Column {
        name: "acknowledged, million readings/s",
        of: |point| point.million_readings_per_second,
    },
    Column {
        name: "last reading of one series, ms",
        of: |point| point.last_ms,
    },
    Column {
        name: "one series in 1,000 buckets, ms",
        of: |point| point.buckets_ms,
    },
    Column {
        name: "most memory of a node, MiB",
        of: |point| point.node_mib,
    },
    Column {
        name: "ready after SIGKILL of all nodes, s",
        of: |point| point.start_s,
    },
];

/// Runs the measurement, prints it, and writes it to the page.
pub(crate) fn run(arguments: &ScaleArguments) -> Result<()> {
    let command = command(arguments);
    println!("command: {command}");
    let programs = stage::programs(arguments.debug)?;
    let dir = stage::temporary("bench-scale-", arguments.dir.as_deref())?;
    let docs = match (&arguments.docs, arguments.debug) {
        (Some(docs), _) => Some(docs.clone()),
        (None, false) => Some(workspace_root().join("docs")),
        (None, true) => None,
    };
    for axis in Axis::value_variants() {
        if arguments.only.is_some_and(|only| only != *axis) {
            continue;
        }
        let (points, failed) = axis.points(arguments, &programs, dir.path())?;
        let mut table = axis.table(&points);
        if let Some(failed) = failed {
            let _ = writeln!(table, "\n{failed}");
        }
        println!("\n{table}");
        let Some(docs) = &docs else { continue };
        let image = format!("images/scale-{}.svg", axis.name());
        let path = docs.join(&image);
        std::fs::write(&path, axis.plot(&points))
            .with_context(|| format!("cannot write {}", path.display()))?;
        let text = format!("`{command}`\n\n{table}\n![{}]({image})\n", axis.title());
        page::replace(
            &docs.join("benchmarks.md"),
            &format!("scale-{}", axis.name()),
            &text,
        )?;
    }
    Ok(())
}

impl Axis {
    const fn name(self) -> &'static str {
        match self {
            Self::Series => "series",
            Self::History => "history",
            Self::Producers => "producers",
            Self::Nodes => "nodes",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Series => "series",
            Self::History => "readings",
            Self::Producers => "producers, each with a connection of its own",
            Self::Nodes => "nodes",
        }
    }

    /// Every setup, and how large it is along this axis.
    fn setups(self, arguments: &ScaleArguments) -> Vec<(u64, Setup)> {
        let usual = Setup {
            nodes: 3,
            series: 1_000,
            readings: arguments.readings,
            producers: 1,
            questions: arguments.questions,
        };
        let grown = |from: u64, most: u64| {
            std::iter::successors(Some(from), |size| size.checked_mul(10))
                .take_while(move |size| *size <= most)
        };
        match self {
            Self::Series => grown(1_000, arguments.series_max)
                .map(|series| (series, Setup { series, ..usual }))
                .collect(),
            Self::History => grown(1_000_000, arguments.history_max)
                .map(|readings| (readings, Setup { readings, ..usual }))
                .collect(),
            Self::Producers => grown(1, arguments.producers_max)
                .map(|producers| (producers, Setup { producers, ..usual }))
                .collect(),
            Self::Nodes => [1, 3, 5]
                .map(|nodes| (nodes, Setup { nodes, ..usual }))
                .into(),
        }
    }

    /// Measures from the smallest size on, until one fails: then why is given beside those before.
    fn points(
        self,
        arguments: &ScaleArguments,
        programs: &Programs,
        dir: &Path,
    ) -> Result<(Vec<AtSize>, Option<String>)> {
        let mut points = Vec::new();
        for (size, setup) in self.setups(arguments) {
            println!("{} {}: {setup:?}", grouped(size), self.title());
            let folder = dir.join("cluster");
            let point = measure(programs, &folder, setup);
            std::fs::remove_dir_all(&folder).context("cannot remove what was measured")?;
            match point {
                Ok(point) => {
                    println!("  {point:?}");
                    points.push((size, point));
                }
                Err(error) => {
                    println!("  failed: {error:#}");
                    let why = error.to_string();
                    let why = why.lines().next().unwrap_or_default();
                    return Ok((points, Some(format!("{} failed: {why}", grouped(size)))));
                }
            }
        }
        Ok((points, None))
    }

    fn table(self, points: &[AtSize]) -> String {
        let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        let mut text = format!(
            "| {} | {} |\n|---|{}\n",
            self.title(),
            names.join(" | "),
            "---|".repeat(names.len())
        );
        for (size, point) in points {
            let cells: Vec<String> = COLUMNS
                .iter()
                .map(|column| three((column.of)(point)))
                .collect();
            let _ = writeln!(text, "| {} | {} |", grouped(*size), cells.join(" | "));
        }
        text
    }

    fn plot(self, points: &[AtSize]) -> String {
        #[expect(clippy::cast_precision_loss, reason = "for display")]
        let panel = |column: &Column| Panel {
            title: column.name,
            points: points
                .iter()
                .map(|(size, point)| (*size as f64, (column.of)(point)))
                .collect(),
        };
        plot(self.title(), &COLUMNS.iter().map(panel).collect::<Vec<_>>())
    }
}

fn command(arguments: &ScaleArguments) -> String {
    let ScaleArguments {
        readings,
        series_max,
        history_max,
        producers_max,
        questions,
        ..
    } = arguments;
    let mut command = format!(
        "cargo xtask bench scale --readings {readings} --series-max {series_max} --history-max {history_max} --producers-max {producers_max} --questions {questions}"
    );
    if let Some(axis) = arguments.only {
        let _ = write!(command, " --only {}", axis.name());
    }
    if arguments.debug {
        command.push_str(" --debug");
    }
    command
}
