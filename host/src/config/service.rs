//! `[service.NAME]`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::groups::{List, OrFalse, record};
use super::kinds::{Address, Count, Flag, SPAN, TIMEOUT};
use super::source::Space;
use super::table::{Kind, Node, Table};

mod balance;
mod discovery;
mod ejection;
mod failure;
mod probe;
mod retry;
mod tls;

pub use balance::{Affinity, Balance};
pub use discovery::{Dns, DnsQuestion, Endpoints};
pub use ejection::Ejection;
pub use failure::FailureKind;
pub use probe::{HttpProbe, Probe, ProbeKind};
pub use retry::Retry;
pub use tls::ServiceTls;

/// A service: endpoints and how to use them.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Where its endpoints come from.
    pub endpoints: Endpoints,
    /// How an endpoint is picked.
    pub algorithm: Balance,
    /// The longest a connection may take to open.
    pub connect_timeout: Duration,
    /// The longest until the response begins.
    pub timeout: Duration,
    /// The longest a response body may pause.
    pub body_timeout: Duration,
    /// The longest that an upgraded connection may be silent both ways.
    pub upgrade_timeout: Duration,
    /// Its TLS; `None`: it is spoken to in clear.
    pub tls: Option<ServiceTls>,
    /// Whether it is spoken to in HTTP/2: as agreed on in the handshake of TLS, and with prior knowledge in clear.
    pub http2: bool,
    /// Pings on its connections of HTTP/2; `None`: none are sent.
    pub http2_ping: Option<Ping>,
    /// Whether its interim responses (1xx) are passed on to clients.
    pub interim_responses: bool,
    /// Idle connections kept per worker and endpoint.
    pub idle_connections: usize,
    /// Connections opened per worker to an endpoint that is new or comes back, no more than are kept idle; with HTTP/2 one.
    pub warm: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// How old a connection may be that takes another request.
    pub connection_lifetime: Duration,
    /// Active probes; `None`: an endpoint is taken for healthy until ejected.
    pub probe: Option<Probe>,
    /// Passive outlier ejection; `None`: off.
    pub ejection: Option<Ejection>,
    /// How long an endpoint that comes back or is new gets fewer requests than its weight says; zero: it gets all at once.
    pub slow_start: Duration,
    /// As long as this part of a tier is healthy, by weight and in percent, it gets all requests; below, the next tier gets the
    /// more the fewer are left.
    pub enough_percent: u32,
    /// Requests in flight over all endpoints and workers.
    pub in_flight: usize,
    /// Connections over all endpoints and workers, idle and upgraded ones too.
    pub connections: usize,
    /// Requests over all workers that wait while a connection is opened, or for one to come free.
    pub pending: usize,
    /// Further tries; `None`: each request is tried once.
    pub retry: Option<Retry>,
}

