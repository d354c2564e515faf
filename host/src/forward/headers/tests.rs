#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says so by failing")]

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::clean::Scheme;
use crate::config::Cidr;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn cidr(text: &str) -> Cidr {
    let (address, bits) = text.split_once('/').unwrap();
    Cidr { address: address.parse().unwrap(), bits: bits.parse().unwrap() }
}

fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

/// All fields as text, in no order that counts but that of several of one name.
fn told(headers: &HeaderMap) -> Vec<String> {
    let mut told: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    told.sort();
    told
}

fn sent(peer: &str, trusted: &[Cidr], onward: Onward, mut headers: HeaderMap) -> HeaderMap {
    let peer = Peer::new(address(peer), Scheme::Http, trusted);
    let client = peer.client(&headers, trusted);
    Stripped::default().remove(&mut headers, peer.trusted);
    let request_id = peer.request_id(&headers).unwrap_or(HeaderValue::from_static("fresh"));
    let version = Version::HTTP_11;
    let passage = Passage { peer: &peer, client: &client, version, request_id: &request_id, trace: None, onward };
    to_service(&mut headers, &passage);
    headers
}

#[test]
fn a_network_holds_its_addresses() {
    let table = [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.0.0.0/8", "::ffff:10.0.0.1", true),
        ("::ffff:10.0.0.0/104", "10.0.0.1", true),
        ("0.0.0.0/0", "203.0.113.9", true),
        ("0.0.0.0/0", "::1", false),
        ("::/0", "2001:db8::1", true),
        ("::/0", "192.0.2.1", false),
        ("192.0.2.1/32", "192.0.2.1", true),
        ("192.0.2.1/32", "192.0.2.0", false),
        ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
    ];
    for (network, inside, holds) in table {
        assert_eq!(cidr(network).contains(address(inside)), holds, "{network} {inside}");
    }
}

