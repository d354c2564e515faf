#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;

use super::health::{ProbeFailure, State};
use super::*;
use crate::config::{Balance, Ejection, Endpoint, Endpoints, FailureKind, HttpProbe, Probe, ProbeKind};

mod failures;
mod outliers;
mod picks;
mod properties;
mod sockets;
mod why;

fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1000 + n as u16))
}

/// A service of `weights.len()` endpoints with the default ejection and no probe.
fn settings(weights: &[u32]) -> config::Service {
    config::Service {
        name: "orders".into(),
        endpoints: Endpoints::Listed(
            (weights.iter().enumerate())
                .map(|(n, weight)| Endpoint { address: address(n), weight: *weight, tier: 1 })
                .collect(),
        ),
        algorithm: Balance::RoundRobin,
        connect_timeout: Duration::from_secs(2),
        timeout: Duration::from_secs(30),
        body_timeout: Duration::from_secs(60),
        upgrade_timeout: Duration::from_secs(300),
        tls: None,
        http2: false,
        http2_ping: None,
        interim_responses: false,
        idle_connections: 64,
        warm: 0,
        idle_timeout: Duration::from_secs(55),
        connection_lifetime: Duration::from_hours(1),
        probe: None,
        ejection: Some(ejection(5, 50)),
        slow_start: Duration::ZERO,
        enough_percent: 70,
        in_flight: 10_000,
        connections: 10_000,
        pending: 1024,
        retry: None,
    }
}

pub(super) fn ejection(failures: u32, most_percent: u32) -> Ejection {
    Ejection {
        on: vec![FailureKind::Connect, FailureKind::Reset, FailureKind::Timeout, FailureKind::Status(502, 504)],
        failures,
        failed_percent: 100,
        window: Duration::from_secs(10),
        window_requests: 1_000_000,
        time: Duration::from_secs(10),
        most_time: Duration::from_secs(300),
        most_percent,
        panic_percent: 0,
    }
}

fn probe(kind: ProbeKind, rise: u32, fall: u32) -> Probe {
    Probe { kind, interval: Duration::from_millis(5), timeout: Duration::from_secs(5), rise, fall }
}

/// The registry, and a runtime that is not running unless a test runs it: probes are started, but never asked.
struct World {
    services: Services,
    runtime: Runtime,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { services: Services::new(runtime.handle().clone()), runtime, now: Instant::now() }
    }

    fn apply(&self, settings: &config::Service) -> Arc<Service> {
        let map = BTreeMap::from([(Arc::clone(&settings.name), settings.clone())]);
        Arc::clone(&self.services.apply(&map, self.now)[&settings.name])
    }

    fn balancer(&self, settings: &config::Service) -> Balancer {
        Balancer::new(self.apply(settings), 7, self.now)
    }

    /// Lets this many requests in a row fail at an endpoint.
    fn fail(&self, endpoint: &Arc<EndpointState>, times: u32) {
        (0..times).for_each(|_| endpoint.fail(Failure::Reset, 0, self.now));
    }

    /// Hands in the result of a probe as its task does.
    fn probed(&self, endpoint: &Arc<EndpointState>, good: bool) {
        let rule = endpoint.service().table().rule(endpoint.address()).unwrap();
        endpoint.probed(&rule, if good { Ok(()) } else { Err(ProbeFailure::Status(500)) }, self.now);
    }
}

fn ask(tried: &[SocketAddr], now: Instant, random: u64) -> Ask<'_> {
    Ask { tried, affinity: None, now, random }
}

/// Picks, and lets the request end at once.
fn where_to(balancer: &Balancer, tried: &[SocketAddr], now: Instant) -> Result<SocketAddr, Unavailable> {
    balancer.pick(&ask(tried, now, 7)).map(|lease| lease.address())
}

fn state(endpoint: &EndpointState) -> State {
    endpoint.service().table().state(endpoint.address()).unwrap()
}

#[test]
fn a_worker_shares_requests_by_weight() {
    let world = World::new();
    let balancer = world.balancer(&settings(&[3, 1]));
    let first = (0..400).filter(|_| where_to(&balancer, &[], world.now) == Ok(address(0))).count();
    assert_eq!(first, 300);
}

#[test]
fn the_circuit_opens_at_its_bound_and_closes_again() {
    let world = World::new();
    let balancer = world.balancer(&config::Service { in_flight: 2, ..settings(&[1, 1]) });
    let one = balancer.pick(&ask(&[], world.now, 1)).unwrap();
    let _two = balancer.pick(&ask(&[], world.now, 2)).unwrap();
    assert_eq!(where_to(&balancer, &[], world.now), Err(Unavailable::CircuitOpen));
    drop(one);
    assert!(where_to(&balancer, &[], world.now).is_ok());
    assert_eq!(balancer.service().state().refused(), 1);
}

