//! From an open endpoint to running consensus: the part of starting that may take long.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, RwLock},
};

use anyhow::{Context as _, Result, anyhow, bail};
use segment_log::{Disk, Options};
use store_wire::clock::Clock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Context, Phase, log_folder, one_line, shard_folder};
use crate::{
    archive::{Archive, ArchiveOptions},
    charter::Charter,
    config::Config,
    fair_share::FairShare,
    http::Page,
    query::SUBSCRIBERS_MAX,
    raft::{
        consensus::{Consensus, Parts},
        formation::{Formation, FormationError},
        joining::Joining,
        link::Links,
        network::Network,
        reception::{Reception, Stage},
        recovery::{self, OpenLog, OpenedLog},
        space::kept_of,
        steward::Home,
        transfer::{Offers, SegmentStore},
        types::OnFatal,
    },
    scan::Memory,
    scrub::Pace,
    state::State,
    turnstile::Turnstile,
    upkeep::Policy,
};

/// How many reads may wait for each that is answered.
const READS_WAITING: u64 = 4;

/// So many readings are sealed at the latest, however small they are.
const SEAL_READINGS: u64 = 1 << 25;

/// The shard every node has; more come with a later version.
pub(crate) const SHARD: u32 = 0;

/// What is needed to bring a node up.
pub(super) struct BringUp {
    pub(super) config: Arc<Config>,
    pub(super) cluster: String,
    pub(super) charter: Option<Charter>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) on_fatal: OnFatal,
    pub(super) links: Links,
    pub(super) reception: Reception,
    pub(super) quic: SocketAddr,
    pub(super) http: String,
    pub(super) page: Page,
}

impl BringUp {
    /// Goes on until consensus runs, starting is given up, or it fails.
    pub(super) async fn run(
        self,
        phase: watch::Sender<Phase>,
        stop: CancellationToken,
    ) -> Result<Option<Consensus>> {
        match self.bring_up(&phase, stop).await {
            Err(error) => {
                let line = format!("{error:#}");
                phase.send_replace(Phase::Failed(line.into()));
                Err(error)
            }
            outcome => outcome,
        }
    }

    async fn bring_up(
        self,
        phase: &watch::Sender<Phase>,
        stop: CancellationToken,
    ) -> Result<Option<Consensus>> {
        let state = Arc::new(RwLock::new(State::new()));
        let (archive, log) = self.open_log(&state).await?;
        let Some(belongs) = stop.run_until_cancelled(self.belong(&log)).await else {
            return close(log).await;
        };
        let charter = match belongs {
            Ok(charter) => charter,
            Err(error) => {
                close(log).await?;
                return Err(error);
            }
        };
        let payloads = Arc::new(log.store.clone());
        let parts = Parts {
            network: Network {
                id: charter.node,
                cluster: charter.cluster_id,
                http: self.http.clone(),
                address: self.address(&charter),
                links: self.links.clone(),
                offers: Offers::default(),
                kept_from: watch::Sender::new(0),
                removed: Arc::default(),
            },
            home: Home {
                disk: Arc::clone(&self.disk),
                data: self.config.data.clone(),
                charter,
            },
            log,
            state: Arc::clone(&state),
            archive: Arc::clone(&archive),
            segments: Arc::clone(&archive) as Arc<dyn SegmentStore>,
            policy: Policy {
                seal_bytes: self.config.seal_bytes,
                seal_readings: SEAL_READINGS,
                seal_after: self.config.seal_after,
            },
            scrub: (self.config.scrub_rate > 0).then_some(Pace {
                rate: self.config.scrub_rate,
                every: self.config.scrub_every,
            }),
            clock: Arc::clone(&self.clock),
            disk: Arc::clone(&self.disk),
            reception: self.reception.clone(),
            in_flight_bytes_max: self.config.in_flight_bytes_max,
            reads: FairShare::new(self.config.reads_max, self.config.reads_max * READS_WAITING),
            transfer_rate: self.config.transfer_rate,
            log_bytes_max: self.config.log_bytes_max,
            on_fatal: self.on_fatal.clone(),
        };
        let consensus = Consensus::start(parts).await?;
        self.page.show(consensus.replica().clone());
        phase.send_replace(Phase::Running(Arc::new(Context {
            replica: consensus.replica().clone(),
            state,
            payloads,
            archive,
            read_memory: Memory::new(self.config.read_memory_bytes),
            streams: Arc::default(),
            subscribers: Turnstile::new("subscribers", SUBSCRIBERS_MAX),
            config: self.config,
            clock: self.clock,
        })));
        Ok(Some(consensus))
    }

    /// Where the others reach this node.
    fn address(&self, charter: &Charter) -> String {
        let told = charter.founders.get(&charter.node);
        let told = told.or(self.config.advertise.as_ref()).cloned();
        told.unwrap_or_else(|| self.config.listen.to_string())
    }

