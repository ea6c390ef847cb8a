//! The nouns of Tidemark: what a series, a reading, a bucket and a question are.
//!
//! Everything here is plain data with its rules: no I/O, no clock, no randomness, and it builds for
//! `wasm32` so that the dashboard's browser part speaks the same words as the store.
//! Bytes on disk and wire are defined by `column-codec`, `segment-log` and `store-wire`.
//!
//! Read [`path`], [`value`] and [`statistics`] first: a series is named by a path, holds readings of
//! one kind, and is summarised by statistics wherever a run of its readings is kept.

pub mod aggregate;
pub mod attributes;
pub mod board;
pub mod columns;
pub mod duration;
pub mod filter;
pub mod grid;
pub mod grouping;
pub mod path;
pub mod pattern;
pub mod query;
pub mod reserved;
pub mod series;
pub mod size;
pub mod statistics;
pub mod time;
pub mod value;

pub use aggregate::{Aggregate, Percentile};
pub use attributes::Attributes;
pub use board::{BoardName, BoardNameError};
pub use columns::{Columns, Values};
pub use filter::Filter;
pub use grid::{Grid, Stretch};
pub use grouping::GroupKey;
pub use path::{PathError, SeriesPath};
pub use pattern::{Pattern, PatternError};
pub use query::{Consistency, Token};
pub use series::{DescriptionChange, SeriesDescription, SeriesId, Unit, UnitError};
pub use size::ByteSize;
pub use statistics::{Bucket, Statistics, Sum};
pub use time::{TimeError, TimeRange, Timestamp};
pub use value::{Kind, Reading, Value, ValueError};
