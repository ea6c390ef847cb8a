//! What happened in a run, in the order in which it was noted: what the checker judges.
//!
//! All moments are of one clock, that of this process. An acknowledgement is noted after it arrived
//! and a question before it is asked, so a bound that is computed from them is never too strict.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Microseconds since the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// So much earlier; the beginning if there is not so much.
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// So much later.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// The time from `earlier` to this; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// How fresh an answer was asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// As the replica stands.
    Any,
    /// At most so old.
    MaxStaleness {
        /// In ms.
        ms: u64,
    },
    /// At least this position.
    AtLeast {
        /// The token's index.
        index: u64,
    },
    /// All that was acknowledged before.
    Linearizable,
}

impl Level {
    /// Its name, whatever it asks for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::MaxStaleness { .. } => "max-staleness",
            Self::AtLeast { .. } => "at-least",
            Self::Linearizable => "linearizable",
        }
    }
}

/// What was seen of one series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sighting {
    /// Of a producer: batches up to this one.
    Batches {
        /// The producer.
        producer: u32,
        /// 0 for none.
        through: u64,
    },
    /// Of a writer of single readings: which of those asked for.
    Puts {
        /// The writer.
        writer: u32,
        /// The first number asked for.
        from: u64,
        /// The last number asked for.
        through: u64,
        /// Those that were there, ascending.
        seen: Vec<u64>,
    },
}

/// How a read ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// With a whole answer.
    Answered {
        /// Who answered.
        replica: u64,
        /// What it had applied, as it says.
        applied: u64,
        /// What was seen.
        sightings: Vec<Sighting>,
        /// Something that cannot be in any answer.
        oddity: Option<String>,
    },
    /// Without.
    Failed {
        /// Why: an error code, or how the connection was lost.
        code: String,
    },
}

/// How a write of single readings ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It is committed and applied.
    Written {
        /// The token's index.
        index: u64,
    },
    /// It is certain that nothing was written.
    Refused,
    /// It may have been written.
    Unknown,
}

/// A read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Who asked; one reader asks one thing after the other.
    pub reader: u32,
    /// How fresh it was to be.
    pub level: Level,
    /// Before it was asked.
    pub began: Moment,
    /// After the answer was whole.
    pub ended: Moment,
    /// How it ended.
    pub reply: Reply,
}

/// What the workload was made to suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultKind {
    /// The leader was killed.
    LeaderKilled,
    /// Another node was killed.
    Killed,
    /// A leader gave its leadership away in order.
    Handover,
    /// Anything else.
    Other,
}

/// How a node's replica of the workload's series is at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Replica {
    /// The node.
    pub node: u64,
    /// By path.
    pub series: BTreeMap<String, ReplicaSeries>,
    /// Files that depend on the log alone, by name, with their contents' hash.
    pub files: BTreeMap<String, String>,
}

/// One series on one node at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReplicaSeries {
    /// How many readings the node says that it applied.
    pub count: u64,
    /// How many it gives.
    pub rows: u64,
    /// Of a producer's series: batches up to this one.
    pub through: u64,
    /// Of a writer's series: the numbers that are there.
    pub puts: Vec<u64>,
    /// Something that cannot be.
    pub oddity: Option<String>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A producer is about to send a batch for the first time.
    Sent {
        /// When.
        at: Moment,
        /// Who.
        producer: u32,
        /// The batch.
        sequence: u64,
    },
    /// A producer has an acknowledgement.
    Acked {
        /// When.
        at: Moment,
        /// Who.
        producer: u32,
        /// Of all batches up to this one.
        through: u64,
        /// The token's index.
        index: u64,
    },
    /// A leader told a producer which batch it waits for.
    Welcomed {
        /// When.
        at: Moment,
        /// Who.
        producer: u32,
        /// The leader.
        node: u64,
        /// The batch.
        next: u64,
    },
    /// A single reading was written.
    Put {
        /// Before it was sent.
        began: Moment,
        /// After the answer came, or none.
        ended: Moment,
        /// Who.
        writer: u32,
        /// Its number, from 1.
        number: u64,
        /// How it ended.
        fate: Fate,
    },
    /// Something was read.
    Read(Read),
    /// A node says who leads.
    Follows {
        /// When.
        at: Moment,
        /// The node.
        node: u64,
        /// The term it is in.
        term: u64,
        /// Who leads: perhaps the node itself.
        leader: u64,
    },
    /// Something was broken or mended on purpose.
    Fault {
        /// When.
        at: Moment,
        /// What sort.
        kind: FaultKind,
        /// What, for people.
        text: String,
    },
    /// From now on every sync of a majority of the members takes so long at least; zero for as long as
    /// it takes.
    SyncsTake {
        /// When.
        at: Moment,
        /// In ms.
        ms: u64,
    },
    /// The cluster was to take writes again, and did.
    Recovered {
        /// Since when nothing was broken.
        since: Moment,
        /// When the first batch sent since then was acknowledged; `None` if none was in time.
        at: Option<Moment>,
    },
    /// Something that must not happen, whatever is broken: a node that ended by itself, a panic.
    Misbehaved {
        /// When.
        at: Moment,
        /// What.
        text: String,
    },
    /// A node at the end.
    Final(Replica),
}

