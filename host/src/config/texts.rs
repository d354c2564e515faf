//! Durations, sizes, addresses, hosts and paths as people write them: pure functions from text and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::{HeaderName, Method};

use super::server::Cidr;

/// The longest name of a thing in the configuration.
const NAME_CHARS: usize = 64;
/// The longest host (RFC 1035, section 2.3.4) and the longest label.
const HOST_CHARS: usize = 253;
const LABEL_CHARS: usize = 63;

/// Units of time in microseconds, the largest first.
const TIMES: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];
/// Units of size in bytes, the largest first.
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A whole number and a unit: `10s`, `5ms`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    with_unit(text, &TIMES).map(Duration::from_micros)
}

/// The shortest text that [`duration`] reads as this, to the microsecond.
pub(super) fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), &TIMES, "0s")
}

/// A whole number and a unit in powers of 1024: `64KiB`.
pub(super) fn size(text: &str) -> Option<u64> {
    with_unit(text, &SIZES)
}

/// The shortest text that [`size`] reads as this.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES, "0B")
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

fn show(value: u64, units: &[(&str, u64)], zero: &str) -> String {
    let unit = units.iter().find(|(_, scale)| value != 0 && value.is_multiple_of(*scale));
    unit.map_or_else(|| zero.to_owned(), |(name, scale)| format!("{}{name}", value / scale))
}

/// A name of a thing: safe as a file stem, as a metric label and as a structured-field string.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= NAME_CHARS
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// An IP address and a port; `localhost` is 127.0.0.1.
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let parts = text.rsplit_once(':').filter(|(host, port)| !host.is_empty() && digits(port));
    let (host, port) = parts.ok_or("not host:port")?;
    let port = port.parse().map_err(|_| "a port is at most 65535")?;
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Err("an IPv6 address stands in brackets: `[::1]:8080`".into());
    }
    match is_domain(host) {
        true => Err("a name where an IP address belongs; the names of services are looked up by `dns`".into()),
        false => Err("not host:port".into()),
    }
}

/// A network like `10.0.0.0/8`; an address alone is itself.
pub(super) fn cidr(text: &str) -> Result<Cidr, String> {
    let wrong = "not a network like `10.0.0.0/8`";
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().map_err(|_| wrong)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(bits) => bits.parse().ok().filter(|number| digits(bits) && *number <= most).ok_or(wrong)?,
    };
    let network = masked(address, bits);
    match network == address {
        true => Ok(Cidr { address, bits }),
        false => Err(format!("bits are set after the first {bits}; the network is `{network}/{bits}`")),
    }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

/// An authority without a port, in lower case; `*.` may stand in front of a name.
pub(super) fn host(text: &str) -> Result<String, String> {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
        && let Ok(address) = inner.parse::<Ipv6Addr>()
    {
        return Ok(format!("[{address}]"));
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    if name.contains(':') {
        return Err("a host stands without a scheme and without a port".into());
    }
    if name.contains('*') {
        return Err("`*.` stands only in front of a name; leave `hosts` out to take all".into());
    }
    if !name.is_ascii() {
        return Err("not ASCII; write the name in its `xn--` form".into());
    }
    match is_domain(name) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("not a host like `api.example.org` or `*.example.org`".into()),
    }
}

fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL_CHARS).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= HOST_CHARS && name.split('.').all(label)
}

/// A method; `*` is one by its grammar.
pub(super) fn method(text: &str) -> Result<String, String> {
    match Method::from_bytes(text.as_bytes()) {
        Err(_) => Err("not a method like `GET`".into()),
        Ok(_) if text.bytes().any(|byte| byte.is_ascii_lowercase()) => {
            Err("methods are in upper case, and their case counts".into())
        }
        Ok(_) => Ok(text.to_owned()),
    }
}

/// The name of a header field in lower case; `*` is one by its grammar.
pub(super) fn field_name(text: &str) -> Result<String, String> {
    HeaderName::from_bytes(text.as_bytes())
        .map(|name| name.as_str().to_owned())
        .map_err(|_| "not a field's name".into())
}

/// A path prefix in the one spelling that requests are cleaned to.
pub(super) fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("a path starts with `/`".into());
    }
    if text != "/" && text.ends_with('/') {
        return Err("no `/` at the end: prefixes match whole segments anyway".into());
    }
    if text.contains("//") {
        return Err("an empty segment: requests never have one once they are cleaned".into());
    }
    if text.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | ".."))) {
        return Err("a dot segment: requests never have one once they are cleaned".into());
    }
    if text.contains("/;") {
        return Err("parameters of an empty segment: such requests are refused".into());
    }
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => escape(rest.next(), rest.next())?,
            b'?' | b'#' => return Err("a path ends before `?` and `#`".into()),
            b'*' => return Err("`*` stands for nothing: a prefix has all that is below it".into()),
            b'!' | b'$'..=b';' | b'=' | b'@'..=b'Z' | b'_' | b'a'..=b'z' | b'~' => {}
            _ => return Err("holds what a path must escape with `%`".into()),
        }
    }
    Ok(text.to_owned())
}

/// An escape as the cleaning leaves it.
fn escape(high: Option<u8>, low: Option<u8>) -> Result<(), String> {
    let digit = |byte: Option<u8>| byte.map(char::from).filter(|digit| !digit.is_ascii_lowercase())?.to_digit(16);
    let (Some(high), Some(low)) = (digit(high), digit(low)) else {
        return Err("`%` stands before two digits of 0 to 9 and A to F".into());
    };
    match u8::try_from(high * 16 + low).unwrap_or_default() {
        b'/' | b'\\' | 0 => Err("an escaped `/`, `\\` or NUL: such requests are refused".into()),
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
            Err(format!("an escaped `{}`: requests have it unescaped once they are cleaned", char::from(byte)))
        }
        _ => Ok(()),
    }
}

/// A request target in origin form: a path and perhaps a query.
pub(super) fn target(text: &str) -> Result<String, String> {
    match text.starts_with('/') && !text.contains('#') && text.parse::<http::uri::PathAndQuery>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err("not a target like `/healthz`".into()),
    }
}

/// A status or the first and the last of a range: `200`, `200-299`.
pub(super) fn statuses(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| text.parse().ok().filter(|status| digits(text) && (100..=599).contains(status));
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err("not a status or a range like `200-299`".into()),
    }
}

/// 64 lower-case hexadecimal digits.
pub(super) fn sha256(text: &str) -> Result<[u8; 32], String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
    let mut digest = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() == digest.len() && rest.is_empty() {
        let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? * 16 + digit(*low)?));
        let bytes: Option<Vec<u8>> = bytes.map(|byte| u8::try_from(byte?).ok()).collect();
        if let Some(bytes) = bytes {
            digest.copy_from_slice(&bytes);
            return Ok(digest);
        }
    }
    Err("not 64 lower-case hexadecimal digits".into())
}

pub(super) fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
