//! One pass over one segment: every whole record in order, and what its end says.
//!
//! This is where a torn tail is told from damage. A record's header says how far the segment was
//! durable when the record was written (`synced`), so a whole record *after* a bad one is a
//! witness:
//!
//! - `synced` beyond the bad record: the bad one had been durable before. It is damage.
//! - `synced` at or before it: both were still on their way to the disk when the writing stopped,
//!   and a disk may keep the later one alone. Both were never acknowledged. It is a torn tail.
//!
//! No checksum of an older life of the file, of another segment, or of a copy of a segment inside
//! a payload can bear witness: the header's checksum covers the segment's number, its salt and the
//! record's offset. The full case analysis is in `docs/formats.md`.
//!
//! Reading only: what to do about the end is decided in `recovery.rs`.

use std::{io, ops::ControlFlow};

use crate::{
    disk::DiskFile,
    format::{
        ALIGNMENT, Kind, RECORD_HEADER_LEN, RecordHeader, RecordSeed, SEGMENT_HEADER_BYTES,
        record_bytes,
    },
};

/// Bytes read from the disk at once.
const BLOCK_BYTES: usize = 1 << 20;
const HEADER_LEN: u64 = RECORD_HEADER_LEN as u64;
/// Records start at multiples of this many bytes.
const WORD_LEN: usize = 8;
const _: () = assert!(WORD_LEN as u64 == ALIGNMENT);
/// Room that was never written is stepped over by so many zeros at a time.
static ZEROS: [u8; 4096] = [0; 4096];
const _: () = assert!(ZEROS.len().is_multiple_of(WORD_LEN));

/// How a segment ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// With a seal; nothing may follow.
    Sealed,
    /// With nothing but zeros.
    Clean,
    /// With `bytes` bytes, up to the last that is not zero, that are no record and that no whole
    /// record proves to have been durable.
    Torn { bytes: u64 },
    /// With a bad record that was durable, as the record at `witness` proves.
    Damaged { witness: u64 },
}

/// What a pass over a segment found.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// Where the next record goes, or where the first bad byte is.
    pub(crate) end: u64,
    pub(crate) tail: Tail,
    /// Whether the last record is a mark.
    pub(crate) marked: bool,
}

/// Reads the segment behind `window` from its first record on and calls `visit` with the offset
/// and payload of each; `Break` ends the pass early, with what is given.
pub(crate) fn scan<B>(
    window: &mut Window<'_>,
    seed: RecordSeed,
    visit: &mut dyn FnMut(u32, &[u8]) -> ControlFlow<B>,
) -> io::Result<ControlFlow<B, Scanned>> {
    let mut at = u64::from(SEGMENT_HEADER_BYTES);
    let mut marked = false;
    while let Some(header) = whole_record(window, seed, at)? {
        let next = at + record_bytes(header.len);
        match header.kind {
            Kind::Payload => {
                let payload = window.bytes(at + HEADER_LEN, header.len as usize)?;
                if let ControlFlow::Break(broken) = visit(offset_u32(at), payload) {
                    return Ok(ControlFlow::Break(broken));
                }
            }
            Kind::Mark => {}
            Kind::Seal => {
                let scanned = Scanned {
                    end: next,
                    tail: Tail::Sealed,
                    marked: false,
                };
                return Ok(ControlFlow::Continue(scanned));
            }
        }
        marked = header.kind == Kind::Mark;
        at = next;
    }
    let tail = examine_tail(window, seed, at)?;
    Ok(ControlFlow::Continue(Scanned {
        end: at,
        tail,
        marked,
    }))
}

/// The header of the record at `at`, if header and payload are both as they were written.
fn whole_record(
    window: &mut Window<'_>,
    seed: RecordSeed,
    at: u64,
) -> io::Result<Option<RecordHeader>> {
    if at + HEADER_LEN > window.file_len {
        return Ok(None);
    }
    let bytes = window.bytes(at, RECORD_HEADER_LEN)?;
    let bytes = bytes.try_into().expect("as many bytes as asked for");
    let Some(header) = RecordHeader::decode(bytes, seed, offset_u32(at)) else {
        return Ok(None);
    };
    // The header's checksum holds, so its length is what was written; the window grows to it.
    if at + HEADER_LEN + u64::from(header.len) > window.file_len {
        return Ok(None);
    }
    let payload = window.bytes(at + HEADER_LEN, header.len as usize)?;
    Ok((crc32c::crc32c(payload) == header.payload_crc).then_some(header))
}

