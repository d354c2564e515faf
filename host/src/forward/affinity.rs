//! What keeps alike requests at one endpoint.

use http::{HeaderMap, header};

use crate::balance::hash;
use crate::config::{self, Affinity, Balance};
use crate::request::Request;
use crate::route::Route;

/// The key of a request, hashed, where its service balances by keys: the one that the routing plugin gives, else what the
/// configuration says, else none.
pub(super) fn affinity(settings: &config::Service, route: &Route, request: &Request) -> Option<u64> {
    let Balance::Maglev { affinity } = &settings.algorithm else { return None };
    if let Some(key) = route.target().and_then(|target| target.affinity.as_deref()) {
        return Some(hash(key.as_bytes()));
    }
    let headers = &request.head.headers;
    match affinity.as_ref()? {
        Affinity::Address => Some(hash(request.address.as_bytes())),
        Affinity::Header(name) => headers.get(name).map(|value| hash(value.as_bytes())),
        Affinity::Cookie(name) => cookie(headers, name.as_bytes()).map(hash),
    }
}

/// Where the key of [`affinity`] is from, in words; none: the service does not balance by keys.
pub(super) fn source(settings: &config::Service, route: &Route) -> Option<String> {
    let Balance::Maglev { affinity } = &settings.algorithm else { return None };
    if route.target().is_some_and(|target| target.affinity.is_some()) {
        return Some("given by the routing plugin".into());
    }
    Some(match affinity {
        None => "nothing".into(),
        Some(Affinity::Address) => "the client's address".into(),
        Some(Affinity::Header(name)) => format!("the field `{name}`"),
        Some(Affinity::Cookie(name)) => format!("the cookie `{name}`"),
    })
}

/// The value of the first cookie of this name (RFC 6265, section 5.4).
fn cookie<'a>(headers: &'a HeaderMap, name: &[u8]) -> Option<&'a [u8]> {
    let fields = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| pair.trim_ascii_start().strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_and_the_first_counts() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "xsid=1; sid; sid=2;sid=3".parse().unwrap());
        headers.append(header::COOKIE, "other=4".parse().unwrap());
        assert_eq!(cookie(&headers, b"sid"), Some(b"2".as_slice()));
        assert_eq!(cookie(&headers, b"other"), Some(b"4".as_slice()));
        assert_eq!(cookie(&headers, b"id"), None);
    }
}
