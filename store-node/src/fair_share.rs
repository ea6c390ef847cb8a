//! A bounded amount of something (bytes on their way, reads at a time) shared fairly.
//!
//! Whoever needs a part of it asks under a name. While there is enough, everyone gets what they ask
//! for. When there is not, asks wait in a line that is bounded as well, and are served so that no name
//! gains by asking more often: `fair_share/line.rs` has the rules, a plain structure without
//! time or threads. Here are the waiting, the giving back, and the hint when to come again.

mod line;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use line::{Arrival, Line};

/// The shortest time after which to come again: some syncs.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(20);
/// The longest: what was measured may not last.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
/// Over how long it is measured how fast things are given back.
const PACE_WINDOW: Duration = Duration::from_secs(1);

/// Shares of a bounded amount. Clones share the same.
#[derive(Debug, Clone)]
pub struct FairShare {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    desk: Mutex<Desk>,
    /// All was given back.
    idle: Notify,
}

#[derive(Debug)]
struct Desk {
    line: Line<oneshot::Sender<Result<Share, Busy>>>,
    pace: Pace,
    /// How often somebody asked.
    asked: u64,
}

/// A part that was given; dropping it gives it back.
#[derive(Debug)]
pub struct Share {
    shared: Arc<Shared>,
    name: Arc<str>,
    units: u64,
}

/// There is too much in the line already. Nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room, and too many wait for it: try again in {retry_after:?}")]
pub struct Busy {
    /// About when there is room.
    pub retry_after: Duration,
}

