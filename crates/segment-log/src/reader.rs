//! Reading records back by location, from any thread, while the log goes on.

use std::{io, sync::Arc};

use bytes::Bytes;

use crate::{
    error::ReadError,
    format::{Kind, RECORD_HEADER_LEN, RecordHeader},
    options::Location,
    shared::Shared,
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
        let disk_error = |source| ReadError::Disk {
            file: self.shared.path(location.segment),
            source,
        };
        let Some(segment) = self.shared.readable(location.segment).map_err(disk_error)? else {
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
        let mut record = vec![0; RECORD_HEADER_LEN + location.len as usize];
        match segment
            .file
            .read_exact_at(&mut record, u64::from(location.offset))
        {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.mismatch(location, segment.made));
            }
            Err(error) => return Err(disk_error(error)),
        }
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

    /// The record was not there: because it was taken away meanwhile, or because of damage.
    fn mismatch(&self, location: Location, made: u64) -> ReadError {
        let still_there = matches!(
            self.shared.readable(location.segment),
            Ok(Some(segment)) if segment.made == made
        );
        if still_there {
            ReadError::Corrupt {
                file: self.shared.path(location.segment),
                location,
            }
        } else {
            ReadError::Gone { location }
        }
    }
}
