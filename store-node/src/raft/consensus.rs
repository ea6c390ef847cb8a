//! Starts consensus over an opened log, and stops it in order.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, RwLock, atomic::AtomicBool},
    time::Duration,
};

use openraft::{
    Config, SnapshotPolicy,
    async_runtime::watch::WatchReceiver,
    errors::{InitializeError, RaftError},
};
use segment_log::{Disk, WriterThread};
use store_wire::clock::Clock;
use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::{
    backlog::Backlog,
    consistency::{self, Comparisons},
    freshness,
    network::Network,
    proposals::{self, Proposals},
    purging,
    reception::{Reception, RunningMember, Stage},
    recovery::OpenedLog,
    replica::{Replica, Shared},
    state_machine::StateMachine,
    steward::{self, Home},
    transfer::{SegmentStore, Transfer},
    types::{Address, Group, OnFatal},
};
use crate::{
    archive::Archive,
    charter::Charter,
    fair_share::FairShare,
    repair::Repair,
    scrub::{Pace, Scrub},
    state::State,
    upkeep::{self, Policy, Upkeep},
};

/// How often the disk is asked for its free space when nothing is written.
const SPACE_EVERY: Duration = Duration::from_secs(1);
/// How often members greet each other.
const GREET_EVERY: Duration = Duration::from_secs(1);

/// What consensus is started with.
pub struct Parts {
    /// Which node of which cluster, and where that is written down.
    pub home: Home,
    /// The log and what was applied of it.
    pub log: OpenedLog,
    /// The state it was applied to.
    pub state: Arc<RwLock<State>>,
    /// The sealed part of the state: the log was opened above its manifest.
    pub archive: Arc<Archive>,
    /// When the leader seals.
    pub policy: Policy,
    /// How fast segments are read through, if at all.
    pub scrub: Option<Pace>,
    /// The time of day, for retention.
    pub clock: Arc<dyn Clock>,
    /// The sealed segments on this disk.
    pub segments: Arc<dyn SegmentStore>,
    /// Where segments are written that come from other members.
    pub disk: Arc<dyn Disk>,
    /// The way to the other members.
    pub network: Network,
    /// What answers them.
    pub reception: Reception,
    /// Bytes of proposals that may be on their way at a time.
    pub in_flight_bytes_max: usize,
    /// Permits for reads, one each.
    pub reads: FairShare,
    /// Bytes a second at which files are fetched from other members at most; 0 for as fast as they come.
    pub transfer_rate: u64,
    /// Bytes of the log up to which it keeps entries for members that lack them.
    pub log_bytes_max: u64,
    /// Told when consensus breaks.
    pub on_fatal: OnFatal,
}

/// Running consensus.
#[derive(Debug)]
pub struct Consensus {
    replica: Replica,
    writer: WriterThread,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Why consensus did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log or the state contradict the library's rules.
    #[error("consensus refused to start: {reason}")]
    Refused {
        /// In the library's words.
        reason: String,
    },
}

