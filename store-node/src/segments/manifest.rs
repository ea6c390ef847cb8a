//! A manifest: the replicated state as it was at one position of the log, and the segments that hold
//! every reading up to it.
//!
//! It is what a node starts from, and what a follower that is too far behind is sent. Replicas that
//! have done the same jobs have the same manifest, byte for byte.

use std::fmt;
use std::path::{Path, PathBuf};

use segment_log::{Disk, read_file, write_file_atomically};
use sensor_model::{Pattern, Reading, SeriesDescription, TimeRange};
use serde::{Deserialize, Serialize};

pub use super::hash::{NotAHash, SegmentHash};
use crate::state::boards::BoardRecord;
use crate::state::nodes::NodeRecord;
use crate::state::voids::Voids;

/// What stands at the beginning of every manifest.
const MAGIC: [u8; 8] = *b"TIDEMANI";
/// The version of the format.
pub(crate) const VERSION: u32 = 1;
/// Bytes before the body: magic, version, zeros, length of the body, BLAKE3 of the body.
const HEADER_BYTES: usize = 56;
/// What [`write_file_atomically`] puts behind the name of a file that it has not finished.
const UNFINISHED: &str = ".tmp";
/// How deep a manifest's CBOR may nest.
const DEPTH_MAX: usize = 16;

/// An interval of time that a segment keeps to: `start` and the `width` nanoseconds from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// The first instant, in ns since 1970-01-01 UTC: a multiple of `width`, or the earliest time there is.
    pub start: i64,
    /// Width in ns.
    pub width: u64,
}

/// One segment, as manifests and commands know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// The BLAKE3 of the file.
    pub hash: SegmentHash,
    /// Bytes of the file.
    pub bytes: u64,
    /// Index of the command that made it. With `window` it names the segment on every replica.
    pub created: u64,
    /// Every reading in it was committed at or before this index; where a timestamp is repeated, the
    /// segment of higher order counts.
    pub order: u64,
    /// Tombstones up to this index have been applied to it.
    pub masked_through: u64,
    /// The time it is of.
    pub window: Window,
    /// How many readings.
    pub readings: u64,
    /// How many series.
    pub series: u64,
    /// The earliest time in it, in ns.
    pub first: i64,
    /// The latest time in it, in ns.
    pub last: i64,
}

/// A deleted stretch: readings of matching series in `range` that were committed before `index`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Index of the command.
    pub index: u64,
    /// Which series.
    pub pattern: Pattern,
    /// Which time.
    pub range: TimeRange,
}

/// How long the readings of some series are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionRule {
    /// Which series.
    pub pattern: Pattern,
    /// For how long, in ns.
    pub keep: u64,
}

/// A series, as of the manifest's position. Its id is its place in the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesRecord {
    /// Path, kind, unit, attributes.
    pub description: SeriesDescription,
    /// How many readings were applied, repeated timestamps counted each time.
    pub count: u64,
    /// The earliest time, in ns; none before the first reading.
    pub first: Option<i64>,
    /// The latest reading.
    pub last: Option<Reading>,
    /// Which of the two a delete may have taken.
    pub uncertain: Uncertain,
}

/// Which of the first and the last of a series' readings a delete may have taken: then only a scan can
/// say what it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uncertain {
    /// The first.
    pub first: bool,
    /// The last.
    pub last: bool,
}

/// A producer, as of the manifest's position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerRecord {
    /// Its name.
    pub name: String,
    /// The epoch of its current spool.
    pub epoch: u64,
    /// The sequence that comes next.
    pub next_sequence: u64,
    /// How many readings its spools had to drop.
    pub dropped_readings: u64,
}

/// Where in the log a manifest stands, as consensus names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The index of the entry.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    /// That leader.
    pub node: u64,
    /// The membership in force there, in the bytes of consensus.
    #[serde(with = "serde_bytes")]
    pub members: Vec<u8>,
}

/// The state of a shard at a position, with every segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Everything but the segments is as of this entry, which sealed all that was before it.
    pub position: Position,
    /// The segments are as the jobs of all commands up to this index left them; at least the position's.
    pub jobs_through: u64,
    /// How many readings were applied.
    pub total: u64,
    /// By id.
    pub series: Vec<SeriesRecord>,
    /// Ordered by name.
    pub producers: Vec<ProducerRecord>,
    /// Every node id ever used, ascending.
    pub nodes: Vec<NodeRecord>,
    /// Ordered by name; left out where there are none, as in older manifests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boards: Vec<BoardRecord>,
    /// Ordered by index.
    pub tombstones: Vec<Tombstone>,
    /// In the order in which they were set.
    pub retention: Vec<RetentionRule>,
    /// Which entries with batches came to nothing; older manifests do not say.
    #[serde(default)]
    pub voids: Option<Voids>,
    /// Ordered by window, then by order.
    pub segments: Vec<SegmentEntry>,
}

