//! The edge of Tidemark: samples sensors, keeps readings on its own disk, and delivers them to the
//! store exactly once.
//!
//! # The life of a reading
//!
//! 1. A [`Source`](source::Source) gives it: a simulated plant, this host's sensors, a recording.
//! 2. The [`Batcher`](batcher::Batcher) groups readings by series, encodes each run as a chunk and
//!    closes a batch.
//! 3. The [`Spool`](spool::Spool) gives the batch its sequence and syncs it on disk.
//! 4. The [`Outbox`](outbox::Outbox) holds it until the store has acknowledged it.
//! 5. The [`Courier`](courier::Courier) finds the leader, sends the batch, and sends it again after
//!    every loss, under the same sequence, until the acknowledgement comes.
//!
//! [`agent`] puts these together for one source, [`load`] for synthetic readings at full speed;
//! [`delivery`] is what both share. Read `agent.rs` first.

pub mod agent;
pub mod batcher;
pub mod board;
pub mod cli;
pub mod courier;
pub mod delivery;
pub mod intake;
pub mod load;
pub mod outbox;
pub mod progress;
pub mod source;
pub mod spool;
pub mod summary;
