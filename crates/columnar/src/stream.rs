//! Readings as an Arrow IPC stream.

use arrow_ipc::writer::StreamWriter;
use sensor_model::{Columns, SeriesDescription};

use crate::ColumnarError;
use crate::rows::{BATCH_ROWS, Described, ReadingRows};

/// Writes readings as an Arrow IPC stream, in batches of some ten thousand rows over all series.
pub struct ReadingStream {
    rows: ReadingRows,
    writer: StreamWriter<Vec<u8>>,
}

impl ReadingStream {
    /// A stream of readings, whose schema is written.
    ///
    /// # Errors
    /// [`ColumnarError::Arrow`].
    pub fn new() -> Result<Self, ColumnarError> {
        let rows = ReadingRows::new(Described::No);
        let writer = StreamWriter::try_new(Vec::new(), rows.schema())?;
        Ok(Self { rows, writer })
    }

    /// The series of the readings that follow.
    pub fn series(&mut self, series: &SeriesDescription) {
        self.rows.open(series);
    }

    /// Takes readings of the open series, and appends to `out` what is ready.
    ///
    /// # Errors
    /// [`ColumnarError::Arrow`].
    pub fn readings(&mut self, columns: &Columns, out: &mut Vec<u8>) -> Result<(), ColumnarError> {
        self.rows.extend(columns);
        if self.rows.len() >= BATCH_ROWS {
            self.writer.write(&self.rows.take()?)?;
        }
        self.hand_out(out);
        Ok(())
    }

    /// Appends the rest of the stream to `out`, and its end.
    ///
    /// # Errors
    /// [`ColumnarError::Arrow`].
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), ColumnarError> {
        if self.rows.len() > 0 {
            self.writer.write(&self.rows.take()?)?;
        }
        self.writer.finish()?;
        self.hand_out(out);
        Ok(())
    }

    /// Appends to `out` what was written so far.
    pub fn hand_out(&mut self, out: &mut Vec<u8>) {
        out.append(self.writer.get_mut());
    }
}
