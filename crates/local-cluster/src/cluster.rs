//! A cluster of store nodes on this machine.

mod node;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::http::json;
use crate::identities::Identities;
use crate::process::{Process, Signal};
use crate::programs::Programs;
use crate::wait::until;

pub use node::StoreNode;
use node::ports;

/// How long a node may take from its start to its ready line, on a loaded machine.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a cluster may take to elect a leader.
const LEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a node may take to stop when asked: the contract's 10 s, and some for a loaded machine.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// What a cluster is to be.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// How many nodes, with ids from 1.
    pub nodes: u64,
    /// The first QUIC port; HTTP ports lie 100 above. `None` takes free ports.
    pub base_port: Option<u16>,
    /// The cluster's name, as in every identity.
    pub name: String,
    /// Settings of every node, as environment variables: `("TIDEMARK_SEAL_BYTES", "1MiB")`.
    pub settings: Vec<(String, String)>,
    /// Whether faults can be put on the nodes' disks and clocks: [`StoreNode::faults`]. Certificates
    /// are then valid since yesterday.
    pub faults: bool,
    /// Puts each node on a [`SmallDisk`] of so many bytes.
    pub disk_bytes: Option<u64>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            nodes: 3,
            base_port: None,
            name: "local".to_owned(),
            settings: Vec::new(),
            faults: false,
            disk_bytes: None,
        }
    }
}

/// Store nodes of one cluster, below one folder: `identities/`, and `node-N/` and `node-N.log` each.
#[derive(Debug)]
pub struct LocalCluster {
    programs: Programs,
    identities: Identities,
    dir: PathBuf,
    options: ClusterOptions,
    /// The members it is formed of, and where they are reached.
    founders: Vec<(u64, String)>,
    nodes: Vec<StoreNode>,
}

/// A node that ended by itself.
#[derive(Debug)]
pub struct Fallen {
    /// The node.
    pub id: u64,
    /// How it ended.
    pub status: ExitStatus,
    /// The end of its log.
    pub log_tail: String,
}

impl fmt::Display for Fallen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            status,
            log_tail,
        } = self;
        write!(f, "node {id} ended with {status}\n{log_tail}")
    }
}

impl LocalCluster {
    /// Makes identities, starts every node and waits until each is ready and one leads.
    ///
    /// # Errors
    /// When a program is missing, or a node does not become ready: with the end of its log.
    pub fn start(programs: &Programs, dir: &Path, options: &ClusterOptions) -> Result<Self> {
        let mut cluster = Self::prepare(programs, dir, options)?;
        cluster.restart_all()?;
        cluster.leader()?;
        Ok(cluster)
    }

