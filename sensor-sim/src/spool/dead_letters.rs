//! Batches that the store can never take: set aside in a folder, so that the others go on.
//!
//! A dead letter is a file `EPOCH-SEQUENCE.json` in [`DEAD_LETTERS_DIR`] of the spool's folder: its
//! readings as an array that `POST /api/v1/readings` takes, or, if this program cannot read them
//! either, the batch's bytes as `EPOCH-SEQUENCE.batch`. It is synced before the spool counts it, and
//! counted once: a batch that is refused again after a crash replaces its own file.
//!
//! The folder is bounded. When it is full the agent stops rather than lose a batch: somebody must look.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use segment_log::{Disk, OpenMode, write_file_atomically};
use sensor_model::{SeriesDescription, Value};
use serde_json::json;
use store_wire::batch::BatchView;

use super::{Spool, SpoolError};

/// The folder of dead letters in a spool's folder.
pub const DEAD_LETTERS_DIR: &str = "dead-letters";
/// Most bytes of all dead letters of a spool.
pub const DEAD_LETTER_BYTES_MAX: u64 = 64 << 20;

/// A batch that the store refused for good.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Its sequence.
    pub sequence: u64,
    /// How many readings are in it.
    pub readings: u32,
    /// Its bytes.
    pub bytes: Bytes,
    /// What its numbers stand for, from 0.
    pub series: Vec<SeriesDescription>,
}

/// Why a batch was not set aside. It is still in the spool.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SetAsideError {
    /// There are too many.
    #[error(
        "the dead letters in {dir} would take more than {bytes_max} bytes: see what is wrong with them, and move them away"
    )]
    Full {
        /// Their folder.
        dir: String,
        /// Its bound.
        bytes_max: u64,
    },
    /// The file was not written.
    #[error("the dead letter {file} cannot be written: {reason}")]
    NotWritten {
        /// The file.
        file: String,
        /// What the disk says.
        reason: String,
    },
    /// The spool failed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// There is no spool on disk, and so nowhere to set it aside.
    #[error("without a spool on disk it cannot be set aside")]
    NoSpool,
}

impl Spool {
    /// Writes a batch that will not be sent again to a file, durably, and counts it. Returns the
    /// file, and the readings of all dead letters so far.
    ///
    /// # Errors
    /// [`SetAsideError`]; nothing is counted then.
    pub fn set_aside(
        &mut self,
        letter: &DeadLetter,
        bytes_max: u64,
    ) -> Result<(PathBuf, u64), SetAsideError> {
        let dir = self.dir.join(DEAD_LETTERS_DIR);
        let name = format!("{}-{:020}", self.epoch().unwrap_or(0), letter.sequence);
        let (file, content) = match as_json(letter) {
            Some(text) => (dir.join(format!("{name}.json")), text.into_bytes()),
            None => (dir.join(format!("{name}.batch")), letter.bytes.to_vec()),
        };
        let failed = |error: io::Error| SetAsideError::NotWritten {
            file: file.display().to_string(),
            reason: error.to_string(),
        };
        self.disk.create_dir_all(&dir).map_err(failed)?;
        let taken = bytes_in(&*self.disk, &dir, &file).map_err(failed)?;
        if taken + content.len() as u64 > bytes_max {
            let dir = dir.display().to_string();
            return Err(SetAsideError::Full { dir, bytes_max });
        }
        write_file_atomically(&*self.disk, &file, &content).map_err(failed)?;
        if letter.sequence > self.state.dead_through {
            self.state.dead_through = letter.sequence;
            self.state.dead_readings += u64::from(letter.readings);
            self.write_state()?;
        }
        Ok((file, self.state.dead_readings))
    }
}

/// The readings as the HTTP API takes them, one a line; `None` if they cannot be read.
fn as_json(letter: &DeadLetter) -> Option<String> {
    let batch = BatchView::parse(letter.bytes.clone()).ok()?;
    let mut lines = Vec::new();
    for (number, chunk) in batch.chunks() {
        let series = letter.series.get(usize::try_from(number).ok()?)?;
        let columns = column_codec::parse(&chunk).ok()?.decode().ok()?;
        for reading in columns.readings() {
            let value = match reading.value {
                Value::F64(value) => json!(value),
                Value::I64(value) => json!(value),
                Value::Bool(value) => json!(value),
                Value::Text(value) => json!(value),
            };
            let reading = json!({
                "path": series.path,
                "timestamp": reading.timestamp.to_string(),
                "value": value,
                "unit": series.unit,
                "kind": columns.kind(),
            });
            lines.push(reading.to_string());
        }
    }
    Some(format!("[\n{}\n]\n", lines.join(",\n")))
}

/// Bytes of all files of the folder but `replaced`.
fn bytes_in(disk: &dyn Disk, dir: &Path, replaced: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for name in disk.list(dir)? {
        let file = dir.join(name);
        if file != replaced {
            bytes += disk.open(&file, OpenMode::Read)?.len()?;
        }
    }
    Ok(bytes)
}
