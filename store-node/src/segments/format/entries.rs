//! The entries of a series' chunks: where each chunk is, its checksum, and its statistics.
//!
//! Of the last chunk length, count and end are not stored: they are what the others leave of the
//! series'. So a series of one chunk, the most frequent sort, has only a checksum and statistics here,
//! and entries cannot contradict their directory.

use column_codec::{ChunkView, Extent, READINGS_MAX, read_statistics};
use sensor_model::value::TEXT_BYTES_MAX;
use sensor_model::{Kind, Statistics, Timestamp, Value};

use super::cursor::{Cursor, put_varint};
use super::directory::SeriesInSegment;
use super::{FormatError, chunk_bytes_max, ensure};

/// Fewest bytes of an entry: a checksum and the statistics of flags.
pub(crate) const ENTRY_BYTES_MIN: u64 = 6;

/// Most bytes of an entry.
pub(crate) const fn entry_bytes_max(kind: Kind) -> u64 {
    // Numbers of 64, 27, 17 and 64 bits, a checksum; the statistics of integers, which are longest.
    const NUMBERS_BYTES_MAX: u64 = 10 + 4 + 3 + 10 + 4 + 4 * 10 + 19;
    match kind {
        Kind::F64 | Kind::I64 | Kind::Bool => NUMBERS_BYTES_MAX,
        Kind::Text => NUMBERS_BYTES_MAX + 2 * TEXT_BYTES_MAX as u64,
    }
}

/// Where a chunk of a segment is, and what is known of it without reading it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkEntry {
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) crc: u32,
    /// Statistics of its readings, whose first and last are its earliest and latest.
    pub statistics: Statistics,
}

impl ChunkEntry {
    /// Bytes of the chunk.
    pub const fn length(&self) -> u32 {
        self.length
    }

    /// The earliest time, in ns.
    pub const fn first(&self) -> i64 {
        self.statistics.first.timestamp.as_nanos()
    }

    /// The latest time, in ns.
    pub const fn last(&self) -> i64 {
        self.statistics.last.timestamp.as_nanos()
    }

    /// Bytes of memory that the entry takes, its texts included.
    pub(crate) fn memory_bytes(&self) -> usize {
        let text_bytes = |value: &Value| match value {
            Value::Text(text) => text.capacity(),
            Value::F64(_) | Value::I64(_) | Value::Bool(_) => 0,
        };
        let Statistics { first, last, .. } = &self.statistics;
        size_of::<Self>() + text_bytes(&first.value) + text_bytes(&last.value)
    }
}

/// A chunk whose entry is to be written.
#[derive(Debug)]
pub(crate) struct NewChunk {
    pub(crate) length: u32,
    pub(crate) crc: u32,
    pub(crate) count: usize,
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// As the codec writes them.
    statistics: Vec<u8>,
}

impl NewChunk {
    /// What an entry says of the chunk that `bytes` and `view` are.
    pub(crate) fn of(bytes: &[u8], view: &ChunkView<'_>) -> Self {
        let mut statistics = Vec::new();
        view.write_statistics(&mut statistics);
        Self {
            length: u32::try_from(bytes.len()).expect("a chunk of a segment is within 32 bits"),
            crc: crc32c::crc32c(bytes),
            count: view.count(),
            first: view.first_time().as_nanos(),
            last: view.last_time().as_nanos(),
            statistics,
        }
    }

    /// Appends the entry of a chunk that is not its series' last. `before` is where the chunk before it
    /// ends.
    pub(crate) fn put(&self, before: Option<i64>, out: &mut Vec<u8>) {
        self.put_gap(before, out);
        put_varint(u64::from(self.length), out);
        put_varint(self.count as u64, out);
        put_varint(self.first.abs_diff(self.last), out);
        self.put_rest(out);
    }

    /// Appends the entry of a series' last chunk.
    pub(crate) fn put_last(&self, before: Option<i64>, out: &mut Vec<u8>) {
        self.put_gap(before, out);
        self.put_rest(out);
    }

