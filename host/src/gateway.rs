//! THE PATH: accept → clean → which API → auth → limit → validate → route → balance → forward.
//!
//! A [`Worker`] is one thread's own: connections, instances and cells that no other thread touches. A [`Gateway`] is one
//! configuration on one worker; a request keeps the one that it began with.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use tokio::time::{sleep_until, timeout_at};

use crate::api::{Api, Apis};
use crate::clean::{self, Bounds, Cleaned};
use crate::coming::Coming;
use crate::config::{self, Cidr};
use crate::cors::Sharing;
use crate::forward::headers::{Peer, REQUEST_ID, Trace, hex, is_loop, join};
use crate::forward::{Exchange, Outgoing, Pools, forward, worth_holding};
use crate::limit::{Admission, Caller, Client, Exceeded};
use crate::log::{AccessLog, Record, Tally};
use crate::metrics::{Metrics, Outcome, Span};
use crate::place::boxed;
use crate::plugin::Verdict;
use crate::plugin::verdict::Decision;
use crate::refusal::{Limited, Refusal};
use crate::request::{Budget, Request, Scene};
use crate::route::Routed;
use crate::server::Busy;

mod explain;

pub use explain::{AskFault, Asker, Question, answer_questions, explain};

/// One configuration on one worker.
pub struct Gateway {
    /// What requests are for.
    pub apis: Apis,
    /// How large a head may be.
    pub bounds: Bounds,
    /// Peers whose forwarding fields are believed.
    pub trusted: Vec<Cidr>,
    /// Whose traces requests belong to.
    pub trace: config::Trace,
    /// How long a request's body may pause, and how many bytes a second it must bring.
    pub body_pace: (Duration, u64),
    /// Room for bodies that plugins declared.
    pub budget: Budget,
    /// Where access lines go.
    pub log: Rc<AccessLog>,
    /// Counts requests that belong to no API.
    pub nowhere: Rc<Tally>,
}

/// What belongs to one worker for as long as it lives.
pub struct Worker {
    /// Its number.
    pub index: usize,
    /// The configuration that new requests begin with.
    pub gateway: RefCell<Rc<Gateway>>,
    /// Connections to endpoints.
    pub pools: Rc<Pools>,
    /// What the process counts.
    pub metrics: Arc<Metrics>,
    /// Whether the gateway is about to end.
    leaving: Arc<AtomicBool>,
    random: Cell<u64>,
    /// Room for the next requests' ids: one allocation serves many.
    ids: RefCell<BytesMut>,
}

impl Worker {
    /// A worker with its first configuration.
    #[must_use]
    pub fn new(
        index: usize,
        gateway: Rc<Gateway>,
        pools: Rc<Pools>,
        metrics: Arc<Metrics>,
        leaving: Arc<AtomicBool>,
    ) -> Self {
        let mut seed = [0; 8];
        let seeded = aws_lc_rs::rand::fill(&mut seed).is_ok();
        let seed = if seeded { u64::from_ne_bytes(seed) } else { index as u64 };
        let (gateway, random, ids) = (RefCell::new(gateway), Cell::new(seed), RefCell::default());
        Self { index, gateway, pools, metrics, leaving, random, ids }
    }

    /// A number that is random enough for balancing and ids, not for secrets (SplitMix64, Steele et al. 2014).
    pub fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A request's id: 32 hexadecimal digits.
    fn request_id(&self) -> HeaderValue {
        let mut ids = self.ids.borrow_mut();
        if ids.capacity() < ID_BYTES {
            *ids = BytesMut::with_capacity(64 * ID_BYTES);
        }
        ids.extend_from_slice(&join(hex(self.random()), hex(self.random())));
        HeaderValue::from_maybe_shared(ids.split().freeze()).unwrap_or(HeaderValue::from_static("none"))
    }
}

/// Digits of a request's id.
const ID_BYTES: usize = 32;

/// A moment as limits count it: nanoseconds since the first call, the same for all workers.
#[must_use]
pub fn nanoseconds(now: Instant) -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    // Not zero at the start: what is a little earlier is still a moment.
    const START: u64 = 1_000_000_000_000;
    let epoch = *EPOCH.get_or_init(|| now);
    START + u64::try_from(now.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX / 2)
}

/// Answers one request, whatever it is.
///
/// The future is moved several times before it runs, and one lies in each connection: what is large is in boxes of its own, the
/// way of the request too.
pub fn handle<B: Into<Coming>>(
    worker: &Rc<Worker>,
    peer: &Rc<Peer>,
    request: http::Request<B>,
    busy: Busy,
) -> impl Future<Output = Result<Response<Outgoing>, Infallible>> + use<B> {
    let now = Instant::now();
    let worker = Rc::clone(worker);
    let gateway = Rc::clone(&worker.gateway.borrow());
    let mut request = boxed(|| Request::new(request, Rc::clone(peer)));
    request.body.comes_over(&busy);
    let id = request.peer.request_id(&request.head.headers).unwrap_or_else(|| worker.request_id());
    let mut exchange = boxed(|| Exchange::new(Record::new(&gateway.log, &gateway.nowhere, &request, id, now), busy));
    let record = &mut exchange.record;
    record.trace = Trace::of(&request.head.headers, gateway.trace, &record.id, || worker.random());
    async move { Ok(Box::into_pin(boxed(|| answer(&worker, &gateway, request, exchange, now))).await) }
}

