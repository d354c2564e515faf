//! The way of a request that is only explained, stage after stage.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Response};

use crate::api::Api;
use crate::cors::Sharing;
use crate::explain::{End, Limit, Service, Step};
use crate::forward;
use crate::gateway::{Gateway, Worker, as_client, begin, limited, nanoseconds, respond};
use crate::limit::{Exceeded, Peek};
use crate::log::Record;
use crate::plugin::Witness;
use crate::plugin::witness::{FAILED, REFUSED};
use crate::refusal::Refusal;
use crate::request::{Request, Scene};
use crate::route::{Route, Routed, Routing};

/// Where a request is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    #[default]
    Request,
    Api,
    Address,
    Auth,
    Limit,
    Validation,
    Routing,
    Balance,
}

impl At {
    const ALL: [Self; 8] = [
        Self::Request,
        Self::Api,
        Self::Address,
        Self::Auth,
        Self::Limit,
        Self::Validation,
        Self::Routing,
        Self::Balance,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Api => "api",
            Self::Address | Self::Limit => "limit",
            Self::Auth => "auth",
            Self::Validation => "validation",
            Self::Routing => "routing",
            Self::Balance => "balance",
        }
    }
}

/// What the way depends on beside the request.
pub(super) struct Way<'a> {
    pub(super) worker: &'a Worker,
    pub(super) gateway: &'a Gateway,
    pub(super) id: &'a HeaderValue,
    pub(super) now: Instant,
}

/// What was seen on the way.
#[derive(Default)]
pub(super) struct Walk {
    at: At,
    witness: Witness,
    pub(super) steps: Vec<Step>,
    pub(super) service: Option<Service>,
}

impl Walk {
    /// What [`crate::gateway::pass`] would do. Answers what the gateway itself does; nothing: a service would.
    pub(super) async fn pass(
        &mut self,
        way: &Way<'_>,
        request: &mut Request,
        record: &mut Record,
    ) -> Result<Option<Response<Bytes>>, Refusal> {
        let begun = begin(way.gateway, request, record);
        self.found(way.gateway, request, record);
        let api = begun?;
        let witness = std::mem::take(&mut self.witness);
        let scene = Scene {
            budget: &way.gateway.budget,
            id: way.id,
            now: way.now,
            nanoseconds: nanoseconds(way.now),
            witness: Some(&witness),
        };

        self.at = At::Address;
        let peeks = api.limits.peek_before_auth(request.client.address, scene.nanoseconds);
        self.limits(peeks, &api)?;
        if request.sharing.as_ref().is_some_and(Sharing::is_preflight) {
            self.say("cors", "answered", Some("a preflight, which needs no credential"));
            return Ok(Some(Sharing::preflight()));
        }
        self.at = At::Auth;
        let identified = api.auth.identify(request, &scene).await;
        self.asked(&witness);
        identified?;
        self.identified(&api, request);
        self.at = At::Limit;
        let peeks = as_client(request, |client| api.limits.peek_after_auth(client, nanoseconds(Instant::now())));
        self.limits(peeks, &api)?;
        if api.limits.is_empty() {
            self.say("limit", "none", None);
        }
        self.at = At::Validation;
        let checked = api.validation.check(request, &scene).await;
        self.asked(&witness);
        checked?;
        if api.validation.is_empty() {
            self.say("validation", "none", None);
        }
        self.at = At::Routing;
        let routed = api.routing.route(request, &api.stripped, &scene, way.worker.random()).await;
        self.asked(&witness);
        let route = match routed? {
            Routed::Forward(route) => route,
            Routed::Respond(verdict) => return Ok(Some(respond(&verdict))),
        };
        self.routed(&api, &route, request);
        self.at = At::Balance;
        self.balance(forward::explain(request, &route, Instant::now(), way.worker.random()))?;
        Ok(None)
    }

    /// Which API, and why.
    fn found(&mut self, gateway: &Gateway, request: &Request, record: &Record) {
        let authority = request.head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let found = authority.and_then(|authority| gateway.apis.search(authority, request.head.uri.path()));
        let Some(found) = found.filter(|found| std::rc::Rc::ptr_eq(&found.api.tally, &record.tally)) else { return };
        self.at = At::Api;
        let detail = format!("{}, path {}/", found.hosts, found.prefix);
        self.say("api", &found.api.tally.name, Some(&detail));
    }

    fn limits(&mut self, (peeks, exceeded): (Vec<Peek>, Option<Exceeded>), api: &Api) -> Result<(), Refusal> {
        self.steps.extend(peeks.iter().map(limit));
        exceeded.map_or(Ok(()), |exceeded| Err(limited(&exceeded, api)))
    }

