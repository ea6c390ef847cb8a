//! `cargo xtask bench dashboard`: the page's figures, in chromium, over a cluster of this machine: how
//! soon it is there, how quickly a series of many readings is zoomed, what 20 live charts cost.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use local_cluster::{ClusterOptions, LocalCluster, Profile, Programs, workspace_root};

use crate::bench::load;
use crate::{browser, host};

/// How long the dashboard may take to listen.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How many devices the live plant has: eight sensors each, more than there are charts.
const PLANT_DEVICES: &str = "6";

/// Measures the dashboard's page.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask bench dashboard --readings 10000000")]
pub(crate) struct DashboardArguments {
    /// How many readings the series has that is zoomed.
    #[arg(long, default_value_t = 10_000_000)]
    readings: u64,
    /// How many charts are live.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=24))]
    charts: u64,
    /// How long they are watched, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Folder on the disk to measure.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Debug builds, to try the measurement itself.
    #[arg(long)]
    debug: bool,
}

/// Runs the measurement and prints it.
pub(crate) fn run(arguments: &DashboardArguments) -> Result<()> {
    host::install_chromium()?;
    let tests = workspace_root().join("dashboard/browser-tests");
    if !host::npm_ci(&tests)?
        .current_dir(&tests)
        .status()?
        .success()
    {
        bail!("npm ci failed in {}", tests.display());
    }
    let assets = browser::build()?;
    println!("assets: {}", assets.display());
    let packages = ["store-node", "sensor-sim", "dashboard"];
    let programs = match arguments.debug {
        true => Programs::built()?,
        false => Programs::build(&packages, Profile::Release)?,
    };
    let base = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::Builder::new()
        .prefix("bench-dashboard-")
        .tempdir_in(&base)
        .with_context(|| format!("cannot make a folder in {}", base.display()))?;
    let cluster = LocalCluster::start(&programs, dir.path(), &ClusterOptions::default())?;

    let readings = arguments.readings.to_string();
    let long = [
        "load",
        "--devices",
        "1",
        "--metrics",
        "1",
        "--chunk",
        "1000",
    ];
    load::run(
        &cluster,
        "long",
        &[&long[..], &["--readings", &readings]].concat(),
    )?;
    let spool = dir.path().join("spool").display().to_string();
    let plant = [
        "--source",
        "plant",
        "--devices",
        PLANT_DEVICES,
        "--rate",
        "1",
    ];
    let mut plant = load::start(
        &cluster,
        "plant",
        &[&plant[..], &["--spool", &spool]].concat(),
    )?;

    let mut command = cluster.client("dashboard", "operator", "dashboard")?;
    command.args(["--http", "127.0.0.1:0"]);
    let mut dashboard = load::begin(&cluster, "dashboard", command)?;
    let line = dashboard.wait_line("dashboard ready http=", READY_TIMEOUT)?;
    let address = line.rsplit("http=").next().context("no address")?.trim();

    let status = Command::new("node")
        .arg("figures.mjs")
        .current_dir(&tests)
        .env("DASHBOARD_URL", format!("http://{address}"))
        .env("LONG_SERIES", "load/d0001/m01")
        .env("LIVE_CHARTS", arguments.charts.to_string())
        .env("LIVE_SECONDS", arguments.seconds.to_string())
        .status()
        .context("cannot run node")?;
    if !status.success() {
        bail!("the measurement in the browser failed");
    }
    dashboard.stop(READY_TIMEOUT)?;
    plant.stop(READY_TIMEOUT)?;
    cluster.stop()
}
