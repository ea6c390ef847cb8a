//! Opening a log: lock it, read every segment once, cut a torn tail, refuse damage.
//!
//! After a mere stop of the process its last changes may still be in memory alone, and the caller
//! is about to rely on what it is shown. So the folder's names are synced first, and the last
//! segment is synced before it is read. Then the system is asked to forget its cached copy of that
//! segment, because after a *failed* sync the copy may hold what the disk does not.
//!
//! Nothing is changed until every segment has been read and found whole: a log that cannot be
//! opened is left as it was. Which tails are torn and which damaged is decided in `scan.rs`.

use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use tracing::{info, warn};

use crate::{
    disk::{Disk, DiskFile, DiskLock, OpenMode},
    error::{OpenError, VisitError},
    format::{self, BadSegmentHeader, FORMAT_VERSION, FileRole, SEGMENT_HEADER_LEN, SegmentId},
    log::SegmentLog,
    options::{Location, Options},
    scan::{Scanned, Tail, Window, scan},
    segment::{Room, Segment, SegmentState, StepError},
    shared::Shared,
};

/// The file whose lock keeps a second process out of a log's folder.
const LOCK_NAME: &str = "LOCK";

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments in the log.
    pub segments: u64,
    /// The lowest segment number.
    pub first_segment: u64,
    /// The highest segment number.
    pub last_segment: u64,
    /// Records visited.
    pub records: u64,
    /// Bytes of payload visited.
    pub payload_bytes: u64,
    /// What was cut from the end, if the last write was interrupted.
    pub torn: Option<TornTail>,
}

/// An interrupted write at the end of a log. None of it had been synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub file: PathBuf,
    /// Where the log ends now.
    pub offset: u64,
    /// Bytes from there to the last one that was not zero.
    pub bytes: u64,
}

/// Sees every record in log order. The slice is only borrowed; an error stops the opening.
pub type Visit<'a> = dyn FnMut(Location, &[u8]) -> Result<(), VisitError> + 'a;

/// Reads and checks a whole log without changing or locking it, visiting every record. Meant for
/// a log that nobody has open: one that is being written may show a torn tail.
pub fn verify(disk: &dyn Disk, dir: &Path, visit: &mut Visit<'_>) -> Result<Recovery, OpenError> {
    let numbers = contiguous(&list(disk, dir)?.segments, dir)?;
    let survey = survey(disk, dir, &numbers, OpenMode::Read, visit)?;
    Ok(survey.recovery)
}

/// See [`SegmentLog::open`].
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    options: Options,
    visit: &mut Visit<'_>,
) -> Result<(SegmentLog, Recovery), OpenError> {
    options.check()?;
    let shared = Arc::new(Shared::new(disk, dir.to_owned()));
    let disk = &*shared.disk;
    disk.create_dir_all(dir).map_err(failed("creation", dir))?;
    let lock = lock(disk, dir)?;
    let listing = list(disk, dir)?;
    settle_names(disk, dir, &listing)?;
    let numbers = contiguous(&listing.segments, dir)?;
    let mut survey = survey(disk, dir, &numbers, OpenMode::ReadWrite, visit)?;
    for found in &survey.found {
        shared.publish(found.id.number, found.id.seed(), found.end);
    }
    let active = match survey.last.take() {
        Some(last) => settle(last, &survey.recovery)?,
        None => {
            let first = begin(disk, dir, &options)?;
            shared.publish(first.number, first.seed, first.written);
            survey.recovery.segments = 1;
            survey.recovery.first_segment = first.number;
            survey.recovery.last_segment = first.number;
            first
        }
    };
    let recovery = survey.recovery;
    info!(
        dir = %dir.display(),
        segments = recovery.segments,
        records = recovery.records,
        payload_bytes = recovery.payload_bytes,
        "log opened"
    );
    Ok((SegmentLog::new(shared, options, active, lock), recovery))
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DiskLock>, OpenError> {
    let path = dir.join(LOCK_NAME);
    disk.lock(&path).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse {
            dir: dir.to_owned(),
        },
        _ => failed("locking", &path)(source),
    })
}

#[derive(Debug, Default)]
struct Listing {
    segments: Vec<u64>,
    unfinished: Vec<PathBuf>,
}

