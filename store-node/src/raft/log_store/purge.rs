//! Takes what sealed segments hold off the front of the log: first in a record, then from the disk.
//!
//! The consensus library purges only what a manifest holds that is durable here, so the entries are not
//! needed any more. Nothing else in the log segments that go is, either, but one thing: the **vote**. A
//! node that forgot its promise could vote twice in a term. So:
//!
//! 1. The vote in force is written again, together with the record of the purge, and both are synced.
//! 2. Only then log segments are removed, and only such as lie before the one of that vote, and before
//!    the one of the first entry that stays.
//!
//! So whatever was removed, a vote at least as great as any in it stands in what is left: the library
//! saves votes and purges one after the other, so at 1 no greater vote is on its way; and the vote
//! written last is in a log segment that only a later purge can remove, which writes it again first. It
//! does not matter that a vote may now be met twice, or that an older one may follow it: reading the
//! log back takes the greatest, and a promise only ever grows. A preamble that every new log segment
//! begins with would not do instead: the log segments that exist when a node is first started with
//! this version have none.
//!
//! Log segments are removed one at a time, each as a job of its own of the writer's thread, so that
//! appends wait for one removal at most. What is left when the node stops goes when it is started.

use std::sync::Arc;

use segment_log::{Durability, Location, Recovery, WriteError};
use tracing::info;

use super::{LogStore, Shared};
use crate::raft::{record, types::LogId};

impl LogStore {
    /// Goes on above `base`, through which the index was purged when the log was opened, as
    /// `recovery` tells: writes the record of it if `is_unrecorded`, removes log segments if there are
    /// any to remove.
    pub(in crate::raft) fn settle_above(
        &self,
        base: &LogId,
        recovery: &Recovery,
        is_unrecorded: bool,
    ) {
        let needed = self.index().first_segment().min(recovery.last_segment);
        if is_unrecorded || recovery.first_segment < needed {
            self.submit_purge(base);
        }
    }

    /// Writes that entries up to `upto` are no longer part of the log, then removes the log segments
    /// that held nothing else.
    pub(super) fn submit_purge(&self, upto: &LogId) {
        let shard = self.shared.shard;
        let vote = self.index().vote;
        let mut records: Vec<_> = vote.iter().map(|vote| record::vote(shard, vote)).collect();
        records.push(record::purge(shard, upto));
        self.shared.count(&records);
        let (shared, upto) = (Arc::clone(&self.shared), upto.index);
        let done = move |result: Result<Vec<Location>, WriteError>| match result {
            Ok(written) => {
                metrics::counter!("tidemark_log_purges_total").increment(1);
                let vote = written.first().map_or(0, |location| location.segment);
                let needed = shared.lock().first_segment().min(vote);
                info!(upto, first_segment = needed, "log purged");
                shared.remove_below(needed);
            }
            Err(error) => shared.failed(&error),
        };
        let writer = &self.shared.writer;
        writer.submit(records, Durability::Synced, Box::new(done));
    }
}

impl Shared {
    /// Removes the log segments below `needed`, the lowest first.
    fn remove_below(self: Arc<Self>, needed: u64) {
        let shared = Arc::clone(&self);
        self.writer.with_log(move |log| {
            // The writer has stopped: what is left is removed when the log is opened.
            let Ok(log) = log else { return };
            let first = log.first_segment();
            if first >= needed {
                return;
            }
            match log.purge_before(first + 1) {
                Ok(0) => {}
                Ok(removed) => {
                    metrics::counter!("tidemark_log_segments_removed_total").increment(removed);
                    shared.remove_below(needed);
                }
                Err(poisoned) => shared.failed(&poisoned.into()),
            }
        });
    }
}
