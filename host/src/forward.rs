//! There and back: a request goes to an endpoint of its service, and the response streams to the client.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::TRANSFER_ENCODING;
use http::{HeaderValue, Response, Version};
use http_body::Body as _;

use crate::balance::{self, Balancer, Lease, Outcome, Unavailable};
use crate::coming::Coming;
use crate::config::{self, FailureKind};
use crate::gateway::Worker;
use crate::log::Record;
use crate::refusal::Refusal;
use crate::request::{Body, BodyFault, Request};
use crate::route::Route;
use crate::tls::Outward;

mod affinity;
mod answer;
mod explain;
pub mod headers;
mod http2;
mod interim;
mod outgoing;
mod pool;
mod retry;
mod upgrade;
mod version;

use answer::Cause;
pub use explain::{Explained, explain};
use outgoing::Ending;
pub use outgoing::{Exchange, Outgoing};
use pool::Connection;
pub use pool::{ConnectFault, Pool, Pools, Warming};
pub use retry::worth_holding;
use retry::{Fault, Tries};

use headers::{Onward, Passage};
use interim::Interim;

/// A service on one worker.
pub struct Service {
    balancer: Balancer,
    /// In the order of their addresses.
    pools: RefCell<Vec<Rc<Pool>>>,
    registry: Rc<Pools>,
    /// None: the service is spoken to in clear.
    tls: Option<Arc<Outward>>,
}

impl Service {
    /// Connections are kept in `registry`, which outlives reloads.
    #[must_use]
    pub fn new(shared: Arc<balance::Service>, registry: Rc<Pools>, random: u64, tls: Option<Arc<Outward>>) -> Self {
        Self { balancer: Balancer::new(shared, random, Instant::now()), pools: RefCell::default(), registry, tls }
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.settings().name
    }

    fn settings(&self) -> &config::Service {
        self.balancer.service().settings()
    }

    /// Whether there is more than one endpoint to try.
    fn has_choice(&self) -> bool {
        self.balancer.service().count() > 1
    }

    fn pool(&self, address: SocketAddr) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        match pools.binary_search_by_key(&address, |pool| pool.address()) {
            Ok(at) => pools.get(at).map(Rc::clone),
            Err(_) => {
                // Others may be gone for good: the registry closes their connections by and by.
                let known = self.balancer.service().endpoints();
                pools.retain(|pool| known.iter().any(|endpoint| endpoint.address() == pool.address()));
                let at = pools.partition_point(|pool| pool.address() < address);
                let pool = self.registry.of(self.balancer.service(), address, self.tls.as_ref());
                pools.insert(at, Rc::clone(&pool));
                Some(pool)
            }
        }
        .expect("the search answers where it is")
    }
}

/// How often a service of HTTP/2 may say of one request that it has done nothing of it.
const MOST_REFUSALS: u32 = 3;

