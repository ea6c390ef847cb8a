//! The replicated state: what applying the committed entries, in order, has made of an empty store.
//!
//! Applying is deterministic: no clock, no randomness, no iteration over a hash map, so that every
//! replica that has applied the same entries answers the same. It reads no disk and keeps no chunk
//! of many readings: a reference to its place in the log stands for it ([`chunks`]).
//!
//! [`registry`] names the series, [`producers`] knows which batches have been applied, [`nodes`] which
//! node ids were ever used, [`boards`] keeps what people compose. What is sealed, and what is on its way there, is in `sealing.rs`. What is
//! asked of the state is answered in [`crate::scan`].

pub mod boards;
pub mod chunks;
pub mod generation;
pub mod nodes;
pub mod order;
mod paths;
mod payloads;
pub mod pieces;
pub mod producers;
pub mod readings;
pub mod registry;
pub(crate) mod sealing;
pub mod selection;
pub mod trail;
pub mod voids;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use column_codec::{ChunkView, DecodeError};
use sensor_model::{Columns, Kind, SeriesDescription, SeriesId, SeriesPath};
use store_wire::message::ProducerStatus;

use crate::command::{Append, Command};
use crate::segments::manifest::{RetentionRule, SegmentEntry, Tombstone};

pub use payloads::{PayloadError, Payloads};

use boards::Boards;
use chunks::{Buffers, SMALL_READINGS};
use generation::{Generation, Job};
use nodes::Nodes;
use pieces::Place;
use producers::{Producers, Verdict};
use readings::SeriesReadings;
use registry::{Registry, SeriesRefusal};
use trail::{Footprint, Trail};
use voids::Voids;

/// A leader proposes no more deletes while there are so many tombstones: each read looks at all of them.
/// Applying knows no bound, as replicas let go of tombstones at different times.
pub const TOMBSTONES_MAX: usize = 4096;

/// Everything applied so far.
///
/// Invariants:
/// - a command changes everything it says or nothing;
/// - `readings` has one element a series of the registry, at the place of its id.
#[derive(Debug, Default)]
pub struct State {
    registry: Registry,
    producers: Producers,
    nodes: Nodes,
    boards: Boards,
    readings: Vec<SeriesReadings>,
    total: u64,
    /// By order.
    segments: Vec<Arc<SegmentEntry>>,
    /// On their way into segments, oldest first.
    generations: VecDeque<Arc<Generation>>,
    /// Asked for and not done, in the order of their commands.
    jobs: VecDeque<Job>,
    /// Jobs of commands up to this index are done, or never were to be.
    jobs_through: u64,
    /// Everything committed up to this index is in segments.
    sealed_through: u64,
    /// By index.
    tombstones: Vec<Tombstone>,
    retention: Vec<RetentionRule>,
    /// What was appended since the last seal.
    fresh: Fresh,
    trail: Trail,
    voids: Voids,
    hold: Arc<()>,
    workspace: Workspace,
}

/// How much was appended since the last seal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fresh {
    /// Bytes of commands.
    pub bytes: u64,
    /// Readings.
    pub readings: u64,
}

/// Buffers kept from command to command; what is in them means nothing.
#[derive(Debug, Default)]
struct Workspace {
    buffers: Buffers,
    /// One a kind, so that chunks of different kinds in turn do not cost an allocation each.
    decoded: Decoded,
}

#[derive(Debug)]
struct Decoded([Columns; 4]);

/// What applying one command came to, the same on every replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// One result for each series asked for, in order.
    SeriesOpened {
        /// Ids, or why not.
        results: Vec<Result<SeriesId, SeriesRefusal>>,
    },
    /// The producer has a new epoch; its next sequence is 1.
    ProducerOpened {
        /// The epoch.
        epoch: u64,
    },
    /// The batch's readings are visible.
    Applied {
        /// How many.
        readings: u64,
    },
    /// The batch had been applied before: nothing was changed.
    Duplicate {
        /// The sequence that comes next.
        next: u64,
    },
    /// Batches before this one are missing: nothing was changed.
    Gap {
        /// The sequence that must come first.
        expected: u64,
    },
    /// A newer epoch of the producer has begun: nothing was changed.
    Fenced {
        /// The newer epoch.
        epoch: u64,
    },
    /// A chunk is not of its series' kind: nothing was changed.
    KindMismatch {
        /// The series.
        path: SeriesPath,
        /// Its kind.
        existing: Kind,
        /// The chunk's kind.
        offered: Kind,
    },
    /// The node has the id it claimed.
    NodeClaimed,
    /// The id is, or was, another node's: nothing was changed.
    NodeIdTaken,
    /// What was not sealed is on its way into segments. [`State::place_generation`] must follow.
    Sealed,
    /// The segments will be compacted, unless the jobs before have changed them.
    Compacting,
    /// The readings are no longer seen.
    Deleted,
    /// A series matches that whoever deletes did not know of: nothing was changed.
    Unforeseen {
        /// The series.
        path: SeriesPath,
    },
    /// The rules are in force.
    RetentionSet,
    /// The series is as was asked.
    Described {
        /// What it is now.
        series: Arc<SeriesDescription>,
        /// Whether it was opened by this.
        is_new: bool,
    },
    /// The series cannot be so: nothing was changed.
    NotDescribed {
        /// Why not.
        refusal: SeriesRefusal,
    },
    /// The board is as was asked.
    BoardSet,
    /// The board has another revision than was expected: nothing was changed.
    BoardConflict {
        /// Its revision; 0 if it does not exist.
        revision: u64,
    },
    /// There is no room for one more board: nothing was changed.
    TooManyBoards,
    /// The command is not one that a correct leader proposes: nothing was changed.
    Refused {
        /// What is wrong with it.
        reason: String,
    },
}

