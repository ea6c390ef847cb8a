//! Taking records back at the end of a log, and dropping segments at its front.
//!
//! Both are done in an order in which a crash at any moment leaves one contiguous log: segments are
//! removed one at a time, away from what stays, and each removal is durable before the next.

use std::{io, sync::Arc};

use tracing::debug;

use crate::{
    disk::OpenMode,
    error::{Poisoned, TruncateError},
    format::{Kind, RECORD_HEADER_LEN, RecordHeader},
    log::SegmentLog,
    options::Location,
    segment::{Segment, SegmentState, StepError},
};

impl SegmentLog {
    /// Takes back every record after the one at `location`, durably. Whole segments go first, the
    /// highest before the others, so that a crash meanwhile leaves a longer prefix.
    ///
    /// What is kept is durable afterwards, too. The locations taken back may later name other
    /// records.
    pub fn truncate_after(&mut self, location: Location) -> Result<(), TruncateError> {
        self.sync()?;
        self.check_record(location)?;
        Ok(self.truncate_to(location.segment, location.end())?)
    }

    /// Takes back the record at `location` and every later one, durably.
    /// Otherwise as [`truncate_after`](Self::truncate_after).
    pub fn truncate_from(&mut self, location: Location) -> Result<(), TruncateError> {
        self.sync()?;
        self.check_record(location)?;
        Ok(self.truncate_to(location.segment, u64::from(location.offset))?)
    }

    /// Removes all segments below `segment`, durably, the lowest first. The active one stays in
    /// any case. Everything appended so far is synced before, so that what makes the old records
    /// superfluous is durable when they go. Returns the number of segments removed.
    pub fn purge_before(&mut self, segment: u64) -> Result<u64, Poisoned> {
        self.sync()?;
        let mut removed = 0;
        for number in self.first_segment()..segment.min(self.active.number) {
            self.remove_segment(number)?;
            removed += 1;
        }
        debug!(removed, first_segment = self.first_segment(), "log purged");
        Ok(removed)
    }

    /// Ends the log at `end` of `segment`, where a record must end.
    pub(crate) fn truncate_to(&mut self, segment: u64, end: u64) -> Result<(), Poisoned> {
        self.flush()?;
        // Readers first: what they may no longer find must not look like damage to them.
        if let Ok(Some(readable)) = self.shared.readable(segment) {
            self.shared.publish(segment, readable.seed, end);
        }
        if segment != self.active.number {
            for number in (segment + 1..=self.active.number).rev() {
                self.remove_segment(number)?;
            }
            self.active = self.reopen(segment, end)?;
        }
        if self.active.end != end || self.active.state == SegmentState::Sealed {
            self.step(|segment| segment.cut(end))?;
        }
        self.publish_end();
        debug!(segment, end, "log truncated");
        Ok(())
    }

    fn reopen(&mut self, number: u64, end: u64) -> Result<Segment, Poisoned> {
        let path = self.shared.path(number);
        let opened = self.shared.disk.open(&path, OpenMode::ReadWrite);
        let readable = self.shared.readable(number);
        match (opened, readable) {
            (Ok(file), Ok(Some(readable))) => Ok(Segment::recovered(
                number,
                path,
                readable.seed,
                file,
                end,
                readable.end,
                SegmentState::Sealed,
            )),
            (opened, readable) => {
                let missing = || io::ErrorKind::NotFound.into();
                let source = opened
                    .err()
                    .or_else(|| readable.err())
                    .unwrap_or_else(missing);
                Err(self.poison(StepError {
                    operation: "opening",
                    file: path,
                    source,
                }))
            }
        }
    }

    /// Refuses a location where no record of ours starts: truncating there would lose a part.
    fn check_record(&self, location: Location) -> Result<(), TruncateError> {
        let no_such_record = || TruncateError::NoSuchRecord { location };
        let readable = self.shared.readable(location.segment).ok().flatten();
        let segment = readable
            .filter(|s| location.end() <= s.end)
            .ok_or_else(no_such_record)?;
        let mut header = [0; RECORD_HEADER_LEN];
        segment
            .file
            .read_exact_at(&mut header, u64::from(location.offset))
            .map_err(|_| no_such_record())?;
        RecordHeader::decode(&header, segment.seed, location.offset)
            .filter(|header| header.kind == Kind::Payload && header.len == location.len)
            .map(|_| ())
            .ok_or_else(no_such_record)
    }

    fn remove_segment(&mut self, number: u64) -> Result<(), Poisoned> {
        self.shared.withdraw(number);
        let path = self.shared.path(number);
        let failed = |operation, file, source| StepError {
            operation,
            file,
            source,
        };
        let shared = Arc::clone(&self.shared);
        shared
            .disk
            .remove(&path)
            .map_err(|source| failed("removal", path, source))
            // After each removal, because only one at a time is sure to leave no gap.
            .and_then(|()| {
                let synced = shared.disk.sync_dir(&shared.dir);
                synced.map_err(|source| failed("sync", shared.dir.clone(), source))
            })
            .map_err(|step| self.poison(step))
    }
}
