//! A stage with one plugin in it, and what it makes of a request.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use hyper::body::Incoming;

use super::Ready;
use super::report::{Report, input, time};
use super::r#try::message;
use crate::auth::Auth;
use crate::balance::Services;
use crate::clean::{self, Cleaned, Scheme};
use crate::config::{self, Config};
use crate::forward::Service;
use crate::forward::headers::{Peer, Stripped, is_loop};
use crate::gateway::{bounds, nanoseconds};
use crate::plugin::verdict::{Decision, Destination, Edits, Grant, Identified, Share, Target};
use crate::plugin::{Declaration, Local, Slot, Stage, UseName};
use crate::refusal::Refusal;
use crate::request::{Budget, Granted, Request, Scene};
use crate::route::{Routed, Routing};
use crate::validate::Validation;

/// A plugin's use in its stage, with nothing else around it.
pub(super) struct Trial<'a> {
    config: &'a Config,
    api: &'a config::Api,
    stage: Alone,
    local: Rc<Local>,
    /// Fields of its own that no client may send.
    stripped: Rc<Stripped>,
    peer: Rc<Peer>,
    caller: Option<Granted>,
    budget: Budget,
}

/// A stage with one plugin.
enum Alone {
    Auth(Auth),
    Validation(Validation),
    Routing(Routing),
}

/// What came of asking.
pub(super) struct Asked {
    /// Which use was asked.
    pub(super) name: UseName,
    /// What follows from an acceptance, or why there is none.
    pub(super) verdict: Result<Report, Refusal>,
    /// How long the call took; none: the plugin was not asked.
    pub(super) call: Option<Duration>,
}

impl<'a> Trial<'a> {
    /// Puts a use alone into its stage. `client` is where requests come from, `caller` who calls the later stages.
    pub(super) fn new(config: &'a Config, ready: Ready, client: IpAddr, caller: Option<Grant>) -> Self {
        let Ready { shared, instance, .. } = ready;
        let api = config.apis.iter().find(|api| api.name == shared.name.api).expect("a use is one of an API");
        let local = Rc::new(Local::new(shared, Some(instance), 0));
        let slot = Slot::Live(Rc::clone(&local));
        let (stage, stripped) = match local.shared.name.stage {
            Stage::Auth => {
                let auth = Auth::new(vec![slot], api.anonymous, Arc::new(config.plans.clone()), None);
                (Alone::Auth(auth), Stripped::new(&local.shared.declaration.identity))
            }
            Stage::Validation => (Alone::Validation(Validation::new(vec![slot])), Stripped::default()),
            Stage::Routing => (Alone::Routing(Routing::Plugin(slot, services(config, api))), Stripped::default()),
        };
        let granted =
            |grant| Granted::new(Arc::clone(&local.shared.version.name), Rc::new(Ok(Identified::Granted(grant))));
        let caller = caller.and_then(granted);
        Self {
            config,
            api,
            stage,
            local,
            caller,
            stripped: Rc::new(stripped),
            peer: Rc::new(Peer::new(client, Scheme::Http, &config.server.trusted)),
            budget: Budget::new(Arc::default(), config.server.buffer_bytes),
        }
    }

    /// Bytes of memory that the plugin's instance has; none where it was thrown away.
    pub(super) fn memory_bytes(&self) -> Option<usize> {
        self.local.memory_bytes()
    }

    /// Asks the plugin of a request.
    pub(super) async fn ask(&self, request: http::Request<Incoming>) -> Asked {
        let mut call = None;
        let verdict = self.carry(request, &mut call).await;
        Asked { name: self.local.shared.name.clone(), verdict, call }
    }

    /// The way of a request through the one stage.
    async fn carry(&self, request: http::Request<Incoming>, call: &mut Option<Duration>) -> Result<Report, Refusal> {
        let now = Instant::now();
        let mut request = Request::new(request, Rc::clone(&self.peer));
        self.begin(&mut request)?;
        let id = HeaderValue::from_static("trial");
        let scene = Scene { budget: &self.budget, id: &id, now, nanoseconds: nanoseconds(now), witness: None };
        // The client's time is not the plugin's.
        if let Some(body) = &self.local.shared.declaration.body {
            request.hold(body, &self.budget).await?;
        }
        let before = Instant::now();
        let verdict = self.stage.ask(&mut request, &self.stripped, &scene).await;
        *call = (!matches!(verdict, Err(Refusal::Unclear(..)))).then(|| before.elapsed());
        verdict.map(|passed| passed.report(&request, &self.local.shared.declaration))
    }

