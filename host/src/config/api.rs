//! `[[api]]`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::cors::Cors;
use super::groups::{List, OrFalse, Settings, record};
use super::kinds::{Flag, Name, Parsed, Role, Size, TIMEOUT, Words};
use super::limit::Limit;
use super::source::Space;
use super::table::Table;
use super::texts;

const HOST: Parsed<String> = Parsed { what: "a host", parse: texts::host, show: |host| json!(host) };
const PATH: Parsed<String> = Parsed { what: "a path", parse: texts::path, show: |path| json!(path) };
const SERVICE: Name = Name(Role::Refers(Space::Service));

/// One API: which requests it takes, and what stands in their way.
#[derive(Clone, Debug, PartialEq)]
pub struct Api {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Authorities in lower case, without a port; `*.example.org` takes every name one label or more below; empty: all.
    pub hosts: Vec<String>,
    /// Path prefixes, whole segments, each starting with `/`.
    pub paths: Vec<String>,
    /// Whether a request without a credential goes on. True where there are no auth plugins.
    pub anonymous: bool,
    /// The auth plugins in order.
    pub auth: Vec<Use>,
    /// The validation plugins in order.
    pub validation: Vec<Use>,
    /// How the service is found.
    pub routing: Routing,
    /// The services that a routing plugin may name; with a fixed service just that.
    pub services: BTreeSet<Arc<str>>,
    /// The limits in order.
    pub limits: Vec<Limit>,
    /// The longest request body; `None`: any.
    pub body_bytes: Option<u64>,
    /// The longest from a request's head to the last byte of its answer; `None`: any.
    pub request_timeout: Option<Duration>,
    /// What scripts of other origins may do; `None`: the service says.
    pub cors: Option<Cors>,
    /// Whether its requests may be sent twice, whatever their method.
    pub repeatable: bool,
}

/// How an API finds the service.
#[derive(Clone, Debug, PartialEq)]
pub enum Routing {
    /// Always this one.
    Service(Arc<str>),
    /// A plugin decides.
    Plugin(Use),
}

impl Api {
    /// Reads an API; a routing plugin may name any of `services` where nothing else is said.
    pub(super) fn read(t: &mut Table<'_>, services: &BTreeSet<Arc<str>>) -> Option<Self> {
        let name = t.need("name", "Its name in logs and metrics.", &Name(Role::Declares(Space::Api)));
        let (hosts, paths) = prefixes(t);
        let closed = List { of: record(Use::read), least: 0 };
        let checks = List { of: record(Use::read_validation), least: 0 };
        let auth = "Auth plugins in order: the first that recognises a credential decides.";
        let auth = t.given("auth", auth, &closed).unwrap_or_default();
        let anonymous =
            "Whether a request without a credential goes on. Default: `true` without auth plugins, `false` with.";
        let anonymous = t.given("anonymous", anonymous, &Flag).unwrap_or(auth.is_empty());
        if !anonymous && !t.has("auth") {
            t.fault("anonymous", "without auth plugins nobody else could pass");
        }
        let validation = t.given("validation", "Validation plugins: all must accept.", &checks).unwrap_or_default();
        let limits = List { of: record(Limit::read), least: 0 };
        let limits = t.given("limit", "Limits: all must have room.", &limits).unwrap_or_default();
        let size = OrFalse(Size(0..=1 << 40));
        let body_bytes = t.or("body", "The longest request body; `false`: any.", Some(10 << 20), &size);
        let total = "The longest from a request's head to the last byte of its answer; `false`: any, as each wait has its own bound.";
        let request_timeout = t.or("request_timeout", total, None, &OrFalse(TIMEOUT));
        let cors = "What scripts of other origins may do in a browser (CORS); absent: the service says.";
        let cors = t.given("cors", cors, &record(Cors::read));
        let repeatable = "Whether its requests may be sent twice where that helps, whatever their method.";
        let repeatable = t.or("repeatable", repeatable, false, &Flag);
        let found = Routing::read(t, services);
        let (routing, services) = found?;
        Some(Self {
            name: name?,
            hosts,
            paths,
            anonymous,
            auth,
            validation,
            routing,
            services,
            limits,
            body_bytes,
            request_timeout,
            cors,
            repeatable,
        })
    }
}

/// Reads the hosts and paths, each pair of which no other API may have.
fn prefixes(t: &mut Table<'_>) -> (Vec<String>, Vec<String>) {
    let about = "Authorities without a port; `*.example.org` takes all names below; empty: all. The most specific that has a path for the request comes first.";
    let hosts = t.or("hosts", about, vec![], &List { of: HOST, least: 0 });
    let about = "Path prefixes of whole segments. Of APIs of one host the longest that matches has the request; where none does, less specific hosts are asked.";
    let paths = t.or("paths", about, vec!["/".into()], &List { of: PATH, least: 1 });
    let everywhere = [String::from("*")];
    for host in if hosts.is_empty() { &everywhere } else { hosts.as_slice() } {
        for path in &paths {
            t.declare(Space::Prefix, &format!("{host}{path}"));
        }
    }
    (hosts, paths)
}

impl Routing {
    /// How the service is found, and which services it may be.
    fn read(t: &mut Table<'_>, all: &BTreeSet<Arc<str>>) -> Option<(Self, BTreeSet<Arc<str>>)> {
        let which = t.one_of(&["service", "routing"]);
        let service = t.given("service", "The service of all requests.", &SERVICE);
        let routing = t.given("routing", "The plugin that finds the service.", &record(Use::read));
        let services = "The services that the routing plugin may name. Default: all.";
        let services = t.given("services", services, &List { of: SERVICE, least: 1 });
        if which == Some("service") {
            if t.has("services") {
                t.fault("services", "only for a routing plugin");
            }
            let service = service?;
            return Some((Self::Service(Arc::clone(&service)), BTreeSet::from([service])));
        }
        let services = services.map_or_else(|| all.clone(), |services| services.into_iter().collect());
        Some((Self::Plugin(routing?), services))
    }
}

/// One use of a plugin: a stage of an API with one configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    /// The plugin's name: the file's without `.wasm`.
    pub plugin: Arc<str>,
    /// The settings as JSON text; `{}` where there are none.
    pub settings: Arc<str>,
    /// What happens when the plugin fails.
    pub on_failure: OnFailure,
}

/// A stage's failure mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// 503.
    Closed,
    /// The request goes on; validation only.
    Open,
}

impl Use {
    /// A use of a stage that must never let a request pass when its plugin fails.
    fn read(t: &mut Table<'_>) -> Option<Self> {
        let used = Self::read_validation(t);
        if used.as_ref().is_some_and(|used| used.on_failure == OnFailure::Open) {
            t.fault("on_failure", "only a validation plugin can fail open");
        }
        used
    }

    fn read_validation(t: &mut Table<'_>) -> Option<Self> {
        let modes = Words(&[("closed", OnFailure::Closed), ("open", OnFailure::Open)]);
        let meaning = "When the plugin fails: `closed`: 503; `open`: the request goes on (validation only).";
        let plugin = t.need("plugin", "The plugin: NAME.wasm in the plugins' folder.", &Name(Role::Outside));
        let settings = t.or("settings", "Handed to the plugin as JSON; dates become strings.", "{}".into(), &Settings);
        let on_failure = t.or("on_failure", meaning, OnFailure::Closed, &modes);
        Some(Self { plugin: plugin?, settings, on_failure })
    }
}