impl FairShare {
    /// `capacity` units, and a line of as many as `waiting_max`.
    pub fn new(capacity: u64, waiting_max: u64) -> Self {
        let desk = Desk {
            line: Line::new(capacity, waiting_max),
            pace: Pace::default(),
            asked: 0,
        };
        let shared = Shared {
            desk: Mutex::new(desk),
            idle: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// `units` for `name`, as soon as it is its turn. More than the whole capacity counts as that.
    ///
    /// # Cancel safety
    /// Safe: the place in the line is lost.
    ///
    /// # Errors
    /// [`Busy`] when the line is full, at once or later: whoever has most in it gives way.
    pub async fn acquire(&self, name: &str, units: u64) -> Result<Share, Busy> {
        let (give, given) = oneshot::channel();
        let name: Arc<str> = name.into();
        let (arrival, effects) = {
            let mut desk = self.lock();
            desk.asked = desk.asked.saturating_add(1);
            let arrival = desk.line.arrive(&name, units, give);
            (arrival, self.effects(&mut desk))
        };
        effects.carry_out(&self.shared);
        let mut place = Place {
            shares: self,
            name,
            ticket: match arrival {
                Arrival::Waits { ticket } => Some(ticket),
                Arrival::Settled => None,
            },
        };
        let outcome = given.await;
        place.ticket = None;
        // The sender is used before it is dropped, unless the share itself is gone.
        outcome.unwrap_or(Err(Busy {
            retry_after: RETRY_AFTER_MAX,
        }))
    }

    /// `units` for `name`, whether or not there is room: for the node's own doings, which are few,
    /// small, and must go on.
    pub fn take(&self, name: &str, units: u64) -> Share {
        let name: Arc<str> = name.into();
        let units = self.lock().line.take(&name, units);
        Share {
            shared: Arc::clone(&self.shared),
            name,
            units,
        }
    }

    /// Whether there is too little for those who ask. Changes at two different marks, so that it
    /// does not flicker.
    pub fn is_overloaded(&self) -> bool {
        self.lock().line.is_overloaded()
    }

    /// How often somebody asked for a part, whether or not it was given.
    pub fn asked(&self) -> u64 {
        self.lock().asked
    }

    /// Units given and not given back.
    pub fn held(&self) -> u64 {
        self.lock().line.held()
    }

    /// Units in the line.
    pub fn waiting(&self) -> u64 {
        self.lock().line.waiting()
    }

    /// Waits until all is given back and nobody waits.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn settled(&self) {
        loop {
            let idle = self.shared.idle.notified();
            {
                let desk = self.lock();
                if desk.line.held() == 0 && desk.line.waiting() == 0 {
                    return;
                }
            }
            idle.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.shared.lock()
    }

    fn effects(&self, desk: &mut Desk) -> Effects {
        self.shared.effects(desk)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        // The line's methods leave it whole or do not return.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of asks, to be told outside of the lock.
    fn effects(&self, desk: &mut Desk) -> Effects {
        let refused = desk.line.refused();
        let retry_after = if refused.is_empty() {
            RETRY_AFTER_MIN
        } else {
            desk.pace.time_for(desk.line.waiting(), Instant::now())
        };
        Effects {
            granted: desk.line.granted(),
            refused,
            retry_after,
        }
    }

    fn give_back(self: &Arc<Self>, name: &Arc<str>, units: u64) {
        let (effects, is_idle) = {
            let mut desk = self.lock();
            desk.pace.note(units, Instant::now());
            desk.line.release(name, units);
            let is_idle = desk.line.held() == 0 && desk.line.waiting() == 0;
            (self.effects(&mut desk), is_idle)
        };
        effects.carry_out(self);
        if is_idle {
            self.idle.notify_waiters();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shared.give_back(&self.name, self.units);
    }
}

struct Effects {
    granted: Vec<line::Granted<oneshot::Sender<Result<Share, Busy>>>>,
    refused: Vec<oneshot::Sender<Result<Share, Busy>>>,
    retry_after: Duration,
}

impl Effects {
    /// Must be called without the lock: a share that nobody takes any more is given back at once.
    fn carry_out(self, shared: &Arc<Shared>) {
        for granted in self.granted {
            let share = Share {
                shared: Arc::clone(shared),
                name: granted.name,
                units: granted.units,
            };
            drop(granted.waiter.send(Ok(share)));
        }
        for waiter in self.refused {
            let busy = Busy {
                retry_after: self.retry_after,
            };
            drop(waiter.send(Err(busy)));
        }
    }
}

/// A place in the line, left when whoever stands there does not wait any more.
struct Place<'a> {
    shares: &'a FairShare,
    name: Arc<str>,
    ticket: Option<u64>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let effects = {
            let mut desk = self.shares.lock();
            desk.line.leave(&self.name, ticket);
            self.shares.effects(&mut desk)
        };
        effects.carry_out(&self.shares.shared);
    }
}

/// How fast units are given back, as of late.
#[derive(Debug, Default)]
struct Pace {
    /// The window under way: since when, and how many so far.
    now: Option<(Instant, u64)>,
    /// Units a second in the window before.
    before: Option<f64>,
}

impl Pace {
    #[expect(clippy::cast_precision_loss, reason = "a hint needs no 53 bits")]
    fn note(&mut self, units: u64, at: Instant) {
        let (since, so_far) = self.now.get_or_insert((at, 0));
        *so_far += units;
        let elapsed = at.saturating_duration_since(*since);
        if elapsed >= PACE_WINDOW {
            self.before = Some(*so_far as f64 / elapsed.as_secs_f64());
            self.now = None;
        }
    }

    /// About how long it takes until so many units were given back.
    #[expect(clippy::cast_precision_loss, reason = "a hint needs no 53 bits")]
    fn time_for(&self, units: u64, at: Instant) -> Duration {
        let lately = self.now.and_then(|(since, so_far)| {
            let seconds = at.saturating_duration_since(since).as_secs_f64();
            (seconds > 0.1).then(|| so_far as f64 / seconds)
        });
        let pace = self.before.or(lately).unwrap_or(0.0).max(1.0);
        let time = Duration::try_from_secs_f64(units as f64 / pace);
        let time = time.unwrap_or(RETRY_AFTER_MAX);
        time.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)
    }
}

#[cfg(test)]
mod tests;
