//! What the records of a log add up to, one after the other.
//!
//! The log on disk is a suffix of the stream that was ever written: whole segments are removed from
//! its front. So it may begin with anything: with entries that a later record takes back, with the
//! record of a purge, with entries below the manifest. Where the log *ends* is known from the first
//! record that says so on, and every entry must follow that end; where it *begins* is judged once all
//! records were seen, or as soon as an entry is to be applied.

use std::{
    collections::VecDeque,
    sync::{Arc, RwLock},
};

use segment_log::Location;

use super::Contradiction;
use crate::{
    raft::{
        index::LogIndex,
        position::Place,
        record::Record,
        state_machine::Machine,
        types::{Entry, LogId},
    },
    state::State,
};

/// Whether committed entries change the state as they are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applying {
    /// They do.
    Committed,
    /// The records are only checked.
    Nothing,
}

/// The log after the records seen so far, above the manifest's position if there is one.
pub(super) struct Replay {
    base: Option<LogId>,
    applying: Applying,
    index: LogIndex,
    machine: Machine,
    /// The entries above the base that are not applied, the newest of the log.
    waiting: VecDeque<Entry>,
    /// The index that the next entry must have; none before the first record that tells.
    end: Option<u64>,
}

/// What a whole log came to.
pub(super) struct Replayed {
    pub(super) index: LogIndex,
    pub(super) machine: Machine,
    /// What the log must be told before it is written to.
    pub(super) settle: Settle,
}

/// What a log must be told so that it goes on right after the manifest's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settle {
    /// Nothing: that is where it goes on.
    Nothing,
    /// That it was purged through the position: it ends before it.
    Purge,
    /// The same, and before it that its entries after this one are taken back: they are of a branch
    /// that was never committed, as the manifest was installed over it.
    TakeBack(Option<LogId>),
}

impl Replay {
    /// No records yet, and so nothing in `index`. `state` is as of `base`, or empty.
    pub(super) fn new(
        shard: u32,
        base: Option<Place>,
        index: LogIndex,
        state: Arc<RwLock<State>>,
        applying: Applying,
    ) -> Self {
        Self {
            base: base.as_ref().map(|base| base.id),
            applying,
            index,
            machine: Machine::new(shard, state, base),
            waiting: VecDeque::new(),
            end: None,
        }
    }

    /// Takes the next record, which is at `location`.
    pub(super) fn take(&mut self, location: Location, record: Record) -> Result<(), Contradiction> {
        match record {
            // Votes only grow, so a vote that was written again later changes nothing.
            Record::Vote(vote) if self.index.vote.is_none_or(|held| held <= vote) => {
                self.index.vote = Some(vote);
            }
            Record::Vote(_) | Record::Committed(None) => {}
            Record::Entry(entry) => self.push(entry, location)?,
            Record::Truncate(last) => self.truncate_after(last)?,
            Record::Purge(upto) => self.purge(&upto)?,
            Record::Committed(Some(upto)) => self.commit(&upto)?,
        }
        Ok(())
    }

    fn push(&mut self, entry: Entry, location: Location) -> Result<(), Contradiction> {
        let id = entry.log_id;
        if let Some(end) = self.end.filter(|end| *end != id.index) {
            return Err(Contradiction::new(format!(
                "entry {id} does not follow the log, which goes on at {end}"
            )));
        }
        self.index
            .push_location(&id, location)
            .map_err(|gap| Contradiction::new(gap.to_string()))?;
        self.end = Some(id.index + 1);
        if self.base.is_none_or(|base| id.index > base.index) {
            self.waiting.push_back(entry);
        }
        Ok(())
    }

    fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), Contradiction> {
        let end = last.map_or(0, |last| last.index + 1);
        if let Some(committed) = self.index.committed.filter(|id| id.index >= end) {
            return Err(Contradiction::new(format!(
                "entry {committed} was committed, and is taken back later"
            )));
        }
        self.index.truncate_after(last.as_ref());
        self.waiting.retain(|entry| entry.log_id.index < end);
        self.end = Some(self.end.map_or(end, |known| known.min(end)));
        Ok(())
    }

    /// A purge says no more than that a manifest had got so far, which this one must have as well;
    /// except where the log ended before: then it goes on after what was purged.
    fn purge(&mut self, upto: &LogId) -> Result<(), Contradiction> {
        match self.base {
            None => {
                return Err(Contradiction::new(format!(
                    "it was purged through entry {upto}, and the manifest that holds what was \
                     purged is missing"
                )));
            }
            Some(base) if base.index < upto.index => {
                return Err(Contradiction::new(format!(
                    "it was purged through entry {upto}, and the newest manifest stands at {base}: \
                     a newer one is missing"
                )));
            }
            Some(_) => {}
        }
        if let Some(held) = self.index.id(upto.index).filter(|held| held != upto) {
            return Err(Contradiction::new(format!(
                "entry {upto} was purged, and the log held {held} in its place"
            )));
        }
        if self.end.is_some_and(|end| end <= upto.index) {
            self.clear();
            self.end = Some(upto.index + 1);
        }
        Ok(())
    }

    fn commit(&mut self, upto: &LogId) -> Result<(), Contradiction> {
        if let Some(held) = self.index.id(upto.index).filter(|held| held != upto) {
            return Err(Contradiction::new(format!(
                "entry {upto} was committed, and the log holds {held} in its place"
            )));
        }
        self.index.committed = self.index.committed.max(Some(*upto));
        self.check_branch()?;
        while let Some(entry) = self.waiting.pop_front_if(|e| e.log_id.index <= upto.index) {
            let next = self
                .machine
                .applied()
                .map_or(0, |applied| applied.index + 1);
            if entry.log_id.index != next {
                return Err(self.missing(entry.log_id.index));
            }
            match self.applying {
                Applying::Committed => drop(self.machine.apply(&entry)),
                Applying::Nothing => self.machine.pass(&entry),
            }
        }
        Ok(())
    }

    /// Whether the log is of the manifest's branch; if it is not, nothing from the manifest on may be
    /// known to be committed.
    fn check_branch(&self) -> Result<bool, Contradiction> {
        let Some(base) = self.base else {
            return Ok(true);
        };
        let Some(held) = self.index.id(base.index).filter(|held| *held != base) else {
            return Ok(true);
        };
        match self.index.committed {
            Some(committed) if committed.index >= base.index => Err(Contradiction::new(format!(
                "entry {committed} was committed after {held}, where the manifest has {base}"
            ))),
            _ => Ok(false),
        }
    }

    /// Judges where the log begins, and what it must be told.
    pub(super) fn finish(mut self) -> Result<Replayed, Contradiction> {
        let next = self.base.map_or(0, |base| base.index + 1);
        let begins = self.index.first().or(self.end).unwrap_or(next);
        if begins > next {
            return Err(self.missing(begins));
        }
        let mut settle = Settle::Nothing;
        if let Some(base) = self.base {
            if !self.check_branch()? {
                settle = Settle::TakeBack(self.index.committed);
                self.clear();
            } else if self.end.is_some_and(|end| end < next) {
                settle = Settle::Purge;
            }
            self.index.purge(&base);
        }
        for entry in self.waiting {
            self.index.cache(entry);
        }
        Ok(Replayed {
            index: self.index,
            machine: self.machine,
            settle,
        })
    }

    fn clear(&mut self) {
        self.index.truncate_after(None);
        self.waiting.clear();
    }

    /// The log goes on at `found`, and what comes before is nowhere.
    fn missing(&self, found: u64) -> Contradiction {
        Contradiction::new(match self.base {
            None => format!(
                "it begins with entry {found}, and the manifest that holds those before it is missing"
            ),
            Some(base) => format!(
                "the manifest stands at entry {base} and the log begins with entry {found}: those \
                 between them are missing"
            ),
        })
    }
}
