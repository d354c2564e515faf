//! Shares of failures, too few endpoints, tiers, and slow starts.

use super::*;

const CALM: u32 = 1000;

/// Ejects where half of at least 20 requests in 10 s failed, and nothing else.
fn by_share(panic_percent: u32) -> Ejection {
    Ejection { failed_percent: 50, window_requests: 20, panic_percent, ..ejection(CALM, 100) }
}

/// Lets requests come and go at an endpoint, every second one a failure.
fn half_fail(endpoint: &Arc<EndpointState>, times: usize, now: Instant) {
    for turn in 0..times {
        endpoint.enter();
        match turn % 2 {
            0 => endpoint.fail(Failure::Status, 0, now),
            _ => drop(endpoint.succeed()),
        }
        endpoint.leave();
    }
}

#[test]
fn an_endpoint_that_fails_every_second_request_is_ejected() {
    let world = World::new();
    let service = world.apply(&config::Service { ejection: Some(by_share(0)), ..settings(&[1, 1, 1]) });
    half_fail(&service.endpoints()[0], 20, world.now);
    assert_eq!(state(&service.endpoints()[0]), State::Healthy, "20 requests had not ended at the last failure");
    half_fail(&service.endpoints()[0], 1, world.now);
    assert!(matches!(state(&service.endpoints()[0]), State::Ejected(_)));
    assert_eq!(service.endpoints()[0].ejections(), 1);
}

#[test]
fn where_too_few_are_left_ejections_are_ignored_but_bad_probes_are_not() {
    let world = World::new();
    let service = world.apply(&config::Service {
        probe: Some(probe(ProbeKind::Tcp, 1, 1)),
        ejection: Some(by_share(50)),
        ..settings(&[1; 4])
    });
    let endpoints = service.endpoints();
    half_fail(&endpoints[0], 41, world.now);
    half_fail(&endpoints[1], 41, world.now);
    half_fail(&endpoints[2], 41, world.now);
    assert!(matches!(state(&endpoints[1]), State::Ejected(_)));
    assert_eq!(state(&endpoints[2]), State::Healthy, "half of them are left");
    assert!(!service.state().table().panics());
    world.probed(&endpoints[3], false);
    assert_eq!([0, 1, 2].map(|at| state(&endpoints[at])), [State::Healthy, State::Healthy, State::Healthy]);
    assert!(matches!(state(&endpoints[3]), State::Unhealthy(_)), "what probes say is dead stays out");
    world.probed(&endpoints[2], false);
    world.probed(&endpoints[1], false);
    assert!(service.state().table().panics());
    half_fail(&endpoints[0], 41, world.now);
    assert_eq!(state(&endpoints[0]), State::Healthy);
}

/// The share of the requests that the first of two endpoints gets.
fn share(balancer: &Balancer, now: Instant) -> f64 {
    let first = (0..1100).filter(|_| where_to(balancer, &[], now) == Ok(address(0))).count();
    first as f64 / 1100.0
}

#[test]
fn one_that_comes_back_starts_slowly_and_gets_its_share_in_the_end() {
    let mut world = World::new();
    let slow = config::Service {
        probe: Some(probe(ProbeKind::Tcp, 1, 1)),
        slow_start: Duration::from_secs(10),
        ..settings(&[1, 1])
    };
    let balancer = world.balancer(&slow);
    assert_eq!(share(&balancer, world.now), 0.5, "the first ones take all that comes");
    let service = Arc::clone(balancer.service());
    world.probed(&service.endpoints()[0], false);
    assert_eq!(share(&balancer, world.now), 0.0);
    world.probed(&service.endpoints()[0], true);
    let mut shares = vec![];
    for _ in 0..11 {
        shares.push(share(&balancer, world.now));
        world.now += Duration::from_secs(1);
    }
    assert!((shares[0] - 1.0 / 11.0).abs() < 0.01, "{shares:?}");
    assert!(shares.is_sorted(), "{shares:?}");
    assert!((shares[10] - 0.5).abs() < 0.01, "{shares:?}");
}

