//! Responses before the response (1xx); those to clients of HTTP/2 are in `interim_http2.rs`.

use gatewright_tests::{Authority, Gateway, Raw, RawUpstream, TlsClient, gateway, raw_upstream, setup, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";
const PASSED_ON: &str = "service.orders.interim_responses = true\n[[api]]\nname = \"shop\"\nservice = \"orders\"\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
/// The same as the client gets it.
const HINTED: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nvia: 1.1 gatewright\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Reads a request's head on the next connection, and answers it after these bytes.
async fn answer_after(orders: &RawUpstream, interim: &str) {
    let mut service = orders.accept().await;
    service.head().await;
    let answer = "HTTP/1.1 200 OK\r\nx-final: yes\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    service.write([interim, answer].concat()).await;
}

#[tokio::test]
async fn no_interim_response_of_a_service_is_taken_for_the_answer() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let call = tokio::spawn(gateway.get("/").into_future());
    answer_after(&orders, &[HINTS, "HTTP/1.1 102 Processing\r\n\r\n", HINTS].concat()).await;
    call.await.unwrap().is(200).has("x-final", "yes").lacks("link").says("ok");
    // Neither an HTTP/2 client nor one that never expected a 100 sees any.
    let http2 = gateway.http2().await;
    for interim in [HINTS, "HTTP/1.1 100 Continue\r\n\r\n"] {
        let call = tokio::spawn(http2.get("/").into_future());
        answer_after(&orders, interim).await;
        call.await.unwrap().is(200).lacks("link").says("ok");
    }
}

/// A client that has sent these requests, byte for byte.
async fn client(gateway: &Gateway, requests: &str) -> Raw {
    let mut client = Raw::connect(gateway.address).await;
    client.write(requests).await;
    client
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: shop.example\r\n\r\n")
}

#[tokio::test]
async fn interim_responses_are_passed_on_before_the_answer_where_the_service_says_so() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], PASSED_ON);
    let mut client = client(&gateway, &get("/")).await;
    let mut service = orders.accept().await;
    service.head().await;
    service.write(HINTS).await;
    assert_eq!(client.head().await, HINTED, "before there is an answer");
    // What is meant for one connection, or is the gateway's to say, goes no further; a 100 is hyper's own.
    let marked = "HTTP/1.1 102 Whatever\r\nconnection: x-hop, keep-alive\r\nx-hop: 1\r\nkeep-alive: 5\r\nx-request-id: me\r\n\
                  content-length: 3\r\naccess-control-allow-origin: *\r\nx-kept: yes\r\n\r\n";
    service.write("HTTP/1.1 100 Continue\r\n\r\n").await.write(marked).await;
    assert_eq!(client.head().await, "HTTP/1.1 102 Processing\r\nx-kept: yes\r\nvia: 1.1 gatewright\r\n\r\n");
    service.write("HTTP/1.1 199 \r\n\r\n").await;
    assert_eq!(client.head().await, "HTTP/1.1 199 \r\nvia: 1.1 gatewright\r\n\r\n");
    service.write(OK).await;
    let answer = client.answer().await.is(200);
    assert_eq!((answer.body.as_str(), answer.field("link")), ("ok", None));
    // On the same connections, and all at once.
    client.write(get("/")).await;
    service.head().await;
    service.write([HINTS, HINTS, OK].concat()).await;
    assert_eq!((client.head().await, client.head().await), (HINTED.into(), HINTED.into()));
    assert_eq!(client.answer().await.is(200).body, "ok");
}

#[tokio::test]
async fn what_a_routing_plugin_says_itself_no_interim_response_says_before_it() {
    const ROUTED: &str = r#"
        service.orders.interim_responses = true
        [[api]]
        name = "shop"
        services = ["orders"]
        [api.routing]
        plugin = "versions"
        [api.routing.settings]
        default = "1"
        versions.1 = { deprecated = "2026-01-01" }
        routes = [{ path = "/{*rest}", versions = ["1"], service = "orders" }]
    "#;
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], ROUTED);
    let mut client = client(&gateway, &get("/a")).await;
    answer_after(&orders, &HINTS.replace("\r\nlink", "\r\ndeprecation: never\r\nlink")).await;
    let hinted = client.head().await;
    assert!(hinted.starts_with("HTTP/1.1 103 ") && hinted.contains("link: ") && !hinted.contains("never"), "{hinted}");
    assert_eq!(client.answer().await.is(200).field("deprecation"), Some("@1767225600"));
}

#[tokio::test]
async fn clients_of_other_versions_and_of_other_services_get_no_interim_response() {
    let orders = raw_upstream("orders");
    for (settings, request) in [(SHOP, get("/")), (PASSED_ON, "GET / HTTP/1.0\r\nhost: shop.example\r\n\r\n".into())] {
        let gateway = gateway([&orders], settings);
        let mut client = client(&gateway, &request).await;
        answer_after(&orders, HINTS).await;
        assert_eq!(client.answer().await.is(200).body, "ok");
    }
}

