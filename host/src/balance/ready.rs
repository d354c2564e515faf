//! The endpoints that get requests, as one worker last saw them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::algorithms::{Algorithm, Maglev, below, mix};
use super::state::EndpointState;
use super::{Ask, Service};
use crate::config::Balance;

/// Which endpoints get requests and whose turn it is.
#[derive(Debug)]
pub(super) struct Ready {
    /// [`super::ServiceState::generation`] at that time.
    pub(super) generation: u64,
    /// When the next ejected one may come back.
    pub(super) next_return: Option<Instant>,
    /// When the share of one that starts slowly grows.
    next_step: Option<Instant>,
    endpoints: Vec<Arc<EndpointState>>,
    algorithm: Algorithm,
    load: Load,
}

/// What an endpoint's load is.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// Requests in flight.
    InFlight,
    /// The time that they are expected to take, where a slow answer is remembered so long.
    Latency(Duration),
}

/// What an endpoint counts for that is busy with its first request, in seconds: more than any that has answered.
const UNKNOWN: f64 = 1e6;

/// A slow start goes up by so many equal steps: few, so that endpoints have few different weights.
const STEPS: u32 = 10;

/// How far an endpoint's slow start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Warmth {
    /// Of [`STEPS`] that it has the share of; at least one, or it would never warm up.
    steps: u32,
    /// When it has one more; `None`: it has all.
    next: Option<Instant>,
}

impl Warmth {
    /// Of one that came back at this moment, where a slow start takes so long.
    pub(super) fn of(back: Option<Instant>, slow_start: Duration, now: Instant) -> Self {
        let step = slow_start / STEPS;
        let Some(back) = back.filter(|_| !step.is_zero()) else { return Self { steps: STEPS, next: None } };
        let past = now.saturating_duration_since(back).as_nanos() / step.as_nanos();
        let steps = u32::try_from(past).map_or(STEPS, |past| past.saturating_add(1).min(STEPS));
        Self { steps, next: (steps < STEPS).then(|| back + step * steps) }
    }

    /// The share of its weight that it has; `None`: all.
    pub(super) fn share(self) -> Option<f64> {
        (self.steps < STEPS).then(|| f64::from(self.steps) / f64::from(STEPS))
    }
}

impl Load {
    fn of(self, endpoint: &EndpointState, now: Instant) -> f64 {
        let in_flight = f64::from(endpoint.in_flight());
        match self {
            Self::InFlight => in_flight,
            Self::Latency(decay) => match endpoint.latency().seconds(decay, now) {
                0.0 => UNKNOWN * in_flight,
                seconds => seconds * (in_flight + 1.0),
            },
        }
    }
}

impl Ready {
    pub(super) fn look(service: &Service, random: u64, now: Instant) -> Self {
        // Before the endpoints: what changes meanwhile is seen at the next pick.
        let generation = service.state.generation();
        let table = service.state.table();
        let next_return = table.next_return();
        let ready: Vec<bool> = service.endpoints.iter().map(|endpoint| endpoint.ready()).collect();
        let known = service.endpoints.iter().zip(&service.settings.endpoints);
        let mut next_step = None;
        let mut weigh = |endpoint: &EndpointState, weight: u32| {
            let warmth = Warmth::of(table.back(endpoint.address()), service.settings.slow_start, now);
            next_step = [next_step, warmth.next].into_iter().flatten().min();
            weight * warmth.steps
        };
        let (endpoints, weights): (Vec<_>, Vec<_>) = (known.zip(&ready))
            .filter(|(_, ready)| **ready)
            .map(|((endpoint, known), _)| (Arc::clone(endpoint), weigh(endpoint, known.weight)))
            .unzip();
        drop(table);
        let algorithm = match &service.hashed {
            Some(table) => Algorithm::Maglev(Maglev::new(Arc::clone(table), ready)),
            None => Algorithm::new(&service.settings.algorithm, &weights, mix(random)),
        };
        let load = match service.settings.algorithm {
            Balance::PeakEwma { decay } => Load::Latency(decay),
            _ => Load::InFlight,
        };
        Self { generation, next_return, next_step, endpoints, algorithm, load }
    }

    /// Whether what was seen may no longer hold.
    pub(super) fn is_stale(&self, generation: u64, now: Instant) -> bool {
        self.generation != generation || self.next_step.is_some_and(|at| now >= at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// One that was not tried.
    pub(super) fn pick(&mut self, ask: &Ask<'_>) -> Option<Arc<EndpointState>> {
        let endpoints = &self.endpoints;
        let load = |at: usize| endpoints.get(at).map_or(f64::MAX, |endpoint| self.load.of(endpoint, ask.now));
        let draw = ask.affinity.unwrap_or(ask.random);
        let picked = self.algorithm.pick(load, draw).and_then(|at| endpoints.get(at))?;
        if !tried(ask.tried, picked) {
            return Some(Arc::clone(picked));
        }
        // A retry: any other, from one on that is drawn anew.
        let (before, after) = endpoints.split_at_checked(below(mix(draw), endpoints.len()))?;
        after.iter().chain(before).find(|endpoint| !tried(ask.tried, endpoint)).cloned()
    }
}

fn tried(tried: &[SocketAddr], endpoint: &EndpointState) -> bool {
    tried.contains(&endpoint.address())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_start_goes_up_by_equal_steps_and_ends() {
        let (back, length) = (Instant::now(), Duration::from_secs(10));
        let at = |seconds: f64| Warmth::of(Some(back), length, back + Duration::from_secs_f64(seconds));
        assert_eq!(at(0.0), Warmth { steps: 1, next: Some(back + Duration::from_secs(1)) });
        assert_eq!(at(4.5), Warmth { steps: 5, next: Some(back + Duration::from_secs(5)) });
        assert_eq!((at(4.5).share(), at(9.0).share()), (Some(0.5), None));
        let all = Warmth { steps: STEPS, next: None };
        assert_eq!((at(9.0), at(1e9)), (all, all));
        assert_eq!(Warmth::of(None, length, back), all);
        assert_eq!(Warmth::of(Some(back), Duration::ZERO, back), all);
    }
}