impl Service {
    pub(super) fn read(t: &mut Table<'_>) -> Option<Self> {
        let name = t.name();
        let endpoints = Endpoints::read(t, name);
        let probe = record(|t| Probe::read(t, name));
        let ejection = OrFalse(record(|t| Some(Ejection::read(t))));
        let about_ejection = "When an endpoint that fails requests gets none for a while. Left out, it is on with its own defaults; `false`: never.";
        let about_start =
            "How long the share of an endpoint that comes back or is new grows; `0s`: it has all of it at once.";
        let about_enough =
            "Where less of a tier is healthy than this, in percent, the next tier gets a part of the requests.";
        let upgrade = "The longest that an upgraded connection (WebSocket) may be silent both ways.";
        let retry = OrFalse(record(|t| Some(Retry::read(t))));
        let about_retry = "When a request is tried again, on another endpoint. Left out, it is on with its own defaults; `false`: never.";
        let http2 = "Whether it is spoken to in HTTP/2: with TLS if it agrees, without with prior knowledge; upgrades go in HTTP/1.1.";
        let http2 = t.or("http2", http2, false, &Flag);
        let http2_ping = Ping::read(t, http2);
        let interim =
            "Whether its interim responses (`103 Early Hints`) are passed on to clients of HTTP/1.1 and HTTP/2.";
        let tls = "Its TLS: who it must be, and who we are to it. Default: it is spoken to in clear.";
        let tls = t.given("tls", tls, &record(|t| ServiceTls::read(t, name)));
        let probe = t.given("probe", "How endpoints are probed. Default: not at all.", &probe);
        let connections = "The most connections over all endpoints and workers, idle and upgraded ones too.";
        let pending = "The most requests that wait for a connection, over all workers: while it is opened, or for one to come free.";
        let idle = "Idle connections kept per worker and endpoint.";
        let idle_connections = t.or("idle_connections", idle, 64, &Count(0..=100_000));
        let warm =
            "Connections opened per worker, before requests need them, to an endpoint that is new or comes back.";
        let warm = t.or("warm", warm, 0, &Count(0..=1000));
        if warm > idle_connections {
            t.fault("warm", format!("more than `idle_connections`, {idle_connections}"));
        }
        let about_lifetime =
            "How old a connection may be that takes another request; those that it has go on to their end.";
        let algorithm = Balance::read(t);
        let slow_start = t.or("slow_start", about_start, Duration::ZERO, &SPAN);
        if !slow_start.is_zero() && matches!(algorithm, Balance::Maglev { .. }) {
            t.fault("slow_start", "not with `balance = \"maglev\"`: keys would move twice");
        }
        Some(Self {
            name: name.into(),
            algorithm,
            connect_timeout: t.or(
                "connect_timeout",
                "The longest a connection may take to open.",
                SECOND * 2,
                &TIMEOUT,
            ),
            timeout: t.or("timeout", "The longest until the response begins.", SECOND * 30, &TIMEOUT),
            body_timeout: t.or("body_timeout", "The longest a response body may pause.", SECOND * 60, &TIMEOUT),
            upgrade_timeout: t.or("upgrade_timeout", upgrade, SECOND * 300, &TIMEOUT),
            http2,
            http2_ping,
            interim_responses: t.or("interim_responses", interim, false, &Flag),
            idle_connections,
            warm,
            idle_timeout: t.or("idle_timeout", "How long an idle connection is kept.", SECOND * 55, &TIMEOUT),
            connection_lifetime: t.or("connection_lifetime", about_lifetime, SECOND * 3600, &TIMEOUT),
            probe,
            tls,
            ejection: t
                .given("ejection", about_ejection, &ejection)
                .unwrap_or_else(|| Some(Ejection::read(&mut t.absence()))),
            slow_start,
            enough_percent: t.or("enough_percent", about_enough, 70, &Count(1..=100)),
            in_flight: t.or("in_flight", "The most requests at one time.", 10_000, &Count(1..=10_000_000)),
            connections: t.or("connections", connections, 10_000, &Count(1..=10_000_000)),
            pending: t.or("pending", pending, 1024, &Count(1..=10_000_000)),
            retry: t.given("retry", about_retry, &retry).unwrap_or_else(|| Some(Retry::read(&mut t.absence()))),
            endpoints: endpoints?,
        })
    }

    /// Whether a response of this status is a failure of its endpoint; where nothing is ejected, so that it is counted.
    #[must_use]
    pub fn is_failure(&self, status: u16) -> bool {
        let on = self.ejection.as_ref().map_or(&ejection::ON[..], |rule| &rule.on);
        on.iter().any(|on| on.is_status(status))
    }
}

/// How a connection of HTTP/2 that has gone silent is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Sent after so long without a frame from the service.
    pub after: Duration,
    /// The connection is closed where no frame follows within this.
    pub timeout: Duration,
}

impl Ping {
    fn read(t: &mut Table<'_>, http2: bool) -> Option<Self> {
        let after = "A ping is sent on a connection of HTTP/2 that has been silent for so long; `0s`: never.";
        let after = t.or("http2_ping", after, Duration::ZERO, &SPAN);
        let timeout = "The connection is closed where nothing comes within this after a ping.";
        let timeout = t.or("http2_ping_timeout", timeout, SECOND * 5, &TIMEOUT);
        if !after.is_zero() && !http2 {
            t.fault("http2_ping", "only with `http2 = true`");
        }
        (!after.is_zero()).then_some(Self { after, timeout })
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// One address of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    /// Its share relative to the others' of its tier, 1 to 1000.
    pub weight: u32,
    /// Which tier it is of, from 1 on: a later one gets requests where too few endpoints of the earlier ones are left.
    pub tier: u32,
}

/// The `endpoints` of a file that lists nothing else.
pub(super) fn listed(t: &mut Table<'_>, service: &str) -> Option<Vec<Endpoint>> {
    let list = List { of: AnyEndpoint { service }, least: 1 };
    t.need("endpoints", "Its addresses, each perhaps with a weight.", &list)
}

/// An endpoint as people write it: an address, or a table with it.
struct AnyEndpoint<'s> {
    service: &'s str,
}

impl AnyEndpoint<'_> {
    fn table(&self, t: &mut Table<'_>) -> Option<Endpoint> {
        let address = t.need("address", "An IP address and a port.", &self.address());
        let weight = t.or("weight", "Its share relative to the others' of its tier.", 1, &Count(1..=1000));
        let about_tier =
            "Its tier: 2 gets requests where too few endpoints of 1 are left (`enough_percent`), and so on.";
        let tier = t.or("tier", about_tier, 1, &Count(1..=10));
        Some(Endpoint { address: address?, weight, tier })
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
            _ => Some(Endpoint { address: self.address().read(node)?, weight: 1, tier: 1 }),
        }
    }
}
