//! Round robin over many different weights.

use super::{greatest_common_divisor, unit, weight};

/// 1/φ², the share of the ring by which a turn moves on: the golden section leaves no part of a ring unvisited for long.
const GOLDEN: f64 = 0.381_966_011_250_105_1;
/// Steps that are compared.
const CANDIDATES: usize = 32;

/// A ring on which each endpoint owns as many places as it weighs. A turn moves on by the golden section of the ring, in steps
/// that meet every place once before any is met again: over one cycle each endpoint has exactly its weight in turns, and
/// between two turns of one lie about as many of the others as between any (the three-gap theorem).
#[derive(Clone, Debug)]
pub struct Ring {
    /// Where each endpoint's places end.
    ends: Vec<u64>,
    /// For each stretch of 2^`shift` places the endpoint that owns its first one.
    guide: Vec<u32>,
    shift: u32,
    total: u64,
    step: u64,
    at: u64,
}

impl Ring {
    /// Over endpoints with these weights; one with weight zero never has a turn.
    pub fn new(weights: &[u32], random: u64) -> Self {
        let unit = unit(weights);
        let ends: Vec<u64> = (0..weights.len())
            .scan(0, |end, at| {
                *end += u64::from(weight(weights, at) / unit);
                Some(*end)
            })
            .collect();
        let total = ends.last().copied().unwrap_or(0);
        // About two stretches for each endpoint.
        let shift = (total / (2 * ends.len().max(1) as u64)).max(1).ilog2();
        let mut owner = 0;
        let guide = (0..=total.saturating_sub(1) >> shift).map(|stretch| {
            while ends.get(owner).is_some_and(|end| *end <= stretch << shift) {
                owner += 1;
            }
            owner as u32
        });
        let guide = guide.collect();
        Self { guide, shift, total, step: step(total), at: random % total.max(1), ends }
    }

    /// The endpoint whose turn it is.
    pub fn pick(&mut self) -> Option<usize> {
        let stretch = usize::try_from(self.at >> self.shift).ok()?;
        let first = *self.guide.get(stretch)? as usize;
        let beyond = self.ends.get(first..)?.iter().position(|end| self.at < *end)?;
        self.at += self.step;
        if self.at >= self.total {
            self.at -= self.total;
        }
        Some(first + beyond)
    }
}

/// A step near the golden section that meets every place: of some the one that does so most evenly, the one whose share of
/// the ring has the smallest partial quotients (Niederreiter 1992, section 3.1).
fn step(total: u64) -> u64 {
    let golden = (total as f64 * GOLDEN).round() as u64;
    let near = (0..total).flat_map(|off| [golden + off, golden.saturating_sub(off)]);
    let meets_all = |step: &u64| (1..total).contains(step) && greatest_common_divisor(total, *step) == 1;
    near.filter(meets_all).take(CANDIDATES).min_by_key(|step| quotients(total, *step)).unwrap_or(0)
}

/// The sum of the partial quotients of a fraction.
fn quotients(mut whole: u64, mut part: u64) -> u64 {
    let mut sum = 0;
    while part > 0 {
        sum += whole / part;
        (whole, part) = (part, whole % part);
    }
    sum
}
