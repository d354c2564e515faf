//! What holds whatever happens.

use proptest::prelude::*;

use super::*;

/// Something that happens to a service.
#[derive(Clone, Debug)]
enum Event {
    Fail(usize),
    Probe(usize, bool),
    Wait(u64),
    Reload(usize, u32, u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0usize..8).prop_map(Event::Fail),
        3 => (0usize..8, any::<bool>()).prop_map(|(at, good)| Event::Probe(at, good)),
        1 => (0u64..40).prop_map(Event::Wait),
        1 => (1usize..=8, 0u32..=100, 0u32..=100).prop_map(|(count, most, panic)| Event::Reload(count, most, panic)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn ejection_keeps_its_bounds_whatever_happens(events in prop::collection::vec(event(), 1..120)) {
        let mut world = World::new();
        let with = |count: usize, percent, panic_percent| config::Service {
            probe: Some(probe(ProbeKind::Tcp, 1, 2)),
            ejection: Some(Ejection { panic_percent, ..ejection(2, percent) }),
            ..settings(&vec![1; count])
        };
        let (mut service, mut percent, mut panic) = (world.apply(&with(8, 50, 25)), 50, 25);
        for event in events {
            let count = service.endpoints().len();
            match event {
                Event::Fail(at) => world.fail(&service.endpoints()[at % count], 1),
                Event::Probe(at, good) => world.probed(&service.endpoints()[at % count], good),
                Event::Wait(seconds) => world.now += Duration::from_secs(seconds),
                Event::Reload(count, most, least) => {
                    (service, percent, panic) = (world.apply(&with(count, most, least)), most, least);
                }
            }
            let count = service.endpoints().len();
            let balancer = Balancer::new(Arc::clone(&service), 1, world.now);
            let picked = where_to(&balancer, &[], world.now);
            let states: Vec<State> = service.endpoints().iter().map(|endpoint| state(endpoint)).collect();
            let count_of = |test: fn(&State) -> bool| states.iter().filter(|state| test(state)).count();
            let (ready, ejected) = service.state().table().counts();
            let unhealthy = count_of(|state| matches!(state, State::Unhealthy(_)));
            prop_assert!(ejected <= count * percent as usize / 100);
            prop_assert_eq!(ready, count_of(|state| *state == State::Healthy));
            prop_assert_eq!(ready, service.endpoints().iter().filter(|endpoint| endpoint.ready()).count());
            prop_assert!(ready > 0 || unhealthy == count);
            // Where too few are left, only what probes say counts.
            prop_assert!(ready * 100 >= count * panic as usize || ready + unhealthy == count);
            prop_assert_eq!(picked.is_ok(), ready > 0);
        }
    }

    #[test]
    fn leases_always_return_to_zero_in_flight(
        steps in prop::collection::vec((0u8..4, any::<u64>()), 1..200),
        least_busy: bool,
    ) {
        let mut world = World::new();
        let algorithm = if least_busy { Balance::LeastBusy } else { Balance::RoundRobin };
        let balancer = world.balancer(&config::Service { algorithm, in_flight: 20, ..settings(&[1, 5, 2]) });
        let mut held = Vec::new();
        for (step, random) in steps {
            match step {
                0 | 1 => held.extend(balancer.pick(&ask(&[address(random as usize % 4)], world.now, random))),
                2 if !held.is_empty() => drop(held.swap_remove(random as usize % held.len())),
                _ => {
                    let outcome = if random % 3 == 0 { Outcome::Success } else { Outcome::Reset };
                    held.iter_mut().for_each(|lease: &mut Lease| lease.report(outcome, world.now));
                    world.now += Duration::from_secs(random % 7);
                }
            }
            let endpoints = balancer.service().endpoints();
            prop_assert_eq!(balancer.service().state().in_flight(), held.len());
            prop_assert_eq!(endpoints.iter().map(|endpoint| endpoint.in_flight() as usize).sum::<usize>(), held.len());
            prop_assert!(held.len() <= 20);
        }
        drop(held);
        prop_assert_eq!(balancer.service().state().in_flight(), 0);
        prop_assert!(balancer.service().endpoints().iter().all(|endpoint| endpoint.in_flight() == 0));
    }
}
