//! One replica of the store's log, and the seam of the consensus library: only the files of this
//! folder name it.
//!
//! [`Replica`] is what the rest of the node sees: propose a command, know who leads, wait until
//! something is applied, ask how fresh this replica is. Underneath:
//!
//! - `log_store.rs` keeps the log in the segment log, `record.rs` its bytes, `index.rs` what of it is
//!   in memory, `recovery.rs` opens it;
//! - `state_machine.rs` applies what is committed; a snapshot is a manifest, `position.rs` says where it
//!   stands;
//! - `purging.rs` decides how far the log is purged behind a manifest, `transfer.rs` brings manifests and
//!   segments to members that lack them;
//! - `network.rs` asks the other members, `reception.rs` answers them, `message.rs` is what they say,
//!   `link.rs` keeps them connected;
//! - `formation.rs` makes a cluster out of blank nodes, once; `joining.rs` brings a node to a running
//!   one, which `admission.rs` answers;
//! - `members.rs` sees who belongs to it, `membership.rs` changes that, `leadership.rs` who leads,
//!   `steward.rs` does what is to be done about both without being asked;
//! - `consensus.rs` starts all of it and stops it in order.

mod admission;
mod backlog;
mod complaints;
pub mod consensus;
mod consistency;
pub mod formation;
mod freshness;
pub(crate) mod index;
pub mod joining;
mod leadership;
pub mod link;
pub mod log_store;
pub mod members;
pub mod membership;
pub mod message;
pub mod network;
pub mod position;
mod proposals;
mod purging;
pub mod reception;
pub mod record;
pub mod recovery;
mod replica;
pub mod space;
pub mod state_machine;
mod status;
pub mod steward;
pub mod transfer;
pub mod types;

pub use log_store::following::{FollowError, Run};
pub use members::{Fence, Membership};
pub use membership::ChangeError;
pub use proposals::{ENTRY_BYTES_MAX, ProposeError, Proposed, Reservation};
pub use replica::{ReadError, Replica, WaitError};