    fn identified(&mut self, api: &Api, request: &Request) {
        match (api.auth.is_empty(), &request.caller) {
            (true, _) => self.say("auth", "none", Some("anybody may pass")),
            (false, None) => self.say("auth", "anonymous", Some("no credential, and anonymous callers may pass")),
            (false, Some(_)) => {}
        }
    }

    fn routed(&mut self, api: &Api, route: &Route, request: &Request) {
        let service = &route.service.name();
        let mut detail = match route.target() {
            _ if matches!(api.routing, Routing::Fixed(_)) => "always, by the configuration".to_owned(),
            Some(target) if !target.destination.shares.is_empty() => "drawn by its shares".to_owned(),
            _ => String::new(),
        };
        if let Some(target) = route.target() {
            let mut add = |text: String| {
                detail.push_str(if detail.is_empty() { "" } else { ", " });
                detail.push_str(&text);
            };
            if target.path.is_some() {
                add(format!("path {}", request.head.uri.path()));
            }
            if let Some(timeout) = target.destination.timeout {
                add(format!("timeout {timeout:?}"));
            }
        }
        let detail = Some(detail).filter(|detail| !detail.is_empty());
        match self.steps.last_mut().filter(|step| step.stage == At::Routing.name()) {
            Some(step) => (step.verdict, step.detail) = (service.to_string(), detail),
            None => self.say("routing", service, detail.as_deref()),
        }
    }

    fn balance(&mut self, explained: forward::Explained) -> Result<(), Refusal> {
        let forward::Explained { service, key, chosen } = explained;
        let mut service = Service::new(&service, key);
        let outcome = chosen.map(|chosen| {
            self.say("balance", &chosen.address.to_string(), Some(&format!("{}: {}", service.balance, chosen.why)));
            (service.endpoint, service.why) = (Some(chosen.address.to_string()), Some(chosen.why));
        });
        self.service = Some(service);
        outcome
    }

    /// What the plugins of a stage said.
    fn asked(&mut self, witness: &Witness) {
        self.steps.extend(witness.take().into_iter().map(|seen| Step {
            stage: seen.stage.name().to_owned(),
            verdict: seen.verdict.to_owned(),
            plugin: Some(seen.plugin.to_string()),
            digest: Some(seen.digest),
            detail: seen.detail,
            microseconds: Some(seen.took.as_nanos() as f64 / 1e3),
            remembered: seen.remembered,
            limit: None,
        }));
    }

    /// The request goes no further than where it is. Where no plugin and no limit has said why, this does.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        let told = match refusal {
            Refusal::Limited(_) | Refusal::Rejected(..) => true,
            Refusal::Failed(..) => self.steps.last().is_some_and(|step| step.verdict == FAILED),
            _ => false,
        };
        if !told {
            let stage = if self.at == At::Api { At::Request } else { self.at };
            let reason = refusal.reason().unwrap_or_else(|| refusal.title().to_owned());
            self.say(stage.name(), REFUSED, Some(&reason));
        }
    }

    /// The stages that come behind the one that answered.
    pub(super) fn not_asked(&self, end: End) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in At::ALL.into_iter().filter(|at| *at > self.at && end != End::Forwarded).map(At::name) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    fn say(&mut self, stage: &str, verdict: &str, detail: Option<&str>) {
        let (stage, verdict, detail) = (stage.to_owned(), verdict.to_owned(), detail.map(str::to_owned));
        self.steps.push(Step { stage, verdict, detail, ..Step::default() });
    }
}

fn limit(peek: &Peek) -> Step {
    let verdict = match (peek.exceeded, peek.wait.is_zero()) {
        (true, _) => "over",
        (false, true) => "within",
        (false, false) => "delayed",
    };
    let mut detail = format!("{} by {}:", peek.name, peek.by);
    if let Some(rate) = peek.rate {
        detail.push_str(&format!(" {} of {} left", rate.left, rate.burst));
        if !rate.full_after.is_zero() {
            detail.push_str(&format!(", full in {}", seconds(rate.full_after)));
        }
    }
    if let Some((now, most)) = peek.in_flight {
        let comma = if peek.rate.is_some() { "," } else { "" };
        detail.push_str(&format!("{comma} {now} of {most} in flight"));
    }
    if !peek.wait.is_zero() {
        detail.push_str(&format!(", it would wait {}", seconds(peek.wait)));
    }
    Step {
        stage: "limit".to_owned(),
        verdict: verdict.to_owned(),
        detail: Some(detail),
        limit: Some(Limit::new(peek)),
        ..Step::default()
    }
}

fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        ..1.0 => format!("{} ms", time.as_nanos().div_ceil(1_000_000)),
        seconds @ ..10.0 => format!("{seconds:.1} s"),
        seconds => format!("{seconds:.0} s"),
    }
}
