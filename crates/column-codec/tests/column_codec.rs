//! Chunks from outside: what goes in comes out bit for bit, and whatever bytes come in, nothing breaks.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "column_codec/frozen.rs"]
mod frozen;
#[path = "column_codec/generators.rs"]
mod generators;
#[path = "column_codec/hostile.rs"]
mod hostile;
#[path = "column_codec/limits.rs"]
mod limits;
#[path = "column_codec/parts.rs"]
mod parts;
#[path = "column_codec/recordings.rs"]
mod recordings;
#[path = "column_codec/round_trip.rs"]
mod round_trip;
