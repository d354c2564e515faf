//! Room for bodies that are held, over all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::refusal::Refusal;

/// How many bytes of bodies may be held at one time, over all workers.
#[derive(Debug)]
pub struct Budget {
    taken: Arc<AtomicUsize>,
    most: usize,
}

impl Budget {
    /// `taken` is shared by all budgets of the process, so that a reload forgets nothing.
    #[must_use]
    pub fn new(taken: Arc<AtomicUsize>, most: usize) -> Self {
        Self { taken, most }
    }

    pub(super) fn take(&self, bytes: usize) -> Result<Room, Refusal> {
        let mut room = Room { taken: Arc::clone(&self.taken), most: self.most, bytes: 0 };
        room.grow(bytes)?;
        Ok(room)
    }
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    taken: Arc<AtomicUsize>,
    most: usize,
    pub(super) bytes: usize,
}

impl Room {
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.bytes);
        let before = self.taken.fetch_add(more, Relaxed);
        self.bytes += more;
        if before.saturating_add(more) > self.most { Err(Refusal::NoRoom) } else { Ok(()) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_of_the_budget_comes_back() {
        let taken = Arc::new(AtomicUsize::new(0));
        let budget = Budget::new(Arc::clone(&taken), 10);
        let room = budget.take(8).unwrap();
        assert!(budget.take(3).is_err());
        assert_eq!(taken.load(Relaxed), 8);
        drop(room);
        assert_eq!(taken.load(Relaxed), 0);
    }
}
