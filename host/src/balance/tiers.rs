//! Tiers: who gets requests first, and who where too few of those are left.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::algorithms::Table;
use super::hash;
use crate::config::{Balance, Endpoint};

/// The endpoints of one priority.
#[derive(Clone, Debug)]
pub struct Tier {
    /// Its number; lower ones come first.
    pub number: u32,
    /// Their positions among all endpoints.
    pub members: Vec<usize>,
    /// For consistent hashing: whose each key is, by position in `members`.
    pub hashed: Option<Arc<Table>>,
}

impl Tier {
    /// All tiers, the first one first.
    pub fn all(endpoints: &[Endpoint], algorithm: &Balance) -> Vec<Self> {
        let mut tiers: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (at, endpoint) in endpoints.iter().enumerate() {
            tiers.entry(endpoint.tier).or_default().push(at);
        }
        let identity = |endpoint: &Endpoint| (hash(endpoint.address.to_string().as_bytes()), endpoint.weight);
        let hashed = |members: &[usize]| match algorithm {
            Balance::Maglev { .. } => {
                let members = members.iter().filter_map(|at| endpoints.get(*at));
                Some(Arc::new(Table::new(&members.map(identity).collect::<Vec<_>>())))
            }
            _ => None,
        };
        tiers.into_iter().map(|(number, members)| Self { number, hashed: hashed(&members), members }).collect()
    }
}

/// The share of requests that each tier gets, of one together; nothing where no endpoint of any is left. `left` is the part of
/// each tier, by weight, that gets requests, and `enough` the one that is enough to carry all of them.
///
/// The first tier gets what it can carry, the next one the rest, and so on. Where all together cannot carry all, each gets as
/// much more as the others.
pub fn shares(left: &[f64], enough: f64) -> Vec<f64> {
    let mut rest = 1.0;
    let carried: Vec<f64> = (left.iter())
        .map(|left| {
            let share = (left / enough).min(rest);
            rest -= share;
            share
        })
        .collect();
    let total: f64 = carried.iter().sum();
    if total > 0.0 { carried.iter().map(|share| share / total).collect() } else { carried }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_tier_gets_all_as_long_as_enough_of_it_is_left() {
        assert_eq!(shares(&[1.0, 1.0], 0.7), [1.0, 0.0]);
        assert_eq!(shares(&[0.7, 1.0], 0.7), [1.0, 0.0]);
        assert_eq!(shares(&[0.35, 1.0], 0.7), [0.5, 0.5]);
        assert_eq!(shares(&[0.0, 1.0, 1.0], 0.7), [0.0, 1.0, 0.0]);
    }

    #[test]
    fn where_all_together_are_too_few_they_share_what_there_is() {
        assert_eq!(shares(&[0.25, 0.25], 1.0), [0.5, 0.5]);
        assert_eq!(shares(&[0.0, 0.1], 1.0), [0.0, 1.0]);
        assert_eq!(shares(&[0.0, 0.0], 1.0), [0.0, 0.0]);
    }

    proptest! {
        #[test]
        fn less_of_a_tier_never_gets_it_more_and_all_is_carried(
            left in prop::collection::vec(0.0f64..=1.0, 1..5), enough in 0.01f64..=1.0, less in 0.0f64..1.0,
        ) {
            let before = shares(&left, enough);
            let total: f64 = before.iter().sum();
            prop_assert!((total - 1.0).abs() < 1e-9 || left.iter().all(|left| *left < 1e-9));
            let mut fewer = left.clone();
            fewer[0] *= less;
            prop_assert!(shares(&fewer, enough)[0] <= before[0] + 1e-9);
            prop_assert!(before.iter().zip(&left).all(|(share, left)| *share == 0.0 || *left > 0.0));
        }
    }
}