fn list(disk: &dyn Disk, dir: &Path) -> Result<Listing, OpenError> {
    let mut listing = Listing::default();
    for name in disk.list(dir).map_err(failed("listing", dir))? {
        match format::role_of(&name) {
            FileRole::Segment(number) => listing.segments.push(number),
            FileRole::Unfinished => listing.unfinished.push(dir.join(name)),
            FileRole::Foreign => {}
        }
    }
    listing.segments.sort_unstable();
    Ok(listing)
}

/// Removes unfinished segments, which never were part of the log, and makes the names durable: a
/// process that was stopped may not have come to it after its last rename or removal.
fn settle_names(disk: &dyn Disk, dir: &Path, listing: &Listing) -> Result<(), OpenError> {
    for path in &listing.unfinished {
        disk.remove(path).map_err(failed("removal", path))?;
    }
    disk.sync_dir(dir).map_err(failed("sync", dir))
}

fn contiguous(numbers: &[u64], dir: &Path) -> Result<Vec<u64>, OpenError> {
    match numbers.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
        Some(gap) => Err(OpenError::Missing {
            file: dir.join(format::segment_name(gap[0] + 1)),
        }),
        None => Ok(numbers.to_vec()),
    }
}

#[derive(Debug)]
struct Survey {
    recovery: Recovery,
    found: Vec<Found>,
    last: Option<Last>,
}

#[derive(Debug)]
struct Found {
    id: SegmentId,
    end: u64,
}

/// The segment that is written next, as it was found.
#[derive(Debug)]
struct Last {
    id: SegmentId,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    file_len: u64,
    scanned: Scanned,
}

/// Reads all segments; `mode` says whether the last one is to be written afterwards.
fn survey(
    disk: &dyn Disk,
    dir: &Path,
    numbers: &[u64],
    mode: OpenMode,
    visit: &mut Visit<'_>,
) -> Result<Survey, OpenError> {
    let mut recovery = Recovery {
        segments: numbers.len() as u64,
        first_segment: numbers.first().copied().unwrap_or_default(),
        last_segment: numbers.last().copied().unwrap_or_default(),
        ..Recovery::default()
    };
    let mut buffer = Vec::new();
    let mut found = Vec::with_capacity(numbers.len());
    let mut last = None;
    for (index, &number) in numbers.iter().enumerate() {
        let is_last = index + 1 == numbers.len();
        let path = dir.join(format::segment_name(number));
        let mode = if is_last { mode } else { OpenMode::Read };
        let file = disk.open(&path, mode).map_err(failed("opening", &path))?;
        if mode == OpenMode::ReadWrite {
            file.sync_all().map_err(failed("sync", &path))?;
            file.forget_cached().map_err(failed("reading", &path))?;
        }
        let mut window = Window::new(&*file, &mut buffer).map_err(failed("reading", &path))?;
        let file_len = window.file_len();
        let id = segment_id(&mut window, number, &path)?;
        let scanned = read_segment(&mut window, id, &path, &mut recovery, visit)?;
        refuse_damage(&scanned, is_last, file_len, &path)?;
        found.push(Found {
            id,
            end: scanned.end,
        });
        if is_last {
            if let Tail::Torn { bytes } = scanned.tail {
                recovery.torn = Some(TornTail {
                    file: path.clone(),
                    offset: scanned.end,
                    bytes,
                });
            }
            last = Some(Last {
                id,
                path,
                file,
                file_len,
                scanned,
            });
        }
    }
    Ok(Survey {
        recovery,
        found,
        last,
    })
}

fn segment_id(window: &mut Window<'_>, number: u64, path: &Path) -> Result<SegmentId, OpenError> {
    let corrupt = |reason: String| OpenError::Corrupt {
        file: path.to_owned(),
        offset: 0,
        reason,
    };
    if window.file_len() < SEGMENT_HEADER_LEN as u64 {
        return Err(corrupt(
            "the file is shorter than a segment's header".to_owned(),
        ));
    }
    let bytes = window
        .bytes(0, SEGMENT_HEADER_LEN)
        .map_err(failed("reading", path))?;
    let bytes = bytes.try_into().expect("as many bytes as asked for");
    SegmentId::decode(bytes, number).map_err(|bad| match bad {
        BadSegmentHeader::NewerVersion(found) => OpenError::NewerVersion {
            file: path.to_owned(),
            found,
            newest: FORMAT_VERSION,
        },
        BadSegmentHeader::NotASegment => corrupt("it does not begin as a segment does".to_owned()),
        BadSegmentHeader::Checksum => corrupt("the segment's header fails its checksum".to_owned()),
        BadSegmentHeader::OtherNumber(found) => {
            corrupt(format!("the header says that it is segment {found}"))
        }
    })
}

