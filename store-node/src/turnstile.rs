//! How many clients are connected, or subscribed, at a time: in all, and of one identity.
//!
//! Each may hold some MiB that nobody has read yet, so their number is what bounds that.
//! One identity may have a quarter of them, so that none can keep all others out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The share of all that one identity may have: one in so many.
const SHARE: usize = 4;

/// Counts those who are in.
#[derive(Debug)]
pub(crate) struct Turnstile {
    what: &'static str,
    all_max: usize,
    each_max: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    all: usize,
    by_name: BTreeMap<String, usize>,
}

/// Somebody who is in, until this is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    turnstile: Arc<Turnstile>,
    name: String,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Crowded {
    #[error("this node has {0} {1}, as many as it may: try another, or again later")]
    All(usize, &'static str),
    #[error("this identity has {0} {1}, as many as one may: close some")]
    Own(usize, &'static str),
}

impl Turnstile {
    /// So many at a time of `what`, as a refusal names them.
    pub(crate) fn new(what: &'static str, all_max: usize) -> Arc<Self> {
        Arc::new(Self {
            what,
            all_max,
            each_max: (all_max / SHARE).max(1),
            inside: Mutex::default(),
        })
    }

    /// Lets `name` in, if there is room.
    pub(crate) fn enter(self: &Arc<Self>, name: String) -> Result<Entry, Crowded> {
        let mut inside = self.lock();
        let own = inside.by_name.get(&name).copied().unwrap_or(0);
        if own >= self.each_max {
            return Err(Crowded::Own(own, self.what));
        }
        if inside.all >= self.all_max {
            return Err(Crowded::All(inside.all, self.what));
        }
        inside.all += 1;
        inside.by_name.insert(name.clone(), own + 1);
        drop(inside);
        Ok(Entry {
            turnstile: Arc::clone(self),
            name,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut inside = self.turnstile.lock();
        inside.all -= 1;
        if let Some(own) = inside.by_name.get_mut(&self.name) {
            *own -= 1;
            if *own == 0 {
                inside.by_name.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_let_in_one_more_is_not_and_who_leaves_makes_room() {
        let turnstile = Turnstile::new("connections", 8);
        let enter = |name: &str| turnstile.enter(name.to_owned());
        let first = enter("device/a").unwrap();
        let _second = enter("device/a").unwrap();
        assert_eq!(
            enter("device/a").unwrap_err(),
            Crowded::Own(2, "connections")
        );
        let others: Vec<Entry> = (0..6)
            .map(|name| enter(&format!("device/b{name}")).unwrap())
            .collect();
        assert_eq!(
            enter("device/c").unwrap_err(),
            Crowded::All(8, "connections")
        );
        drop(first);
        let _again = enter("device/a").unwrap();
        assert!(enter("device/c").is_err());
        drop(others);
        assert!(enter("device/c").is_ok());
        assert_eq!(turnstile.lock().by_name.len(), 1);
    }

    #[test]
    fn everybody_may_have_one() {
        let turnstile = Turnstile::new("connections", 1);
        let _one = turnstile.enter("device/a".to_owned()).unwrap();
        assert!(turnstile.enter("device/a".to_owned()).is_err());
    }
}