#[test]
fn what_a_stranger_says_of_the_way_is_replaced() {
    let spoofed = fields(&[
        ("host", "example.org"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x_forwarded_for", "127.0.0.1"),
        ("x-forwarded-port", "1"),
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-request-id", "mine"),
        ("x-original-url", "/admin"),
        ("via", "1.0 fred"),
    ]);
    let expected = [
        "forwarded: for=192.0.2.1;proto=http",
        "host: example.org",
        "via: 1.0 fred",
        "via: 1.1 gatewright",
        "x-forwarded-for: 192.0.2.1",
        "x-forwarded-host: example.org",
        "x-forwarded-proto: http",
        "x-request-id: fresh",
    ];
    assert_eq!(told(&sent("192.0.2.1", &[cidr("10.0.0.0/8")], Onward::Http1, spoofed)), expected);
}

#[test]
fn what_a_trusted_peer_says_of_the_way_is_kept_and_extended() {
    let said = fields(&[
        ("host", "inner.example"),
        ("x-forwarded-for", "198.51.100.1, 203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "example.org"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=127.0.0.1"),
        ("x-request-id", "theirs-1"),
        ("x-rewrite-url", "/admin"),
        ("x-real_ip", "127.0.0.1"),
    ]);
    let expected = [
        "forwarded: for=203.0.113.9;proto=https",
        "host: inner.example",
        "via: 1.1 gatewright",
        "x-forwarded-for: 198.51.100.1, 203.0.113.9, 10.0.0.1",
        "x-forwarded-host: example.org",
        "x-forwarded-port: 443",
        "x-forwarded-proto: https",
        "x-request-id: theirs-1",
    ];
    assert_eq!(told(&sent("10.0.0.1", &[cidr("10.0.0.0/8")], Onward::Http1, said)), expected);
}

#[test]
fn the_client_is_the_last_of_the_chain_that_nobody_trusts() {
    let trusted = [cidr("10.0.0.0/8"), cidr("fd00::/8")];
    let table: [(&[(&str, &str)], &str); 14] = [
        (&[], "10.0.0.1"),
        (&[("x-forwarded-for", "203.0.113.9")], "203.0.113.9"),
        (&[("x-forwarded-for", "127.0.0.1, 203.0.113.9, 10.0.0.2")], "203.0.113.9"),
        (&[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "10.0.0.2")], "203.0.113.9"),
        (&[("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
        (&[("x-forwarded-for", "203.0.113.9, nonsense, 10.0.0.2")], "10.0.0.2"),
        (&[("x-forwarded-for", "203.0.113.9:4711")], "203.0.113.9"),
        (&[("x-forwarded-for", "2001:db8::1")], "2001:db8::1"),
        (&[("x-forwarded-for", "[2001:db8::1]:80")], "2001:db8::1"),
        (&[("x-forwarded-for", "")], "10.0.0.1"),
        (&[("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=127.0.0.1")], "203.0.113.9"),
        (&[("forwarded", "For=\"[2001:db8::1]:80\";proto=https, for=10.0.0.2")], "2001:db8::1"),
        (&[("forwarded", "for=127.0.0.1, by=\"a,b\" ; for=203.0.113.9")], "203.0.113.9"),
        (&[("forwarded", "for=203.0.113.9, for=unknown")], "10.0.0.1"),
    ];
    for (pairs, client) in table {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let peer = Peer::new(address("10.0.0.1"), Scheme::Http, &trusted);
        assert_eq!(peer.client(&headers, &trusted).address, address(client), "{pairs:?}");
        let stranger = Peer::new(address("192.0.2.1"), Scheme::Http, &trusted);
        assert_eq!(stranger.client(&headers, &trusted).address, address("192.0.2.1"));
    }
}

#[test]
fn a_chain_in_forwarded_goes_on_in_both_fields() {
    let said = fields(&[("host", "a"), ("forwarded", "for=\"[2001:db8::1]\";proto=https")]);
    let headers = sent("10.0.0.1", &[cidr("10.0.0.0/8")], Onward::Http1, said);
    assert_eq!(headers["forwarded"], "for=\"[2001:db8::1]\";proto=https, for=10.0.0.1;proto=http");
    assert_eq!(headers["x-forwarded-for"], "2001:db8::1, 10.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "https");
}

#[test]
fn a_quote_that_stays_open_hides_nothing() {
    for open in
        ["for=\"203.0.113.9", "for=203.0.113.9;by=\"a\\\"\"", "for=203.0.113.9;by=a\"b\"", "for=203.0.113.9;by=\"a\"b"]
    {
        let headers =
            sent("10.0.0.1", &[cidr("10.0.0.0/8")], Onward::Http1, fields(&[("host", "a"), ("forwarded", open)]));
        let client = if open.starts_with("for=\"") { "10.0.0.1" } else { "203.0.113.9" };
        assert_eq!(headers["forwarded"], format!("for={client};proto=http, for=10.0.0.1;proto=http"), "{open}");
    }
}

#[test]
fn how_the_client_speaks_is_said_by_its_own_element_and_in_every_field_alike() {
    let proto = |said: &[(&'static str, &str)]| {
        let headers = sent("10.0.0.1", &[cidr("10.0.0.0/8")], Onward::Http1, fields(said));
        ["x-forwarded-proto", "forwarded"].map(|name| headers[name].to_str().unwrap().to_owned())
    };
    // The hop between two gateways is in clear, and the client's was not.
    let hops = ("forwarded", "for=203.0.113.9;proto=https, for=10.0.0.2;proto=http");
    let onward = format!("{}, for=10.0.0.1;proto=http", hops.1);
    assert_eq!(proto(&[("host", "a"), hops]), ["https", &onward]);
    // Who writes `forwarded` may pass on what a client wrote into the other.
    assert_eq!(proto(&[("host", "a"), ("x-forwarded-proto", "http"), hops]), ["https", &onward]);
    assert_eq!(proto(&[("host", "a"), ("x-forwarded-proto", "https")]), ["https", "for=10.0.0.1;proto=https"]);
}

#[test]
fn only_one_plain_request_id_is_taken() {
    let peer = Peer::new(address("10.0.0.1"), Scheme::Http, &[cidr("10.0.0.0/8")]);
    let id = |value: &str| peer.request_id(&fields(&[("x-request-id", value)]));
    assert_eq!(id("a-B_1.2").unwrap(), "a-B_1.2");
    assert_eq!((id(""), id("a b"), id("a\""), id(&"a".repeat(129))), (None, None, None, None));
    assert_eq!(peer.request_id(&fields(&[("x-request-id", "a"), ("x-request-id", "a")])), None);
}

#[test]
fn connection_fields_stay_on_their_connection() {
    let request = || {
        fields(&[
            ("connection", "keep-alive, te"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers, deflate;q=0.5"),
            ("transfer-encoding", "chunked"),
            ("proxy-authorization", "Basic YTpi"),
            ("proxy-connection", "close"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAM"),
            ("expect", "100-continue"),
            ("proxy", "http://evil.example"),
            ("trailer", "x-sum"),
            ("authorization", "Basic YTpi"),
        ])
    };
    let left = |onward| {
        let ours = ["forwarded", "via", "x-forwarded-for", "x-forwarded-proto", "x-request-id"];
        let mut headers = sent("192.0.2.1", &[], onward, request());
        for name in ours {
            headers.remove(name).unwrap();
        }
        told(&headers)
    };
    let http1 = ["authorization: Basic YTpi", "connection: te", "te: trailers", "trailer: x-sum"];
    assert_eq!(left(Onward::Http1), http1);
    assert_eq!(left(Onward::Http2), ["authorization: Basic YTpi", "te: trailers", "trailer: x-sum"]);
    let upgrade = ["authorization: Basic YTpi", "connection: upgrade", "trailer: x-sum", "upgrade: h2c"];
    assert_eq!(left(Onward::Upgrade), upgrade);
}

#[test]
fn a_response_loses_its_connection_fields() {
    let response = || {
        fields(&[
            ("connection", "close, x-hop, content-length, set-cookie"),
            ("x-hop", "1"),
            ("content-length", "1"),
            ("set-cookie", "a=1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("proxy-authenticate", "Basic"),
            ("upgrade", "websocket"),
        ])
    };
    let mut plain = response();
    to_client(&mut plain, Version::HTTP_11, false);
    assert_eq!(told(&plain), ["content-length: 1", "set-cookie: a=1", "via: 1.1 gatewright"]);
    let mut upgraded = response();
    to_client(&mut upgraded, Version::HTTP_11, true);
    assert_eq!(
        (&upgraded["connection"], &upgraded["upgrade"]),
        (&"upgrade".parse().unwrap(), &"websocket".parse().unwrap())
    );
}

#[test]
fn trailers_frame_and_route_nothing() {
    let mut trailers_sent = fields(&[("grpc-status", "0"), ("content-length", "1"), ("host", "a"), ("te", "trailers")]);
    trailers(&mut trailers_sent);
    assert_eq!(told(&trailers_sent), ["grpc-status: 0"]);
}

#[test]
fn a_request_that_goes_round_is_seen() {
    let via = |value: &str| is_loop(&fields(&[("via", value)]));
    assert!(!is_loop(&HeaderMap::new()));
    assert!(!via("1.1 gatewright, 1.1 fred, 1.1 gatewright"));
    assert!(via("1.1 gatewright, 2.0 Gatewright (x), 1.1 gatewright, 1.1 gatewright"));
    assert!(!via("1.1 gatewrights, 1.1 gatewrights, 1.1 gatewrights, gatewright"));
}

#[test]
fn identity_fields_are_removed_in_every_spelling() {
    let stripped = Stripped::new(["X-User-Id", "tenant"]);
    let mut headers = fields(&[
        ("x-user-id", "1"),
        ("x_user_id", "1"),
        ("x-user_id", "1"),
        ("x.user.id", "1"),
        ("tenant", "1"),
        ("tenants", "1"),
        ("x-userxid", "1"),
        ("x-user-ids", "1"),
        ("x_request_id", "1"),
        ("x-forwarded_user", "1"),
        ("accept", "*/*"),
    ]);
    stripped.remove(&mut headers, true);
    assert_eq!(told(&headers), ["accept: */*", "tenants: 1", "x-user-ids: 1", "x-userxid: 1"]);
}

#[test]
fn some_fields_are_out_of_the_reach_of_plugins() {
    let stripped = Stripped::new(["x-user"]);
    let refused = |way, name: &str| !may_edit(way, &name.parse().unwrap(), &stripped);
    for name in ["Connection", "te", "keep-alive", "content-length", "transfer-encoding", "via", "trailer"] {
        assert!(refused(Way::ToService, name) && refused(Way::ToClient, name), "{name}");
    }
    for name in
        ["host", "x-user", "X_User", "x-forwarded-for", "x_forwarded_host", "forwarded", "x-real-ip", "x-original-url"]
    {
        assert!(refused(Way::ToService, name) && !refused(Way::ToClient, name), "{name}");
    }
    assert!(refused(Way::ToService, "x-request-id") && refused(Way::ToClient, "x-request-id"));
    assert!(!refused(Way::ToService, "authorization"));
}

proptest! {
    #[test]
    fn no_spelling_of_an_identity_field_gets_by(marks in "[-_.!~]{2}", other in "[a-z][-_a-z]{0,8}") {
        let stripped = Stripped::new(["x-user-id"]);
        let mut spelled = marks.chars();
        let mut mark = || spelled.next().unwrap();
        let name = format!("x{}user{}id", mark(), mark());
        prop_assert!(stripped.holds(&name));
        prop_assert_eq!(stripped.holds(&other), other.replace('_', "-") == "x-user-id" || other == "forwarded");
    }

    #[test]
    fn any_chain_is_read(chain in "[ -~]{0,40}", element in "[ -~]{0,40}") {
        let trusted = [cidr("0.0.0.0/0")];
        let peer = Peer::new(address("10.0.0.1"), Scheme::Http, &trusted);
        peer.client(&fields(&[("x-forwarded-for", &chain)]), &trusted);
        peer.client(&fields(&[("forwarded", &element)]), &trusted);
    }
}