fn read_segment(
    window: &mut Window<'_>,
    id: SegmentId,
    path: &Path,
    recovery: &mut Recovery,
    visit: &mut Visit<'_>,
) -> Result<Scanned, OpenError> {
    let scanned = scan(window, id.seed(), &mut |offset, payload| {
        // A record's header has 28 bits for the length.
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let location = Location {
            segment: id.number,
            offset,
            len,
        };
        recovery.records += 1;
        recovery.payload_bytes += u64::from(len);
        match visit(location, payload) {
            Ok(()) => ControlFlow::Continue(()),
            Err(source) => ControlFlow::Break((location, source)),
        }
    });
    match scanned.map_err(failed("reading", path))? {
        ControlFlow::Continue(scanned) => Ok(scanned),
        ControlFlow::Break((location, source)) => Err(OpenError::Visit {
            file: path.to_owned(),
            location,
            source,
        }),
    }
}

/// A segment that another follows was sealed and durable before that one got its name, so only
/// the last segment can have been interrupted.
fn refuse_damage(
    scanned: &Scanned,
    is_last: bool,
    file_len: u64,
    path: &Path,
) -> Result<(), OpenError> {
    let reason = match scanned.tail {
        Tail::Damaged { witness } => {
            format!("no whole record is there, though it was synced before the one at {witness}")
        }
        Tail::Clean | Tail::Torn { .. } if !is_last => {
            "no whole record is there, though another segment follows".to_owned()
        }
        Tail::Sealed if !is_last && file_len != scanned.end => {
            "bytes follow the seal that ends the segment".to_owned()
        }
        Tail::Clean | Tail::Torn { .. } | Tail::Sealed => return Ok(()),
    };
    Err(OpenError::Corrupt {
        file: path.to_owned(),
        offset: scanned.end,
        reason,
    })
}

/// Makes the last segment ready to be written: cuts what was torn.
fn settle(last: Last, recovery: &Recovery) -> Result<Segment, OpenError> {
    let Last {
        id,
        path,
        file,
        file_len,
        scanned,
    } = last;
    let state = match scanned.tail {
        Tail::Sealed => SegmentState::Sealed,
        _ => SegmentState::Open,
    };
    let mut segment = Segment::recovered(
        id.number,
        path,
        id.seed(),
        file,
        scanned.end,
        file_len,
        state,
    );
    if scanned.marked {
        segment.marked = scanned.end;
    }
    if let Some(torn) = &recovery.torn {
        warn!(
            file = %torn.file.display(),
            offset = torn.offset,
            bytes = torn.bytes,
            "an interrupted write was cut from the end of the log"
        );
        segment.cut(scanned.end).map_err(step_failed)?;
    } else if state == SegmentState::Sealed && file_len != scanned.end {
        // The stop came between the seal and the end of the file: finish what was begun.
        segment.trim().map_err(step_failed)?;
    }
    Ok(segment)
}

/// Creates the first segment of a new log.
fn begin(disk: &dyn Disk, dir: &Path, options: &Options) -> Result<Segment, OpenError> {
    let id = SegmentId {
        number: 1,
        salt: options.salt,
    };
    let room = Room {
        needed: 0,
        step: options.preallocate_bytes,
        segment_bytes_max: options.segment_bytes_max,
    };
    let path = dir.join(format::segment_name(id.number));
    let segment = Segment::create_unfinished(disk, path, id, &[], room).map_err(step_failed)?;
    segment.publish(disk).map_err(step_failed)?;
    Ok(segment)
}

fn failed(operation: &'static str, file: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let file = file.to_owned();
    move |source| OpenError::Disk {
        operation,
        file,
        source,
    }
}

fn step_failed(step: StepError) -> OpenError {
    OpenError::Disk {
        operation: step.operation,
        file: step.file,
        source: step.source,
    }
}
