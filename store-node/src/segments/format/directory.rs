//! The directory: which series a segment has, and where.
//!
//! Chunks stand in the order of the directory, back to back, and so do the blocks of their entries: a
//! record holds lengths, and what lies where follows from the records before it.

use column_codec::READINGS_MAX;
use sensor_model::{Kind, SeriesId};

use super::cursor::{Cursor, put_varint};
use super::{
    CHUNKS_MAX, FormatError, HEADER_BYTES, Outline, Totals, chunk_bytes_max, ensure, entries,
};
use crate::segments::manifest::Window;

/// Fewest bytes of a record: seven numbers, the kind, a checksum.
pub(crate) const RECORD_BYTES_MIN: u64 = 12;
/// Most bytes of a record: three numbers of 64 bits, one each of 17, 33, 44 and 28, the kind, a checksum.
pub(crate) const RECORD_BYTES_MAX: u64 = 54;

/// What a segment has of one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesInSegment {
    /// The series.
    pub id: SeriesId,
    /// The kind of its values.
    pub kind: Kind,
    /// How many chunks.
    pub chunks: u32,
    /// How many readings.
    pub readings: u64,
    /// The earliest time, in ns.
    pub first: i64,
    /// The latest time, in ns.
    pub last: i64,
    pub(crate) place: Place,
}

/// Where the chunks of a series are, and their entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) chunks_offset: u64,
    pub(crate) chunks_bytes: u64,
    /// How far behind the beginning of all entries.
    pub(crate) entries_at: u64,
    pub(crate) entries_bytes: u32,
    pub(crate) entries_crc: u32,
}

/// Appends the record of a series; `before` is the one whose record stands before it.
pub(crate) fn put(
    series: &SeriesInSegment,
    before: Option<SeriesId>,
    window: Window,
    out: &mut Vec<u8>,
) {
    let least = before.map_or(0, |before| before.0 + 1);
    put_varint(series.id.0 - least, out);
    out.push(kind_byte(series.kind));
    put_varint(u64::from(series.chunks), out);
    put_varint(series.readings, out);
    put_varint(window.start.abs_diff(series.first), out);
    put_varint(series.first.abs_diff(series.last), out);
    put_varint(series.place.chunks_bytes, out);
    put_varint(u64::from(series.place.entries_bytes), out);
    out.extend_from_slice(&series.place.entries_crc.to_le_bytes());
}

/// Reads the directory of a segment of `window`, whose checksum holds, and compares it with the footer.
pub(crate) fn read(
    bytes: &[u8],
    outline: &Outline,
    window: Window,
) -> Result<Vec<SeriesInSegment>, FormatError> {
    let mut reader = Reader {
        cursor: Cursor::new(bytes),
        window,
        before: None,
        chunks_offset: HEADER_BYTES as u64,
        entries_at: 0,
    };
    // No more than the directory has room for: see `Outline::check`.
    let series = usize::try_from(outline.totals.series).unwrap_or(usize::MAX);
    let mut directory = Vec::with_capacity(series.min(bytes.len()));
    for _ in 0..series {
        directory.push(reader.record()?);
    }
    reader.cursor.finish()?;
    ensure(
        reader.chunks_offset == outline.entries_offset
            && reader.entries_at == outline.directory_offset - outline.entries_offset,
        "the directory's lengths do not add up to the file",
    )?;
    ensure(
        totals(&directory) == Some(outline.totals),
        "the directory's totals are not those of the footer",
    )?;
    Ok(directory)
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    window: Window,
    before: Option<SeriesId>,
    /// Where the next series' chunks begin.
    chunks_offset: u64,
    /// How far behind the beginning of all entries the next series' begin.
    entries_at: u64,
}