    fn put_gap(&self, before: Option<i64>, out: &mut Vec<u8>) {
        if let Some(before) = before {
            put_varint(before.abs_diff(self.first), out);
        }
    }

    fn put_rest(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&self.statistics);
    }
}

/// Reads the block of a series' entries, whose checksum holds.
pub(crate) fn read(block: &[u8], series: &SeriesInSegment) -> Result<Vec<ChunkEntry>, FormatError> {
    let mut reader = Reader {
        cursor: Cursor::new(block),
        series,
        offset: series.place.chunks_offset,
        bytes_left: series.place.chunks_bytes,
        readings_left: series.readings,
        before: None,
    };
    // At most `CHUNKS_MAX`, and no more than the block has room for: see `SeriesInSegment::check`.
    let mut entries = Vec::with_capacity(series.chunks as usize);
    for _ in 1..series.chunks {
        entries.push(reader.entry()?);
    }
    entries.push(reader.last_entry()?);
    reader.cursor.finish()?;
    Ok(entries)
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    series: &'a SeriesInSegment,
    /// Where the next chunk begins.
    offset: u64,
    /// Bytes of the chunks not yet read.
    bytes_left: u64,
    /// Readings in them.
    readings_left: u64,
    /// The latest time of the chunk before.
    before: Option<i64>,
}

impl Reader<'_> {
    /// An entry that another one follows.
    fn entry(&mut self) -> Result<ChunkEntry, FormatError> {
        let first = self.first()?;
        let length = self.cursor.varint()?;
        let count = self.cursor.varint()?;
        let last = first
            .checked_add_unsigned(self.cursor.varint()?)
            .ok_or(BEYOND_SERIES)?;
        self.rest(length, count, first, last)
    }

    fn last_entry(&mut self) -> Result<ChunkEntry, FormatError> {
        let first = self.first()?;
        let (length, count) = (self.bytes_left, self.readings_left);
        self.rest(length, count, first, self.series.last)
    }

    fn first(&mut self) -> Result<i64, FormatError> {
        let Some(before) = self.before else {
            return Ok(self.series.first);
        };
        let gap = self.cursor.varint()?;
        ensure(gap > 0, "two chunks of a series overlap")?;
        before.checked_add_unsigned(gap).ok_or(BEYOND_SERIES)
    }

    fn rest(
        &mut self,
        length: u64,
        count: u64,
        first: i64,
        last: i64,
    ) -> Result<ChunkEntry, FormatError> {
        ensure(
            (1..=READINGS_MAX as u64).contains(&count) && count <= self.readings_left,
            "a chunk has no readings, or too many",
        )?;
        let bytes_max = self
            .bytes_left
            .min(chunk_bytes_max(self.series.kind, count));
        ensure(
            (1..=bytes_max).contains(&length),
            "a chunk has no bytes, or too many",
        )?;
        ensure(
            first <= last && last <= self.series.last,
            "a chunk lies outside its series' time",
        )?;
        let crc = self.cursor.word()?;
        let extent = Extent {
            kind: self.series.kind,
            count: usize::try_from(count).expect("within `READINGS_MAX`"),
            first_time: Timestamp::from_nanos(first),
            last_time: Timestamp::from_nanos(last),
        };
        let (statistics, bytes) = read_statistics(self.cursor.rest(), extent)?;
        self.cursor.skip(bytes)?;
        let entry = ChunkEntry {
            offset: self.offset,
            length: u32::try_from(length).expect("a chunk of so few readings is within 32 bits"),
            crc,
            statistics,
        };
        self.offset += length;
        self.bytes_left -= length;
        self.readings_left -= count;
        self.before = Some(last);
        Ok(entry)
    }
}

const BEYOND_SERIES: FormatError = FormatError::malformed("a chunk lies outside its series' time");
