//! A request's head, from what hyper makes of it to what its service is told.
//!
//! ```text
//! 1t GET /a/../b?c HTTP-version 1 (or 0, 2), from a trusted peer (or u: another), a method and a target
//! host: shop.example
//! ```

use std::net::{IpAddr, Ipv4Addr};

use gatewright::clean::{Bounds, Cleaned, Scheme, head};
use gatewright::config::{self, Cidr};
use gatewright::forward::headers::{self, Onward, Passage, Peer, Trace};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::strict;

const BOUNDS: Bounds = Bounds { fields: 50, head_bytes: 4096, target_bytes: 1024 };
/// Of a head that was cleaned: a target's authority has become a field.
const BOUNDS_AGAIN: Bounds = Bounds { fields: 51, head_bytes: 4096 + 4096, target_bytes: 1024 };
const TRUSTED: [Cidr; 1] = [Cidr { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), bits: 8 }];
/// The gateway as a trusted peer of the next one.
const OURS: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);

/// Tries bytes as a head.
///
/// # Panics
/// Something does not hold.
pub fn hold(bytes: &[u8]) {
    let Some((mut parts, trusted)) = parts(bytes) else { return };
    let Ok(cleaned) = head(&mut parts, Scheme::Http, &BOUNDS) else { return };
    is_clean_again(&parts, cleaned);
    // Of `forwarded` without a `proto`, what `x-forwarded-proto` said beside it does not go on in it.
    let contradicts = ["forwarded", "x-forwarded-proto"].iter().all(|name| parts.headers.contains_key(*name));
    let address = if trusted { [10, 0, 0, 1] } else { [192, 0, 2, 9] };
    let peer = Peer::new(address.into(), Scheme::Http, &TRUSTED);
    let client = peer.client(&parts.headers, &TRUSTED);
    assert!(trusted || client.address == peer.address, "nobody else is believed");
    let id = peer.request_id(&parts.headers).unwrap_or(HeaderValue::from_static("0123456789abcdef0123456789abcdef"));
    let trace = Trace::of(&parts.headers, config::Trace::Continue, &id, || 7);
    let onward = if cleaned == Cleaned::Upgrade { Onward::Upgrade } else { Onward::Http1 };
    let (peer, client) = (&peer, &client);
    let passage = Passage { peer, client, version: parts.version, request_id: &id, trace: trace.as_ref(), onward };
    headers::to_service(&mut parts.headers, &passage);
    is_strict(&parts);
    let next = Peer::new(OURS.into(), Scheme::Http, &TRUSTED);
    let same = |parts: &Parts, what| {
        let again = next.client(&parts.headers, &TRUSTED);
        assert_eq!((again.address, again.scheme), (client.address, client.scheme), "{what}: {:?}", parts.headers);
    };
    same(&parts, "x-forwarded-for");
    if contradicts {
        return;
    }
    parts.headers.remove("x-forwarded-for");
    same(&parts, "forwarded");
    parts.headers.remove("x-forwarded-proto");
    same(&parts, "forwarded's proto");
}

/// What hyper would hand over.
fn parts(bytes: &[u8]) -> Option<(Parts, bool)> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let [version, trust, b' ', line @ ..] = lines.next()? else { return None };
    let version = match version {
        b'0' => Version::HTTP_10,
        b'2' => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (method, target) = line.split_at(space);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method).ok()?;
    *request.uri_mut() = Uri::try_from(target.get(1..)?).ok()?;
    *request.version_mut() = version;
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (HeaderName::from_bytes(&line[..colon]).ok()?, line[colon + 1..].trim_ascii());
        request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some((request.into_parts().0, *trust == b't'))
}

fn is_clean_again(parts: &Parts, cleaned: Cleaned) {
    // Each cleaning is one hop of it.
    if parts.method == Method::OPTIONS {
        return;
    }
    let mut again = parts.clone();
    assert_eq!(head(&mut again, Scheme::Http, &BOUNDS_AGAIN), Ok(cleaned), "{parts:?}");
    assert_eq!((&again.uri, &again.headers), (&parts.uri, &parts.headers));
}

/// Written as HTTP/1.1 it has one meaning.
fn is_strict(parts: &Parts) {
    let mut text = format!("{} {} HTTP/1.1\r\n", parts.method, parts.uri).into_bytes();
    for (name, value) in &parts.headers {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend_from_slice(b"\r\n");
    if let Err(fault) = strict::read(&text) {
        panic!("{fault}: {}", text.escape_ascii());
    }
}
