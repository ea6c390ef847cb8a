//! The bytes of a segment: its name, its header and the headers of its records.
//!
//! Pure functions without I/O. The format is described byte by byte in `docs/formats.md`, and
//! pinned by the tests at the end of this file.

/// The version this crate writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes before the first record of a segment.
pub const SEGMENT_HEADER_BYTES: u32 = 32;
/// Bytes before each payload.
pub const RECORD_HEADER_BYTES: u32 = 16;

/// The longest payload that the 28 bits of a record's length can say.
pub(crate) const PAYLOAD_BYTES_MAX: u32 = (1 << 28) - 1;
/// Keeps every offset within 32 bits, even in a segment whose last record crosses the bound.
pub(crate) const SEGMENT_BYTES_LIMIT: u64 = 2 << 30;
/// Records start at multiples of this.
pub(crate) const ALIGNMENT: u64 = 8;
/// Bytes a record needs beside its payload and padding.
pub(crate) const RECORD_HEADER_LEN: usize = RECORD_HEADER_BYTES as usize;
/// Bytes of the segment header.
pub(crate) const SEGMENT_HEADER_LEN: usize = SEGMENT_HEADER_BYTES as usize;
/// Bytes that a seal takes at the end of a segment.
pub(crate) const SEAL_BYTES: u64 = RECORD_HEADER_BYTES as u64;

const MAGIC: [u8; 8] = *b"TIDESEGM";
const KIND_SHIFT: u32 = 28;

/// The bytes a record of `len` payload bytes takes on disk: header, payload, padding.
pub(crate) fn record_bytes(len: u32) -> u64 {
    u64::from(RECORD_HEADER_BYTES) + u64::from(len).next_multiple_of(ALIGNMENT)
}

/// The file name of segment `number`.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:016}.log")
}

/// The name a segment has until it is complete enough to be part of the log.
pub(crate) fn unfinished_name(number: u64) -> String {
    format!("{number:016}.log.tmp")
}

/// What a file in the log's folder is, going by its name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileRole {
    Segment(u64),
    Unfinished,
    Foreign,
}

/// Tells segments from leftovers of an interrupted rotation and from files that are none of ours.
pub(crate) fn role_of(name: &str) -> FileRole {
    let (stem, unfinished) = match name.strip_suffix(".tmp") {
        Some(stem) => (stem, true),
        None => (name, false),
    };
    match stem
        .strip_suffix(".log")
        .and_then(|digits| digits.parse::<u64>().ok())
    {
        Some(number) if segment_name(number) == stem => {
            if unfinished {
                FileRole::Unfinished
            } else {
                FileRole::Segment(number)
            }
        }
        _ => FileRole::Foreign,
    }
}

/// Who a segment is: every checksum in it depends on both, so that bytes of another segment, or
/// of another log, never pass for its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentId {
    pub(crate) number: u64,
    pub(crate) salt: u64,
}

/// Why the first 32 bytes of a file are not the header of a segment we can read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadSegmentHeader {
    NotASegment,
    Checksum,
    NewerVersion(u32),
    OtherNumber(u64),
}

impl SegmentId {
    /// The 32 bytes at the start of the segment.
    pub(crate) fn encode(self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        let crc = segment_header_crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a segment header and checks that it belongs to the file called `number`.
    pub(crate) fn decode(
        bytes: &[u8; SEGMENT_HEADER_LEN],
        number: u64,
    ) -> Result<Self, BadSegmentHeader> {
        if bytes[..8] != MAGIC {
            return Err(BadSegmentHeader::NotASegment);
        }
        if read_u32(bytes, 12) != segment_header_crc(bytes) {
            return Err(BadSegmentHeader::Checksum);
        }
        let version = read_u32(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(BadSegmentHeader::NewerVersion(version));
        }
        let id = Self {
            number: read_u64(bytes, 16),
            salt: read_u64(bytes, 24),
        };
        if id.number != number {
            return Err(BadSegmentHeader::OtherNumber(id.number));
        }
        Ok(id)
    }

    /// The state from which the checksums of this segment's record headers continue.
    pub(crate) fn seed(self) -> RecordSeed {
        let crc = crc32c::crc32c(&self.number.to_le_bytes());
        RecordSeed(crc32c::crc32c_append(crc, &self.salt.to_le_bytes()))
    }
}

fn segment_header_crc(bytes: &[u8; SEGMENT_HEADER_LEN]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A caller's record.
    Payload = 1,
    /// No payload: says that everything before it was synced when it was written.
    Mark = 2,
    /// No payload: the segment ends here.
    Seal = 3,
}

/// The 16 bytes before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: Kind,
    pub(crate) len: u32,
    pub(crate) payload_crc: u32,
    /// The offset below which the segment was known to be durable when this record was written.
    pub(crate) synced: u32,
}

/// Checksum state of one segment, see [`SegmentId::seed`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordSeed(u32);

