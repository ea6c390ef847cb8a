//! Sealed segments: history as immutable files, one window of time each.
//!
//! What the log holds is sealed from time to time: the readings of a *generation* are merged, sorted by
//! series and time, and written as one segment a window. Which readings, and where the windows lie, is
//! decided by commands of the log alone, so that every replica writes the same bytes.
//!
//! - `format.rs` the bytes of a segment, `writer.rs` writes one, `segment.rs` reads one;
//! - `library.rs` all segments of a shard on this node's disk, `damage.rs` which of them are not served;
//! - `manifest.rs` which segments there are, and the replicated state that goes with them.

mod damage;
mod format;
mod hash;
pub mod library;
pub mod manifest;
pub mod segment;
pub mod writer;
