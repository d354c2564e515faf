//! One request's place at an endpoint, and what became of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::state::{EndpointState, ServiceState};
use crate::config::{Ejection, FailureKind};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered with a status that is no failure.
    Success,
    /// No connection to it came about: refused, unreachable, not in time, or TLS failed.
    ConnectFailed,
    /// The connection broke off, or what came was no HTTP.
    Reset,
    /// It answered with a status that is a failure ([`crate::config::Service::is_failure`]).
    Status,
    /// It did not answer in the service's own time.
    Timeout,
    /// Nothing that the endpoint is to be judged by: a timeout that a plugin shortened, a client that left.
    Neutral,
}

/// The outcomes that count against an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// [`Outcome::ConnectFailed`].
    Connect,
    /// [`Outcome::Reset`].
    Reset,
    /// [`Outcome::Status`].
    Status,
    /// [`Outcome::Timeout`].
    Timeout,
}

impl Failure {
    /// Whether an endpoint is ejected for it by this rule. A status was asked about before it was reported.
    pub(super) fn ejects(self, rule: &Ejection) -> bool {
        rule.on.contains(&match self {
            Self::Connect => FailureKind::Connect,
            Self::Reset => FailureKind::Reset,
            Self::Timeout => FailureKind::Timeout,
            Self::Status => return true,
        })
    }
}

/// A place at the service: one request in flight, counted until it is dropped or becomes a [`Lease`].
#[derive(Debug)]
pub(super) struct Place<'a> {
    service: &'a ServiceState,
}

impl<'a> Place<'a> {
    /// `None` where `most` requests are in flight already; never more are let in, whatever the workers do at once.
    pub(super) fn take(service: &'a ServiceState, most: usize) -> Option<Self> {
        let place = Self { service };
        if service.in_flight.fetch_add(1, Ordering::Relaxed) < most {
            return Some(place);
        }
        service.refused.fetch_add(1, Ordering::Relaxed);
        None
    }

    pub(super) fn at(self, endpoint: Arc<EndpointState>, watch: Option<Watch>) -> Lease {
        // The lease gives back the service's place as well.
        std::mem::forget(self);
        endpoint.enter();
        Lease { endpoint, forgotten: 0, watch }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.service.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the time to a response's head is measured by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    /// When the request began.
    pub(super) since: Instant,
    /// How long a slow answer is remembered.
    pub(super) decay: Duration,
}

/// One request in flight at one endpoint. Keep it until the response's last byte has passed; dropping it gives its place back.
#[must_use = "dropping it says that the request is over"]
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<EndpointState>,
    /// The row of failures that this lease's success ended.
    forgotten: u32,
    watch: Option<Watch>,
}

impl Lease {
    /// Where the request goes.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address()
    }

    /// Where the request goes, with its counters.
    pub fn endpoint(&self) -> &Arc<EndpointState> {
        &self.endpoint
    }

    /// Whether it matters when a response's head came: else a success may be reported with any moment.
    pub fn is_timed(&self) -> bool {
        self.watch.is_some()
    }

    /// Says what became of the request; it counts at once, and the place is kept. A failure after a success on the same lease
    /// (the head came, the body broke off) takes the success back. What is never reported is neutral.
    pub fn report(&mut self, outcome: Outcome, now: Instant) {
        let kind = match outcome {
            Outcome::Success => {
                self.forgotten += self.endpoint.succeed();
                if let Some(Watch { since, decay }) = self.watch {
                    self.endpoint.latency().answered(now.saturating_duration_since(since), decay, now);
                }
                return;
            }
            Outcome::Neutral => return,
            Outcome::ConnectFailed => Failure::Connect,
            Outcome::Reset => Failure::Reset,
            Outcome::Status => Failure::Status,
            Outcome::Timeout => Failure::Timeout,
        };
        if let Some(Watch { since, decay }) = self.watch {
            self.endpoint.latency().failed(now.saturating_duration_since(since), decay, now);
        }
        self.endpoint.fail(kind, std::mem::take(&mut self.forgotten), now);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.leave();
    }
}