/// What a node's status says about its state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many series there are.
    pub series: u64,
    /// How many readings were applied, repeated timestamps counted each time.
    pub readings: u64,
    /// Every producer, ordered by name.
    pub producers: Vec<ProducerStatus>,
}

impl State {
    /// The state of an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies the command at `index` of the log.
    pub fn apply(&mut self, index: u64, payload: &Bytes) -> Outcome {
        match Command::parse(payload) {
            Ok(Command::OpenSeries { series }) => {
                let results = series
                    .into_iter()
                    .map(|series| {
                        let kind = series.kind;
                        let id = self.registry.open(series)?;
                        if self.readings.len() < self.registry.len() {
                            self.readings.push(SeriesReadings::new(kind));
                        }
                        Ok(id)
                    })
                    .collect();
                Outcome::SeriesOpened { results }
            }
            Ok(Command::OpenProducer { producer }) => Outcome::ProducerOpened {
                epoch: self.producers.open(producer),
            },
            Ok(Command::Append(append)) => {
                let outcome = self.append(index, payload, &append);
                if !matches!(outcome, Outcome::Applied { .. }) {
                    self.voids.add(index);
                }
                outcome
            }
            Ok(Command::Seal(seal)) => self.seal(index, seal),
            Ok(Command::Compact { segments }) => self.compact(index, segments),
            Ok(Command::Delete {
                pattern,
                range,
                known,
            }) => {
                let newer = known.and_then(|known| self.registry.newer(known, &pattern));
                if let Some(series) = newer {
                    let path = series.path.clone();
                    return Outcome::Unforeseen { path };
                }
                self.delete(index, pattern, range)
            }
            Ok(Command::SetRetention { rules }) => {
                self.retention = rules;
                Outcome::RetentionSet
            }
            Ok(Command::Describe { path, kind, change }) => {
                match self.registry.describe(path, kind, &change) {
                    Ok((series, is_new)) => {
                        if is_new {
                            self.readings.push(SeriesReadings::new(series.kind));
                        }
                        Outcome::Described { series, is_new }
                    }
                    Err(refusal) => Outcome::NotDescribed { refusal },
                }
            }
            Ok(Command::SetBoard {
                name,
                expected,
                text,
            }) => {
                // So that a log of nothing but boards is sealed, and purged, as well.
                self.fresh.bytes += payload.len() as u64;
                self.boards.set(index, name, expected, text)
            }
            Ok(Command::ClaimNode { id, incarnation }) => {
                if self.nodes.claim(id, incarnation) {
                    Outcome::NodeClaimed
                } else {
                    Outcome::NodeIdTaken
                }
            }
            Err(error) => Outcome::Refused {
                reason: error.to_string(),
            },
        }
    }

    /// Takes note of the entry that was just applied, to be compared with other replicas.
    pub fn leave(&mut self, footprint: Footprint, is_seal: bool) {
        self.trail.add(footprint, is_seal);
    }

    /// What was applied lately, to be compared with other replicas.
    pub const fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Which entries with batches came to nothing.
    pub const fn voids(&self) -> &Voids {
        &self.voids
    }

    /// Takes note of a committed membership: the ids of all members, learners too.
    pub fn follow_members(&mut self, members: &BTreeSet<u64>) {
        self.nodes.follow(members);
    }

    /// Every node id ever used.
    pub const fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// The boards by name.
    pub const fn boards(&self) -> &Boards {
        &self.boards
    }

    /// The series by id and path.
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The producers by name.
    pub const fn producers(&self) -> &Producers {
        &self.producers
    }

    /// The readings of the series `id`.
    pub fn readings(&self, id: SeriesId) -> Option<&SeriesReadings> {
        self.readings.get(usize::try_from(id.0).ok()?)
    }

    /// What a node's status says about this state.
    pub fn summary(&self) -> Summary {
        Summary {
            series: self.registry.len() as u64,
            readings: self.total,
            producers: self.producers.statuses(),
        }
    }

