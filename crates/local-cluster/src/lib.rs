//! Runs Tidemark's real programs on this machine: identities, store nodes, agents, the dashboard.
//!
//! Shared by `cargo xtask demo`, `cargo xtask bench` and the tests of the whole system. It knows the
//! programs only from outside, by their flags, their ready lines and their HTTP status, as a user
//! does. Everything it starts it also stops: dropping a [`Process`] kills it.
//!
//! Read [`LocalCluster`] first.

// This crate drives programs from outside; it is no part of the store, whose file operations and
// clocks are injected.
#![expect(
    clippy::disallowed_methods,
    reason = "drives real programs with real files and time"
)]

mod cluster;
mod faults;
mod history;
mod http;
mod identities;
mod process;
mod programs;
mod small_disk;
mod wait;

pub use cluster::{ClusterOptions, Fallen, LocalCluster, StoreNode};
pub use faults::Faults;
pub use http::{HttpClient, json, page, post, text};
pub use identities::Identities;
pub use process::{Process, Signal};
pub use programs::{Profile, Programs, cargo, example, workspace_root};
pub use small_disk::SmallDisk;
pub use wait::{Deadline, until};
