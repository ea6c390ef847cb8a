//! Sequences of calls, carried out on a log and its model at once.

use bytes::Bytes;
use segment_log::{
    AppendError, Location, OpenError, Options, Poisoned, RotateError, SegmentLog, TruncateError,
    fake::FakeDisk,
};

use crate::segment_log::{
    model::{Model, PREAMBLE},
    support::{open, small},
};

/// One call. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Append(usize),
    AppendAll(Vec<usize>),
    Flush,
    Sync,
    Rotate,
    TruncateAfter(usize),
    TruncateFrom(usize),
    Purge(u64),
    MarkSynced,
    ExtendAhead,
    /// Closes the log and opens it again.
    Reopen,
    /// Kills the process.
    Restart,
    /// Cuts the power.
    PowerCut,
}

/// Why a workload ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    Poisoned(Poisoned),
    /// The log could not be opened because the disk failed.
    NotOpened,
}

/// A log with its model.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) disk: FakeDisk,
    pub(crate) log: Option<SegmentLog>,
    pub(crate) model: Model,
    options: Options,
    appended: u32,
}

impl Run {
    /// Nothing is opened before the first [`Run::open`].
    pub(crate) fn new(disk: FakeDisk) -> Self {
        Self {
            disk,
            log: None,
            model: Model::default(),
            options: small(),
            appended: 0,
        }
    }

    /// Opens the log, compares it with the model and goes on from what was found.
    pub(crate) fn open(&mut self) -> Result<(), Stop> {
        match open(&self.disk, self.options.clone()) {
            Ok(opened) => {
                self.model.check(&opened.records);
                self.model.adopt(&opened.records);
                let mut log = opened.log;
                log.set_segment_preamble(PREAMBLE.map(Bytes::from_static).into())
                    .unwrap();
                self.log = Some(log);
                Ok(())
            }
            Err(OpenError::Disk { .. }) => Err(Stop::NotOpened),
            Err(error) => panic!("no crash may end in this: {error}"),
        }
    }

    pub(crate) fn run(&mut self, ops: &[Op]) -> Result<(), Stop> {
        self.open()?;
        for op in ops {
            self.step(op)?;
        }
        Ok(())
    }

    pub(crate) fn step(&mut self, op: &Op) -> Result<(), Stop> {
        let len = self.model.len();
        match op {
            Op::Append(bytes) => self.append(&[*bytes]),
            Op::AppendAll(bytes) => self.append(bytes),
            Op::Flush => Ok(self.log().flush()?),
            Op::Sync => {
                self.log().sync()?;
                self.model.all_synced();
                Ok(())
            }
            Op::Rotate => self.rotate(),
            Op::TruncateAfter(back) if len > 0 => self.truncate(len - back % len, true),
            Op::TruncateFrom(back) if len > 0 => self.truncate(len - 1 - back % len, false),
            Op::TruncateAfter(_) | Op::TruncateFrom(_) => Ok(()),
            Op::Purge(back) => self.purge(*back),
            Op::MarkSynced => Ok(self.log().mark_synced()?),
            Op::ExtendAhead => Ok(self.log().extend_ahead()?),
            Op::Reopen => {
                if let Some(log) = self.log.take() {
                    log.close()?;
                    self.model.all_synced();
                }
                self.open()
            }
            Op::Restart => {
                self.disk = self.disk.restart();
                self.open()
            }
            Op::PowerCut => {
                self.disk = self.disk.power_cut();
                self.open()
            }
        }?;
        self.check_readable();
        Ok(())
    }

    fn append(&mut self, sizes: &[usize]) -> Result<(), Stop> {
        let payloads: Vec<_> = sizes.iter().map(|bytes| self.payload(*bytes)).collect();
        self.model.begin_append(&payloads);
        let locations = self.until_space(|log| append(log, &payloads))?;
        self.model.appended(&locations);
        Ok(())
    }

    /// A payload unlike any other of this run, of at least four bytes.
    fn payload(&mut self, bytes: usize) -> Vec<u8> {
        self.appended += 1;
        let mut payload = self.appended.to_be_bytes().to_vec();
        payload.resize(bytes.max(4), 0xa5);
        payload
    }

    fn rotate(&mut self) -> Result<(), Stop> {
        self.until_space(|log| log.rotate().map_err(AppendErrorLike::from))?;
        self.model.all_synced();
        Ok(())
    }

    /// Tries again once when told that there is no space: a refusal must leave nothing behind.
    fn until_space<T>(
        &mut self,
        mut call: impl FnMut(&mut SegmentLog) -> Result<T, AppendErrorLike>,
    ) -> Result<T, Stop> {
        let result = match call(self.log()) {
            Err(AppendErrorLike::NoSpace) => call(self.log()),
            result => result,
        };
        result.map_err(|error| match error {
            AppendErrorLike::NoSpace => panic!("refused twice for a lack of space that was short"),
            AppendErrorLike::Poisoned(poisoned) => Stop::Poisoned(poisoned),
        })
    }

    fn truncate(&mut self, keep: usize, after: bool) -> Result<(), Stop> {
        let location = self.model.location(if after { keep - 1 } else { keep });
        self.model.begin_truncate(keep);
        let done = if after {
            self.log().truncate_after(location)
        } else {
            self.log().truncate_from(location)
        };
        match done {
            Ok(()) => self.model.truncated(keep),
            Err(TruncateError::Poisoned(poisoned)) => return Err(Stop::Poisoned(poisoned)),
            Err(TruncateError::NoSuchRecord { .. }) => {
                // Not even the header could be read: only on a machine that has stopped.
                let poisoned = self.log().sync().expect_err("a disk that cannot be read");
                return Err(Stop::Poisoned(poisoned));
            }
        }
        Ok(())
    }

    fn purge(&mut self, back: u64) -> Result<(), Stop> {
        let segment = self.model.last_segment().saturating_sub(back % 3);
        self.model.begin_purge(segment);
        self.log().purge_before(segment)?;
        self.model.purge_done();
        Ok(())
    }

    /// Every synced record can be read while the log is open.
    fn check_readable(&mut self) {
        let reader = self.log().reader();
        for (location, payload) in self.model.synced() {
            assert_eq!(reader.read(location).unwrap(), payload, "at {location}");
        }
    }

    pub(crate) fn log(&mut self) -> &mut SegmentLog {
        self.log.as_mut().expect("the log is open")
    }
}

impl From<Poisoned> for Stop {
    fn from(poisoned: Poisoned) -> Self {
        Self::Poisoned(poisoned)
    }
}

/// What an append and a rotation can fail with, as far as a workload goes.
enum AppendErrorLike {
    NoSpace,
    Poisoned(Poisoned),
}

impl From<AppendError> for AppendErrorLike {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::NoSpace { .. } => Self::NoSpace,
            AppendError::Poisoned(poisoned) => Self::Poisoned(poisoned),
            AppendError::TooLarge { .. } => panic!("{error}"),
        }
    }
}

impl From<RotateError> for AppendErrorLike {
    fn from(error: RotateError) -> Self {
        AppendError::from(error).into()
    }
}

fn append(log: &mut SegmentLog, payloads: &[Vec<u8>]) -> Result<Vec<Location>, AppendErrorLike> {
    if let [payload] = payloads {
        let (front, back) = payload.split_at(payload.len() / 2);
        return Ok(vec![log.append(&[front, back])?]);
    }
    let records: Vec<_> = payloads
        .iter()
        .map(|payload| vec![Bytes::copy_from_slice(payload)])
        .collect();
    Ok(log.append_all(&records)?)
}
