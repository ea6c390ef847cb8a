//! A Parquet file as a table, read block by block from any row.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use arrow_schema::DataType;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::reader::{ChunkReader, Length};
use segment_log::DiskFile;

use crate::ColumnarError;
use crate::cells::{Cells, Column, kind_of};

/// A Parquet file.
pub struct ParquetTable {
    file: Source,
    metadata: ArrowReaderMetadata,
}

/// The blocks of a table, in order.
pub struct ParquetBlocks {
    batches: ParquetRecordBatchReader,
}

/// Some rows of a table.
#[derive(Debug, Clone)]
pub struct Block {
    /// How many.
    pub rows: usize,
    /// The cells of each column of the table.
    pub columns: Vec<Cells>,
}

impl ParquetTable {
    /// Opens a file and reads its footer.
    ///
    /// # Errors
    /// [`ColumnarError::Parquet`] when it is no Parquet file.
    pub fn open(file: Arc<dyn DiskFile>) -> Result<Self, ColumnarError> {
        let len = file.len().map_err(parquet::errors::ParquetError::from)?;
        let file = Source { file, len };
        let metadata = ArrowReaderMetadata::load(&file, Default::default())?;
        Ok(Self { file, metadata })
    }

    /// The columns, in their order.
    pub fn columns(&self) -> Vec<Column> {
        let fields = self.metadata.schema().fields();
        let columns = fields.iter().map(|field| Column {
            name: field.name().clone(),
            kind: kind_of(field.data_type()),
            is_time: matches!(field.data_type(), DataType::Timestamp(_, _)),
            type_name: field.data_type().to_string(),
        });
        columns.collect()
    }

    /// How many rows the table has.
    pub fn rows(&self) -> u64 {
        let rows = self.metadata.metadata().file_metadata().num_rows();
        u64::try_from(rows).unwrap_or(0)
    }

    /// The rows from `first` (counted from 0) on, in blocks of at most `block_rows`.
    ///
    /// # Errors
    /// [`ColumnarError::Parquet`].
    pub fn blocks(&self, first: u64, block_rows: usize) -> Result<ParquetBlocks, ColumnarError> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.file.clone(),
            self.metadata.clone(),
        );
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let batches = builder
            .with_batch_size(block_rows)
            .with_offset(first)
            .build()?;
        Ok(ParquetBlocks { batches })
    }
}

impl ParquetBlocks {
    /// The next block; `None` after the last row.
    ///
    /// # Errors
    /// [`ColumnarError::Arrow`] when the file is damaged or cannot be read.
    pub fn next_block(&mut self) -> Result<Option<Block>, ColumnarError> {
        let Some(batch) = self.batches.next().transpose()? else {
            return Ok(None);
        };
        Ok(Some(Block {
            rows: batch.num_rows(),
            columns: batch.columns().iter().cloned().map(Cells).collect(),
        }))
    }
}

/// A file as the Parquet library reads it.
#[derive(Clone)]
struct Source {
    file: Arc<dyn DiskFile>,
    len: u64,
}

struct SourceReader {
    file: Arc<dyn DiskFile>,
    offset: u64,
}

impl Read for SourceReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buf, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Source {
    type T = BufReader<SourceReader>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::new(SourceReader {
            file: Arc::clone(&self.file),
            offset: start,
        }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(parquet::errors::ParquetError::EOF(
                "the file ends before what its footer announces".to_owned(),
            ));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}
