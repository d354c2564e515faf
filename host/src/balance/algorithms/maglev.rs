//! Consistent hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", 2016).

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::{below, mix};

/// The table's sizes, primes a little above powers of two. The smallest is the paper's.
const SIZES: [usize; 6] = [65_537, 131_101, 262_147, 524_309, 1_048_583, 2_097_169];
/// Slots of the table for each endpoint, where it can be that large: shares are then within a percent (section 5.3 of the paper).
const SLOTS_EACH: usize = 100;
/// Keys of an endpoint that gets no requests are drawn again; after so many draws nearly all of them get none.
const MOST_DRAWS: usize = 64;

/// Which endpoint has which slot; a key has one slot. It is made of all the endpoints that a configuration knows, well or not,
/// so that it stays the same as long as that does.
#[derive(Debug)]
pub struct Table {
    slots: Vec<u32>,
}

/// An endpoint's way through the slots while the table is filled.
struct Claim {
    endpoint: u32,
    weight: f64,
    identity: u64,
    /// Slots that it has.
    has: u32,
    /// The slot that it wants next, and how far the one after is.
    wants: usize,
    skip: usize,
}

impl Claim {
    /// When its next turn is: the k-th of weight w is due at (k - ½) / w, whoever else there is. So the turns of all others keep
    /// their order when one leaves.
    fn due(&self) -> f64 {
        (f64::from(self.has) + 0.5) / self.weight
    }
}

impl Ord for Claim {
    /// The greatest is the one whose turn it is.
    fn cmp(&self, other: &Self) -> Ordering {
        other.due().total_cmp(&self.due()).then_with(|| other.identity.cmp(&self.identity))
    }
}

impl PartialOrd for Claim {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Claim {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Claim {}

impl Table {
    /// Over endpoints with these identities and weights. Takes milliseconds, or a tenth of a second for ten thousand
    /// endpoints: not for the path.
    pub fn new(endpoints: &[(u64, u32)]) -> Self {
        let wanted = endpoints.len() * SLOTS_EACH;
        let size = SIZES.into_iter().find(|size| *size >= wanted).unwrap_or(2_097_169);
        let claim = |(endpoint, (identity, weight)): (usize, &(u64, u32))| Claim {
            endpoint: endpoint as u32,
            weight: f64::from(*weight),
            identity: *identity,
            has: 0,
            wants: below(*identity, size),
            skip: 1 + below(mix(*identity), size - 1),
        };
        let mut claims: BinaryHeap<Claim> =
            endpoints.iter().enumerate().filter(|(_, (_, weight))| *weight > 0).map(claim).collect();
        let mut slots = vec![u32::MAX; if claims.is_empty() { 0 } else { size }];
        for _ in 0..slots.len() {
            let Some(mut claim) = claims.peek_mut() else { break };
            // The size is a prime: its way meets every slot, and one is free.
            while let Some(slot) = slots.get_mut(claim.wants) {
                claim.wants = (claim.wants + claim.skip) % size;
                if *slot == u32::MAX {
                    *slot = claim.endpoint;
                    break;
                }
            }
            claim.has += 1;
        }
        Self { slots }
    }

    /// Who has each slot.
    #[cfg(test)]
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// Whose the key is.
    fn owner(&self, key: u64) -> Option<u32> {
        self.slots.get(((u128::from(key) * self.slots.len() as u128) >> 64) as usize).copied()
    }
}

/// A table, and which of its endpoints get requests.
///
/// A key of an endpoint that gets none is drawn again, and so goes to the others by their weights: no key moves but those that
/// have to, they spread, and they come back when their endpoint does.
#[derive(Clone, Debug)]
pub struct Maglev {
    table: Arc<Table>,
    /// For each endpoint of the table its position among those that get requests.
    positions: Vec<Option<u32>>,
    /// How many those are.
    count: usize,
}

impl Maglev {
    /// Over the endpoints for which there is `true`.
    pub fn new(table: Arc<Table>, ready: impl IntoIterator<Item = bool>) -> Self {
        let mut count = 0;
        let position = |ready: bool| {
            ready.then(|| {
                count += 1;
                count - 1
            })
        };
        let positions = ready.into_iter().map(position).collect();
        Self { table, positions, count: count as usize }
    }

    /// The position that a key belongs to.
    pub fn pick(&self, key: u64) -> Option<usize> {
        let draws = std::iter::successors(Some(key), |key| Some(mix(*key))).take(MOST_DRAWS);
        let found = draws.filter_map(|key| self.owner(key)).next().map(|position| position as usize);
        found.or_else(|| (self.count > 0).then(|| below(mix(key), self.count)))
    }

    /// Whether the one that a key belongs to gets requests.
    pub fn knows(&self, key: u64) -> bool {
        self.owner(key).is_some()
    }

    fn owner(&self, key: u64) -> Option<u32> {
        *self.positions.get(self.table.owner(key)? as usize)?
    }
}
