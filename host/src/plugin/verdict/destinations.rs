//! Destinations that were named before.

use std::sync::Arc;

use arrayvec::ArrayVec;

use super::Destination;

/// The destinations that came last. Most plugins name a few of them again and again: requests share each, which is then in the
/// processor's caches, and what is equal to one of them needs no second check.
#[derive(Default)]
pub struct Destinations(ArrayVec<Arc<Destination>, { Self::MOST }>);

impl Destinations {
    /// How many are looked through.
    const MOST: usize = 16;
    /// A larger one is not kept, so that a plugin cannot make this large.
    const MOST_BYTES: usize = 4 << 10;

    /// One of them.
    pub fn find(&self, is_it: impl Fn(&Arc<Destination>) -> bool) -> Option<Arc<Destination>> {
        self.0.iter().find(|known| is_it(known)).cloned()
    }

    /// Takes one that was not found; the oldest goes for it.
    pub fn add(&mut self, destination: &Arc<Destination>) {
        if destination.bytes() > Self::MOST_BYTES {
            return;
        }
        if self.0.is_full() {
            self.0.remove(0);
        }
        self.0.push(Arc::clone(destination));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_for_one_more_and_a_large_one_is_not_taken() {
        let destination = |service: String| Arc::new(Destination { service, ..Destination::default() });
        let mut known = Destinations::default();
        (0..=Destinations::MOST).for_each(|number| known.add(&destination(number.to_string())));
        assert_eq!(known.0.len(), Destinations::MOST);
        known.add(&destination("1".repeat(Destinations::MOST_BYTES + 1)));
        let has = |service: &str| known.find(|known| known.service == service).is_some();
        assert_eq!([has("0"), has("1"), has(&Destinations::MOST.to_string())], [false, true, true]);
    }
}
