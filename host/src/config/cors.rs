//! `[api.cors]`.

use std::time::Duration;

use serde_json::json;

use super::groups::List;
use super::kinds::{Flag, Parsed, SPAN};
use super::table::Table;
use super::texts;

const ORIGIN: Parsed<Origin> =
    Parsed { what: "an origin like `https://shop.example`", parse: Origin::parse, show: |_| json!(null) };
const METHOD: Parsed<String> = Parsed { what: "a method", parse: texts::method, show: |method| json!(method) };
const FIELD: Parsed<String> = Parsed { what: "a field's name", parse: texts::field_name, show: |name| json!(name) };

/// What scripts of other origins may do with an API, as browsers ask for it (the Fetch standard calls it CORS).
#[derive(Clone, Debug, PartialEq)]
pub struct Cors {
    /// Whose scripts may: at least one; [`Origin::Any`] stands alone.
    pub origins: Vec<Origin>,
    /// The methods that scripts may use; `*` is any.
    pub methods: Vec<String>,
    /// The request fields that scripts may set beyond those that are always allowed, in lower case; `*` is any but
    /// `authorization`.
    pub headers: Vec<String>,
    /// The response fields that scripts may read beyond those that they always may, in lower case; `*` is any.
    pub expose: Vec<String>,
    /// Whether cookies and other credentials of the browser's go along. Then there is no `*` anywhere.
    pub credentials: bool,
    /// How long a browser may remember what it was told.
    pub max_age: Duration,
}

/// Whose scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Everybody's.
    Any,
    /// Those of one origin, in lower case, as browsers write it.
    Exact(String),
    /// Those of every name below one: `https://*.shop.example:8443` is `https://` and `.shop.example:8443`.
    Below(String, String),
}

impl Cors {
    pub(super) fn read(t: &mut Table<'_>) -> Option<Self> {
        let about =
            "Whose scripts may: `https://shop.example`, `https://*.shop.example` for all names below, or `*` alone.";
        let origins = t.need("origins", about, &List { of: ORIGIN, least: 1 });
        let usual = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].map(String::from).to_vec();
        let methods = t.or("methods", "The methods that scripts may use.", usual, &List { of: METHOD, least: 1 });
        let fields = || List { of: FIELD, least: 0 };
        let usual = ["authorization", "content-type"].map(String::from).to_vec();
        let headers = t.or("headers", "The request fields that scripts may set.", usual, &fields());
        let about = "The response fields that scripts may read beyond the simple ones.";
        let expose = t.or("expose", about, vec![], &fields());
        let about = "Whether the browser's cookies and other credentials go along; then nothing may be `*`.";
        let credentials = t.or("credentials", about, false, &Flag);
        let about = "How long a browser may remember what it was told; browsers have bounds of their own.";
        let max_age = t.or("max_age", about, Duration::from_mins(10), &SPAN);
        let origins = origins?;
        let any = origins.contains(&Origin::Any);
        if any && origins.len() > 1 {
            t.fault("origins", "`*` is everybody: it stands alone");
        }
        let stars = |list: &[String]| list.iter().any(|name| name == "*");
        for (key, starred) in
            [("origins", any), ("methods", stars(&methods)), ("headers", stars(&headers)), ("expose", stars(&expose))]
        {
            if credentials && starred {
                t.fault(key, "with `credentials` a browser takes no `*`: name them");
            }
        }
        Some(Self { origins, methods, headers, expose, credentials, max_age })
    }
}

impl Origin {
    /// Reads an origin as browsers write it, one with `*.` in front of its name, or `*`.
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = "not an origin like `https://shop.example`";
        match text {
            "*" => return Ok(Self::Any),
            "null" => return Err("`null` is what sandboxed documents of anybody are from".into()),
            _ => {}
        }
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://").ok_or(wrong)?;
        let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_lowercase()) || !scheme.bytes().all(in_scheme) {
            return Err(wrong.into());
        }
        if authority.contains(['/', '?', '#']) {
            return Err("an origin ends before the path, without a `/`".into());
        }
        if authority.strip_prefix("*.").unwrap_or(authority).contains('*') {
            return Err("`*` stands alone, or as `*.` in front of a name".into());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let end = port.map_or(Ok(String::new()), |port| port_of(scheme, port))?;
        let host = texts::host(host).map_err(|_| wrong)?;
        Ok(match host.strip_prefix('*') {
            Some(below) => Self::Below(format!("{scheme}://"), format!("{below}{end}")),
            None => Self::Exact(format!("{scheme}://{host}{end}")),
        })
    }
}

/// The end of an origin with a port of its own.
fn port_of(scheme: &str, port: &str) -> Result<String, String> {
    match (scheme, port) {
        ("http", "80") | ("https", "443") => Err("browsers leave the scheme's own port out".into()),
        _ if texts::digits(port) && !port.starts_with('0') && port.parse::<u16>().is_ok() => Ok(format!(":{port}")),
        _ => Err("a port is from 1 to 65535".into()),
    }
}
