//! What is said by header fields that frame a message or steer its connection.

use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{Bounds, Cleaned, Unclean};

/// The fields that count for what a head means, found in one pass.
pub(super) struct Seen<'a> {
    /// The one `host` field.
    pub(super) host: Option<&'a HeaderValue>,
    /// Whether there is a `connection` field.
    pub(super) connection: bool,
    /// How many `cookie` fields there are.
    pub(super) cookies: usize,
    version: Version,
    length: Option<&'a HeaderValue>,
    coding: Option<&'a HeaderValue>,
    authorization: Option<&'a HeaderValue>,
    media_type: Option<&'a HeaderValue>,
    upgrade: Option<&'a HeaderValue>,
    upgrade_named: bool,
}

impl<'a> Seen<'a> {
    /// Reads a head's fields.
    pub(super) fn read(headers: &'a HeaderMap, version: Version, bounds: &Bounds) -> Result<Self, Unclean> {
        if headers.len() > bounds.fields {
            return Err(Unclean::FieldsTooMany);
        }
        let mut seen = Self {
            host: None,
            connection: false,
            cookies: 0,
            version,
            length: None,
            coding: None,
            authorization: None,
            media_type: None,
            upgrade: None,
            upgrade_named: false,
        };
        let mut bytes = 0;
        for (name, value) in headers {
            // `: ` and the line's end.
            bytes += name.as_str().len() + value.len() + 4;
            seen.field(name, value)?;
        }
        if bytes > bounds.head_bytes {
            return Err(Unclean::FieldsTooLarge);
        }
        Ok(seen)
    }

    /// Takes note of one field.
    fn field(&mut self, name: &HeaderName, value: &'a HeaderValue) -> Result<(), Unclean> {
        match *name {
            header::HOST => once(&mut self.host, value, Unclean::HostSeveral)?,
            header::CONTENT_LENGTH => once(&mut self.length, value, Unclean::ContentLength)?,
            header::TRANSFER_ENCODING => once(&mut self.coding, value, Unclean::TransferEncoding)?,
            header::AUTHORIZATION => {
                once(&mut self.authorization, value, Unclean::FieldSeveral("authorization"))?;
            }
            header::CONTENT_TYPE => once(&mut self.media_type, value, Unclean::FieldSeveral("content-type"))?,
            header::UPGRADE => once(&mut self.upgrade, value, Unclean::FieldSeveral("upgrade"))?,
            header::COOKIE => self.cookies += 1,
            header::CONNECTION => {
                self.connection = true;
                self.upgrade_named |= tokens(value).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
            }
            header::EXPECT if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
                return Err(Unclean::Expectation);
            }
            _ => check_alias(name.as_str())?,
        }
        if self.version >= Version::HTTP_2 { check_http2(name, value) } else { Ok(()) }
    }

    /// Judges what the fields say together.
    pub(super) fn cleaned(&self) -> Result<Cleaned, Unclean> {
        if let Some(length) = self.length {
            check_length(length)?;
        }
        if let Some(coding) = self.coding {
            // hyper drops a length beside a coding; a head with both did not come through it.
            if self.version != Version::HTTP_11 || self.length.is_some() {
                return Err(Unclean::TransferEncoding);
            }
            check_coding(coding)?;
        }
        let Some(upgrade) = self.upgrade.filter(|_| self.upgrade_named && self.version == Version::HTTP_11) else {
            return Ok(Cleaned::Exchange);
        };
        // HTTP/2 without TLS is offered by clients that go on in HTTP/1.1 when nobody answers. Forwarded it would let
        // them speak to the service past the gateway.
        if tokens(upgrade)
            .any(|token| token.len() >= 3 && token.get(..3).is_some_and(|name| name.eq_ignore_ascii_case(b"h2c")))
        {
            return Ok(Cleaned::Exchange);
        }
        let body = self.coding.is_some() || self.length.is_some_and(|length| length.as_bytes() != b"0");
        if body { Err(Unclean::UpgradeBody) } else { Ok(Cleaned::Upgrade) }
    }
}

/// Keeps the only value of a field.
fn once<'a>(seen: &mut Option<&'a HeaderValue>, value: &'a HeaderValue, several: Unclean) -> Result<(), Unclean> {
    match seen.replace(value) {
        None => Ok(()),
        Some(_) => Err(several),
    }
}

