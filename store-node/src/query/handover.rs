//! Frames on their way from the thread that scans to the task that sends: small ones go together, as
//! each time one wakes the other costs more than a frame.

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use store_wire::message::Response;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::scan::Closed;

/// A frame of an answer.
pub(super) type Frame = (Response, Bytes);

/// Frames of so many bytes go at once.
const HANDFUL_BYTES: usize = 32 * 1024;
/// What a frame takes beside its body, about.
const FRAME_BYTES: usize = 128;
/// What was found so long ago goes with the next frame, however little it is.
const HELD_MAX: Duration = Duration::from_millis(2);

/// Gathers frames into handfuls.
pub(super) struct Handover {
    channel: mpsc::Sender<Vec<Frame>>,
    handful: Vec<Frame>,
    bytes: usize,
    /// When the last handful went.
    last: Instant,
}

impl Handover {
    pub(super) fn new(channel: mpsc::Sender<Vec<Frame>>) -> Self {
        Self {
            channel,
            handful: Vec::new(),
            bytes: 0,
            last: Instant::now(),
        }
    }

    /// Takes a frame, and waits until there is room for its handful when that is full. Not on a thread
    /// of the runtime.
    ///
    /// # Errors
    /// Nobody listens any more.
    pub(super) fn put(&mut self, frame: Frame) -> Result<(), Closed> {
        self.bytes += FRAME_BYTES + frame.1.len();
        self.handful.push(frame);
        if self.bytes < HANDFUL_BYTES && self.last.elapsed() < HELD_MAX {
            return Ok(());
        }
        self.hand_over()
    }

    /// Hands over what is held.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub(super) fn hand_over(&mut self) -> Result<(), Closed> {
        self.bytes = 0;
        self.last = Instant::now();
        let handful = mem::take(&mut self.handful);
        if handful.is_empty() {
            return Ok(());
        }
        self.channel.blocking_send(handful).map_err(|_| Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Frame {
        let end = Response::End {
            series: 0,
            rows: 0,
            truncated: false,
            seen: None,
        };
        (end, vec![0; bytes].into())
    }

    #[test]
    fn frames_go_together_until_they_are_many_bytes() {
        let (channel, mut handfuls) = mpsc::channel(4);
        let mut handover = Handover::new(channel);
        // As if no time passed.
        let at_once =
            |handover: &mut Handover| handover.last = Instant::now() + Duration::from_secs(60);
        at_once(&mut handover);
        let full = HANDFUL_BYTES - 2 * FRAME_BYTES;
        handover.put(frame(full - 1)).unwrap();
        handover.put(frame(0)).unwrap();
        assert!(handfuls.try_recv().is_err());
        handover.put(frame(0)).unwrap();
        assert_eq!(handfuls.try_recv().unwrap().len(), 3);

        at_once(&mut handover);
        handover.put(frame(full)).unwrap();
        handover.put(frame(0)).unwrap();
        assert_eq!(handfuls.try_recv().unwrap().len(), 2);

        at_once(&mut handover);
        handover.put(frame(0)).unwrap();
        handover.hand_over().unwrap();
        assert_eq!(handfuls.try_recv().unwrap().len(), 1);
        drop(handfuls);
        at_once(&mut handover);
        handover.put(frame(0)).unwrap();
        assert!(handover.hand_over().is_err());
    }
}
