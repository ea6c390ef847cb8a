//! Replays recordings: CSV files, at full speed, in real time or any number of times faster.
//!
//! Each numeric column becomes one series of kind `f64`, whatever its values look like: a column
//! whose first thousand values are whole numbers may go on with 0.5. A value is the float nearest
//! to the decimal text, bit for bit. What cannot be used is reported by line, column and reason,
//! and the replay goes on.
//!
//! A replay can be resumed: the agent's spool keeps [`Source::position`] with every batch, so that
//! after a kill no row is lost and none is sent twice.
//!
//! Read `replay/layout.rs` for how a file is understood, `replay/recording.rs` for its rows.

mod layout;
mod recording;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use segment_log::Disk;
use sensor_model::{PathError, SeriesPath, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::layout::LayoutError;
pub use self::recording::{OpenError, Problem, Recording, Row};
use super::{Nature, Next, Samples, Source, SourceError};

/// What to replay, and how.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// The files; at least one.
    pub files: Vec<PathBuf>,
    /// Where the series go: with one file `PREFIX/COLUMN`, with several `PREFIX/FILE/COLUMN`.
    /// `None`: the files' names without their ending take its place.
    pub prefix: Option<SeriesPath>,
    /// The column with the times; found by name and content when `None`.
    pub time_column: Option<String>,
    /// The columns to send; every numeric one when empty.
    pub columns: Vec<String>,
    /// How many times faster than recorded; 0 as fast as possible.
    pub speed: f64,
    /// Move all times of a file by one amount: at speed 0 so that its last reading is now, at any
    /// other speed so that its first is.
    pub shift_to_now: bool,
}

/// The `replay` source.
///
/// Several files are replayed one after the other at speed 0, and side by side otherwise, each
/// beginning at once.
#[derive(Debug)]
pub struct Replay {
    tracks: Vec<Track>,
    speed: f64,
    shift_to_now: bool,
    /// Names files, columns and prefix: a position of another replay is not taken.
    fingerprint: u32,
    started: Option<Timestamp>,
    problems: u64,
}

/// One file being replayed.
#[derive(Debug)]
struct Track {
    recording: Recording,
    /// The next row, read ahead to know when it is due.
    ahead: Option<Row>,
    /// The time of the first row of this run.
    first_ns: Option<i64>,
    /// What is added to every time of the file, once it is known.
    shift_ns: Option<i64>,
    /// Rows given away.
    rows: u64,
    ended: bool,
}

/// How far a replay has come, as it is kept in the spool.
#[derive(Debug, Serialize, Deserialize)]
struct Position {
    replay: u32,
    tracks: Vec<TrackPosition>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TrackPosition {
    rows: u64,
    shift_ns: i64,
}

impl Replay {
    /// Opens every file and understands its layout.
    ///
    /// # Errors
    /// [`OpenError`] naming the file, and what to change.
    pub fn open(disk: &Arc<dyn Disk>, options: &ReplayOptions) -> Result<Self, OpenError> {
        let mut tracks = Vec::new();
        let mut fingerprint = 0;
        for (index, file) in options.files.iter().enumerate() {
            let prefix = prefix_of(options, index).map_err(|source| OpenError::Prefix {
                file: file.display().to_string(),
                source,
            })?;
            let recording = Recording::open(disk, file, &prefix, options)?;
            for part in [file.display().to_string(), prefix.to_string()]
                .iter()
                .chain(&options.columns)
            {
                fingerprint = crc32c::crc32c_append(fingerprint, part.as_bytes());
                fingerprint = crc32c::crc32c_append(fingerprint, &[0]);
            }
            tracks.push(Track {
                recording,
                ahead: None,
                first_ns: None,
                shift_ns: (!options.shift_to_now).then_some(0),
                rows: 0,
                ended: false,
            });
        }
        Ok(Self {
            tracks,
            speed: options.speed,
            shift_to_now: options.shift_to_now,
            fingerprint,
            started: None,
            problems: 0,
        })
    }

    /// How many problems were reported: rows and single values that could not be used.
    pub const fn problems(&self) -> u64 {
        self.problems
    }

    /// The track whose next row comes first, and when. `None` when all have ended.
    fn first_due(&mut self, now: Timestamp) -> Result<Option<(usize, Timestamp)>, SourceError> {
        let started = *self.started.get_or_insert(now);
        let mut first: Option<(usize, Timestamp)> = None;
        for index in 0..self.tracks.len() {
            let track = &mut self.tracks[index];
            self.problems += track.read_ahead()?;
            let Some(elapsed_ns) = track.elapsed_ns() else {
                continue;
            };
            if self.speed == 0.0 {
                return Ok(Some((index, now)));
            }
            let due = started.saturating_add(slowed(elapsed_ns, self.speed));
            if first.is_none_or(|(_, earliest)| due < earliest) {
                first = Some((index, due));
            }
        }
        Ok(first)
    }

