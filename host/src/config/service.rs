//! `[service.NAME]`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::groups::{List, OrFalse, record};
use super::kinds::{Address, Count, Flag, Parsed, TIMEOUT};
use super::source::Space;
use super::table::{Kind, Node, Table};
use super::texts;

mod balance;

pub use balance::{Affinity, Balance};

const TARGET: Parsed<String> =
    Parsed { what: "a target like `/healthz`", parse: texts::target, show: |target| json!(target) };
const HOST: Parsed<String> = Parsed { what: "a host", parse: probe_host, show: |host| json!(host) };
const STATUSES: Parsed<(u16, u16)> = Parsed {
    what: "a range like `200-299`",
    parse: texts::statuses,
    show: |(first, last)| json!(format!("{first}-{last}")),
};

/// A service: endpoints and how to use them.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// At least one, all different.
    pub endpoints: Vec<Endpoint>,
    /// How an endpoint is picked.
    pub algorithm: Balance,
    /// The longest a connection may take to open.
    pub connect_timeout: Duration,
    /// The longest until the response begins.
    pub timeout: Duration,
    /// The longest a response body may pause.
    pub body_timeout: Duration,
    /// Idle connections kept per worker and endpoint.
    pub idle_connections: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// Active probes; `None`: an endpoint is taken for healthy until ejected.
    pub probe: Option<Probe>,
    /// Passive outlier ejection; `None`: off.
    pub ejection: Option<Ejection>,
    /// Requests in flight over all endpoints and workers.
    pub in_flight: usize,
    /// Further tries of a request that never left, each on another endpoint.
    pub retries: u32,
}

impl Service {
    pub(super) fn read(t: &mut Table<'_>) -> Option<Self> {
        let name = t.name();
        let list = List { of: AnyEndpoint { service: name }, least: 1 };
        let endpoints = t.need("endpoints", "Its addresses, each perhaps with a weight.", &list);
        let probe = record(|t| Probe::read(t, name));
        let ejection = OrFalse(record(|t| Some(Ejection::read(t))));
        let about_ejection = "When an endpoint that fails requests gets none for a while; `false`: never.";
        let retries = "Further tries of a request that never left, each on another endpoint.";
        let idle = "Idle connections kept per worker and endpoint.";
        Some(Self {
            name: name.into(),
            algorithm: Balance::read(t),
            connect_timeout: t.or(
                "connect_timeout",
                "The longest a connection may take to open.",
                SECOND * 2,
                &TIMEOUT,
            ),
            timeout: t.or("timeout", "The longest until the response begins.", SECOND * 30, &TIMEOUT),
            body_timeout: t.or("body_timeout", "The longest a response body may pause.", SECOND * 60, &TIMEOUT),
            idle_connections: t.or("idle_connections", idle, 64, &Count(0..=100_000)),
            idle_timeout: t.or("idle_timeout", "How long an idle connection is kept.", SECOND * 55, &TIMEOUT),
            probe: t.given("probe", "How endpoints are probed. Default: not at all.", &probe),
            ejection: t
                .given("ejection", about_ejection, &ejection)
                .unwrap_or_else(|| Some(Ejection::read(&mut t.absence()))),
            in_flight: t.or("in_flight", "The most requests at one time.", 10_000, &Count(1..=10_000_000)),
            retries: t.or("retries", retries, 2, &Count(0..=10)),
            endpoints: endpoints?,
        })
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// One address of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    /// Its share relative to the others', 1 to 1000.
    pub weight: u32,
}

/// An endpoint as people write it: an address, or a table with it.
struct AnyEndpoint<'s> {
    service: &'s str,
}

impl AnyEndpoint<'_> {
    fn table(&self, t: &mut Table<'_>) -> Option<Endpoint> {
        let address = t.need("address", "An IP address and a port.", &self.address());
        let weight = t.or("weight", "Its share relative to the others'.", 1, &Count(1..=1000));
        Some(Endpoint { address: address?, weight })
    }

    fn address(&self) -> Address<'_> {
        Address { space: Space::Endpoint, scope: self.service }
    }
}

