//! What a scenario acts on: the nodes and the network between them. Everything that it does is printed
//! and taken down in the history.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use local_cluster::{LocalCluster, Signal, until};
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use crate::check::RECOVERY_MAX;
use crate::history::{Event, FaultKind, Recorder};
use crate::network::{Network, Party};
use crate::watch::Watch;
use crate::workload::{Roster, Seat};

/// How long a leader may take to be elected among nodes that reach each other.
const LEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is looked whether a node has fallen, while a scenario waits.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a node may take to end after SIGTERM: the contract's bound.
const TERMINATION_MAX: Duration = Duration::from_secs(10);

/// What a node says that ends for want of room.
const NO_ROOM: &str = "the disk is full: no space to write";

/// The nodes, the network, and the time that is left.
#[derive(Debug)]
pub struct Stage {
    cluster: LocalCluster,
    network: Network,
    roster: Roster,
    watch: Watch,
    recorder: Recorder,
    chance: ChaCha8Rng,
    ends: Instant,
    interrupted: Arc<AtomicBool>,
    /// Nodes that were stopped with SIGSTOP.
    frozen: BTreeSet<u64>,
    /// Nodes that are no members any more.
    removed: BTreeSet<u64>,
    /// Files that take the room of others, by the nodes on whose disks they are.
    fillers: BTreeMap<u64, PathBuf>,
}

impl Stage {
    /// Nodes as `cluster` has them, behind `network`, none of them started.
    ///
    /// # Errors
    /// When the proxy has no sockets.
    pub fn new(
        mut cluster: LocalCluster,
        network: Network,
        recorder: Recorder,
        seed: u64,
        interrupted: Arc<AtomicBool>,
    ) -> Result<Self> {
        let ids: Vec<u64> = cluster.nodes().iter().map(|node| node.id).collect();
        for id in ids {
            attach(&mut cluster, &network, id)?;
        }
        let mut watch = Watch::new(recorder.clone());
        for node in cluster.nodes() {
            watch.add(node.id, &node.http);
        }
        let stage = Self {
            cluster,
            network,
            roster: Roster::default(),
            watch,
            recorder,
            chance: ChaCha8Rng::seed_from_u64(seed),
            ends: Instant::now(),
            interrupted,
            frozen: BTreeSet::new(),
            removed: BTreeSet::new(),
            fillers: BTreeMap::new(),
        };
        stage.call_the_roll();
        Ok(stage)
    }

    /// From now on there are `duration` for breaking things.
    pub fn begin(&mut self, duration: Duration) {
        self.ends = Instant::now() + duration;
    }

