//! Clients with TLS: names, certificates of both sides, files that change, and sessions.

use std::net::SocketAddr;

use gatewright_tests::{Authority, Gateway, Identity, Setup, TlsClient, guest, setup, until, upstream};

const SHOP: &str = r#"
    [[api]]
    name = "shop"
    service = "orders"
"#;

/// A gateway's TLS settings with the pairs `one` and `two`, and more.
fn with_tls(more: &str, text: &str) -> String {
    format!(
        r#"
        [server.tls]
        listen = "127.0.0.1:0"
        certificates = [{{ certificate = "one.pem", key = "one.key" }}, {{ certificate = "two.pem", key = "two.key" }}]
        {more}
        {text}"#
    )
}

fn holding(setup: Setup, one: &Identity, two: &Identity) -> Setup {
    let setup = setup.file("one.pem", &one.certificate).file("one.key", &one.key);
    setup.file("two.pem", &two.certificate).file("two.key", &two.key)
}

fn tls(gateway: &Gateway) -> SocketAddr {
    gateway.tls.unwrap()
}

#[tokio::test]
async fn both_protocols_are_spoken_and_services_learn_the_scheme() {
    let (orders, authority) = (upstream("orders"), Authority::new());
    let pair = authority.server(&["shop.example"]);
    let gateway = holding(setup(&with_tls("", SHOP)).to(&orders), &pair, &pair).start();
    let client = TlsClient::trusting(&authority);
    client.http1(tls(&gateway), "shop.example").await.get("/one").await.is(200).says("orders");
    client.http2(tls(&gateway), "shop.example").await.get("/two").await.is(200).says("orders");
    // Without TLS, beside it.
    gateway.get("/three").await.is(200);
    let protocols: Vec<_> =
        orders.seen().iter().map(|seen| seen.field("x-forwarded-proto").unwrap().to_owned()).collect();
    assert_eq!(protocols, ["https", "https", "http"]);
}

#[tokio::test]
async fn the_certificate_for_the_name_is_shown_and_else_the_first() {
    let (orders, authority) = (upstream("orders"), Authority::new());
    let (one, two) = (authority.server(&["one.example"]), authority.server(&["two.example", "*.two.example"]));
    let gateway = holding(setup(&with_tls("", SHOP)).to(&orders), &one, &two).start();
    let client = TlsClient::trusting(&authority);
    assert_eq!(client.sees(tls(&gateway), "one.example").await, one.shown());
    assert_eq!(client.sees(tls(&gateway), "two.example").await, two.shown());
    assert_eq!(client.sees(tls(&gateway), "a.two.example").await, two.shown());
    // A star stands for one label, and the first does not fit the name.
    assert!(client.connect(tls(&gateway), "a.b.two.example", "h2").await.is_err());
}

#[tokio::test]
async fn a_new_pair_is_shown_without_a_failed_handshake_and_a_wrong_one_never() {
    let (orders, authority) = (upstream("orders"), Authority::new());
    let (old, new) = (authority.server(&["shop.example"]), authority.server(&["shop.example"]));
    let gateway = holding(setup(&with_tls("", SHOP)).to(&orders), &old, &old).start();
    let client = TlsClient::trusting(&authority);
    // The key is another one's: half of an exchange, or a mistake.
    gateway.write("one.pem", &new.certificate);
    let kept = client.http1(tls(&gateway), "shop.example").await;
    for _ in 0..20 {
        assert_eq!(client.sees(tls(&gateway), "shop.example").await, old.shown());
    }
    gateway.write("one.key", &new.key);
    until("the new pair", async || (client.sees(tls(&gateway), "shop.example").await == new.shown()).then_some(()))
        .await;
    kept.get("/").await.is(200);
    gateway.write("one.key", "no key");
    for _ in 0..20 {
        assert_eq!(client.sees(tls(&gateway), "shop.example").await, new.shown());
    }
}

#[tokio::test]
async fn sessions_are_taken_up_again_in_every_version() {
    let (orders, authority) = (upstream("orders"), Authority::new());
    let pair = authority.server(&["shop.example"]);
    let gateway = holding(setup(&with_tls("", SHOP)).to(&orders), &pair, &pair).start();
    for client in [TlsClient::trusting(&authority), TlsClient::of_yesterday(&authority)] {
        // The ticket of TLS 1.3 comes behind the handshake: a whole request waits for it.
        client.http1(tls(&gateway), "shop.example").await.get("/").await.is(200);
        assert!(client.resumes(tls(&gateway), "shop.example").await);
    }
}

#[tokio::test]
async fn the_oldest_version_is_a_setting() {
    let (orders, authority) = (upstream("orders"), Authority::new());
    let pair = authority.server(&["shop.example"]);
    let newest = with_tls("minimum = \"1.3\"", SHOP);
    let gateway = holding(setup(&newest).to(&orders), &pair, &pair).start();
    let old = TlsClient::of_yesterday(&authority);
    assert!(old.connect(tls(&gateway), "shop.example", "h2").await.is_err());
    TlsClient::trusting(&authority).http1(tls(&gateway), "shop.example").await.get("/").await.is(200);
    gateway.configure(&with_tls("", SHOP)).await;
    old.http1(tls(&gateway), "shop.example").await.get("/").await.is(200);
}