/// Looks at everything from `bad`, where no whole record is, to the end of the file.
fn examine_tail(window: &mut Window<'_>, seed: RecordSeed, bad: u64) -> io::Result<Tail> {
    let mut torn_end = bad;
    let mut at = bad;
    while at < window.file_len {
        if window.has_zeros(at)? {
            at += ZEROS.len() as u64;
            continue;
        }
        let word = window.word(at)?;
        if word != [0; WORD_LEN] {
            let used = word
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last as u64 + 1);
            torn_end = at + used;
            if at > bad
                && let Some(header) = whole_record(window, seed, at)?
                && u64::from(header.synced) > bad
            {
                return Ok(Tail::Damaged { witness: at });
            }
        }
        at += ALIGNMENT;
    }
    Ok(if torn_end == bad {
        Tail::Clean
    } else {
        Tail::Torn {
            bytes: torn_end - bad,
        }
    })
}

fn offset_u32(at: u64) -> u32 {
    u32::try_from(at).expect("a window refuses files whose offsets need more than 32 bits")
}

/// A part of a file in memory, moved forward in large reads.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    file_len: u64,
    buffer: &'a mut Vec<u8>,
    /// Where in the file `buffer` starts.
    start: u64,
}

impl<'a> Window<'a> {
    /// A window at the start of `file`, using `buffer`, which may have served another file.
    pub(crate) fn new(file: &'a dyn DiskFile, buffer: &'a mut Vec<u8>) -> io::Result<Self> {
        let file_len = file.len()?;
        if file_len > u64::from(u32::MAX) {
            let reason = "the file is larger than any segment";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        buffer.clear();
        Ok(Self {
            file,
            file_len,
            buffer,
            start: 0,
        })
    }

    pub(crate) fn file_len(&self) -> u64 {
        self.file_len
    }

    /// The `len` bytes at `at`, which the file must have.
    pub(crate) fn bytes(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        if at < self.start || at + len as u64 > self.start + self.buffer.len() as u64 {
            self.refill(at, len)?;
        }
        let from = usize::try_from(at - self.start).map_err(io::Error::other)?;
        self.buffer
            .get(from..from + len)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Whether as many zeros as in [`ZEROS`] begin at `at`.
    fn has_zeros(&mut self, at: u64) -> io::Result<bool> {
        let is_inside = at + ZEROS.len() as u64 <= self.file_len;
        Ok(is_inside && self.bytes(at, ZEROS.len())? == ZEROS)
    }

    /// The eight bytes at `at`, with zeros where the file has ended.
    fn word(&mut self, at: u64) -> io::Result<[u8; WORD_LEN]> {
        let mut word = [0; WORD_LEN];
        let len = word
            .len()
            .min(usize::try_from(self.file_len - at).unwrap_or(usize::MAX));
        word[..len].copy_from_slice(self.bytes(at, len)?);
        Ok(word)
    }

    /// Moves the window to start at `at` and to hold `len` bytes or a block, whichever is more,
    /// keeping what it already has.
    fn refill(&mut self, at: u64, len: usize) -> io::Result<()> {
        let kept = match at.checked_sub(self.start).map(usize::try_from) {
            Some(Ok(from)) if from < self.buffer.len() => {
                self.buffer.drain(..from);
                self.buffer.len()
            }
            _ => 0,
        };
        let rest = usize::try_from(self.file_len.saturating_sub(at)).unwrap_or(usize::MAX);
        self.buffer
            .resize(len.max(BLOCK_BYTES).min(rest).max(kept), 0);
        self.start = at;
        self.file
            .read_exact_at(&mut self.buffer[kept..], at + kept as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        disk::{Disk, OpenMode},
        fake::FakeDisk,
        format::SegmentId,
    };

    const SEED: SegmentId = SegmentId { number: 1, salt: 0 };

    /// A segment image that is written record by record, with freely chosen `synced`.
    struct Image(Vec<u8>);

    impl Image {
        fn new() -> Self {
            Self(SEED.encode().to_vec())
        }

        fn end(&self) -> u32 {
            u32::try_from(self.0.len()).unwrap()
        }

        fn record(mut self, payload: &[u8], synced: u32) -> Self {
            let len = u32::try_from(payload.len()).unwrap();
            let payload_crc = crc32c::crc32c(payload);
            let header = RecordHeader {
                kind: Kind::Payload,
                len,
                payload_crc,
                synced,
            };
            self.0.extend(header.encode(SEED.seed(), self.end()));
            self.0.extend(payload);
            self.0.resize(self.0.len().next_multiple_of(8), 0);
            self
        }

        fn flipped(mut self, at: u32) -> Self {
            self.0[at as usize] ^= 1;
            self
        }

        fn scan(&self) -> (Vec<Vec<u8>>, Scanned) {
            let disk = FakeDisk::new();
            let file = disk.open(Path::new("s"), OpenMode::Create).unwrap();
            file.write_all_at(&self.0, 0).unwrap();
            let mut buffer = Vec::new();
            let mut window = Window::new(&*file, &mut buffer).unwrap();
            let mut payloads = Vec::new();
            let scanned = scan::<()>(&mut window, SEED.seed(), &mut |_, payload| {
                payloads.push(payload.to_vec());
                ControlFlow::Continue(())
            });
            let ControlFlow::Continue(scanned) = scanned.unwrap() else {
                unreachable!()
            };
            (payloads, scanned)
        }
    }

    #[test]
    fn bad_record_before_one_of_its_own_group_is_a_torn_tail() {
        let image = Image::new()
            .record(b"first", 32)
            .record(b"second", 32)
            .flipped(48);
        let (payloads, scanned) = image.scan();
        assert!(payloads.is_empty());
        assert_eq!(scanned.end, 32);
        assert!(matches!(scanned.tail, Tail::Torn { .. }));
    }

    #[test]
    fn witness_is_found_behind_pages_of_zeros() {
        let zeros = vec![0; 3 * ZEROS.len()];
        let mut image = Image::new().record(b"bad", 32).record(&zeros, 32);
        let witness = u64::from(image.end());
        image = image.record(b"later", 56).flipped(48);
        assert_eq!(image.scan().1.tail, Tail::Damaged { witness });
    }

    #[test]
    fn bad_record_before_one_of_a_later_group_is_damage() {
        let image = Image::new()
            .record(b"first", 32)
            .record(b"second", 56)
            .flipped(48);
        let (_, scanned) = image.scan();
        assert_eq!(
            (scanned.end, scanned.tail),
            (32, Tail::Damaged { witness: 56 })
        );
    }

    #[test]
    fn witness_is_found_beyond_records_of_the_bad_records_own_group() {
        let mut image = Image::new().record(b"bad", 32).record(b"same group", 32);
        let synced = image.end();
        image = image.record(b"later group", synced).flipped(48);
        assert_eq!(
            image.scan().1.tail,
            Tail::Damaged {
                witness: u64::from(synced)
            }
        );
    }

    #[test]
    fn copy_of_a_segment_inside_a_torn_payload_is_no_witness() {
        let copy = Image::new()
            .record(b"a", 32)
            .record(b"b", 56)
            .record(b"c", 80)
            .0;
        let image = Image::new().record(&copy, 32).flipped(50);
        assert!(matches!(image.scan().1.tail, Tail::Torn { .. }));
    }

    #[test]
    fn records_that_straddle_a_block_are_read_whole() {
        let mut image = Image::new();
        let mut expected = Vec::new();
        for size in [
            BLOCK_BYTES - 50,
            3,
            0,
            BLOCK_BYTES + 9,
            5,
            3 * BLOCK_BYTES,
            1,
        ] {
            let payload = vec![u8::try_from(size % 251).unwrap(); size];
            image = image.record(&payload, 32);
            expected.push(payload);
        }
        let (payloads, scanned) = image.scan();
        assert!(payloads == expected);
        assert_eq!(
            (scanned.end, scanned.tail),
            (u64::from(image.end()), Tail::Clean)
        );
    }
}