#[tokio::test]
async fn interim_responses_to_pipelined_requests_come_in_their_order() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], PASSED_ON);
    let mut client = client(&gateway, &[get("/one"), get("/two"), get("/three")].concat()).await;
    let mut service = orders.accept().await;
    for body in ["11", "22", "33"] {
        service.head().await;
        service.write([HINTS, &OK.replace("ok", body)].concat()).await;
    }
    for body in ["11", "22", "33"] {
        assert_eq!(client.head().await, HINTED);
        assert_eq!(client.answer().await.is(200).body, body);
    }
}

#[tokio::test]
async fn an_interim_response_breaks_into_no_answer_that_the_client_has_not_taken() {
    /// Bytes that are more than the client's connection holds, so that the end of them waits in the gateway.
    const LARGE: usize = 512 * 1024;
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], PASSED_ON);
    let mut client = Raw::connect_narrow(gateway.address).await;
    client.write([get("/large"), get("/next")].concat()).await;
    let mut service = orders.accept().await;
    service.head().await;
    let answered = tokio::spawn(async move {
        service.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n{}", "x".repeat(LARGE))).await;
        // The gateway has all of it, and begins with the next.
        service.head().await;
        service.write(HINTS).await.write(HINTS).await;
        service
    });
    // As little as it takes for the gateway to begin with the next: then some of it waits, unless the machine is busy.
    client.head().await;
    let mut taken = 0;
    while !answered.is_finished() {
        taken += client.bytes((LARGE - taken).min(512)).await.iter().filter(|byte| **byte == b'x').count();
        tokio::task::yield_now().await;
    }
    let rest = client.bytes(LARGE - taken).await;
    assert!(rest.iter().all(|byte| *byte == b'x'), "{:?}", String::from_utf8_lossy(&rest));
    assert_eq!((client.head().await, client.head().await), (HINTED.into(), HINTED.into()));
    answered.await.unwrap().write(OK).await;
    assert_eq!(client.answer().await.is(200).body, "ok");
}

#[tokio::test]
async fn an_interim_response_of_a_try_that_failed_does_no_harm() {
    let orders = [raw_upstream("orders"), raw_upstream("orders")];
    let gateway = gateway(&orders, PASSED_ON);
    let mut client = client(&gateway, &get("/")).await;
    let (mut first, other) = tokio::select! {
        first = orders[0].accept() => (first, &orders[1]),
        first = orders[1].accept() => (first, &orders[0]),
    };
    first.head().await;
    first.write(HINTS).await;
    assert_eq!(client.head().await, HINTED);
    first.reset();
    answer_after(other, HINTS).await;
    assert_eq!(client.head().await, HINTED);
    assert_eq!(client.answer().await.is(200).body, "ok");
}

#[tokio::test]
async fn interim_responses_are_passed_on_over_tls() {
    let (orders, authority) = (raw_upstream("orders"), Authority::new());
    let pair = authority.server(&["shop.example"]);
    let tls = "[server.tls]\nlisten = \"127.0.0.1:0\"\ncertificates = [{ certificate = \"a.pem\", key = \"a.key\" }]\n";
    let text = PASSED_ON.replace("[[api]]", &format!("{tls}[[api]]"));
    let gateway = setup(&text).to(&orders).file("a.pem", &pair.certificate).file("a.key", &pair.key).start();
    let tls = TlsClient::trusting(&authority);
    let mut client = tls.connect(gateway.tls.unwrap(), "shop.example", "http/1.1").await.unwrap();
    client.write_all(get("/").as_bytes()).await.unwrap();
    let mut service = orders.accept().await;
    service.head().await;
    service.write(HINTS).await;
    let mut hinted = vec![0; HINTED.len()];
    within("hints", client.read_exact(&mut hinted)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&hinted), HINTED);
    service.write(OK).await;
    let mut status = vec![0; 15];
    within("an answer", client.read_exact(&mut status)).await.unwrap();
    assert_eq!(status, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_service_that_says_nothing_but_interim_responses_is_slow() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], &format!("service.orders.timeout = \"300ms\"\n{SHOP}"));
    let call = tokio::spawn(gateway.get("/").into_future());
    let mut service = orders.accept().await;
    service.head().await;
    while !call.is_finished() {
        service.write(HINTS).await;
        tokio::task::yield_now().await;
    }
    call.await.unwrap().is(504);
}

#[tokio::test]
async fn no_more_than_a_few_interim_responses_are_passed_on_and_none_behind_the_answer() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], &format!("service.orders.timeout = \"300ms\"\n{PASSED_ON}"));
    let mut client = client(&gateway, &get("/")).await;
    let mut service = orders.accept().await;
    service.head().await;
    let answered = tokio::spawn(async move {
        let mut hints = 0;
        loop {
            match client.head().await {
                head if head == HINTED => hints += 1,
                head => return (client, head, hints),
            }
        }
    });
    while !answered.is_finished() {
        service.write(HINTS).await;
        tokio::task::yield_now().await;
    }
    let (mut client, head, hints) = answered.await.unwrap();
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    assert_eq!(hints, 16);
    service.write(HINTS).await;
    client.until("}").await;
    client.write(get("/")).await;
    answer_after(&orders, "").await;
    assert_eq!(client.answer().await.is(200).body, "ok");
}

#[tokio::test]
async fn a_service_that_changes_the_protocol_unasked_is_refused() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let call = tokio::spawn(gateway.get("/").into_future());
    let mut service = orders.accept().await;
    service.head().await;
    service.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    call.await.unwrap().is(502);
}
