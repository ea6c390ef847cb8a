//! `cargo xtask demo`: a whole system on this machine, from nothing.
//!
//! Three store nodes with mutual TLS, a simulated plant, this host's own sensors and the dashboard.
//! Everything lies in one folder; given the same folder again, the same cluster goes on.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use local_cluster::{Profile, Programs};

use crate::browser;
use crate::system::{PACKAGES, Plant, System, SystemOptions};

/// How often the demo looks whether all of its programs still run.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// The first QUIC port when none is given.
const BASE_PORT_DEFAULT: u16 = 7400;
/// The dashboard's port, unless `--base-port` asks for other ports than the usual ones.
const DASHBOARD_PORT_DEFAULT: u16 = 3000;

/// Starts a whole system on this machine.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask demo --dir /tmp/tidemark --devices 20 --rate 1")]
pub(crate) struct DemoArguments {
    /// Folder of all data, identities and logs; given again, the same cluster goes on [default: a
    /// fresh temporary folder].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// First QUIC port; HTTP ports lie 100 above, the dashboard at 3000 (or 200 above a port given here).
    #[arg(long)]
    base_port: Option<u16>,
    /// How many store nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=7))]
    nodes: u64,
    /// How many devices the simulated plant has.
    #[arg(long, default_value_t = 12)]
    devices: u32,
    /// Readings a second of each of the plant's sensors.
    #[arg(long, default_value_t = 1.0)]
    rate: f64,
    /// Leave the simulated plant out; this host's own sensors stay.
    #[arg(long)]
    no_sim: bool,
    /// Have people log in to the dashboard: makes a user `operator` and a user `reader`, and prints their
    /// passwords, this once.
    #[arg(long)]
    login: bool,
    /// Build with the release profile.
    #[arg(long, conflicts_with = "debug")]
    release: bool,
    /// Build with the everyday profile (the default).
    #[arg(long)]
    debug: bool,
}

/// Runs the demo until Ctrl-C.
pub(crate) fn run(arguments: &DemoArguments) -> Result<()> {
    let stop = stop_signal()?;
    let profile = if arguments.release {
        Profile::Release
    } else {
        Profile::Debug
    };
    let options = options(arguments)?;
    browser::build().context("the dashboard's browser part was not built")?;
    let programs = Programs::build(&PACKAGES, profile)?;
    let dir = demo_dir(arguments)?;
    println!("data, identities and logs are in {}", dir.display());
    let mut system = System::start(&programs, &dir, &options)?;
    println!("\nopen {}\nCtrl-C stops everything", system.url());
    let outcome = watch(&mut system, &stop);
    println!("stopping");
    outcome.and(system.stop())
}

fn options(arguments: &DemoArguments) -> Result<SystemOptions> {
    let dashboard_port = match arguments.base_port {
        Some(base) => base.checked_add(200).context("--base-port is too high")?,
        None => DASHBOARD_PORT_DEFAULT,
    };
    let plant = Plant {
        devices: arguments.devices,
        rate: arguments.rate,
    };
    Ok(SystemOptions {
        nodes: arguments.nodes,
        base_port: Some(arguments.base_port.unwrap_or(BASE_PORT_DEFAULT)),
        dashboard_port,
        plant: (!arguments.no_sim).then_some(plant),
        login: arguments.login,
    })
}

/// Waits for Ctrl-C, or until a program that must run does not.
fn watch(system: &mut System, stop: &Receiver<()>) -> Result<()> {
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(WATCH_INTERVAL) {
        system.check()?;
    }
    Ok(())
}

/// Receives a message at Ctrl-C or SIGTERM.
fn stop_signal() -> Result<Receiver<()>> {
    let (sender, receiver) = sync_channel(1);
    ctrlc::set_handler(move || {
        // A full channel means that the demo is being stopped already.
        let _ = sender.try_send(());
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(receiver)
}

fn demo_dir(arguments: &DemoArguments) -> Result<PathBuf> {
    let dir = match &arguments.dir {
        Some(dir) => dir.clone(),
        None => tempfile::Builder::new()
            .prefix("tidemark-demo-")
            .tempdir()?
            .keep(),
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Path::canonicalize(&dir).with_context(|| format!("cannot open {}", dir.display()))
}