    /// Makes identities and chooses ports, and starts nothing yet.
    ///
    /// # Errors
    /// When a program is missing, or there are no ports.
    pub fn prepare(programs: &Programs, dir: &Path, options: &ClusterOptions) -> Result<Self> {
        let authority = dir.join("identities");
        let identities = match options.faults {
            true => Identities::open_yesterday(programs, &authority, &options.name)?,
            false => Identities::open(programs, &authority, &options.name)?,
        };
        let nodes = (1..=options.nodes)
            .zip(ports(options.base_port, options.nodes)?)
            .map(|(id, ports)| StoreNode::new(id, ports, dir, options))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            programs: programs.clone(),
            identities,
            dir: dir.to_path_buf(),
            options: options.clone(),
            founders: nodes.iter().map(|n| (n.id, n.quic.clone())).collect(),
            nodes,
        })
    }

    /// Says where others reach node `id`: something at `address` brings it what it is sent there. To
    /// be said before its first start.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn advertise(&mut self, id: u64, address: &str) -> Result<()> {
        address.clone_into(&mut self.node_mut(id)?.advertised);
        for founder in self.founders.iter_mut().filter(|founder| founder.0 == id) {
            address.clone_into(&mut founder.1);
        }
        Ok(())
    }

    /// The identities of the cluster.
    pub fn identities(&self) -> &Identities {
        &self.identities
    }

    /// The programs it runs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The folder of everything.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All nodes, running or not, ordered by id.
    pub fn nodes(&self) -> &[StoreNode] {
        &self.nodes
    }

    /// Where every node is reached, as `--target` takes them.
    pub fn targets(&self) -> String {
        let addresses: Vec<&str> = self.nodes.iter().map(|n| n.advertised.as_str()).collect();
        addresses.join(",")
    }

    /// A command that runs `program` against this cluster as identity `role/name`.
    ///
    /// # Errors
    /// When the identity cannot be issued.
    pub fn client(&self, program: &str, role: &str, name: &str) -> Result<Command> {
        let identity = self.identities.issue(role, name, &[])?;
        let mut command = self.programs.command(program);
        command
            .env("TIDEMARK_TARGET", self.targets())
            .env("TIDEMARK_IDENTITY", identity);
        Ok(command)
    }

    /// Waits until the running nodes agree on a running leader, and gives its id.
    ///
    /// # Errors
    /// When there is none within 30 s.
    pub fn leader(&self) -> Result<u64> {
        until("a leader", LEADER_TIMEOUT, || {
            let mut agreed = None;
            for node in self.nodes.iter().filter(|node| node.process.is_some()) {
                let Some(leader) = json(&node.http, "/status")?["leader"].as_u64() else {
                    return Ok(None);
                };
                if agreed.is_some_and(|other| other != leader) {
                    return Ok(None);
                }
                agreed = Some(leader);
            }
            Ok(agreed.filter(|id| {
                self.nodes
                    .iter()
                    .any(|n| n.id == *id && n.process.is_some())
            }))
        })
    }

    /// A node's status document.
    ///
    /// # Errors
    /// When the node does not answer.
    pub fn status(&self, id: u64) -> Result<Value> {
        json(&self.node(id)?.http, "/status")
    }

    /// Waits until every running node has applied what the leader has committed by now.
    ///
    /// # Errors
    /// When one has not within `timeout`.
    pub fn wait_applied(&self, timeout: Duration) -> Result<u64> {
        let leader = self.leader()?;
        let committed = self.status(leader)?["commit_index"]
            .as_u64()
            .context("no commit index")?;
        until("every node having applied", timeout, || {
            for node in self.nodes.iter().filter(|node| node.process.is_some()) {
                let applied = json(&node.http, "/status")?["applied_index"].as_u64();
                if applied.is_none_or(|applied| applied < committed) {
                    return Ok(None);
                }
            }
            Ok(Some(committed))
        })
    }

    /// Kills node `id` with SIGKILL.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self, id: u64) -> Result<()> {
        let mut process = self
            .node_mut(id)?
            .process
            .take()
            .context("the node is not running")?;
        process.kill()
    }

    /// Asks node `id` to stop and waits for its end; it must exit with 0.
    ///
    /// # Errors
    /// When it is not running, does not end, or ends with another code.
    pub fn stop_node(&mut self, id: u64) -> Result<()> {
        self.signal(id, Signal::TERM)?;
        self.wait_stopped(id)
    }

    /// Waits until node `id`, which was asked to stop, has ended; it must exit with 0.
    ///
    /// # Errors
    /// When it is not running, does not end, or ends with another code.
    pub fn wait_stopped(&mut self, id: u64) -> Result<()> {
        let process = self.node_mut(id)?.process.take();
        let mut process = process.context("the node is not running")?;
        let (status, _) = process.wait(STOP_TIMEOUT)?;
        if !status.success() {
            bail!("node {id} ended with {status}\n{}", process.log_tail());
        }
        Ok(())
    }

    /// Sends `signal` to node `id`.
    ///
    /// # Errors
    /// When it is not running.
    pub fn signal(&self, id: u64, signal: Signal) -> Result<()> {
        self.node(id)?
            .process
            .as_ref()
            .context("the node is not running")?
            .signal(signal)
    }

    /// Starts node `id` again with the flags it had, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready: with the end of its log.
    pub fn restart(&mut self, id: u64) -> Result<()> {
        self.launch(id)?;
        self.wait_ready(id)
    }

    /// Starts every node that is not running, all at once (a node is ready once it knows a leader),
    /// and waits until each is ready.
    ///
    /// # Errors
    /// When one does not become ready: with the end of its log.
    pub fn restart_all(&mut self) -> Result<()> {
        let down: Vec<u64> = self
            .nodes
            .iter()
            .filter(|n| n.process.is_none())
            .map(|n| n.id)
            .collect();
        for id in &down {
            self.launch(*id)?;
        }
        down.into_iter().try_for_each(|id| self.wait_ready(id))
    }

    /// Gives every node that is started from now on these settings, in place of those it had.
    pub fn set_settings(&mut self, settings: &[(&str, &str)]) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.options.settings = settings.iter().map(owned).collect();
    }

    /// Starts a further node, with a new id and an empty folder, that asks the others to let it in,
    /// and waits until it is ready. Gives its id.
    ///
    /// # Errors
    /// When it does not become ready: with the end of its log.
    pub fn join(&mut self) -> Result<u64> {
        let id = self.add_node()?;
        self.launch(id)?;
        self.wait_ready(id)?;
        Ok(id)
    }

    /// Prepares a further node, with a new id and an empty folder, that asks those that run now to let
    /// it in once it is started. Gives its id.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn add_node(&mut self) -> Result<u64> {
        let id = 1 + self.nodes.iter().map(|node| node.id).max().unwrap_or(0);
        let free = ports(None, 1)?.first().copied().context("no free port")?;
        let running = self.nodes.iter().filter(|node| node.process.is_some());
        let joined: Vec<&str> = running.map(|node| node.advertised.as_str()).collect();
        let joined = joined.join(",");
        let mut node = StoreNode::new(id, free, &self.dir, &self.options)?;
        node.joined = joined;
        self.nodes.push(node);
        Ok(id)
    }

    /// Forgets node `id`, which is not running, and removes its folder. The cluster is not told.
    ///
    /// # Errors
    /// When there is no such node, it runs, or its folder cannot be removed.
    pub fn wipe(&mut self, id: u64) -> Result<()> {
        let node = self.node(id)?;
        if node.process.is_some() {
            bail!("node {id} is running");
        }
        std::fs::remove_dir_all(&node.data)
            .with_context(|| format!("cannot remove {}", node.data.display()))?;
        self.nodes.retain(|node| node.id != id);
        Ok(())
    }

    /// A node that ended by itself, if there is one. It counts as not running from then on.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn fallen(&mut self) -> Result<Option<Fallen>> {
        for node in &mut self.nodes {
            let Some(process) = node.process.as_mut() else {
                continue;
            };
            if let Some(status) = process.exited()? {
                let log_tail = process.log_tail();
                node.process = None;
                return Ok(Some(Fallen {
                    id: node.id,
                    status,
                    log_tail,
                }));
            }
        }
        Ok(None)
    }

    /// Waits for node `id` to end by itself, and gives how it ended and the end of its log.
    ///
    /// # Errors
    /// When it is not running, or has not ended after `timeout`.
    pub fn wait_fallen(&mut self, id: u64, timeout: Duration) -> Result<(ExitStatus, String)> {
        let node = self.node_mut(id)?;
        let process = node.process.as_mut().context("the node is not running")?;
        let (status, _) = process.wait(timeout)?;
        let story = process.log_tail();
        node.process = None;
        Ok((status, story))
    }

    /// Stops every running node.
    ///
    /// # Errors
    /// When one does not end as it should; the others are stopped all the same.
    pub fn stop(mut self) -> Result<()> {
        let running: Vec<u64> = self
            .nodes
            .iter()
            .filter(|n| n.process.is_some())
            .map(|n| n.id)
            .collect();
        // Asked all at once: a cluster that goes down as a whole need not hand leadership around.
        for id in &running {
            self.signal(*id, Signal::TERM)?;
        }
        let ends: Vec<Result<()>> = running
            .into_iter()
            .map(|id| self.wait_stopped(id))
            .collect();
        ends.into_iter().collect()
    }

    /// Starts node `id` with the flags it had, and waits for nothing.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&mut self, id: u64) -> Result<()> {
        let identity = self.identities.issue("node", &format!("node-{id}"), &[])?;
        let founders = self.founders.iter();
        let founders: Vec<String> = founders.map(|(id, at)| format!("{id}={at}")).collect();
        let log = self.dir.join(format!("node-{id}.log"));
        let mut command = self.programs.command("store-node");
        command.envs(self.options.settings.iter().cloned());
        let node = self.node_mut(id)?;
        command
            .args(["run", "--id", &id.to_string(), "--data"])
            .arg(&node.data)
            .arg("--identity")
            .arg(identity)
            .args(["--listen", &node.quic, "--advertise", &node.advertised])
            .args(["--http", &node.http]);
        match node.joined.as_str() {
            "" => command.args(["--bootstrap", &founders.join(",")]),
            members => command.args(["--join", members]),
        };
        if let Some(faults) = &node.faults {
            faults.attach(&mut command);
        }
        node.process = Some(Process::start(&format!("node {id}"), command, &log)?);
        Ok(())
    }

    /// Waits until node `id`, which was launched, is ready.
    ///
    /// # Errors
    /// When it does not become ready: with the end of its log.
    pub fn wait_ready(&mut self, id: u64) -> Result<()> {
        let process = self
            .node_mut(id)?
            .process
            .as_mut()
            .context("the node is not running")?;
        process.wait_line(&format!("node {id} ready"), READY_TIMEOUT)?;
        Ok(())
    }

    /// Node `id`.
    ///
    /// # Errors
    /// When there is none.
    pub fn node(&self, id: u64) -> Result<&StoreNode> {
        self.nodes
            .iter()
            .find(|node| node.id == id)
            .with_context(|| format!("there is no node {id}"))
    }

    /// Node `id`.
    ///
    /// # Errors
    /// When there is none.
    pub fn node_mut(&mut self, id: u64) -> Result<&mut StoreNode> {
        let node = self.nodes.iter_mut().find(|node| node.id == id);
        node.with_context(|| format!("there is no node {id}"))
    }
}
