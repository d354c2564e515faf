//! Round robin.

use super::super::ring::Ring;
use super::super::round_robin::Classes;
use super::*;

fn counts(mut pick: impl FnMut() -> Option<usize>, endpoints: usize, picks: u64) -> Vec<u64> {
    let mut counts = vec![0; endpoints];
    for _ in 0..picks {
        counts[pick().unwrap()] += 1;
    }
    counts
}

fn cycle(weights: &[u32]) -> (u64, u64) {
    let unit = u64::from(unit(weights));
    (weights.iter().map(|weight| u64::from(*weight)).sum::<u64>() / unit, unit)
}

/// The most turns that any endpoint is ever away from its share, over one cycle.
fn farthest(mut pick: impl FnMut() -> Option<usize>, weights: &[u32]) -> f64 {
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let (mut had, mut most) = (vec![0u64; weights.len()], 0f64);
    for due in 1..=cycle(weights).0 {
        had[pick().unwrap()] += 1;
        for (had, weight) in had.iter().zip(weights) {
            most = most.max((had * sum).abs_diff(due * u64::from(*weight)) as f64 / sum as f64);
        }
    }
    most
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
    for weights in [[1; 24], std::array::from_fn(|at| at as u32 + 1)] {
        let firsts: std::collections::BTreeSet<_> =
            (0..64).map(|worker| RoundRobin::new(&weights, mix(worker)).pick()).collect();
        assert!(firsts.len() > 4, "{firsts:?}");
    }
}

#[test]
fn many_weights_have_exactly_their_turns_in_a_long_cycle() {
    let weights: Vec<u32> = (0..2_000).map(|at| 1 + (mix(at) % 1000) as u32).collect();
    let mut turns = RoundRobin::new(&weights, 99);
    let counts = counts(|| turns.pick(), weights.len(), cycle(&weights).0);
    assert!(counts.iter().zip(&weights).all(|(count, weight)| *count == u64::from(*weight)));
}

proptest! {
    #[test]
    fn a_full_cycle_gives_each_exactly_its_weight(weights in prop::collection::vec(1u32..=20, 1..16), random: u64) {
        let (total, unit) = cycle(&weights);
        let expected: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) / unit).collect();
        let (mut turns, mut ring) = (RoundRobin::new(&weights, 0), Ring::new(&weights, random));
        for _ in 0..3 {
            prop_assert_eq!(&counts(|| turns.pick(), weights.len(), total), &expected);
            prop_assert_eq!(&counts(|| ring.pick(), weights.len(), total), &expected);
        }
    }

    #[test]
    fn shares_are_within_one_percent_from_any_start(weights in prop::collection::vec(1u32..=1000, 1..12), random: u64) {
        let (total, unit) = cycle(&weights);
        let mut turns = RoundRobin::new(&weights, random);
        let counts = counts(|| turns.pick(), weights.len(), total * 2);
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
        let mut turns = Classes::new(&weights, random);
        let mut last = None;
        for _ in 0..sum * 3 {
            let next = turns.pick();
            prop_assert!(next != last);
            last = next;
        }
    }

    #[test]
    fn on_a_ring_no_endpoint_has_two_turns_in_a_row_unless_it_weighs_over_a_third(
        weights in prop::collection::vec(1u32..=1000, 9..40),
        random: u64,
    ) {
        let sum: u32 = weights.iter().sum();
        prop_assume!(weights.iter().all(|weight| weight * 3 <= sum));
        let mut ring = Ring::new(&weights, random);
        let order: Vec<_> = (0..2 * sum).map(|_| ring.pick()).collect();
        prop_assert!(order.windows(2).all(|two| two[0] != two[1]));
    }

    #[test]
    fn no_endpoint_is_ever_far_from_its_share(weights in prop::collection::vec(1u32..=20, 2..12)) {
        let mut classes = Classes::new(&weights, 0);
        let off = farthest(|| classes.pick(), &weights);
        prop_assert!(off < 2.0, "{off} turns off");
    }

    #[test]
    fn on_a_ring_neither(weights in prop::collection::vec(1u32..=200, 9..40), random: u64) {
        let mut ring = Ring::new(&weights, random);
        let off = farthest(|| ring.pick(), &weights);
        prop_assert!(off < 4.5, "{off} turns off");
    }
}
