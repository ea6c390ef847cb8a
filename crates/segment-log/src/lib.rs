//! Append-only files of opaque records: append, group sync, rotate, truncate, purge, recover.
//!
//! The store keeps its consensus log in one of these, the edge agent its spool. This crate knows
//! no readings, no network and no consensus: a record is bytes in, the same bytes out, or an error
//! that names the file and the offset.
//!
//! # The life of a record
//!
//! 1. [`SegmentLog::append`] checksums the payload, places it at the end of the active segment
//!    (asking the disk for more zero-filled room first, so that a full disk refuses the record
//!    before anything is written) and buffers it. Its [`Location`] is known from here on.
//! 2. [`SegmentLog::sync`] writes what is buffered with vectored writes and makes it durable with
//!    one `fdatasync`. Threads that share a log do this through a [`GroupWriter`], which turns
//!    whatever is waiting into one write and one sync, then completes the callbacks in order.
//! 3. [`LogReader::read`] reads it back by location, verified, while the log goes on.
//! 4. A full segment is sealed and the next one begins ([`SegmentLog::rotate`]).
//! 5. [`SegmentLog::truncate_after`] takes back a suffix, [`SegmentLog::purge_before`] drops whole
//!    segments at the front.
//! 6. After a stop of any kind [`SegmentLog::open`] visits every surviving record in order, cuts a
//!    torn tail and refuses damage. Which is which is decided in `scan.rs`; the case analysis and
//!    every byte of the format are in `docs/formats.md`.
//!
//! # Invariants
//!
//! - A record that was synced is visited by every later `open`, or `open` fails and says where.
//! - The records visited are a prefix of the records appended, minus what was truncated or purged.
//! - A segment has its final name only once everything in the segments before it is durable.
//! - After a failed write or sync nothing more is written: the log is [`Poisoned`] for good.
//! - Running out of space is not a failure: [`AppendError::NoSpace`] leaves the log as it was.
//!
//! Everything goes through the [`Disk`] trait; [`OsDisk`] is the real one, [`fake::FakeDisk`] the
//! one that crashes, tears, fails and fills up on demand.
//!
//! Read next: `log.rs` (writing), `recovery.rs` and `scan.rs` (opening), `group_writer.rs`.

mod clock;
mod disk;
mod error;
pub mod fake;
mod format;
mod group_writer;
mod log;
mod options;
mod os_disk;
mod pending;
mod reader;
mod recovery;
mod scan;
mod segment;
mod shared;

pub use crate::{
    disk::{Disk, DiskFile, DiskLock, OpenMode, read_file, write_file_atomically},
    error::{
        AppendError, OpenError, Poisoned, ReadError, RotateError, TruncateError, VisitError,
        WriteError,
    },
    format::{FORMAT_VERSION, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES},
    group_writer::{
        Completion, Durability, Group, GroupOptions, GroupWriter, NoObserver, Record,
        WriteObserver, WriterThread,
    },
    log::SegmentLog,
    options::{Location, Options},
    os_disk::OsDisk,
    reader::LogReader,
    recovery::{Recovery, TornTail, Visit, verify},
};
