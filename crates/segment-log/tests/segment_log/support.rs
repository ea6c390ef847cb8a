//! What the tests share: small options, and opening a log while collecting its records.

use std::{path::Path, sync::Arc};

use segment_log::{Disk, Location, OpenError, Options, Recovery, SegmentLog};

/// Where every test keeps its log.
pub(crate) const DIR: &str = "/data/log";

/// Segments of a few records and steps of a few more, so that short workloads cross all borders.
pub(crate) fn small() -> Options {
    Options {
        segment_bytes_max: 512,
        record_bytes_max: 200,
        preallocate_bytes: 128,
        salt: 1,
    }
}

/// An open log and what was found in it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) log: SegmentLog,
    pub(crate) recovery: Recovery,
    pub(crate) records: Vec<(Location, Vec<u8>)>,
}

impl Opened {
    pub(crate) fn payloads(&self) -> Vec<Vec<u8>> {
        self.records
            .iter()
            .map(|(_, payload)| payload.clone())
            .collect()
    }
}

pub(crate) fn open(disk: &(impl Disk + Clone), options: Options) -> Result<Opened, OpenError> {
    let mut records = Vec::new();
    let disk = Arc::new(disk.clone());
    let (log, recovery) =
        SegmentLog::open(disk, Path::new(DIR), options, &mut |location, payload| {
            records.push((location, payload.to_vec()));
            Ok(())
        })?;
    Ok(Opened {
        log,
        recovery,
        records,
    })
}
