//! Shares of failures, too few endpoints, and slow starts.

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
            0 => endpoint.fail(Failure::GatewayStatus, 0, now),
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
