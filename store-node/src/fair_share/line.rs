//! Who gets how much of a bounded amount, and who gives way.
//!
//! - What was given never exceeds the capacity, but for what the node takes for itself.
//! - Of those who wait, the name that holds least is served next; of several, the one that has waited
//!   longest. Until there is room for it nobody else is served, so nothing large is passed over for ever.
//! - Nobody waits while the one who is next would fit.
//! - What waits never exceeds the line's bound: the name with most in the line gives way, its newest
//!   ask first. So a name with nothing else in the line is not refused as long as another has more.
//!
//! What is held is what is under way. Where things take their time in the order of being begun, the
//! share of what is held is the share of what is done: equal for all who want it, and what they do
//! not want is the others'.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// The share of the capacity from which it is overloaded, in percent.
const OVERLOADED_FROM: u64 = 90;
/// The share below which it is not any more.
const RELIEVED_BELOW: u64 = 70;

/// The amount, who holds of it and who waits. `W` is whoever is to be told.
#[derive(Debug)]
pub(super) struct Line<W> {
    capacity: u64,
    waiting_max: u64,
    held: u64,
    waiting: u64,
    /// Names that hold something or wait.
    parties: BTreeMap<Arc<str>, Party<W>>,
    next_ticket: u64,
    granted: Vec<Granted<W>>,
    refused: Vec<W>,
    is_overloaded: bool,
}

#[derive(Debug)]
struct Party<W> {
    held: u64,
    waiting: u64,
    asks: VecDeque<Ask<W>>,
}

#[derive(Debug)]
struct Ask<W> {
    ticket: u64,
    units: u64,
    waiter: W,
}

/// An ask whose turn came.
#[derive(Debug)]
pub(super) struct Granted<W> {
    pub(super) name: Arc<str>,
    pub(super) units: u64,
    pub(super) waiter: W,
}

/// What an arrival came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It was granted or refused, and is among those to be told.
    Settled,
    /// It stands in the line.
    Waits {
        /// The place, for [`Line::leave`].
        ticket: u64,
    },
}

impl<W> Line<W> {
    pub(super) const fn new(capacity: u64, waiting_max: u64) -> Self {
        Self {
            capacity,
            waiting_max,
            held: 0,
            waiting: 0,
            parties: BTreeMap::new(),
            next_ticket: 0,
            granted: Vec::new(),
            refused: Vec::new(),
            is_overloaded: false,
        }
    }

    /// Somebody asks. Others may be refused because of it.
    pub(super) fn arrive(&mut self, name: &Arc<str>, units: u64, waiter: W) -> Arrival {
        let units = units.min(self.capacity);
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let party = self.party(name);
        party.waiting += units;
        party.asks.push_back(Ask {
            ticket,
            units,
            waiter,
        });
        self.waiting += units;
        self.serve();
        while self.waiting > self.waiting_max {
            self.refuse_one();
        }
        // What was refused may have been next, and in the way of one that fits.
        self.serve();
        self.note_load();
        let stands = |party: &Party<W>| party.asks.iter().any(|ask| ask.ticket == ticket);
        if self.parties.get(name).is_some_and(stands) {
            Arrival::Waits { ticket }
        } else {
            Arrival::Settled
        }
    }

    /// Units that are given without asking whether there is room. Returns how many.
    pub(super) fn take(&mut self, name: &Arc<str>, units: u64) -> u64 {
        self.party(name).held += units;
        self.held += units;
        self.note_load();
        units
    }

    /// Units are given back.
    pub(super) fn release(&mut self, name: &Arc<str>, units: u64) {
        if let Some(party) = self.parties.get_mut(name) {
            assert!(party.held >= units, "nothing is given back twice");
            party.held -= units;
            self.held -= units;
        }
        self.forget_idle(name);
        self.serve();
        self.note_load();
    }

    /// Somebody does not wait any more, unless it was settled meanwhile.
    pub(super) fn leave(&mut self, name: &Arc<str>, ticket: u64) {
        if let Some(party) = self.parties.get_mut(name)
            && let Some(at) = party.asks.iter().position(|ask| ask.ticket == ticket)
            && let Some(ask) = party.asks.remove(at)
        {
            party.waiting -= ask.units;
            self.waiting -= ask.units;
        }
        self.forget_idle(name);
        // It may have stood before others that fit.
        self.serve();
        self.note_load();
    }

    /// Those whose turn came since the last time this was asked.
    pub(super) fn granted(&mut self) -> Vec<Granted<W>> {
        std::mem::take(&mut self.granted)
    }

    /// Those who had to give way since the last time this was asked.
    pub(super) fn refused(&mut self) -> Vec<W> {
        std::mem::take(&mut self.refused)
    }

    pub(super) const fn held(&self) -> u64 {
        self.held
    }

    pub(super) const fn waiting(&self) -> u64 {
        self.waiting
    }

    pub(super) const fn is_overloaded(&self) -> bool {
        self.is_overloaded
    }

    fn serve(&mut self) {
        while let Some(name) = self.next() {
            let Some(party) = self.parties.get_mut(&name) else {
                return;
            };
            let fits = |ask: &Ask<W>| self.held + ask.units <= self.capacity;
            let Some(ask) = party.asks.pop_front_if(|ask| fits(ask)) else {
                return;
            };
            party.waiting -= ask.units;
            party.held += ask.units;
            self.waiting -= ask.units;
            self.held += ask.units;
            self.granted.push(Granted {
                name,
                units: ask.units,
                waiter: ask.waiter,
            });
        }
    }

    /// The name that is served next.
    fn next(&self) -> Option<Arc<str>> {
        let waiting = self.parties.iter().filter_map(|(name, party)| {
            let first = party.asks.front()?;
            Some((party.held, first.ticket, name))
        });
        waiting.min().map(|(_, _, name)| Arc::clone(name))
    }

    /// The newest ask of the name with most in the line; of several, the one that holds most, then the
    /// one that came last.
    fn refuse_one(&mut self) {
        let greediest = self.parties.iter().filter_map(|(name, party)| {
            let last = party.asks.back()?;
            Some((party.waiting, party.held, last.ticket, name))
        });
        let Some(name) = greediest.max().map(|(.., name)| Arc::clone(name)) else {
            return;
        };
        if let Some(party) = self.parties.get_mut(&name)
            && let Some(ask) = party.asks.pop_back()
        {
            party.waiting -= ask.units;
            self.waiting -= ask.units;
            self.refused.push(ask.waiter);
            self.is_overloaded = true;
        }
        self.forget_idle(&name);
    }

    fn note_load(&mut self) {
        let percent = self.held.saturating_mul(100);
        if percent >= self.capacity.saturating_mul(OVERLOADED_FROM) || !self.refused.is_empty() {
            self.is_overloaded = true;
        } else if self.waiting == 0 && percent < self.capacity.saturating_mul(RELIEVED_BELOW) {
            self.is_overloaded = false;
        }
    }

    fn party(&mut self, name: &Arc<str>) -> &mut Party<W> {
        self.parties.entry(Arc::clone(name)).or_insert(Party {
            held: 0,
            waiting: 0,
            asks: VecDeque::new(),
        })
    }

    fn forget_idle(&mut self, name: &Arc<str>) {
        let is_idle = |party: &Party<W>| party.held == 0 && party.asks.is_empty();
        if self.parties.get(name).is_some_and(is_idle) {
            self.parties.remove(name);
        }
    }
}
