//! Round robin.

use super::ring::Ring;
use super::{below, mix, unit, weight};

/// The most turns that a new round robin is moved on by to begin at a random place: enough to part the workers, cheap
/// however long a cycle is.
const MOST_LEAD: u64 = 64;

/// The most different weights that are compared at every turn; more of them go round on a [`Ring`].
const MOST_CLASSES: usize = 8;

/// Smooth weighted round robin: over one cycle (the sum of the weights, reduced) each endpoint has exactly its weight in turns,
/// spread over the cycle.
#[derive(Clone, Debug)]
pub enum RoundRobin {
    /// Few different weights.
    Classes(Classes),
    /// Many.
    Ring(Ring),
}

impl RoundRobin {
    /// Over endpoints with these weights; one with weight zero never has a turn.
    pub fn new(weights: &[u32], random: u64) -> Self {
        let mut known = [0; MOST_CLASSES];
        let mut count = 0;
        for weight in weights.iter().filter(|weight| **weight > 0) {
            if known.iter().take(count).any(|known| known == weight) {
                continue;
            }
            match known.get_mut(count) {
                Some(free) => *free = *weight,
                None => return Self::Ring(Ring::new(weights, random)),
            }
            count += 1;
        }
        Self::Classes(Classes::new(weights, random))
    }

    /// The endpoint whose turn it is.
    pub fn pick(&mut self) -> Option<usize> {
        match self {
            Self::Classes(classes) => classes.pick(),
            Self::Ring(ring) => ring.pick(),
        }
    }
}

/// Round robin over few different weights: no endpoint has two turns in a row unless it weighs more than all others together.
///
/// Endpoints of one weight form a class and take turns within it, so a pick costs the number of *different* weights. nginx's
/// algorithm chooses the class; it alone would repeat an endpoint where it could be avoided (weights 3, 1, 1, 1), hence the
/// two further rules in [`Classes::choose`].
#[derive(Clone, Debug)]
pub struct Classes {
    classes: Vec<Class>,
    /// Turns in a cycle.
    total: u64,
    /// Turns that are left of this one.
    left: u64,
    /// Whether no endpoint weighs more than all others together.
    spread: bool,
    /// The class that had the turn before.
    last: Option<usize>,
}

/// Endpoints of one weight.
#[derive(Clone, Debug)]
struct Class {
    /// Turns in a cycle, over all members.
    turns: u64,
    /// Turns that are left of this one.
    left: u64,
    members: Vec<usize>,
    /// Whose turn it is next.
    next: usize,
}

impl Class {
    fn lone(&self) -> bool {
        self.members.len() == 1
    }

    fn take(&mut self) -> Option<usize> {
        let member = self.members.get(self.next).copied();
        self.next = if self.next + 1 >= self.members.len() { 0 } else { self.next + 1 };
        self.left = self.left.saturating_sub(1);
        member
    }
}

impl Classes {
    /// Over endpoints with these weights; one with weight zero never has a turn.
    pub fn new(weights: &[u32], random: u64) -> Self {
        let unit = u64::from(unit(weights));
        let mut order: Vec<usize> = (0..weights.len()).filter(|at| weight(weights, *at) > 0).collect();
        order.sort_by_key(|at| std::cmp::Reverse(weight(weights, *at)));
        let classes: Vec<Class> = order
            .chunk_by(|a, b| weight(weights, *a) == weight(weights, *b))
            .map(|members| {
                let each = u64::from(members.first().map_or(0, |at| weight(weights, *at))) / unit;
                let turns = each * members.len() as u64;
                let next = below(mix(random ^ each), members.len());
                Class { turns, left: turns, members: members.to_vec(), next }
            })
            .collect();
        let total = classes.iter().map(|class| class.turns).sum();
        let spread = classes.iter().all(|class| !class.lone() || class.turns * 2 <= total);
        let mut turns = Self { classes, total, left: total, spread, last: None };
        for _ in 0..random % total.clamp(1, MOST_LEAD) {
            turns.pick();
        }
        turns
    }

    /// The endpoint whose turn it is.
    pub fn pick(&mut self) -> Option<usize> {
        if self.left == 0 {
            self.classes.iter_mut().for_each(|class| class.left = class.turns);
            self.left = self.total;
        }
        let chosen = self.choose()?;
        self.left = self.left.saturating_sub(1);
        self.last = Some(chosen);
        self.classes.get_mut(chosen)?.take()
    }

    /// The class that has the next turn: the one that is furthest behind its share. Two rules keep an endpoint from two turns
    /// in a row where the weights allow: one that had the last turn is passed over, and one that holds more than half of what
    /// is left of the cycle goes first (or else it would be left over at the end). With them such an order always exists.
    fn choose(&self) -> Option<usize> {
        let due = self.total - self.left + 1;
        let mut best: Option<(usize, i64)> = None;
        for (at, class) in self.classes.iter().enumerate().filter(|(_, class)| class.left > 0) {
            if self.spread && class.lone() {
                if class.left * 2 > self.left && self.last != Some(at) {
                    return Some(at);
                }
                if self.last == Some(at) {
                    continue;
                }
            }
            let had = class.turns - class.left;
            // Far from overflow: a cycle has at most a thousand turns for each endpoint.
            let behind = (due * class.turns) as i64 - (had * self.total) as i64;
            if best.is_none_or(|(_, most)| behind > most) {
                best = Some((at, behind));
            }
        }
        best.map(|(at, _)| at)
    }
}