    fn shift(&mut self, index: usize, now: Timestamp) -> Result<i64, SourceError> {
        let track = &mut self.tracks[index];
        if let Some(shift_ns) = track.shift_ns {
            return Ok(shift_ns);
        }
        let reference = if self.speed == 0.0 {
            track.recording.last_time()?
        } else {
            track.first_ns
        };
        let shift_ns = now.as_nanos() - reference.unwrap_or(now.as_nanos());
        track.shift_ns = Some(shift_ns);
        Ok(shift_ns)
    }
}

impl Source for Replay {
    fn sample(&mut self, now: Timestamp, samples: &mut Samples) -> Result<Next, SourceError> {
        let Some((index, due)) = self.first_due(now)? else {
            return Ok(Next::End);
        };
        if due > now {
            return Ok(Next::At(due));
        }
        let shift_ns = self.shift(index, now)?;
        self.tracks[index].give_row(shift_ns, samples);
        Ok(Next::Immediately)
    }

    fn nature(&self) -> Nature {
        Nature::Recorded
    }

    fn position(&self) -> Option<Bytes> {
        let position = Position {
            replay: self.fingerprint,
            tracks: self
                .tracks
                .iter()
                .map(|track| TrackPosition {
                    rows: track.rows,
                    shift_ns: track.shift_ns.unwrap_or(0),
                })
                .collect(),
        };
        serde_json::to_vec(&position).ok().map(Bytes::from)
    }

    fn resume(&mut self, position: &[u8]) -> bool {
        let Ok(position) = serde_json::from_slice::<Position>(position) else {
            return false;
        };
        if position.replay != self.fingerprint || position.tracks.len() != self.tracks.len() {
            return false;
        }
        for (track, reached) in self.tracks.iter_mut().zip(position.tracks) {
            track.recording.skip_rows(reached.rows);
            track.rows = reached.rows;
            if self.shift_to_now && reached.rows > 0 {
                track.shift_ns = Some(reached.shift_ns);
            }
        }
        true
    }
}

impl Track {
    /// Makes sure that the next row is known, reporting what is found on the way. Returns how many
    /// problems were reported.
    fn read_ahead(&mut self) -> Result<u64, SourceError> {
        let mut reported = 0;
        if self.ahead.is_none() && !self.ended {
            let mut report = |problem: Problem| {
                reported += 1;
                tracing::warn!("{problem}");
            };
            self.ahead = self.recording.next_row(&mut report)?;
            self.ended = self.ahead.is_none();
            if let Some(row) = &self.ahead {
                self.first_ns.get_or_insert(row.timestamp.as_nanos());
            }
        }
        Ok(reported)
    }

    /// How long after the first row the next one was recorded. A row earlier than that is due at
    /// once: recordings jump back when clocks change.
    fn elapsed_ns(&self) -> Option<u64> {
        let row = self.ahead.as_ref()?;
        let first = self.first_ns?;
        Some(u64::try_from(row.timestamp.as_nanos() - first).unwrap_or(0))
    }

    fn give_row(&mut self, shift_ns: i64, samples: &mut Samples) {
        let Some(row) = self.ahead.take() else { return };
        self.rows = row.number;
        let timestamp = Timestamp::from_nanos(row.timestamp.as_nanos().saturating_add(shift_ns));
        for (column, value) in row.values {
            let series = self.recording.series(column, samples);
            samples.push(series, timestamp, value);
        }
    }
}

/// `elapsed_ns` of the recording, replayed `speed` times faster.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a schedule needs no exact ns, and both are not negative"
)]
fn slowed(elapsed_ns: u64, speed: f64) -> Duration {
    Duration::from_nanos((elapsed_ns as f64 / speed) as u64)
}

/// The prefix of the series of one file.
fn prefix_of(options: &ReplayOptions, index: usize) -> Result<SeriesPath, PathError> {
    let file = &options.files[index];
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name = SeriesPath::segment_from(&stem);
    match &options.prefix {
        None => SeriesPath::new(name),
        Some(prefix) if options.files.len() == 1 => Ok(prefix.clone()),
        Some(prefix) => SeriesPath::new(format!("{prefix}/{name}")),
    }
}

#[cfg(test)]
mod tests;
