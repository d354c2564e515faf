//! One spelling for every authority.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::{Scheme, Unclean};

/// Normalises an authority: lower case, the default port of `scheme` dropped, IPv6 addresses in their shortest form,
/// and no dot after the last label. What is clean already is not copied.
///
/// Names are letters, digits, `-`, `.`, `_` and `~`: what else RFC 3986 lets a name hold is in no host that exists.
///
/// # Errors
///
/// An empty host or label, user information, anything else in a name, an IPv6 address with a zone, a port that is not a
/// plain number from 1 to 65535.
pub fn authority(raw: &[u8], scheme: Scheme) -> Result<Cow<'_, str>, Unclean> {
    let text = std::str::from_utf8(raw).map_err(|_| Unclean::Authority)?;
    parse(text, scheme).ok_or_else(|| if text.contains('@') { Unclean::UserInformation } else { Unclean::Authority })
}

/// Whether an authority is a clean name or IPv4 address without a port, as most are. A no says nothing.
pub(super) fn is_clean_name(raw: &[u8]) -> bool {
    let mut before = b'.';
    for byte in raw {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => {}
            b'.' if before != b'.' => {}
            _ => return false,
        }
        before = *byte;
    }
    before != b'.'
}

fn parse(text: &str, scheme: Scheme) -> Option<Cow<'_, str>> {
    let (host, port) = if text.starts_with('[') {
        let (host, rest) = text.split_at(text.find(']')? + 1);
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        (ipv6(host)?, port)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (name(host)?, Some(port)),
            None => (name(text)?, None),
        }
    };
    let Some(digits) = port else { return Some(host) };
    match (host, number(digits)?) {
        (host, port) if port == scheme.default_port() => Some(host),
        (Cow::Borrowed(host), _) if host.len() + 1 + digits.len() == text.len() => Some(Cow::Borrowed(text)),
        (host, _) => Some(Cow::Owned([host.as_ref(), ":", digits].concat())),
    }
}

/// Takes a registered name or an IPv4 address.
fn name(host: &str) -> Option<Cow<'_, str>> {
    let mut before = b'.';
    let mut upper = false;
    for byte in host.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {}
            b'.' if before != b'.' => {}
            b'A'..=b'Z' => upper = true,
            _ => return None,
        }
        before = byte;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    match (host.is_empty(), upper) {
        (true, _) => None,
        (false, true) => Some(Cow::Owned(host.to_ascii_lowercase())),
        (false, false) => Some(Cow::Borrowed(host)),
    }
}

/// Takes an IPv6 address in brackets.
fn ipv6(host: &str) -> Option<Cow<'_, str>> {
    let address: Ipv6Addr = host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    let shortest = format!("[{address}]");
    Some(if shortest == host { Cow::Borrowed(host) } else { Cow::Owned(shortest) })
}

/// Takes a port without a sign or zeros before it.
fn number(digits: &str) -> Option<u16> {
    let plain = matches!(digits.as_bytes(), [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit));
    if plain { digits.parse().ok() } else { None }
}
