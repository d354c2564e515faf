//! Which endpoint a request gets.

use super::*;

fn by(algorithm: Balance, weights: &[u32]) -> config::Service {
    config::Service { algorithm, ..settings(weights) }
}

fn hashing(weights: &[u32]) -> config::Service {
    by(Balance::Maglev { affinity: None }, weights)
}

const LATENCY: Balance = Balance::PeakEwma { decay: Duration::from_secs(10) };

/// Where the request of a key goes.
fn of_key(balancer: &Balancer, key: u64, tried: &[SocketAddr], now: Instant) -> SocketAddr {
    let ask = Ask { affinity: Some(key), ..ask(tried, now, 99) };
    balancer.pick(&ask).unwrap().address()
}

#[test]
fn the_slow_endpoint_is_spared_by_all_workers() {
    let world = World::new();
    let service = world.apply(&by(LATENCY, &[1, 1]));
    let workers = [0, 1].map(|worker| Balancer::new(Arc::clone(&service), worker, world.now));
    let mut now = world.now;
    // Both are unknown: whoever is first, the other one is second.
    for (endpoint, milliseconds) in [(0, 500), (1, 10)] {
        let other = address(1 - endpoint);
        let mut lease = workers[0].pick(&ask(&[other], now, 1)).unwrap();
        assert!(lease.is_timed());
        now += Duration::from_millis(milliseconds);
        lease.report(Outcome::Success, now);
    }
    for random in 0..100 {
        assert_eq!(workers[1].pick(&ask(&[], now, mix(random))).unwrap().address(), address(1));
    }
    // One that has this many in flight is the slower one again.
    let _held: Vec<_> = (0..50).map(|random| workers[0].pick(&ask(&[address(0)], now, random)).unwrap()).collect();
    assert_eq!(workers[1].pick(&ask(&[], now, 1)).unwrap().address(), address(0));
    let shown = world.services.snapshot(now);
    let latencies: Vec<_> = shown[0].endpoints.iter().map(|endpoint| endpoint.latency.unwrap()).collect();
    assert!((0.49..0.51).contains(&latencies[0]) && (0.009..0.011).contains(&latencies[1]), "{latencies:?}");
}

#[test]
fn an_endpoint_that_never_answered_gets_one_request_first() {
    let world = World::new();
    let balancer = world.balancer(&by(LATENCY, &[1, 1]));
    balancer.pick(&ask(&[address(1)], world.now, 1)).unwrap().report(Outcome::Success, world.now);
    let first = balancer.pick(&ask(&[], world.now, 1)).unwrap();
    assert_eq!(first.address(), address(1));
    assert!((0..50).all(|random| balancer.pick(&ask(&[], world.now, mix(random))).unwrap().address() == address(0)));
}

#[test]
fn where_time_does_not_matter_nobody_measures_it() {
    let world = World::new();
    for algorithm in [Balance::RoundRobin, Balance::LeastBusy, Balance::Random] {
        let balancer = world.balancer(&by(algorithm, &[1]));
        assert!(!balancer.pick(&ask(&[], world.now, 1)).unwrap().is_timed());
    }
}

#[test]
fn a_random_endpoint_is_drawn_by_weight() {
    let world = World::new();
    let balancer = world.balancer(&by(Balance::Random, &[9, 1]));
    let light =
        (0..10_000).filter(|random| balancer.pick(&ask(&[], world.now, mix(*random))).unwrap().address() == address(1));
    let light = light.count();
    assert!((900..=1_100).contains(&light), "{light}");
}

#[test]
fn a_key_stays_at_its_endpoint_until_that_is_gone_and_comes_back_with_it() {
    let mut world = World::new();
    let service = world.apply(&hashing(&[1; 5]));
    let workers = [0, 1].map(|worker| Balancer::new(Arc::clone(&service), worker, world.now));
    let places = |now| (0..500).map(|key| of_key(&workers[key % 2], mix(key as u64), &[], now)).collect::<Vec<_>>();
    let before = places(world.now);
    assert_eq!(before, places(world.now));
    world.fail(&service.endpoints()[2], 5);
    let without = places(world.now);
    let differ = before.iter().zip(&without).filter(|(before, without)| before != without);
    assert!(differ.clone().count() > 50 && differ.clone().all(|(before, _)| *before == address(2)));
    assert!((0..5).filter(|n| *n != 2).all(|n| differ.clone().any(|(_, without)| *without == address(n))));
    world.now += Duration::from_secs(10);
    assert_eq!(before, places(world.now));
}

#[test]
fn a_retry_of_a_key_goes_elsewhere_and_always_there() {
    let world = World::new();
    let balancer = world.balancer(&hashing(&[1; 4]));
    for key in (0..100).map(mix) {
        let first = of_key(&balancer, key, &[], world.now);
        let second = of_key(&balancer, key, &[first], world.now);
        assert_ne!(first, second);
        assert_eq!(second, of_key(&balancer, key, &[first], world.now));
    }
}

#[test]
fn requests_without_a_key_go_anywhere() {
    let world = World::new();
    let balancer = world.balancer(&hashing(&[1; 3]));
    let places: std::collections::BTreeSet<_> =
        (0..60).map(|random| balancer.pick(&ask(&[], world.now, mix(random))).unwrap().address()).collect();
    assert_eq!(places.len(), 3);
}

#[test]
fn the_table_of_a_reload_with_the_same_endpoints_is_the_same() {
    let world = World::new();
    let first = world.apply(&hashing(&[1, 2]));
    let same = world.apply(&config::Service { idle_connections: 5, ..hashing(&[1, 2]) });
    assert!(Arc::ptr_eq(&first.members.load().tiers, &same.members.load().tiers));
    let other = world.apply(&hashing(&[2, 2]));
    assert!(!Arc::ptr_eq(&first.members.load().tiers, &other.members.load().tiers));
}