/// Which manifest: also its name on disk, `{position:020}-{jobs_through:020}.manifest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestId {
    /// Index of its position.
    pub position: u64,
    /// Index of the last job done.
    pub jobs_through: u64,
}

/// Why a manifest could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The disk refused.
    #[error("{}: {source}", file.display())]
    Disk {
        /// The file.
        file: PathBuf,
        /// What the disk says.
        source: std::io::Error,
    },
    /// What is in the file is not what is to be there.
    #[error("{}: {source}", file.display())]
    Refused {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: NotAManifest,
    },
}

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum NotAManifest {
    /// A newer program wrote it: use that one.
    #[error("the manifest is of version {found}; this program reads version {VERSION}")]
    Version {
        /// The version it carries.
        found: u32,
    },
    /// It is not what was written.
    #[error("the manifest is damaged: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
}

impl SegmentEntry {
    /// Names the segment on every replica.
    pub const fn id(&self) -> SegmentId {
        SegmentId {
            created: self.created,
            window: self.window,
        }
    }
}

/// Names a segment on every replica, before anyone has written it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentId {
    /// Index of the command that made it.
    pub created: u64,
    /// The time it is of.
    pub window: Window,
}

impl Window {
    /// The window of `width` ns that holds `time`.
    pub fn of(time: i64, width: u64) -> Self {
        let wide = i128::from(width.max(1));
        let start = i128::from(time).div_euclid(wide) * wide;
        let start = i64::try_from(start).unwrap_or(i64::MIN);
        Self { start, width }
    }

    /// The last instant in it.
    pub fn last(&self) -> i64 {
        let wide = i128::from(self.width.max(1));
        // The earliest window may begin before the earliest time there is.
        let end = i128::from(self.start).div_euclid(wide) * wide + wide - 1;
        i64::try_from(end).unwrap_or(i64::MAX)
    }
}

impl Manifest {
    /// Which one it is.
    pub const fn id(&self) -> ManifestId {
        ManifestId {
            position: self.position.index,
            jobs_through: self.jobs_through,
        }
    }

