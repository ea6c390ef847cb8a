//! `cargo xtask bench storage`: bytes a reading of real and simulated sensors, in the log and sealed,
//! beside what others make of the same readings.

mod peers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use local_cluster::{LocalCluster, Programs, workspace_root};

use super::{load, nodes, stage};

/// The plant's machines, with eight sensors each, and readings a second of each sensor: a minute
/// gives series as long as those of the recordings.
const PLANT: [&str; 4] = ["--devices", "8", "--rate", "50"];

/// The column of a recording with several that is measured by itself, too.
const TEMPERATURE: &str = "Temperature";

/// Measures bytes a reading.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask bench storage --recordings ../shared/data")]
pub(crate) struct StorageArguments {
    /// Folder with recordings, CSV files; optional where it is not given [default: ../shared/data]
    #[arg(long)]
    recordings: Option<PathBuf>,
    /// How long the plant is sampled, in seconds; 0 leaves it out.
    #[arg(long, default_value_t = 60)]
    plant_seconds: u64,
    /// Measures programs of the everyday profile: to try the command.
    #[arg(long)]
    debug: bool,
}

/// What is measured.
enum Subject {
    Plant {
        seconds: u64,
    },
    /// All columns of a file, or one.
    Recording(PathBuf, Option<&'static str>),
}

/// Bytes of the same readings.
struct Sizes {
    readings: u64,
    log: u64,
    sealed: u64,
    gzip: u64,
    victoria_metrics: Option<u64>,
}

/// Runs the measurement and prints it as a table.
pub(crate) fn run(arguments: &StorageArguments) -> Result<()> {
    let programs = stage::programs(arguments.debug)?;
    let dir = stage::temporary("bench-storage-", None)?;
    println!("command: cargo xtask bench storage");
    let victoria = peers::VictoriaMetrics::find();
    if victoria.is_none() {
        println!(
            "not measured: VictoriaMetrics is not installed (Debian has it: apt-get install victoria-metrics)"
        );
    }
    println!(
        "not measured: InfluxDB, QuestDB, GreptimeDB, IoTDB, TDengine (Debian has none of them)"
    );
    println!("bytes a reading; gzip -9 is of the readings as CSV lines of series, time and value");
    println!(
        "{:<36} {:>9} {:>8} {:>8} {:>8} {:>16}",
        "readings of", "number", "log", "sealed", "gzip -9", "VictoriaMetrics"
    );
    let mut subjects = recordings(arguments.recordings.as_deref())?;
    if arguments.plant_seconds > 0 {
        let seconds = arguments.plant_seconds;
        subjects.insert(0, Subject::Plant { seconds });
    }
    for (number, subject) in subjects.iter().enumerate() {
        let folder = dir.path().join(number.to_string());
        let sizes = measure(subject, &programs, &folder, victoria.as_ref())
            .with_context(|| subject.name())?;
        print(&subject.name(), &sizes);
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn print(name: &str, sizes: &Sizes) {
    let each = |bytes: u64| bytes as f64 / sizes.readings as f64;
    let victoria = sizes
        .victoria_metrics
        .map_or_else(|| "-".to_owned(), |bytes| format!("{:.2}", each(bytes)));
    println!(
        "{name:<36} {:>9} {:>8.2} {:>8.2} {:>8.2} {victoria:>16}",
        sizes.readings,
        each(sizes.log),
        each(sizes.sealed),
        each(sizes.gzip),
    );
}

/// The recordings of a folder; none where the usual one is not there.
fn recordings(folder: Option<&Path>) -> Result<Vec<Subject>> {
    let usual = workspace_root().join("../shared/data");
    let folder = match folder {
        Some(folder) => folder,
        None if usual.is_dir() => &usual,
        None => {
            println!(
                "not measured: no recordings beside the project; name a folder with --recordings"
            );
            return Ok(Vec::new());
        }
    };
    let entries = std::fs::read_dir(folder);
    let entries = entries.with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    let mut subjects = Vec::new();
    for file in files {
        // A sensor among others of its device, by itself.
        let header = std::fs::read_to_string(&file)?;
        let header = header.lines().next().unwrap_or_default();
        let has = |column: &str| {
            header
                .split(',')
                .any(|name| name.trim_matches('"') == column)
        };
        let alone = has(TEMPERATURE).then(|| Subject::Recording(file.clone(), Some(TEMPERATURE)));
        subjects.push(Subject::Recording(file, None));
        subjects.extend(alone);
    }
    Ok(subjects)
}

impl Subject {
    fn name(&self) -> String {
        match self {
            Self::Plant { .. } => "the plant".to_owned(),
            Self::Recording(file, column) => {
                let stem = file.file_stem().unwrap_or_default().to_string_lossy();
                column.map_or_else(|| stem.to_string(), |column| format!("{stem}, {column}"))
            }
        }
    }

    /// What `sensor-sim` is told.
    fn arguments(&self) -> Vec<String> {
        let words: Vec<String> = match self {
            Self::Plant { seconds } => {
                let duration = format!("{seconds}s");
                let plant = [
                    "--source",
                    "plant",
                    "--linger",
                    "20s",
                    "--duration",
                    &duration,
                ];
                plant
                    .iter()
                    .chain(&PLANT)
                    .map(|word| (*word).to_owned())
                    .collect()
            }
            Self::Recording(file, column) => {
                let file = file.to_string_lossy();
                let mut replay = vec!["--source", "replay", "--file", &file];
                replay.extend(column.iter().flat_map(|column| ["--columns", column]));
                replay.iter().map(|word| (*word).to_owned()).collect()
            }
        };
        words
    }
}

/// Writes the readings to a node of their own and to the others.
fn measure(
    subject: &Subject,
    programs: &Programs,
    dir: &Path,
    victoria: Option<&peers::VictoriaMetrics>,
) -> Result<Sizes> {
    let options = stage::with_settings(1, &[("TIDEMARK_SEAL_AFTER", "1d")]);
    let mut cluster = LocalCluster::start(programs, dir, &options)?;
    let log_bytes = |cluster: &LocalCluster| nodes::metric(cluster, "tidemark_log_bytes_total ");
    let before = log_bytes(&cluster)?;
    let arguments = subject.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    load::run(&cluster, "agent", &arguments)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of bytes"
    )]
    let log = (log_bytes(&cluster)? - before) as u64;
    nodes::seal_everything(&mut cluster)?;
    let (_, sealed) = cluster.equal_segments()?;
    let rows = peers::rows(&export(&cluster)?)?;
    cluster.stop()?;
    let victoria_metrics = match victoria {
        None => None,
        Some(victoria) => Some(victoria.bytes_of(&rows, &dir.join("victoria"))?),
    };
    Ok(Sizes {
        readings: rows.len() as u64,
        log,
        sealed,
        gzip: peers::gzip(&rows)?,
        victoria_metrics,
    })
}

/// All readings, as CSV.
fn export(cluster: &LocalCluster) -> Result<String> {
    const TIMEOUT: Duration = Duration::from_secs(120);
    let mut command = cluster.client("query-app", "operator", "bench")?;
    let seconds = format!("{}s", TIMEOUT.as_secs());
    command.args(["range", "**", "--from", "2000-01-01", "--to", "2200-01-01"]);
    command.args(["--format", "csv", "--timeout", &seconds]);
    let output = command.output().context("cannot run query-app")?;
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
