//! The consensus log: the library's own storage suite, what survives a power cut, and what a manifest
//! takes the place of.

mod above;
mod crash;
mod payloads;
mod purge;
mod suite;

use std::{
    path::Path,
    sync::{Arc, RwLock},
};

use segment_log::{Disk, Options};
use store_node::{
    raft::{
        recovery::{self, OpenLog, OpenLogError, OpenedLog},
        types::OnFatal,
    },
    segments::manifest::Position,
    state::State,
};

/// The folder of the log.
const LOG: &str = "/data/log";

/// Small segments, so that a short test rotates.
fn options() -> Options {
    Options {
        segment_bytes_max: 4096,
        preallocate_bytes: 1024,
        ..Options::default()
    }
}

/// Opens the log of shard 0 above `base`, with no cache, so that a short test reads from the disk.
fn open(
    disk: Arc<dyn Disk>,
    on_fatal: OnFatal,
    base: Option<&Position>,
) -> Result<OpenedLog, OpenLogError> {
    open_into(&Arc::default(), disk, on_fatal, base)
}

/// As [`open`], applying to `state`.
fn open_into(
    state: &Arc<RwLock<State>>,
    disk: Arc<dyn Disk>,
    on_fatal: OnFatal,
    base: Option<&Position>,
) -> Result<OpenedLog, OpenLogError> {
    let log = OpenLog {
        disk,
        dir: Path::new(LOG).to_owned(),
        shard: 0,
        options: options(),
        tail_cache_bytes: 0,
        keep_bytes: 0,
        reserve_bytes: 0,
        on_fatal,
    };
    recovery::open(&log, state, base)
}
