//! Power of two choices.

use std::cmp::Ordering;

use super::{below, mix, weight};

/// Draws two different endpoints and takes the one with less load for its weight; between two that are equally loaded it
/// draws by weight. Two at random are enough to spare a busy endpoint (Mitzenmacher 2001), and many workers that choose at
/// once do not all choose the same one, as they would if each took the least loaded.
#[derive(Clone, Debug)]
pub struct Choices {
    weights: Vec<u32>,
}

impl Choices {
    /// Over endpoints with these weights.
    pub fn new(weights: &[u32]) -> Self {
        Self { weights: weights.to_vec() }
    }

    /// The less loaded of two that `random` draws.
    pub fn pick(&self, load: impl Fn(usize) -> f64, random: u64) -> Option<usize> {
        match self.weights.len() {
            0 => None,
            1 => Some(0),
            count => Some(self.calmer(pair(random, count), load, random)),
        }
    }

    fn calmer(&self, (one, other): (usize, usize), load: impl Fn(usize) -> f64, random: u64) -> usize {
        let (a, b) = (self.weight(one), self.weight(other));
        match self.compare((one, load(one)), (other, load(other))) {
            Ordering::Less => one,
            Ordering::Greater => other,
            Ordering::Equal if (mix(random) >> 32) as f64 * (a + b) < a * 2f64.powi(32) => one,
            Ordering::Equal => other,
        }
    }

    /// Whose load is less for its weight, compared without dividing; each is a position with its load.
    pub fn compare(&self, (one, its): (usize, f64), (other, others): (usize, f64)) -> Ordering {
        (its * self.weight(other)).total_cmp(&(others * self.weight(one)))
    }

    fn weight(&self, at: usize) -> f64 {
        f64::from(weight(&self.weights, at))
    }
}

/// Two different positions below `count`, which is at least two.
pub fn pair(random: u64, count: usize) -> (usize, usize) {
    let one = below(random, count);
    let other = below(random << 32, count - 1);
    (one, if other >= one { other + 1 } else { other })
}
