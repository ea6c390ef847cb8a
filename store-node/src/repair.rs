//! Sees to segments of which this node has no whole copy: sets the damaged file aside, fetches a whole
//! one from another member, and puts it in its place.
//!
//! Whoever read the damage first, a query, a job or the scrub, the library knows of it, and serves
//! nothing of that copy any more; reads fail here and are answered by other members. A job that needs
//! the segment tries on until it is whole. If no other member has the segment any more, because they
//! have compacted it, what their jobs came to is taken over.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::archive::Archive;
use crate::raft::Replica;
use crate::raft::types::OnFatal;
use crate::segments::library::Damage;
use crate::segments::manifest::{ManifestId, SegmentHash};

/// How often it is looked for damage that somebody has found.
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked for files that are missing, beside after each job.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long to wait at most before a segment that nobody could give is asked for again.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long a job may be hindered before what it comes to is asked of others.
const HINDRANCE_MAX: Duration = Duration::from_secs(5);

/// Repairs segments.
pub(crate) struct Repair {
    /// This node's replica: the way to the other members.
    pub(crate) replica: Replica,
    /// The segments.
    pub(crate) archive: Arc<Archive>,
    /// Told when the disk fails.
    pub(crate) on_fatal: OnFatal,
}

/// When to try again what has failed.
struct Patience {
    again: Instant,
    pause: Duration,
    /// What was ailing at the last try.
    ailing: BTreeSet<SegmentHash>,
}

impl Repair {
    /// Goes on until it is dropped.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn run(self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = None::<(Instant, Option<ManifestId>)>;
        let mut patience = Patience {
            again: Instant::now(),
            pause: TICK,
            ailing: BTreeSet::new(),
        };
        loop {
            ticks.tick().await;
            let manifest = self.archive.manifest().map(|manifest| manifest.id());
            let is_due = |(at, of): (Instant, _)| at.elapsed() >= LOOK_EVERY || of != manifest;
            if looked.is_none_or(is_due) {
                looked = Some((Instant::now(), manifest));
                self.look().await;
            }
            let ailing = self.archive.ailing();
            if (ailing.is_empty() && !self.is_hindered()) || !patience.is_over(&ailing) {
                continue;
            }
            // What was missing may have come meanwhile.
            self.look().await;
            self.repair(&self.archive.ailing()).await;
            self.look().await;
            let is_ill = || !self.archive.ailing().is_empty() || self.is_hindered();
            if is_ill() && self.replica.take_over_jobs().await {
                metrics::counter!("tidemark_jobs_taken_over_total").increment(1);
            }
            patience.note(is_ill());
        }
    }

    /// Fetches whole copies.
    async fn repair(&self, ailing: &[Damage]) {
        for damage in ailing {
            let (hash, bytes) = (damage.entry.hash, damage.entry.bytes);
            let began = Instant::now();
            if !self.set_aside(damage).await {
                continue;
            }
            match self.replica.fetch_segment(&damage.entry).await {
                Ok(()) => {
                    metrics::counter!("tidemark_segments_repaired_total").increment(1);
                    let took_ms = began.elapsed().as_millis();
                    info!(segment = %hash, bytes, took_ms, "segment repaired from another member");
                }
                Err(error) => {
                    warn!(segment = %hash, reason = %damage.reason, %error, "segment not repaired yet");
                }
            }
        }
    }

    /// Moves a file that is known to be damaged away; whether a whole one can come now.
    async fn set_aside(&self, damage: &Damage) -> bool {
        let (archive, entry) = (Arc::clone(&self.archive), damage.entry.clone());
        let moved = blocking(move || {
            let library = archive.library();
            let mut damaged = library.damaged().into_iter();
            if damaged.any(|damage| damage.entry.hash == entry.hash) {
                library.set_aside(&entry)?;
                info!(segment = %entry.hash, "damaged segment set aside");
            }
            Ok(())
        });
        match moved.await {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => {
                let segment = self.archive.library().path(&damage.entry);
                let what = format!("{} cannot be set aside", segment.display());
                self.on_disk_error(&what, &error);
                false
            }
        }
    }

    async fn look(&self) {
        let archive = Arc::clone(&self.archive);
        if let Err(error) = blocking(move || archive.look()).await {
            warn!(%error, "it cannot be looked which segments are there");
        }
    }

    fn is_hindered(&self) -> bool {
        let since = self.archive.hindered_since();
        since.is_some_and(|since| since.elapsed() >= HINDRANCE_MAX)
    }

    /// A disk that fails a sync stops the node; one that is full is waited for.
    fn on_disk_error(&self, what: &str, error: &io::Error) {
        if error.kind() == io::ErrorKind::StorageFull {
            error!(%error, what);
        } else {
            self.on_fatal.report_disk(&format!("{what}: {error}"));
        }
    }
}

impl Patience {
    /// Whether to try now: something new is ailing, or the pause is over.
    fn is_over(&mut self, ailing: &[Damage]) -> bool {
        let ailing: BTreeSet<SegmentHash> = ailing.iter().map(|damage| damage.entry.hash).collect();
        let is_new = !ailing.is_subset(&self.ailing);
        self.ailing = ailing;
        if is_new {
            self.pause = TICK;
        }
        is_new || Instant::now() >= self.again
    }

    /// Waits longer each time that something is left.
    fn note(&mut self, is_left: bool) {
        self.pause = if is_left {
            (self.pause * 2).min(PAUSE_MAX)
        } else {
            TICK
        };
        self.again = Instant::now() + self.pause;
    }
}

/// Runs what uses the disk on a thread that may wait for it. It runs to its end.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