    /// What [`crate::gateway`] does with a request before the first stage.
    fn begin(&self, request: &mut Request) -> Result<(), Refusal> {
        let server = &self.config.server;
        let cleaned = clean::head(&mut request.head, self.peer.scheme, &bounds(server)).map_err(Refusal::Unclean)?;
        request.upgrade = cleaned == Cleaned::Upgrade;
        if is_loop(&request.head.headers) {
            return Err(Refusal::Loop);
        }
        if self.peer.trusted {
            request.client = self.peer.client(&request.head.headers, &server.trusted);
            request.address = request.client.address.to_string().into();
        }
        self.stripped.remove(&mut request.head.headers, self.peer.trusted);
        request.body.bound(
            self.api.body_bytes.unwrap_or(u64::MAX),
            (server.body_timeout, server.body_rate),
            &self.stripped,
        )?;
        request.caller = self.caller.clone();
        Ok(())
    }
}

/// The services that the API's plugin may name. Nobody connects to them, probes them or looks for their endpoints.
fn services(config: &Config, api: &config::Api) -> BTreeMap<Arc<str>, Rc<Service>> {
    let quiet = |service: &config::Service| {
        let endpoints = config::Endpoints::Listed(service.endpoints.listed().to_vec());
        config::Service { endpoints, probe: None, ..service.clone() }
    };
    let settings = config.services.iter().map(|(name, service)| (Arc::clone(name), quiet(service))).collect();
    let services = Services::new(tokio::runtime::Handle::current()).apply(&settings, Instant::now());
    let may = api.services.iter().filter_map(|name| services.get_key_value(name));
    may.map(|(name, shared)| (Arc::clone(name), Rc::new(Service::new(Arc::clone(shared), Rc::default(), 1, None))))
        .collect()
}

/// What follows from a verdict that lets a request pass.
enum Passed {
    Auth,
    Validation,
    Routing(Routed),
}

impl Alone {
    async fn ask(&self, request: &mut Request, stripped: &Stripped, scene: &Scene<'_>) -> Result<Passed, Refusal> {
        match self {
            Self::Auth(auth) => auth.identify(request, scene).await.map(|()| Passed::Auth),
            Self::Validation(validation) => validation.check(request, scene).await.map(|()| Passed::Validation),
            Self::Routing(routing) => routing.route(request, stripped, scene, 0).await.map(Passed::Routing),
        }
    }
}

impl Passed {
    fn report(&self, request: &Request, declared: &Declaration) -> Report {
        let mut report = Report::default();
        match self {
            Self::Auth => match request.caller.as_ref().and_then(Granted::grant) {
                Some(granted) => grant(granted, declared, &mut report),
                None => {
                    report.row("caller", "none: no credential of this plugin's kind, and anonymous callers may pass")
                }
            },
            Self::Validation => {}
            Self::Routing(Routed::Forward(route)) => {
                if let Some(found) = route.target() {
                    target(found, request, &mut report);
                }
            }
            Self::Routing(Routed::Respond(verdict)) => {
                if let Ok(Decision::Respond(answer)) = &**verdict {
                    let fields = answer.headers.iter().map(|(name, value)| (name, value));
                    report.row("answer", message(answer.status, fields, &answer.body));
                }
            }
        }
        report
    }
}

fn grant(grant: &Grant, declared: &Declaration, report: &mut Report) {
    report.row("caller", grant.subject());
    report.row("plan", grant.plan().unwrap_or_default());
    report.row("scopes", grant.scopes());
    report.row("attributes", lines(grant.attributes().map(|(name, value)| format!("{name} = {value}"))));
    let field = |(place, value)| Some(format!("{}: {value}", declared.identity.get(place)?));
    report.row("sets", lines(grant.fields().filter_map(field)));
    report.list("conceals", grant.conceal().filter_map(|slot| declared.inputs.get(slot)).map(input));
}

fn target(target: &Target, request: &Request, report: &mut Report) {
    let Destination { service, shares, request: there, response: back, timeout } = &*target.destination;
    report.row("service", service);
    let share = |share: &Share| format!("{} {} ‰", share.service, share.per_mille);
    report.list("shares", shares.iter().map(share));
    report.row("path", request.head.uri.to_string());
    report.row("request", there.as_ref().map(edits).unwrap_or_default());
    report.row("response", back.as_ref().map(edits).unwrap_or_default());
    report.row("affinity", target.affinity.as_deref().unwrap_or_default());
    report.row("timeout", timeout.map(time).unwrap_or_default());
}

fn edits(edits: &Edits) -> String {
    let removed = edits.remove.iter().map(|name| format!("remove {name}"));
    let set = fields(&edits.set).map(|field| format!("set {field}"));
    lines(removed.chain(set).chain(fields(&edits.add).map(|field| format!("add {field}"))))
}

fn fields(fields: &[(HeaderName, HeaderValue)]) -> impl Iterator<Item = String> {
    fields.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}
