//! How one endpoint is chosen among those that are ready: pure logic over positions, without clocks, locks or atomics.

use crate::config::Balance;

/// A service's algorithm with what one worker remembers between picks.
#[derive(Debug)]
pub enum Algorithm {
    /// Smooth weighted round robin.
    RoundRobin(RoundRobin),
    /// Power of two choices on requests in flight.
    LeastBusy(LeastBusy),
}

impl Algorithm {
    /// Begins anew over endpoints with these weights, at a place that `random` decides, so that workers that begin together
    /// do not all send their first requests to the same endpoint.
    pub fn new(kind: Balance, weights: &[u32], random: u64) -> Self {
        match kind {
            Balance::RoundRobin => Self::RoundRobin(RoundRobin::new(weights, random)),
            Balance::LeastBusy => Self::LeastBusy(LeastBusy::new(weights)),
        }
    }

    /// The position of the next endpoint; `None` where there are none. `busy` answers the requests in flight of a position.
    pub fn pick(&mut self, busy: impl Fn(usize) -> u32, random: u64) -> Option<usize> {
        match self {
            Self::RoundRobin(turns) => turns.pick(),
            Self::LeastBusy(pair) => pair.pick(busy, random),
        }
    }
}

/// The most turns that a new round robin is moved on by to begin at a random place: enough to part the workers, cheap
/// however long a cycle is.
const MOST_LEAD: u64 = 64;

