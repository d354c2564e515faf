//! THE PATH: accept → clean → which API → auth → limit → validate → route → balance → forward.
//!
//! A [`Worker`] is one thread's own: connections, instances and cells that no other thread touches. A [`Gateway`] is one
//! configuration on one worker; a request keeps the one that it began with.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::api::{Api, Apis};
use crate::clean::{self, Bounds, Cleaned};
use crate::config::{self, Cidr};
use crate::forward::headers::{Peer, REQUEST_ID, is_loop};
use crate::forward::{Ending, Outgoing, Pools, forward};
use crate::limit::{Admission, Caller, Client};
use crate::log::{AccessLog, Record};
use crate::metrics::{Metrics, Outcome, Span};
use crate::plugin::Verdict;
use crate::plugin::verdict::Decision;
use crate::refusal::{Limited, Refusal};
use crate::request::{Body, Budget, Request, Scene, Streaming};
use crate::route::Routed;

/// One configuration on one worker.
pub struct Gateway {
    /// What requests are for.
    pub apis: Apis,
    /// How large a head may be.
    pub bounds: Bounds,
    /// Peers whose forwarding fields are believed.
    pub trusted: Vec<Cidr>,
    /// How long a request's body may pause.
    pub body_timeout: Duration,
    /// Room for bodies that plugins declared.
    pub budget: Budget,
    /// Where access lines go.
    pub log: Rc<AccessLog>,
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
    random: Cell<u64>,
}

impl Worker {
    /// A worker with its first configuration.
    #[must_use]
    pub fn new(index: usize, gateway: Rc<Gateway>, pools: Rc<Pools>, metrics: Arc<Metrics>) -> Self {
        let mut seed = [0; 8];
        let seeded = aws_lc_rs::rand::fill(&mut seed).is_ok();
        let seed = if seeded { u64::from_ne_bytes(seed) } else { index as u64 };
        Self { index, gateway: RefCell::new(gateway), pools, metrics, random: Cell::new(seed) }
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
        let mut digits = [0_u8; 32];
        for (half, digits) in [self.random(), self.random()].into_iter().zip(digits.chunks_exact_mut(16)) {
            for (place, digit) in digits.iter_mut().enumerate() {
                let value = (half >> (60 - 4 * place)) as u8 & 15;
                *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
            }
        }
        HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&digits)).unwrap_or(HeaderValue::from_static("none"))
    }
}

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
pub async fn handle(
    worker: Rc<Worker>,
    peer: Rc<Peer>,
    peer_text: Rc<str>,
    request: http::Request<Incoming>,
) -> Response<Outgoing> {
    let now = Instant::now();
    let gateway = Rc::clone(&worker.gateway.borrow());
    let (head, incoming) = request.into_parts();
    let id = peer.request_id(&head.headers).unwrap_or_else(|| worker.request_id());
    let mut record = Box::new(Record::new(&gateway.log, peer_text, &head, id.clone(), now));
    let mut response = match carry(&worker, &gateway, peer, (head, incoming), now, &mut record).await {
        Ok(Passed::Service(passed)) => {
            let (response, ending, admission) = *passed;
            record.status = response.status().as_u16();
            record.outcome = Outcome::Forwarded;
            response.map(|body| Outgoing::service(body, ending, admission, record))
        }
        Ok(Passed::Own(response)) => {
            record.status = response.status().as_u16();
            record.outcome = Outcome::Routing;
            response.map(|body| Outgoing::own(body, record))
        }
        Err(refusal) => {
            record.outcome = refusal.outcome();
            record.reason = refusal.reason().map(String::into_boxed_str);
            let response = refusal.answer(&record.id);
            record.status = response.status().as_u16();
            response.map(|body| Outgoing::own(body, record))
        }
    };
    response.headers_mut().insert(&REQUEST_ID, id);
    response
}

/// What came of a request that nothing refused.
enum Passed {
    Service(Box<(Response<Incoming>, Ending, Admission)>),
    Own(Response<Bytes>),
}

