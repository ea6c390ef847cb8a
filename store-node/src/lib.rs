//! The store: takes batches of readings in, replicates them, and answers questions about them.
//!
//! # The life of a batch
//!
//! 1. [`ingest`] on the leader checks who sends, what they may write, the bounds and the chunks
//!    themselves, and makes of the batch one [`command`].
//! 2. [`raft::Replica::propose`] puts the command's bytes into the consensus log as one entry, in
//!    the order of the calls.
//! 3. `raft/log_store.rs` appends the entry to this node's segment log, which syncs whatever is
//!    waiting as one group; `raft/network.rs` sends the same bytes to the followers meanwhile.
//! 4. Synced on a majority the entry is **committed**. `raft/state_machine.rs` gives it to
//!    [`state::State::apply`], which drops a repeated batch and indexes each chunk by series and
//!    time. Now it is **applied**: reads on this node see it.
//! 5. The proposal's answer, with the entry's position as token, goes back to [`ingest`], which
//!    acknowledges the batch.
//! 6. [`query`] answers a question on any replica: it waits for what the question's consistency
//!    asks of [`raft::Replica`], then [`scan`] finds the chunks, reads them back from the log and
//!    merges them.
//!
//! [`node`] wires these together and owns the order of starting and stopping; [`config`] says
//! what can be set; [`http`] is what operators' tools see; [`cli`] is the command line. Bytes on
//! disk and wire are in `docs/formats.md`.

pub mod archive;
pub mod charter;
pub mod cli;
pub mod command;
pub mod config;
pub mod fair_share;
pub mod http;
pub mod ingest;
pub mod node;
pub mod query;
pub mod raft;
mod repair;
pub mod scan;
pub mod scrub;
pub mod segments;
pub mod state;
mod turnstile;
pub mod upkeep;
