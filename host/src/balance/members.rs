//! The endpoints of a service as they are known at one time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::state::{EndpointState, ServiceState};
use super::tiers::Tier;
use crate::config::{Balance, Endpoint};

/// One immutable list of endpoints, and what is made of it.
#[derive(Debug, Default)]
pub struct Members {
    /// What is said of them.
    pub known: Vec<Endpoint>,
    /// Their counters, in the same order.
    pub states: Vec<Arc<EndpointState>>,
    /// By priority.
    pub tiers: Arc<[Tier]>,
}

impl Members {
    /// The same endpoint as `before` is the same value, with its counters.
    pub fn new(known: Vec<Endpoint>, before: &Self, service: &Arc<ServiceState>, now: Instant) -> Self {
        let there: BTreeMap<SocketAddr, &Arc<EndpointState>> =
            before.states.iter().map(|endpoint| (endpoint.address(), endpoint)).collect();
        let state = |endpoint: &Endpoint| match there.get(&endpoint.address) {
            Some(known) => Arc::clone(known),
            None => EndpointState::new(Arc::clone(service), endpoint.address, now),
        };
        Self { states: known.iter().map(state).collect(), known, tiers: Arc::default() }
    }

    /// With the tiers of these endpoints. They stay the same as long as the endpoints and their weights do: a table of keys
    /// takes its time.
    pub fn in_tiers(mut self, algorithm: &Balance, (before, had): (&Self, Option<&Balance>)) -> Self {
        self.tiers = match before.known == self.known && had == Some(algorithm) {
            true => Arc::clone(&before.tiers),
            false => Tier::all(&self.known, algorithm).into(),
        };
        self
    }
}