/// What the client gets.
async fn answer(
    worker: &Rc<Worker>,
    gateway: &Gateway,
    mut request: Box<Request>,
    mut exchange: Box<Exchange>,
    now: Instant,
) -> Response<Outgoing> {
    let id = exchange.record.id.clone();
    let scene = Scene { budget: &gateway.budget, id: &id, now, nanoseconds: nanoseconds(now), witness: None };
    let mut response = match carry(worker, gateway, &mut request, &mut exchange, &scene).await {
        Ok(Passed::Service(response)) => {
            exchange.answered(Outcome::Forwarded, response.status());
            response.map(|body| Outgoing::service(body, exchange))
        }
        Ok(Passed::Own(response)) => {
            exchange.answered(Outcome::Routing, response.status());
            response.map(|body| Outgoing::own(body, exchange))
        }
        Ok(Passed::Preflight) => {
            let response = Sharing::preflight();
            exchange.answered(Outcome::Cors, response.status());
            response.map(|body| Outgoing::own(body, exchange))
        }
        Err(refusal) => {
            let outcome = refusal.outcome();
            exchange.record.reason = refusal.reason().map(String::into_boxed_str);
            let response = refuse(refusal, &request, &id);
            exchange.answered(outcome, response.status());
            response.map(|body| Outgoing::own(body, exchange))
        }
    };
    if let Some(sharing) = &request.sharing {
        sharing.write(response.headers_mut());
    }
    response.headers_mut().insert(&REQUEST_ID, id);
    // Who is told that the gateway is about to end goes elsewhere with its next request, before it is lost. What is upgraded has none.
    let leaves = worker.leaving.load(Relaxed)
        && request.head.version < Version::HTTP_2
        && response.status() != StatusCode::SWITCHING_PROTOCOLS;
    if leaves || response.body().is_last() {
        // hyper may have the next request already: without this it would answer it.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What the client is told of a refusal.
fn refuse(refusal: Refusal, request: &Request, id: &HeaderValue) -> Response<Bytes> {
    match &request.grpc {
        Some(media_type) => refusal.grpc_answer(id, media_type.clone()),
        None => refusal.answer(id),
    }
}

/// What came of a request that nothing refused.
enum Passed {
    /// A service answered.
    Service(Response<Coming>),
    /// A routing plugin answered.
    Own(Response<Bytes>),
    /// A browser asks what it may do: that needs no credential.
    Preflight,
}

/// The way of a request. What is refused leaves it by `?`.
async fn carry(
    worker: &Rc<Worker>,
    gateway: &Gateway,
    request: &mut Request,
    exchange: &mut Exchange,
    scene: &Scene<'_>,
) -> Result<Passed, Refusal> {
    let api = begin(gateway, request, &mut exchange.record)?;
    let until = api.request_timeout.map(|most| (scene.now + most).into());
    exchange.deadline = until.map(|until| Box::pin(sleep_until(until)));
    let passing = pin!(pass(worker, &api, request, exchange, scene));
    match until {
        None => passing.await,
        Some(until) => Box::pin(timeout_at(until, passing)).await.unwrap_or(Err(Refusal::Late)),
    }
}

/// The stages of an API, one after the other.
async fn pass(
    worker: &Rc<Worker>,
    api: &Api,
    request: &mut Request,
    exchange: &mut Exchange,
    scene: &Scene<'_>,
) -> Result<Passed, Refusal> {
    let mut clock = Lap { api, since: scene.now };

    let mut admission = Admission::default();
    if api.limits.any_before_auth() {
        admission = limit_address(api, request, scene)?;
        wait(&admission, &mut clock).await;
    }
    if request.sharing.as_ref().is_some_and(Sharing::is_preflight) {
        return Ok(Passed::Preflight);
    }
    api.auth.identify(request, scene).await?;
    exchange.record.caller.clone_from(&request.caller);
    clock.lap(Span::Auth);
    if api.limits.any_after_auth() {
        admission = limit_caller(api, request, admission, &clock)?;
        wait(&admission, &mut clock).await;
    }
    api.validation.check(request, scene).await?;
    clock.lap(Span::Validation);
    let routed = api.routing.route(request, &api.stripped, scene, worker.random()).await?;
    clock.lap(Span::Routing);
    let route = match routed {
        Routed::Forward(route) => route,
        Routed::Respond(verdict) => return Ok(Passed::Own(respond(&verdict))),
    };
    if let Some(most) = worth_holding(&route.service, request) {
        request.keep(most, scene.budget).await?;
    }
    let mut response = forward(worker, request, &route, exchange, clock.since).await?;
    clock.lap(Span::Service);
    route.edit_response(response.headers_mut());
    api.limits.write(&admission.standings, response.headers_mut());
    exchange.permits = admission.permits;
    Ok(Passed::Service(response))
}

/// Cleans a request and finds its API: who is asking, and what of its fields and body is let in.
fn begin(gateway: &Gateway, request: &mut Request, record: &mut Record) -> Result<Rc<Api>, Refusal> {
    let cleaned = clean::head(&mut request.head, request.peer.scheme, &gateway.bounds);
    record.target = request.head.uri.clone();
    request.upgrade = cleaned.map_err(Refusal::Unclean)? == Cleaned::Upgrade;
    if is_loop(&request.head.headers) {
        return Err(Refusal::Loop);
    }
    let api = Rc::clone(find(gateway, &request.head).ok_or(Refusal::NoApi)?);
    record.tally = Rc::clone(&api.tally);
    request.sharing = api.cors.as_ref().map(|cors| cors.sharing(&request.head));
    if request.peer.trusted {
        request.client = request.peer.client(&request.head.headers, &gateway.trusted);
    }
    if request.client.address != request.peer.address {
        request.address = request.client.address.to_string().into();
        record.client = Rc::clone(&request.address);
    }
    api.stripped.remove(&mut request.head.headers, request.peer.trusted);
    request.repeatable = api.repeatable;
    request.body.bound(api.body_bytes, gateway.body_pace, &api.stripped)?;
    Ok(api)
}

fn find<'a>(gateway: &'a Gateway, head: &Parts) -> Option<&'a Rc<Api>> {
    let authority = head.headers.get(http::header::HOST)?.to_str().ok()?;
    gateway.apis.find(authority, head.uri.path())
}

