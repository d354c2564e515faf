//! What the admin API shows of services and endpoints.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::Service;
use super::health::State;
use super::lease::Failure;
use super::ready::{Seen, Warmth};
use super::state::EndpointState;
use super::tiers::Tier;
use crate::config::{Balance, Endpoint, Endpoints};

/// One service as it is now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceSnapshot {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// `round-robin`, `least-busy`, `random`, `peak-ewma` or `maglev`.
    pub algorithm: &'static str,
    /// Requests in flight over all endpoints.
    pub in_flight: usize,
    /// The most requests in flight.
    pub most_in_flight: usize,
    /// Requests that were refused because of that.
    pub refused: u64,
    /// Connections over all endpoints that are open or being opened.
    pub connections: usize,
    /// The most connections.
    pub most_connections: usize,
    /// Requests that were refused because no connection came free in their time.
    pub refused_late: u64,
    /// Requests that wait for a connection.
    pub pending: usize,
    /// The most that wait.
    pub most_pending: usize,
    /// Requests that were refused because so many wait.
    pub refused_pending: u64,
    /// Connections that were to be opened beforehand and did not come about.
    pub cold: u64,
    /// Whether so few endpoints are left that none is ejected.
    pub panics: bool,
    /// Requests that were tried again.
    pub retries: u64,
    /// Those that were not, because too many were.
    pub refused_retries: u64,
    /// How its endpoints are found, where the configuration does not list them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchSnapshot>,
    /// Addresses that are no endpoints any more and still have requests, and how many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub draining: Vec<(SocketAddr, u32)>,
    /// What each tier gets, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<TierSnapshot>,
    /// In the order of the configuration.
    pub endpoints: Vec<EndpointSnapshot>,
}

/// How endpoints are found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SearchSnapshot {
    /// `dns` or `file`.
    pub by: &'static str,
    /// Why the last try brought nothing; those that are known stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// One tier as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TierSnapshot {
    /// Its number.
    pub tier: u32,
    /// The share of the service's requests that it gets, of one.
    pub share: f64,
}

/// One endpoint as it is now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndpointSnapshot {
    /// Where it is.
    pub address: SocketAddr,
    /// Its share relative to the others'.
    pub weight: u32,
    /// Its tier.
    pub tier: u32,
    /// What it is.
    #[serde(flatten)]
    pub state: StateSnapshot,
    /// The share of its weight that it has, while it starts slowly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Seconds that it takes to answer, where its service balances by that and it has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<f64>,
    /// Requests in flight.
    pub in_flight: u32,
    /// Requests since it is known.
    pub requests: u64,
    /// Failed requests since it is known.
    pub failures: FailuresSnapshot,
    /// How often it was ejected since it is known.
    pub ejections: u64,
    /// Changes of state since it is known.
    pub changes: u64,
}

/// The state of an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StateSnapshot {
    /// It gets requests.
    Healthy,
    /// Its probes fail.
    Unhealthy {
        /// Why the last one failed.
        reason: String,
    },
    /// Its requests failed.
    Ejected {
        /// Seconds until it gets requests again.
        seconds_left: f64,
    },
}

/// Failed requests by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FailuresSnapshot {
    /// No connection came about.
    pub connect: u64,
    /// The connection broke off.
    pub reset: u64,
    /// A status that is a failure, by what ejects.
    pub status: u64,
    /// Not answered in the service's time.
    pub timeout: u64,
}

impl ServiceSnapshot {
    pub(super) fn new(service: &Service, now: Instant) -> Self {
        service.expire(now);
        let settings = service.settings();
        let seen = Seen::of(service, now);
        let circuit = service.state().circuit();
        let table = service.state().table();
        let endpoints = seen.members.states.iter().zip(&seen.members.known).map(|(endpoint, known)| {
            let state = table.state(endpoint.address()).unwrap_or(State::Healthy);
            let latency = match settings.algorithm {
                Balance::PeakEwma { decay } => Some(endpoint.latency().seconds(decay, now)),
                _ => None,
            };
            let share = Warmth::of(table.back(endpoint.address()), settings.slow_start, now).share();
            EndpointSnapshot::new(endpoint, known, StateSnapshot::new(state, now), (share, latency))
        });
        Self {
            name: Arc::clone(&settings.name),
            algorithm: match settings.algorithm {
                Balance::RoundRobin => "round-robin",
                Balance::LeastBusy => "least-busy",
                Balance::Random => "random",
                Balance::PeakEwma { .. } => "peak-ewma",
                Balance::Maglev { .. } => "maglev",
            },
            in_flight: service.state().in_flight(),
            most_in_flight: settings.in_flight,
            refused: service.state().refused(),
            connections: circuit.connections(),
            most_connections: settings.connections,
            refused_late: circuit.late(),
            pending: circuit.pending(),
            most_pending: settings.pending,
            refused_pending: circuit.crowded(),
            cold: circuit.cold(),
            retries: service.state().retries.made(),
            refused_retries: service.state().retries.refused(),
            tiers: tiers(&seen, service),
            search: search(service),
            draining: service.state().draining(),
            panics: table.panics(),
            endpoints: endpoints.collect(),
        }
    }
}

fn search(service: &Service) -> Option<SearchSnapshot> {
    let by = match service.settings().endpoints {
        Endpoints::Listed(_) => return None,
        Endpoints::Dns(_) => "dns",
        Endpoints::File(_) => "file",
    };
    let fault = match &*service.answer.borrow() {
        Some(Err(missing)) => Some(missing.to_string()),
        Some(Ok(())) => None,
        None => Some("no answer yet".to_owned()),
    };
    Some(SearchSnapshot { by, fault })
}

fn tiers(seen: &Seen, service: &Service) -> Vec<TierSnapshot> {
    let shares = seen.shares(service);
    let tier = |(tier, share): (&Tier, f64)| TierSnapshot { tier: tier.number, share };
    if shares.len() > 1 { seen.members.tiers.iter().zip(shares).map(tier).collect() } else { vec![] }
}

impl EndpointSnapshot {
    fn new(
        endpoint: &EndpointState,
        known: &Endpoint,
        state: StateSnapshot,
        (share, latency): (Option<f64>, Option<f64>),
    ) -> Self {
        Self {
            address: endpoint.address(),
            weight: known.weight,
            tier: known.tier,
            state,
            share,
            latency: latency.filter(|seconds| *seconds > 0.0),
            in_flight: endpoint.in_flight(),
            requests: endpoint.requests(),
            failures: FailuresSnapshot {
                connect: endpoint.failures(Failure::Connect),
                reset: endpoint.failures(Failure::Reset),
                status: endpoint.failures(Failure::Status),
                timeout: endpoint.failures(Failure::Timeout),
            },
            ejections: endpoint.ejections(),
            changes: endpoint.changes(),
        }
    }
}

impl StateSnapshot {
    fn new(state: State, now: Instant) -> Self {
        match state {
            State::Healthy => Self::Healthy,
            State::Unhealthy(reason) => Self::Unhealthy { reason: reason.to_string() },
            State::Ejected(until) => Self::Ejected { seconds_left: until.saturating_duration_since(now).as_secs_f64() },
        }
    }
}
