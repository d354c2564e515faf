//! Where a request would be sent, without sending it.

use std::time::Instant;

use super::{Service, affinity, refuse};
use crate::balance::{Ask, Chosen, ServiceSnapshot};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::route::Route;

/// A service as it is now, and the endpoint that a request would get.
pub struct Explained {
    /// The service.
    pub service: ServiceSnapshot,
    /// Where the request's key is from; none: the service does not balance by keys.
    pub key: Option<String>,
    /// The endpoint of its first try.
    pub chosen: Result<Chosen, Refusal>,
}

/// Says what [`super::forward`] would do first.
pub fn explain(request: &Request, route: &Route, now: Instant, random: u64) -> Explained {
    let service: &Service = &route.service;
    let settings = service.settings();
    let affinity = affinity::affinity(settings, route, request);
    let ask = Ask { tried: &[], affinity, now, random };
    let chosen = service.balancer.explain(&ask).map_err(refuse);
    Explained { service: service.balancer.service().snapshot(now), key: affinity::source(settings, route), chosen }
}
