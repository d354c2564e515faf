//! Consistent hashing.

use super::*;

/// An identity and a weight each.
fn endpoints(weights: &[u32]) -> Vec<(u64, u32)> {
    weights.iter().enumerate().map(|(at, weight)| (hash(&at.to_le_bytes()), *weight)).collect()
}

/// Who has each of the slots, by identity.
fn owners(endpoints: &[(u64, u32)]) -> Vec<u64> {
    Table::new(endpoints).slots().iter().map(|slot| endpoints[*slot as usize].0).collect()
}

/// Slots that change hands when the endpoint at `gone` leaves the configuration, and those that it had.
fn moved(endpoints: &[(u64, u32)], gone: usize) -> (usize, usize) {
    let mut fewer = endpoints.to_vec();
    let (gone, _) = fewer.remove(gone);
    let (before, after) = (owners(endpoints), owners(&fewer));
    assert_eq!(before.len(), after.len());
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    (moved, before.iter().filter(|owner| **owner == gone).count())
}

fn maglev(endpoints: &[(u64, u32)], gone: &[usize]) -> Maglev {
    Maglev::new(Table::new(endpoints).into(), (0..endpoints.len()).map(|at| !gone.contains(&at)))
}

#[test]
fn a_thousand_endpoints_have_even_shares_and_one_that_leaves_moves_little() {
    let all = endpoints(&[1; 1000]);
    let owners = owners(&all);
    assert_eq!(owners.len(), 131_101);
    let mut counts = std::collections::BTreeMap::new();
    owners.iter().for_each(|owner| *counts.entry(owner).or_insert(0) += 1);
    assert!(counts.len() == 1000 && counts.values().all(|count| (131..=132).contains(count)));
    let (moved, had) = moved(&all, 500);
    assert!(moved <= 2 * had + owners.len() / 100, "{moved} of {had}");
}

#[test]
fn where_only_a_few_of_many_are_left_they_share_the_keys() {
    let all = endpoints(&[1; 1000]);
    let gone: Vec<usize> = (2..1000).collect();
    let maglev = maglev(&all, &gone);
    let first = (0..10_000).filter(|key| maglev.pick(mix(*key)) == Some(0)).count();
    assert!((4_500..=5_500).contains(&first), "{first}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_has_its_weight_in_slots_within_one(weights in prop::collection::vec(1u32..=1000, 1..60)) {
        let endpoints = endpoints(&weights);
        let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let owners = owners(&endpoints);
        for (identity, weight) in &endpoints {
            let count = owners.iter().filter(|owner| *owner == identity).count() as f64;
            let share = owners.len() as f64 * f64::from(*weight) / sum as f64;
            prop_assert!((count - share).abs() <= 1.0 + share * 0.001, "{count} of {share}");
        }
    }

    #[test]
    fn one_of_up_to_a_hundred_that_leaves_the_configuration_moves_at_most_twice_its_share(
        count in 2usize..=100,
        gone in any::<prop::sample::Index>(),
    ) {
        let (moved, had) = moved(&endpoints(&vec![1; count]), gone.index(count));
        prop_assert!(moved <= 2 * had, "{moved} of {had}");
    }

    #[test]
    fn whoever_leaves_the_configuration_moves_at_most_a_hundredth_of_all_keys_beyond(
        weights in prop::collection::vec(1u32..=20, 2..400),
        gone in any::<prop::sample::Index>(),
    ) {
        let (endpoints, gone) = (endpoints(&weights), gone.index(weights.len()));
        let (moved, had) = moved(&endpoints, gone);
        prop_assert!(moved <= 2 * had + owners(&endpoints).len() / 100, "{moved} of {had}");
    }

    #[test]
    fn an_endpoint_that_gets_no_requests_moves_its_own_keys_only_and_by_weight(
        weights in prop::collection::vec(1u32..=10, 2..20),
        gone in any::<prop::sample::Index>(),
    ) {
        let (endpoints, gone) = (endpoints(&weights), gone.index(weights.len()));
        let (before, after) = (maglev(&endpoints, &[]), maglev(&endpoints, &[gone]));
        let mut inherited = vec![0u32; weights.len()];
        for key in (0..20_000).map(mix) {
            let (was, is) = (before.pick(key).unwrap(), after.pick(key).unwrap());
            let is = if is >= gone { is + 1 } else { is };
            match was == gone {
                true => inherited[is] += 1,
                false => prop_assert_eq!(was, is),
            }
        }
        let (all, sum) = (inherited.iter().sum::<u32>(), weights.iter().sum::<u32>() - weights[gone]);
        for (at, count) in inherited.iter().enumerate().filter(|(at, _)| *at != gone) {
            let share = f64::from(all) * f64::from(weights[at]) / f64::from(sum);
            prop_assert!((f64::from(*count) - share).abs() <= 20.0 + share * 0.2, "{count} of {share}");
        }
        prop_assert_eq!(inherited[gone], 0);
    }
}
