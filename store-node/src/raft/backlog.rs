//! Bounds what is not sealed yet, and so the memory that it takes, when sealing does not keep up.
//!
//! Two thresholds, both counted in what one seal takes: from [`HELD_SEALS`] on, writes wait on the
//! leader; a node that cannot seal at all, while the leader can, takes no entries from
//! [`REFUSED_SEALS`] on, and lags behind instead of growing.

use tokio::sync::watch;

/// So many seals behind, the leader lets writes wait.
const HELD_SEALS: u64 = 8;
/// So many seals behind, a node takes no more entries from the leader.
const REFUSED_SEALS: u64 = 16;

/// How much is not sealed.
#[derive(Debug)]
pub(super) struct Backlog {
    unsealed_bytes: watch::Sender<u64>,
    seal_bytes: u64,
}

impl Backlog {
    /// Nothing yet; `seal_bytes` are sealed at a time.
    pub(super) fn new(seal_bytes: u64) -> Self {
        Self {
            unsealed_bytes: watch::Sender::new(0),
            seal_bytes,
        }
    }

    /// Takes note of how many bytes of commands are not sealed.
    pub(super) fn note(&self, unsealed_bytes: u64) {
        self.unsealed_bytes.send_replace(unsealed_bytes);
    }

    /// Lets all who wait go on: what they were to do is refused anyway.
    pub(super) fn release(&self) {
        self.note(0);
    }

    /// Whether writes wait.
    pub(super) fn is_held(&self) -> bool {
        *self.unsealed_bytes.borrow() >= self.seal_bytes.saturating_mul(HELD_SEALS)
    }

    /// Whether entries are refused.
    pub(super) fn is_refused(&self) -> bool {
        *self.unsealed_bytes.borrow() >= self.seal_bytes.saturating_mul(REFUSED_SEALS)
    }

    /// Waits until there is little enough to be sealed.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn wait(&self) {
        let mut unsealed = self.unsealed_bytes.subscribe();
        let limit = self.seal_bytes.saturating_mul(HELD_SEALS);
        // The sender lives as long as this.
        drop(unsealed.wait_for(|bytes| *bytes < limit).await);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn writes_wait_and_entries_are_refused_from_their_thresholds_on() {
        let backlog = Backlog::new(1000);
        for (unsealed, held, refused) in [
            (0, false, false),
            (7_999, false, false),
            (8_000, true, false),
            (15_999, true, false),
            (16_000, true, true),
            (7_999, false, false),
        ] {
            backlog.note(unsealed);
            assert_eq!(backlog.is_held(), held, "{unsealed}");
            assert_eq!(backlog.is_refused(), refused, "{unsealed}");
            assert_eq!(backlog.wait().now_or_never().is_none(), held, "{unsealed}");
        }
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_once_it_is_sealed() {
        let backlog = Backlog::new(1000);
        backlog.note(8_000);
        let sealed = async { backlog.note(0) };
        tokio::join!(backlog.wait(), sealed);
    }
}
