//! Who is calling: the peer, or whom a trusted peer forwards for.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, REQUEST_ID};
use crate::clean::{Scheme, authority};
use crate::config::Cidr;
use crate::tls::ClientCertificate;

/// The longest id of a request that is taken from a trusted peer. A UUID has 36.
const REQUEST_ID_BYTES: usize = 128;

impl Cidr {
    /// Whether an address is of this network. An IPv4 address in IPv6 clothes (`::ffff:192.0.2.1`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = u32::from(self.bits);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= bits
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros() >= bits
            }
            // A network that was itself written in IPv6 clothes.
            (IpAddr::V6(network), IpAddr::V4(address)) => {
                bits >= 96 && (network.to_bits() ^ address.to_ipv6_mapped().to_bits()).leading_zeros() >= bits
            }
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        }
    }
}

/// The other end of a client's connection, with what is said of it in every request. Made once per connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address; IPv4 in IPv6 clothes is IPv4.
    pub address: IpAddr,
    /// How it speaks to us.
    pub scheme: Scheme,
    /// Whether its forwarding fields are believed.
    pub trusted: bool,
    /// The certificate that it showed in its TLS handshake.
    pub certificate: Option<Rc<ClientCertificate>>,
    /// The address as text.
    pub name: Rc<str>,
    /// The same as a field's value.
    text: HeaderValue,
    /// Its element of `forwarded`.
    forwarded: HeaderValue,
}

/// Who is calling, as far as trusted peers can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address: the right-most one of the chain that is not trusted.
    pub address: IpAddr,
    /// How it speaks, to us or to the trusted peer.
    pub scheme: Scheme,
    chain: Chain,
}

/// Where the chain of peers was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    /// Nowhere: there is only the peer.
    Peer,
    /// From `x-forwarded-for`.
    ForwardedFor,
    /// From `forwarded`.
    Forwarded,
}

impl Peer {
    /// Prepares what is said of a peer; `trusted` are the networks whose forwarding fields are believed.
    pub fn new(address: IpAddr, scheme: Scheme, trusted: &[Cidr]) -> Self {
        let address = address.to_canonical();
        let value = |text: String| HeaderValue::try_from(text).expect("an address is plain text");
        Self {
            address,
            scheme,
            trusted: is_trusted(trusted, address),
            certificate: None,
            name: address.to_string().into(),
            text: value(address.to_string()),
            forwarded: value(element(address, scheme)),
        }
    }

    /// The peer as the one who is calling.
    pub fn itself(&self) -> Client {
        Client { address: self.address, scheme: self.scheme, chain: Chain::Peer }
    }

    /// Says who is calling. `trusted` are the networks given to [`Peer::new`].
    ///
    /// A trusted peer is believed in its `x-forwarded-for`, or without one in its `forwarded`; never in both, because a
    /// proxy that writes one passes on what a client wrote into the other. A chain is read from the right until an
    /// address is not trusted, or is none. How the client speaks is said by its element of `forwarded`, else by
    /// `x-forwarded-proto` where that is one `http` or `https`.
    pub fn client(&self, headers: &HeaderMap, trusted: &[Cidr]) -> Client {
        let mut client = self.itself();
        if !self.trusted {
            return client;
        }
        let itself = Hop { address: self.address, scheme: None };
        let mut nearest = itself;
        if headers.contains_key(&FORWARDED_FOR) {
            client.chain = Chain::ForwardedFor;
            let hops = headers.get_all(&FORWARDED_FOR).iter().rev().flat_map(|value| {
                value.as_bytes().rsplit(|byte| *byte == b',').map(|node| parse_node(node.trim_ascii()))
            });
            let hops = hops.map(|address| Some(Hop { address: address?, scheme: None }));
            nearest = walk(hops, itself, trusted);
        } else if headers.contains_key(header::FORWARDED) {
            client.chain = Chain::Forwarded;
            let hops = headers.get_all(header::FORWARDED).iter().rev();
            let hops = hops.flat_map(|value| elements(value.as_bytes()).into_iter().rev().map(Hop::of));
            nearest = walk(hops, itself, trusted);
        }
        client.address = nearest.address;
        let said = || scheme(one(headers, &FORWARDED_PROTO)?.as_bytes());
        if let Some(scheme) = nearest.scheme.or_else(said) {
            client.scheme = scheme;
        }
        client
    }