    /// The bytes of its file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        ciborium::into_writer(self, &mut bytes).expect("writing CBOR to memory cannot fail");
        let (head, body) = bytes.split_at_mut(HEADER_BYTES);
        head[..8].copy_from_slice(&MAGIC);
        head[8..12].copy_from_slice(&VERSION.to_le_bytes());
        head[16..24].copy_from_slice(&(body.len() as u64).to_le_bytes());
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head[..24]).update(body);
        head[24..].copy_from_slice(hasher.finalize().as_bytes());
        bytes
    }

    /// Reads the bytes of a file back.
    ///
    /// # Errors
    /// See [`NotAManifest`].
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAManifest> {
        let damaged = NotAManifest::damaged;
        let (head, body) = bytes
            .split_at_checked(HEADER_BYTES)
            .ok_or_else(|| damaged("it is shorter than its header"))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head[..24]).update(body);
        if head[..8] != MAGIC {
            return Err(damaged("it does not begin as one"));
        }
        if hasher.finalize().as_bytes() != &head[24..] {
            return Err(damaged("its checksum does not hold"));
        }
        let version = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if version != VERSION {
            return Err(NotAManifest::Version { found: version });
        }
        let mut rest = body;
        let manifest = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH_MAX)
            .map_err(|error| damaged(&error.to_string()))?;
        if !rest.is_empty() {
            return Err(damaged("bytes follow it"));
        }
        Ok(manifest)
    }

    /// Writes it into `dir`, durably, and removes older ones. Gives the hash that the file carries.
    ///
    /// # Errors
    /// [`ManifestError::Disk`]; it is stored all the same if only removing others failed, and may or
    /// may not be if it was a sync that failed. Otherwise the manifests there before are still there.
    pub fn store(&self, disk: &dyn Disk, dir: &Path) -> Result<SegmentHash, ManifestError> {
        disk.create_dir_all(dir).map_err(at(dir))?;
        let (path, bytes) = (dir.join(self.id().to_string()), self.encode());
        write_file_atomically(disk, &path, &bytes).map_err(at(&path))?;
        remove_others(disk, dir, Some(self.id()))?;
        Ok(Self::hash_in(&bytes))
    }

    /// The hash that encoded `bytes` carry, of all the rest of them.
    pub(crate) fn hash_in(bytes: &[u8]) -> SegmentHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[24..HEADER_BYTES]);
        SegmentHash(hash)
    }

    /// As [`load`](Self::load), and makes sure that what was loaded is found again after a power cut:
    /// the process that wrote it may have ended before it could. What else is there is removed.
    ///
    /// # Errors
    /// As [`load`](Self::load), and when the disk refuses.
    pub fn recover(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, ManifestError> {
        let newest = Self::load(disk, dir)?;
        disk.create_dir_all(dir).map_err(at(dir))?;
        disk.sync_dir(dir).map_err(at(dir))?;
        remove_others(disk, dir, newest.as_ref().map(Self::id))?;
        Ok(newest)
    }

    /// The files of manifests in `dir`, oldest first; all but the last are about to be removed.
    ///
    /// # Errors
    /// [`ManifestError::Disk`].
    pub fn files(disk: &dyn Disk, dir: &Path) -> Result<Vec<PathBuf>, ManifestError> {
        let names = names(disk, dir)?;
        let ids = names.iter().filter_map(|name| ManifestId::of_name(name));
        let mut ids: Vec<ManifestId> = ids.collect();
        ids.sort_unstable();
        Ok(ids.iter().map(|id| dir.join(id.to_string())).collect())
    }

    /// The newest manifest in `dir`, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged: an older one would not go with the log any more.
    pub fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, ManifestError> {
        let ids = names(disk, dir)?;
        let Some(newest) = ids
            .iter()
            .filter_map(|name| ManifestId::of_name(name))
            .max()
        else {
            return Ok(None);
        };
        let file = dir.join(newest.to_string());
        let bytes = read_file(disk, &file).map_err(at(&file))?;
        let refused = |source| ManifestError::Refused {
            file: file.clone(),
            source,
        };
        let manifest = Self::decode(&bytes).map_err(refused)?;
        if manifest.id() != newest {
            let reason = "it is another one than its name says";
            return Err(refused(NotAManifest::damaged(reason)));
        }
        Ok(Some(manifest))
    }
}

impl ManifestError {
    /// Whether what is on the disk is not what was written.
    pub const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                source: NotAManifest::Damaged { .. },
                ..
            }
        )
    }

    /// The same as an error of the disk, of the same kind.
    pub(crate) fn into_io(self) -> std::io::Error {
        let kind = match &self {
            Self::Disk { source, .. } => source.kind(),
            Self::Refused { .. } => std::io::ErrorKind::InvalidData,
        };
        std::io::Error::new(kind, self)
    }
}

impl NotAManifest {
    fn damaged(reason: &str) -> Self {
        Self::Damaged {
            reason: reason.to_owned(),
        }
    }
}

/// Removes older manifests than `newest`, and what was not finished, durably.
fn remove_others(
    disk: &dyn Disk,
    dir: &Path,
    newest: Option<ManifestId>,
) -> Result<(), ManifestError> {
    let mut is_changed = false;
    for name in names(disk, dir)? {
        let is_older = ManifestId::of_name(&name).is_some_and(|id| Some(id) < newest);
        let unfinished = name.strip_suffix(UNFINISHED);
        if is_older || unfinished.and_then(ManifestId::of_name).is_some() {
            let path = dir.join(name);
            disk.remove(&path).map_err(at(&path))?;
            is_changed = true;
        }
    }
    if is_changed {
        disk.sync_dir(dir).map_err(at(dir))?;
    }
    Ok(())
}

/// The names in `dir`; none if it does not exist.
fn names(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, ManifestError> {
    match disk.list(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(at(dir)),
    }
}

fn at(file: &Path) -> impl FnOnce(std::io::Error) -> ManifestError {
    let file = file.to_owned();
    move |source| ManifestError::Disk { file, source }
}

impl ManifestId {
    fn of_name(name: &str) -> Option<Self> {
        let (position, jobs_through) = name.strip_suffix(".manifest")?.split_once('-')?;
        let id = Self {
            position: position.parse().ok()?,
            jobs_through: jobs_through.parse().ok()?,
        };
        (id.to_string() == name).then_some(id)
    }
}

impl fmt::Display for ManifestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:020}-{:020}.manifest",
            self.position, self.jobs_through
        )
    }
}