/// Takes events down, in memory and in a file. Clones write the same history.
#[derive(Debug, Clone)]
pub struct Recorder {
    began: Instant,
    inner: Arc<Mutex<Notes>>,
}

#[derive(Debug)]
struct Notes {
    events: Vec<Event>,
    file: BufWriter<File>,
    /// When each batch of each producer was sent.
    sent: BTreeMap<u32, Vec<Moment>>,
    /// The latest moment at which a batch was sent that is acknowledged.
    acknowledged: Option<Moment>,
    /// The latest token that anybody has.
    token: Option<u64>,
    /// How many single readings each writer has tried to write.
    puts: BTreeMap<u32, u64>,
}

impl Recorder {
    /// An empty history that is also written to `file`, one event of JSON a line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(file: &Path) -> Result<Self> {
        let created = File::create(file);
        let created = created.with_context(|| format!("cannot write {}", file.display()))?;
        let notes = Notes {
            events: Vec::new(),
            file: BufWriter::new(created),
            sent: BTreeMap::new(),
            acknowledged: None,
            token: None,
            puts: BTreeMap::new(),
        };
        Ok(Self {
            began: Instant::now(),
            inner: Arc::new(Mutex::new(notes)),
        })
    }

    /// Now.
    pub fn now(&self) -> Moment {
        Moment(micros(self.began.elapsed()))
    }

    /// Takes an event down.
    pub fn note(&self, event: Event) {
        let mut notes = self.lock();
        notes.learn(&event);
        if let Ok(line) = serde_json::to_string(&event) {
            // The verdict comes from memory; the file is for people.
            let _ = writeln!(notes.file, "{line}");
        }
        notes.events.push(event);
    }

    /// Takes down, and prints, that something was broken or mended.
    pub fn fault(&self, kind: FaultKind, text: &str) {
        let at = self.now();
        println!("{:>8.1}s  {text}", at.since(Moment(0)).as_secs_f64());
        let text = text.to_owned();
        self.note(Event::Fault { at, kind, text });
    }

    /// Takes down, and prints, something that must not happen.
    pub fn misbehaved(&self, text: &str) {
        let at = self.now();
        println!(
            "{:>8.1}s  VIOLATION: {text}",
            at.since(Moment(0)).as_secs_f64()
        );
        let text = text.to_owned();
        self.note(Event::Misbehaved { at, text });
    }

    /// The latest moment at which a batch was sent that is acknowledged.
    pub fn acknowledged(&self) -> Option<Moment> {
        self.lock().acknowledged
    }

    /// The latest token that was given out.
    pub fn token(&self) -> Option<u64> {
        self.lock().token
    }

    /// How many single readings `writer` has tried to write.
    pub fn puts(&self, writer: u32) -> u64 {
        self.lock().puts.get(&writer).copied().unwrap_or(0)
    }

    /// Everything so far.
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    /// Brings what is in memory to the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&self) -> Result<()> {
        self.lock().file.flush().context("cannot write the history")
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    fn learn(&mut self, event: &Event) {
        match event {
            Event::Sent { at, producer, .. } => {
                self.sent.entry(*producer).or_default().push(*at);
            }
            Event::Acked {
                producer,
                through,
                index,
                ..
            } => {
                let batch = usize::try_from(*through)
                    .ok()
                    .and_then(|n| n.checked_sub(1));
                let sent = self.sent.get(producer);
                let sent = sent.and_then(|sent| sent.get(batch?)).copied();
                self.acknowledged = self.acknowledged.max(sent);
                self.token = self.token.max(Some(*index));
            }
            Event::Put { writer, fate, .. } => {
                *self.puts.entry(*writer).or_default() += 1;
                if let Fate::Written { index } = fate {
                    self.token = self.token.max(Some(*index));
                }
            }
            _ => {}
        }
    }
}

/// Reads a history back.
///
/// # Errors
/// When the file cannot be read, or a line of it is not an event.
pub fn load(file: &Path) -> Result<Vec<Event>> {
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = BufReader::new(opened).lines().enumerate();
    lines
        .map(|(number, line)| {
            let place = || format!("{}, line {}", file.display(), number + 1);
            serde_json::from_str(&line.with_context(place)?).with_context(place)
        })
        .collect()
}
