//! Readings as a Parquet file.

use std::io::Write;

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use sensor_model::{Columns, SeriesDescription};

use crate::ColumnarError;
use crate::rows::{BATCH_ROWS, Described, ReadingRows};

/// Most rows of a row group.
const GROUP_ROWS_MAX: usize = 262_144;
/// About the longest row group: what the file holds in memory until it is written.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// Writes readings to a Parquet file, row group by row group, compressed with Snappy.
pub struct ParquetWriter<W: Write + Send> {
    rows: ReadingRows,
    writer: ArrowWriter<W>,
}

/// What all our files have in common.
pub(crate) fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
        .set_max_row_group_bytes(Some(GROUP_BYTES_MAX))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by(concat!("tidemark ", env!("CARGO_PKG_VERSION")).to_owned())
}

impl ParquetWriter<Vec<u8>> {
    /// Appends to `out` what was written so far of the file.
    pub fn hand_out(&mut self, out: &mut Vec<u8>) {
        out.append(self.writer.inner_mut());
    }
}

impl<W: Write + Send> ParquetWriter<W> {
    /// A file that is written to `target`.
    ///
    /// # Errors
    /// [`ColumnarError::Parquet`].
    pub fn new(target: W) -> Result<Self, ColumnarError> {
        let rows = ReadingRows::new(Described::Yes);
        let timestamp = ColumnPath::from("timestamp");
        let properties = properties()
            // Times mostly follow each other at equal distances.
            .set_column_dictionary_enabled(timestamp.clone(), false)
            .set_column_encoding(timestamp, Encoding::DELTA_BINARY_PACKED)
            .build();
        let schema = std::sync::Arc::clone(rows.schema());
        let writer = ArrowWriter::try_new(target, schema, Some(properties))?;
        Ok(Self { rows, writer })
    }

    /// The series of the readings that follow.
    pub fn series(&mut self, series: &SeriesDescription) {
        self.rows.open(series);
    }

    /// Takes readings of the open series.
    ///
    /// # Errors
    /// [`ColumnarError::Parquet`], also when the target cannot be written.
    pub fn readings(&mut self, columns: &Columns) -> Result<(), ColumnarError> {
        self.rows.extend(columns);
        if self.rows.len() >= BATCH_ROWS {
            self.writer.write(&self.rows.take()?)?;
        }
        Ok(())
    }

    /// Bytes of the file so far, as far as row groups are written.
    pub fn bytes(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    /// Writes the rest and the footer, and gives the target back.
    ///
    /// # Errors
    /// [`ColumnarError::Parquet`], also when the target cannot be written.
    pub fn end(mut self) -> Result<W, ColumnarError> {
        if self.rows.len() > 0 {
            self.writer.write(&self.rows.take()?)?;
        }
        Ok(self.writer.into_inner()?)
    }
}
