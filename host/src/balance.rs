//! Service → endpoint: which address of a service gets a request, and which are well enough to get any.
//!
//! [`Services`] is the one registry: what must be global (requests in flight, health, ejections) lives there by the identity
//! of service and address, over workers and reloads. A worker has one [`Balancer`] per [`Service`]; its picks take no lock. A
//! pick is a [`Lease`], which counts until it is dropped and takes the request's [`Outcome`].

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::config;
use crate::tls::Outwards;

mod algorithms;
mod circuit;
mod discovery;
mod failures;
mod health;
mod latency;
mod lease;
mod members;
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
pub use circuit::{Circuit, Pending, Slot};
pub use discovery::first_answers;
pub use lease::{Failure, Lease, Outcome};
pub use ready::Chosen;
pub use retries::Again;
pub use snapshot::{EndpointSnapshot, FailuresSnapshot, SearchSnapshot, ServiceSnapshot, StateSnapshot, TierSnapshot};
pub use state::{EndpointState, ServiceState};

use discovery::{Missing, Search};
use lease::{Place, Watch};
use members::Members;
use probe::Prober;
pub use probe::is_ours;
use ready::Ready;

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

    /// From now on services are probed with this TLS.
    pub fn secure(&self, tls: &Arc<Outwards>) {
        self.prober.secure(tls);
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
                known => {
                    known.into_iter().for_each(|known| known.stop_search());
                    let service = Arc::new(Service::new(settings, known.map(|known| &**known), (&self.prober, now)));
                    service.search(&self.prober);
                    service
                }
            };
            (Arc::clone(name), service)
        });
        let next = Arc::new(next.collect::<BTreeMap<_, _>>());
        for (_, gone) in current.iter().filter(|(name, _)| !next.contains_key(*name)) {
            gone.stop_search();
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
        self.current().values().map(|service| service.snapshot(now)).collect()
    }
}

/// A service of one configuration: its settings, and what it shares with the same service of other configurations.
#[derive(Debug)]
pub struct Service {
    settings: config::Service,
    state: Arc<ServiceState>,
    members: ArcSwap<Members>,
    search: Mutex<Option<Search>>,
    /// What the search said last; `None`: nothing yet.
    answer: watch::Sender<Option<Result<(), Missing>>>,
}

impl Service {
    fn new(settings: &config::Service, known: Option<&Self>, (prober, now): (&Prober, Instant)) -> Self {
        let state =
            known.map_or_else(|| ServiceState::new(Arc::clone(&settings.name)), |known| Arc::clone(&known.state));
        let before = known.map(|known| known.members.load_full()).unwrap_or_default();
        let had = known.map(|known| &known.settings);
        let endpoints = match &settings.endpoints {
            config::Endpoints::Listed(endpoints) => endpoints.clone(),
            // What was found stays until something else is.
            source if had.is_some_and(|had| had.endpoints == *source) => before.known.clone(),
            config::Endpoints::Dns(_) | config::Endpoints::File(_) => vec![],
        };
        let members = Members::new(endpoints, &before, &state, now)
            .in_tiers(&settings.algorithm, (&before, had.map(|had| &had.algorithm)));
        let (members, search, answer) = (ArcSwap::from_pointee(members), Mutex::default(), watch::Sender::new(None));
        let service = Self { settings: settings.clone(), state, members, search, answer };
        service.state.set_ejection(settings.ejection.as_ref());
        service.state.circuit.bound(settings.connections, settings.pending);
        service.settle(&before, prober, now);
        service
    }

    /// Lets the state know who the endpoints are now.
    fn settle(&self, before: &Members, prober: &Prober, now: Instant) {
        let members = self.members.load();
        let (probe, ejection) = (self.settings.probe.as_ref(), self.settings.ejection.as_ref());
        self.state.decide(|table, changes| table.replace(&members.states, probe, ejection, (prober, now), changes));
        let gone = |endpoint: &&Arc<EndpointState>| !members.states.iter().any(|one| Arc::ptr_eq(one, endpoint));
        self.state.drain(before.states.iter().filter(gone));
        self.state.renew();
    }

    fn search(self: &Arc<Self>, prober: &Prober) {
        let search = Search::start(self, prober);
        *self.search.lock().unwrap_or_else(PoisonError::into_inner) = search;
    }

    /// A later configuration looks itself.
    fn stop_search(&self) {
        drop(self.search.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Takes what the search says. New endpoints get requests at once, those that are gone none any more; where there is no
    /// answer those that are known stay.
    fn found(&self, endpoints: Result<Vec<config::Endpoint>, Missing>, prober: &Prober, now: Instant) {
        let service = &*self.settings.name;
        let answer = endpoints.map(|endpoints| {
            let before = self.members.load_full();
            if before.known != endpoints {
                let members = Members::new(endpoints, &before, &self.state, now);
                let algorithm = &self.settings.algorithm;
                self.members.store(Arc::new(members.in_tiers(algorithm, (&before, Some(algorithm)))));
                self.settle(&before, prober, now);
                tracing::info!(service, endpoints = self.endpoints().len(), "endpoints found");
            }
        });
        if let Err(reason) = &answer
            && self.answer.borrow().as_ref() != Some(&answer)
        {
            tracing::warn!(service, %reason, "no newer endpoints: those that are known stay");
        }
        self.answer.send_replace(Some(answer));
    }

    /// Ends when the search has said something, or there is nothing to say.
    async fn answered(&self) {
        if !matches!(self.settings.endpoints, config::Endpoints::Listed(_)) {
            // The sender is ours.
            let _ = self.answer.subscribe().wait_for(Option::is_some).await;
        }
    }

    /// What the configuration says of it.
    pub fn settings(&self) -> &config::Service {
        &self.settings
    }

    /// Its counters.
    pub fn state(&self) -> &Arc<ServiceState> {
        &self.state
    }

    /// Its endpoints as they are now, in their order.
    pub fn endpoints(&self) -> Vec<Arc<EndpointState>> {
        self.members.load().states.clone()
    }

    /// What the admin API shows.
    pub fn snapshot(&self, now: Instant) -> ServiceSnapshot {
        ServiceSnapshot::new(self, now)
    }

    /// How many those are.
    pub fn count(&self) -> usize {
        self.members.load().states.len()
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

impl Ask<'_> {
    /// What decides: the same for alike requests, else random.
    fn draw(&self) -> u64 {
        self.affinity.unwrap_or(self.random)
    }
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
        let endpoint = self.look(ask)?.pick(ask).ok_or(Unavailable::NoOtherEndpoint)?;
        Ok(place.at(endpoint, self.service.watch(ask.now)))
    }

    /// Who gets requests now: looked at anew where that may have changed, never nobody.
    fn look(&self, ask: &Ask<'_>) -> Result<RefMut<'_, Ready>, Unavailable> {
        let mut ready = self.ready.borrow_mut();
        if ready.next_return.is_some_and(|at| ask.now >= at) {
            ready.next_return = self.service.expire(ask.now);
        }
        if ready.is_stale(self.service.state.generation(), ask.now) {
            *ready = Ready::look(&self.service, ask.random, ask.now);
        }
        if ready.is_empty() {
            return Err(Unavailable::NoHealthyEndpoint);
        }
        Ok(ready)
    }
}