    fn append(&mut self, index: u64, payload: &Bytes, append: &Append<'_>) -> Outcome {
        if let Some(position) = &append.position {
            match self.producers.judge(position) {
                Verdict::Apply => {}
                Verdict::Duplicate { next } => return Outcome::Duplicate { next },
                Verdict::Gap { expected } => return Outcome::Gap { expected },
                Verdict::Fenced { epoch } => return Outcome::Fenced { epoch },
                Verdict::Unassigned { epoch } => {
                    return Outcome::Refused {
                        reason: format!(
                            "producer {} was never given epoch {}: its last is {epoch}",
                            position.producer, position.epoch
                        ),
                    };
                }
            }
        }
        // Everything is looked at before anything is changed.
        if let Err(outcome) = self.check(append) {
            return outcome;
        }
        let mut readings = 0;
        for (id, chunk) in append.batch.chunks().slices() {
            readings += self.add(index, payload, id, chunk);
        }
        self.total += readings;
        self.fresh.bytes += payload.len() as u64;
        self.fresh.readings += readings;
        if let Some(position) = &append.position {
            self.producers.advance(position);
        }
        Outcome::Applied { readings }
    }

    /// Whether every chunk is whole, small enough to decode now or to be referred to, and of its
    /// series' kind.
    fn check(&mut self, append: &Append<'_>) -> Result<(), Outcome> {
        for (id, chunk) in append.batch.chunks().slices() {
            let Some(series) = self.registry.description(SeriesId(id)) else {
                return Err(Outcome::Refused {
                    reason: format!("series {id} does not exist"),
                });
            };
            let refused = |error: DecodeError| Outcome::Refused {
                reason: format!("a chunk of series {}: {error}", series.path),
            };
            let mismatch = |offered| Outcome::KindMismatch {
                path: series.path.clone(),
                existing: series.kind,
                offered,
            };
            if let Some(only) = column_codec::parse_single(chunk).map_err(refused)? {
                match only.value.kind() {
                    kind if kind == series.kind => continue,
                    kind => return Err(mismatch(kind)),
                }
            }
            let view = column_codec::parse(chunk).map_err(refused)?;
            if view.kind() != series.kind {
                return Err(mismatch(view.kind()));
            }
            if view.count() < SMALL_READINGS {
                let scratch = &mut self.workspace.buffers.scratch;
                view.verify(scratch).map_err(refused)?;
            }
        }
        Ok(())
    }

    /// Adds one chunk that has been checked, and returns how many readings it holds.
    fn add(&mut self, index: u64, payload: &Bytes, id: u64, chunk: &[u8]) -> u64 {
        let Workspace { buffers, decoded } = &mut self.workspace;
        let series = usize::try_from(id).ok();
        let series = series.and_then(|at| self.readings.get_mut(at));
        let (Some(series), Ok(only)) = (series, column_codec::parse_single(chunk)) else {
            unreachable!("the chunk has been checked and its series exists");
        };
        if let Some(only) = only {
            series.add_reading(index, only, buffers);
            return 1;
        }
        let Ok(view) = column_codec::parse(chunk) else {
            unreachable!("the chunk has been checked");
        };
        if view.count() >= SMALL_READINGS {
            series.add_chunk(index, place(payload, chunk), &view, buffers);
        } else {
            let columns = decoded.of(&view);
            view.decode_into(columns, &mut buffers.scratch)
                .expect("a chunk of few readings has been verified");
            series.add_readings(index, columns, buffers);
        }
        view.count() as u64
    }
}

/// Two states are equal when they answer every question and every command alike, whatever of it is
/// sealed already.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.registry == other.registry
            && self.producers == other.producers
            && self.nodes == other.nodes
            && self.boards == other.boards
            && self.readings == other.readings
            && self.total == other.total
            && self.tombstones == other.tombstones
            && self.retention == other.retention
            && self.fresh == other.fresh
            && self.voids == other.voids
    }
}

impl Default for Decoded {
    fn default() -> Self {
        Self([Kind::F64, Kind::I64, Kind::Bool, Kind::Text].map(Columns::empty))
    }
}

impl Decoded {
    const fn of(&mut self, chunk: &ChunkView<'_>) -> &mut Columns {
        match chunk.kind() {
            Kind::F64 => &mut self.0[0],
            Kind::I64 => &mut self.0[1],
            Kind::Bool => &mut self.0[2],
            Kind::Text => &mut self.0[3],
        }
    }
}

/// Where `chunk`, a slice of `payload`, stands in it.
fn place(payload: &Bytes, chunk: &[u8]) -> Place {
    let offset = chunk.as_ptr().addr() - payload.as_ptr().addr();
    let fits = "a payload is a few MiB at most";
    Place::Log {
        offset: u32::try_from(offset).expect(fits),
        length: u32::try_from(chunk.len()).expect(fits),
        crc: crc32c::crc32c(chunk),
    }
}

#[cfg(test)]
mod tests;
