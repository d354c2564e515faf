//! There and back: a request goes to an endpoint of its service, and the response streams to the client.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Response, Version};
use hyper::body::Incoming;
use smallvec::SmallVec;
use tokio::time::timeout_at;

use crate::balance::{self, Balancer, Lease, Outcome, Unavailable};
use crate::gateway::Worker;
use crate::log::Record;
use crate::refusal::Refusal;
use crate::request::{Body, Request};
use crate::route::Route;

pub mod headers;
mod outgoing;
mod pool;
mod upgrade;

pub use outgoing::{Ending, Outgoing};
pub use pool::{Pool, Pools};

use headers::{Onward, Passage};

/// A service on one worker.
pub struct Service {
    balancer: Balancer,
    pools: RefCell<HashMap<SocketAddr, Rc<Pool>>>,
    registry: Rc<Pools>,
}

impl Service {
    /// Connections are kept in `registry`, which outlives reloads.
    #[must_use]
    pub fn new(shared: std::sync::Arc<balance::Service>, registry: Rc<Pools>, random: u64) -> Self {
        Self { balancer: Balancer::new(shared, random), pools: RefCell::default(), registry }
    }

    fn settings(&self) -> &crate::config::Service {
        self.balancer.service().settings()
    }

    fn pool(&self, address: SocketAddr) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(address).or_insert_with(|| self.registry.of(self.settings(), address));
        Rc::clone(pool)
    }
}

/// A try that brought no response.
enum Fault {
    /// Nothing was sent; the request is here again.
    Unsent(Box<http::Request<Body>>, Refusal),
    /// Something may have been sent.
    Sent(Refusal),
}

/// Sends a request to an endpoint and answers the response's head; its body follows as the client reads it.
///
/// A request that never left an endpoint's socket buffer is tried again elsewhere, `retries` times.
///
/// # Errors
/// There is no endpoint, none can be reached, or it does not answer as HTTP or in time.
pub async fn forward(
    worker: &Rc<Worker>,
    request: Request,
    route: &Route,
    record: &mut Record,
) -> Result<(Response<Incoming>, Ending), Refusal> {
    let service = &route.service;
    let settings = service.settings();
    record.service = Some(settings.name.clone());
    let shortened = route.target().and_then(|target| target.timeout).filter(|most| *most < settings.timeout);
    let time = Time { until: Instant::now() + shortened.unwrap_or(settings.timeout), shortened: shortened.is_some() };
    let mut upgrade = request.upgrade.then(|| upgrade::Client::of(&request)).flatten();
    let mut outbound = outbound(request, record);
    let mut tried = SmallVec::<[SocketAddr; 4]>::new();
    let mut last = None;
    loop {
        let now = Instant::now();
        let lease = match service.balancer.pick(&tried, now, worker.random()) {
            Ok(lease) => lease,
            Err(unavailable) => return Err(last.unwrap_or_else(|| refuse(unavailable))),
        };
        record.endpoint = Some(lease.address());
        record.retries = u32::try_from(tried.len()).unwrap_or(u32::MAX);
        tried.push(lease.address());
        match attempt(service, lease, outbound, &time).await {
            Ok((mut response, ending)) => {
                let switched = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
                let version = response.version();
                headers::to_client(response.headers_mut(), version, switched);
                // An intermediary says its own version (RFC 9110, section 2.5).
                *response.version_mut() = Version::HTTP_11;
                if let Some(client) = upgrade.take().filter(|_| switched) {
                    client.join(&mut response);
                }
                return Ok((response, ending));
            }
            Err(Fault::Unsent(request, refusal)) if tried.len() <= settings.retries as usize => {
                outbound = *request;
                last = Some(refusal);
            }
            Err(Fault::Unsent(_, refusal) | Fault::Sent(refusal)) => return Err(refusal),
        }
    }
}

/// Until when a response's head must be there.
struct Time {
    until: Instant,
    /// Whether a plugin made it shorter than the service's own: then a timeout is not the endpoint's fault.
    shortened: bool,
}

fn refuse(unavailable: Unavailable) -> Refusal {
    match unavailable {
        Unavailable::CircuitOpen => Refusal::CircuitOpen,
        Unavailable::NoHealthyEndpoint | Unavailable::NoOtherEndpoint => Refusal::NoEndpoint,
    }
}

/// The request as the service will see it.
fn outbound(request: Request, record: &Record) -> http::Request<Body> {
    let Request { mut head, body, peer, client, upgrade, .. } = request;
    head.extensions.clear();
    let onward = if upgrade { Onward::Upgrade } else { Onward::Http1 };
    let passage = Passage { peer: &peer, client: &client, version: head.version, request_id: &record.id, onward };
    headers::to_service(&mut head.headers, &passage);
    head.version = Version::HTTP_11;
    http::Request::from_parts(head, body)
}

/// One try at one endpoint.
async fn attempt(
    service: &Service,
    mut lease: Lease,
    mut request: http::Request<Body>,
    time: &Time,
) -> Result<(Response<Incoming>, Ending), Fault> {
    let pool = service.pool(lease.address());
    loop {
        let (mut sender, reused) = match pool.sender(time.until).await {
            Ok(sender) => sender,
            Err(_) if time.shortened && Instant::now() >= time.until => return Err(Fault::Sent(Refusal::Slow)),
            Err(cause) => {
                lease.report(Outcome::ConnectFailed, Instant::now());
                return Err(Fault::Unsent(Box::new(request), Refusal::NoConnection(cause.to_string())));
            }
        };
        match timeout_at(time.until.into(), sender.try_send_request(request)).await {
            Ok(Ok(response)) => {
                let outcome = match response.status().as_u16() {
                    502..=504 => Outcome::GatewayStatus,
                    _ => Outcome::Success,
                };
                lease.report(outcome, Instant::now());
                let settings = service.settings();
                return Ok((response, Ending::new(lease, sender, pool, settings.body_timeout)));
            }
            Ok(Err(mut fault)) => match fault.take_message() {
                // A connection that died while it was idle: not the endpoint's fault, and nothing was sent.
                Some(unsent) if reused => request = unsent,
                Some(unsent) => {
                    lease.report(Outcome::Reset, Instant::now());
                    let refusal = Refusal::Broken(fault.into_error().to_string());
                    return Err(Fault::Unsent(Box::new(unsent), refusal));
                }
                None => return Err(Fault::Sent(broken(&mut lease, fault.into_error()))),
            },
            Err(_elapsed) => {
                let outcome = if time.shortened { Outcome::Neutral } else { Outcome::Timeout };
                lease.report(outcome, Instant::now());
                return Err(Fault::Sent(Refusal::Slow));
            }
        }
    }
}

/// Tells a client's broken request body from a service's broken response.
fn broken(lease: &mut Lease, fault: hyper::Error) -> Refusal {
    use crate::request::BodyFault;
    use std::error::Error;
    match fault.source().and_then(|source| source.downcast_ref::<BodyFault>()) {
        Some(BodyFault::TooLong) => Refusal::BodyTooLong,
        Some(BodyFault::Slow) => Refusal::BodySlow,
        Some(BodyFault::Broken(_)) => Refusal::BodyBroken,
        None => {
            lease.report(Outcome::Reset, Instant::now());
            let cause = fault.source().map_or_else(String::new, |source| format!(": {source}"));
            Refusal::Broken(format!("{fault}{cause}"))
        }
    }
}

/// How long a sender may wait for its connection to be ready again: it is, unless the peer is in the middle of closing.
const READY: Duration = Duration::from_millis(100);
