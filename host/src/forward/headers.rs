//! What is done to header fields on the way to a service and back.
//!
//! In the order of the path: [`is_loop`] finds requests that go round, [`Peer::client`] says who is calling,
//! [`Peer::request_id`] which id the request has and [`Trace::of`] which trace it belongs to, [`Stripped::remove`] takes off what only plugins and the gateway may
//! set, [`may_edit`] says what a plugin may change, and [`to_service`], [`to_client`], [`to_http2`] and [`trailers`] drop what was
//! meant for one connection and say where a message came through.

use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::clean::{named, tokens};

mod edits;
mod stripped;
#[cfg(test)]
mod tests;
mod trace;
mod trust;

pub use edits::{Way, may_edit};
pub use stripped::Stripped;
pub use trace::{Trace, hex, join};
pub use trust::{Client, Peer};

/// The id of a request, in requests to services and in every answer.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The name under which every gateway appears in `via`.
const PSEUDONYM: &[u8] = b"gatewright";

/// Gateways that a request may have come through; one more is taken for a loop. Enough for an edge, a region and a
/// mesh.
const MOST_GATEWAYS: usize = 4;

/// How a request goes on to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onward {
    /// As a request of HTTP/1.1.
    Http1,
    /// As a request of HTTP/2.
    Http2,
    /// As a request of HTTP/1.1 for another protocol, which its `upgrade` field names.
    Upgrade,
}

/// What the fields of a request to a service are made of.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// The other end of the client's connection.
    pub peer: &'a Peer,
    /// Who is calling.
    pub client: &'a Client,
    /// The version in which the request came.
    pub version: Version,
    /// The id of the request, from [`Peer::request_id`] or fresh.
    pub request_id: &'a HeaderValue,
    /// Where it is in its trace; none: that is not the gateway's to say.
    pub trace: Option<&'a Trace>,
    /// How it goes on.
    pub onward: Onward,
}

