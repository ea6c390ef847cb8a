//! Reads all segments through, slowly, again and again: damage is found while other members still have
//! whole copies, and not when the readings are asked for.
//!
//! Segments are read one at a time in the order of their hashes, which is no order of time, each at no
//! more than a rate. A round over all of them takes a day or whatever is set, longer if the rate asks
//! for it: after each segment comes a pause in proportion to its bytes. Where the last process stopped,
//! the next goes on: the last hash is kept in a file. So no segment is read more often than any other,
//! however often the node is started.
//!
//! What it finds is remembered by the library, as what any other read finds. `repair.rs` sees to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use segment_log::{read_file, write_file_atomically};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::archive::Archive;
use crate::segments::manifest::{SegmentEntry, SegmentHash};
use crate::segments::segment::SegmentError;

/// The file with the hash of the segment that was read last.
pub(crate) const CURSOR_FILE: &str = "scrub";
/// How often it is looked whether the pause is over, which new segments make shorter.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A debt of less is not worth a sleep.
const NAP_MIN: Duration = Duration::from_millis(10);

/// How fast segments are read through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes a second at most; not 0.
    pub rate: u64,
    /// How long a round over all segments takes at least.
    pub every: Duration,
}

/// Reads segments through.
pub(crate) struct Scrub {
    archive: Arc<Archive>,
    pace: Pace,
    stop: CancellationToken,
    /// The segment that was read last.
    last: Option<SegmentHash>,
}

impl Scrub {
    pub(crate) const fn new(archive: Arc<Archive>, pace: Pace, stop: CancellationToken) -> Self {
        Self {
            archive,
            pace,
            stop,
            last: None,
        }
    }

    /// Goes on until it is stopped.
    pub(crate) async fn run(mut self) {
        self.last = self.blocking(Self::load).await.flatten();
        while !self.stop.is_cancelled() {
            let began = Instant::now();
            match self.next() {
                Some(entry) => {
                    let bytes = entry.bytes;
                    self.read(entry).await;
                    self.rest(began, bytes).await;
                }
                None => self.nap(began + LOOK_EVERY).await,
            }
        }
    }

    /// The segment whose turn it is.
    fn next(&self) -> Option<SegmentEntry> {
        let manifest = self.archive.manifest()?;
        let segments = &manifest.segments;
        let next = next_after(self.last, segments)?;
        if self.last.is_some_and(|last| next.hash <= last) {
            let bytes: u64 = segments.iter().map(|entry| entry.bytes).sum();
            let segments = segments.len();
            info!(segments, bytes, "every segment was read through");
        }
        Some(next.clone())
    }

    /// Reads one segment and takes note of that.
    async fn read(&mut self, entry: SegmentEntry) {
        let (hash, bytes) = (entry.hash, entry.bytes);
        let outcome = self.blocking(move |this| this.verify(&entry)).await;
        if self.stop.is_cancelled() {
            return;
        }
        match outcome {
            Some(Ok(_)) => {
                metrics::counter!("tidemark_scrubbed_segments_total").increment(1);
                debug!(segment = %hash, bytes, "segment read through");
            }
            // The library has said so; or it is missed by others too, or not listed any more.
            Some(Err(SegmentError::Damaged { .. } | SegmentError::Missing { .. })) => {}
            Some(Err(error)) => warn!(%error, "a segment could not be read through"),
            None => error!(segment = %hash, "reading a segment through panicked"),
        }
        self.last = Some(hash);
        if let Some(Err(error)) = self.blocking(move |this| this.store(hash)).await {
            // Nothing depends on it but where the next process begins.
            warn!(%error, "it cannot be kept which segment was read through last");
        }
    }

    /// Reads a segment, to its end unless it is stopped.
    fn verify(&self, entry: &SegmentEntry) -> Result<(), SegmentError> {
        let segment = self.archive.library().segment(entry)?;
        let mut budget = Budget {
            rate: self.pace.rate,
            paid_until: Instant::now(),
        };
        let mut goes_on = |bytes| {
            metrics::counter!("tidemark_scrubbed_bytes_total").increment(bytes);
            budget.spend(bytes, &self.stop)
        };
        segment.verify_while(&mut goes_on).map(drop)
    }