/// Refuses names that services under CGI, and what copied it, take for a field that frames the message.
fn check_alias(name: &str) -> Result<(), Unclean> {
    let (framing, fault) = match name.len() {
        14 => ("content-length", Unclean::ContentLength),
        17 => ("transfer-encoding", Unclean::TransferEncoding),
        _ => return Ok(()),
    };
    let alike = |(byte, other): (u8, u8)| byte == other || (other == b'-' && !byte.is_ascii_alphanumeric());
    if name.bytes().zip(framing.bytes()).all(alike) { Err(fault) } else { Ok(()) }
}

/// A number has one spelling: zeros before it are octal to some.
fn check_length(value: &HeaderValue) -> Result<(), Unclean> {
    let digits = value.to_str().unwrap_or_default();
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if plain && digits.parse::<u64>().is_ok() { Ok(()) } else { Err(Unclean::ContentLength) }
}

fn check_coding(value: &HeaderValue) -> Result<(), Unclean> {
    if value.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let twice = tokens(value).filter(|coding| coding.eq_ignore_ascii_case(b"chunked")).count() > 1;
    let parts = tokens(value).filter(|coding| !coding.is_empty()).count();
    Err(if twice || parts < 2 { Unclean::TransferEncoding } else { Unclean::TransferCoding })
}

/// Takes one off the hops that `OPTIONS` may still go (RFC 9110, section 7.6.2), where they are counted.
pub(super) fn count_hop(headers: &mut HeaderMap) -> Result<(), Unclean> {
    let mut values = headers.get_all(header::MAX_FORWARDS).iter();
    let Some(value) = values.next() else { return Ok(()) };
    let digits = value.as_bytes();
    if values.next().is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Unclean::MaxForwards);
    }
    // More than we can count is more than enough.
    let hops = value.to_str().ok().and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX);
    let left = hops.checked_sub(1).ok_or(Unclean::LastHop)?;
    headers.insert(header::MAX_FORWARDS, left.into());
    Ok(())
}

/// HTTP/2 has no connection fields (RFC 9113, section 8.2.2) and no spaces around values (section 8.2.1).
fn check_http2(name: &HeaderName, value: &HeaderValue) -> Result<(), Unclean> {
    match *name {
        header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE => return Err(Unclean::ConnectionField),
        header::TE if value.as_bytes() != b"trailers" => return Err(Unclean::ConnectionField),
        _ if matches!(name.as_str(), "keep-alive" | "proxy-connection") => return Err(Unclean::ConnectionField),
        _ => {}
    }
    match value.as_bytes() {
        [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => Err(Unclean::FieldSpace),
        _ => Ok(()),
    }
}

/// Removes the fields that `Connection` names, but keeps those that it steers itself by.
pub(super) fn drop_named(headers: &mut HeaderMap) -> Result<(), Unclean> {
    let mut dropped = Vec::new();
    for token in named(headers) {
        let name = HeaderName::from_bytes(token).map_err(|_| Unclean::ConnectionNames)?;
        if is_for_every_recipient(name.as_str()) {
            return Err(Unclean::ConnectionNames);
        }
        dropped.push(name);
    }
    for name in dropped {
        headers.remove(name);
    }
    Ok(())
}

/// What `Connection` names beyond its own options.
pub(crate) fn named(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let is_option =
        |token: &&[u8]| token.is_empty() || STEERING.iter().any(|option| token.eq_ignore_ascii_case(option.as_bytes()));
    headers.get_all(header::CONNECTION).iter().flat_map(tokens).filter(move |token| !is_option(token))
}

/// Options of `Connection` that are no fields, or fields that are looked at again when the request is forwarded.
const STEERING: [&str; 7] =
    ["keep-alive", "close", "upgrade", "te", "http2-settings", "proxy-connection", "proxy-authorization"];

/// Whether a field must not be named by `Connection`: a sender that has it dropped on the way wants two readings of one
/// request (RFC 9110, section 7.6.1).
fn is_for_every_recipient(name: &str) -> bool {
    const NAMES: [&str; 17] = [
        "host",
        "transfer-encoding",
        "authorization",
        "cookie",
        "expect",
        "trailer",
        "date",
        "range",
        "origin",
        "cache-control",
        "max-forwards",
        "forwarded",
        "via",
        "x-real-ip",
        "x-request-id",
        "traceparent",
        "tracestate",
    ];
    NAMES.contains(&name) || name.starts_with("content-") || name.starts_with("x-forwarded-")
}

/// The members of a comma-separated list, without spaces around them; empty ones too.
pub(crate) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}
