//! Active health probes.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::json;

use super::SECOND;
use crate::config::groups::{List, OneOrMany};
use crate::config::kinds::{Count, Flag, Parsed, TIMEOUT};
use crate::config::table::Table;
use crate::config::texts;

/// A field and its value.
type Field = (HeaderName, HeaderValue);
/// The first and the last status of a range.
type Range = (u16, u16);

const TARGET: Parsed<String> =
    Parsed { what: "a target like `/healthz`", parse: texts::target, show: |target| json!(target) };
const HOST: Parsed<String> = Parsed { what: "a host", parse: host, show: |host| json!(host) };
const STATUSES: Parsed<Range> = Parsed {
    what: "a range like `200-299`",
    parse: texts::statuses,
    show: |(first, last)| json!(format!("{first}-{last}")),
};
const FIELD: Parsed<Field> =
    Parsed { what: "a field like `x-probe: yes`", parse: field, show: |(name, _)| json!(name.as_str()) };
const TEXT: Parsed<String> = Parsed { what: "a text", parse: text, show: |text| json!(text) };
const SERVICE: Parsed<String> = Parsed { what: "a service's name", parse: service, show: |name| json!(name) };

/// Active health probes.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// What is asked.
    pub kind: ProbeKind,
    /// Time between probes of one endpoint; each a tenth shorter or longer at most, so that they spread.
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
    /// `GET` is answered well.
    Http(HttpProbe),
    /// `grpc.health.v1.Health/Check` answers that it serves.
    Grpc {
        /// What is asked for; empty: the server as a whole.
        service: String,
        /// The authority; where nothing is said the service's name.
        host: String,
    },
}

/// What an HTTP probe asks and which answers are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// The target in origin form.
    pub path: String,
    /// The `Host` field; where nothing is said the service's name.
    pub host: String,
    /// Further fields.
    pub headers: Vec<Field>,
    /// The good statuses.
    pub status: Vec<Range>,
    /// What a good answer's body holds.
    pub body: Option<String>,
}

impl Probe {
    pub(super) fn read(t: &mut Table<'_>, service: &str) -> Option<Self> {
        let which = t.one_of(&["http", "tcp", "grpc"]);
        let http = HttpParts::read(t);
        let path = t.given("http", "`GET` of this target is answered well.", &TARGET);
        let about_host =
            "The `Host` field of an HTTP probe, the authority of a gRPC probe. Default: the service's name.";
        let host = t.given("host", about_host, &HOST).unwrap_or_else(|| service.to_owned());
        if t.given("tcp", "`true`: a connection opens.", &Flag) == Some(false) {
            t.fault("tcp", "only `true` says anything; leave `probe` out to have none");
        }
        let about_grpc = "`grpc.health.v1.Health/Check` says that this serves; empty: the server as a whole.";
        let asked = t.given("grpc", about_grpc, &SERVICE);
        let about_interval = "Time between probes of one endpoint, each up to a tenth shorter or longer.";
        let interval = t.or("interval", about_interval, SECOND * 5, &TIMEOUT);
        let timeout = t.or("timeout", "The longest one probe may take.", SECOND, &TIMEOUT);
        let rise = t.or("rise", "Successes in a row that make an endpoint healthy.", 2, &Count(1..=100));
        let fall = t.or("fall", "Failures in a row that make it unhealthy.", 3, &Count(1..=100));
        let only = |keys: &[&str], what: &str| {
            keys.iter().filter(|key| t.has(key)).for_each(|key| t.fault(key, format!("only for {what}")));
        };
        if which? != "http" {
            only(&HttpParts::KEYS, "an HTTP probe");
        }
        let kind = match which? {
            "http" => {
                let HttpParts { headers, status, body } = http;
                ProbeKind::Http(HttpProbe { path: path?, host, headers, status, body })
            }
            "grpc" => ProbeKind::Grpc { service: asked?, host },
            _ => {
                only(&["host"], "an HTTP or gRPC probe");
                ProbeKind::Tcp
            }
        };
        Some(Self { kind, interval, timeout, rise, fall })
    }
}

/// The keys that only an HTTP probe has.
struct HttpParts {
    headers: Vec<Field>,
    status: Vec<Range>,
    body: Option<String>,
}

impl HttpParts {
    const KEYS: [&str; 3] = ["headers", "status", "body"];

    fn read(t: &mut Table<'_>) -> Self {
        let fields = List { of: FIELD, least: 0 };
        let statuses = OneOrMany(List { of: STATUSES, least: 1 });
        Self {
            headers: t.or("headers", "Further fields of an HTTP probe, like `x-probe: yes`.", vec![], &fields),
            status: t.or("status", "The good statuses of an HTTP probe.", vec![(200, 299)], &statuses),
            body: t.given("body", "What the body of a good answer to an HTTP probe holds. Default: anything.", &TEXT),
        }
    }
}

/// Any value of `Host`: visible ASCII without what would end it.
fn host(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    match !text.is_empty() && text.bytes().all(good) {
        true => Ok(text.to_owned()),
        false => Err("not a host".into()),
    }
}

fn field(text: &str) -> Result<Field, String> {
    let fault = || "not a field like `x-probe: yes`".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(fault)?;
    let name: HeaderName = name.parse().map_err(|_| fault())?;
    if [http::header::HOST, http::header::CONNECTION, http::header::CONTENT_LENGTH].contains(&name) {
        return Err(format!("`{name}` is the gateway's own"));
    }
    Ok((name, value.trim().parse().map_err(|_| fault())?))
}

fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("every body holds nothing".into()) } else { Ok(text.to_owned()) }
}

fn service(text: &str) -> Result<String, String> {
    match text.len() <= 256 && text.chars().all(|character| character.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("not a service's name".into()),
    }
}