/// Sends a request to an endpoint and answers the response's head; its body follows as the client reads it.
///
/// It is tried again elsewhere where the service's `retry` says so: one that never left whatever it is, one that may have left
/// only where it may be sent twice. `now` is when it was routed.
///
/// # Errors
/// There is no endpoint, none can be reached, or it does not answer as HTTP or in time.
pub async fn forward(
    worker: &Rc<Worker>,
    request: &mut Request,
    route: &Route,
    exchange: &mut Exchange,
    now: Instant,
) -> Result<Response<Coming>, Refusal> {
    let service = &route.service;
    let settings = service.settings();
    exchange.record.service = Some(Arc::clone(&settings.name));
    let mut time = Time::new(settings, route, request.upgrade, now);
    let affinity = affinity::affinity(settings, route, request);
    let mut upgrade = request.upgrade.then(|| upgrade::Client::of(request)).flatten();
    let marks = (request.repeatable, request.upgrade);
    let interim = Interim::of(request, route, &exchange.busy);
    let mut outbound = Some(outbound(request, &exchange.record));
    let mut tries = Tries::new(service, outbound.as_ref(), affinity, marks);
    let mut lease = tries.first(now, worker.random()).map_err(refuse)?;
    let mut now = now;
    let result = loop {
        let pool = service.pool(lease.address());
        exchange.record.endpoint = Some(Rc::clone(pool.name()));
        exchange.record.retries = tries.again();
        time.begin(settings, now);
        let result = attempt((lease, pool), settings, &mut outbound, interim.as_deref(), (&time, now), exchange).await;
        let cause = match &result {
            Ok(response) => Some(FailureKind::Status(response.status().as_u16(), 0)),
            Err(fault) => fault.cause,
        };
        let next = cause.and_then(|cause| tries.next(cause, &mut outbound, time.until, worker.random()));
        let Some((next, pause)) = next else { break result };
        // The response that is not wanted, and its connection.
        (exchange.ending, lease) = (None, next);
        drop(result);
        if !pause.is_zero() {
            Box::pin(tokio::time::sleep(pause)).await;
        }
        now = Instant::now();
    };
    let mut response = result.map_err(|fault| fault.refusal)?;
    let switched = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
    if switched && upgrade.is_none() {
        return Err(Refusal::Garbled("another protocol that nobody asked for".into()));
    }
    let version = response.version();
    headers::to_client(response.headers_mut(), version, switched);
    // An intermediary says its own version (RFC 9110, section 2.5).
    *response.version_mut() = Version::HTTP_11;
    if let Some(client) = upgrade.take().filter(|_| switched) {
        let held = upgrade::Held {
            busy: exchange.busy.another(),
            lease: exchange.ending.take(),
            open: worker.metrics.upgraded(),
        };
        client.join(&mut response, held, settings.upgrade_timeout);
    }
    Ok(response)
}

/// Until when a response's head must be there.
struct Time {
    until: Instant,
    /// The same of this try; no later.
    of_try: Instant,
    /// Whether a plugin made it shorter than the service's own: then a timeout is not the endpoint's fault.
    shortened: bool,
    /// Whether another protocol is asked for.
    upgrade: bool,
}

impl Time {
    fn new(settings: &config::Service, route: &Route, upgrade: bool, now: Instant) -> Self {
        let plugins = route.target().and_then(|target| target.destination.timeout);
        let shortened = plugins.filter(|most| *most < settings.timeout);
        let until = now + shortened.unwrap_or(settings.timeout);
        Self { until, of_try: until, shortened: shortened.is_some(), upgrade }
    }

    /// A try begins.
    fn begin(&mut self, settings: &config::Service, now: Instant) {
        let most = settings.retry.as_ref().and_then(|rule| rule.try_timeout);
        self.of_try = most.map_or(self.until, |most| self.until.min(now + most));
    }

    /// Whether a timeout of this try was neither the endpoint's fault nor may be tried again.
    fn is_over(&self) -> bool {
        self.of_try == self.until
    }
}

fn refuse(unavailable: Unavailable) -> Refusal {
    match unavailable {
        Unavailable::CircuitOpen => Refusal::CircuitOpen("too many requests in flight".into()),
        Unavailable::NoHealthyEndpoint | Unavailable::NoOtherEndpoint => Refusal::NoEndpoint,
    }
}