#[test]
fn a_new_one_starts_slowly_beside_old_ones() {
    let world = World::new();
    let slow = |weights: &[u32]| config::Service { slow_start: Duration::from_secs(10), ..settings(weights) };
    world.apply(&slow(&[1]));
    let balancer = world.balancer(&slow(&[1, 1]));
    assert!((share(&balancer, world.now) - 10.0 / 11.0).abs() < 0.01);
    let after = world.now + Duration::from_secs(10);
    assert!((share(&balancer, after) - 0.5).abs() < 0.01);
}

/// Two endpoints of tier 1 and two of tier 2.
fn tiered(algorithm: Balance) -> config::Service {
    let tiered = config::Service {
        probe: Some(probe(ProbeKind::Tcp, 1, 1)),
        algorithm,
        enough_percent: 100,
        ..settings(&[1; 4])
    };
    let endpoint = |n| Endpoint { address: address(n), weight: 1, tier: 1 + n as u32 / 2 };
    config::Service { endpoints: Endpoints::Listed((0..4).map(endpoint).collect()), ..tiered }
}

/// How many of so many requests each endpoint gets.
fn counts(balancer: &Balancer, requests: u64, now: Instant) -> [usize; 4] {
    let mut counts = [0; 4];
    for random in 0..requests {
        let lease = balancer.pick(&ask(&[], now, mix(random))).unwrap();
        counts[(lease.address().port() - 1000) as usize] += 1;
    }
    counts
}

#[test]
fn the_second_tier_gets_what_the_first_cannot_carry() {
    let world = World::new();
    let balancer = world.balancer(&tiered(Balance::RoundRobin));
    let service = Arc::clone(balancer.service());
    assert_eq!(counts(&balancer, 1000, world.now), [500, 500, 0, 0]);
    world.probed(&service.endpoints()[0], false);
    let [none, one, two, three] = counts(&balancer, 10_000, world.now);
    assert!(none == 0 && (4_800..5_200).contains(&one) && two.abs_diff(three) <= 1, "{one} {two} {three}");
    world.probed(&service.endpoints()[1], false);
    assert_eq!(counts(&balancer, 1000, world.now), [0, 0, 500, 500]);
    (0..2).for_each(|at| world.probed(&service.endpoints()[at], true));
    assert_eq!(counts(&balancer, 1000, world.now), [500, 500, 0, 0]);
}

#[test]
fn a_retry_goes_to_the_next_tier_where_the_first_was_tried() {
    let world = World::new();
    let balancer = world.balancer(&tiered(Balance::LeastBusy));
    assert_eq!(where_to(&balancer, &[address(0)], world.now), Ok(address(1)));
    let next = where_to(&balancer, &[address(0), address(1)], world.now).unwrap();
    assert!([address(2), address(3)].contains(&next));
    let all = [0, 1, 2, 3].map(address);
    assert_eq!(where_to(&balancer, &all, world.now), Err(Unavailable::NoOtherEndpoint));
}

#[test]
fn keys_keep_their_tier_and_their_endpoint() {
    let world = World::new();
    let balancer = world.balancer(&tiered(Balance::Maglev { affinity: None }));
    let service = Arc::clone(balancer.service());
    let places = |random: u64| {
        let ask = |key| Ask { tried: &[], affinity: Some(mix(key)), now: world.now, random: random + key };
        (0..500).map(|key| balancer.pick(&ask(key)).unwrap().address()).collect::<Vec<_>>()
    };
    let before = places(1);
    assert!(before.iter().all(|place| [address(0), address(1)].contains(place)));
    world.probed(&service.endpoints()[0], false);
    let without = places(2);
    assert_eq!(without, places(3));
    assert!((0..4).all(|at| without.contains(&address(at)) == (at != 0)));
    world.probed(&service.endpoints()[0], true);
    assert_eq!(places(4), before);
}