impl Kind for AnyEndpoint<'_> {
    type Value = Endpoint;

    fn schema(&self) -> Json {
        json!({ "anyOf": [self.address().schema(), record(|t| self.table(t)).schema()] })
    }

    fn read(&self, node: &Node<'_>) -> Option<Endpoint> {
        match node.value {
            DeValue::Table(_) => record(|t| self.table(t)).read(node),
            _ => Some(Endpoint { address: self.address().read(node)?, weight: 1 }),
        }
    }
}

/// Active health probes.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// What is asked.
    pub kind: ProbeKind,
    /// Time between probes of one endpoint.
    pub interval: Duration,
    /// The longest one probe may take.
    pub timeout: Duration,
    /// Successes in a row that make an endpoint healthy.
    pub rise: u32,
    /// Failures in a row that make it unhealthy.
    pub fall: u32,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// A TCP connection opens.
    Tcp,
    /// `GET path` answers a status in `status`.
    Http {
        /// The target in origin form.
        path: String,
        /// The `Host` field; where nothing is said the service's name.
        host: String,
        /// The first and the last status that are good.
        status: (u16, u16),
    },
}

impl Probe {
    fn read(t: &mut Table<'_>, service: &str) -> Option<Self> {
        let which = t.one_of(&["http", "tcp"]);
        let path = t.given("http", "`GET` of this target answers a good status.", &TARGET);
        let host = t.given("host", "The `Host` field of an HTTP probe. Default: the service's name.", &HOST);
        let status = t.or("status", "The good statuses of an HTTP probe.", (200, 299), &STATUSES);
        if t.given("tcp", "`true`: a connection opens.", &Flag) == Some(false) {
            t.fault("tcp", "only `true` says anything; leave `probe` out to have none");
        }
        let interval = t.or("interval", "Time between probes of one endpoint.", SECOND * 5, &TIMEOUT);
        let timeout = t.or("timeout", "The longest one probe may take.", SECOND, &TIMEOUT);
        let rise = t.or("rise", "Successes in a row that make an endpoint healthy.", 2, &Count(1..=100));
        let fall = t.or("fall", "Failures in a row that make it unhealthy.", 3, &Count(1..=100));
        let kind = match which? {
            "http" => ProbeKind::Http { path: path?, host: host.unwrap_or_else(|| service.to_owned()), status },
            _ => {
                for key in ["host", "status"].into_iter().filter(|key| t.has(key)) {
                    t.fault(key, "only for an HTTP probe");
                }
                ProbeKind::Tcp
            }
        };
        Some(Self { kind, interval, timeout, rise, fall })
    }
}

/// Any value of `Host`: visible ASCII without what would end it.
fn probe_host(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    match !text.is_empty() && text.bytes().all(good) {
        true => Ok(text.to_owned()),
        false => Err("not a host".into()),
    }
}

/// Passive outlier ejection.
#[derive(Clone, Debug, PartialEq)]
pub struct Ejection {
    /// Failures in a row that eject.
    pub failures: u32,
    /// How long the first ejection lasts; each further one that much longer.
    pub time: Duration,
    /// The longest ejection, at least `time`.
    pub most_time: Duration,
    /// The most endpoints that may be ejected, in percent; never the last one.
    pub most_percent: u32,
}

impl Ejection {
    fn read(t: &mut Table<'_>) -> Self {
        let time = "How long the first ejection lasts; each further one that much longer.";
        let percent = "The most endpoints that may be ejected, in percent; never the last one.";
        let ejection = Self {
            failures: t.or("failures", "Failures in a row that eject.", 5, &Count(1..=1000)),
            time: t.or("time", time, SECOND * 10, &TIMEOUT),
            most_time: t.or("most_time", "The longest ejection.", SECOND * 300, &TIMEOUT),
            most_percent: t.or("most_percent", percent, 50, &Count(1..=100)),
        };
        if ejection.most_time < ejection.time {
            t.fault(if t.has("most_time") { "most_time" } else { "time" }, "`time` is longer than `most_time`");
        }
        ejection
    }
}