impl Consensus {
    /// Starts consensus; the founder of a new cluster also writes its first membership.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let refused = |reason: String| StartError::Refused { reason };
        let charter = &parts.home.charter;
        let config = config(&charter.cluster)
            .validate()
            .map_err(|error| refused(error.to_string()))?;
        let (applied_sender, applied) = watch::channel(None);
        let archive = parts.archive;
        let store = parts.log.store;
        let machine = StateMachine::new(
            parts.log.machine,
            Arc::clone(&archive),
            applied_sender,
            store.jumps(),
        );
        let id = charter.node;
        let (network, space) = (parts.network.clone(), parts.log.space.clone());
        let rate = parts.transfer_rate;
        let transfer = Transfer::new(
            store.shard(),
            parts.disk,
            parts.segments,
            network,
            space,
            rate,
        );
        let group = Group::new(
            id,
            Arc::new(config),
            parts.network.clone(),
            store.clone(),
            machine,
        )
        .await
        .map_err(|error| refused(error.to_string()))?;
        let (proposals, queue) = Proposals::new(store.shard(), parts.in_flight_bytes_max);
        let replica = Replica {
            shared: Arc::new(Shared {
                id,
                cluster: charter.cluster.clone(),
                cluster_id: charter.cluster_id,
                group: group.clone(),
                store: store.clone(),
                state: parts.state,
                network: parts.network,
                reception: parts.reception.clone(),
                space: parts.log.space.clone(),
                backlog: Backlog::new(parts.policy.seal_bytes),
                transfer: transfer.clone(),
                archive: Arc::clone(&archive),
                proposals,
                reads: parts.reads,
                applied,
                draining: AtomicBool::new(false),
                changing: tokio::sync::Mutex::default(),
                fresh: watch::Sender::new(None),
                comparisons: Comparisons::default(),
                started: Instant::now(),
            }),
        };
        let member = RunningMember {
            cluster: charter.cluster_id,
            replica: replica.clone(),
            group: group.clone(),
            store: store.clone(),
            transfer,
        };
        parts.reception.enter(Stage::Running(Arc::new(member)));
        if store.is_empty() && charter.founders.keys().next() == Some(&id) {
            initialise(&group, charter).await?;
        }
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(proposals::feed(group.clone(), queue)),
        );
        tasks.spawn(freshness::keep(replica.clone(), stop.clone()));
        tasks.spawn(consistency::keep(replica.clone(), stop.clone()));
        tasks.spawn(purging::keep(
            replica.clone(),
            Arc::clone(&archive),
            parts.log_bytes_max,
            stop.clone(),
        ));
        tasks.spawn(upkeep::work(
            Arc::clone(&archive),
            Arc::new(replica.shared.store.clone()),
            replica.shared.applied.clone(),
            parts.on_fatal.clone(),
            stop.clone(),
        ));
        let repair = Repair {
            replica: replica.clone(),
            archive: Arc::clone(&archive),
            on_fatal: parts.on_fatal.clone(),
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(repair.run()));
        if let Some(pace) = parts.scrub {
            let scrub = Scrub::new(Arc::clone(&archive), pace, stop.clone());
            tasks.spawn(scrub.run());
        }
        let upkeep = Upkeep {
            replica: replica.clone(),
            state: Arc::clone(&replica.shared.state),
            archive,
            policy: parts.policy,
            clock: parts.clock,
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(upkeep.decide()));
        tasks.spawn(steward::keep(replica.clone(), parts.home, stop.clone()));
        tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(watch_space(replica.clone())),
        );
        tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(greet_members(replica.clone())),
        );
        tasks.spawn(watch_group(group, parts.on_fatal, stop.clone()));
        Ok(Self {
            replica,
            writer: parts.log.writer,
            tasks,
            stop,
        })
    }

    /// The replica.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Takes no more proposals.
    pub fn refuse_proposals(&self) {
        self.replica.refuse_proposals();
    }

    /// Waits for proposals on their way, as long as `deadline` allows, and hands leadership over.
    pub async fn drain(&self, deadline: Instant) {
        let shared = &self.replica.shared;
        if tokio::time::timeout_at(deadline, shared.proposals.settled())
            .await
            .is_err()
        {
            warn!("proposals are still on their way at the end of draining");
        }
        self.replica.drain().await;
    }

    /// Stops consensus and closes the log, everything in it synced.
    pub async fn stop(self) -> io::Result<()> {
        let shared = &self.replica.shared;
        self.stop.cancel();
        shared.reception.enter(Stage::Stopping);
        if let Err(error) = shared.group.shutdown().await {
            warn!(%error, "consensus did not end cleanly");
        }
        debug!("consensus ended");
        shared.store.close();
        self.tasks.close();
        self.tasks.wait().await;
        debug!("the tasks around it ended");
        let writer = self.writer;
        let closed = tokio::task::spawn_blocking(move || writer.shutdown()).await?;
        closed.map_err(io::Error::other)
    }
}

/// See `docs/decisions` for where these numbers come from.
fn config(cluster: &str) -> Config {
    Config {
        cluster_name: cluster.to_owned(),
        heartbeat_interval: 100,
        election_timeout_min: 400,
        election_timeout_max: 700,
        // A node that was away does not depose a leader that the others hear.
        enable_pre_vote: Some(true),
        // A leader that has lost its quorum falls silent from time to time, so that those who hear it can
        // elect one that has not.
        quorum_loss_probe_interval: Some(1500),
        // A restarted leader asks for votes like anybody else.
        enable_leader_restore: Some(false),
        // A follower whose log shrank has lost what it promised.
        allow_log_reversion: Some(false),
        max_payload_entries: 256,
        // Bytes are bounded before; this bounds messages.
        api_channel_size: Some(4096),
        // There is a snapshot whenever a manifest is made, and purging is driven by bytes, by us.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    }
}

async fn initialise(group: &Group, charter: &Charter) -> Result<(), StartError> {
    let members: BTreeMap<u64, Address> = charter
        .founders
        .iter()
        .map(|(id, address)| {
            let quic = address.clone();
            (*id, Address { quic })
        })
        .collect();
    match group.initialize(members).await {
        Ok(()) => Ok(()),
        // Somebody's entries or votes came first: the cluster is on its way.
        Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(StartError::Refused {
            reason: error.to_string(),
        }),
    }
}

/// Tells every other member where this node serves HTTP and whether it is draining, which followers
/// would not hear otherwise.
async fn greet_members(replica: Replica) {
    let mut ticks = tokio::time::interval(GREET_EVERY);
    loop {
        ticks.tick().await;
        let others = replica.others().into_iter().map(|(id, _)| id);
        let greetings = others.map(|id| replica.greet(id, GREET_EVERY));
        // A member that cannot be reached hears it the next time.
        futures::future::join_all(greetings).await;
    }
}

/// Sees space come back when nothing is written any more.
async fn watch_space(replica: Replica) {
    let mut ticks = tokio::time::interval(SPACE_EVERY);
    loop {
        ticks.tick().await;
        replica.shared.space.look();
    }
}

/// A group whose core has ended, in a process that lives on, would be a member that never answers.
async fn watch_group(group: Group, on_fatal: OnFatal, stop: CancellationToken) {
    let mut metrics = group.metrics();
    let failed = metrics.wait_until(|metrics| metrics.running_state.is_err());
    let reason = match stop.run_until_cancelled(failed).await {
        Some(Ok(metrics)) => match metrics.running_state {
            Err(fatal) => fatal.to_string(),
            Ok(()) => return,
        },
        Some(Err(_)) => "its core has ended".to_owned(),
        None => return,
    };
    // It also ends when it is told to.
    if !stop.is_cancelled() {
        on_fatal.report(&format!("consensus stopped: {reason}"));
    }
}
