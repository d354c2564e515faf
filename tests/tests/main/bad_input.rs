//! What is malformed, too large or too slow: refused, and the connection closed.

use std::time::Duration;

use gatewright_tests::{Gateway, RawAnswer, gateway, upstream};

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";

/// Sends bytes on a connection of their own, and answers the response after which the gateway closed it.
async fn closing(gateway: &Gateway, bytes: impl AsRef<[u8]>) -> RawAnswer {
    let mut raw = gateway.raw().await;
    raw.write(bytes).await;
    let answer = raw.answer().await;
    let rest = raw.end().await;
    assert!(rest.is_empty(), "more than one answer: {}", String::from_utf8_lossy(&rest));
    answer
}

#[tokio::test]
async fn what_has_no_one_meaning_is_refused_and_the_connection_closed() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let host = "host: shop.example\r\n";
    for (status, request) in [
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, format!("GET / HTTP/1.1\r\n{host}{host}\r\n")),
        (400, "GET / HTTP/1.1\r\nhost: a b\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nhost: user@shop.example\r\n\r\n".into()),
        (400, format!("GET http://other.example/ HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET ftp://shop.example/ HTTP/1.1\r\n{host}\r\n")),
        (400, "GET / HTTP/1.0\r\n\r\n".into()),
        (400, format!("GET /a%2fb HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /a%5cb HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /a%00b HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /a/..;/b HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /a/../../b HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /%2e%2e/b HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /%zz HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET /caf\u{e9} HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}authorization: a\r\nauthorization: b\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{host}content-type: a/b\r\ncontent-type: c/d\r\ncontent-length: 1\r\n\r\nx")),
        (400, format!("POST / HTTP/1.1\r\n{host}content-length: +1\r\n\r\nx")),
        (400, format!("POST / HTTP/1.1\r\n{host}content-length: 1\r\ncontent-length: 2\r\n\r\nxy")),
        (501, format!("POST / HTTP/1.1\r\n{host}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{host}transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n")),
        (417, format!("POST / HTTP/1.1\r\n{host}expect: tea\r\ncontent-length: 1\r\n\r\nx")),
        (501, format!("CONNECT shop.example:443 HTTP/1.1\r\n{host}\r\n")),
        (405, format!("TRACE / HTTP/1.1\r\n{host}\r\n")),
        // hyper's own answers: what is no HTTP.
        (400, "nonsense\r\n\r\n".into()),
        (400, format!("GET  / HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}bad name: x\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}name : x\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}a: b\r\n folded\r\n\r\n")),
        (400, format!("POST / HTTP/1.1\r\n{host}transfer-encoding: gzip\r\n\r\nx")),
    ] {
        let answer = closing(&gateway, &request).await;
        assert_eq!(answer.status, status, "{request:?}: {}{}", answer.head, answer.body);
    }
    assert_eq!(orders.count(), 0);
    gateway.get("/").await.is(200);
}

#[tokio::test]
async fn what_follows_a_refused_request_is_not_read() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    let request = format!("POST /a%2fb HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 5\r\n\r\n{smuggled}");
    closing(&gateway, request).await.is(400);
    // A length beside chunks is not forwarded, and nothing more is read after the answer.
    let both = "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let request = format!("POST / HTTP/1.1\r\nhost: shop.example\r\n{both}{smuggled}");
    closing(&gateway, request).await.is(200);
    let seen = orders.only();
    assert_eq!((seen.text().as_str(), seen.field("content-length")), ("x", None));
}

#[tokio::test]
async fn a_broken_chunk_is_400() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let head = "POST / HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n";
    for chunks in ["zz\r\nx\r\n", "1\r\nxy\r\n0\r\n\r\n", "ffffffffffffffffff\r\nx"] {
        closing(&gateway, format!("{head}{chunks}")).await.is(400);
    }
}

#[tokio::test]
async fn everybody_sees_the_same_path() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    for (sent, seen) in [
        ("/a/./b/../c", "/a/c"),
        ("/a/%2e/b/%2E%2e/c", "/a/c"),
        ("//a///b", "/a/b"),
        ("/%61%7e?q=%2e%2e/..//", "/a~?q=%2e%2e/..//"),
        ("/a%c3%a9", "/a%C3%A9"),
        ("http://shop.example/x", "/x"),
        ("http://shop.example?q", "/?q"),
        ("http://SHOP.example:80/y", "/y"),
    ] {
        let mut raw = gateway.raw().await;
        raw.write(format!("GET {sent} HTTP/1.1\r\nhost: shop.example\r\n\r\n")).await.answer().await.is(200);
        let last = orders.seen().pop().unwrap();
        assert_eq!((last.target.as_str(), last.field("host")), (seen, Some("shop.example")), "{sent}");
    }
    let mut raw = gateway.raw().await;
    let answer = raw.write("OPTIONS * HTTP/1.1\r\nhost: shop.example\r\n\r\n").await.answer().await.is(204);
    assert!(answer.field("allow").unwrap().contains("GET"), "{}", answer.head);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let orders = upstream("orders");
    let text = format!("server = {{ head_fields = 20, head_bytes = \"8KiB\", target_bytes = \"1KiB\" }}\n{SHOP}");
    let gateway = gateway([&orders], &text);
    let fields: String = (0..30).map(|number| format!("x-{number}: y\r\n")).collect();
    for (status, request) in [
        (431, format!("GET / HTTP/1.1\r\nhost: shop.example\r\n{fields}\r\n")),
        (431, format!("GET / HTTP/1.1\r\nhost: shop.example\r\nx: {}\r\n\r\n", "y".repeat(9000))),
        (414, format!("GET /{} HTTP/1.1\r\nhost: shop.example\r\n\r\n", "y".repeat(2000))),
    ] {
        closing(&gateway, request).await.is(status);
    }
    assert_eq!(orders.count(), 0);
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &format!("server = {{ head_timeout = \"300ms\" }}\n{SHOP}"));
    for first in ["", "G", "GET / HTTP/1.1\r\nhost: shop.ex", "PRI * HTTP/2.0\r\n"] {
        let mut raw = gateway.raw().await;
        raw.write(first).await.end().await;
    }
    // Byte by byte it takes no longer.
    let mut raw = gateway.raw().await;
    raw.write("GET / HTTP/1.1\r\nhost: shop.example\r\nx: ").await;
    while raw.is_silent_for(Duration::from_millis(20)).await {
        raw.write("y").await;
    }
    raw.end().await;
    // The time begins anew with each request.
    let mut raw = gateway.raw().await;
    for _ in 0..2 {
        raw.write("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await.answer().await.is(200);
    }
    raw.write("GET / HT").await.end().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &format!("server = {{ idle_timeout = \"300ms\" }}\n{SHOP}"));
    let mut raw = gateway.raw().await;
    raw.write("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await.answer().await.is(200);
    assert!(raw.end().await.is_empty());
}

#[tokio::test]
async fn a_body_that_pauses_is_408() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &format!("server = {{ body_timeout = \"300ms\" }}\n{SHOP}"));
    let head = "POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 10\r\n\r\nhalf";
    let answer = closing(&gateway, head).await.is(408);
    assert!(answer.body.contains("The body came too slowly"), "{}", answer.body);
}

#[tokio::test]
async fn so_many_connections_and_no_more() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &format!("server = {{ connections = 2 }}\n{SHOP}"));
    let (one, two) = (gateway.http1().await, gateway.http1().await);
    one.get("/").await.is(200);
    two.get("/").await.is(200);
    let mut third = gateway.raw().await;
    third.write("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await;
    assert!(third.end().await.is_empty());
    one.get("/").await.is(200);
}
