//! How a service's endpoints are picked.

use std::time::Duration;

use http::HeaderName;
use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::SECOND;
use crate::config::groups::record;
use crate::config::kinds::{Parsed, TIMEOUT, Words};
use crate::config::table::{Kind, Node, Table};

const HEADER: Parsed<HeaderName> = Parsed { what: "a field's name", parse: header, show: |name| json!(name.as_str()) };
const COOKIE: Parsed<Box<str>> = Parsed { what: "a cookie's name", parse: cookie, show: |name| json!(name) };

/// How an endpoint is picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Power of two choices on requests in flight.
    LeastBusy,
    /// At random, by weight.
    Random,
    /// Power of two choices on the time to a response's head and requests in flight.
    PeakEwma {
        /// How long a slow response is remembered.
        decay: Duration,
    },
    /// Consistent hashing.
    Maglev {
        /// What is hashed where the routing plugin gives no key; `None`: such requests go at random.
        affinity: Option<Affinity>,
    },
}

/// What alike requests have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// The client's address.
    Address,
    /// The value of this field.
    Header(HeaderName),
    /// The value of this cookie.
    Cookie(Box<str>),
}

/// The algorithms by their names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    RoundRobin,
    LeastBusy,
    Random,
    PeakEwma,
    Maglev,
}

const ALGORITHMS: Words<Algorithm> = Words(&[
    ("round-robin", Algorithm::RoundRobin),
    ("least-busy", Algorithm::LeastBusy),
    ("random", Algorithm::Random),
    ("peak-ewma", Algorithm::PeakEwma),
    ("maglev", Algorithm::Maglev),
]);

impl Balance {
    pub(super) fn read(t: &mut Table<'_>) -> Self {
        let about_decay = "How long `peak-ewma` remembers a slow response. Default: 10s.";
        let about_affinity = "What `maglev` keeps at one endpoint where the routing plugin gives no key.";
        let algorithm = t.or("balance", "How an endpoint is picked.", Algorithm::RoundRobin, &ALGORITHMS);
        let decay = t.given("decay", about_decay, &TIMEOUT).unwrap_or(SECOND * 10);
        let affinity = t.given("affinity", about_affinity, &AnyAffinity);
        for (key, of, name) in [("decay", Algorithm::PeakEwma, "peak-ewma"), ("affinity", Algorithm::Maglev, "maglev")]
        {
            if t.has(key) && algorithm != of {
                t.fault(key, format!("only with `balance = \"{name}\"`"));
            }
        }
        match algorithm {
            Algorithm::RoundRobin => Self::RoundRobin,
            Algorithm::LeastBusy => Self::LeastBusy,
            Algorithm::Random => Self::Random,
            Algorithm::PeakEwma => Self::PeakEwma { decay },
            Algorithm::Maglev => Self::Maglev { affinity },
        }
    }
}

/// An affinity as people write it: `"address"`, or a table with a name.
struct AnyAffinity;

const ADDRESS: Words<()> = Words(&[("address", ())]);

impl AnyAffinity {
    fn table(t: &mut Table<'_>) -> Option<Affinity> {
        let which = t.one_of(&["header", "cookie"]);
        let header = t.given("header", "The field whose value is the key.", &HEADER);
        let cookie = t.given("cookie", "The cookie whose value is the key.", &COOKIE);
        match which? {
            "header" => header.map(Affinity::Header),
            _ => cookie.map(Affinity::Cookie),
        }
    }
}

impl Kind for AnyAffinity {
    type Value = Affinity;

    fn schema(&self) -> Json {
        json!({ "anyOf": [ADDRESS.schema(), record(Self::table).schema()] })
    }

    fn read(&self, node: &Node<'_>) -> Option<Affinity> {
        match node.value {
            DeValue::Table(_) => record(Self::table).read(node),
            _ => ADDRESS.read(node).map(|()| Affinity::Address),
        }
    }
}

fn header(text: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(text).map_err(|_| "not a field's name".into())
}

/// A token (RFC 6265, section 4.1.1).
fn cookie(text: &str) -> Result<Box<str>, String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !text.is_empty() && text.bytes().all(token) {
        true => Ok(text.into()),
        false => Err("not a cookie's name".into()),
    }
}
