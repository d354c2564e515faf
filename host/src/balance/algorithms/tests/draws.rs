//! Algorithms that draw.

use super::super::choices::pair;
use super::*;

#[test]
fn a_draw_is_by_weight_whatever_the_weights_are() {
    let weights = [1000, 1, 7, 0, 250, 7, 3];
    let sum = weights.iter().sum::<u32>() as f64;
    let random = Random::new(&weights);
    // Evenly over all that can be drawn: columns in the upper half, coins in the lower one.
    let draws = (0..7u64 * 4096).map(|n| ((n % 7) * (1 << 32) / 7 + 1) << 32 | (n / 7) << 20);
    let mut counts = [0u32; 7];
    let mut total = 0;
    for draw in draws {
        counts[random.pick(draw).unwrap()] += 1;
        total += 1;
    }
    for (count, weight) in counts.iter().zip(weights) {
        let expected = f64::from(weight) / sum * f64::from(total);
        assert!((f64::from(*count) - expected).abs() <= 7.0, "{count} of {expected}");
    }
    assert_eq!(counts[3], 0);
}

proptest! {
    #[test]
    fn every_column_of_a_draw_is_filled_exactly(weights in prop::collection::vec(0u32..=1000, 1..200)) {
        let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        prop_assume!(sum > 0);
        let shares = Random::new(&weights).shares();
        for (share, weight) in shares.iter().zip(&weights) {
            let expected = f64::from(*weight) / sum as f64;
            prop_assert!((share - expected).abs() < 1e-6, "{share} of {expected}");
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
        let picked = Choices::new(&weights).pick(|at| f64::from(endpoints[at].1), random).unwrap();
        prop_assert!(picked == one || picked == other);
        let passed = if picked == one { other } else { one };
        let load = |at: usize| f64::from(endpoints[at].1) / f64::from(endpoints[at].0);
        prop_assert!(load(picked) <= load(passed) * (1.0 + 1e-12));
    }

    #[test]
    fn idle_endpoints_are_drawn_by_weight(a in 1u32..=10, b in 1u32..=10, seed: u64) {
        let choices = Choices::new(&[a, b]);
        let pick = |n: u64| choices.pick(|_| 0.0, mix(seed.wrapping_add(n)));
        let first = (0..10_000).filter(|n| pick(*n) == Some(0)).count() as f64 / 10_000.0;
        let share = f64::from(a) / f64::from(a + b);
        prop_assert!((first - share).abs() < 0.04, "{first} of {share}");
    }
}
