//! The bytes of a segment: its header, its footer, and the limits on both.
//!
//! Pure functions without I/O; `docs/formats.md`, *Segment*, describes every byte. The chunks follow the
//! header, then `entries.rs` says where each is, `directory.rs` which series have any, and the footer
//! ends the file. What lies where is not stored but added up from lengths, so that no byte of a file
//! belongs to nothing.

pub(crate) mod cursor;
pub(crate) mod directory;
pub(crate) mod entries;
#[cfg(test)]
mod tests;

use column_codec::DecodeError;
use sensor_model::Kind;

use super::manifest::{SegmentHash, Window};

/// The version this program writes, and the newest it reads.
pub(crate) const VERSION: u32 = 1;
/// Bytes of the header. Frozen for all versions: a later one changes what follows it.
pub(crate) const HEADER_BYTES: usize = 44;
/// Bytes of the footer.
pub(crate) const FOOTER_BYTES: usize = 104;
/// Bytes of the footer that the BLAKE3 covers, as it covers everything before the footer.
pub(crate) const FOOTER_HASHED_BYTES: usize = 60;
/// Bytes at the end of a segment that its hash is not of: the hash itself, and what follows it.
pub const UNHASHED_BYTES: u64 = (FOOTER_BYTES - FOOTER_HASHED_BYTES) as u64;
/// Most series in a segment.
pub const SERIES_MAX: u64 = 1 << 22;
/// Most chunks of one series in a segment.
pub const CHUNKS_MAX: u32 = 1 << 16;

const MAGIC: [u8; 8] = *b"TIDESEAL";
const END_MAGIC: [u8; 8] = *b"TIDE-END";

/// What a segment says of itself before its first chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHead {
    /// The shard it belongs to.
    pub shard: u32,
    /// Index of the command that made it.
    pub created: u64,
    /// The time it is of: no reading in it lies outside.
    pub window: Window,
}

/// A segment that is finished, or has been verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The BLAKE3 of everything before the place in the footer where it stands.
    pub hash: SegmentHash,
    /// Bytes of the file.
    pub bytes: u64,
    /// How many readings.
    pub readings: u64,
    /// How many series.
    pub series: u64,
    /// The earliest time in it, in ns.
    pub first: i64,
    /// The latest time in it, in ns.
    pub last: i64,
}

/// What a segment holds, all series together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) series: u64,
    pub(crate) chunks: u64,
    pub(crate) readings: u64,
    /// The earliest time, in ns.
    pub(crate) first: i64,
    /// The latest time, in ns.
    pub(crate) last: i64,
}

/// Where the parts of a segment are, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outline {
    /// Where the chunks end and their entries begin.
    pub(crate) entries_offset: u64,
    /// Where the entries end and the directory begins.
    pub(crate) directory_offset: u64,
    /// Where the directory ends and the footer begins. Not stored: the file's length tells.
    pub(crate) footer_offset: u64,
    pub(crate) directory_crc: u32,
    pub(crate) totals: Totals,
}

/// The end of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) outline: Outline,
    /// BLAKE3 of everything before it.
    pub(crate) hash: SegmentHash,
}

/// Why bytes are not the part of a segment that stands there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    /// A newer program wrote it: use that one.
    #[error("version {found} is newer than {VERSION}")]
    NewerVersion { found: u32 },
    /// A checksum or a limit does not hold.
    #[error("{what}")]
    Malformed { what: &'static str },
    /// The statistics of a chunk are malformed.
    #[error("the statistics of a chunk are malformed: {0}")]
    Statistics(#[from] DecodeError),
}

impl FormatError {
    /// For use with `ok_or`, `map_err` and the like.
    pub(crate) const fn malformed(what: &'static str) -> Self {
        Self::Malformed { what }
    }
}

/// Refuses with `what` unless `holds`.
pub(crate) const fn ensure(holds: bool, what: &'static str) -> Result<(), FormatError> {
    if holds {
        Ok(())
    } else {
        Err(FormatError::Malformed { what })
    }
}

/// No chunk of `count` readings that the codec reads is longer.
///
/// A sequence of integers takes at most 20 bytes a value, with every one of them patched. A reading is
/// at most four sequences (times, digits, units in the last place, indexes) and, if it is text, its text.
pub(crate) fn chunk_bytes_max(kind: Kind, count: u64) -> u64 {
    const HEADER_BYTES_MAX: u64 = 4096;
    let text_bytes_max = match kind {
        Kind::Text => sensor_model::value::TEXT_BYTES_MAX as u64,
        Kind::F64 | Kind::I64 | Kind::Bool => 0,
    };
    count
        .saturating_mul(80 + text_bytes_max)
        .saturating_add(HEADER_BYTES_MAX)
}

impl SegmentHead {
    /// The first bytes of the file.
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.created.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.window.start.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.window.width.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.shard.to_le_bytes());
        let crc = header_crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the first bytes of a file. Magic and checksum hold before the version is believed, and
    /// the version before anything else.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FormatError> {
        ensure(bytes[..8] == MAGIC, "it does not begin as a segment")?;
        let crc = u32_at(bytes, 12);
        ensure(
            crc == header_crc(bytes),
            "the checksum of the header does not hold",
        )?;
        match u32_at(bytes, 8) {
            VERSION => {}
            0 => return Err(FormatError::malformed("there is no version 0")),
            found => return Err(FormatError::NewerVersion { found }),
        }
        Ok(Self {
            shard: u32_at(bytes, 40),
            created: u64_at(bytes, 16),
            window: Window {
                start: i64_at(bytes, 24),
                width: u64_at(bytes, 32),
            },
        })
    }
}