impl Reader<'_> {
    fn record(&mut self) -> Result<SeriesInSegment, FormatError> {
        let id = self.id()?;
        let kind = kind_of(self.cursor.byte()?)?;
        let chunks = self.cursor.varint32()?;
        let readings = self.cursor.varint()?;
        let (first, last) = self.times()?;
        let series = SeriesInSegment {
            id,
            kind,
            chunks,
            readings,
            first,
            last,
            place: Place {
                chunks_offset: self.chunks_offset,
                chunks_bytes: self.cursor.varint()?,
                entries_at: self.entries_at,
                entries_bytes: self.cursor.varint32()?,
                entries_crc: self.cursor.word()?,
            },
        };
        series.check()?;
        // What is left of the file is compared in the end: here it is enough that nothing wraps.
        self.chunks_offset = add(self.chunks_offset, series.place.chunks_bytes)?;
        self.entries_at = add(self.entries_at, u64::from(series.place.entries_bytes))?;
        self.before = Some(id);
        Ok(series)
    }

    fn id(&mut self) -> Result<SeriesId, FormatError> {
        let beyond = FormatError::malformed("the ids of series go beyond 64 bits");
        let least = match self.before {
            None => Some(0),
            Some(before) => before.0.checked_add(1),
        };
        let distance = self.cursor.varint()?;
        let id = least.and_then(|least| least.checked_add(distance));
        id.map(SeriesId).ok_or(beyond)
    }

    fn times(&mut self) -> Result<(i64, i64), FormatError> {
        let after_start = self.cursor.varint()?;
        let span = self.cursor.varint()?;
        let first = self.window.start.checked_add_unsigned(after_start);
        let times = first.and_then(|first| Some((first, first.checked_add_unsigned(span)?)));
        times
            .filter(|(_, last)| *last <= self.window.last())
            .ok_or(FormatError::malformed(
                "the readings of a series lie outside the window",
            ))
    }
}

impl SeriesInSegment {
    /// Whether its numbers can be true together, and are within their limits.
    fn check(&self) -> Result<(), FormatError> {
        let chunks = u64::from(self.chunks);
        ensure(
            (1..=CHUNKS_MAX).contains(&self.chunks),
            "a series has no chunks, or more than are allowed",
        )?;
        ensure(
            (chunks..=chunks * READINGS_MAX as u64).contains(&self.readings),
            "a series has too few or too many readings for its chunks",
        )?;
        // Each chunk has its own allowance for a header.
        let bytes_max = chunk_bytes_max(self.kind, self.readings)
            .saturating_add(chunk_bytes_max(self.kind, 0).saturating_mul(chunks - 1));
        ensure(
            (chunks..=bytes_max).contains(&self.place.chunks_bytes),
            "the chunks of a series are too short or too long for its readings",
        )?;
        let entry_bytes = entries::ENTRY_BYTES_MIN..=entries::entry_bytes_max(self.kind);
        let sizes = entry_bytes.start() * chunks..=entry_bytes.end() * chunks;
        ensure(
            sizes.contains(&u64::from(self.place.entries_bytes)),
            "the entries of a series are too short or too long for its chunks",
        )
    }
}

/// `None` for no series, or sums beyond 64 bits.
fn totals(directory: &[SeriesInSegment]) -> Option<Totals> {
    let mut readings = 0_u64;
    for series in directory {
        readings = readings.checked_add(series.readings)?;
    }
    Some(Totals {
        series: directory.len() as u64,
        chunks: directory
            .iter()
            .map(|series| u64::from(series.chunks))
            .sum(),
        readings,
        first: directory.iter().map(|series| series.first).min()?,
        last: directory.iter().map(|series| series.last).max()?,
    })
}

fn add(offset: u64, bytes: u64) -> Result<u64, FormatError> {
    offset
        .checked_add(bytes)
        .ok_or(FormatError::malformed("an offset goes beyond 64 bits"))
}

const fn kind_byte(kind: Kind) -> u8 {
    match kind {
        Kind::F64 => 0,
        Kind::I64 => 1,
        Kind::Bool => 2,
        Kind::Text => 3,
    }
}

const fn kind_of(byte: u8) -> Result<Kind, FormatError> {
    Ok(match byte {
        0 => Kind::F64,
        1 => Kind::I64,
        2 => Kind::Bool,
        3 => Kind::Text,
        _ => return Err(FormatError::malformed("the kind of a series is unknown")),
    })
}