/// Makes a clean request's fields those for the service.
///
/// Drops connection fields, `proxy-authorization`, `proxy` (a service under CGI takes it for its proxy) and `expect`,
/// which the gateway has met itself; `te: trailers` stays. What `Connection` named went when the request was cleaned,
/// so that a client cannot have a field dropped that was set since. Sets `x-forwarded-for`, `-proto` and `-host`,
/// `forwarded`, `via`, `x-request-id` and `traceparent`.
pub fn to_service(headers: &mut HeaderMap, passage: &Passage<'_>) {
    let found = Connection::find(headers);
    let trailers = found.has(Connection::TE) && wants_trailers(headers);
    let kept = if passage.onward == Onward::Upgrade { Connection::UPGRADE } else { 0 };
    found.remove(headers, kept);
    // `forwarded`, `via`, the id, the trace, three `x-forwarded-*`, and `te` or `upgrade` with `connection`.
    headers.reserve(9);
    match passage.onward {
        Onward::Upgrade => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        Onward::Http1 if trailers => {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        Onward::Http2 if trailers => {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        Onward::Http1 | Onward::Http2 => {}
    }
    trust::set_forwarding(headers, passage.peer, passage.client);
    headers.insert(&REQUEST_ID, passage.request_id.clone());
    if let Some(trace) = passage.trace {
        trace.set(headers);
    }
    headers.append(header::VIA, via(passage.version));
}

/// Makes a service's response fields those for the client: drops connection fields and what `Connection` names, and
/// says `via`. `version` is that of the response; of an accepted upgrade (101) `upgrade` and `connection` stay.
pub fn to_client(headers: &mut HeaderMap, version: Version, upgraded: bool) {
    let found = Connection::find(headers);
    if found.has(Connection::CONNECTION) {
        drop_named(headers);
    }
    let kept = if upgraded { Connection::UPGRADE } else { 0 };
    found.remove(headers, kept | Connection::REQUEST);
    if upgraded {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    headers.append(header::VIA, via(version));
}

/// Drops what HTTP/2 has no fields for (RFC 9113, section 8.2.2), and what `Connection` names, of a response that goes out in it.
pub fn to_http2(headers: &mut HeaderMap) {
    let found = Connection::find(headers);
    if found.has(Connection::CONNECTION) {
        drop_named(headers);
    }
    found.remove(headers, !Connection::HTTP1);
}

/// Drops trailer fields that a recipient might merge into a head although they frame, route or authenticate a message
/// (RFC 9110, section 6.5.1). [`Stripped::remove`] does the same for what plugins and the gateway set.
pub fn trailers(fields: &mut HeaderMap) {
    let refused = |name: &HeaderName| {
        Connection::of(name) != 0
            || matches!(
                *name,
                header::HOST
                    | header::AUTHORIZATION
                    | header::COOKIE
                    | header::SET_COOKIE
                    | header::TRAILER
                    | header::CACHE_CONTROL
                    | header::RANGE
                    | header::VIA
                    | header::AGE
                    | header::LOCATION
                    | header::WWW_AUTHENTICATE
            )
            || name.as_str().starts_with("content-")
    };
    let refused: Vec<HeaderName> = fields.keys().filter(|name| refused(name)).cloned().collect();
    for name in refused {
        fields.remove(name);
    }
}

/// Whether a request has come through so many gateways that it must be going round.
pub fn is_loop(headers: &HeaderMap) -> bool {
    let is_ours = |hop: &&[u8]| {
        let mut words = hop.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|name| name.eq_ignore_ascii_case(PSEUDONYM))
    };
    headers.contains_key(header::VIA)
        && headers.get_all(header::VIA).iter().flat_map(tokens).filter(is_ours).count() >= MOST_GATEWAYS
}

fn via(version: Version) -> HeaderValue {
    // Statics are checked when this is compiled, not once per message.
    static HTTP_10: HeaderValue = HeaderValue::from_static("1.0 gatewright");
    static HTTP_11: HeaderValue = HeaderValue::from_static("1.1 gatewright");
    static HTTP_2: HeaderValue = HeaderValue::from_static("2.0 gatewright");
    match version {
        Version::HTTP_2 => HTTP_2.clone(),
        Version::HTTP_10 => HTTP_10.clone(),
        _ => HTTP_11.clone(),
    }
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().flat_map(tokens).any(|token| token.eq_ignore_ascii_case(b"trailers"))
}

/// Drops what a response's `Connection` names, but no field without which the response would be another one.
fn drop_named(headers: &mut HeaderMap) {
    let mut dropped = Vec::new();
    for token in named(headers) {
        let Ok(name) = HeaderName::from_bytes(token) else { continue };
        let essential = matches!(
            name,
            header::SET_COOKIE
                | header::DATE
                | header::CACHE_CONTROL
                | header::VARY
                | header::LOCATION
                | header::WWW_AUTHENTICATE
                | header::VIA
        );
        if !essential && !name.as_str().starts_with("content-") {
            dropped.push(name);
        }
    }
    for name in dropped {
        headers.remove(name);
    }
}

/// A set of fields that are meant for one connection or one proxy, by their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Connection(u16);

impl Connection {
    const CONNECTION: u16 = 1;
    const TE: u16 = 1 << 1;
    const UPGRADE: u16 = 1 << 2;
    const EXPECT: u16 = 1 << 3;
    const PROXY: u16 = 1 << 4;
    const TRANSFER_ENCODING: u16 = 1 << 6;
    const KEEP_ALIVE: u16 = 1 << 8;
    const PROXY_CONNECTION: u16 = 1 << 9;
    /// Fields that responses of HTTP/2 never have.
    const HTTP1: u16 = Self::CONNECTION
        | Self::TE
        | Self::UPGRADE
        | Self::TRANSFER_ENCODING
        | Self::KEEP_ALIVE
        | Self::PROXY_CONNECTION;
    /// Fields that have no such meaning in a response.
    const REQUEST: u16 = Self::EXPECT | Self::PROXY;

    /// Every field of the kind, in the order of the bits.
    fn names() -> &'static [HeaderName] {
        static NAMES: [HeaderName; 12] = [
            header::CONNECTION,
            header::TE,
            header::UPGRADE,
            header::EXPECT,
            HeaderName::from_static("proxy"),
            header::PROXY_AUTHENTICATE,
            header::TRANSFER_ENCODING,
            header::PROXY_AUTHORIZATION,
            HeaderName::from_static("keep-alive"),
            HeaderName::from_static("proxy-connection"),
            HeaderName::from_static("http2-settings"),
            HeaderName::from_static("proxy-authentication-info"),
        ];
        &NAMES
    }

    /// The bit of a field; 0 for a field that goes all the way.
    fn of(name: &HeaderName) -> u16 {
        match *name {
            header::CONNECTION => Self::CONNECTION,
            header::TE => Self::TE,
            header::UPGRADE => Self::UPGRADE,
            header::EXPECT => Self::EXPECT,
            header::PROXY_AUTHENTICATE => 1 << 5,
            header::TRANSFER_ENCODING => Self::TRANSFER_ENCODING,
            header::PROXY_AUTHORIZATION => 1 << 7,
            _ => match name.as_str() {
                "proxy" => Self::PROXY,
                "keep-alive" => Self::KEEP_ALIVE,
                "proxy-connection" => Self::PROXY_CONNECTION,
                "http2-settings" => 1 << 10,
                "proxy-authentication-info" => 1 << 11,
                _ => 0,
            },
        }
    }

    /// Finds those that are there.
    fn find(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |found, name| found | Self::of(name)))
    }

    fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }

    /// Removes those that were found, except the bits in `kept`.
    fn remove(self, headers: &mut HeaderMap, kept: u16) {
        let mut left = self.0 & !kept;
        while left != 0 {
            if let Some(name) = Self::names().get(left.trailing_zeros() as usize) {
                headers.remove(name);
            }
            left &= left - 1;
        }
    }
}
