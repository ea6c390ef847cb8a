//! What was appended and not yet written: one run of bytes, made of many slices.
//!
//! Headers, padding and small slices are copied side by side into one buffer; large shared slices
//! are kept by reference. Either way they go to the disk with vectored writes.

use std::{io, io::IoSlice, ops::Range};

use bytes::Bytes;

use crate::disk::DiskFile;

/// A shared slice shorter than this is cheaper to copy than to write on its own.
const SHARED_BYTES_MIN: usize = 4 << 10;

/// Bytes waiting to be written, in order.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    copied: Vec<u8>,
    pieces: Vec<Piece>,
    bytes: usize,
}

#[derive(Debug)]
enum Piece {
    /// A range of `copied`.
    Copied(Range<usize>),
    Shared(Bytes),
}

/// A moment to which [`Pending::rewind`] can go back, as long as nothing was written in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingMark {
    copied: usize,
    pieces: usize,
    bytes: usize,
}

impl Pending {
    /// Bytes waiting.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a copy of `slice`.
    pub(crate) fn push(&mut self, slice: &[u8]) {
        if slice.is_empty() {
            return;
        }
        let start = self.copied.len();
        self.copied.extend_from_slice(slice);
        let end = self.copied.len();
        match self.pieces.last_mut() {
            Some(Piece::Copied(range)) => range.end = end,
            _ => self.pieces.push(Piece::Copied(start..end)),
        }
        self.bytes += slice.len();
    }

    /// Adds `slice`, without a copy if it is large.
    pub(crate) fn push_shared(&mut self, slice: &Bytes) {
        if slice.len() < SHARED_BYTES_MIN {
            return self.push(slice);
        }
        self.bytes += slice.len();
        self.pieces.push(Piece::Shared(slice.clone()));
    }

    /// Adds `count` zeros, fewer than eight.
    pub(crate) fn push_padding(&mut self, count: usize) {
        self.push(&[0; 8][..count]);
    }

    /// Writes everything at `offset`. On an error any part of it may have been written.
    pub(crate) fn write(&self, file: &dyn DiskFile, offset: u64) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = self
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Copied(range) => IoSlice::new(&self.copied[range.clone()]),
                Piece::Shared(bytes) => IoSlice::new(bytes),
            })
            .collect();
        file.write_vectored_at(&mut slices, offset)
    }

    /// Forgets everything, keeping the buffer for the next time.
    pub(crate) fn clear(&mut self) {
        self.copied.clear();
        self.pieces.clear();
        self.bytes = 0;
    }

    pub(crate) fn mark(&self) -> PendingMark {
        PendingMark {
            copied: self.copied.len(),
            pieces: self.pieces.len(),
            bytes: self.bytes,
        }
    }

    /// Forgets what was added since `mark`.
    pub(crate) fn rewind(&mut self, mark: PendingMark) {
        self.copied.truncate(mark.copied);
        self.pieces.truncate(mark.pieces);
        if let Some(Piece::Copied(range)) = self.pieces.last_mut() {
            range.end = range.end.min(mark.copied);
        }
        self.bytes = mark.bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{disk::Disk, disk::OpenMode, disk::read_file, fake::FakeDisk};

    fn written(pending: &Pending) -> Vec<u8> {
        let disk = FakeDisk::new();
        let file = disk.open(Path::new("f"), OpenMode::Create).unwrap();
        pending.write(&*file, 0).unwrap();
        read_file(&disk, Path::new("f")).unwrap()
    }

    #[test]
    fn copied_and_shared_slices_keep_their_order() {
        let large = Bytes::from(vec![7; SHARED_BYTES_MIN]);
        let mut pending = Pending::default();
        pending.push(b"ab");
        pending.push_shared(&Bytes::from_static(b"cd"));
        pending.push_shared(&large);
        pending.push_padding(3);
        let expected = [b"abcd", &large[..], &[0; 3]].concat();
        assert_eq!(written(&pending), expected);
        assert_eq!(pending.bytes(), expected.len());
    }

    #[test]
    fn rewinding_forgets_exactly_what_came_after_the_mark() {
        let large = Bytes::from(vec![7; SHARED_BYTES_MIN]);
        let mut pending = Pending::default();
        pending.push(b"keep");
        let mark = pending.mark();
        pending.push(b"forget");
        pending.push_shared(&large);
        pending.push(b"this");
        pending.rewind(mark);
        pending.push(b"!");
        assert_eq!(written(&pending), b"keep!");
        assert_eq!(pending.bytes(), 5);
    }
}
