//! Service → endpoint: which address of a service gets a request, and which are well enough to get any.
//!
//! [`Services`] is the one registry: what must be global (requests in flight, health, ejections) lives there by the identity
//! of service and address, over workers and reloads. A worker has one [`Balancer`] per [`Service`]; its picks take no lock. A
//! pick is a [`Lease`], which counts until it is dropped and takes the request's [`Outcome`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::runtime::Handle;

use crate::config;

mod algorithms;
mod failures;
mod health;
mod latency;
mod lease;
mod probe;
mod ready;
mod retries;
mod snapshot;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod tiers;

pub use algorithms::{hash, mix};
pub use lease::{Failure, Lease, Outcome};
pub use retries::Again;
pub use snapshot::{EndpointSnapshot, FailuresSnapshot, ServiceSnapshot, StateSnapshot, TierSnapshot};
pub use state::{EndpointState, ServiceState};

use lease::{Place, Watch};
use probe::Prober;
use ready::Ready;
use tiers::Tier;

/// The services of one configuration, by name.
pub type ServiceMap = Arc<BTreeMap<Arc<str>, Arc<Service>>>;

/// Why no endpoint can be had. All of these are answered at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Every endpoint is unhealthy.
    #[error("no endpoint is healthy")]
    NoHealthyEndpoint,
    /// Every healthy endpoint was tried already.
    #[error("no other endpoint is healthy")]
    NoOtherEndpoint,
    /// The service has as many requests in flight as it may.
    #[error("too many requests in flight")]
    CircuitOpen,
}

/// The registry of services, over workers and reloads.
#[derive(Debug)]
pub struct Services {
    prober: Prober,
    current: Mutex<ServiceMap>,
}

impl Services {
    /// No services yet. Probes will run on this runtime, which needs its I/O and time drivers.
    pub fn new(runtime: Handle) -> Self {
        Self { prober: Prober::new(runtime), current: Mutex::default() }
    }

    /// Brings a configuration into force; call it when that goes live, not before. A service that is the same stays the same
    /// value. An endpoint that was there keeps its counters, its health and its running probe (which begins anew only if its
    /// rule changed); one that left is forgotten and no longer probed; a new one is healthy until probes or failures say
    /// otherwise, and is probed at once.
    pub fn apply(&self, services: &BTreeMap<Arc<str>, config::Service>, now: Instant) -> ServiceMap {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let next = services.iter().map(|(name, settings)| {
            let service = match current.get(name) {
                Some(known) if known.settings == *settings => Arc::clone(known),
                known => Arc::new(Service::new(settings, known.map(|known| &**known), (&self.prober, now))),
            };
            (Arc::clone(name), service)
        });
        let next = Arc::new(next.collect::<BTreeMap<_, _>>());
        for (_, gone) in current.iter().filter(|(name, _)| !next.contains_key(*name)) {
            gone.state.decide(|table, changes| table.replace(&[], None, None, (&self.prober, now), changes));
        }
        *current = Arc::clone(&next);
        next
    }

