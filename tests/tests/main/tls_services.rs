//! Services with TLS: who they must be, who we are to them, what is spoken, and files that change.

use gatewright_tests::{Authority, Gateway, Identity, Reply, Upstream, acceptor, setup, until, upstream};
use http::Version;

use crate::upgrades::upgrade;

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";

/// A gateway that trusts an authority about the service, shows an identity, and has more settings of the service.
fn secured(orders: &Upstream, authority: &Authority, identity: &Identity, more: &str) -> Gateway {
    let tls = r#"{ name = "orders.internal", authorities = "ca.pem", certificate = "us.pem", key = "us.key" }"#;
    let text = format!("server.workers = 1\nservice.orders.tls = {tls}\n{more}{SHOP}");
    let setup = setup(&text).to(orders).file("ca.pem", &authority.certificate);
    setup.file("us.pem", &identity.certificate).file("us.key", &identity.key).start()
}

#[tokio::test]
async fn the_best_that_both_know_is_spoken() {
    let authority = Authority::new();
    let pair = authority.server(&["orders.internal"]);
    for (offered, http2, spoken) in [
        (&["h2", "http/1.1"][..], true, Version::HTTP_2),
        (&["h2", "http/1.1"], false, Version::HTTP_11),
        (&["http/1.1"], true, Version::HTTP_11),
        (&[], true, Version::HTTP_11),
    ] {
        let orders = upstream("orders");
        orders.secures(acceptor(&pair, offered, None));
        let gateway = secured(&orders, &authority, &pair, &format!("service.orders.http2 = {http2}\n"));
        for connection in [gateway.http1().await, gateway.http2().await] {
            connection.call("POST", "/a").body("hello").await.is(200).says("orders");
        }
        let seen = orders.seen();
        assert!(seen.iter().all(|seen| seen.version == spoken && seen.text() == "hello"), "{seen:?}");
        assert_eq!(orders.connections(), 1, "{offered:?}");
    }
}

#[tokio::test]
async fn a_service_that_is_somebody_else_gets_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let us = authority.client("gateway");
    for pair in [stranger.server(&["orders.internal"]), authority.server(&["elsewhere.internal"])] {
        let orders = upstream("orders");
        orders.secures(acceptor(&pair, &["http/1.1"], None));
        let gateway = secured(&orders, &authority, &us, "");
        gateway.get("/").await.is(502).problem("The service cannot be reached");
        assert_eq!(orders.count(), 0);
    }
    // Nor one without TLS.
    let orders = upstream("orders");
    secured(&orders, &authority, &us, "").get("/").await.is(502);
    assert_eq!(orders.count(), 0);
}

#[tokio::test]
async fn the_gateway_shows_its_certificate_and_a_new_one_when_the_files_change() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let orders = upstream("orders");
    let asking = acceptor(&authority.server(&["orders.internal"]), &["h2"], Some(&clients));
    orders.secures(asking);
    // Not yet one that the service trusts.
    let gateway = secured(&orders, &authority, &authority.client("gateway"), "service.orders.http2 = true\n");
    gateway.get("/").await.is(502);
    let good = clients.client("gateway");
    gateway.write("us.pem", &good.certificate);
    gateway.write("us.key", &good.key);
    until("the new pair", async || (gateway.get("/").await.status == 200).then_some(())).await;
    // A bad file changes nothing.
    gateway.write("us.key", "no key");
    orders.kill().await;
    orders.start();
    until("the same pair", async || (gateway.get("/").await.status == 200).then_some(())).await;
}

const OFTEN: &str = r#"interval = "20ms", timeout = "2s", rise = 1, fall = 1"#;

#[tokio::test]
async fn a_probe_speaks_the_services_tls_and_shows_who_we_are() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let pair = authority.server(&["orders.internal"]);
    let serving = || Reply::text("\0\0\0\0\x02\x08\x01").field("grpc-status", "0");
    for (kind, protocols, spoken) in [
        (r#"http = "/health""#, &["http/1.1"][..], Version::HTTP_11),
        (r#"http = "/health""#, &["h2", "http/1.1"], Version::HTTP_11),
        (r#"grpc = "orders.v1""#, &["http/1.1", "h2"], Version::HTTP_2),
    ] {
        let orders = upstream("orders");
        orders.secures(acceptor(&pair, protocols, Some(&clients)));
        orders.answers(|_| Reply::status(500));
        let probe = format!("service.orders.probe = {{ {kind}, {OFTEN} }}\n");
        let gateway = secured(&orders, &authority, &clients.client("gateway"), &probe);
        gateway.endpoint_is("orders", orders.address(), "unhealthy").await;
        assert_eq!(gateway.service("orders").await["endpoints"][0]["reason"], "status 500");
        orders.answers(move |_| serving());
        gateway.endpoint_is("orders", orders.address(), "healthy").await;
        assert!(orders.seen().iter().all(|seen| seen.version == spoken), "{kind}");
    }
}

#[tokio::test]
async fn a_probe_finds_that_a_service_is_somebody_else_or_does_not_speak_what_is_asked() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let us = authority.client("gateway");
    for (kind, pair, protocols) in [
        (r#"http = "/health""#, stranger.server(&["orders.internal"]), &["http/1.1"][..]),
        (r#"http = "/health""#, authority.server(&["elsewhere.internal"]), &["http/1.1"]),
        (r#"grpc = "orders.v1""#, stranger.server(&["orders.internal"]), &["h2"]),
        (r#"grpc = "orders.v1""#, authority.server(&["orders.internal"]), &["http/1.1"]),
        (r#"grpc = "orders.v1""#, authority.server(&["orders.internal"]), &[]),
    ] {
        let orders = upstream("orders");
        orders.secures(acceptor(&pair, protocols, None));
        let probe = format!("service.orders.probe = {{ {kind}, {OFTEN} }}\n");
        let gateway = secured(&orders, &authority, &us, &probe);
        gateway.endpoint_is("orders", orders.address(), "unhealthy").await;
        let reason = gateway.service("orders").await["endpoints"][0]["reason"].clone();
        assert!(reason.as_str().is_some_and(|reason| reason.starts_with("no tls: ")), "{reason}");
        assert_eq!(orders.count(), 0, "{kind}");
    }
}

#[tokio::test]
async fn upgrades_and_trailers_pass_with_tls() {
    let authority = Authority::new();
    let pair = authority.server(&["orders.internal"]);
    let orders = upstream("orders");
    orders.secures(acceptor(&pair, &["h2", "http/1.1"], None));
    let gateway = secured(&orders, &authority, &pair, "service.orders.http2 = true\n");
    let (reply, writer) = Reply::streamed();
    orders.answers_once(reply.field("content-type", "application/grpc"));
    let call = tokio::spawn(gateway.http2().await.call("POST", "/shop.Orders/Get").body("a").into_future());
    writer.trailers(&[("grpc-status", "0")]).await;
    assert_eq!(call.await.unwrap().is(200).trailers.unwrap()["grpc-status"], "0");
    orders.answers(|_| Reply::echo("websocket"));
    upgrade(gateway.raw().await).await;
}
