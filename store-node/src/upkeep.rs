//! Keeps the sealed part of a shard going: every node does the jobs that the log asks for; the leader
//! decides what is to be asked for next.
//!
//! What the leader decides depends on clocks and sizes here and now. That is fine: it goes through the
//! log, and what it comes to depends on the log alone.

pub(crate) mod preview;

use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use sensor_model::{TimeRange, Timestamp};
use store_wire::clock::Clock;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::archive::plan::{is_worn, plan};
use crate::archive::{Archive, JobError, is_met};
use crate::command::{self, Seal};
use crate::raft::Replica;
use crate::raft::types::OnFatal;
use crate::scan::read;
use crate::segments::manifest::{RetentionRule, SegmentEntry, SegmentId, Tombstone};
use crate::state::{Payloads, State};

/// How often a job that could not be done is tried again, and files are removed that reads held.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How often the leader looks whether there is something to decide.
const DECIDE_EVERY: Duration = Duration::from_millis(200);
/// How often the leader looks for readings that are older than they are to be kept.
const RETAIN_EVERY: Duration = Duration::from_secs(30);
/// So many times the readings of a rule's range are deleted in steps: a step is a part of the range.
const RETAIN_STEPS: u64 = 32;

/// When the leader seals.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// So many bytes of commands are not sealed.
    pub seal_bytes: u64,
    /// So many readings are not sealed.
    pub seal_readings: u64,
    /// Readings are not sealed for so long.
    pub seal_after: Duration,
}

/// Does jobs as the log asks for them, until `stop` is cancelled.
pub async fn work(
    archive: Arc<Archive>,
    payloads: Arc<dyn Payloads>,
    mut applied: watch::Receiver<Option<u64>>,
    on_fatal: OnFatal,
    stop: CancellationToken,
) {
    let mut retry = interval(RETRY_EVERY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    loop {
        let (doing, payloads) = (Arc::clone(&archive), Arc::clone(&payloads));
        let mut job = tokio::task::spawn_blocking(move || doing.do_next(&*payloads));
        let done = tokio::select! {
            done = &mut job => done,
            () = stop.cancelled() => {
                archive.stop();
                job.await
            }
        };
        let is_more = match done {
            Ok(Ok(is_more)) => {
                archive.note_hindrance(false);
                is_more
            }
            Ok(Err(JobError::Stopping)) => return,
            Ok(Err(JobError::Superseded)) => true,
            Ok(Err(failed)) => {
                let line = failed.to_string();
                archive.note_hindrance(failed.is_of_reading());
                if failed.is_fatal() {
                    on_fatal.report_disk(&line);
                    return;
                }
                if line != told {
                    warn!(reason = %line, "sealing waits");
                    told = line;
                }
                false
            }
            Err(panic) => {
                on_fatal.report(&format!("a job panicked: {panic}"));
                return;
            }
        };
        if is_more {
            told.clear();
            continue;
        }
        tokio::select! {
            changed = applied.changed() => if changed.is_err() { return },
            _ = retry.tick() => {}
            () = stop.cancelled() => return,
        }
    }
}

/// What decisions about segments depend on: it is not looked at again before it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sealed {
    jobs_through: u64,
    deleted_through: Option<u64>,
}

impl Sealed {
    fn of(state: &State) -> Self {
        let newest = state.tombstones().last();
        Self {
            jobs_through: state.jobs_through(),
            deleted_through: newest.map(|tombstone| tombstone.index),
        }
    }
}

/// What the leader decides with.
pub struct Upkeep {
    /// This node's replica.
    pub replica: Replica,
    /// Its state.
    pub state: Arc<RwLock<State>>,
    /// Its sealed part.
    pub archive: Arc<Archive>,
    /// When to seal.
    pub policy: Policy,
    /// The time of day, for retention.
    pub clock: Arc<dyn Clock>,
}

