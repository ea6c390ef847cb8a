//! Apache Parquet files: row groups as the answer arrives.
//!
//! Readings have the columns that `query-app export` writes, buckets those of an Arrow stream; both
//! are told in `docs/columns.md`.

use columnar::{ParquetStream, ParquetWriter};

use crate::client::answer::{Part, Summary};
use crate::format::arrow::ArrowRange;
use crate::format::{FormatError, RangeFormat, columns_of};
use crate::question::Rows;

/// Writes a range as a file.
pub(crate) struct ParquetRange {
    file: File,
}

enum File {
    /// `None` after its end.
    Readings(Option<Box<ParquetWriter<Vec<u8>>>>),
    Buckets(Box<ArrowRange>, Box<ParquetStream>),
}

impl ParquetRange {
    pub(crate) fn new(rows: &Rows) -> Result<Self, FormatError> {
        let file = match rows {
            Rows::Readings => File::Readings(Some(Box::new(ParquetWriter::new(Vec::new())?))),
            Rows::Buckets(_) => File::Buckets(
                Box::new(ArrowRange::new(rows, &columns_of(rows))?),
                Box::default(),
            ),
        };
        Ok(Self { file })
    }
}

impl RangeFormat for ParquetRange {
    fn begin(&mut self, out: &mut Vec<u8>) {
        if let File::Buckets(arrow, file) = &mut self.file {
            let mut stream = Vec::new();
            arrow.begin(&mut stream);
            file.take(stream, out)
                .expect("what was written as a stream reads back");
        }
    }

    fn part(&mut self, part: &Part, out: &mut Vec<u8>) -> Result<(), FormatError> {
        match (&mut self.file, part) {
            (File::Readings(Some(writer)), Part::Series(series)) => writer.series(series),
            (File::Readings(Some(writer)), Part::Readings(columns)) => {
                writer.readings(columns)?;
                writer.hand_out(out);
            }
            (File::Buckets(arrow, file), part) => {
                let mut stream = Vec::new();
                arrow.part(part, &mut stream)?;
                file.take(stream, out)?;
            }
            // An answer has rows of the kind that was asked for alone.
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, summary: &Summary, out: &mut Vec<u8>) {
        let ended = match &mut self.file {
            File::Readings(writer) => match writer.take() {
                Some(writer) => writer.end().map(|mut rest| out.append(&mut rest)),
                None => Ok(()),
            },
            File::Buckets(arrow, file) => {
                let mut stream = Vec::new();
                arrow.end(summary, &mut stream);
                file.take(stream, out).and_then(|()| file.end(out))
            }
        };
        ended.expect("rows that were taken can be written into memory");
    }
}
