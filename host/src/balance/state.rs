//! What all workers share about a service and its endpoints, by identity, over reloads: counters, and who is ready.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};

use super::circuit::Circuit;
use super::failures::Failures;
use super::health::{Change, ProbeFailure};
use super::latency::Latency;
use super::lease::Failure;
use super::retries::Retries;
use super::table::{Changes, Table};
use crate::config::{Ejection, Probe};

/// One service, whatever configuration is in force.
#[derive(Debug)]
pub struct ServiceState {
    name: Arc<str>,
    /// Requests in flight over all endpoints and workers.
    pub(super) in_flight: AtomicUsize,
    /// Requests that were refused because too many were in flight.
    pub(super) refused: AtomicU64,
    pub(super) retries: Retries,
    pub(super) circuit: Arc<Circuit>,
    /// Grows whenever the set of ready endpoints may have changed; [`super::Balancer`] looks at it on every pick.
    generation: AtomicU64,
    renewed: Notify,
    /// What failures eject for; none: for nothing.
    ejection: ArcSwapOption<Ejection>,
    /// Health is decided under this lock: on reloads, by probes, and on the path only when an endpoint has just failed often
    /// enough or a worker sees that something changed.
    table: Mutex<Table>,
    /// Endpoints that left.
    draining: Mutex<Vec<Weak<EndpointState>>>,
}

impl ServiceState {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn new(name: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            name,
            in_flight: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            retries: Retries::default(),
            circuit: Arc::default(),
            generation: AtomicU64::new(0),
            renewed: Notify::new(),
            ejection: ArcSwapOption::empty(),
            table: Mutex::default(),
            draining: Mutex::default(),
        })
    }

    /// Requests in flight over all endpoints and workers.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests that were refused because too many were in flight.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Its connections, and the requests that wait for one.
    pub fn circuit(&self) -> &Arc<Circuit> {
        &self.circuit
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn set_ejection(&self, rule: Option<&Ejection>) {
        self.ejection.store(rule.cloned().map(Arc::new));
    }

    /// These are no endpoints any more: they get no new requests, and those that they have go on to their end.
    pub(super) fn drain<'a>(&self, gone: impl Iterator<Item = &'a Arc<EndpointState>>) {
        let mut draining = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        draining.retain(|endpoint| endpoint.strong_count() > 0);
        for endpoint in gone {
            tracing::info!(service = &*self.name, endpoint = %endpoint.address, in_flight = endpoint.in_flight(), "endpoint removed");
            draining.push(Arc::downgrade(endpoint));
        }
    }

    /// The addresses that are no endpoints any more and still have requests, and how many.
    pub fn draining(&self) -> Vec<(SocketAddr, u32)> {
        let draining = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = draining.iter().filter_map(Weak::upgrade).map(|one| (one.address, one.in_flight()));
        busy.filter(|(_, in_flight)| *in_flight > 0).collect()
    }

    /// For reading; what changes health goes through [`ServiceState::decide`].
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        // A panic in between leaves counts and flags that the next change mends; refusing all traffic would not.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes health under the lock, then tells the workers, the log and those who wait.
    pub(super) fn decide<T>(&self, step: impl FnOnce(&mut Table, &mut Changes) -> T) -> T {
        let mut changes = Changes::new();
        let mut table = self.table();
        let before = table.panics();
        let answer = step(&mut table, &mut changes);
        let panics = table.panics();
        if !changes.is_empty() {
            self.renew();
        }
        drop(table);
        match (before, panics) {
            (false, true) => tracing::warn!(service = &*self.name, "too few endpoints are left: ejections are ignored"),
            (true, false) => tracing::info!(service = &*self.name, "enough endpoints are back"),
            _ => {}
        }
        changes.iter().for_each(|(endpoint, change)| endpoint.announce(change));
        answer
    }

    /// Makes every worker look anew at who is ready.
    pub(super) fn renew(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        self.renewed.notify_waiters();
    }

    /// Ends when the set of ready endpoints may have changed since this was called.
    pub fn renewed(&self) -> Notified<'_> {
        self.renewed.notified()
    }
}

/// One endpoint of a service, whatever configuration is in force.
#[derive(Debug)]
pub struct EndpointState {
    // Those that a request touches come first, next to the reference count that a lease holds: one cache line.
    in_flight: AtomicU32,
    requests: AtomicU64,
    failures: Failures,
    service: Arc<ServiceState>,
    latency: Latency,
    address: SocketAddr,
    ready: AtomicBool,
    connect_failures: AtomicU64,
    resets: AtomicU64,
    statuses: AtomicU64,
    timeouts: AtomicU64,
    ejections: AtomicU64,
    /// The number of changes of state.
    changes: watch::Sender<u64>,
}