/// The request as the service will see it. Takes the body, and of the head what goes on.
fn outbound(request: &mut Request, record: &Record) -> http::Request<Body> {
    let mut outbound = http::Request::new(std::mem::replace(&mut request.body, Body::Empty));
    let head = &mut request.head;
    std::mem::swap(outbound.method_mut(), &mut head.method);
    std::mem::swap(outbound.uri_mut(), &mut head.uri);
    std::mem::swap(outbound.headers_mut(), &mut head.headers);
    let onward = if request.upgrade { Onward::Upgrade } else { Onward::Http1 };
    let (peer, client) = (&request.peer, &request.client);
    let (request_id, trace) = (&record.id, record.trace.as_ref());
    let passage = Passage { peer, client, version: head.version, request_id, trace, onward };
    headers::to_service(outbound.headers_mut(), &passage);
    // Where nobody says so, hyper takes a body of unknown length of a GET or HEAD for none, and drops it.
    if !outbound.body().is_end_stream() && outbound.body().size_hint().exact().is_none() {
        outbound.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    outbound
}

/// One try at one endpoint. Takes the request, and puts it back where nothing of it was sent.
async fn attempt(
    (mut lease, pool): (Lease, Rc<Pool>),
    settings: &config::Service,
    outbound: &mut Option<http::Request<Body>>,
    interim: Option<&Interim>,
    (time, now): (&Time, Instant),
    exchange: &mut Exchange,
) -> Result<Response<Coming>, Fault> {
    let broken_off = outbound.as_ref().and_then(|request| request.body().broken());
    let mut refused = 0;
    loop {
        let (mut connection, reused) = match pool.connection(time.upgrade, time.of_try, now).await {
            Ok(connection) => connection,
            Err(_) if time.shortened && Instant::now() >= time.until => return Err(Fault::last(Refusal::Slow)),
            // It is no better elsewhere.
            Err(cause) if cause.is_ours() => return Err(Fault::last(Refusal::CircuitOpen(cause.to_string()))),
            Err(cause) => {
                lease.report(Outcome::ConnectFailed, Instant::now());
                return Err(Fault::unsent(Refusal::NoConnection(cause)));
            }
        };
        let Some(request) = spoken(&connection, outbound) else {
            return Err(Fault::last(Refusal::Broken("the authority is none of HTTP/2".into())));
        };
        match connection.send(request, interim.map(Interim::ear), time.of_try).await {
            Some(Ok(response)) => {
                match response.status().as_u16() {
                    status @ 400.. if settings.is_failure(status) => lease.report(Outcome::Status, Instant::now()),
                    _ if lease.is_timed() => lease.report(Outcome::Success, Instant::now()),
                    _ => lease.report(Outcome::Success, now),
                }
                exchange.ending = Some(Ending::new(lease, (connection, pool), settings.body_timeout, broken_off));
                return Ok(response);
            }
            Some(Err(unanswered)) => {
                *outbound = unanswered.unsent;
                match outbound {
                    // A connection that has come to its end, while it was idle or before this request's turn: not the endpoint's
                    // fault, and nothing was done of it.
                    Some(_) if reused && !unanswered.cause.is_refused() => pool.leave(&connection),
                    // The service says that it has done nothing of it.
                    Some(_) if unanswered.cause.is_unprocessed() && refused < MOST_REFUSALS => {
                        refused += 1;
                        if !unanswered.cause.is_refused() {
                            pool.leave(&connection);
                        }
                    }
                    Some(_) => {
                        lease.report(Outcome::Reset, Instant::now());
                        return Err(Fault::unsent(Refusal::Broken(unanswered.cause.said())));
                    }
                    None => return Err(broken(&mut lease, &unanswered.cause)),
                }
            }
            None => {
                pool.leave(&connection);
                let (over, now) = (time.is_over(), Instant::now());
                lease.report(if over && time.shortened { Outcome::Neutral } else { Outcome::Timeout }, now);
                return Err(Fault { cause: (!over).then_some(FailureKind::Timeout), refusal: Refusal::Slow });
            }
        }
    }
}

/// Takes the request, as the connection speaks.
fn spoken(connection: &Connection, outbound: &mut Option<http::Request<Body>>) -> Option<http::Request<Body>> {
    version::speak(outbound.as_mut()?, connection.http2())?;
    outbound.take()
}

/// Tells a client's broken request body from a service's broken response.
fn broken(lease: &mut Lease, cause: &Cause) -> Fault {
    let refusal = match cause.of_body() {
        Some(BodyFault::TooLong) => Refusal::BodyTooLong,
        Some(BodyFault::Slow) => Refusal::BodySlow,
        Some(BodyFault::Broken(_)) => Refusal::BodyBroken,
        None => {
            lease.report(Outcome::Reset, Instant::now());
            if !cause.is_garbled() {
                return Fault { cause: Some(FailureKind::Reset), refusal: Refusal::Broken(cause.said()) };
            }
            Refusal::Garbled(cause.said())
        }
    };
    Fault::last(refusal)
}

/// How long a sender may wait for its connection to be ready again: it is, unless the peer is in the middle of closing.
const READY: Duration = Duration::from_millis(100);
