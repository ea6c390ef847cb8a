//! Chunks: a run of readings of one series as two encoded columns, with its statistics.
//!
//! A chunk is encoded once, at the edge, and travels and rests in that form. Its life, in order:
//! 1. The edge calls [`encode_with`]: times become steps, divided by what they have in common, floats
//!    become decimal digits, and both become blocks of packed bits. Each column is encoded the two or
//!    three ways that may suit it, and the shortest is kept.
//! 2. The leader calls [`parse`] and [`ChunkView::verify`], once: hostile or mistaken bytes end here.
//! 3. Every replica calls [`parse`] to index the chunk by its [`ChunkView::statistics`], which stand in
//!    the header; no column is decoded. Long ranges are answered from them.
//! 4. A scan calls [`ChunkView::decode_into`] for what it has to see reading by reading, and
//!    [`ChunkView::parts`] where statistics of parts of a chunk will do.
//!
//! Readings keep the order their producer gave them. They may be out of order or repeat times;
//! [`ChunkView::is_sorted`] tells, and of equal times the later reading in the chunk counts.
//!
//! What it does not do: no checksum (records and batches carry one around their chunks), no series (the
//! batch names it), no I/O. Decoding is bounded: [`ChunkView::decoded_len`] is known from the header,
//! and no bytes, however hostile, make it panic or allocate more.
//!
//! The bytes are defined in `docs/formats.md`, section Chunk. The smallest steps are in `bitpack` and
//! `blocks`; read `ints`, `times`, `decimals` and `floats` on top of them, then `encode`, `parse`
//! and `view`.

mod bitpack;
mod blocks;
mod bools;
mod cursor;
mod decimals;
mod distinct;
mod encode;
pub mod encoding;
mod error;
mod floats;
mod header;
mod ints;
mod parse;
mod parts;
mod scratch;
mod single;
mod statistics;
mod summary;
mod texts;
mod times;
mod view;

pub use encode::{encode, encode_with};
pub use encoding::Encodings;
pub use error::{DecodeError, EncodeError};
pub use parse::parse;
pub use parts::PARTS_MAX;
pub use scratch::Scratch;
pub use single::parse_single;
pub use statistics::{Extent, read_statistics};
pub use view::ChunkView;

/// Most readings in a chunk.
pub const READINGS_MAX: usize = 65_536;