    /// Waits until so many bytes have had their share of a round that began with them.
    async fn rest(&self, began: Instant, bytes: u64) {
        while !self.stop.is_cancelled() {
            let manifest = self.archive.manifest();
            let segments = manifest.iter().flat_map(|manifest| &manifest.segments);
            let all = segments.map(|entry| entry.bytes).sum();
            let until = began + share(self.pace.every, bytes, all);
            let now = Instant::now();
            if now >= until {
                return;
            }
            self.nap(until.min(now + LOOK_EVERY)).await;
        }
    }

    async fn nap(&self, until: Instant) {
        self.stop.run_until_cancelled(sleep_until(until)).await;
    }

    /// Where the last process stopped. Whatever else is in the file, the worst is that some segments
    /// are read once more or less.
    fn load(&self) -> Option<SegmentHash> {
        let text = read_file(&**self.archive.disk(), &self.cursor()).ok()?;
        String::from_utf8(text).ok()?.trim().parse().ok()
    }

    fn store(&self, hash: SegmentHash) -> std::io::Result<()> {
        let text = format!("{hash}\n");
        write_file_atomically(&**self.archive.disk(), &self.cursor(), text.as_bytes())
    }

    fn cursor(&self) -> PathBuf {
        self.archive.dir().join(CURSOR_FILE)
    }

    /// Runs what uses the disk on a thread that may wait for it; `None` if it panicked.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        let this = Self {
            archive: Arc::clone(&self.archive),
            stop: self.stop.clone(),
            ..*self
        };
        tokio::task::spawn_blocking(move || work(&this)).await.ok()
    }
}

/// The segment whose turn it is after `last`: that with the next hash, in the end the first again.
fn next_after(last: Option<SegmentHash>, segments: &[SegmentEntry]) -> Option<&SegmentEntry> {
    let is_behind = |entry: &&SegmentEntry| last.is_none_or(|last| entry.hash > last);
    let behind = segments.iter().filter(is_behind);
    let next = behind.min_by_key(|entry| entry.hash);
    next.or_else(|| segments.iter().min_by_key(|entry| entry.hash))
}

/// The time that `bytes` of `all` have in a round.
fn share(every: Duration, bytes: u64, all: u64) -> Duration {
    let nanos = every.as_nanos() * u128::from(bytes.min(all)) / u128::from(all.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Keeps reading to a rate.
struct Budget {
    rate: u64,
    /// What was read so far may take until then.
    paid_until: Instant,
}

impl Budget {
    /// Waits until `bytes` that were read are paid for; whether to go on. Only on threads that may block.
    fn spend(&mut self, bytes: u64, stop: &CancellationToken) -> bool {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.max(1));
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        let now = Instant::now();
        self.paid_until = self.paid_until.max(now) + Duration::from_nanos(nanos);
        if self.paid_until - now < NAP_MIN {
            return !stop.is_cancelled();
        }
        let nap = stop.run_until_cancelled(sleep_until(self.paid_until));
        Handle::current().block_on(nap).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segments::manifest::Window;

    fn entry(hash: u8) -> SegmentEntry {
        SegmentEntry {
            hash: SegmentHash([hash; 32]),
            bytes: 1,
            created: 0,
            order: 0,
            masked_through: 0,
            window: Window { start: 0, width: 1 },
            readings: 1,
            series: 1,
            first: 0,
            last: 0,
        }
    }

    #[test]
    fn each_has_its_turn_whatever_comes_and_goes() {
        let mut segments = vec![entry(7), entry(3), entry(9)];
        let mut last = None;
        let mut turn = |segments: &[SegmentEntry]| {
            last = next_after(last, segments).map(|next| next.hash);
            last.map(|hash| hash.0[0])
        };
        assert_eq!(turn(&segments), Some(3));
        segments.remove(1);
        segments.push(entry(5));
        segments.push(entry(2));
        let turns: Vec<_> = (0..5).map(|_| turn(&segments).unwrap()).collect();
        assert_eq!(turns, [5, 7, 9, 2, 5]);
        assert_eq!(turn(&[]), None);
    }

    #[test]
    fn a_round_is_shared_by_bytes() {
        let day = Duration::from_secs(86_400);
        assert_eq!(share(day, 1, 4), day / 4);
        assert_eq!(share(day, 4, 4), day);
        assert_eq!(share(day, 9, 4), day, "segments went away meanwhile");
        assert_eq!(share(day, 9, 0), Duration::ZERO);
        assert_eq!(share(day, u64::MAX, u64::MAX), day);
    }
}
