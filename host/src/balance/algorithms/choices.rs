//! Power of two choices.

use super::{below, mix, weight};

/// Draws two different endpoints and takes the one with less load for its weight; between two that are equally loaded it
/// draws by weight. Two at random are enough to spare a busy endpoint (Mitzenmacher 2001), and many workers that choose at
/// once do not all choose the same one, as they would if each took the least loaded.
#[derive(Debug)]
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
        let weight = |at: usize| f64::from(weight(&self.weights, at));
        let (a, b) = (weight(one), weight(other));
        // Load per weight, compared without dividing.
        match (load(one) * b).total_cmp(&(load(other) * a)) {
            std::cmp::Ordering::Less => one,
            std::cmp::Ordering::Greater => other,
            std::cmp::Ordering::Equal if (mix(random) >> 32) as f64 * (a + b) < a * 2f64.powi(32) => one,
            std::cmp::Ordering::Equal => other,
        }
    }
}

/// Two different positions below `count`, which is at least two.
pub fn pair(random: u64, count: usize) -> (usize, usize) {
    let one = below(random, count);
    let other = below(random << 32, count - 1);
    (one, if other >= one { other + 1 } else { other })
}