#[test]
fn the_circuit_holds_over_workers_that_pick_at_once() {
    let world = World::new();
    let service = world.apply(&config::Service { in_flight: 5, ..settings(&[1, 1]) });
    let held = &AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (service, now) = (Arc::clone(&service), world.now);
            scope.spawn(move || {
                let balancer = Balancer::new(service, worker, now);
                for turn in 0..5_000 {
                    let leases: Vec<_> = (0..3).filter_map(|_| balancer.pick(&ask(&[], now, turn)).ok()).collect();
                    assert!(held.fetch_add(leases.len(), Ordering::SeqCst) + leases.len() <= 5);
                    held.fetch_sub(leases.len(), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(service.state().in_flight(), 0);
}

#[test]
fn a_retry_goes_elsewhere_or_nowhere() {
    let world = World::new();
    let balancer = world.balancer(&settings(&[1000, 1, 1]));
    let tried = [address(0), address(2)];
    for _ in 0..50 {
        assert_eq!(where_to(&balancer, &tried, world.now), Ok(address(1)));
    }
    let all = [address(0), address(1), address(2)];
    assert_eq!(where_to(&balancer, &all, world.now), Err(Unavailable::NoOtherEndpoint));
    assert_eq!(balancer.service().state().in_flight(), 0);
}

#[test]
fn the_idle_endpoint_is_chosen_over_the_busy_one() {
    let world = World::new();
    let balancer = world.balancer(&config::Service { algorithm: Balance::LeastBusy, ..settings(&[1, 1]) });
    let busy = balancer.pick(&ask(&[address(1)], world.now, 3)).unwrap();
    for random in 0..100 {
        assert_eq!(balancer.pick(&ask(&[], world.now, mix(random))).unwrap().address(), address(1));
    }
    assert_eq!(busy.endpoint().in_flight(), 1);
}

#[test]
fn failures_in_a_row_eject_until_the_time_is_over() {
    let mut world = World::new();
    let balancer = world.balancer(&settings(&[1, 1]));
    let bad = Arc::clone(&balancer.service().endpoints()[0]);
    world.fail(&bad, 4);
    assert!(bad.ready());
    world.fail(&bad, 1);
    assert_eq!(state(&bad), State::Ejected(world.now + Duration::from_secs(10)));
    assert!((0..20).all(|_| where_to(&balancer, &[], world.now) == Ok(address(1))));
    world.now += Duration::from_secs(10);
    assert!((0..2).any(|_| where_to(&balancer, &[], world.now) == Ok(address(0))));
    assert_eq!((state(&bad), bad.changes(), bad.failures(Failure::Reset)), (State::Healthy, 2, 5));
}

#[test]
fn a_body_that_breaks_off_takes_back_the_success_of_its_head() {
    let world = World::new();
    let balancer = world.balancer(&settings(&[1, 1]));
    let bad = &balancer.service().endpoints()[0];
    for _ in 0..5 {
        assert!(bad.ready());
        let mut lease = balancer.pick(&ask(&[address(1)], world.now, 1)).unwrap();
        lease.report(Outcome::Success, world.now);
        lease.report(Outcome::Reset, world.now);
    }
    assert!(!bad.ready());
}

#[test]
fn the_only_endpoint_is_never_ejected() {
    let world = World::new();
    let service = world.apply(&config::Service { ejection: Some(ejection(1, 100)), ..settings(&[1]) });
    world.fail(&service.endpoints()[0], 50);
    assert!(service.endpoints()[0].ready());
}

#[test]
fn the_ejected_come_back_when_probes_leave_no_other() {
    let world = World::new();
    let service = world.apply(&config::Service { probe: Some(probe(ProbeKind::Tcp, 1, 1)), ..settings(&[1, 1]) });
    let (ejected, fallen) = (&service.endpoints()[0], &service.endpoints()[1]);
    world.fail(ejected, 5);
    assert_eq!(service.state().table().counts(), (1, 1));
    world.probed(fallen, false);
    assert!(ejected.ready() && !fallen.ready());
    world.probed(ejected, false);
    let balancer = Balancer::new(Arc::clone(&service), 1, world.now);
    assert_eq!(where_to(&balancer, &[], world.now), Err(Unavailable::NoHealthyEndpoint));
    world.probed(fallen, true);
    assert_eq!(where_to(&balancer, &[], world.now), Ok(fallen.address()));
}

#[test]
fn workers_that_fail_at_once_never_eject_the_last() {
    let world = World::new();
    let service = world.apply(&config::Service { ejection: Some(ejection(1, 100)), ..settings(&[1; 3]) });
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (service, mut now) = (Arc::clone(&service), world.now);
            scope.spawn(move || {
                let balancer = Balancer::new(Arc::clone(&service), worker, now);
                for turn in 0..5_000 {
                    now += Duration::from_secs(2);
                    balancer.pick(&ask(&[], now, turn)).unwrap().report(Outcome::Timeout, now);
                    let (ready, ejected) = service.state().table().counts();
                    assert!(ready >= 1 && ready + ejected == 3, "{ready} ready, {ejected} ejected");
                }
            });
        }
    });
    assert!(service.endpoints().iter().map(|endpoint| endpoint.changes()).sum::<u64>() > 2);
}

#[test]
fn a_reload_keeps_what_is_known_and_forgets_what_left() {
    let world = World::new();
    let before = world.apply(&settings(&[1; 4]));
    world.fail(&before.endpoints()[1], 5);
    let lease = Balancer::new(Arc::clone(&before), 0, world.now).pick(&ask(&[], world.now, 0)).unwrap();

    let after = world.apply(&settings(&[2; 6]));
    assert!(after.endpoints().iter().zip(before.endpoints()).all(|(new, old)| Arc::ptr_eq(new, &old)));
    assert_eq!((after.endpoints()[1].ready(), after.state().in_flight()), (false, 1));
    drop(lease);
    assert_eq!(after.state().in_flight(), 0);

    let fewer = world.apply(&settings(&[1]));
    let again = world.apply(&settings(&[1; 4]));
    assert_eq!(state(&again.endpoints()[1]), State::Healthy);
    assert!(Arc::ptr_eq(&fewer.endpoints()[0], &again.endpoints()[0]));
    assert!(!Arc::ptr_eq(&before.endpoints()[1], &again.endpoints()[1]));
}

#[test]
fn an_unchanged_service_stays_the_same_value_and_keeps_its_probes() {
    let world = World::new();
    let probed = config::Service { probe: Some(probe(ProbeKind::Tcp, 1, 1)), ..settings(&[1, 1]) };
    let first = world.apply(&probed);
    assert!(Arc::ptr_eq(&first, &world.apply(&probed)));
    let rule = first.state().table().rule(address(0)).unwrap();
    let heavier = world.apply(&config::Service { idle_connections: 5, ..probed });
    assert!(Arc::ptr_eq(&rule, &heavier.state().table().rule(address(0)).unwrap()));
}

#[test]
fn without_a_probe_bad_probes_are_forgotten_and_late_ones_ignored() {
    let world = World::new();
    let probed = config::Service { probe: Some(probe(ProbeKind::Tcp, 1, 1)), ..settings(&[1, 1]) };
    let service = world.apply(&probed);
    let endpoint = &Arc::clone(&service.endpoints()[0]);
    let rule = service.state().table().rule(address(0)).unwrap();
    world.probed(endpoint, false);
    assert!(!endpoint.ready());
    world.apply(&settings(&[1, 1]));
    assert!(endpoint.ready());
    endpoint.probed(&rule, Err(ProbeFailure::Status(500)), world.now);
    assert!(endpoint.ready());
}

#[test]
fn a_late_result_of_the_rule_before_is_ignored() {
    let world = World::new();
    let by = |kind| config::Service { probe: Some(probe(kind, 1, 1)), ..settings(&[1, 1]) };
    let service = world.apply(&by(ProbeKind::Tcp));
    let before = service.state().table().rule(address(0)).unwrap();
    world.apply(&by(sockets::http()));
    service.endpoints()[0].probed(&before, Err(ProbeFailure::Status(500)), world.now);
    assert!(service.endpoints()[0].ready());
    world.probed(&service.endpoints()[0], false);
    assert!(!service.endpoints()[0].ready());
}

#[test]
fn a_reload_that_allows_no_ejection_readmits() {
    let world = World::new();
    let service = world.apply(&settings(&[1, 1]));
    world.fail(&service.endpoints()[0], 5);
    assert!(!service.endpoints()[0].ready());
    world.apply(&config::Service { ejection: None, ..settings(&[1, 1]) });
    assert!(service.endpoints()[0].ready());
    world.fail(&service.endpoints()[0], 50);
    assert!(service.endpoints()[0].ready());
}

#[test]
fn the_snapshot_shows_each_state() {
    let world = World::new();
    let probed = config::Service { probe: Some(probe(ProbeKind::Tcp, 1, 1)), ..settings(&[1, 2, 3]) };
    let service = world.apply(&config::Service { ejection: Some(ejection(1, 50)), ..probed });
    world.probed(&service.endpoints()[0], false);
    world.fail(&service.endpoints()[1], 1);
    let shown = serde_json::to_value(world.services.snapshot(world.now)).unwrap();
    let endpoints = &shown[0]["endpoints"];
    assert_eq!(endpoints[0]["state"], "unhealthy");
    assert_eq!(endpoints[0]["reason"], "status 500");
    assert_eq!(endpoints[1]["state"], "ejected");
    assert_eq!(endpoints[1]["seconds_left"], 10.0);
    assert_eq!(endpoints[1]["failures"]["reset"], 1);
    assert_eq!(endpoints[2]["state"], "healthy");
    assert_eq!((&shown[0]["algorithm"], &endpoints[2]["weight"]), (&"round-robin".into(), &3.into()));
}
