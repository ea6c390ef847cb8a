//! The consensus log: the library's own storage suite, and what survives a power cut.

mod crash;
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
    state::State,
};

/// Opens the log of shard 0 in `/data/log` with small segments and no cache, so that a short test
/// rotates and reads from the disk.
fn open(disk: Arc<dyn Disk>, on_fatal: OnFatal) -> Result<OpenedLog, OpenLogError> {
    let log = OpenLog {
        disk,
        dir: Path::new("/data/log").to_owned(),
        shard: 0,
        options: Options {
            segment_bytes_max: 4096,
            preallocate_bytes: 1024,
            ..Options::default()
        },
        tail_cache_bytes: 0,
        reserve_bytes: 0,
        on_fatal,
    };
    recovery::open(&log, &Arc::new(RwLock::new(State::new())), None)
}
