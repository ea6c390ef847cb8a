//! The query service of Tidemark: questions in, answers out, as a command line and over HTTP.
//!
//! The life of a question:
//! 1. A command line ([`cli`]) or a URL ([`api`]) becomes a checked [`question`]; what is wrong with
//!    it is said before anything is sent.
//! 2. The [`client`] asks a replica, another one when that fails, and gives the parts of the answer
//!    as they arrive, with the replica's freshness. It reaches nodes over a [`link`].
//! 3. Buckets are given their [`shape`]: aggregates, filled gaps, a limit.
//! 4. A [`format`] writes the parts as CSV, JSON or a table, on stdout or into an HTTP body.
//!
//! The store merges and aggregates; nothing here looks at chunks or logs. The dashboard mounts
//! [`api::router`] and shares the [`client::Client`].

pub mod api;
pub mod board;
pub mod cli;
pub mod client;
mod export;
pub mod failure;
mod files;
pub mod format;
mod import;
pub mod link;
pub mod question;
pub mod serve;
pub mod shape;
mod suggest;
pub mod tokens;
mod top;
