//! Readings of a range into a file, which appears whole or not at all.

use std::io::{self, BufWriter, Write};

use columnar::{ColumnarError, ParquetWriter};
use sensor_model::Token;
use store_wire::message::Freshness;

use crate::client::Client;
use crate::client::answer::{Part, Summary};
use crate::failure::Failure;
use crate::files::{FileWriter, NewFile};
use crate::format::time_text::TimeStyle;
use crate::format::{Format, FormatError, RangeFormat, range_format};
use crate::question::{RangeQuestion, Terms};

/// Rows that are asked for at a time: a node answers no more than 100 million at once.
const PAGE_ROWS: u64 = 20_000_000;
/// Bytes that are written at a time.
const WRITE_BYTES: usize = 1 << 20;

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileForm {
    Csv,
    Parquet,
}

/// Why readings were not exported. There is no file then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The store did not answer, or not to the end.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The answer has no such form.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The file cannot be written.
    #[error("{0}")]
    Write(#[from] io::Error),
    /// The Parquet file cannot be written.
    #[error(transparent)]
    Columnar(#[from] ColumnarError),
}

/// What was exported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exported {
    pub(crate) readings: u64,
    pub(crate) series: u64,
    pub(crate) bytes: u64,
    pub(crate) freshness: Freshness,
    /// A read with this token sees all that was exported.
    pub(crate) token: Token,
}

/// Writes the readings that answer `question` to `file`, and gives it its name. Tells `progress` how many
/// readings and bytes it has.
///
/// Dropping the future leaves no file.
///
/// # Errors
/// [`ExportError`]; there is no file then.
pub(crate) async fn export(
    client: &Client,
    question: &RangeQuestion,
    terms: &Terms,
    file: NewFile,
    form: FileForm,
    mut progress: impl FnMut(u64, u64),
) -> Result<Exported, ExportError> {
    let mut question = question.clone();
    question.page.rows = Some(PAGE_ROWS);
    let mut answer = client.range(&question, terms).await?;
    let freshness = answer.freshness();
    let mut writer = FormWriter::new(form, &file, &question, freshness)?;
    let (mut readings, mut series) = (0, 0);
    let mut last = None;
    let token = loop {
        while let Some(part) = answer.next().await? {
            match &part {
                // A series that goes on on the next page is the same.
                Part::Series(head) if last.as_ref() != Some(&head.path) => {
                    last = Some(head.path.clone());
                    series += 1;
                }
                Part::Readings(columns) => readings += columns.len() as u64,
                _ => {}
            }
            tokio::task::block_in_place(|| writer.part(&part))?;
            progress(readings, writer.bytes());
        }
        let summary = answer.summary();
        let token = summary
            .as_ref()
            .map_or(freshness.applied, |summary| summary.token);
        let Some(next) = summary.and_then(|summary| summary.next) else {
            break token;
        };
        question.page.cursor = Some(next);
        answer = client.range(&question, terms).await?;
    };
    let bytes = tokio::task::block_in_place(|| {
        let bytes = writer.end(token)?;
        file.commit()?;
        Ok::<_, ExportError>(bytes)
    })?;
    Ok(Exported {
        readings,
        series,
        bytes,
        freshness,
        token,
    })
}

/// Writes parts of an answer in one form.
enum FormWriter {
    Csv {
        format: Box<dyn RangeFormat>,
        ready: Vec<u8>,
        file: Counted,
    },
    Parquet(Box<ParquetWriter<BufWriter<Counted>>>, u64),
}

/// A file, and how much was written to it.
struct Counted {
    file: FileWriter,
    bytes: u64,
}

impl FormWriter {
    fn new(
        form: FileForm,
        file: &NewFile,
        question: &RangeQuestion,
        freshness: Freshness,
    ) -> Result<Self, ExportError> {
        let file = Counted {
            file: file.writer(),
            bytes: 0,
        };
        match form {
            FileForm::Csv => {
                let mut format =
                    range_format(Format::Csv, question, freshness, TimeStyle::Rfc3339)?;
                let mut ready = Vec::with_capacity(WRITE_BYTES * 2);
                format.begin(&mut ready);
                Ok(Self::Csv {
                    format,
                    ready,
                    file,
                })
            }
            FileForm::Parquet => {
                let writer = ParquetWriter::new(BufWriter::with_capacity(WRITE_BYTES, file))?;
                Ok(Self::Parquet(Box::new(writer), 0))
            }
        }
    }

    fn part(&mut self, part: &Part) -> Result<(), ExportError> {
        match self {
            Self::Csv {
                format,
                ready,
                file,
            } => {
                format.part(part, ready)?;
                if ready.len() >= WRITE_BYTES {
                    file.write_all(ready)?;
                    ready.clear();
                }
            }
            Self::Parquet(writer, bytes) => {
                match part {
                    Part::Series(series) => writer.series(series),
                    Part::Readings(columns) => writer.readings(columns)?,
                    // There are none of them among raw readings.
                    Part::Group { .. } | Part::Buckets(_) => {}
                }
                *bytes = writer.bytes();
            }
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Csv { file, ready, .. } => file.bytes + ready.len() as u64,
            Self::Parquet(_, bytes) => *bytes,
        }
    }

    /// Writes what is left. Gives how long the file is.
    fn end(self, token: Token) -> Result<u64, ExportError> {
        match self {
            Self::Csv {
                mut format,
                mut ready,
                mut file,
            } => {
                let summary = Summary {
                    truncated: false,
                    next: None,
                    token,
                };
                format.end(&summary, &mut ready);
                file.write_all(&ready)?;
                Ok(file.bytes)
            }
            Self::Parquet(writer, _) => {
                let file = writer
                    .end()?
                    .into_inner()
                    .map_err(io::IntoInnerError::into_error)?;
                Ok(file.bytes)
            }
        }
    }
}

impl Write for Counted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buf)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
