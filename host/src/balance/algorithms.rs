//! How one endpoint is chosen among several: pure logic over positions, without clocks, locks or atomics. However many
//! endpoints there are, a pick costs the same.

use crate::config::Balance;

mod choices;
mod maglev;
mod random;
mod ring;
mod round_robin;
#[cfg(test)]
mod tests;

pub use choices::Choices;
pub use maglev::{Maglev, Table};
pub use random::Random;
pub use round_robin::RoundRobin;

/// A service's algorithm with what one worker remembers between picks.
#[derive(Clone, Debug)]
pub enum Algorithm {
    /// Smooth weighted round robin.
    RoundRobin(RoundRobin),
    /// At random, by weight.
    Random(Random),
    /// Power of two choices; what a load is, whoever picks says.
    Choices(Choices),
    /// Consistent hashing.
    Maglev(Maglev),
}

impl Algorithm {
    /// Begins anew over endpoints with these weights, at a place that `random` decides, so that workers that begin together
    /// do not all send their first requests to the same endpoint. Where there is a key there is also a `table`; without one
    /// consistent hashing is what it is for requests without a key: a choice at random.
    pub fn new(kind: &Balance, weights: &[u32], random: u64) -> Self {
        match kind {
            Balance::RoundRobin => Self::RoundRobin(RoundRobin::new(weights, random)),
            Balance::LeastBusy | Balance::PeakEwma { .. } => Self::Choices(Choices::new(weights)),
            Balance::Random | Balance::Maglev { .. } => Self::Random(Random::new(weights)),
        }
    }

    /// Whether a pick uses up a turn.
    pub fn takes_turns(&self) -> bool {
        matches!(self, Self::RoundRobin(_))
    }

    /// The position of the next endpoint; `None` where there are none. `load` answers how busy a position is, in a unit that
    /// is the same for all; `draw` is random, or a key that decides.
    pub fn pick(&mut self, load: impl Fn(usize) -> f64, draw: u64) -> Option<usize> {
        match self {
            Self::RoundRobin(turns) => turns.pick(),
            Self::Random(random) => random.pick(draw),
            Self::Choices(choices) => choices.pick(load, draw),
            Self::Maglev(maglev) => maglev.pick(draw),
        }
    }
}

/// A position below `count` from the upper half of `random`; zero where `count` is.
pub fn below(random: u64, count: usize) -> usize {
    (((random >> 32) * count as u64) >> 32) as usize
}

/// Another number as random as this one (SplitMix64).
pub fn mix(random: u64) -> u64 {
    let mut word = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The same number for the same bytes, on every gateway and in every version (FNV-1a, then mixed).
pub fn hash(bytes: &[u8]) -> u64 {
    let fold = |word: u64, byte: &u8| (word ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

fn weight(weights: &[u32], at: usize) -> u32 {
    weights.get(at).copied().unwrap_or(0)
}

/// What all weights are multiples of; one where there are none.
fn unit(weights: &[u32]) -> u32 {
    weights.iter().copied().fold(0, greatest_common_divisor).max(1)
}

fn greatest_common_divisor<N: Copy + Default + PartialEq + std::ops::Rem<Output = N>>(a: N, b: N) -> N {
    if b == N::default() { a } else { greatest_common_divisor(b, a % b) }
}
