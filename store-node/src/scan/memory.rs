//! What all scans of a node may hold decoded at a time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes that scans share.
#[derive(Debug)]
pub struct Memory {
    bytes_max: usize,
    taken: AtomicUsize,
}

/// What one scan has taken; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    memory: Option<Arc<Memory>>,
    bytes: usize,
}

impl Memory {
    /// So many bytes for all.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            taken: AtomicUsize::new(0),
        })
    }

    /// Bytes taken by all.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |taken: usize| {
            let after = taken.checked_add(bytes)?;
            (after <= self.bytes_max).then_some(after)
        };
        let order = Ordering::Relaxed;
        self.taken.fetch_update(order, order, fits).is_ok()
    }
}

impl Held {
    /// Nothing yet.
    pub(super) const fn of(memory: Option<Arc<Memory>>) -> Self {
        Self { memory, bytes: 0 }
    }

    /// Takes as much as is lacking to `bytes`. False when there is not so much.
    pub(super) fn reach(&mut self, bytes: usize) -> bool {
        let lacking = bytes.saturating_sub(self.bytes);
        if self
            .memory
            .as_ref()
            .is_some_and(|memory| !memory.take(lacking))
        {
            return false;
        }
        self.bytes += lacking;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(memory) = &self.memory {
            memory.taken.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_is_given_one_more_is_not_and_all_comes_back() {
        let memory = Memory::new(100);
        let mut first = Held::of(Some(Arc::clone(&memory)));
        let mut second = Held::of(Some(Arc::clone(&memory)));
        assert!(
            first.reach(60) && first.reach(40),
            "what is held is not taken again"
        );
        assert!(!second.reach(41));
        assert!(second.reach(40));
        assert_eq!(memory.taken(), 100);
        drop(first);
        assert!(second.reach(100));
        drop(second);
        assert_eq!(memory.taken(), 0);
        assert!(Held::of(None).reach(usize::MAX));
    }
}
