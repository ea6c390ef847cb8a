//! The chaos harness: runs a cluster of the real programs, breaks what can be broken, and holds what
//! was promised against what happened.
//!
//! 1. [`run`] starts store nodes behind a [`network`] of UDP proxies in this process.
//! 2. A [`workload`] of producers, writers and readers goes on all the time. Its [`readings`] say
//!    themselves where they are from, and a [`history`] is taken of what was sent, acknowledged and read.
//! 3. A [`scenario`] acts on the [`stage`]: it kills, pauses, cuts off, wipes, until its time is over.
//! 4. Everything is mended, a [`survey`] is made of what each node has, and [`check`] judges.
//!
//! Chance follows from a seed: the same seed breaks the same things in the same order. When exactly,
//! and what the programs were doing just then, differs from run to run.
//!
//! `docs/chaos.md` has the scenarios, the rules, and how to repeat a run.

// This crate drives programs from outside; it is no part of the store, whose file operations and
// clocks are injected.
#![expect(
    clippy::disallowed_methods,
    reason = "drives real programs with real files and time"
)]

pub mod check;
pub mod cli;
pub mod history;
pub mod network;
pub mod readings;
pub mod run;
pub mod scenario;
pub mod stage;
pub mod summary;
pub mod survey;
pub mod watch;
pub mod workload;