impl EndpointState {
    pub(super) fn new(service: Arc<ServiceState>, address: SocketAddr, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            failures: Failures::new(now),
            service,
            latency: Latency::new(now),
            address,
            ready: AtomicBool::new(true),
            connect_failures: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            statuses: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            changes: watch::Sender::new(0),
        })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The service that it belongs to.
    pub fn service(&self) -> &Arc<ServiceState> {
        &self.service
    }

    /// Whether it gets requests: neither unhealthy by probes nor ejected.
    pub fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Requests in flight, from all workers.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How long it takes to answer, where its service balances by that.
    pub(super) fn latency(&self) -> &Latency {
        &self.latency
    }

    /// Requests that it was ever picked for.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that ever failed in this way.
    pub fn failures(&self, kind: Failure) -> u64 {
        self.failure_counter(kind).load(Ordering::Relaxed)
    }

    /// How often it was ejected.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// How often its state changed.
    pub fn changes(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Waits until its state has changed more than `seen` times ([`EndpointState::changes`]); answers the new count.
    pub async fn changed(&self, seen: u64) -> u64 {
        let mut receiver = self.changes.subscribe();
        match receiver.wait_for(|count| *count > seen).await {
            Ok(count) => *count,
            // The sender lives in `self`, which is borrowed.
            Err(_) => seen,
        }
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
        self.failures.forget();
    }

    pub(super) fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.service.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends a row of failures; answers how long it was.
    pub(super) fn succeed(&self) -> u32 {
        self.failures.succeed()
    }

    /// Counts a failure and `more` that a success had wrongly forgotten, and ejects the endpoint where that is enough. The
    /// request that failed is still in flight.
    pub(super) fn fail(&self, kind: Failure, more: u32, now: Instant) {
        self.failure_counter(kind).fetch_add(1, Ordering::Relaxed);
        let Some(rule) = &*self.service.ejection.load() else { return };
        if !kind.ejects(rule) || !self.ready() {
            return;
        }
        let ended = self.requests().saturating_sub(u64::from(self.in_flight())) + 1;
        if let Some(cause) = self.failures.fail(more, ended, rule, now) {
            self.service.decide(|table, changes| table.eject(self.address, cause, now, changes));
        }
    }

    /// Takes the result of a probe that was made by this rule; nothing if another rule is in force by now.
    pub(super) fn probed(&self, rule: &Arc<Probe>, result: Result<(), ProbeFailure>, now: Instant) {
        self.service.decide(|table, changes| table.probed(self.address, rule, result, now, changes));
    }

    fn failure_counter(&self, kind: Failure) -> &AtomicU64 {
        match kind {
            Failure::Connect => &self.connect_failures,
            Failure::Reset => &self.resets,
            Failure::Status => &self.statuses,
            Failure::Timeout => &self.timeouts,
        }
    }

    /// Logs and counts a change; the state that is told is the one that it led to.
    fn announce(&self, change: &Change) {
        let (service, endpoint) = (&*self.service.name, self.address);
        let state_or = |other: &'static str| if self.ready() { "healthy" } else { other };
        match change {
            Change::Fell(reason) => {
                tracing::warn!(service, %endpoint, state = "unhealthy", %reason, "endpoint changed");
            }
            Change::Ejected { cause, time, times } => {
                self.ejections.fetch_add(1, Ordering::Relaxed);
                let (seconds, reason) = (time.as_secs_f64(), cause);
                tracing::warn!(service, %endpoint, state = "ejected", %reason, seconds, times, "endpoint changed");
            }
            Change::Rose => {
                let state = state_or("ejected");
                tracing::info!(service, %endpoint, state, reason = "probes succeed", "endpoint changed");
            }
            Change::Unprobed => {
                let state = state_or("ejected");
                tracing::info!(service, %endpoint, state, reason = "no probe any more", "endpoint changed");
            }
            Change::Readmitted(why) => {
                let state = state_or("unhealthy");
                tracing::info!(service, %endpoint, state, reason = why.as_str(), "endpoint changed");
            }
        }
        self.changes.send_modify(|count| *count += 1);
    }
}