impl RecordHeader {
    /// A header without payload, for a mark or a seal.
    pub(crate) fn bare(kind: Kind, synced: u32) -> Self {
        Self {
            kind,
            len: 0,
            payload_crc: 0,
            synced,
        }
    }

    /// The bytes of this header when the record starts at `offset`.
    pub(crate) fn encode(&self, seed: RecordSeed, offset: u32) -> [u8; RECORD_HEADER_LEN] {
        debug_assert!(self.len <= PAYLOAD_BYTES_MAX && self.synced <= offset);
        let mut bytes = [0; RECORD_HEADER_LEN];
        let kind_and_len = ((self.kind as u32) << KIND_SHIFT) | self.len;
        bytes[4..8].copy_from_slice(&kind_and_len.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.synced.to_le_bytes());
        let crc = record_header_crc(seed, offset, &bytes);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of the record at `offset`; none if these bytes are not one that was
    /// written exactly there.
    pub(crate) fn decode(
        bytes: &[u8; RECORD_HEADER_LEN],
        seed: RecordSeed,
        offset: u32,
    ) -> Option<Self> {
        let kind_and_len = read_u32(bytes, 4);
        let kind = match kind_and_len >> KIND_SHIFT {
            1 => Kind::Payload,
            2 => Kind::Mark,
            3 => Kind::Seal,
            _ => return None,
        };
        let header = Self {
            kind,
            len: kind_and_len & PAYLOAD_BYTES_MAX,
            payload_crc: read_u32(bytes, 8),
            synced: read_u32(bytes, 12),
        };
        let plausible = header.synced >= SEGMENT_HEADER_BYTES
            && header.synced <= offset
            && (kind == Kind::Payload || (header.len == 0 && header.payload_crc == 0));
        (plausible && read_u32(bytes, 0) == record_header_crc(seed, offset, bytes))
            .then_some(header)
    }
}

fn record_header_crc(seed: RecordSeed, offset: u32, bytes: &[u8; RECORD_HEADER_LEN]) -> u32 {
    crc32c::crc32c_append(
        crc32c::crc32c_append(seed.0, &offset.to_le_bytes()),
        &bytes[4..],
    )
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SegmentId = SegmentId {
        number: 7,
        salt: 0x0102_0304_0506_0708,
    };

    #[test]
    fn segment_header_bytes_are_frozen() {
        let bytes = ID.encode();
        assert_eq!(&bytes[..12], b"TIDESEGM\x01\0\0\0");
        assert_eq!(
            &bytes[16..],
            b"\x07\0\0\0\0\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01"
        );
        assert_eq!(SegmentId::decode(&bytes, 7), Ok(ID));
        assert_eq!(
            SegmentId::decode(&bytes, 8),
            Err(BadSegmentHeader::OtherNumber(7))
        );
    }

    #[test]
    fn newer_version_is_told_from_damage() {
        let mut bytes = ID.encode();
        bytes[8] = 2;
        assert_eq!(
            SegmentId::decode(&bytes, 7),
            Err(BadSegmentHeader::Checksum)
        );
        let crc = segment_header_crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(
            SegmentId::decode(&bytes, 7),
            Err(BadSegmentHeader::NewerVersion(2))
        );
    }

    #[test]
    fn record_header_is_valid_only_where_it_was_written() {
        let header = RecordHeader {
            kind: Kind::Payload,
            len: 5,
            payload_crc: 9,
            synced: 32,
        };
        let bytes = header.encode(ID.seed(), 64);
        assert_eq!(&bytes[4..], b"\x05\0\0\x10\x09\0\0\0\x20\0\0\0");
        assert_eq!(RecordHeader::decode(&bytes, ID.seed(), 64), Some(header));
        assert_eq!(RecordHeader::decode(&bytes, ID.seed(), 72), None);
        for other in [SegmentId { number: 8, ..ID }, SegmentId { salt: 0, ..ID }] {
            assert_eq!(RecordHeader::decode(&bytes, other.seed(), 64), None);
        }
    }

    #[test]
    fn zeros_are_never_a_record() {
        for number in 0..1000 {
            let seed = SegmentId { number, salt: 0 }.seed();
            assert_eq!(
                RecordHeader::decode(&[0; RECORD_HEADER_LEN], seed, 32),
                None
            );
        }
    }

    #[test]
    fn only_exact_names_are_segments() {
        assert_eq!(role_of("0000000000000012.log"), FileRole::Segment(12));
        assert_eq!(role_of("0000000000000012.log.tmp"), FileRole::Unfinished);
        assert_eq!(
            role_of("18446744073709551615.log"),
            FileRole::Segment(u64::MAX)
        );
        for foreign in [
            "12.log",
            "+000000000000012.log",
            "LOCK",
            "0000000000000012.log.bak",
            "",
        ] {
            assert_eq!(role_of(foreign), FileRole::Foreign, "{foreign}");
        }
    }
}
