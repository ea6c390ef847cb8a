//! Reading records back by location, from any thread, while the log goes on.

use std::{io, sync::Arc};

use bytes::Bytes;

use crate::{
    error::ReadError,
    format::{Kind, RECORD_HEADER_LEN, RecordHeader},
    options::Location,
    shared::{Readable, Shared},
};

/// Reads the records of one log. Cheap to clone; outlives the log.
#[derive(Clone, Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
}

impl LogReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The payload of the record at `location`, with one read of the disk; slices of the result
    /// share its memory. Never returns bytes that fail their checksum.
    ///
    /// A record is readable once a flush or sync has written it. After a truncation another
    /// record may come to stand at the same place: a caller that truncates forgets the locations.
    pub fn read(&self, location: Location) -> Result<Bytes, ReadError> {
        let segment = self.segment_of(location)?;
        let mut record = vec![0; RECORD_HEADER_LEN + location.len as usize];
        self.fill(location, &segment, &mut record, 0)?;
        let (header, payload) = record.split_at(RECORD_HEADER_LEN);
        let header = header.try_into().expect("split at the length of a header");
        let whole = RecordHeader::decode(header, segment.seed, location.offset).is_some_and(|h| {
            h.kind == Kind::Payload
                && h.len == location.len
                && h.payload_crc == crc32c::crc32c(payload)
        });
        if !whole {
            return Err(self.mismatch(location, segment.made));
        }
        Ok(Bytes::from(record).slice(RECORD_HEADER_LEN..))
    }

    /// `len` bytes of the payload at `location`, from its byte `offset` on, and nothing else read from
    /// the disk. They are **not verified**: the record's checksum covers all of it or nothing. For
    /// callers that hold a checksum of the part.
    ///
    /// Otherwise as [`read`](Self::read); [`ReadError::Outside`] if the payload has no such bytes.
    pub fn read_part(&self, location: Location, offset: u32, len: u32) -> Result<Bytes, ReadError> {
        if u64::from(offset) + u64::from(len) > u64::from(location.len) {
            return Err(ReadError::Outside {
                location,
                offset,
                len,
            });
        }
        let segment = self.segment_of(location)?;
        let mut part = vec![0; len as usize];
        let skipped = RECORD_HEADER_LEN as u64 + u64::from(offset);
        self.fill(location, &segment, &mut part, skipped)?;
        if !self.is_current(location, segment.made) {
            return Err(ReadError::Gone { location });
        }
        Ok(part.into())
    }

    /// Bytes of all segments, without room that is allocated and not yet used.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes()
    }

    /// The segment, of which the record at `location` has been written.
    fn segment_of(&self, location: Location) -> Result<Readable, ReadError> {
        let found = self.shared.readable(location.segment);
        let Some(segment) = found.map_err(|source| self.disk_error(location, source))? else {
            return Err(ReadError::Gone { location });
        };
        if location.end() > segment.end {
            let (_, last) = self.shared.bounds().unwrap_or_default();
            return Err(if location.segment == last {
                ReadError::NotWritten { location }
            } else {
                ReadError::Gone { location }
            });
        }
        Ok(segment)
    }

    /// Fills `buf` from the byte `skipped` of the record, header included.
    fn fill(
        &self,
        location: Location,
        segment: &Readable,
        buf: &mut [u8],
        skipped: u64,
    ) -> Result<(), ReadError> {
        let read = segment
            .file
            .read_exact_at(buf, u64::from(location.offset) + skipped);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.mismatch(location, segment.made),
            _ => self.disk_error(location, error),
        })
    }

    fn disk_error(&self, location: Location, source: io::Error) -> ReadError {
        ReadError::Disk {
            file: self.shared.path(location.segment),
            source,
        }
    }

    /// The record was not there: because it was taken away meanwhile, or because of damage.
    fn mismatch(&self, location: Location, made: u64) -> ReadError {
        if self.is_current(location, made) {
            ReadError::Corrupt {
                file: self.shared.path(location.segment),
                location,
            }
        } else {
            ReadError::Gone { location }
        }
    }

    /// Whether nothing was taken back of the segment since `made` was read.
    fn is_current(&self, location: Location, made: u64) -> bool {
        let found = self.shared.readable(location.segment);
        matches!(found, Ok(Some(segment)) if segment.made == made)
    }
}
