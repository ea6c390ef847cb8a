//! What the processes of a system take: CPU time and memory, looked at all the time.
//!
//! A system's processes are all that descend from this one. Memory is what the kernel could not drop
//! and read again: anonymous and shared memory, each page divided among those that share it, without
//! the pages of files.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often processes are looked at: what one that ends takes after the last look is not counted.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Clock ticks of `/proc/PID/stat` in a second, on every platform that Linux has today.
const TICKS_PER_SECOND: u64 = 100;

/// Watches processes until it is dropped.
pub(crate) struct Usage {
    seen: Arc<Mutex<Seen>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What was taken between two looks, or since the start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken {
    /// CPU seconds by the name of the program.
    pub(crate) cpu_s: BTreeMap<String, f64>,
    /// Most memory of all processes at once, in KiB.
    pub(crate) peak_kib: u64,
    /// Most memory of the processes of each name at once, in KiB.
    pub(crate) peak_kib_by_name: BTreeMap<String, u64>,
}

impl Taken {
    /// CPU seconds of all processes.
    pub(crate) fn cpu_s_sum(&self) -> f64 {
        self.cpu_s.values().sum()
    }

    /// Each program by itself, in words.
    pub(crate) fn each(&self) -> String {
        let each = |(name, cpu): (&String, &f64)| {
            let kib = self.peak_kib_by_name.get(name).copied().unwrap_or_default();
            format!("{name} {cpu:.1} s, {} MiB", kib / 1024)
        };
        self.cpu_s.iter().map(each).collect::<Vec<_>>().join("; ")
    }
}

#[derive(Default)]
struct Seen {
    /// Ticks of each process that was ever seen, and how many of them are taken already.
    processes: BTreeMap<u32, Counted>,
    taken: Taken,
}

struct Counted {
    name: String,
    ticks: u64,
    ticks_taken: u64,
}

impl Usage {
    /// Begins.
    pub(crate) fn watch() -> Self {
        let (seen, ended) = (
            Arc::new(Mutex::new(Seen::default())),
            Arc::new(AtomicBool::new(false)),
        );
        let (watched, until) = (Arc::clone(&seen), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                watched
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .look();
                thread::sleep(LOOK_EVERY);
            }
        });
        Self {
            seen,
            ended,
            thread: Some(thread),
        }
    }

    /// What was taken since the last call.
    pub(crate) fn take(&self) -> Taken {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.look();
        seen.take()
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed.
            let _ = thread.join();
        }
    }
}

impl Seen {
    fn look(&mut self) {
        let (mut sum, mut by_name) = (0, BTreeMap::<String, u64>::new());
        for (pid, process) in descendants(std::process::id()) {
            let kib = memory_kib(pid);
            sum += kib;
            *by_name.entry(process.name.clone()).or_default() += kib;
            let counted = self.processes.entry(pid).or_insert_with(|| Counted {
                name: process.name.clone(),
                ticks: 0,
                ticks_taken: 0,
            });
            // A process has the name of its parent until it runs its own program.
            counted.name = process.name;
            counted.ticks = process.ticks;
        }
        self.taken.peak_kib = self.taken.peak_kib.max(sum);
        for (name, kib) in by_name {
            let most = self.taken.peak_kib_by_name.entry(name).or_default();
            *most = kib.max(*most);
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "ticks of an hour, far below 2^53"
    )]
    fn take(&mut self) -> Taken {
        let mut taken = std::mem::take(&mut self.taken);
        for counted in self.processes.values_mut() {
            let ticks = counted.ticks.saturating_sub(counted.ticks_taken);
            counted.ticks_taken = counted.ticks;
            if ticks > 0 {
                let seconds = ticks as f64 / TICKS_PER_SECOND as f64;
                *taken.cpu_s.entry(counted.name.clone()).or_default() += seconds;
            }
        }
        taken
    }
}

struct Stat {
    name: String,
    parent: u32,
    ticks: u64,
}

/// Every process that `root` started, and those that they started.
fn descendants(root: u32) -> Vec<(u32, Stat)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().parse();
        if let Ok(pid) = pid
            && let Ok(text) = fs::read_to_string(entry.path().join("stat"))
        {
            all.extend(parse_stat(&text).map(|stat| (pid, stat)));
        }
    }
    let is_ours = |pid: &u32| {
        let mut at = *pid;
        while let Some(stat) = all.get(&at) {
            if stat.parent == root {
                return true;
            }
            at = stat.parent;
        }
        false
    };
    let ours: Vec<u32> = all.keys().filter(|pid| is_ours(pid)).copied().collect();
    let own = |pid| {
        let mut stat = all.remove(&pid)?;
        // A process may have named itself anything.
        if let Ok(program) = fs::read_link(format!("/proc/{pid}/exe")) {
            stat.name = program.file_name()?.to_string_lossy().into_owned();
        }
        Some((pid, stat))
    };
    ours.into_iter().filter_map(own).collect()
}

/// Name, parent and ticks of user and system time of a line of `/proc/PID/stat`.
fn parse_stat(text: &str) -> Option<Stat> {
    let (head, rest) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Counted from the state, which is the third field of all.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        name,
        parent: u32::try_from(number(4)?).ok()?,
        ticks: number(14)? + number(15)?,
    })
}

/// Anonymous and shared memory of a process in KiB; 0 for one that has just ended.
fn memory_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = |line: &str| {
        let rest = line
            .strip_prefix("Pss_Anon:")
            .or_else(|| line.strip_prefix("Pss_Shmem:"))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    text.lines().filter_map(kib).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_spaces_and_parentheses() {
        let line = "7 (a (b) c) S 3 7 7 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 1 0 100 1 1";
        let stat = parse_stat(line).expect("it is one");
        assert_eq!(
            (stat.name.as_str(), stat.parent, stat.ticks),
            ("a (b) c", 3, 300)
        );
    }
}
