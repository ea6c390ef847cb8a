//! What this disk's own fdatasync takes: what an acknowledgement is compared with.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Percentiles of a set of durations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    /// Half took no longer.
    pub(crate) p50: Duration,
    /// Of a hundred, one took longer.
    pub(crate) p99: Duration,
}

/// How many syncs are measured one right after the other.
const SYNCS: usize = 1000;
/// How many are measured with pauses.
const PACED_SYNCS: usize = 100;
/// How much is appended before each: a block.
const APPEND_BYTES: usize = 4096;

/// Appends blocks to a new file in `dir`, each followed by an fdatasync, with `pause` before each.
///
/// A disk, and the machine around it, takes longer to wake up than to go on: what a few batches a
/// second wait for is a sync after a pause.
///
/// The file is written full of zeros and synced first, as a log's segment is, so that a sync writes
/// the block alone and no new file size.
pub(crate) fn fdatasync(dir: &Path, pause: Duration) -> Result<Latency> {
    let syncs = if pause.is_zero() { SYNCS } else { PACED_SYNCS };
    let path = dir.join("fdatasync.probe");
    let mut file =
        File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(&vec![0; APPEND_BYTES * syncs])?;
    file.sync_all()?;
    std::io::Seek::rewind(&mut file)?;
    let block = [0x5a_u8; APPEND_BYTES];
    let mut durations = Vec::with_capacity(syncs);
    for _ in 0..syncs {
        std::thread::sleep(pause);
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        durations.push(start.elapsed());
    }
    std::fs::remove_file(&path)?;
    durations.sort_unstable();
    Ok(Latency {
        p50: durations[syncs / 2],
        p99: durations[syncs * 99 / 100],
    })
}
