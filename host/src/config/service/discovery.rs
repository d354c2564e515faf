//! Where a service's endpoints come from.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{AnyEndpoint, Endpoint, SECOND};
use crate::config::groups::{List, record};
use crate::config::kinds::{Address, Count, FILE, Parsed, TIMEOUT};
use crate::config::source::Space;
use crate::config::table::Table;

const NAME: Parsed<String> = Parsed { what: "a name like `orders.internal`", parse: name, show: |name| json!(name) };

/// Where a service's endpoints come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Endpoints {
    /// At least one, all different.
    Listed(Vec<Endpoint>),
    /// What a name means, asked again and again.
    Dns(Dns),
    /// What this file lists, as the configuration would; it is watched.
    File(PathBuf),
}

/// How a name is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Dns {
    /// What is asked for.
    pub question: DnsQuestion,
    /// Who is asked; empty: whom the system asks, with its file of hosts.
    pub servers: Vec<SocketAddr>,
    /// An answer is asked for again when its records' time is over, but not before this.
    pub least_time: Duration,
    /// And not after this.
    pub most_time: Duration,
    /// The longest one question may take.
    pub timeout: Duration,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsQuestion {
    /// The addresses of a name, each with this port.
    Addresses(String, u16),
    /// The records of a service: priorities are tiers.
    Services(String),
}

impl Endpoints {
    pub(super) fn read(t: &mut Table<'_>, service: &str) -> Option<Self> {
        let which = t.one_of(&["endpoints", "dns", "endpoints_file"]);
        let list = List { of: AnyEndpoint { service }, least: 1 };
        let listed = t.given("endpoints", "Its addresses, each perhaps with a weight.", &list);
        let about = "The name that its addresses are asked for by, again whenever the answer's time is over.";
        let dns = t.given("dns", about, &record(Dns::read));
        let about =
            "A watched file with `endpoints = [..]` as here; while it has faults, the endpoints stay as they are.";
        let file = t.given("endpoints_file", about, &FILE).map(|path| t.resolve(path));
        match which? {
            "dns" => dns.map(Self::Dns),
            "endpoints_file" => file.map(Self::File),
            _ => listed.map(Self::Listed),
        }
    }

    /// Those that the configuration lists itself.
    #[must_use]
    pub fn listed(&self) -> &[Endpoint] {
        match self {
            Self::Listed(endpoints) => endpoints,
            Self::Dns(_) | Self::File(_) => &[],
        }
    }
}

impl Dns {
    fn read(t: &mut Table<'_>) -> Option<Self> {
        let which = t.one_of(&["name", "srv"]);
        let of_name = t.given("name", "The name whose A and AAAA records are the addresses.", &NAME);
        let port = t.given("port", "The port of all addresses of `name`.", &Count(1..=65_535));
        let srv = t.given("srv", "The name whose SRV records are the endpoints; their priorities are tiers.", &NAME);
        let servers = List { of: Address { space: Space::Endpoint, scope: "dns" }, least: 0 };
        let least = "The soonest that an answer is asked for again, whatever its records say.";
        let most = "The latest that it is.";
        let dns = Self {
            servers: t.or("servers", "Whom to ask. Default: whom the system asks.", vec![], &servers),
            least_time: t.or("least_time", least, SECOND, &TIMEOUT),
            most_time: t.or("most_time", most, SECOND * 300, &TIMEOUT),
            timeout: t.or("timeout", "The longest that one question may take.", SECOND * 2, &TIMEOUT),
            question: match which? {
                "srv" => {
                    if t.has("port") {
                        t.fault("port", "only for `name`: SRV records have their ports");
                    }
                    DnsQuestion::Services(srv?)
                }
                _ => {
                    if port.is_none() && !t.has("port") {
                        t.fault("port", "missing");
                    }
                    DnsQuestion::Addresses(of_name?, port?)
                }
            },
        };
        if dns.most_time < dns.least_time {
            let key = if t.has("most_time") { "most_time" } else { "least_time" };
            t.fault(key, "`least_time` is longer than `most_time`");
        }
        Some(dns)
    }
}

/// Labels as hosts and services have them (RFC 1123, RFC 2782).
fn name(text: &str) -> Result<String, String> {
    let good = |label: &str| {
        let bytes = label.as_bytes();
        (1..=63).contains(&bytes.len()) && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
    };
    let labels = text.strip_suffix('.').unwrap_or(text);
    match labels.len() <= 253 && labels.split('.').all(good) {
        true => Ok(text.to_owned()),
        false => Err("not a name like `orders.internal`".into()),
    }
}
