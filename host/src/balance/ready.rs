//! The endpoints that get requests, as one worker last saw them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::algorithms::{Algorithm, Maglev, below, mix};
use super::members::Members;
use super::state::EndpointState;
use super::{Ask, Service, tiers};
use crate::config::Balance;

mod why;

pub use why::Chosen;

/// Which endpoints get requests and whose turn it is.
#[derive(Debug)]
pub(super) struct Ready {
    /// [`super::ServiceState::generation`] at that time.
    pub(super) generation: u64,
    /// When the next ejected one may come back.
    pub(super) next_return: Option<Instant>,
    /// When the share of one that starts slowly grows.
    next_step: Option<Instant>,
    /// Those that have any, the first one first.
    tiers: Vec<Tier>,
    load: Load,
}

/// The endpoints of one tier that get requests.
#[derive(Debug)]
struct Tier {
    /// Draws below this, of 2^32, are its or an earlier one's.
    until: u64,
    endpoints: Vec<Arc<EndpointState>>,
    algorithm: Algorithm,
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
    fn at(self, endpoints: &[Arc<EndpointState>], at: usize, now: Instant) -> f64 {
        endpoints.get(at).map_or(f64::MAX, |endpoint| self.of(endpoint, now))
    }

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
        let seen = Seen::of(service, now);
        let shares = seen.shares(service);
        let mut until = 0.0;
        let mut tier = |(tier, share): (&tiers::Tier, f64)| {
            until += share;
            seen.tier(service, tier, random).map(|(endpoints, algorithm)| Tier {
                until: (until * 2f64.powi(32)).round() as u64,
                endpoints,
                algorithm,
            })
        };
        let tiers = seen.members.tiers.iter().zip(shares).filter_map(&mut tier).collect();
        let load = match service.settings.algorithm {
            Balance::PeakEwma { decay } => Load::Latency(decay),
            _ => Load::InFlight,
        };
        Self { generation, next_return: seen.next_return, next_step: seen.next_step, tiers, load }
    }

    /// Whether what was seen may no longer hold.
    pub(super) fn is_stale(&self, generation: u64, now: Instant) -> bool {
        self.generation != generation || self.next_step.is_some_and(|at| now >= at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    /// One that was not tried.
    pub(super) fn pick(&mut self, ask: &Ask<'_>) -> Option<Arc<EndpointState>> {
        let draw = ask.draw();
        let (at, load) = (self.tier_of(draw), self.load);
        let tier = self.tiers.get_mut(at)?;
        let endpoints = &tier.endpoints;
        let load = |at: usize| load.at(endpoints, at, ask.now);
        // A retry takes no turn: else where every second request fails, every first try would go to the one that fails.
        if ask.tried.is_empty() || !tier.algorithm.takes_turns() {
            let picked = tier.algorithm.pick(load, draw).and_then(|at| endpoints.get(at))?;
            if !tried(ask.tried, picked) {
                return Some(Arc::clone(picked));
            }
        }
        // Any other of the tier, else of another one.
        let others = self.tiers.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, tier)| tier);
        self.tiers.get(at).into_iter().chain(others).find_map(|tier| tier.other(ask.tried, mix(draw)))
    }

    /// The position of the tier that a draw is of.
    fn tier_of(&self, draw: u64) -> usize {
        if self.tiers.len() < 2 {
            return 0;
        }
        // Not the draw that picks within the tier.
        let draw = mix(draw ^ TIER_DRAW) >> 32;
        self.tiers.iter().position(|tier| draw < tier.until).unwrap_or(0)
    }
}

/// Told apart from the draws of the algorithms.
const TIER_DRAW: u64 = 0x7469_6572;

impl Tier {
    /// One that was not tried, from one on that is drawn.
    fn other(&self, already: &[SocketAddr], draw: u64) -> Option<Arc<EndpointState>> {
        let (before, after) = self.endpoints.split_at_checked(below(draw, self.endpoints.len()))?;
        after.iter().chain(before).find(|endpoint| !tried(already, endpoint)).cloned()
    }
}

/// What a look at a service sees.
pub(super) struct Seen {
    pub(super) members: Arc<Members>,
    /// Of all endpoints in their order: how far their slow start is; `None`: they get no requests.
    warmths: Vec<Option<Warmth>>,
    next_return: Option<Instant>,
    next_step: Option<Instant>,
}

impl Seen {
    pub(super) fn of(service: &Service, now: Instant) -> Self {
        let members = service.members.load_full();
        let table = service.state.table();
        let warmth = |endpoint: &Arc<EndpointState>| {
            let back = || table.back(endpoint.address());
            endpoint.ready().then(|| Warmth::of(back(), service.settings.slow_start, now))
        };
        let warmths: Vec<Option<Warmth>> = members.states.iter().map(warmth).collect();
        let next_step = warmths.iter().flatten().filter_map(|warmth| warmth.next).min();
        let next_return = table.next_return();
        drop(table);
        Self { members, warmths, next_return, next_step }
    }

    /// The share of requests that each tier gets.
    pub(super) fn shares(&self, service: &Service) -> Vec<f64> {
        if let [_] = *self.members.tiers {
            return vec![1.0];
        }
        let weight = |at: &usize| self.members.known.get(*at).map_or(0.0, |known| f64::from(known.weight));
        let left = |at: &usize| weight(at) * self.warmth(*at).map_or(0.0, |warmth| warmth.share().unwrap_or(1.0));
        let part = |tier: &tiers::Tier| {
            let (left, all): (f64, f64) = (tier.members.iter().map(left).sum(), tier.members.iter().map(weight).sum());
            left / all
        };
        let parts: Vec<f64> = self.members.tiers.iter().map(part).collect();
        tiers::shares(&parts, f64::from(service.settings.enough_percent) / 100.0)
    }

    fn warmth(&self, at: usize) -> Option<Warmth> {
        self.warmths.get(at).copied().flatten()
    }

    /// The endpoints of a tier that get requests, and how one of them is picked; `None`: there are none.
    fn tier(&self, service: &Service, tier: &tiers::Tier, random: u64) -> Option<(Vec<Arc<EndpointState>>, Algorithm)> {
        let known = |at: &usize| {
            let warmth = self.warmth(*at)?;
            let weight = self.members.known.get(*at)?.weight * warmth.steps;
            Some((Arc::clone(self.members.states.get(*at)?), weight))
        };
        let (endpoints, weights): (Vec<_>, Vec<_>) = tier.members.iter().filter_map(known).unzip();
        let ready = tier.members.iter().map(|at| self.warmth(*at).is_some());
        let algorithm = match &tier.hashed {
            Some(table) => Algorithm::Maglev(Maglev::new(Arc::clone(table), ready)),
            None => Algorithm::new(&service.settings.algorithm, &weights, mix(random)),
        };
        (!endpoints.is_empty()).then_some((endpoints, algorithm))
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
