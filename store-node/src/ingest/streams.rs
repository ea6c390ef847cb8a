//! How much each stream of a producer may have unacknowledged: less, the more streams there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most bytes of one stream's batches that wait for their outcome: some syncs' worth, and few enough
/// that sixteen busy streams fit the node's 64 MiB.
pub const WINDOW_BYTES: u64 = 4 << 20;
/// The least, however many streams there are. One batch may always be on its way.
pub const WINDOW_BYTES_MIN: u64 = 256 << 10;
/// Bytes that all windows come to, about: a stream keeps the window that it began with.
const WINDOWS_BYTES: u64 = 256 << 20;

/// The streams that are open.
#[derive(Debug, Default)]
pub struct Streams {
    open: AtomicU64,
}

/// One of them; it is not open any more when this is dropped.
#[derive(Debug)]
pub(super) struct OpenStream {
    streams: Arc<Streams>,
    /// Bytes of its window.
    pub(super) window_bytes: u64,
}

impl Streams {
    /// One more.
    pub(super) fn open(self: &Arc<Self>) -> OpenStream {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        OpenStream {
            streams: Arc::clone(self),
            window_bytes: window_bytes(open),
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The window of the last of so many streams.
fn window_bytes(open: u64) -> u64 {
    (WINDOWS_BYTES / open.max(1)).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_shrink_when_there_are_more_than_fit_whole_and_never_vanish() {
        let whole = WINDOWS_BYTES / WINDOW_BYTES;
        assert_eq!(window_bytes(whole), WINDOW_BYTES);
        assert!(window_bytes(whole + 1) < WINDOW_BYTES);
        let least = WINDOWS_BYTES / WINDOW_BYTES_MIN;
        assert_eq!(window_bytes(least), WINDOW_BYTES_MIN);
        assert_eq!(window_bytes(least + 1), WINDOW_BYTES_MIN);
        assert_eq!(window_bytes(u64::MAX), WINDOW_BYTES_MIN);
    }

    #[test]
    fn a_stream_that_ends_makes_room_for_another() {
        let streams = Arc::new(Streams::default());
        let whole = WINDOWS_BYTES / WINDOW_BYTES;
        let mut open: Vec<OpenStream> = (0..whole).map(|_| streams.open()).collect();
        assert!(
            open.iter()
                .all(|stream| stream.window_bytes == WINDOW_BYTES)
        );
        assert!(streams.open().window_bytes < WINDOW_BYTES);
        open.pop();
        assert_eq!(streams.open().window_bytes, WINDOW_BYTES);
    }
}