/// Smooth weighted round robin in cycles: over one cycle (the sum of the weights, reduced) each endpoint has exactly its
/// weight in turns, and none has two turns in a row unless it weighs more than all others together.
///
/// Endpoints of one weight form a class and take turns within it, so a pick costs the number of *different* weights. nginx's
/// algorithm chooses the class; it alone would repeat an endpoint where it could be avoided (weights 3, 1, 1, 1), hence the
/// two further rules in [`RoundRobin::choose`].
#[derive(Debug)]
pub struct RoundRobin {
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
#[derive(Debug)]
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

impl RoundRobin {
    /// Over endpoints with these weights; one with weight zero never has a turn.
    pub fn new(weights: &[u32], random: u64) -> Self {
        let unit = u64::from(weights.iter().copied().fold(0, greatest_common_divisor).max(1));
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

/// Draws two different endpoints and takes the one with fewer requests in flight for its weight; between two that are
/// equally busy the weights decide the odds.
#[derive(Debug)]
pub struct LeastBusy {
    weights: Vec<u32>,
}

impl LeastBusy {
    /// Over endpoints with these weights.
    pub fn new(weights: &[u32]) -> Self {
        Self { weights: weights.to_vec() }
    }

    /// The less busy of two that `random` draws.
    pub fn pick(&self, busy: impl Fn(usize) -> u32, random: u64) -> Option<usize> {
        match self.weights.len() {
            0 => None,
            1 => Some(0),
            count => Some(self.calmer(pair(random, count), busy, random)),
        }
    }

    fn calmer(&self, (one, other): (usize, usize), busy: impl Fn(usize) -> u32, random: u64) -> usize {
        let (a, b) = (u64::from(weight(&self.weights, one)), u64::from(weight(&self.weights, other)));
        // Load per weight, compared without dividing.
        let (load, of_other) = (u64::from(busy(one)) * b, u64::from(busy(other)) * a);
        match load.cmp(&of_other) {
            std::cmp::Ordering::Less => one,
            std::cmp::Ordering::Greater => other,
            std::cmp::Ordering::Equal if ((mix(random) >> 32) * (a + b)) >> 32 < a => one,
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

fn weight(weights: &[u32], at: usize) -> u32 {
    weights.get(at).copied().unwrap_or(0)
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(turns: &mut RoundRobin, endpoints: usize, picks: u64) -> Vec<u64> {
        let mut counts = vec![0; endpoints];
        for _ in 0..picks {
            counts[turns.pick().unwrap()] += 1;
        }
        counts
    }

    fn cycle(weights: &[u32]) -> (u64, u64) {
        let unit = u64::from(weights.iter().copied().fold(0, greatest_common_divisor));
        (weights.iter().map(|weight| u64::from(*weight)).sum::<u64>() / unit, unit)
    }

    #[test]
    fn a_heavy_endpoint_is_spread_over_the_cycle() {
        let mut turns = RoundRobin::new(&[3, 1, 1, 1], 0);
        let order: Vec<usize> = (0..12).filter_map(|_| turns.pick()).collect();
        assert!(order.iter().step_by(2).all(|at| *at == 0), "{order:?}");
    }

    #[test]
    fn an_endpoint_of_half_the_weight_is_not_left_over_at_the_end() {
        for weights in [[42, 27, 1, 9, 79].as_slice(), &[41, 41, 3, 39, 1, 125], &[55, 12, 1, 4, 47, 119]] {
            let mut turns = RoundRobin::new(weights, 0);
            let order: Vec<usize> = (0..1000).filter_map(|_| turns.pick()).collect();
            assert_eq!(order.len(), 1000);
            assert!(order.windows(2).all(|two| two[0] != two[1]), "{weights:?}");
        }
    }

    #[test]
    fn workers_begin_at_different_places() {
        let firsts: std::collections::BTreeSet<_> =
            (0..64).map(|worker| RoundRobin::new(&[1; 8], mix(worker)).pick()).collect();
        assert!(firsts.len() > 4, "{firsts:?}");
    }

    #[test]
    fn nothing_ready_is_nothing_picked() {
        assert_eq!(RoundRobin::new(&[], 7).pick(), None);
        assert_eq!(LeastBusy::new(&[]).pick(|_| 0, 7), None);
    }

    proptest! {
        #[test]
        fn a_full_cycle_gives_each_exactly_its_weight(weights in prop::collection::vec(1u32..=20, 1..12)) {
            let (total, unit) = cycle(&weights);
            let mut turns = RoundRobin::new(&weights, 0);
            for _ in 0..3 {
                let counts = counts(&mut turns, weights.len(), total);
                prop_assert_eq!(counts, weights.iter().map(|weight| u64::from(*weight) / unit).collect::<Vec<_>>());
            }
        }

        #[test]
        fn shares_are_within_one_percent_from_any_start(
            weights in prop::collection::vec(1u32..=1000, 1..8),
            random: u64,
        ) {
            let (total, unit) = cycle(&weights);
            let counts = counts(&mut RoundRobin::new(&weights, random), weights.len(), total * 2);
            for (count, weight) in counts.iter().zip(&weights) {
                let share = u64::from(*weight) / unit * 2;
                prop_assert!(count.abs_diff(share) <= (share / 100).max(1), "{count} of {share}");
            }
        }

        #[test]
        fn no_endpoint_has_two_turns_in_a_row_where_the_weights_allow(
            weights in prop::collection::vec(1u32..=20, 2..12),
            random: u64,
        ) {
            let sum: u32 = weights.iter().sum();
            prop_assume!(weights.iter().all(|weight| weight * 2 <= sum));
            let mut turns = RoundRobin::new(&weights, random);
            let mut last = None;
            for _ in 0..sum * 3 {
                let next = turns.pick();
                prop_assert!(next != last);
                last = next;
            }
        }

        #[test]
        fn no_endpoint_is_ever_far_from_its_share(weights in prop::collection::vec(1u32..=20, 2..8)) {
            let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            let mut turns = RoundRobin::new(&weights, 0);
            let mut had = vec![0u64; weights.len()];
            for due in 1..=sum {
                had[turns.pick().unwrap()] += 1;
                for (had, weight) in had.iter().zip(&weights) {
                    let off = (had * sum).abs_diff(due * u64::from(*weight)) as f64 / sum as f64;
                    prop_assert!(off < 2.0, "{off} turns off");
                }
            }
        }

        #[test]
        fn of_two_the_busier_is_never_picked(
            endpoints in prop::collection::vec((1u32..=1000, 0u32..100_000), 2..20),
            random: u64,
        ) {
            let weights: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.0).collect();
            let (one, other) = pair(random, weights.len());
            prop_assert!(one != other && one < weights.len() && other < weights.len());
            let picked = LeastBusy::new(&weights).pick(|at| endpoints[at].1, random).unwrap();
            prop_assert!(picked == one || picked == other);
            let passed = if picked == one { other } else { one };
            let load = |at: usize| f64::from(endpoints[at].1) / f64::from(endpoints[at].0);
            prop_assert!(load(picked) <= load(passed) * (1.0 + 1e-12));
        }

        #[test]
        fn idle_endpoints_are_drawn_by_weight(a in 1u32..=10, b in 1u32..=10, seed: u64) {
            let pick = |n: u64| LeastBusy::new(&[a, b]).pick(|_| 0, mix(seed.wrapping_add(n)));
            let first = (0..10_000).filter(|n| pick(*n) == Some(0)).count() as f64 / 10_000.0;
            let share = f64::from(a) / f64::from(a + b);
            prop_assert!((first - share).abs() < 0.04, "{first} of {share}");
        }
    }
}