    /// Opens what is sealed, and the log above it, on a thread of its own: it reads everything back.
    async fn open_log(&self, state: &Arc<RwLock<State>>) -> Result<(Arc<Archive>, OpenedLog)> {
        let log = OpenLog {
            disk: Arc::clone(&self.disk),
            dir: log_folder(&self.config.data),
            shard: SHARD,
            options: Options {
                segment_bytes_max: self.config.segment_bytes_max,
                salt: salt(),
                ..Options::default()
            },
            tail_cache_bytes: self.config.tail_cache_bytes,
            keep_bytes: self.config.log_keep_bytes,
            reserve_bytes: self.config.reserve_bytes,
            on_fatal: self.on_fatal.clone(),
        };
        let id = self.config.id;
        let (state, has_charter) = (Arc::clone(state), self.charter.is_some());
        let cache_bytes = self.config.segment_cache_bytes;
        let shard = shard_folder(&self.config.data);
        let opened = tokio::task::spawn_blocking(move || {
            if has_charter && !has_segments(&*log.disk, &log.dir)? {
                bail!(
                    "{} is missing or empty, though the folder belongs to a cluster: what this node \
                     promised is lost, and it must not vote; put the log back",
                    log.dir.display()
                );
            }
            let options = ArchiveOptions {
                disk: Arc::clone(&log.disk),
                dir: shard,
                shard: SHARD,
                cache_bytes,
            };
            let archive = Archive::open(options, Arc::clone(&state))
                .map_err(|error| advised(&error, error.is_damage(), id))?;
            let archive = archive.keeping_free(kept_of(log.reserve_bytes));
            let manifest = archive.manifest();
            let base = manifest.as_ref().map(|manifest| &manifest.position);
            let opened = recovery::open(&log, &state, base)
                .map_err(|error| advised(&error, error.is_damage(), id))?;
            Ok((Arc::new(archive), opened))
        });
        let (archive, opened) = opened.await.context("opening the log panicked")??;
        if let Some(torn) = &opened.recovery.torn {
            info!(file = %torn.file.display(), bytes = torn.bytes, "a torn tail was cut");
        }
        if !has_charter && !opened.store.is_blank() {
            let dir = log_folder(&self.config.data);
            close(opened).await?;
            bail!(
                "{} holds a log, but node.toml beside it is missing: without it the node does not \
                 know which cluster it belongs to, and must not vote; put node.toml back",
                dir.display()
            );
        }
        Ok((archive, opened))
    }

    /// The charter: the one there is, or one that is got by forming a cluster or joining one.
    async fn belong(&self, log: &OpenedLog) -> Result<Charter> {
        if let Some(charter) = &self.charter {
            self.reception.enter(Stage::Joined {
                cluster: charter.cluster_id,
                has_entries: !log.store.is_empty(),
            });
        }
        let joined = match (&self.charter, &self.config.join) {
            (None, Some(members)) => self.joining(members).join().await,
            (Some(charter), Some(members)) if charter.awaiting.is_empty() => {
                self.joining(members).confirm(charter.clone()).await
            }
            (_, Some(_) | None) => {
                let formed = self.form().await;
                return formed.map_err(|error| one_line(&error));
            }
        };
        joined.map_err(|error| one_line(&error))
    }

    fn joining(&self, members: &[String]) -> Joining {
        let address = self.config.advertise.clone();
        Joining {
            id: self.config.id,
            cluster: self.cluster.clone(),
            address: address.unwrap_or_else(|| self.quic.to_string()),
            members: members.to_owned(),
            disk: Arc::clone(&self.disk),
            data: self.config.data.clone(),
            links: self.links.clone(),
        }
    }

    async fn form(&self) -> Result<Charter, FormationError> {
        let founders = match (&self.charter, &self.config.bootstrap) {
            (Some(charter), _) => charter.founders.clone(),
            (None, Some(members)) => members.clone(),
            (None, None) => return Err(FormationError::Stopped),
        };
        let formation = Formation {
            id: self.config.id,
            cluster: self.cluster.clone(),
            founders,
            disk: Arc::clone(&self.disk),
            data: self.config.data.clone(),
            links: self.links.clone(),
            reception: self.reception.clone(),
        };
        formation.run(self.charter.clone()).await
    }
}

/// The error, and what to do about it if it is damage.
fn advised(error: &(dyn std::error::Error + 'static), is_damage: bool, id: u64) -> anyhow::Error {
    let line = one_line(error);
    if !is_damage {
        return line;
    }
    anyhow!(
        "{line}; nothing was changed. The other members have all of it: take this node out (`query-app \
         cluster remove {id}`), empty the folder, and let the node join under a new id"
    )
}

/// Closes a log that nothing was done with.
async fn close(log: OpenedLog) -> Result<Option<Consensus>> {
    let closed = tokio::task::spawn_blocking(move || log.writer.shutdown()).await?;
    if let Err(error) = closed {
        warn!(%error, "the log was not closed cleanly");
    }
    Ok(None)
}

fn has_segments(disk: &dyn Disk, dir: &Path) -> Result<bool> {
    match disk.list(dir) {
        Ok(names) => Ok(names.iter().any(|name| name.ends_with(".log"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("{} cannot be listed", dir.display())),
    }
}

/// A number nobody can guess, for the checksums of new segments: a producer that chooses its bytes
/// cannot make them look like a record.
fn salt() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}
