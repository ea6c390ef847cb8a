//! Readings as Apache Arrow and Apache Parquet, for programs that take columns.
//!
//! The shape of the rows is told in `docs/columns.md` and is the same in both forms ([`rows`]): an
//! Arrow stream is written piece by piece as an answer arrives ([`ReadingStream`], [`BucketStream`]);
//! a Parquet file in row groups of a bounded size ([`ParquetWriter`], [`ParquetStream`]), and read as a table of any
//! shape ([`ParquetTable`]). Memory is bounded by a batch or a row group, never by the answer.
//!
//! This crate knows no questions and no network. It is apart from `query-app` because Arrow and Parquet
//! take long to compile.

mod buckets;
mod cells;
mod parquet_reader;
mod parquet_stream;
mod parquet_writer;
mod rows;
mod stream;

pub use buckets::BucketStream;
pub use cells::{Cells, Column};
pub use parquet_reader::{Block, ParquetBlocks, ParquetTable};
pub use parquet_stream::ParquetStream;
pub use parquet_writer::ParquetWriter;
pub use stream::ReadingStream;

/// Why columns could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ColumnarError {
    /// The Arrow form cannot be made of these rows.
    #[error("the Arrow form cannot be written: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// The Parquet file cannot be written or read.
    #[error("{0}")]
    Parquet(#[from] parquet::errors::ParquetError),
}
