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
    pub(super) fn look(service: &Service, random: u64) -> Self {
        // Before the endpoints: what changes meanwhile is seen at the next pick.
        let generation = service.state.generation();
        let next_return = service.state.table().next_return();
        let ready: Vec<bool> = service.endpoints.iter().map(|endpoint| endpoint.ready()).collect();
        let known = service.endpoints.iter().zip(&service.settings.endpoints);
        let (endpoints, weights): (Vec<_>, Vec<_>) = (known.zip(&ready))
            .filter(|(_, ready)| **ready)
            .map(|((endpoint, known), _)| (Arc::clone(endpoint), known.weight))
            .unzip();
        let algorithm = match &service.hashed {
            Some(table) => Algorithm::Maglev(Maglev::new(Arc::clone(table), ready)),
            None => Algorithm::new(&service.settings.algorithm, &weights, mix(random)),
        };
        let load = match service.settings.algorithm {
            Balance::PeakEwma { decay } => Load::Latency(decay),
            _ => Load::InFlight,
        };
        Self { generation, next_return, endpoints, algorithm, load }
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
