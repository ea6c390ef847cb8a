//! An Arrow IPC stream turned into a Parquet file as it is written.

use std::sync::Arc;

use arrow_ipc::reader::StreamDecoder;
use arrow_schema::Schema;
use parquet::arrow::ArrowWriter;

use crate::ColumnarError;
use crate::parquet_writer::properties;

/// Turns an Arrow IPC stream into a Parquet file with the same columns, row group by row group.
#[derive(Default)]
pub struct ParquetStream {
    decoder: StreamDecoder,
    /// There is none until the schema has come.
    writer: Option<ArrowWriter<Vec<u8>>>,
}

impl ParquetStream {
    /// Takes the next bytes of the stream, and appends to `out` what is ready of the file.
    ///
    /// # Errors
    /// [`ColumnarError`] when the bytes are none of an Arrow stream.
    pub fn take(&mut self, stream: Vec<u8>, out: &mut Vec<u8>) -> Result<(), ColumnarError> {
        let mut stream = stream.into();
        while let Some(batch) = self.decoder.decode(&mut stream)? {
            self.writer()?.write(&batch)?;
        }
        if let Some(writer) = &mut self.writer {
            out.append(writer.inner_mut());
        }
        Ok(())
    }

    /// Appends the rest of the file to `out`, once the whole stream was taken.
    ///
    /// # Errors
    /// [`ColumnarError::Parquet`].
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), ColumnarError> {
        let writer = self.writer()?;
        writer.finish()?;
        out.append(writer.inner_mut());
        Ok(())
    }

    fn writer(&mut self) -> Result<&mut ArrowWriter<Vec<u8>>, ColumnarError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let schema = self.decoder.schema();
                let schema = schema.unwrap_or_else(|| Arc::new(Schema::empty()));
                ArrowWriter::try_new(Vec::new(), schema, Some(properties().build()))?
            }
        };
        Ok(self.writer.insert(writer))
    }
}