fn header_crc(bytes: &[u8; HEADER_BYTES]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

impl Outline {
    /// The part of the footer that comes before the hash.
    pub(crate) fn encode(&self) -> [u8; FOOTER_HASHED_BYTES] {
        let mut bytes = [0; FOOTER_HASHED_BYTES];
        let words = [
            self.entries_offset,
            self.directory_offset,
            self.totals.series,
            self.totals.chunks,
            self.totals.readings,
            self.totals.first.cast_unsigned(),
            self.totals.last.cast_unsigned(),
        ];
        let (places, _) = bytes.as_chunks_mut::<8>();
        for (place, word) in places.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        bytes[56..].copy_from_slice(&self.directory_crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; FOOTER_BYTES], footer_offset: u64) -> Self {
        Self {
            footer_offset,
            entries_offset: u64_at(bytes, 0),
            directory_offset: u64_at(bytes, 8),
            directory_crc: u32_at(bytes, 56),
            totals: Totals {
                series: u64_at(bytes, 16),
                chunks: u64_at(bytes, 24),
                readings: u64_at(bytes, 32),
                first: i64_at(bytes, 40),
                last: i64_at(bytes, 48),
            },
        }
    }

    /// Whether its numbers can be true together, and are within their limits.
    fn check(&self) -> Result<(), FormatError> {
        let Totals {
            series,
            chunks,
            readings,
            first,
            last,
        } = self.totals;
        let offsets = [
            HEADER_BYTES as u64,
            self.entries_offset,
            self.directory_offset,
            self.footer_offset,
        ];
        ensure(offsets.is_sorted(), "its parts are not in their order")?;
        ensure(
            (1..=SERIES_MAX).contains(&series),
            "it has no series, or more than are allowed",
        )?;
        ensure(
            series <= chunks && chunks <= readings && first <= last,
            "its totals contradict each other",
        )?;
        let directory_bytes = self.footer_offset - self.directory_offset;
        let sizes = series * directory::RECORD_BYTES_MIN..=series * directory::RECORD_BYTES_MAX;
        ensure(
            sizes.contains(&directory_bytes),
            "its directory is too short or too long for so many series",
        )
    }
}

impl Footer {
    /// The last bytes of the file that begins with `header`.
    pub(crate) fn encode(&self, header: &[u8; HEADER_BYTES]) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        bytes[..60].copy_from_slice(&self.outline.encode());
        bytes[60..92].copy_from_slice(&self.hash.0);
        let crc = footer_crc(header, &bytes);
        bytes[92..96].copy_from_slice(&crc.to_le_bytes());
        bytes[96..].copy_from_slice(&END_MAGIC);
        bytes
    }

    /// Reads the last bytes of a file of `file_bytes` that begins with `header`.
    pub(crate) fn decode(
        bytes: &[u8; FOOTER_BYTES],
        header: &[u8; HEADER_BYTES],
        file_bytes: u64,
    ) -> Result<Self, FormatError> {
        ensure(bytes[96..] == END_MAGIC, "it does not end as a segment")?;
        ensure(
            u32_at(bytes, 92) == footer_crc(header, bytes),
            "the checksum of the footer does not hold",
        )?;
        let footer_offset = file_bytes.saturating_sub(FOOTER_BYTES as u64);
        let outline = Outline::decode(bytes, footer_offset);
        outline.check()?;
        let hash = bytes[60..92].try_into().expect("32 bytes");
        Ok(Self {
            outline,
            hash: SegmentHash(hash),
        })
    }

    /// The segment that ends so.
    pub(crate) const fn written(&self) -> Written {
        let Totals {
            series,
            readings,
            first,
            last,
            ..
        } = self.outline.totals;
        Written {
            hash: self.hash,
            bytes: self.outline.footer_offset + FOOTER_BYTES as u64,
            readings,
            series,
            first,
            last,
        }
    }
}

/// Covers the header too, so that the two ends of a file are known to be of one file.
fn footer_crc(header: &[u8; HEADER_BYTES], bytes: &[u8; FOOTER_BYTES]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), &bytes[..92])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    u64_at(bytes, at).cast_signed()
}