impl Upkeep {
    /// Decides, while this node leads, until cancelled.
    pub async fn decide(self) {
        let mut ticks = interval(DECIDE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut fresh_since = None;
        let mut retained = None::<(Instant, Vec<RetentionRule>)>;
        let mut looked = None;
        loop {
            ticks.tick().await;
            let (unsealed, jobs) = {
                let state = read(&self.state);
                (state.unsealed_bytes(), state.jobs_bytes())
            };
            self.replica.note_work(unsealed, jobs);
            if !self.replica.is_leader() {
                fresh_since = None;
                looked = None;
                continue;
            }
            let (fresh, waiting, is_sealing, sealed) = {
                let state = read(&self.state);
                let (waiting, is_sealing) = (state.jobs_waiting(), state.is_sealing());
                (state.fresh(), waiting, is_sealing, Sealed::of(&state))
            };
            if fresh.bytes == 0 {
                fresh_since = None;
            }
            let since = *fresh_since.get_or_insert_with(Instant::now);
            let is_old = fresh.bytes > 0 && since.elapsed() >= self.policy.seal_after;
            let is_much = fresh.bytes >= self.policy.seal_bytes
                || fresh.readings >= self.policy.seal_readings;
            if (is_old || is_much) && !is_sealing {
                // Compaction that is under way makes haste then.
                fresh_since = None;
                self.propose(command::seal(&Seal::default())).await;
            } else if waiting > 0 {
                // What can be decided depends on what they come to.
            } else if looked != Some(sealed) {
                looked = self.compact().await.then_some(sealed);
            } else if self.is_to_retain(retained.as_ref()) {
                retained = Some((Instant::now(), read(&self.state).retention().to_vec()));
                for delete in self.overdue() {
                    self.propose(delete).await;
                }
            }
        }
    }

    /// Whether it is to be looked for what is overdue: from time to time, and when the rules change.
    fn is_to_retain(&self, last: Option<&(Instant, Vec<RetentionRule>)>) -> bool {
        last.is_none_or(|(at, rules)| {
            at.elapsed() >= RETAIN_EVERY || read(&self.state).retention() != rules
        })
    }

    /// Whether it was proposed.
    async fn propose(&self, command: Bytes) -> bool {
        let proposed = self.replica.propose(command).await;
        if let Err(reason) = &proposed {
            // Whoever leads next decides anew.
            debug!(%reason, "upkeep was not proposed");
        }
        proposed.is_ok()
    }

    /// Proposes what should be compacted next, if anything should. Says whether there is nothing more
    /// to decide before something changes.
    async fn compact(&self) -> bool {
        match self.to_compact().await {
            Ok(Some(segments)) => self.propose(command::compact(&segments)).await,
            Ok(None) => true,
            Err(reason) => {
                debug!(%reason, "a segment cannot be looked into");
                false
            }
        }
    }

    /// Segments that should become one.
    ///
    /// # Errors
    /// When there is none, and one could not be looked into.
    async fn to_compact(&self) -> Result<Option<Vec<SegmentId>>, JobError> {
        let (segments, tombstones) = {
            let state = read(&self.state);
            (state.segments().to_vec(), state.tombstones().to_vec())
        };
        if let Some(planned) = plan(&segments) {
            return Ok(self.has_room(&planned, &segments).then_some(planned));
        }
        let (archive, replica) = (Arc::clone(&self.archive), self.replica.clone());
        let worn = move || {
            let mut nothing = Ok(None);
            for entry in segments {
                let newer: Vec<Tombstone> = tombstones
                    .iter()
                    .filter(|t| t.index > entry.masked_through && is_met(t, &entry))
                    .cloned()
                    .collect();
                if newer.is_empty() {
                    continue;
                }
                match archive.touched(&entry, &newer) {
                    Ok(touched) if is_worn(&entry, touched, tombstones.len()) => {
                        if replica.has_room_for(entry.bytes) {
                            return Ok(Some(vec![entry.id()]));
                        }
                    }
                    Ok(_) => {}
                    Err(reason) => nothing = Err(reason),
                }
            }
            nothing
        };
        let looked = tokio::task::spawn_blocking(worn).await;
        looked.map_err(|failed| JobError::Disk(failed.into()))?
    }

    /// Whether there is room for what these segments become, beside them, and for as much that comes
    /// meanwhile. A job that waits for room holds up all behind it, sealing too.
    fn has_room(&self, named: &[SegmentId], all: &[Arc<SegmentEntry>]) -> bool {
        let is_named = |entry: &&Arc<SegmentEntry>| named.contains(&entry.id());
        let bytes: u64 = all.iter().filter(is_named).map(|entry| entry.bytes).sum();
        self.replica.has_room_for(bytes.saturating_mul(2))
    }

    /// Deletes of what is older than it is to be kept.
    fn overdue(&self) -> Vec<Bytes> {
        let state = read(&self.state);
        let now = self.clock.now();
        let due = |rule: &RetentionRule| {
            let before = keep_from(now, rule.keep);
            let is_told = state.tombstones().iter().any(|tombstone| {
                tombstone.pattern == rule.pattern
                    && tombstone.range.from == Timestamp::MIN
                    && tombstone.range.to >= before
            });
            let is_there = state
                .segments()
                .iter()
                .any(|entry| entry.first < before.as_nanos())
                || state.fresh().readings > 0;
            let range = TimeRange::new(Timestamp::MIN, before).ok()?;
            (is_there && !is_told).then(|| command::delete(&rule.pattern, range))
        };
        state.retention().iter().filter_map(due).collect()
    }
}

/// From when on readings are kept at `now`, in steps, so that not every look deletes a little.
pub(crate) fn keep_from(now: Timestamp, keep: u64) -> Timestamp {
    let step = Duration::from_nanos((keep / RETAIN_STEPS).max(1_000_000_000));
    now.saturating_sub(Duration::from_nanos(keep))
        .bucket_start(step)
}