/// Grants whoever shows a certificate, by its subject.
fn by_certificate() -> Vec<u8> {
    guest(
        r#"(import "gatewright:policy/inputs@0.1.0" "client-certificate-subject" (func $subject (result i32)))
        (import "gatewright:policy/inputs@0.1.0" "client-certificate-fingerprint" (func $fingerprint (result i32)))
        (data (i32.const 4096) "bad")
        (func $configure (result i32) (drop (call $subject)) (drop (call $fingerprint)) (call $ok))
        (func $identify (result i32)
            (if (i32.eqz (call $has (i32.const 0))) (then (return (call $ok))))
            (if (i32.ne (call $value-length (i32.const 1)) (i32.const 64))
                (then (return (call $refuse (i32.const 401) (i32.const 4096) (i32.const 3)))))
            (call $grant (call $value (i32.const 0)) (call $value-length (i32.const 0))))"#,
    )
}

const KNOWN: &str = r#"
    [[api]]
    name = "shop"
    service = "orders"
    [[api.auth]]
    plugin = "one"
    [[api.limit]]
    name = "per-caller"
    by = "caller"
    requests = 1
    per = "1h"
"#;

#[tokio::test]
async fn a_clients_certificate_is_what_auth_plugins_may_ask_for() {
    let (orders, authority) = (upstream("orders"), Authority::new());
    let pair = authority.server(&["shop.example"]);
    let asked = with_tls("clients = \"optional\"\nclient_authorities = \"clients.pem\"", KNOWN);
    let setup = setup(&asked).to(&orders).plugin("one", &by_certificate()).file("clients.pem", &authority.certificate);
    let gateway = holding(setup, &pair, &pair).start();
    TlsClient::trusting(&authority).http1(tls(&gateway), "shop.example").await.get("/").await.is(401);
    // Each is a caller by its own subject.
    for name in ["ada", "bob"] {
        let client = TlsClient::showing(&authority, &authority.client(name));
        client.http1(tls(&gateway), "shop.example").await.get("/").await.is(200);
        client.http2(tls(&gateway), "shop.example").await.get("/").await.is(429);
    }
    // Whom nobody vouches for is not let in at all.
    let stranger = TlsClient::showing(&authority, &Authority::new().client("eve"));
    let connection = stranger.connect(tls(&gateway), "shop.example", "http/1.1").await;
    assert!(refuses(connection).await);
}

#[tokio::test]
async fn a_certificate_may_be_required() {
    let (orders, authority) = (upstream("orders"), Authority::new());
    let pair = authority.server(&["shop.example"]);
    let asked = with_tls("clients = \"required\"\nclient_authorities = \"clients.pem\"", SHOP);
    let setup = setup(&asked).to(&orders).file("clients.pem", &authority.certificate);
    let gateway = holding(setup, &pair, &pair).start();
    let nobody = TlsClient::trusting(&authority).connect(tls(&gateway), "shop.example", "http/1.1").await;
    assert!(refuses(nobody).await);
    let ada = TlsClient::showing(&authority, &authority.client("ada"));
    ada.http1(tls(&gateway), "shop.example").await.get("/").await.is(200);
    assert_eq!(orders.count(), 1);
}

/// Whether a server takes a handshake back: in TLS 1.3 the client has ended its own by then.
async fn refuses(connection: std::io::Result<impl tokio::io::AsyncRead + Unpin>) -> bool {
    let Ok(mut stream) = connection else { return true };
    let mut byte = [0; 1];
    gatewright_tests::within("an alert", tokio::io::AsyncReadExt::read(&mut stream, &mut byte)).await.is_err()
}

#[tokio::test]
async fn bad_certificates_keep_a_gateway_from_starting_and_a_configuration_out() {
    let (orders, authority) = (upstream("orders"), Authority::new());
    let pair = authority.server(&["shop.example"]);
    let gateway = holding(setup(&with_tls("", SHOP)).to(&orders), &pair, &pair).start();
    gateway.write("bad.pem", "no certificate");
    let bad = with_tls("", SHOP).replace("two.pem", "bad.pem");
    gateway.misconfigure(&bad).await;
    TlsClient::trusting(&authority).http1(tls(&gateway), "shop.example").await.get("/").await.is(200);
}

#[tokio::test]
async fn what_is_no_handshake_is_closed_and_costs_nobody_else() {
    let (orders, authority) = (upstream("orders"), Authority::new());
    let pair = authority.server(&["shop.example"]);
    let gateway = holding(setup(&with_tls("", SHOP)).to(&orders), &pair, &pair).start();
    let client = TlsClient::trusting(&authority).http1(tls(&gateway), "shop.example").await;
    for garbage in [&b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n"[..], &[0x16; 5000], &[0xff; 100]] {
        let mut raw = gatewright_tests::Raw::connect(tls(&gateway)).await;
        raw.write(garbage).await;
        raw.end().await;
    }
    client.get("/").await.is(200);
}