/// The way of a request. What is refused leaves it by `?`.
async fn carry(
    worker: &Rc<Worker>,
    gateway: &Rc<Gateway>,
    peer: Rc<Peer>,
    (mut head, incoming): (Parts, Incoming),
    now: Instant,
    record: &mut Record,
) -> Result<Passed, Refusal> {
    let cleaned = clean::head(&mut head, peer.scheme, &gateway.bounds).map_err(Refusal::Unclean)?;
    record.target = head.uri.clone();
    if is_loop(&head.headers) {
        return Err(Refusal::Loop);
    }
    let api = Rc::clone(find(gateway, &head).ok_or(Refusal::NoApi)?);
    record.api = Some(Arc::clone(&api.name));
    record.series = Some(Arc::clone(&api.series));
    let mut request = begin(gateway, &api, peer, (head, incoming), cleaned, record)?;
    let id = record.id.clone();
    let scene = Scene { budget: &gateway.budget, id: &id, now, nanoseconds: nanoseconds(now) };
    let mut clock = Lap { series: &api.series, since: now };

    let admission = admit(api.limits.before_auth(request.client.address, scene.nanoseconds), &api).await?;
    clock.lap(Span::Limit);
    api.auth.identify(&mut request, &scene).await?;
    record.caller = request.caller().map(|caller| caller.subject.as_str().into());
    clock.lap(Span::Auth);
    let admission = limit(&api, &request, admission).await?;
    clock.lap(Span::Limit);
    api.validation.check(&mut request, &scene).await?;
    clock.lap(Span::Validation);
    let routed = api.routing.route(&mut request, &api.stripped, &scene, worker.random()).await?;
    clock.lap(Span::Routing);
    let route = match routed {
        Routed::Forward(route) => route,
        Routed::Respond(verdict) => return Ok(Passed::Own(respond(&verdict))),
    };
    let (mut response, ending) = forward(worker, request, &route, record).await?;
    clock.lap(Span::Service);
    route.edit_response(response.headers_mut());
    api.limits.write(&admission.standings, response.headers_mut());
    Ok(Passed::Service(Box::new((response, ending, admission))))
}

fn find<'a>(gateway: &'a Gateway, head: &Parts) -> Option<&'a Rc<Api>> {
    let authority = head.headers.get(http::header::HOST)?.to_str().ok()?;
    gateway.apis.find(authority, head.uri.path())
}

/// Makes a request of a cleaned head: who is asking, and what of its fields and body is let in.
fn begin(
    gateway: &Gateway,
    api: &Api,
    peer: Rc<Peer>,
    (mut head, incoming): (Parts, Incoming),
    cleaned: Cleaned,
    record: &mut Record,
) -> Result<Request, Refusal> {
    let client = peer.client(&head.headers, &gateway.trusted);
    if client.address != peer.address {
        record.client = client.address.to_string().into();
    }
    let address = Rc::clone(&record.client);
    api.stripped.remove(&mut head.headers, peer.trusted);
    let body = match incoming.is_end_stream() {
        true => Body::Empty,
        false if incoming.size_hint().lower() > api.body_bytes => return Err(Refusal::BodyTooLong),
        false => {
            Body::Streaming(Streaming::new(incoming, api.body_bytes, gateway.body_timeout, Rc::clone(&api.stripped)))
        }
    };
    let upgrade = cleaned == Cleaned::Upgrade;
    Ok(Request { head, body, peer, client, address, upgrade, caller: None })
}

/// The limits that count by who is calling.
async fn limit(api: &Api, request: &Request, before: Admission) -> Result<Admission, Refusal> {
    let caller = request.caller.as_ref().and_then(|granted| Some((&*granted.plugin, &granted.grant()?.caller)));
    let attribute = |name: &str| caller.and_then(|(_, caller)| caller.attribute(name));
    let caller = caller.map(|(plugin, caller)| Caller {
        plugin,
        subject: &caller.subject,
        plan: caller.plan.as_deref(),
        attribute: &attribute,
    });
    let client = Client { address: request.client.address, caller };
    // Reading a body or a delay may have taken time: the moment is a new one.
    admit(api.limits.after_auth(&client, nanoseconds(Instant::now()), before), api).await
}

/// Waits where a limit delays, and refuses where one is exceeded.
async fn admit(checked: Result<Admission, crate::limit::Exceeded>, api: &Api) -> Result<Admission, Refusal> {
    match checked {
        Ok(admission) if admission.wait.is_zero() => Ok(admission),
        Ok(admission) => {
            tokio::time::sleep(admission.wait).await;
            Ok(admission)
        }
        Err(exceeded) => {
            let mut headers = HeaderMap::new();
            api.limits.write_refusal(&exceeded, &mut headers);
            let names = api.limits.violated(&exceeded).cloned().collect();
            Err(Refusal::Limited(Box::new(Limited { headers, names })))
        }
    }
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
    series: &'a crate::metrics::Series,
    since: Instant,
}

impl Lap<'_> {
    fn lap(&mut self, span: Span) {
        let now = Instant::now();
        self.series.span(span, now.saturating_duration_since(self.since));
        self.since = now;
    }
}

/// How large a head may be, by the configuration.
#[must_use]
pub fn bounds(server: &config::Server) -> Bounds {
    Bounds { fields: server.head_fields, head_bytes: server.head_bytes, target_bytes: server.target_bytes }
}
