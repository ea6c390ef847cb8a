//! What every system must be able to do to be compared.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::question::{Question, Row};
use super::workload::{Total, Workload};

/// The longest that a system may take to start, to answer once, or to settle.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1800);
/// Loaders of a system that take readings over connections: one a core.
pub(crate) const LOADERS: usize = 2;

/// What is said of a system beside its figures.
pub(crate) struct Facts {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    /// How it takes readings and answers questions here, what was set, and why.
    pub(crate) settings: &'static str,
    /// What it promises when it says that it has taken readings.
    pub(crate) acknowledgement: &'static str,
}

/// A system, from its start on.
pub(crate) trait Peer {
    /// What it is.
    fn facts(&self) -> Facts;
    /// Writes the readings below `files` in the form in which it takes them, unless they are there.
    fn prepare(&mut self, workload: &Workload, files: &Path) -> Result<()>;
    /// Loads everything, and gives how long it took until all was acknowledged.
    fn load(&mut self, workload: &Workload) -> Result<Duration>;
    /// Lets it finish whatever it does to keep what it has, and gives the bytes of one copy of the
    /// readings, and of what it needs to find them.
    fn settle(&mut self) -> Result<u64>;
    /// What it says it has.
    fn total(&mut self, workload: &Workload) -> Result<Total>;
    /// Asks a question again and again.
    fn ask(&mut self, question: &Question, clients: usize, limits: Limits) -> Result<Answers>;
    /// The rows of an answer.
    fn rows(&self, question: &Question, text: &str) -> Result<Vec<Row>>;
    /// Stops it.
    fn stop(self: Box<Self>) -> Result<()>;
}

/// A system that is not installed.
pub(crate) struct Missing {
    /// The command that installs it.
    pub(crate) install: String,
}

/// How often a question is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// By all clients together.
    pub(crate) times: u64,
    /// No question is asked any more after this.
    pub(crate) longest: Duration,
}

/// What came of a question.
pub(crate) struct Answers {
    /// From asking until the whole answer was there.
    pub(crate) times: Vec<Duration>,
    /// One answer.
    pub(crate) text: String,
}

impl Answers {
    /// Half took no longer.
    pub(crate) fn median(&self) -> Option<Duration> {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// Asks by so many clients at once, each on a connection of its own, on which one answer has come
/// before.
pub(crate) fn ask<C: Send>(
    clients: usize,
    limits: Limits,
    connect: impl Fn() -> Result<C>,
    ask: impl Fn(&mut C) -> Result<String> + Sync,
) -> Result<Answers> {
    let mut connections: Vec<C> = (0..clients).map(|_| connect()).collect::<Result<_>>()?;
    let mut text = String::new();
    for connection in &mut connections {
        text = ask(connection)?;
    }
    let left = AtomicU64::new(limits.times);
    let begun = Instant::now();
    let run = |mut connection: C| -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        let take = |left: u64| left.checked_sub(1);
        while left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
            && (times.is_empty() || begun.elapsed() < limits.longest)
        {
            let begun = Instant::now();
            ask(&mut connection)?;
            times.push(begun.elapsed());
        }
        Ok(times)
    };
    let times = together(connections, run)?.concat();
    Ok(Answers { times, text })
}

/// Loads files by [`LOADERS`] connections at once, and gives how long it took.
pub(crate) fn load<C: Send>(
    files: &[PathBuf],
    connect: impl Fn() -> Result<C>,
    load: impl Fn(&mut C, &Path) -> Result<()> + Sync,
) -> Result<Duration> {
    let connections: Vec<C> = (0..LOADERS).map(|_| connect()).collect::<Result<_>>()?;
    let next = AtomicU64::new(0);
    let begun = Instant::now();
    together(connections, |mut connection| {
        while let Some(file) = files.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed))?) {
            load(&mut connection, file).with_context(|| format!("loading {}", file.display()))?;
        }
        Ok(())
    })?;
    Ok(begun.elapsed())
}

/// Runs `work` on every item at once.
fn together<C: Send, T: Send>(
    items: Vec<C>,
    work: impl Fn(C) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let work = &work;
    let done: Vec<Result<T>> = thread::scope(|scope| {
        let running: Vec<_> = items
            .into_iter()
            .map(|item| scope.spawn(move || work(item)))
            .collect();
        let joined = running.into_iter().map(|running| running.join());
        joined
            .map(|done| done.unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked"))))
            .collect()
    });
    done.into_iter().collect()
}

/// The rows of `device,time in ms,values…`, as the systems that speak SQL answer.
pub(crate) fn csv_rows(text: &str) -> Result<Vec<Row>> {
    let row = |line: &str| -> Result<Row> {
        let mut fields = line.split(',');
        let mut field = || fields.next().context("too few fields");
        let (device, time_ms) = (field()?.parse()?, field()?.parse()?);
        let values = fields.map(str::parse).collect::<Result<_, _>>()?;
        Ok(Row {
            device,
            time_ms,
            values,
        })
    };
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| row(line).with_context(|| format!("{line:?} is no row")))
        .collect()
}

/// The program of that name, if it is installed.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut programs = std::env::split_paths(&path).map(|folder| folder.join(name));
    programs.find(|program| program.is_file())
}

/// A free TCP port of this machine.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}

/// A text as a part of a URL's query.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Bytes of all files below a folder, without holes that were never written.
pub(crate) fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    let entries = std::fs::read_dir(folder);
    for entry in entries.with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let kind = entry.metadata()?;
        bytes += if kind.is_dir() {
            bytes_below(&entry.path())?
        } else {
            kind.len().min(kind.blocks() * 512)
        };
    }
    Ok(bytes)
}
