//! How programs of a Tidemark cluster speak to each other: QUIC with mutual TLS 1.3, frames, messages.
//!
//! The only crate that names quinn and rustls. It knows what is said and how it is bounded; it does
//! not know what a log or a chunk is. The conversations are told in `docs/protocol.md`, every byte in
//! `docs/formats.md`.
//!
//! Reading order: [`endpoint`] is who may connect, [`identity`] how that is known, [`frame`] how a
//! stream is cut up, [`message`] what is said, [`batch`] what travels beside it.

pub mod authority;
pub mod batch;
pub mod client;
pub mod clock;
pub mod columns;
pub mod endpoint;
mod files;
pub mod frame;
pub mod identity;
pub mod message;
mod tls;
