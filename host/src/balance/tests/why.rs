//! What is explained is what is picked.

use super::*;

/// All ways to pick, over endpoints of these weights in two tiers.
fn all(weights: &[u32]) -> impl Iterator<Item = config::Service> {
    let decay = Duration::from_secs(10);
    let algorithms = [
        Balance::RoundRobin,
        Balance::LeastBusy,
        Balance::Random,
        Balance::PeakEwma { decay },
        Balance::Maglev { affinity: None },
    ];
    let settings = config::Service { enough_percent: 100, ..settings(weights) };
    algorithms.into_iter().map(move |algorithm| {
        let mut settings = config::Service { algorithm, ..settings.clone() };
        if let Endpoints::Listed(endpoints) = &mut settings.endpoints {
            endpoints.iter_mut().skip(3).for_each(|endpoint| endpoint.tier = 2);
        }
        settings
    })
}

#[test]
fn the_endpoint_that_is_explained_is_the_one_that_is_picked_next() {
    for settings in all(&[3, 1, 2, 1, 5]) {
        let world = World::new();
        let balancer = world.balancer(&settings);
        world.fail(&balancer.service().endpoints()[1], 5);
        let mut held = Vec::new();
        for number in 0..200 {
            let random = mix(number);
            let affinity = (number % 3 > 0).then(|| mix(random));
            let ask = Ask { affinity, ..ask(&[], world.now, random) };
            let before = balancer.service().state().in_flight();
            let [first, again] = [balancer.explain(&ask), balancer.explain(&ask)].map(Result::unwrap);
            assert_eq!((&first, balancer.service().state().in_flight()), (&again, before));
            let lease = balancer.pick(&ask).unwrap();
            assert_eq!(first.address, lease.address(), "{:?}: {}", settings.algorithm, first.why);
            if number % 4 > 0 {
                held.push(lease);
            }
        }
    }
}

#[test]
fn where_there_is_none_it_says_why_and_counts_no_refusal() {
    let world = World::new();
    let balancer = world.balancer(&config::Service { in_flight: 1, ..settings(&[1]) });
    let _one = balancer.pick(&ask(&[], world.now, 1)).unwrap();
    assert_eq!(balancer.explain(&ask(&[], world.now, 1)), Err(Unavailable::CircuitOpen));
    assert_eq!(balancer.service().state().refused(), 0);
}

#[test]
fn two_are_compared_by_what_they_have_in_flight_for_their_weight() {
    let world = World::new();
    let balancer = world.balancer(&config::Service { algorithm: Balance::LeastBusy, ..settings(&[1, 3]) });
    let why = |random| balancer.explain(&ask(&[], world.now, random)).unwrap().why;
    assert!(why(1).starts_with("drawn by weight: as busy as 127.0.0.1:"), "{}", why(1));
    let other = [address(1)];
    let _held = balancer.pick(&ask(&other, world.now, 1)).unwrap();
    assert_eq!(why(1), "less busy for its weight than 127.0.0.1:1000 (0 against 1 in flight)");
}