    /// The services of the configuration that is in force.
    pub fn current(&self) -> ServiceMap {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the admin API shows, by name.
    pub fn snapshot(&self, now: Instant) -> Vec<ServiceSnapshot> {
        self.current().values().map(|service| ServiceSnapshot::new(service, now)).collect()
    }
}

/// A service of one configuration: its settings, and what it shares with the same service of other configurations.
#[derive(Debug)]
pub struct Service {
    settings: config::Service,
    state: Arc<ServiceState>,
    /// In the order of `settings.endpoints`.
    endpoints: Vec<Arc<EndpointState>>,
    tiers: Arc<[Tier]>,
}

impl Service {
    fn new(settings: &config::Service, known: Option<&Self>, (prober, now): (&Prober, Instant)) -> Self {
        let state =
            known.map_or_else(|| ServiceState::new(Arc::clone(&settings.name)), |known| Arc::clone(&known.state));
        let before: BTreeMap<SocketAddr, &Arc<EndpointState>> = known
            .into_iter()
            .flat_map(|known| &known.endpoints)
            .map(|endpoint| (endpoint.address(), endpoint))
            .collect();
        let endpoint = |address: SocketAddr| match before.get(&address) {
            Some(endpoint) => Arc::clone(endpoint),
            None => EndpointState::new(Arc::clone(&state), address, now),
        };
        let endpoints: Vec<_> = settings.endpoints.iter().map(|known| endpoint(known.address)).collect();
        let (probe, ejection) = (settings.probe.as_ref(), settings.ejection.as_ref());
        state.set_ejection(ejection);
        state.decide(|table, changes| table.replace(&endpoints, probe, ejection, (prober, now), changes));
        state.renew();
        // They stay the same as long as the endpoints and their weights do: a table of keys takes its time.
        let same = |known: &&Self| {
            known.settings.endpoints == settings.endpoints && known.settings.algorithm == settings.algorithm
        };
        let tiers = known.filter(same).map(|known| Arc::clone(&known.tiers));
        let tiers = tiers.unwrap_or_else(|| Tier::all(&settings.endpoints, &settings.algorithm).into());
        Self { settings: settings.clone(), state, endpoints, tiers }
    }

    /// What the configuration says of it.
    pub fn settings(&self) -> &config::Service {
        &self.settings
    }

    /// Its counters.
    pub fn state(&self) -> &Arc<ServiceState> {
        &self.state
    }

    /// Its endpoints in the order of the configuration.
    pub fn endpoints(&self) -> &[Arc<EndpointState>] {
        &self.endpoints
    }

    /// A place for one more request that is tried again; `None` where there are too many.
    pub fn again(&self, rule: &config::Retry) -> Option<Again> {
        Again::take(&self.state, rule)
    }

    /// What a request that begins now is watched for.
    fn watch(&self, now: Instant) -> Option<Watch> {
        match self.settings.algorithm {
            config::Balance::PeakEwma { decay } => Some(Watch { since: now, decay }),
            _ => None,
        }
    }

    /// Readmits those whose ejection is over; answers when the next one's may be.
    fn expire(&self, now: Instant) -> Option<Instant> {
        self.state.decide(|table, changes| {
            table.expire(now, changes);
            table.next_return()
        })
    }
}

/// What a pick goes by.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The endpoints that were tried for this request already.
    pub tried: &'a [SocketAddr],
    /// The [`hash`] of what alike requests have in common, where the service balances by it.
    pub affinity: Option<u64>,
    /// When it is.
    pub now: Instant,
    /// Decides where nothing else does.
    pub random: u64,
}

/// One worker's way to the endpoints of a service.
#[derive(Debug)]
pub struct Balancer {
    service: Arc<Service>,
    ready: RefCell<Ready>,
}

impl Balancer {
    /// For one worker; `random` decides where it begins, so give each worker another.
    pub fn new(service: Arc<Service>, random: u64, now: Instant) -> Self {
        let ready = RefCell::new(Ready::look(&service, random, now));
        Self { service, ready }
    }

    /// The service that it picks for.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The endpoint for a request, none of those that were tried for it already. Takes no lock unless the set of healthy
    /// endpoints has changed since the last pick.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn pick(&self, ask: &Ask<'_>) -> Result<Lease, Unavailable> {
        let state = &*self.service.state;
        let place = Place::take(state, self.service.settings.in_flight).ok_or(Unavailable::CircuitOpen)?;
        let mut ready = self.ready.borrow_mut();
        if ready.next_return.is_some_and(|at| ask.now >= at) {
            ready.next_return = self.service.expire(ask.now);
        }
        if ready.is_stale(state.generation(), ask.now) {
            *ready = Ready::look(&self.service, ask.random, ask.now);
        }
        if ready.is_empty() {
            return Err(Unavailable::NoHealthyEndpoint);
        }
        let endpoint = ready.pick(ask).ok_or(Unavailable::NoOtherEndpoint)?;
        Ok(place.at(endpoint, self.service.watch(ask.now)))
    }
}