    /// Whether the time is over, or somebody wants it to be.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.ends || self.interrupted.load(Ordering::Relaxed)
    }

    /// The nodes.
    pub fn cluster(&self) -> &LocalCluster {
        &self.cluster
    }

    /// The nodes.
    pub fn cluster_mut(&mut self) -> &mut LocalCluster {
        &mut self.cluster
    }

    /// The network between them.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Where the members are.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The history.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The seeded source of chance.
    pub fn chance(&mut self) -> &mut ChaCha8Rng {
        &mut self.chance
    }

    /// Takes down what is broken or mended.
    pub fn tell(&self, text: &str) {
        self.recorder.fault(FaultKind::Other, text);
    }

    /// All members, running or not, ordered by id.
    pub fn members(&self) -> Vec<u64> {
        let nodes = self.cluster.nodes().iter().map(|node| node.id);
        nodes.filter(|id| !self.removed.contains(id)).collect()
    }

    /// Members that run.
    pub fn running(&self) -> Vec<u64> {
        let is_running = |id: &u64| {
            self.cluster
                .node(*id)
                .is_ok_and(|node| node.pid().is_some())
        };
        self.members().into_iter().filter(is_running).collect()
    }

    /// One of `among`, by chance.
    ///
    /// # Errors
    /// When there is none.
    pub fn any(&mut self, among: &[u64]) -> Result<u64> {
        among
            .choose(&mut self.chance)
            .copied()
            .context("no node to choose")
    }

    /// `among` in an order by chance.
    pub fn shuffled(&mut self, among: &[u64]) -> Vec<u64> {
        let mut order = among.to_vec();
        order.shuffle(&mut self.chance);
        order
    }

    /// Waits until some node leads, and says which.
    ///
    /// # Errors
    /// When none does within 30 s.
    pub fn leader(&mut self) -> Result<u64> {
        let watch = &self.watch;
        let running = self.running();
        until("a leader", LEADER_TIMEOUT, || {
            Ok(watch.leader().filter(|id| running.contains(id)))
        })
    }

    /// Members that run and do not lead.
    ///
    /// # Errors
    /// As [`leader`](Self::leader).
    pub fn followers(&mut self) -> Result<Vec<u64>> {
        let leader = self.leader()?;
        let running = self.running();
        Ok(running.into_iter().filter(|id| *id != leader).collect())
    }

    /// Kills a node at once.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self, id: u64) -> Result<()> {
        let (kind, what) = match self.watch.leader() == Some(id) {
            true => (FaultKind::LeaderKilled, "kill the leader"),
            false => (FaultKind::Killed, "kill"),
        };
        self.recorder.fault(kind, &format!("{what}, node {id}"));
        self.frozen.remove(&id);
        self.cluster.kill(id)
    }

    /// Starts a node and does not wait for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&mut self, id: u64) -> Result<()> {
        self.tell(&format!("start node {id}"));
        self.cluster.launch(id)
    }

    /// Starts a node and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(&mut self, id: u64) -> Result<()> {
        self.launch(id)?;
        self.cluster.wait_ready(id)
    }

    /// Asks a node to stop and waits for its end, which must be a success within 10 s.
    ///
    /// # Errors
    /// When it does not run.
    pub fn terminate(&mut self, id: u64) -> Result<()> {
        let (kind, what) = match self.watch.leader() == Some(id) {
            true => (FaultKind::Handover, "terminate the leader"),
            false => (FaultKind::Other, "terminate"),
        };
        self.recorder.fault(kind, &format!("{what}, node {id}"));
        let began = Instant::now();
        if let Err(error) = self.cluster.stop_node(id) {
            self.recorder.misbehaved(&format!("{error:#}"));
        } else if began.elapsed() > TERMINATION_MAX {
            let took = began.elapsed().as_secs_f64();
            let text = format!("node {id} took {took:.1} s to end after SIGTERM");
            self.recorder.misbehaved(&text);
        }
        Ok(())
    }

    /// Stops a node in the middle of whatever it does (SIGSTOP).
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&mut self, id: u64) -> Result<()> {
        self.tell(&format!("pause node {id}"));
        self.frozen.insert(id);
        self.cluster.signal(id, Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&mut self, id: u64) -> Result<()> {
        self.tell(&format!("node {id} goes on"));
        self.frozen.remove(&id);
        self.cluster.signal(id, Signal::CONT)
    }

    /// Prepares one more node behind the network, which joins once it is started.
    ///
    /// # Errors
    /// When there are no ports.
    pub fn add_node(&mut self) -> Result<u64> {
        let id = self.cluster.add_node()?;
        attach(&mut self.cluster, &self.network, id)?;
        let http = self.cluster.node(id)?.http.clone();
        self.watch.add(id, &http);
        self.call_the_roll();
        Ok(id)
    }

    /// Removes a member with `query-app cluster remove`, then ends what is left of it.
    ///
    /// # Errors
    /// When the cluster refuses for longer than 30 s.
    pub fn remove_node(&mut self, id: u64) -> Result<()> {
        self.tell(&format!("remove node {id}"));
        let number = id.to_string();
        until(&format!("the removal of node {id}"), LEADER_TIMEOUT, || {
            let output = self.operate(&["cluster", "remove", &number])?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "{said}");
            Ok(Some(()))
        })?;
        self.removed.insert(id);
        self.call_the_roll();
        if self.cluster.node(id)?.pid().is_some() {
            self.cluster.kill(id)?;
        }
        Ok(())
    }

    /// Puts so much else on the disk of a node that `free` bytes are left, or less.
    ///
    /// # Errors
    /// When the node is not on a small disk, or the disk refuses.
    pub fn fill(&mut self, id: u64, free: u64) -> Result<()> {
        let left = self.cluster.node_mut(id)?.disk_mut()?.free_bytes()?;
        self.tell(&format!(
            "{free} of {left} free bytes are left on node {id}"
        ));
        let path = self.data(id)?.join("filler");
        self.fillers.insert(id, path.clone());
        let mut file = std::fs::File::create(&path)?;
        let filling = std::io::copy(
            &mut std::io::Read::take(std::io::repeat(1), left.saturating_sub(free)),
            &mut file,
        );
        match filling {
            // The node was faster.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(()),
            outcome => Ok(outcome.map(|_| ())?),
        }
    }

    /// Takes away what [`fill`](Self::fill) put there, and starts nodes that ended for want of room.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn make_room(&mut self) -> Result<()> {
        for (id, filler) in std::mem::take(&mut self.fillers) {
            self.tell(&format!("there is room on node {id}"));
            std::fs::remove_file(&filler)
                .with_context(|| format!("cannot remove {}", filler.display()))?;
            if self.cluster.node(id)?.pid().is_none() {
                self.launch(id)?;
            }
        }
        Ok(())
    }

    /// Runs `query-app` as the operator.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn operate(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.cluster.client("query-app", "operator", "operator")?;
        let seats: Vec<String> = self
            .roster
            .seats()
            .into_iter()
            .map(|seat| seat.address)
            .collect();
        command
            .env("TIDEMARK_TARGET", seats.join(","))
            .args(arguments);
        command.output().context("query-app cannot be run")
    }

    /// The data folder of a node.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn data(&self, id: u64) -> Result<PathBuf> {
        Ok(self.cluster.node(id)?.data.clone())
    }

    /// Lets time pass, a while within `range` of seconds, or until the time is over. Nodes that end
    /// meanwhile are noticed.
    ///
    /// # Errors
    /// When the system cannot tell how nodes are.
    pub fn wait(&mut self, range: Range<f64>) -> Result<()> {
        let duration = Duration::from_secs_f64(self.chance.random_range(range));
        let until = Instant::now() + duration;
        while Instant::now() < until && !self.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            thread::sleep(left.min(LOOK_EVERY));
            self.notice_fallen()?;
        }
        Ok(())
    }

    /// Takes down every node that ended by itself, and starts it again. Where another has filled the
    /// disk up to the last byte, a node may end and say so.
    ///
    /// # Errors
    /// When the system cannot tell, or it cannot be started.
    pub fn notice_fallen(&mut self) -> Result<()> {
        while let Some(fallen) = self.cluster.fallen()? {
            let id = fallen.id;
            if self.fillers.contains_key(&id) && fallen.log_tail.contains(NO_ROOM) {
                self.tell(&format!(
                    "node {id} ended: there is no byte left on its disk"
                ));
                continue;
            }
            self.recorder.misbehaved(&fallen.to_string());
            if !self.removed.contains(&id) {
                self.launch(id)?;
            }
        }
        Ok(())
    }

    /// Now that a majority is there and can talk: waits until a batch that is sent from now on is
    /// acknowledged. The history says how long that took.
    ///
    /// # Errors
    /// When none is within twice the time allowed.
    pub fn expect_writes(&mut self) -> Result<()> {
        let since = self.recorder.now();
        let recorder = self.recorder.clone();
        let taken = until("a write after recovery", 2 * RECOVERY_MAX, || {
            Ok(recorder
                .acknowledged()
                .filter(|sent| *sent > since)
                .map(|_| recorder.now()))
        });
        let at = taken.as_ref().ok().copied();
        self.recorder.note(Event::Recovered { since, at });
        self.notice_fallen()?;
        taken.map(|_| ())
    }

    /// Mends everything: the network is fair, who was paused goes on, every member runs and is ready.
    ///
    /// # Errors
    /// When a node does not become ready.
    pub fn mend(&mut self) -> Result<()> {
        self.tell("mend everything");
        self.network.heal();
        self.make_room()?;
        let at = self.recorder.now();
        self.recorder.note(Event::SyncsTake { at, ms: 0 });
        for node in self.cluster.nodes() {
            if let Ok(faults) = node.faults() {
                faults.lift()?;
            }
        }
        for id in std::mem::take(&mut self.frozen) {
            self.thaw(id)?;
        }
        self.notice_fallen()?;
        let running = self.running();
        let down: Vec<u64> = self
            .members()
            .into_iter()
            .filter(|id| !running.contains(id))
            .collect();
        for id in &down {
            self.cluster.launch(*id)?;
        }
        down.into_iter()
            .try_for_each(|id| self.cluster.wait_ready(id))
    }

    /// Ends the nodes in order; each must end with success.
    ///
    /// # Errors
    /// When a node does not run that is to.
    pub fn end(&mut self) -> Result<()> {
        self.notice_fallen()?;
        // All at once: a cluster that goes down as a whole need not hand leadership around.
        let running = self.running();
        for id in &running {
            self.cluster.signal(*id, Signal::TERM)?;
        }
        for id in running {
            if let Err(error) = self.cluster.wait_stopped(id) {
                self.recorder.misbehaved(&format!("{error:#}"));
            }
        }
        Ok(())
    }

    /// The parties of `ids`.
    pub fn parties(ids: &[u64]) -> Vec<Party> {
        ids.iter().copied().map(Party::Node).collect()
    }

    fn call_the_roll(&self) {
        let seats = self.members().into_iter().filter_map(|id| {
            let address = self.cluster.node(id).ok()?.advertised.clone();
            Some(Seat { id, address })
        });
        self.roster.replace(seats.collect());
    }
}

/// Puts the network before node `id`.
fn attach(cluster: &mut LocalCluster, network: &Network, id: u64) -> Result<()> {
    let real = cluster.node(id)?.quic.parse();
    let Ok(real) = real else {
        bail!("node {id} listens nowhere");
    };
    let front = network.attach(id, real)?;
    cluster.advertise(id, &front.to_string())
}