    /// The request's id that a trusted peer gave it: one field of at most 128 letters, digits and `-._~+/=:@`.
    pub fn request_id(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let id = if self.trusted { one(headers, &REQUEST_ID)? } else { return None };
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(byte);
        let good = (1..=REQUEST_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(fits);
        if good { Some(id.clone()) } else { None }
    }
}

/// Writes `x-forwarded-*` and `forwarded`; what a trusted peer said is kept in them.
pub(super) fn set_forwarding(headers: &mut HeaderMap, peer: &Peer, client: &Client) {
    let (chain, forwarded) = match client.chain {
        Chain::Peer if client.scheme == peer.scheme => (peer.text.clone(), peer.forwarded.clone()),
        Chain::Peer => (peer.text.clone(), plain(element(client.address, client.scheme), peer)),
        Chain::ForwardedFor => {
            (extended(headers, &FORWARDED_FOR, &peer.text), plain(element(client.address, client.scheme), peer))
        }
        Chain::Forwarded => {
            let whole = headers.get_all(header::FORWARDED).iter().all(|value| is_whole(value.as_bytes()));
            let forwarded = match whole {
                true => extended(headers, &header::FORWARDED, &peer.forwarded),
                // An open quote would hide what is written behind it.
                false => {
                    let (client, last) = (element(client.address, client.scheme), element(peer.address, peer.scheme));
                    plain(format!("{client}, {last}"), peer)
                }
            };
            (plain(format!("{}, {}", client.address, peer.address), peer), forwarded)
        }
    };
    let host = forwarded_host(headers, peer).or_else(|| headers.get(header::HOST)).cloned();
    headers.insert(&FORWARDED_FOR, chain);
    headers.insert(header::FORWARDED, forwarded);
    headers.insert(&FORWARDED_PROTO, proto(client.scheme));
    if let Some(host) = host {
        headers.insert(&FORWARDED_HOST, host);
    }
}

fn proto(scheme: Scheme) -> HeaderValue {
    static HTTP: HeaderValue = HeaderValue::from_static("http");
    static HTTPS: HeaderValue = HeaderValue::from_static("https");
    match scheme {
        Scheme::Http => HTTP.clone(),
        Scheme::Https => HTTPS.clone(),
    }
}

/// A field's values as one list with one more member.
fn extended(headers: &HeaderMap, name: &HeaderName, last: &HeaderValue) -> HeaderValue {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(last.as_bytes());
    HeaderValue::try_from(list).unwrap_or_else(|_| last.clone())
}

fn plain(text: String, peer: &Peer) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| peer.text.clone())
}

/// The host that a trusted peer says it was asked for.
fn forwarded_host<'a>(headers: &'a HeaderMap, peer: &Peer) -> Option<&'a HeaderValue> {
    if !peer.trusted {
        return None;
    }
    one(headers, &FORWARDED_HOST).filter(|host| authority(host.as_bytes(), peer.scheme).is_ok())
}

/// One element of `forwarded` (RFC 7239, section 4). The host is not said: it goes on in `host` unchanged.
fn element(address: IpAddr, scheme: Scheme) -> String {
    let mut text = String::with_capacity(64);
    let written = match address {
        IpAddr::V4(address) => write!(text, "for={address};proto={}", scheme.as_str()),
        IpAddr::V6(address) => write!(text, "for=\"[{address}]\";proto={}", scheme.as_str()),
    };
    written.expect("a string takes all text");
    text
}

fn is_trusted(trusted: &[Cidr], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// One link of a chain.
#[derive(Clone, Copy)]
struct Hop {
    address: IpAddr,
    /// How it speaks, where that is said.
    scheme: Option<Scheme>,
}

impl Hop {
    /// As an element of `forwarded` says it.
    fn of(element: &[u8]) -> Option<Self> {
        let address = parse_node(parameter(element, b"for")?)?;
        Some(Self { address, scheme: parameter(element, b"proto").and_then(scheme) })
    }
}

/// Walks a chain from its near end to the first address that is not trusted, and not past what is no address.
fn walk(hops: impl Iterator<Item = Option<Hop>>, peer: Hop, trusted: &[Cidr]) -> Hop {
    let mut nearest = peer;
    for hop in hops {
        let Some(hop) = hop else { break };
        nearest = hop;
        if !is_trusted(trusted, hop.address) {
            break;
        }
    }
    nearest
}

/// Reads `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`, and those with a port.
fn parse_node(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?;
    let bracketed = || node.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || node.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    node.parse().ok().or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

fn scheme(said: &[u8]) -> Option<Scheme> {
    match said {
        said if said.eq_ignore_ascii_case(b"http") => Some(Scheme::Http),
        said if said.eq_ignore_ascii_case(b"https") => Some(Scheme::Https),
        _ => None,
    }
}

/// The value of a field that occurs once.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { Some(first) }
}

/// The elements of a `forwarded` value; commas in quotes do not part them.
fn elements(value: &[u8]) -> Vec<&[u8]> {
    let mut quoted = false;
    let parts = value.split(|byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    });
    parts.collect()
}

/// Whether everybody finds the same elements in a `forwarded` value: quotes go around whole values, and none stays open.
fn is_whole(value: &[u8]) -> bool {
    let mut parts = value.split(|byte| *byte == b'"');
    let mut before = parts.next().unwrap_or_default();
    while parts.next().is_some() {
        let Some(behind) = parts.next() else { return false };
        if !before.ends_with(b"=") || !matches!(behind, [] | [b',' | b';' | b' ' | b'\t', ..]) {
            return false;
        }
        before = behind;
    }
    !value.contains(&b'\\')
}

/// The value of one parameter of an element, without quotes.
fn parameter<'a>(element: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut pairs = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let value = pairs.find_map(|pair| match pair.split_at_checked(name.len()) {
        Some((key, [b'=', value @ ..])) if key.eq_ignore_ascii_case(name) => Some(value),
        _ => None,
    })?;
    match value {
        [b'"', inner @ .., b'"'] => Some(inner),
        plain => Some(plain),
    }
}