/// The limits that count by address: before auth, so that a flood never reaches it.
fn limit_address(api: &Api, request: &Request, scene: &Scene<'_>) -> Result<Admission, Refusal> {
    let checked = api.limits.before_auth(request.client.address, scene.nanoseconds);
    checked.map_err(|exceeded| limited(&exceeded, api))
}

/// The limits that count by who is calling.
fn limit_caller(api: &Api, request: &Request, before: Admission, clock: &Lap<'_>) -> Result<Admission, Refusal> {
    let now = nanoseconds(clock.since);
    let checked = as_client(request, |client| api.limits.after_auth(client, now, before));
    checked.map_err(|exceeded| limited(&exceeded, api))
}

/// Whom a request is from, as limits see it.
fn as_client<T>(request: &Request, ask: impl FnOnce(&Client<'_>) -> T) -> T {
    let granted = request.caller.as_ref().and_then(|granted| Some((&*granted.plugin, granted.grant()?)));
    let attribute = |name: &str| granted.and_then(|(_, grant)| grant.attribute(name));
    let caller = granted.map(|(plugin, grant)| Caller {
        plugin,
        subject: grant.subject(),
        plan: grant.plan(),
        attribute: &attribute,
    });
    ask(&Client { address: request.client.address, caller })
}

/// Where a limit delays.
async fn wait(admission: &Admission, clock: &mut Lap<'_>) {
    if !admission.wait.is_zero() {
        Box::pin(tokio::time::sleep(admission.wait)).await;
    }
    clock.lap(Span::Limit);
}

/// Where a limit is exceeded.
fn limited(exceeded: &Exceeded, api: &Api) -> Refusal {
    let mut headers = HeaderMap::new();
    api.limits.write_refusal(exceeded, &mut headers);
    let names = api.limits.violated(exceeded).cloned().collect();
    Refusal::Limited(Box::new(Limited { headers, names }))
}

/// A routing plugin's own answer.
fn respond(verdict: &Verdict<Decision>) -> Response<Bytes> {
    let Ok(Decision::Respond(answer)) = &**verdict else { return Response::new(Bytes::new()) };
    let mut response = Response::new(answer.body.clone());
    *response.status_mut() = answer.status;
    for (name, value) in &answer.headers {
        response.headers_mut().append(name.clone(), value.clone());
    }
    response
}

/// Measures the stages one after the other.
struct Lap<'a> {
    api: &'a Api,
    /// When the last stage that did anything had ended.
    since: Instant,
}

impl Lap<'_> {
    fn lap(&mut self, span: Span) {
        if self.api.does(span) {
            let now = Instant::now();
            self.api.tally.series.span(span, now.saturating_duration_since(self.since));
            self.since = now;
        }
    }
}

/// How large a head may be, by the configuration.
#[must_use]
pub fn bounds(server: &config::Server) -> Bounds {
    Bounds { fields: server.head_fields, head_bytes: server.head_bytes, target_bytes: server.target_bytes }
}
