//! A whole system on this machine: store nodes, agents, dashboard. What the demo shows and the
//! browser tests look at.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use local_cluster::{ClusterOptions, LocalCluster, Process, Programs};
use serde_json::json;

/// The programs a system consists of.
pub(crate) const PACKAGES: [&str; 4] = ["store-node", "sensor-sim", "query-app", "dashboard"];

/// How long the dashboard may take to listen.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an agent may take to stop: it flushes what it has and waits for the acknowledgements.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// What a system is to be.
#[derive(Debug, Clone)]
pub(crate) struct SystemOptions {
    /// How many store nodes.
    pub(crate) nodes: u64,
    /// The first QUIC port; HTTP ports lie 100 above. `None` takes free ports.
    pub(crate) base_port: Option<u16>,
    /// The dashboard's port; 0 takes a free one.
    pub(crate) dashboard_port: u16,
    /// The simulated plant, unless it is left out.
    pub(crate) plant: Option<Plant>,
    /// Whether one has to log in to the dashboard.
    pub(crate) login: bool,
}

/// How large the simulated plant is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plant {
    /// How many devices it has.
    pub(crate) devices: u32,
    /// Readings a second of each sensor.
    pub(crate) rate: f64,
}

/// Running programs, in the order they were started: nodes, agents, dashboard.
#[derive(Debug)]
pub(crate) struct System {
    cluster: LocalCluster,
    programs: Vec<Process>,
    url: String,
}

impl System {
    /// Starts everything below `dir`, printing one line a process as it becomes ready, and writes
    /// `dir/demo.json`.
    pub(crate) fn start(programs: &Programs, dir: &Path, options: &SystemOptions) -> Result<Self> {
        let cluster_options = ClusterOptions {
            nodes: options.nodes,
            base_port: options.base_port,
            name: "demo".to_owned(),
            ..ClusterOptions::default()
        };
        let cluster = LocalCluster::start(programs, dir, &cluster_options)?;
        for node in cluster.nodes() {
            println!(
                "node {} is ready: quic {}, http {}",
                node.id, node.quic, node.http
            );
        }
        let mut system = Self {
            cluster,
            programs: Vec::new(),
            url: String::new(),
        };
        if let Some(plant) = options.plant {
            let (devices, rate) = (plant.devices.to_string(), plant.rate.to_string());
            system.start_agent("plant", &["--devices", &devices, "--rate", &rate])?;
        }
        system.start_agent("host", &[])?;
        let users = match options.login {
            true => Some(system.make_users(programs)?),
            false => None,
        };
        system.start_dashboard(options.dashboard_port, users.as_deref())?;
        system.describe()?;
        Ok(system)
    }

    /// The dashboard's address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Looks after the programs: tells of a store node that ended, and fails when an agent or the
    /// dashboard did. A node may be killed and watched: that is what a demo is for.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(story) = self.cluster.fallen()? {
            println!("{story}");
        }
        for program in &mut self.programs {
            if let Some(status) = program.exited()? {
                bail!(
                    "{} ended with {status}\n{}",
                    program.name(),
                    program.log_tail()
                );
            }
        }
        Ok(())
    }

    /// Stops the dashboard and the agents, then the nodes.
    pub(crate) fn stop(self) -> Result<()> {
        let mut outcome = Ok(());
        for mut program in self.programs.into_iter().rev() {
            outcome = outcome.and(program.stop(STOP_TIMEOUT).map(|_| ()));
        }
        outcome.and(self.cluster.stop())
    }

    /// Starts an agent with source `source`, an identity of that name and a spool in the folder.
    fn start_agent(&mut self, source: &str, arguments: &[&str]) -> Result<()> {
        let mut command = self.cluster.client("sensor-sim", "device", source)?;
        let dir = self.cluster.dir();
        command.args(["--source", source]).args(arguments);
        command
            .arg("--spool")
            .arg(dir.join(format!("spool-{source}")));
        self.spawn(
            &format!("agent {source}"),
            command,
            &format!("agent-{source}.log"),
        )?;
        println!("agent {source} is running");
        Ok(())
    }

    /// Makes a user of each role, unless an earlier run has, and prints their passwords, this once.
    fn make_users(&self, programs: &Programs) -> Result<PathBuf> {
        let file = self.cluster.dir().join("users.json");
        if file.exists() {
            println!(
                "users and passwords are those of before: {}",
                file.display()
            );
            return Ok(file);
        }
        for role in ["operator", "reader"] {
            let mut command = programs.command("dashboard");
            command.args(["user", "add", role, "--role", role, "--users"]);
            let made = command
                .arg(&file)
                .output()
                .context("cannot run dashboard")?;
            if !made.status.success() {
                bail!("{}", String::from_utf8_lossy(&made.stderr));
            }
            let password = String::from_utf8_lossy(&made.stdout);
            println!("log in as {role} with password {}", password.trim());
        }
        Ok(file)
    }

    fn start_dashboard(&mut self, port: u16, users: Option<&Path>) -> Result<()> {
        let mut command = self.cluster.client("dashboard", "operator", "dashboard")?;
        command.args(["--http", &format!("127.0.0.1:{port}")]);
        if let Some(users) = users {
            command.arg("--users").arg(users);
        }
        let dashboard = self.spawn("dashboard", command, "dashboard.log")?;
        let line = dashboard.wait_line("dashboard ready http=", READY_TIMEOUT)?;
        let address = line
            .rsplit("http=")
            .next()
            .context("no address in the ready line")?;
        self.url = format!("http://{}/", address.trim());
        println!("dashboard is ready: {}", self.url);
        Ok(())
    }

    fn spawn(&mut self, name: &str, command: Command, log: &str) -> Result<&mut Process> {
        let process = Process::start(name, command, &self.cluster.dir().join(log))?;
        self.programs.push(process);
        self.programs.last_mut().context("it was pushed just now")
    }

    /// Writes `demo.json`: where everything is, for scripts.
    fn describe(&self) -> Result<()> {
        let identities = self.cluster.identities();
        let operator = identities.issue("operator", "operator", &[])?;
        let device = identities.issue("device", "demo", &[])?;
        let node = |node: &local_cluster::StoreNode| {
            json!({
                "id": node.id, "quic": node.quic, "http": node.http,
                "pid": node.pid(), "data": node.data,
            })
        };
        let document = json!({
            "nodes": self.cluster.nodes().iter().map(node).collect::<Vec<_>>(),
            "dashboard": { "url": self.url, "pid": self.programs.last().map(Process::pid) },
            "identities": { "operator": operator, "device": device },
        });
        let path = self.cluster.dir().join("demo.json");
        let partial = self.cluster.dir().join("demo.json.partial");
        std::fs::write(&partial, serde_json::to_vec_pretty(&document)?)
            .and_then(|()| std::fs::rename(&partial, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
